//! What the application sees: messages, and chunks of messages.

use bytes::Bytes;

use crate::encode;
use crate::frame::OpCode;

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// UTF-8, checked.
    Text,
    /// Any bytes.
    Binary,
}

impl DataKind {
    /// The opcode of the first frame of such a message.
    pub const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

/// A whole message, borrowed: from the bytes that were received where it arrived in one frame, else
/// from the buffer that put it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Text or binary.
    #[inline]
    pub const fn kind(self) -> DataKind {
        match self {
            Self::Text(_) => DataKind::Text,
            Self::Binary(_) => DataKind::Binary,
        }
    }

    /// The text of a text message.
    pub const fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Payload bytes.
    pub const fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The payload, to keep. This allocates and copies: a message borrows from a buffer that other
    /// connections use next.
    pub fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Bytes> for Message<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// A piece of a message, as it arrived (streaming mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Of a text or a binary message.
    pub kind: DataKind,
    /// The bytes. In a text message all bytes up to here are valid UTF-8, but a character may be
    /// split between two chunks; the last chunk never ends inside a character.
    pub payload: &'a [u8],
    /// The first chunk of its message.
    pub first: bool,
    /// The last chunk of its message; its payload may be empty.
    pub last: bool,
}

/// A message encoded once, to be sent by a server to many connections. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct PreparedMessage(Bytes);

impl PreparedMessage {
    /// Encodes a message as a server sends it: one unmasked frame.
    pub fn new<'a>(message: impl Into<Message<'a>>) -> Self {
        let mut frame = Vec::new();
        encode::message(&mut frame, message.into(), None);
        Self(frame.into())
    }

    /// The frame: header and payload.
    pub const fn frame(&self) -> &Bytes {
        &self.0
    }
}
