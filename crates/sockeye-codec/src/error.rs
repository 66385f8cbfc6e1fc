//! What can go wrong, by whose fault: the peer's ([`ProtocolError`]) or the caller's
//! ([`SendError`]).

use std::fmt;

use crate::close::CloseCode;

/// The peer broke RFC 6455 or went over one of our [`Limits`](crate::Limits).
///
/// The connection is beyond repair ("_Fail the WebSocket Connection_", section 7.1.7): the close
/// frame with [`close_code`](ProtocolError::close_code) has been written and all further input is
/// discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 set without an extension that gives it a meaning (section 5.2).
    ReservedBits,
    /// Opcode 0x3-0x7 or 0xB-0xF (section 5.2).
    ReservedOpcode(u8),
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length in more bytes than it needs (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its most significant bit set (section 5.2).
    LengthBeyond63Bits,
    /// A control frame with more than 125 bytes of payload (section 5.5).
    ControlTooLong,
    /// A control frame without FIN (section 5.5).
    ControlFragmented,
    /// A continuation frame where no message is under way (section 5.4).
    ContinuationWithoutStart,
    /// A new message before the last one was finished (section 5.4).
    MessageInterleaved,
    /// Text, or a close reason, that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A close frame with a payload of one byte (section 5.5.1).
    ClosePayloadTruncated,
    /// A close code that must not stand on the wire (section 7.4).
    InvalidCloseCode(u16),
    /// A frame longer than [`Limits::frame_bytes_max`](crate::Limits::frame_bytes_max).
    FrameTooLarge,
    /// A message longer than [`Limits::message_bytes_max`](crate::Limits::message_bytes_max).
    MessageTooLarge,
    /// More frames in a message than
    /// [`Limits::fragments_per_message_max`](crate::Limits::fragments_per_message_max).
    TooManyFragments,
    /// A compressed message that is none: its payload is not what a DEFLATE compressor makes, or
    /// ends before it should (RFC 7692 section 7.2.2).
    InvalidDeflate,
    /// More than 256 DEFLATE blocks with BFINAL in one message.
    TooManyFinalBlocks,
    /// Too many compressed messages under way at once in streaming mode: our limit, not this peer's
    /// fault ([`Inflater::streams_max`](crate::deflate::Inflater::streams_max)).
    TooManyInflaters,
}

impl ProtocolError {
    /// The code that the peer is told. This is the one place where it is decided.
    pub const fn close_code(self) -> CloseCode {
        match self {
            // Section 7.4.1: 1007 is for "data within a message that was not consistent with the
            // type of the message"; RFC 7692 names no code for data that is not DEFLATE.
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLarge
            | Self::MessageTooLarge
            | Self::TooManyFragments
            | Self::TooManyFinalBlocks => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyInflaters => CloseCode::TRY_AGAIN_LATER,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthBeyond63Bits
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::ContinuationWithoutStart
            | Self::MessageInterleaved
            | Self::ClosePayloadTruncated
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// One short line; it is also the reason in the close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::Unmasked => "client frame not masked",
            Self::Masked => "server frame masked",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthBeyond63Bits => "length beyond 63 bits",
            Self::ControlTooLong => "control frame longer than 125 bytes",
            Self::ControlFragmented => "control frame fragmented",
            Self::ContinuationWithoutStart => "continuation without a message",
            Self::MessageInterleaved => "new message inside a fragmented one",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::ClosePayloadTruncated => "close payload of one byte",
            Self::InvalidCloseCode(_) => "invalid close code",
            Self::FrameTooLarge => "frame too large",
            Self::MessageTooLarge => "message too large",
            Self::TooManyFragments => "too many fragments",
            Self::InvalidDeflate => "invalid compressed data",
            Self::TooManyFinalBlocks => "too many final blocks",
            Self::TooManyInflaters => "too many compressed messages at once",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::ReservedOpcode(opcode) => write!(f, " {opcode:#x}"),
            Self::InvalidCloseCode(code) => write!(f, " {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The caller asked for a frame that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A close frame has been sent or received: nothing may follow it (section 5.5.1).
    Closed,
    /// A ping or pong of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A close code that must not stand on the wire, or a reason of more than 123 bytes
    /// (sections 5.5.1, 7.4).
    InvalidClose,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed or closing",
            Self::ControlTooLong => "a ping or pong carries at most 125 bytes",
            Self::InvalidClose => {
                "a close frame takes a code that may be sent and a reason of at most 123 bytes"
            }
        })
    }
}

impl std::error::Error for SendError {}
