//! Stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Utf8Stream { carry: [u8; 3], len: u8 }
impl Utf8Stream {
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), InvalidUtf8> {
        let mut all = self.carry[..self.len as usize].to_vec();
        all.extend_from_slice(chunk);
        match std::str::from_utf8(&all) {
            Ok(_) => { self.len = 0; Ok(()) }
            Err(e) if e.error_len().is_none() => {
                let rest = &all[e.valid_up_to()..];
                self.carry[..rest.len()].copy_from_slice(rest);
                self.len = rest.len() as u8;
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }
    pub(crate) fn finish(self) -> Result<(), InvalidUtf8> { if self.len == 0 { Ok(()) } else { Err(InvalidUtf8) } }
}
pub(crate) fn validate_whole(bytes: &[u8]) -> Option<&str> { simdutf8::basic::from_utf8(bytes).ok() }
pub(crate) fn unmask_text_in_place(payload: &mut [u8], key: [u8; 4]) -> Option<&str> {
    crate::mask::apply(payload, key, 0);
    validate_whole(payload)
}
