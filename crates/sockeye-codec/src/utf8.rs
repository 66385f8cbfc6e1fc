//! UTF-8 (RFC 3629) over chunks that end anywhere: each byte is validated once, an error is found
//! with the first byte that no continuation can mend (RFC 6455 section 8.1).

/// The bytes are no UTF-8, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

/// Shorter chunks are validated by the standard library, which has no set-up to pay for.
const SHORT_BYTES_MAX: usize = 64;

/// Whether the bytes are UTF-8, whole.
#[inline]
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    // Miri objects to simdutf8 0.1.5: with AVX2 it computes an address beyond its input, to be
    // prefetched (rusticstuff/simdutf8#120, not released yet).
    if bytes.len() <= SHORT_BYTES_MAX || cfg!(miri) {
        std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// The state between two chunks: a sequence that has begun.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Utf8Stream {
    /// `open[..len]` may become a character.
    open: [u8; 3],
    len: u8,
}

impl Utf8Stream {
    /// Takes the next chunk.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<(), InvalidUtf8> {
        if self.len > 0 {
            chunk = self.go_on(chunk)?;
        }
        let (body, tail) = chunk.split_at(chunk.len() - open_tail(chunk));
        if !is_valid(body) || !may_become_char(tail) {
            return Err(InvalidUtf8);
        }
        if !tail.is_empty() {
            self.open[..tail.len()].copy_from_slice(tail);
            self.len = tail.len() as u8;
        }
        Ok(())
    }

    /// Completes the open sequence as far as the chunk has bytes for it; returns the others.
    fn go_on<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], InvalidUtf8> {
        let have = usize::from(self.len);
        let take = (sequence_len(self.open[0]) - have).min(chunk.len());
        let mut sequence = [0; 4];
        sequence[..have].copy_from_slice(&self.open[..have]);
        sequence[have..have + take].copy_from_slice(&chunk[..take]);
        let sequence = &sequence[..have + take];
        if std::str::from_utf8(sequence).is_ok() {
            self.len = 0;
        } else if sequence.len() < 4 && may_become_char(sequence) {
            self.open[..sequence.len()].copy_from_slice(sequence);
            self.len = sequence.len() as u8;
        } else {
            return Err(InvalidUtf8);
        }
        Ok(&chunk[take..])
    }

    /// How many bytes the open sequence has; 0 if none is open.
    pub(crate) const fn open_len(self) -> usize {
        self.len as usize
    }

    /// How many bytes the open sequence lacks; 0 if none is open.
    pub(crate) const fn missing(self) -> usize {
        if self.len == 0 { 0 } else { sequence_len(self.open[0]) - self.len as usize }
    }

    /// Nothing follows.
    pub(crate) const fn finish(self) -> Result<(), InvalidUtf8> {
        if self.len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }
}

/// How many bytes a sequence has that begins so; 1 for what begins none.
const fn sequence_len(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

/// How many bytes at the end belong to a sequence that the chunk does not hold whole.
pub(crate) fn open_tail(chunk: &[u8]) -> usize {
    for (n, byte) in chunk.iter().rev().take(3).enumerate() {
        if byte & 0xC0 != 0x80 {
            return if sequence_len(*byte) > n + 1 { n + 1 } else { 0 };
        }
    }
    0
}

/// Whether some continuation makes a character of it. Nothing may.
pub(crate) fn may_become_char(open: &[u8]) -> bool {
    match std::str::from_utf8(open) {
        Ok(_) => open.is_empty(),
        // `None`: "the end of the input was reached unexpectedly", not an invalid sequence.
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}
