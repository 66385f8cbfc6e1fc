//! Frames out: header and payload appended to the caller's buffer, masked on the way for a client.

use crate::close::CloseFrame;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, EncodedHeader, FIN, OpCode, RSV1};
use crate::mask::{self, MaskingKey};
use crate::message::{DataKind, Message};

/// Appends a whole message as one frame; masked if there is a key.
#[inline]
pub fn message(out: &mut Vec<u8>, message: Message<'_>, masking_key: Option<MaskingKey>) {
    frame(out, true, message.kind().opcode(), message.as_bytes(), masking_key);
}

/// Appends one frame. A fragmented message is the caller's to order: its first frame has the
/// opcode, the others are continuations, the last has `fin` (RFC 6455 section 5.4).
#[inline]
pub fn frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: OpCode,
    payload: &[u8],
    masking_key: Option<MaskingKey>,
) {
    let first = if fin { FIN } else { 0 } | opcode as u8;
    if masking_key.is_none() && payload.len() <= CONTROL_PAYLOAD_BYTES_MAX {
        // A server's short frame: a header of two bytes, known as such by the compiler.
        out.reserve(2 + payload.len());
        out.extend_from_slice(&[first, payload.len() as u8]);
        return out.extend_from_slice(payload);
    }
    append_long(out, first, payload, masking_key);
}

#[inline(never)]
fn append_long(out: &mut Vec<u8>, first: u8, payload: &[u8], masking_key: Option<MaskingKey>) {
    let header = EncodedHeader::new(first, payload.len() as u64, masking_key);
    let header = header.as_ref();
    // One check of the capacity for both parts.
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(header);
    match masking_key {
        None => out.extend_from_slice(payload),
        Some(key) => mask::extend(out, payload, key),
    }
}

/// Appends a whole message whose payload was compressed: RSV1 says so (RFC 7692 section 6).
pub(crate) fn compressed(
    out: &mut Vec<u8>,
    kind: DataKind,
    payload: &[u8],
    masking_key: Option<MaskingKey>,
) {
    append_long(out, FIN | RSV1 | kind.opcode() as u8, payload, masking_key);
}

/// The header of a whole message, for a payload that leaves by itself, without a copy.
/// A server's: a client's payload has to be masked, and that is a copy.
#[inline]
pub fn header(message: Message<'_>) -> EncodedHeader {
    EncodedHeader::new(FIN | message.kind().opcode() as u8, message.len() as u64, None)
}

/// Appends a close frame, with its payload if there is one. The frame was checked by the caller.
pub(crate) fn close(
    out: &mut Vec<u8>,
    close: Option<CloseFrame<'_>>,
    masking_key: Option<MaskingKey>,
) {
    let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
    let mut len = 0;
    if let Some(CloseFrame { code, reason }) = close {
        payload[..2].copy_from_slice(&code.0.to_be_bytes());
        payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
        len = 2 + reason.len();
    }
    frame(out, true, OpCode::Close, &payload[..len], masking_key);
}
