//! The frame header of RFC 6455 section 5.2: read and written by pure functions.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-+-+-+-+-------+-+-------------+-------------------------------+
//!  |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//!  |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//!  |N|V|V|V|       |S|             |   (if payload len==126/127)   |
//!  | |1|2|3|       |K|             |                               |
//!  +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//! ```

use crate::error::ProtocolError;
use crate::mask::MaskingKey;

/// The longest header: 2 bytes, 8 of extended length, 4 of masking key.
pub const HEADER_BYTES_MAX: usize = 14;
/// "All control frames MUST have a payload length of 125 bytes or less" (section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
pub(crate) const MASK: u8 = 0x80;
pub(crate) const LENGTH_16: u8 = 126;
pub(crate) const LENGTH_64: u8 = 127;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We mask what we send; the peer must not.
    Client,
    /// The peer masks what it sends; we must not.
    Server,
}

/// What a frame is (section 5.2); the reserved values are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// 0x0: goes on with a fragmented message.
    Continuation = 0x0,
    /// 0x1: begins a text message.
    Text = 0x1,
    /// 0x2: begins a binary message.
    Binary = 0x2,
    /// 0x8: begins or answers the closing handshake.
    Close = 0x8,
    /// 0x9: asks for a pong.
    Ping = 0x9,
    /// 0xA: answers a ping, or is a one-way heartbeat.
    Pong = 0xA,
}

impl OpCode {
    const fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            reserved => return Err(ProtocolError::ReservedOpcode(reserved)),
        })
    }

    /// Close, ping or pong: "opcodes where the most significant bit of the opcode is 1"
    /// (section 5.5).
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A frame header that was checked against section 5.2, all but the order of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1; its meaning is the negotiated extension's.
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The key, if the payload is masked.
    pub masking_key: Option<MaskingKey>,
    /// Payload bytes; below 2^63.
    pub payload_len: u64,
}

impl FrameHeader {
    /// How many bytes the header has, told by its second byte (the one with MASK and the length).
    #[inline]
    pub(crate) const fn len_from(second: u8) -> usize {
        let extended = match second & !MASK {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        let key = if second & MASK == 0 { 0 } else { 4 };
        2 + extended + key
    }

    /// Whether a header may begin with this byte.
    #[inline]
    pub(crate) const fn check_first(first: u8) -> Result<OpCode, ProtocolError> {
        let opcode = match OpCode::from_bits(first & 0x0F) {
            Ok(opcode) => opcode,
            Err(reserved) => return Err(reserved),
        };
        if first & RSV2_RSV3 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        if opcode.is_control() {
            // Section 5.5: "MUST NOT be fragmented"; no extension gives RSV1 a meaning there.
            if first & RSV1 != 0 {
                return Err(ProtocolError::ReservedBits);
            }
            if first & FIN == 0 {
                return Err(ProtocolError::ControlFragmented);
            }
        }
        Ok(opcode)
    }

    /// Reads a header from the front of `bytes`: the header and how many bytes it took, or `None`
    /// where more bytes are needed. What can be judged by the first byte or two is judged then.
    ///
    /// # Errors
    /// Every violation of section 5.2 that a single header can show, for the role of the reader.
    #[inline]
    pub fn parse(bytes: &[u8], role: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        let (first, second) = match *bytes {
            [] => return Ok(None),
            [first] => return Self::check_first(first).map(|_| None),
            [first, second, ..] => (first, second),
        };
        let opcode = Self::check_first(first)?;
        match (role, second & MASK != 0) {
            // Section 5.1: "The server MUST close the connection upon receiving a frame that is
            // not masked." "A client MUST close a connection if it detects a masked frame."
            (Role::Server, false) => return Err(ProtocolError::Unmasked),
            (Role::Client, true) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let short = second & !MASK;
        if opcode.is_control() && short as usize > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong);
        }
        let len = Self::len_from(second);
        let Some(header) = bytes.get(..len) else { return Ok(None) };
        let (payload_len, key) = Self::payload_len(short, &header[2..])?;
        let masking_key = key.first_chunk::<4>().copied();
        let fin = first & FIN != 0;
        let rsv1 = first & RSV1 != 0;
        Ok(Some((Self { fin, rsv1, opcode, masking_key, payload_len }, len)))
    }

    /// The length and what follows it. "The minimal number of bytes MUST be used to encode the
    /// length", "the most significant bit MUST be 0" (section 5.2).
    #[inline]
    pub(crate) fn payload_len(short: u8, rest: &[u8]) -> Result<(u64, &[u8]), ProtocolError> {
        match short {
            LENGTH_16 => {
                let (bytes, key) = rest.split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
                let payload_len = u64::from(u16::from_be_bytes(*bytes));
                if payload_len < u64::from(LENGTH_16) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                Ok((payload_len, key))
            }
            LENGTH_64 => {
                let (bytes, key) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
                let payload_len = u64::from_be_bytes(*bytes);
                if payload_len >> 63 != 0 {
                    return Err(ProtocolError::LengthBeyond63Bits);
                }
                if payload_len <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                Ok((payload_len, key))
            }
            short => Ok((u64::from(short), rest)),
        }
    }

    /// The header's bytes, in the shortest form.
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        let first = (u8::from(self.fin) << 7) | (u8::from(self.rsv1) << 6) | self.opcode as u8;
        EncodedHeader::new(first, self.payload_len, self.masking_key)
    }
}

/// The bytes of a header, on the stack: for a payload that leaves by itself, without a copy.
#[derive(Debug, Clone, Copy)]
pub struct EncodedHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl EncodedHeader {
    #[inline]
    pub(crate) fn new(first: u8, payload_len: u64, masking_key: Option<MaskingKey>) -> Self {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = first;
        let mut len = 2;
        if payload_len < u64::from(LENGTH_16) {
            bytes[1] = payload_len as u8;
        } else if payload_len <= u64::from(u16::MAX) {
            bytes[1] = LENGTH_16;
            bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            len = 4;
        } else {
            bytes[1] = LENGTH_64;
            bytes[2..10].copy_from_slice(&payload_len.to_be_bytes());
            len = 10;
        }
        if let Some(key) = masking_key {
            bytes[1] |= MASK;
            bytes[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        Self { bytes, len: len as u8 }
    }
}

impl AsRef<[u8]> for EncodedHeader {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
