//! permessage-deflate (RFC 7692), for both roles, without IO: the negotiation, and the work on each
//! message.
//!
//! - [`Deflate`] belongs to one connection: what was agreed, and windows where takeover was.
//! - [`Inflater`] and [`Compressor`] belong to one event loop and are lent to the connection in
//!   hand, as [`Codec`](crate::Codec) is. They hold zlib's memory and the buffers.
//! - [`DeflateConfig`] is what one end is willing to do, [`Params`] what both have agreed on.
//!
//! A server answers the offers of a request with [`negotiate`] and writes the result with
//! [`write_accept`](crate::handshake::write_accept). A client offers with
//! [`ClientRequest::deflate`](crate::handshake::ClientRequest::deflate) and finds the result in
//! [`Accepted::deflate`](crate::handshake::Accepted::deflate). From then on:
//!
//! ```
//! use sockeye_codec::deflate::{Compressor, Deflate, DeflateConfig, Inflater, negotiate};
//! use sockeye_codec::{Codec, Connection, Event, Limits, Message, ProtocolError, Role};
//!
//! # fn main() -> Result<(), ProtocolError> {
//! // For the loop:
//! let (config, limits) = (DeflateConfig::default(), Limits::default());
//! let mut codec = Codec::server(limits);
//! let (mut inflater, mut compressor) = (Inflater::new(&limits), Compressor::new(&config));
//! // For each connection, if the client offers it:
//! let offers = [&b"permessage-deflate; client_max_window_bits"[..]];
//! let params = negotiate(offers, &config).expect("an offer that can be accepted");
//! let mut deflate = Deflate::new(&params, Role::Server);
//! let mut connection = Connection::new().allow_rsv1();
//!
//! let mut to_wire = Vec::new();
//! // "Hello", compressed (RFC 7692 section 7.2.3.1) and masked with zeros.
//! let mut bytes = *b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00";
//! let mut input = &mut bytes[..];
//! while let Some(event) = connection.receive(&mut codec, &mut input, &mut to_wire)? {
//!     let message = match event {
//!         Event::Message(message) => message,
//!         Event::Extension(kind, payload) => {
//!             match deflate.inflate(&mut inflater, kind, payload) {
//!                 Ok(message) => message,
//!                 Err(error) => return Err(connection.fail(error, None, &mut to_wire)),
//!             }
//!         }
//!         _ => continue,
//!     };
//!     assert_eq!(message, Message::Text("Hello"));
//!     if connection.is_open() {
//!         deflate.encode(&mut compressor, message, None, &mut to_wire);
//!     }
//! }
//! // It is too short to be worth compressing.
//! assert_eq!(to_wire, b"\x81\x05Hello");
//! # Ok(()) }
//! ```

mod compressor;
mod config;
mod inflater;
mod params;
mod stream;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;

use crate::error::ProtocolError;
use crate::frame::{FrameHeader, OpCode, Role};
use crate::mask::MaskingKey;
use crate::message::{Chunk, DataKind, Message};
use compressor::Context;
use inflater::Turn;
use params::Direction;
use stream::Stream;
use window::Window;

pub use compressor::{Class, Compressor};
pub use config::{DeflateConfig, DeflateConfigError};
pub use inflater::Inflater;
pub(crate) use params::{AnswerError, check_answer, offer};
pub use params::{Params, negotiate};

/// What an [`Inflater`] or a [`Compressor`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that went through it.
    pub messages: u64,
    /// Their bytes before.
    pub bytes_in: u64,
    /// Their bytes after.
    pub bytes_out: u64,
}

impl Counts {
    const fn add(&mut self, bytes_in: usize, bytes_out: usize) {
        self.messages += 1;
        self.bytes_in += bytes_in as u64;
        self.bytes_out += bytes_out as u64;
    }
}

/// permessage-deflate on one connection. Its windows are allocated when they are first used.
pub struct Deflate {
    sends: Direction,
    receives: Direction,
    /// What came in last, where the peer may refer to it.
    window: Window,
    /// When the loop's inflater had this window last.
    turn: Turn,
    /// What went out last, where we refer to it.
    context: Option<Context>,
    /// The message under way, in streaming mode.
    stream: Option<Box<Stream>>,
}

impl Deflate {
    /// For a connection on which these were agreed, at the end that has this role.
    pub fn new(params: &Params, role: Role) -> Self {
        let (sends, receives) = params.directions(role);
        Self {
            sends,
            receives,
            window: Window::new(receives.window_bits),
            turn: Turn::default(),
            context: None,
            stream: None,
        }
    }

