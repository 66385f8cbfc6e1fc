//! "A connection never mixes windows": many connections with different parameters on the same
//! inflaters and compressors, with all that may come between two messages.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Compressor, Deflate, DeflateConfig, End, Inflater, agreed, noise, payload, prose, reference,
};
use crate::{Codec, Connection, Event, Limits, Message, Role, encode};

/// What happens next, and on which connection.
#[derive(Debug, Clone)]
enum Act {
    Send {
        from_client: bool,
        seed: u64,
        len: usize,
        kind: u8,
    },
    /// Around the extension, as a sender may for each message.
    SendPlain {
        from_client: bool,
        len: usize,
    },
    Park {
        client: bool,
    },
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let len = prop_oneof![Just(0_usize), 1..300_usize, 300..5_000_usize, Just(40_000_usize)];
    let act = prop_oneof![
        8 => (any::<bool>(), 0..4_u64, len, 0..3_u8).prop_map(|(from_client, seed, len, kind)| {
            Act::Send { from_client, seed, len, kind }
        }),
        2 => (any::<bool>(), 0..500_usize).prop_map(|(from_client, len)| {
            Act::SendPlain { from_client, len }
        }),
        1 => any::<bool>().prop_map(|client| Act::Park { client }),
    ];
    (0..4_usize, act)
}

fn config() -> impl Strategy<Value = DeflateConfig> {
    (any::<bool>(), any::<bool>(), 8..=15_u8, 8..=15_u8, 0..200_usize).prop_map(
        |(server, client, server_bits, client_bits, compress_bytes_min)| DeflateConfig {
            server_context_takeover: server,
            client_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
            compress_bytes_min,
            ..DeflateConfig::default()
        },
    )
}

/// One end of a connection; what it shares with the others of its role is elsewhere.
struct Side {
    deflate: Deflate,
    connection: Connection,
    /// All that came to this end, as an independent inflater keeps it.
    history: Vec<u8>,
    takeover: bool,
    window_bits: u8,
}

/// What all connections of one role share.
struct Shared {
    codec: Codec,
    inflater: Inflater,
    compressor: Compressor,
}

impl Shared {
    fn new(role: Role) -> Self {
        let limits = Limits::default();
        let codec = match role {
            Role::Server => Codec::server(limits),
            Role::Client => Codec::client(limits, [3; 32]),
        };
        let config = DeflateConfig { compress_bytes_min: 20, ..DeflateConfig::default() };
        Self { codec, inflater: Inflater::new(&limits), compressor: Compressor::new(&config) }
    }
}

/// Delivers a frame in pieces, which may be fragments too, and compares.
fn deliver(frame: &[u8], message: Message<'_>, reader: Role, to: &mut Side, shared: &mut Shared) {
    let (header, compressed) = payload(frame, reader);
    if header.rsv1 {
        let (inflated, furthest) = reference::inflate(&to.history, &compressed).unwrap();
        assert!(inflated == message.as_bytes(), "what was sent is right by itself");
        assert!(furthest <= 1 << to.window_bits);
        if to.takeover {
            to.history.extend(inflated);
        }
    }
    let mut bytes = Vec::new();
    let key = header.masking_key;
    let cut = compressed.len() / 3;
    for (fin, opcode, part) in [
        (0, frame[0] & 0x4f, &compressed[..cut]),
        (0, 0, &compressed[cut..cut]),
        (0x80, 0, &compressed[cut..]),
    ] {
        let at = bytes.len();
        encode::frame(&mut bytes, fin != 0, crate::OpCode::Continuation, part, key);
        bytes[at] = fin | opcode;
    }
    let mut got = 0;
    for read in bytes.chunks(bytes.len() / 2 + 1) {
        let mut read = read.to_vec();
        let (mut input, mut out) = (&mut read[..], Vec::new());
        while let Some(event) =
            to.connection.receive(&mut shared.codec, &mut input, &mut out).unwrap()
        {
            let received = match event {
                Event::Message(message) => message,
                Event::Extension(kind, payload) => {
                    to.deflate.inflate(&mut shared.inflater, kind, payload).unwrap()
                }
                event => panic!("{event:?}"),
            };
            assert!(received == message);
            got += 1;
        }
    }
    assert_eq!(got, 1);
    assert!(to.deflate.window_bytes() <= 1 << to.window_bits);
}

fn run(configs: &[DeflateConfig], acts: &[(usize, Act)]) {
    let mut shared = (Shared::new(Role::Server), Shared::new(Role::Client));
    let mut pairs: Vec<_> = configs
        .iter()
        .map(|config| {
            let params = agreed(config);
            let side = |role, takeover, window_bits| Side {
                deflate: Deflate::new(&params, role),
                connection: Connection::new().allow_rsv1(),
                history: Vec::new(),
                takeover,
                window_bits,
            };
            let server =
                side(Role::Server, params.client_context_takeover(), params.client_window_bits());
            let client =
                side(Role::Client, params.server_context_takeover(), params.server_window_bits());
            (server, client)
        })
        .collect();
    for (number, act) in acts {
        let (server, client) = &mut pairs[number % configs.len()];
        let (from_client, bytes, kind) = match *act {
            Act::Park { client: true } => {
                client.deflate.park();
                continue;
            }
            Act::Park { client: false } => {
                server.deflate.park();
                continue;
            }
            Act::SendPlain { from_client, len } => (from_client, prose(1, len), 3),
            Act::Send { from_client, seed, len, kind } => {
                let bytes = if kind == 2 { noise(seed, len) } else { prose(seed, len) };
                (from_client, bytes, kind)
            }
        };
        let message = match kind {
            0 => Message::Text(std::str::from_utf8(&bytes).unwrap()),
            _ => Message::Binary(&bytes),
        };
        let (from, to, ours, theirs, reader) = if from_client {
            (client, server, &mut shared.1, &mut shared.0, Role::Server)
        } else {
            (server, client, &mut shared.0, &mut shared.1, Role::Client)
        };
        let mut frame = Vec::new();
        let key = ours.codec.next_masking_key();
        if kind == 3 {
            encode::message(&mut frame, message, key);
        } else {
            from.deflate.encode(&mut ours.compressor, message, key, &mut frame);
        }
        deliver(&frame, message, reader, to, theirs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 }))]

    #[test]
    fn windows_do_not_mix(
        configs in vec(config(), 1..4),
        acts in vec(act(), 1..60),
    ) {
        run(&configs, &acts);
    }

    /// Whatever the peer sends: an answer, in bounded time and memory.
    #[test]
    fn any_bytes(payloads in vec(vec(any::<u8>(), 0..200), 1..5), takeover: bool) {
        let config = DeflateConfig { client_context_takeover: takeover, ..super::takeover() };
        let limits = Limits { message_bytes_max: 10_000, ..Limits::default() };
        let mut end = End::new(Role::Server, &config, limits);
        for payload in &payloads {
            let kind = crate::DataKind::Binary;
            if let Ok(message) = end.deflate.inflate(&mut end.inflater, kind, payload) {
                prop_assert!(message.len() <= 10_000);
            }
            prop_assert!(end.inflater.buffer_bytes() <= 10_000);
        }
    }
}
