//! Frames in: header, payload, message. Borrows from the input what arrived whole and spills only
//! what did not: a partial header, or a message in several frames or reads.
//!
//! Each byte is looked at once, however the input is cut: a header is parsed when its last byte is
//! there, a payload is unmasked and checked as it lands.

use std::mem;

use crate::arch;
use crate::codec::{Codec, Limits};
use crate::connection::Event;
use crate::error::ProtocolError;
use crate::frame::{FIN, FrameHeader, HEADER_BYTES_MAX, LENGTH_16, LENGTH_64, MASK, OpCode};
use crate::mask::{self, MaskingKey};
use crate::message::{Chunk, DataKind, Message};
use crate::partial::{Landed, Partial, PartialFrame, PartialMessage, take};
use crate::utf8::Utf8Stream;

const FIN_TEXT: u8 = FIN | OpCode::Text as u8;
const FIN_BINARY: u8 = FIN | OpCode::Binary as u8;

/// What the next bytes of the input were.
pub(crate) enum Decoded<'a> {
    Message(Message<'a>),
    Chunk(Chunk<'a>),
    /// RSV1 was set on the first frame: the payload is the extension's to make sense of.
    Extension(DataKind, &'a [u8]),
    ExtensionChunk(Chunk<'a>),
    Control(OpCode, &'a [u8]),
}

/// The state of one connection's input: nothing between messages.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    partial: Option<Box<Partial>>,
}

/// How a connection's frames are to be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Messages are handed out in chunks.
    pub(crate) stream: bool,
    /// An extension uses RSV1.
    pub(crate) rsv1: bool,
}

impl Decoder {
    /// A short message in one frame that is all there: most of what most applications get. `None`:
    /// the input begins with something else.
    #[inline(always)]
    pub(crate) fn short_message<'i>(
        &self,
        mode: Mode,
        codec: &Codec,
        input: &mut &'i mut [u8],
    ) -> Option<Result<Message<'i>, ProtocolError>> {
        if self.partial.is_none()
            && !mode.stream
            && let [first @ (FIN_TEXT | FIN_BINARY), second, ..] = **input
            // Far too long where the mask bit is not what it must be.
            && let payload_len = second ^ codec.whole.mask_bit
            && payload_len <= codec.whole.short_bytes_max
            && let header_len = 2 + usize::from(codec.whole.key_len)
            && let frame_len = header_len + usize::from(payload_len)
            && frame_len <= input.len()
        {
            let (header, payload) = take(input, frame_len).split_at_mut(header_len);
            let key = header[2..].first_chunk().copied();
            let kind = if first == FIN_TEXT { DataKind::Text } else { DataKind::Binary };
            return Some(whole_message(kind, payload, key));
        }
        None
    }

    /// A message with an extended length, in one frame that is all there. `None`: the input begins
    /// with something else, or with a violation, which [`next`](Self::next) will name.
    #[inline(always)]
    pub(crate) fn long_message<'i>(
        &self,
        mode: Mode,
        codec: &Codec,
        input: &mut &'i mut [u8],
    ) -> Option<Result<Event<'i>, ProtocolError>> {
        if self.partial.is_none()
            && !mode.stream
            // No such frame is shorter than the longest header.
            && let Some(head) = input.first_chunk::<HEADER_BYTES_MAX>()
            && let [first @ (FIN_TEXT | FIN_BINARY), second, ..] = *head
            && let short @ (LENGTH_16 | LENGTH_64) = second ^ codec.whole.mask_bit
            && let Ok((payload_len, _)) = FrameHeader::payload_len(short, &head[2..])
            && payload_len <= codec.whole.payload_bytes_max
            && let header_len = FrameHeader::len_from(second)
            && payload_len <= (input.len() - header_len) as u64
        {
            let frame = take(input, header_len + payload_len as usize);
            let kind = if first == FIN_TEXT { DataKind::Text } else { DataKind::Binary };
            let key_at = header_len - usize::from(codec.whole.key_len);
            let key = frame[key_at..header_len].first_chunk().copied();
            if let Some(key) = key
                && payload_len >= codec.framed_bytes_min as u64
            {
                return Some(framed_message(kind, frame, key_at, key));
            }
            let message = whole_message(kind, &mut frame[header_len..], key);
            return Some(message.map(Event::Message));
        }
        None
    }

    /// The next message, chunk or control frame; `None` when the input is used up.
    pub(crate) fn next<'c, 'i: 'c>(
        &mut self,
        mode: Mode,
        codec: &'c mut Codec,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Decoded<'c>>, ProtocolError> {
        codec.take_back();
        loop {
            if let Some(partial) = self.partial.as_deref_mut()
                && let Some(frame) = partial.frame
            {
                if frame.remaining > 0 && input.is_empty() {
                    return Ok(None);
                }
                match partial.land(frame, mode.stream, input)? {
                    Landed::Nothing => {}
                    Landed::Chunk(chunk) => {
                        self.settle(codec);
                        return Ok(Some(Decoded::Chunk(chunk)));
                    }
                    Landed::ExtensionChunk(chunk) => {
                        self.settle(codec);
                        return Ok(Some(Decoded::ExtensionChunk(chunk)));
                    }
                    Landed::Control => {
                        codec.scratch.control = mem::take(&mut partial.control);
                        self.settle(codec);
                        let payload = codec.scratch.control.as_bytes();
                        return Ok(Some(Decoded::Control(frame.opcode, payload)));
                    }
                    Landed::Message(message) => return self.lend(message, codec).map(Some),
                }
                continue;
            }
            let Some(header) = self.header(codec, input)? else { return Ok(None) };
            let message = self.message_after(mode, &header, &codec.limits)?;
            let borrows = match message {
                Some(_) => header.fin && header.opcode != OpCode::Continuation && !mode.stream,
                None => true,
            };
            if borrows && header.payload_len <= input.len() as u64 {
                self.settle(codec);
                let payload = take(input, header.payload_len as usize);
                return whole_frame(&header, payload).map(Some);
            }
            let partial = self.partial.get_or_insert_with(|| codec.scratch.take());
            partial.frame = Some(PartialFrame {
                opcode: header.opcode,
                fin: header.fin,
                key: header.masking_key.unwrap_or_default(),
                remaining: header.payload_len,
            });
            if message.is_some() {
                partial.message = message;
            }
        }
    }

    /// See [`Connection::room`](crate::Connection::room).
    pub(crate) fn room(
        &mut self,
        mode: Mode,
        bytes_min: usize,
        bytes_max: usize,
    ) -> Option<&mut [u8]> {
        let partial = self.partial.as_deref_mut().filter(|_| !mode.stream)?;
        partial.room(bytes_min, bytes_max)
    }

    /// Goes on with so many bytes in the room.
    pub(crate) fn next_in_room<'c>(
        &mut self,
        codec: &'c mut Codec,
        len: usize,
    ) -> Result<Option<Decoded<'c>>, ProtocolError> {
        codec.take_back();
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(None) };
        match partial.land_in_room(len)? {
            Landed::Message(message) => self.lend(message, codec).map(Some),
            _ => Ok(None),
        }
    }

    /// The next header; what there is of it is kept if it is not whole.
    fn header(
        &mut self,
        codec: &mut Codec,
        input: &mut &mut [u8],
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let spilled = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        if spilled == 0 {
            if let Some((header, len)) = FrameHeader::parse(input, codec.role)? {
                take(input, len);
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_with(|| codec.scratch.take());
        loop {
            let have = usize::from(partial.header_len);
            let need = if have < 2 { 2 } else { FrameHeader::len_from(partial.header[1]) };
            let piece = take(input, (need - have).min(input.len()));
            let now = have + piece.len();
            partial.header[have..now].copy_from_slice(piece);
            partial.header_len = now as u8;
            // Parsed when two bytes are there, which tell the length, and when all are.
            let parsed = FrameHeader::parse(&partial.header[..now], codec.role)?;
            if let Some((header, _)) = parsed {
                partial.header_len = 0;
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The message that a data frame begins or goes on with; `None` for a control frame. Checks the
    /// order of fragments (section 5.4) and the limits, before a byte of the payload is taken.
    fn message_after(
        &self,
        mode: Mode,
        header: &FrameHeader,
        limits: &Limits,
    ) -> Result<Option<PartialMessage>, ProtocolError> {
        if header.opcode.is_control() {
            return Ok(None);
        }
        // Section 5.2 with RFC 7692 section 6: RSV1 only where it was negotiated, and only on the
        // first frame of a message.
        if header.rsv1 && (!mode.rsv1 || header.opcode == OpCode::Continuation) {
            return Err(ProtocolError::ReservedBits);
        }
        let before = self.partial.as_ref().and_then(|partial| partial.message);
        let kind = match (header.opcode, before) {
            (OpCode::Continuation, None) => return Err(ProtocolError::ContinuationWithoutStart),
            (OpCode::Continuation, Some(message)) => message.kind,
            (_, Some(_)) => return Err(ProtocolError::MessageInterleaved),
            (OpCode::Text, None) => DataKind::Text,
            (_, None) => DataKind::Binary,
        };
        let mut message = before.unwrap_or(PartialMessage {
            kind,
            extension: header.rsv1,
            fragments: 0,
            bytes: 0,
            utf8: Utf8Stream::default(),
            begun: false,
        });
        // Each addend is below 2^63, the sum so far is within the limit: see CVE-2020-27813 for
        // what a wrapped sum does.
        message.bytes = message.bytes.saturating_add(header.payload_len);
        message.fragments += 1;
        if header.payload_len > limits.frame_bytes_max {
            return Err(ProtocolError::FrameTooLarge);
        }
        if message.bytes > limits.message_bytes_max {
            return Err(ProtocolError::MessageTooLarge);
        }
        if message.fragments > limits.fragments_per_message_max {
            return Err(ProtocolError::TooManyFragments);
        }
        Ok(Some(message))
    }

    /// Hands out a message that was put together, from the scratch space: the connection itself is
    /// free again.
    fn lend<'c>(
        &mut self,
        message: PartialMessage,
        codec: &'c mut Codec,
    ) -> Result<Decoded<'c>, ProtocolError> {
        codec.scratch.lent = self.partial.take();
        let lent = codec.scratch.lent.get_or_insert_default();
        Ok(match message {
            PartialMessage { extension: true, kind, .. } => {
                Decoded::Extension(kind, lent.binary.as_bytes())
            }
            PartialMessage { kind: DataKind::Binary, .. } => {
                Decoded::Message(Message::Binary(lent.binary.as_bytes()))
            }
            PartialMessage { kind: DataKind::Text, .. } => {
                let text = lent.text.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
                Decoded::Message(Message::Text(text))
            }
        })
    }

    /// Gives the partial state back when nothing is under way any more.
    fn settle(&mut self, codec: &mut Codec) {
        if let Some(partial) = self.partial.take_if(|partial| partial.is_idle()) {
            codec.release(partial);
        }
    }

    /// Nothing is under way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes())
    }

    /// Drops all that is under way, when the connection ends.
    pub(crate) fn reset(&mut self) {
        self.partial = None;
    }
}

/// Lends a message as the frame that a server sends it in: the peer's header without the key, moved
/// to where that ends.
#[inline]
fn framed_message(
    kind: DataKind,
    frame: &mut [u8],
    key_at: usize,
    key: MaskingKey,
) -> Result<Event<'_>, ProtocolError> {
    frame.copy_within(..key_at, key.len());
    let frame = &mut frame[key.len()..];
    frame[1] &= !MASK;
    Ok(match kind {
        DataKind::Text => {
            let text = arch::unmask_text_behind(frame, key_at, key);
            let (text, frame) = text.ok_or(ProtocolError::InvalidUtf8)?;
            Event::Framed(Message::Text(text), frame)
        }
        DataKind::Binary => {
            mask::apply(&mut frame[key_at..], key, 0);
            Event::Framed(Message::Binary(&frame[key_at..]), frame)
        }
    })
}

