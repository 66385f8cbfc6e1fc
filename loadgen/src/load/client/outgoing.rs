//! What leaves.

use std::mem;

use sockeye_codec::{Codec, Message, OpCode, SendError, encode};
use xxhash_rust::xxh3::xxh3_64;

use super::super::failure::Failure;
use super::super::flights::Flight;
use super::super::payload::{self, Values};
use super::super::report::LoadKind;
use super::super::stamp::Stamp;
use super::{Client, Hands, Shared};

impl Client {
    /// Sends a message that was due then.
    pub(crate) fn send(
        &mut self,
        shared: &mut Shared,
        due_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.sealed(shared, out, |client, shared, out| client.send_plain(shared, due_ns, out))
    }

    /// Has `write` write frames, and encrypts them where there is TLS.
    pub(super) fn sealed<R>(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Self, &mut Shared, &mut Vec<u8>) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        if self.extra.as_ref().is_none_or(|extra| extra.tls.is_none()) {
            return write(self, shared, out);
        }
        let mut plain = mem::take(&mut shared.plain_out);
        let mut result = write(self, shared, &mut plain);
        if let Some(tls) = self.extra.as_mut().and_then(|extra| extra.tls.as_mut())
            && !plain.is_empty()
        {
            let sealed = tls.seal(&plain, out).map_err(Failure::from);
            result = result.and_then(|done| sealed.map(|()| done));
        }
        plain.clear();
        shared.plain_out = plain;
        result
    }

    pub(super) fn send_plain(
        &mut self,
        shared: &mut Shared,
        due_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let flight = self.compose(shared, due_ns);
        if shared.plan.answer_id.is_some() {
            return self.send_named(shared, flight, out);
        }
        self.encode(shared, &flight, out)?;
        if shared.plan.scenario.is_answered() {
            self.flights.push(flight);
        }
        Ok(())
    }

    /// Appends the message that was made.
    pub(super) fn encode(
        &mut self,
        shared: &mut Shared,
        flight: &Flight,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if !self.connection.is_open() {
            return Err(Failure::Send(SendError::Closed));
        }
        let Shared { plan, codec, hands, .. } = shared;
        let Hands { record, payload, message, compressor, .. } = hands;
        let before = out.len();
        let deflate = self.extra.as_mut().and_then(|extra| extra.deflate.as_mut());
        let opcode = if flight.is_text { OpCode::Text } else { OpCode::Binary };
        let wire_bytes = match (deflate, compressor, payload.fragment_bytes()) {
            (Some(deflate), Some(compressor), None) => {
                let whole = match std::str::from_utf8(message) {
                    Ok(text) if flight.is_text => Message::Text(text),
                    _ => Message::Binary(message),
                };
                deflate.encode(compressor, whole, codec.next_masking_key(), out);
                payload_bytes(&out[before..])
            }
            (_, _, Some(bytes)) => {
                fragment(codec, opcode, message, bytes.get(), out);
                message.len()
            }
            _ => {
                encode::frame(out, true, opcode, message, codec.next_masking_key());
                message.len()
            }
        };
        record.sent(flight, wire_bytes, plan.load == LoadKind::Open);
        Ok(())
    }

    /// Makes the next message.
    pub(super) fn compose(&mut self, shared: &mut Shared, due_ns: u64) -> Flight {
        let moment = shared.hands.moment(self.number, shared.now_ns);
        let Hands { payload, generator, message, .. } = &mut shared.hands;
        let values = Values {
            connection: moment.connection,
            sequence: self.sequence,
            now_ns: moment.now_ns,
            now_unix_ms: moment.now_unix_ms,
            variables: &[],
        };
        message.clear();
        let is_text = payload.write(&values, generator, message) == payload::Kind::Text;
        if payload.size().is_some() && message.len() >= Stamp::bytes(is_text) {
            let stamp = Stamp { connection: self.number, sequence: self.sequence, due_ns };
            stamp.write(message, is_text);
        }
        self.sequence += 1;
        self.flight(shared, due_ns, is_text)
    }

    /// The message that was made, on its way.
    pub(super) fn flight(&self, shared: &Shared, due_ns: u64, is_text: bool) -> Flight {
        let message = &shared.hands.message;
        let plan = &shared.plan;
        let is_verified = plan.verify && plan.scenario.is_answered() && plan.answer_id.is_none();
        Flight {
            due_ns,
            sent_ns: shared.now_ns,
            hash: if is_verified { xxh3_64(message) } else { 0 },
            len: message.len() as u32,
            is_text,
        }
    }
}

/// How long the payload of a frame of ours is: all of it but the header (section 5.2) and the
/// masking key, which a client's frame always has.
fn payload_bytes(frame: &[u8]) -> usize {
    let extended = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    frame.len() - (2 + extended + 4)
}

/// A message in frames of so many bytes (section 5.4).
fn fragment(codec: &mut Codec, opcode: OpCode, message: &[u8], bytes: usize, out: &mut Vec<u8>) {
    let mut pieces = message.chunks(bytes);
    let mut opcode = opcode;
    let mut next = pieces.next().or(Some(&[]));
    while let Some(piece) = next {
        next = pieces.next();
        encode::frame(out, next.is_none(), opcode, piece, codec.next_masking_key());
        opcode = OpCode::Continuation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_a_frame_without_its_header() {
        let mut codec = Codec::client(sockeye_codec::Limits::default(), [1; 32]);
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let mut out = Vec::new();
            let key = codec.next_masking_key();
            encode::frame(&mut out, true, OpCode::Binary, &vec![7; len], key);
            assert_eq!(payload_bytes(&out), len);
        }
    }
}
