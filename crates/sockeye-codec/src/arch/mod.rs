//! Stand-in until the vector kernels are here.
use crate::utf8::{InvalidUtf8, Utf8Stream};
#[derive(Debug, Default)]
pub(crate) struct Text { bytes: Vec<u8>, utf8: Utf8Stream }
impl Text {
    pub(crate) fn len(&self) -> usize { self.bytes.len() }
    pub(crate) fn capacity(&self) -> usize { self.bytes.capacity() }
    pub(crate) fn clear(&mut self) { self.bytes.clear(); self.utf8 = Utf8Stream::default(); }
    pub(crate) fn reserve(&mut self, n: usize) { self.bytes.reserve(n); }
    pub(crate) fn push_masked(&mut self, chunk: &[u8], key: [u8; 4]) -> Result<(), InvalidUtf8> {
        let from = self.bytes.len();
        crate::mask::extend(&mut self.bytes, chunk, key);
        self.utf8.push(&self.bytes[from..])
    }
    pub(crate) fn finish(&mut self) -> Result<&str, InvalidUtf8> {
        self.utf8.finish()?;
        std::str::from_utf8(&self.bytes).map_err(|_| InvalidUtf8)
    }
}
