//! The buffer of a message that grows. What arrived in somebody else's memory is unmasked on its
//! way in, what was received into the [room](Growing::room) is unmasked where it is.

use super::validate;
use crate::mask::MaskingKey;

/// Bytes that have arrived, and room for more.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    /// The message so far, and behind it bytes of an earlier one or zeros.
    bytes: Vec<u8>,
    len: usize,
}

/// Where the masked bytes are.
pub(super) enum Masked<'a> {
    Piece(&'a [u8]),
    /// So many, at the beginning of the room.
    InRoom(usize),
}

impl Masked<'_> {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Piece(piece) => piece.len(),
            Self::InRoom(len) => *len,
        }
    }

    /// Splits so many bytes off the front; those in a room are taken before the rest is looked at.
    pub(super) fn split_at(&self, at: usize) -> (Self, Self) {
        match self {
            Self::Piece(piece) => {
                let (head, body) = piece.split_at(at);
                (Self::Piece(head), Self::Piece(body))
            }
            Self::InRoom(len) => (Self::InRoom(at), Self::InRoom(len - at)),
        }
    }
}

impl Growing {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes place for so many bytes more, and not for others.
    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        if self.len + additional > self.bytes.capacity() {
            // What is behind the message need not be moved along.
            self.bytes.truncate(self.len);
            self.bytes.reserve_exact(additional);
        }
    }

    /// Where the next so many bytes may be received.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        self.reserve_exact(len);
        let end = self.len + len;
        if self.bytes.len() < end {
            // Once for each buffer: it keeps what it was filled with.
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.len..end]
    }

    /// Appends bytes, unmasked.
    pub(crate) fn push_masked(&mut self, piece: &[u8], key: MaskingKey) {
        self.push(&Masked::Piece(piece), key);
    }

    /// Goes on with so many bytes that were received into the room.
    pub(crate) fn push_room(&mut self, len: usize, key: MaskingKey) {
        self.push(&Masked::InRoom(len), key);
    }

    /// Goes on with so many bytes that were written to the room, as they are.
    pub(crate) fn keep_room(&mut self, len: usize) {
        assert!(self.len + len <= self.bytes.len(), "there was no room for {len} bytes");
        self.len += len;
    }

    pub(super) fn push(&mut self, masked: &Masked<'_>, key: MaskingKey) {
        let (to, from) = self.place(masked);
        // SAFETY: `best` names a kernel that this processor can run; `place` gives its conditions.
        unsafe { super::best()(to, from, masked.len(), u32::from_ne_bytes(key)) };
        self.placed(masked.len());
    }

    /// Appends text that begins with a whole character. Returns how many bytes at its end belong to
    /// a character that is not whole, or `None` if it is no UTF-8.
    pub(super) fn push_text(&mut self, masked: &Masked<'_>, key: MaskingKey) -> Option<usize> {
        let (to, from) = self.place(masked);
        // SAFETY: as above.
        let open =
            unsafe { validate::best()(to, from, masked.len(), u32::from_ne_bytes(key), true) };
        self.placed(masked.len());
        open
    }

    /// Where the bytes go and where they come from: both are good for `masked.len()` bytes, and are
    /// the same or do not overlap.
    fn place(&mut self, masked: &Masked<'_>) -> (*mut u8, *const u8) {
        match masked {
            Masked::Piece(piece) => {
                self.reserve_exact(piece.len());
                (self.bytes.as_mut_ptr().wrapping_add(self.len), piece.as_ptr())
            }
            Masked::InRoom(len) => {
                let room = self.bytes[self.len..self.len + len].as_mut_ptr();
                (room, room)
            }
        }
    }

    /// The kernel has written all of them.
    fn placed(&mut self, len: usize) {
        self.len += len;
        if self.bytes.len() < self.len {
            // SAFETY: `place` reserved them, the kernel initialized them.
            unsafe { self.bytes.set_len(self.len) };
        }
    }
}