    /// The message of an [`Event::Extension`](crate::Event::Extension), lent from the inflater. Not
    /// a byte more than [`message_bytes_max`](crate::Limits::message_bytes_max) is inflated, and
    /// text is checked as it comes out.
    ///
    /// # Errors
    /// The peer's violation: the connection is to be [failed](crate::Connection::fail).
    pub fn inflate<'s>(
        &mut self,
        inflater: &'s mut Inflater,
        kind: DataKind,
        payload: &[u8],
    ) -> Result<Message<'s>, ProtocolError> {
        let window = self.receives.takeover.then_some((&mut self.window, &mut self.turn));
        inflater.message(window, kind, payload)
    }

    /// The next piece of what an [`Event::ExtensionChunk`](crate::Event::ExtensionChunk) inflates
    /// to, lent from the inflater; call it until it gives `None`. A small chunk may become many.
    ///
    /// # Errors
    /// As [`inflate`](Self::inflate), and too many of such messages under way at once.
    pub fn inflate_chunk<'s>(
        &mut self,
        inflater: &'s mut Inflater,
        chunk: &mut Chunk<'_>,
    ) -> Result<Option<Chunk<'s>>, ProtocolError> {
        if std::mem::take(&mut chunk.first) {
            // The window goes on without the loop's inflater.
            self.turn = Turn::default();
            self.stream = Some(inflater.begin_stream(chunk.kind, &self.window)?);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let piece = stream.next(inflater.streaming(), &mut self.window, chunk)?;
        if piece.is_some_and(|piece| piece.last) {
            self.stream = None;
            if !self.receives.takeover {
                self.window.clear();
            }
        }
        Ok(piece)
    }

    /// Appends a message: compressed where that is worth it, else as it is. Nothing may be sent
    /// once the connection is closed or closing, which is for the caller to know
    /// ([`Connection::is_open`](crate::Connection::is_open)). Order of calls is order on the wire.
    pub fn encode(
        &mut self,
        compressor: &mut Compressor,
        message: Message<'_>,
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) {
        match self.class() {
            Some(class) => compressor.encode(class, message, masking_key, out),
            None => compressor.payload_in_context(
                &mut self.context,
                self.sends.window_bits,
                message.kind(),
                message.as_bytes(),
                masking_key,
                out,
            ),
        }
    }

    /// Appends frames that a server has encoded before, one behind the other: messages as
    /// [`encode`](Self::encode) does, all others as they are.
    pub fn encode_frames(&mut self, compressor: &mut Compressor, frames: &[u8], out: &mut Vec<u8>) {
        let Some(class) = self.class() else {
            let window_bits = self.sends.window_bits;
            return each_frame(frames, out, |kind, payload, out| {
                let context = &mut self.context;
                compressor.payload_in_context(context, window_bits, kind, payload, None, out);
            });
        };
        compressor.encode_frames(class, frames, out);
    }

    /// The connections that can be sent the same compressed bytes; `None` for one that has a
    /// context of its own.
    pub const fn class(&self) -> Option<Class> {
        if self.sends.takeover { None } else { Some(Class::new(self.sends.window_bits)) }
    }

    /// Whether there is a context of what was sent.
    pub const fn has_context(&self) -> bool {
        self.context.is_some()
    }

    /// Frees the context of what was sent, for a connection that is silent: the next message
    /// begins a new one. Nobody is bound to refer to what came before. What the peer may refer to
    /// stays: it is the last bytes that came in and nothing else.
    pub fn park(&mut self) {
        self.context = None;
    }

    /// Bytes that are held for what came in.
    pub fn window_bytes(&self) -> usize {
        self.window.bytes_held()
    }
}

/// Gives the payload of each message to `encode`; what is no message is appended as it is.
fn each_frame(
    mut frames: &[u8],
    out: &mut Vec<u8>,
    mut encode: impl FnMut(DataKind, &[u8], &mut Vec<u8>),
) {
    while let Ok(Some((header, header_len))) = FrameHeader::parse(frames, Role::Client)
        && let Some(len) = usize::try_from(header.payload_len).ok()
        && let Some(payload) = frames[header_len..].get(..len)
    {
        let (frame, rest) = frames.split_at(header_len + len);
        frames = rest;
        match header.opcode {
            OpCode::Text if header.fin && !header.rsv1 => encode(DataKind::Text, payload, out),
            OpCode::Binary if header.fin && !header.rsv1 => encode(DataKind::Binary, payload, out),
            _ => out.extend_from_slice(frame),
        }
    }
    out.extend_from_slice(frames);
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("sends", &self.sends)
            .field("receives", &self.receives)
            .field("window_bytes", &self.window_bytes())
            .field("has_context", &self.has_context())
            .finish_non_exhaustive()
    }
}
