//! The header parser, exhaustively where that can be had.

use crate::{FrameHeader, HEADER_BYTES_MAX, OpCode, ProtocolError, Role};

/// What sections 5.1, 5.2 and 5.5 say of the first two bytes: how long the header is.
fn judge(first: u8, second: u8, role: Role) -> Result<usize, ProtocolError> {
    let opcode = first & 0x0F;
    match opcode {
        0x3..=0x7 | 0xB..=0xF => return Err(ProtocolError::ReservedOpcode(opcode)),
        _ => {}
    }
    let control = opcode >= 8;
    if first & 0x30 != 0 || (control && first & 0x40 != 0) {
        return Err(ProtocolError::ReservedBits);
    }
    if control && first < 0x80 {
        return Err(ProtocolError::ControlFragmented);
    }
    match (role, second >= 0x80) {
        (Role::Server, false) => return Err(ProtocolError::Unmasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        _ => {}
    }
    let length = second % 128;
    if control && length > 125 {
        return Err(ProtocolError::ControlTooLong);
    }
    let extended = match length {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    Ok(2 + extended + if second >= 0x80 { 4 } else { 0 })
}

/// Lengths around each edge there is.
fn lengths() -> Vec<u64> {
    let mut lengths: Vec<u64> = (0..=300).collect();
    for shift in 8..64 {
        let edge = 1_u64 << shift;
        lengths.extend([edge - 2, edge - 1, edge, edge + 1]);
    }
    lengths.extend([u64::MAX - 1, u64::MAX]);
    lengths
}

/// All pairs of first bytes, for both roles, with every length in the form they call for, cut at
/// every byte.
#[test]
fn all_first_two_bytes_and_lengths() {
    let step = if cfg!(miri) { 23 } else { 1 };
    for first in (0..=255_u8).step_by(step) {
        for second in (0..=255_u8).step_by(step) {
            for role in [Role::Server, Role::Client] {
                let header = [first, second, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
                let judged = judge(first, second, role);
                assert_eq!(FrameHeader::parse(&[], role), Ok(None));
                match judged {
                    Err(error) => {
                        assert_eq!(FrameHeader::parse(&header, role), Err(error));
                        // Two bytes are enough to know it.
                        assert_eq!(FrameHeader::parse(&header[..2], role), Err(error));
                    }
                    Ok(len) => {
                        for cut in 0..len {
                            assert_eq!(FrameHeader::parse(&header[..cut], role), Ok(None));
                        }
                        check_lengths(first, second, len, role);
                    }
                }
            }
        }
    }
}

/// A header with each of the lengths.
fn check_lengths(first: u8, second: u8, len: usize, role: Role) {
    let short = second % 128;
    let mut header = [0xA5; HEADER_BYTES_MAX + 1];
    (header[0], header[1]) = (first, second);
    let all;
    let lengths = if short < 126 {
        &[u64::from(short)][..]
    } else {
        all = lengths();
        &all
    };
    for &payload_len in lengths {
        let expected = match short {
            126 => {
                let Ok(payload_len) = u16::try_from(payload_len) else { continue };
                header[2..4].copy_from_slice(&payload_len.to_be_bytes());
                if payload_len < 126 { Err(ProtocolError::LengthNotMinimal) } else { Ok(()) }
            }
            127 => {
                header[2..10].copy_from_slice(&payload_len.to_be_bytes());
                match payload_len {
                    0..=0xFFFF => Err(ProtocolError::LengthNotMinimal),
                    0x1_0000..=0x7FFF_FFFF_FFFF_FFFF => Ok(()),
                    _ => Err(ProtocolError::LengthBeyond63Bits),
                }
            }
            _ => Ok(()),
        };
        let parsed = FrameHeader::parse(&header, role);
        let expected = expected.map(|()| {
            let header = FrameHeader {
                fin: first >= 0x80,
                rsv1: first & 0x40 != 0,
                opcode: opcode(first),
                masking_key: (second >= 0x80).then_some([0xA5; 4]),
                payload_len,
            };
            Some((header, len))
        });
        assert_eq!(parsed, expected, "{first:#x} {second:#x} {payload_len:#x}");
        if let Ok(Some((parsed, len))) = parsed {
            // And back, to the byte.
            assert_eq!(parsed.encode().as_ref(), &header[..len]);
        }
    }
}

fn opcode(first: u8) -> OpCode {
    match first & 0x0F {
        0 => OpCode::Continuation,
        1 => OpCode::Text,
        2 => OpCode::Binary,
        8 => OpCode::Close,
        9 => OpCode::Ping,
        10 => OpCode::Pong,
        reserved => panic!("{reserved} was refused"),
    }
}