/// A frame that is all there: a control frame, or a message in one frame.
fn whole_frame<'i>(
    header: &FrameHeader,
    payload: &'i mut [u8],
) -> Result<Decoded<'i>, ProtocolError> {
    let kind = match header.opcode {
        OpCode::Text => DataKind::Text,
        OpCode::Binary | OpCode::Continuation => DataKind::Binary,
        OpCode::Close | OpCode::Ping | OpCode::Pong => {
            unmask(payload, header.masking_key);
            return Ok(Decoded::Control(header.opcode, payload));
        }
    };
    if header.rsv1 {
        unmask(payload, header.masking_key);
        return Ok(Decoded::Extension(kind, payload));
    }
    whole_message(kind, payload, header.masking_key).map(Decoded::Message)
}

#[inline(always)]
fn whole_message(
    kind: DataKind,
    payload: &mut [u8],
    key: Option<MaskingKey>,
) -> Result<Message<'_>, ProtocolError> {
    match (kind, key) {
        (DataKind::Text, Some(key)) => arch::unmask_text(payload, key).map(Message::Text),
        (DataKind::Text, None) => arch::valid_text(payload).map(Message::Text),
        (DataKind::Binary, key) => {
            unmask(payload, key);
            Some(Message::Binary(payload))
        }
    }
    .ok_or(ProtocolError::InvalidUtf8)
}

#[inline]
fn unmask(payload: &mut [u8], key: Option<MaskingKey>) {
    if let Some(key) = key {
        mask::apply(payload, key, 0);
    }
}
