//! What has begun to arrive and not ended: kept by the connection, put together as it lands.

use std::mem;

use crate::arch::{Growing, Text};
use crate::error::ProtocolError;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, HEADER_BYTES_MAX, OpCode};
use crate::mask::{self, MaskingKey};
use crate::message::{Chunk, DataKind};
use crate::utf8::Utf8Stream;

/// What we reserve for the declared bytes of a message that have not arrived, where fewer have.
const RESERVE_AHEAD_BYTES: u64 = 64 << 10;

/// A frame or message that has begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// `header[..header_len]` has arrived; 0 unless we are inside a header.
    pub(crate) header: [u8; HEADER_BYTES_MAX],
    pub(crate) header_len: u8,
    /// The frame whose payload is under way.
    pub(crate) frame: Option<PartialFrame>,
    /// The message under way, from its first frame's header to its last frame's last byte.
    pub(crate) message: Option<PartialMessage>,
    /// The payload so far of a control frame, which may stand between the frames of a message.
    pub(crate) control: ControlPayload,
    pub(crate) text: Text,
    pub(crate) binary: Growing,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PartialFrame {
    pub(crate) opcode: OpCode,
    pub(crate) fin: bool,
    /// Turned so that its first byte masks the next byte of the payload; zero for none.
    pub(crate) key: MaskingKey,
    pub(crate) remaining: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PartialMessage {
    pub(crate) kind: DataKind,
    pub(crate) extension: bool,
    pub(crate) fragments: u32,
    /// The declared payload bytes of all frames so far.
    pub(crate) bytes: u64,
    /// Streaming mode: the text so far.
    pub(crate) utf8: Utf8Stream,
    /// Streaming mode: a chunk was handed out.
    pub(crate) begun: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ControlPayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    len: u8,
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_PAYLOAD_BYTES_MAX], len: 0 }
    }
}

impl PartialFrame {
    /// What is left of it behind so many bytes.
    fn behind(self, len: u64) -> Option<Self> {
        let remaining = self.remaining - len;
        let key = mask::rotate(self.key, (len % 4) as usize);
        (remaining > 0).then_some(Self { key, remaining, ..self })
    }
}

impl PartialMessage {
    /// Text, but for an extension's, which is not text yet.
    fn is_checked_text(self) -> bool {
        self.kind == DataKind::Text && !self.extension
    }
}

/// Buffers that belong to no connection: a message that was put together is lent from here until
/// the next one is asked for.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) lent: Option<Box<Partial>>,
    pub(crate) control: ControlPayload,
    #[expect(clippy::vec_box, reason = "a connection holds the pointer; moving it must be cheap")]
    spare: Vec<Box<Partial>>,
    spare_bytes: usize,
}

impl Scratch {
    pub(crate) fn take(&mut self) -> Box<Partial> {
        match self.spare.pop() {
            Some(partial) => {
                self.spare_bytes -= partial.bytes();
                partial
            }
            None => Box::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spare.iter().map(|partial| partial.bytes()).sum()
    }

    pub(crate) fn release(&mut self, mut partial: Box<Partial>, spare_bytes_max: usize) {
        let bytes = partial.bytes();
        if self.spare_bytes + bytes <= spare_bytes_max {
            partial.clear();
            self.spare_bytes += bytes;
            self.spare.push(partial);
        }
    }
}

impl Partial {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.buffer().capacity() + self.binary.capacity()
    }

