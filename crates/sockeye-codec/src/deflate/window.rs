//! What a peer may refer to: the last bytes that came in.

use zlib_rs::Inflate;

/// A ring that grows to the size of the window and no further.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Once it is full: where the oldest byte is.
    oldest: usize,
    bytes_max: usize,
}

impl Window {
    pub(super) const fn new(window_bits: u8) -> Self {
        Self { bytes: Vec::new(), oldest: 0, bytes_max: 1 << window_bits }
    }

    /// Takes what was inflated.
    pub(super) fn push(&mut self, output: &[u8]) {
        let mut output = &output[output.len().saturating_sub(self.bytes_max)..];
        let missing = self.bytes_max - self.bytes.len();
        if missing > 0 {
            let (first, rest) = output.split_at(missing.min(output.len()));
            self.grow(first.len());
            self.bytes.extend_from_slice(first);
            output = rest;
        }
        // Only where it is full is there anything left.
        while !output.is_empty() {
            let len = output.len().min(self.bytes.len() - self.oldest);
            let (first, rest) = output.split_at(len);
            self.bytes[self.oldest..self.oldest + len].copy_from_slice(first);
            self.oldest = (self.oldest + len) % self.bytes_max;
            output = rest;
        }
    }

    /// In steps that double it, but never past the size of the window.
    fn grow(&mut self, additional: usize) {
        let len = self.bytes.len() + additional;
        if len > self.bytes.capacity() {
            let capacity = len.max(2 * self.bytes.capacity()).min(self.bytes_max);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// Has an inflater that was just reset go on behind it. `None`: it does not take it.
    pub(super) fn lend_to(&self, zlib: &mut Inflate) -> Option<()> {
        let (newer, older) = self.bytes.split_at(self.oldest);
        for part in [older, newer] {
            if !part.is_empty() {
                zlib.set_dictionary(part).ok()?;
            }
        }
        Some(())
    }

    /// Forgets all, and frees it.
    pub(super) fn clear(&mut self) {
        (self.bytes, self.oldest) = (Vec::new(), 0);
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }
}
