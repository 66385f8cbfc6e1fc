//! Negotiation, messages in and out, and both against each other and against inflaters that are
//! none of ours.

mod bombs;
mod messages;
mod mixes;
mod negotiation;
mod reference;
mod streams;

use super::{Compressor, Deflate, DeflateConfig, Inflater, Params, negotiate};
use crate::{Codec, Connection, DataKind, Event, Limits, Message, ProtocolError, Role};

/// What both ends allow.
fn takeover() -> DeflateConfig {
    DeflateConfig {
        server_context_takeover: true,
        client_context_takeover: true,
        compress_bytes_min: 0,
        ..DeflateConfig::default()
    }
}

fn no_takeover() -> DeflateConfig {
    DeflateConfig { compress_bytes_min: 0, ..DeflateConfig::default() }
}

/// What a server with these settings agrees on with a client that leaves it all to the server.
fn agreed(config: &DeflateConfig) -> Params {
    negotiate([&b"permessage-deflate; client_max_window_bits"[..]], config).unwrap()
}

/// An end, and what its loop shares.
struct End {
    deflate: Deflate,
    inflater: Inflater,
    compressor: Compressor,
    connection: Connection,
    codec: Codec,
}

impl End {
    fn new(role: Role, config: &DeflateConfig, limits: Limits) -> Self {
        Self {
            deflate: Deflate::new(&agreed(config), role),
            inflater: Inflater::new(&limits),
            compressor: Compressor::new(config),
            connection: Connection::new().allow_rsv1(),
            codec: match role {
                Role::Server => Codec::server(limits),
                Role::Client => Codec::client(limits, [7; 32]),
            },
        }
    }

    /// The frame of a message.
    fn encode(&mut self, message: Message<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        let key = self.codec.next_masking_key();
        self.deflate.encode(&mut self.compressor, message, key, &mut frame);
        frame
    }

    /// The messages in these bytes, and the close code of what ends them.
    fn receive(&mut self, bytes: &[u8]) -> (Vec<(DataKind, Vec<u8>)>, Option<ProtocolError>) {
        let mut bytes = bytes.to_vec();
        let (mut input, mut out, mut messages) = (&mut bytes[..], Vec::new(), Vec::new());
        loop {
            let message = match self.connection.receive(&mut self.codec, &mut input, &mut out) {
                Ok(None) => return (messages, None),
                Err(error) => return (messages, Some(error)),
                Ok(Some(Event::Message(message))) => message,
                Ok(Some(Event::Extension(kind, payload))) => {
                    match self.deflate.inflate(&mut self.inflater, kind, payload) {
                        Ok(message) => message,
                        Err(error) => return (messages, Some(error)),
                    }
                }
                Ok(Some(event)) => panic!("{event:?}"),
            };
            messages.push((message.kind(), message.as_bytes().to_vec()));
        }
    }
}

/// The payload of a frame that is whole.
fn payload(frame: &[u8], role_of_reader: Role) -> (crate::FrameHeader, Vec<u8>) {
    let (header, len) = crate::FrameHeader::parse(frame, role_of_reader).unwrap().unwrap();
    let mut payload = frame[len..].to_vec();
    assert_eq!(payload.len() as u64, header.payload_len);
    if let Some(key) = header.masking_key {
        crate::mask::apply(&mut payload, key, 0);
    }
    (header, payload)
}

/// Something that compresses, different for each seed.
fn prose(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["sock", "eye ", "\u{20ac}uro ", "window ", "{\"id\":", "\u{1f41f}", "0123, ", "\n"];
    let mut state = seed;
    let mut text = String::new();
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(WORDS[(state >> 40) as usize % 8]);
        text.push(char::from(b'a' + (state >> 50) as u8 % 26));
    }
    while !text.is_char_boundary(len) {
        text.insert(0, ' ');
    }
    text.truncate(len);
    text.into_bytes()
}

/// Something that does not.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