    fn clear(&mut self) {
        self.header_len = 0;
        self.frame = None;
        self.message = None;
        self.text.clear();
        self.binary.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

/// What a piece of payload completed.
pub(crate) enum Landed<'i> {
    Nothing,
    Chunk(Chunk<'i>),
    /// The same of a message that is an extension's.
    ExtensionChunk(Chunk<'i>),
    Control,
    Message(PartialMessage),
}

impl Partial {
    /// Takes what the input has of the frame under way.
    pub(crate) fn land<'i>(
        &mut self,
        frame: PartialFrame,
        stream: bool,
        input: &mut &'i mut [u8],
    ) -> Result<Landed<'i>, ProtocolError> {
        let len = frame.remaining.min(input.len() as u64);
        let piece = take(input, len as usize);
        self.frame = frame.behind(len);
        if frame.opcode.is_control() {
            mask::apply(piece, frame.key, 0);
            self.control.push(piece);
            return Ok(if self.frame.is_none() { Landed::Control } else { Landed::Nothing });
        }
        let Some(message) = self.message else {
            return Ok(Landed::Nothing); // not reached: a data frame has its message
        };
        if stream {
            let last = self.frame.is_none() && frame.fin;
            return self.stream(message, frame.key, piece, last);
        }
        let missing = self.growth(message).missing(piece.len(), frame.remaining - len, frame.fin);
        if message.is_checked_text() {
            self.text.reserve_exact(missing);
            self.text.push_masked(piece, frame.key).map_err(|_| ProtocolError::InvalidUtf8)?;
        } else {
            self.binary.reserve_exact(missing);
            self.binary.push_masked(piece, frame.key);
        }
        Ok(self.landed(frame.fin))
    }

    /// Where the next bytes of the frame under way may be received, if they are the message's: at
    /// most so many, and not fewer than `bytes_min`.
    pub(crate) fn room(&mut self, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        let (frame, message) = (self.frame?, self.message?);
        if frame.opcode.is_control() {
            return None;
        }
        let growth = self.growth(message);
        // At most as much again as has arrived, as for all that is only declared.
        let most = growth.len.max(growth.capacity - growth.len).min(bytes_max);
        let len = frame.remaining.min(most as u64) as usize;
        if len < bytes_min {
            return None;
        }
        Some(if message.is_checked_text() { self.text.room(len) } else { self.binary.room(len) })
    }

    /// So many bytes were received into the room.
    pub(crate) fn land_in_room(&mut self, len: usize) -> Result<Landed<'static>, ProtocolError> {
        let (Some(frame), Some(message)) = (self.frame, self.message) else {
            return Ok(Landed::Nothing); // not reached: there was a room
        };
        assert!(len as u64 <= frame.remaining, "there was no room for {len} bytes");
        self.frame = frame.behind(len as u64);
        if message.is_checked_text() {
            self.text.push_room(len, frame.key).map_err(|_| ProtocolError::InvalidUtf8)?;
        } else {
            self.binary.push_room(len, frame.key);
        }
        Ok(self.landed(frame.fin))
    }

    /// What there is when a piece of a data frame has landed.
    fn landed(&mut self, fin: bool) -> Landed<'static> {
        if self.frame.is_some() || !fin {
            return Landed::Nothing;
        }
        self.message.take().map_or(Landed::Nothing, Landed::Message)
    }

    fn growth(&self, message: PartialMessage) -> Growth {
        let buffer = if message.is_checked_text() { self.text.buffer() } else { &self.binary };
        Growth { len: buffer.len(), capacity: buffer.capacity() }
    }

    /// Streaming mode: the piece is handed out as it is.
    fn stream<'i>(
        &mut self,
        mut message: PartialMessage,
        key: MaskingKey,
        piece: &'i mut [u8],
        last: bool,
    ) -> Result<Landed<'i>, ProtocolError> {
        mask::apply(piece, key, 0);
        if message.is_checked_text() {
            message.utf8.push(piece).map_err(|_| ProtocolError::InvalidUtf8)?;
            if last {
                message.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
            }
        }
        let silent = piece.is_empty() && !last;
        let chunk = Chunk { kind: message.kind, payload: piece, first: !message.begun, last };
        message.begun |= !silent;
        self.message = (!last).then_some(message);
        Ok(match message.extension {
            _ if silent => Landed::Nothing,
            false => Landed::Chunk(chunk),
            true => Landed::ExtensionChunk(chunk),
        })
    }
}

/// The buffer of a message that grows.
struct Growth {
    len: usize,
    capacity: usize,
}

impl Growth {
    /// How much to reserve for a piece and what is expected behind it. At most as much again as has
    /// arrived: the copies of growing stay linear, and what a peer only declares costs it first.
    fn missing(&self, piece: usize, remaining: u64, fin: bool) -> usize {
        if self.capacity - self.len >= piece {
            return 0;
        }
        let ahead = remaining.min((self.len as u64).max(RESERVE_AHEAD_BYTES)) as usize;
        // How long a message with more frames to come will be, nobody knows.
        piece + if fin { ahead } else { ahead.max(self.len) }
    }
}

impl ControlPayload {
    fn push(&mut self, piece: &[u8]) {
        let at = usize::from(self.len);
        // The header was refused if it declared more than fits.
        self.bytes[at..at + piece.len()].copy_from_slice(piece);
        self.len += piece.len() as u8;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Splits `len` bytes off the front of the input.
#[inline]
pub(crate) fn take<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
    let (front, rest) = mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
