//! What all connections of one role on one thread share: limits, and buffers that only the
//! connection in hand uses.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, Role};
use crate::mask::MaskingKey;
use crate::partial::{Partial, Scratch};

/// What a peer may make us hold or count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a whole message, over all its frames (default 16 MiB).
    pub message_bytes_max: u64,
    /// Payload bytes of one frame (default 16 MiB).
    pub frame_bytes_max: u64,
    /// Frames of one message, empty ones too (default 131,072).
    pub fragments_per_message_max: u32,
    /// Bytes of spare buffers that wait for the next message that arrives in pieces (default 4 MiB
    /// for each [`Codec`]).
    pub spare_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            frame_bytes_max: 16 << 20,
            fragments_per_message_max: 1 << 17,
            spare_bytes_max: 4 << 20,
        }
    }
}

/// What the peer's messages look like that come in one frame.
#[derive(Debug)]
pub(crate) struct WholeFrame {
    /// The second byte without the length.
    pub(crate) mask_bit: u8,
    /// Of the masking key behind the length.
    pub(crate) key_len: u8,
    /// The longest message with a length of 7 bits.
    pub(crate) short_bytes_max: u8,
    /// The longest message.
    pub(crate) payload_bytes_max: u64,
}

impl WholeFrame {
    fn new(role: Role, limits: &Limits) -> Self {
        let (mask_bit, key_len) = match role {
            Role::Server => (0x80, 4),
            Role::Client => (0x00, 0),
        };
        let payload_bytes_max = limits.message_bytes_max.min(limits.frame_bytes_max);
        let short_bytes_max = payload_bytes_max.min(CONTROL_PAYLOAD_BYTES_MAX as u64) as u8;
        Self { mask_bit, key_len, short_bytes_max, payload_bytes_max }
    }
}

/// One for each event loop and role; every [`Connection`](crate::Connection) of the loop is given
/// it in turn. It holds the limits, the source of masking keys, and the scratch space that would
/// cost each idle connection memory if it were its own.
#[derive(Debug)]
pub struct Codec {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    pub(crate) whole: WholeFrame,
    pub(crate) scratch: Scratch,
    /// See [`Codec::lend_frames_from`].
    pub(crate) framed_bytes_min: usize,
    masking_keys: Option<Box<StdRng>>,
}

impl Codec {
    /// For the connections of a server.
    pub fn server(limits: Limits) -> Self {
        Self::new(Role::Server, limits, None)
    }

    /// For the connections of a client. Masking keys come from a cryptographic generator with this
    /// seed: "The masking key MUST be derived from a strong source of entropy" (section 5.3), so
    /// take the seed from the operating system.
    pub fn client(limits: Limits, seed: [u8; 32]) -> Self {
        Self::new(Role::Client, limits, Some(Box::new(StdRng::from_seed(seed))))
    }

    fn new(role: Role, limits: Limits, masking_keys: Option<Box<StdRng>>) -> Self {
        let whole = WholeFrame::new(role, &limits);
        let scratch = Scratch::default();
        Self { role, limits, whole, scratch, framed_bytes_min: usize::MAX, masking_keys }
    }

    /// A message of at least so many bytes that arrives whole, in one masked frame, comes as
    /// [`Event::Framed`](crate::Event::Framed): whoever sends it on can do so in one piece. For a
    /// server; by default there are none.
    #[must_use]
    pub const fn lend_frames_from(mut self, bytes_min: usize) -> Self {
        self.framed_bytes_min = bytes_min;
        self
    }

    /// Which end we are.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A fresh key for the next frame; `None` for a server, which must not mask (section 5.1).
    #[inline]
    pub fn next_masking_key(&mut self) -> Option<MaskingKey> {
        self.masking_keys.as_mut().map(|keys| keys.random::<u32>().to_ne_bytes())
    }

    /// Takes back the message that was lent out last.
    #[inline]
    pub(crate) fn take_back(&mut self) {
        if let Some(lent) = self.scratch.lent.take() {
            self.release(lent);
        }
    }

    #[cfg(test)]
    pub(crate) fn spare_bytes(&self) -> usize {
        self.scratch.spare_bytes()
    }

    pub(crate) fn release(&mut self, partial: Box<Partial>) {
        self.scratch.release(partial, self.limits.spare_bytes_max);
    }
}
