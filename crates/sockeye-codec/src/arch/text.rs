//! Bytes that were found to be UTF-8 become `str` here without being looked at a second time.

use super::{xor_extend, xor_in_place};
use crate::mask::{self, MaskingKey};
use crate::utf8::{self, InvalidUtf8, Utf8Stream};

/// Unmasking and validation take turns on blocks that stay in the first-level cache.
const BLOCK_BYTES: usize = 16 << 10;
/// Up to here a word-wise look for bytes beyond ASCII is cheaper than any dispatch.
const SHORT_BYTES_MAX: usize = 128;

/// Unmasks a text in place and validates it on the way.
#[inline]
pub(crate) fn unmask_text(payload: &mut [u8], key: MaskingKey) -> Option<&str> {
    if payload.len() > SHORT_BYTES_MAX {
        return unmask_long_text(payload, key);
    }
    if !mask::apply_short(payload, key) {
        return std::str::from_utf8(payload).ok();
    }
    // SAFETY: no byte has its high bit set: it is ASCII, and that is UTF-8.
    Some(unsafe { std::str::from_utf8_unchecked(payload) })
}

#[inline(never)]
fn unmask_long_text(payload: &mut [u8], key: MaskingKey) -> Option<&str> {
    if payload.len() <= BLOCK_BYTES {
        xor_in_place(payload, key);
        return valid_text(payload);
    }
    let mut utf8 = Utf8Stream::default();
    for block in payload.chunks_mut(BLOCK_BYTES) {
        // A block is a multiple of four bytes: the key need not be turned.
        xor_in_place(block, key);
        utf8.push(block).ok()?;
    }
    utf8.finish().ok()?;
    // SAFETY: every block was validated in order, and no sequence was left open at the end.
    Some(unsafe { std::str::from_utf8_unchecked(payload) })
}

/// Validates a text that is not masked.
#[inline]
pub(crate) fn valid_text(payload: &[u8]) -> Option<&str> {
    // SAFETY: validated on this very line.
    utf8::is_valid(payload).then(|| unsafe { std::str::from_utf8_unchecked(payload) })
}

/// A text message that grows as its pieces arrive, each byte unmasked and validated once.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// All of it has gone through `utf8`, in order, since the last `clear`.
    bytes: Vec<u8>,
    utf8: Utf8Stream,
    /// `utf8` has refused a piece.
    invalid: bool,
}

impl Text {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        self.bytes.reserve_exact(additional);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.utf8 = Utf8Stream::default();
        self.invalid = false;
    }

    /// Appends a piece; the key's first byte masks the piece's first.
    pub(crate) fn push_masked(&mut self, piece: &[u8], key: MaskingKey) -> Result<(), InvalidUtf8> {
        for block in piece.chunks(BLOCK_BYTES) {
            let from = self.bytes.len();
            xor_extend(&mut self.bytes, block, key);
            if let Err(error) = self.utf8.push(&self.bytes[from..]) {
                self.invalid = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The whole text.
    pub(crate) fn finish(&self) -> Result<&str, InvalidUtf8> {
        if self.invalid {
            return Err(InvalidUtf8);
        }
        self.utf8.finish()?;
        // SAFETY: `bytes` changes only in `push_masked`, which validates what it appends, and in
        // `clear`; no piece was refused and no sequence is open at the end.
        Ok(unsafe { std::str::from_utf8_unchecked(&self.bytes) })
    }
}
