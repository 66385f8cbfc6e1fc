//! The protocol state machine of one connection: `Open`, then `Closing` once our close frame has
//! left, then `Closed`. Answers pings and close frames by itself, keeps the order of fragments and
//! the limits, and turns the first violation into its close frame.

use crate::close::{CloseCode, CloseFrame};
use crate::codec::Codec;
use crate::decode::{Decoded, Decoder, Mode};
use crate::encode;
use crate::error::{ProtocolError, SendError};
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, OpCode};
use crate::mask::MaskingKey;
use crate::message::{Chunk, DataKind, Message};

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A whole message, and behind it the frame that a server sends it in: header and payload, in
    /// one piece, where the peer's frame was. Only [where it is asked
    /// for](Codec::lend_frames_from).
    Framed(Message<'a>, &'a [u8]),
    /// A piece of a message ([streaming mode](Connection::streaming)).
    Chunk(Chunk<'a>),
    /// A whole message with RSV1 set, where [an extension](Connection::allow_rsv1) gives that a
    /// meaning. The payload is as it came, unmasked; whether text is UTF-8 is for the extension to
    /// check once it has undone its work: [`Deflate::inflate`](crate::deflate::Deflate::inflate).
    Extension(DataKind, &'a [u8]),
    /// A piece of such a message (streaming mode).
    ExtensionChunk(Chunk<'a>),
    /// A ping with its payload; its pong has been written.
    Ping(&'a [u8]),
    /// A pong with its payload, asked for or not.
    Pong(&'a [u8]),
    /// The peer's close frame; the answer has been written unless it was the answer to ours. No
    /// event follows.
    Close(Option<CloseFrame<'a>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    /// Our close frame has been written, the peer's has not come.
    Closing,
    /// Both have, or the connection failed: what comes is discarded.
    Closed,
}

/// One connection, past its handshake. 16 bytes while nothing is under way.
///
/// Nothing leaves by itself: answers are appended to the buffer that the caller gives.
#[derive(Debug, Default)]
pub struct Connection {
    decoder: Decoder,
    mode: Mode,
    state: State,
}

impl Connection {
    /// An open connection that gets whole messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands out messages in [chunks](Event::Chunk) as they arrive instead of whole: nothing is put
    /// together, so a message of any length takes no memory. The limits apply all the same.
    #[must_use]
    pub const fn streaming(mut self) -> Self {
        self.mode.stream = true;
        self
    }

    /// An extension that uses RSV1 was negotiated: such messages come as [`Event::Extension`].
    #[must_use]
    pub const fn allow_rsv1(mut self) -> Self {
        self.mode.rsv1 = true;
        self
    }

    /// Takes bytes off the front of `input` up to and including the next event, and appends what
    /// the protocol answers by itself to `out`. `None`: the input is used up; what was not a whole
    /// frame is kept. The event is borrowed from `input` or `codec`: let go of it, then call again.
    ///
    /// # Errors
    /// The peer's violation, once. Its close frame is in `out`; send that, then close the transport
    /// (RFC 6455 section 7.1.7).
    #[inline]
    pub fn receive<'c, 'i: 'c>(
        &mut self,
        codec: &'c mut Codec,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        match self.receive_short(codec, input, out)? {
            Some(message) => Ok(Some(Event::Message(message))),
            None => self.receive_any(codec, input, out),
        }
    }

    /// [`receive`](Self::receive) for a message of at most 125 bytes that came whole, in one frame:
    /// most of what most applications get. `None`: the input begins with something else, which is
    /// for [`receive_any`](Self::receive_any). In a loop of its own it leaves the compiler less to
    /// keep in mind.
    ///
    /// # Errors
    /// As `receive`.
    #[inline(always)]
    pub fn receive_short<'i>(
        &mut self,
        codec: &mut Codec,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Message<'i>>, ProtocolError> {
        if self.state == State::Closed {
            return Ok(None);
        }
        match self.decoder.short_message(self.mode, codec, input) {
            Some(Ok(message)) => Ok(Some(message)),
            None => Ok(None),
            Some(Err(error)) => Err(self.fail_whole(error, codec, out)),
        }
    }

    #[cold]
    #[inline(never)]
    fn fail_whole(
        &mut self,
        error: ProtocolError,
        codec: &mut Codec,
        out: &mut Vec<u8>,
    ) -> ProtocolError {
        let key = codec.next_masking_key();
        self.fail(error, key, out)
    }

    /// [`receive`](Self::receive) for all that [`receive_short`](Self::receive_short) has left.
    ///
    /// # Errors
    /// As `receive`.
    #[inline]
    pub fn receive_any<'c, 'i: 'c>(
        &mut self,
        codec: &'c mut Codec,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        if input.is_empty() && self.decoder.is_idle() {
            codec.take_back();
            return Ok(None);
        }
        self.receive_long(codec, input, out)
    }

    /// A long message that came whole needs none of what [`receive_rest`](Self::receive_rest) does,
    /// and is to touch little code: it is cold after each system call.
    #[inline(never)]
    fn receive_long<'c, 'i: 'c>(
        &mut self,
        codec: &'c mut Codec,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        if self.state != State::Closed
            && let Some(message) = self.decoder.long_message(self.mode, codec, input)
        {
            return message.map(Some).map_err(|error| self.fail_whole(error, codec, out));
        }
        self.receive_rest(codec, input, out)
    }

    #[inline(never)]
    fn receive_rest<'c, 'i: 'c>(
        &mut self,
        codec: &'c mut Codec,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        if self.state == State::Closed {
            codec.take_back();
            *input = &mut [];
            return Ok(None);
        }
        // Drawn before it is known to be needed: the event borrows the codec. Free for a server.
        let key = codec.next_masking_key();
        let decoded = self.decoder.next(self.mode, codec, input);
        self.handle(decoded, out, key)
    }

    /// Where the next bytes of the input may be received instead of somewhere else: the buffer of
    /// the message under way, if at least `bytes_min` and at most `bytes_max` of its frame fit
    /// there. That saves a copy of large messages; where there is no room, or always, bytes go to
    /// [`receive`](Self::receive). What is not received into the room is of no interest.
    #[inline]
    pub fn room(&mut self, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        if self.state == State::Closed {
            return None;
        }
        self.decoder.room(self.mode, bytes_min, bytes_max)
    }

    /// Goes on with `len` bytes that were received into the last [`room`](Self::room). The event,
    /// if they complete the message, is borrowed from `codec`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// # Panics
    /// There was no room for so many.
    pub fn receive_in_room<'c>(
        &mut self,
        codec: &'c mut Codec,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        if self.state == State::Closed {
            return Ok(None);
        }
        let key = codec.next_masking_key();
        let decoded = self.decoder.next_in_room(codec, len);
        self.handle(decoded, out, key)
    }

    #[inline]
    fn handle<'c>(
        &mut self,
        decoded: Result<Option<Decoded<'c>>, ProtocolError>,
        out: &mut Vec<u8>,
        key: Option<MaskingKey>,
    ) -> Result<Option<Event<'c>>, ProtocolError> {
        match decoded {
            Ok(None) => Ok(None),
            Ok(Some(Decoded::Message(message))) => Ok(Some(Event::Message(message))),
            Ok(Some(Decoded::Chunk(chunk))) => Ok(Some(Event::Chunk(chunk))),
            Ok(Some(Decoded::Extension(kind, payload))) => {
                Ok(Some(Event::Extension(kind, payload)))
            }
            Ok(Some(Decoded::ExtensionChunk(chunk))) => Ok(Some(Event::ExtensionChunk(chunk))),
            Ok(Some(Decoded::Control(opcode, payload))) => {
                self.handle_control(opcode, payload, out, key).map(Some)
            }
            Err(error) => Err(self.fail(error, key, out)),
        }
    }

    #[inline(never)]
    fn handle_control<'a>(
        &mut self,
        opcode: OpCode,
        payload: &'a [u8],
        out: &mut Vec<u8>,
        key: Option<MaskingKey>,
    ) -> Result<Event<'a>, ProtocolError> {
        match opcode {
            OpCode::Close => {
                let frame =
                    CloseFrame::parse(payload).map_err(|error| self.fail(error, key, out))?;
                if self.state == State::Open {
                    // Section 5.5.1: "MUST send a Close frame in response", "typically echos the
                    // status code it received".
                    let echo = frame.map(|frame| CloseFrame { reason: "", ..frame });
                    encode::close(out, echo, key);
                }
                self.end();
                Ok(Event::Close(frame))
            }
            OpCode::Ping => {
                // Section 5.5.3: "identical Application data". Not after our close frame: see
                // docs/decisions/0003-no-pong-after-close.md.
                if self.state == State::Open {
                    encode::frame(out, true, OpCode::Pong, payload, key);
                }
                Ok(Event::Ping(payload))
            }
            _ => Ok(Event::Pong(payload)),
        }
    }

    /// Fails the connection for a violation that an extension has found (section 7.1.7): appends
    /// the close frame that says why, unless ours has left before. All further input is discarded.
    pub fn fail(
        &mut self,
        error: ProtocolError,
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> ProtocolError {
        if self.state == State::Open {
            let close = CloseFrame { code: error.close_code(), reason: error.reason() };
            encode::close(out, Some(close), masking_key);
        }
        self.end();
        error
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.decoder.reset();
    }

    /// Appends a whole message. A client draws the masking key from
    /// [`Codec::next_masking_key`]; a server has none.
    ///
    /// # Errors
    /// A close frame has been sent or received.
    #[inline]
    pub fn send<'a>(
        &mut self,
        message: impl Into<Message<'a>>,
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        encode::message(out, message.into(), masking_key);
        Ok(())
    }

    /// Appends a ping.
    ///
    /// # Errors
    /// A close frame has been sent or received, or the payload has more than 125 bytes.
    pub fn ping(
        &mut self,
        payload: &[u8],
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.control(OpCode::Ping, payload, masking_key, out)
    }

    /// Appends a pong that nobody asked for: "a unidirectional heartbeat" (section 5.5.3).
    ///
    /// # Errors
    /// A close frame has been sent or received, or the payload has more than 125 bytes.
    pub fn pong(
        &mut self,
        payload: &[u8],
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.control(OpCode::Pong, payload, masking_key, out)
    }

    fn control(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        if payload.len() > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(SendError::ControlTooLong);
        }
        encode::frame(out, true, opcode, payload, masking_key);
        Ok(())
    }

    /// Begins the closing handshake: appends a close frame with a code and a reason of at most 123
    /// bytes. Nothing may follow it; messages still come until the peer's close frame does.
    ///
    /// # Errors
    /// A close frame has been sent or received before, or this one must not be sent.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        let close = CloseFrame { code, reason };
        close.check()?;
        encode::close(out, Some(close), masking_key);
        self.state = State::Closing;
        Ok(())
    }

    /// Bytes held for a message or frame that is under way: 0 between messages.
    pub fn bytes_held(&self) -> usize {
        self.decoder.bytes_held()
    }

    #[inline]
    fn check_open(&self) -> Result<(), SendError> {
        if self.is_open() { Ok(()) } else { Err(SendError::Closed) }
    }

    /// No close frame has been sent or received.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The closing handshake is done, or the connection failed: the transport may be closed, a
    /// server's at once (section 7.1.1).
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}
