//! Bytes that were found to be UTF-8 become `str` here without being looked at a second time.

use super::growing::{Growing, Masked};
use super::validate;
use crate::mask::{self, MaskingKey};
use crate::utf8::{self, InvalidUtf8, Utf8Stream};

/// Up to here a word-wise look for bytes beyond ASCII is cheaper than any dispatch.
const SHORT_BYTES_MAX: usize = 128;
/// Up to here what is not ASCII is cheaper to validate character by character.
const SHORT_MIXED_BYTES_MAX: usize = 32;
/// What is exclusive-ored with it stays as it is.
const NO_KEY: MaskingKey = [0; 4];

/// Unmasks a text in place and validates it on the way.
#[inline]
pub(crate) fn unmask_text(payload: &mut [u8], key: MaskingKey) -> Option<&str> {
    if payload.len() > SHORT_BYTES_MAX {
        return unmask_long_text(payload, key);
    }
    if !mask::apply_short(payload, key) && !is_valid_short(payload) {
        return None;
    }
    // SAFETY: no byte has its high bit set, and ASCII is UTF-8; or it was validated.
    Some(unsafe { std::str::from_utf8_unchecked(payload) })
}

/// Of a text that is not masked. Not inlined: most short texts are ASCII.
#[inline(never)]
fn is_valid_short(payload: &mut [u8]) -> bool {
    if payload.len() > SHORT_MIXED_BYTES_MAX {
        unmask_long_text(payload, NO_KEY).is_some()
    } else {
        std::str::from_utf8(payload).is_ok()
    }
}

#[inline(never)]
fn unmask_long_text(payload: &mut [u8], key: MaskingKey) -> Option<&str> {
    let dst = payload.as_mut_ptr();
    // SAFETY: `best` names what this processor can run; a slice is readable and writable for its
    // length, and both pointers are derived from the one exclusive reference.
    unsafe { validate::best()(dst, dst, payload.len(), u32::from_ne_bytes(key), false) }?;
    // SAFETY: all of it was validated as it was unmasked, and no sequence is open at the end.
    Some(unsafe { std::str::from_utf8_unchecked(payload) })
}

/// [`unmask_text`] of what comes behind the first bytes of a frame. Lends all of it, too.
pub(crate) fn unmask_text_behind(
    frame: &mut [u8],
    payload_at: usize,
    key: MaskingKey,
) -> Option<(&str, &[u8])> {
    unmask_text(&mut frame[payload_at..], key)?;
    let frame: &[u8] = frame;
    // SAFETY: the line before has found these bytes to be UTF-8, and nobody has changed them.
    Some((unsafe { std::str::from_utf8_unchecked(&frame[payload_at..]) }, frame))
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
    bytes: Growing,
    utf8: Utf8Stream,
    /// `utf8` has refused a piece.
    invalid: bool,
}

impl Text {
    pub(crate) const fn buffer(&self) -> &Growing {
        &self.bytes
    }

    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        self.bytes.reserve_exact(additional);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.utf8 = Utf8Stream::default();
        self.invalid = false;
    }

    /// Where the next so many bytes may be received.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        self.bytes.room(len)
    }

    /// Appends a piece; the key's first byte masks the piece's first.
    pub(crate) fn push_masked(&mut self, piece: &[u8], key: MaskingKey) -> Result<(), InvalidUtf8> {
        self.push(&Masked::Piece(piece), key)
    }

    /// Goes on with so many bytes that were received into the room.
    pub(crate) fn push_room(&mut self, len: usize, key: MaskingKey) -> Result<(), InvalidUtf8> {
        self.push(&Masked::InRoom(len), key)
    }

    fn push(&mut self, masked: &Masked<'_>, key: MaskingKey) -> Result<(), InvalidUtf8> {
        let from = self.bytes.len();
        if masked.len() <= SHORT_BYTES_MAX {
            self.bytes.push(masked, key);
            return self.validate(from);
        }
        // The sequence that is open comes first: a few bytes.
        let (head, body) = masked.split_at(self.utf8.missing());
        self.bytes.push(&head, key);
        self.validate(from)?;
        let open = self.bytes.push_text(&body, mask::rotate(key, head.len()));
        let open = open.ok_or(InvalidUtf8).inspect_err(|_| self.invalid = true)?;
        // What is open at the end is remembered.
        self.validate(self.bytes.len() - open)
    }

    /// Validates the bytes from `from` on, after those before.
    fn validate(&mut self, from: usize) -> Result<(), InvalidUtf8> {
        self.utf8.push(&self.bytes.as_bytes()[from..]).inspect_err(|_| self.invalid = true)
    }

    /// The whole text.
    pub(crate) fn finish(&self) -> Result<&str, InvalidUtf8> {
        if self.invalid {
            return Err(InvalidUtf8);
        }
        self.utf8.finish()?;
        // SAFETY: the message in `bytes` changes only in `push`, which validates all that it
        // appends, and in `clear`: a room is behind it. No piece was refused and no sequence is
        // open at the end.
        Ok(unsafe { std::str::from_utf8_unchecked(self.bytes.as_bytes()) })
    }
}
