//! What has gone wrong in other implementations, tried on this one. Those that concern the opening
//! handshake are in `handshake/tests/advisories.rs`.

use super::oracle::Setup;
use super::replay::{
    answers, check_every_cut, check_whole, frame, frame_with, run_whole, setup, setups,
};
use crate::{CloseCode, Codec, Connection, Event, Limits, Message, ProtocolError, Role};

/// CVE-2022-35922 (RUSTSEC-2022-0035), rust-websocket: memory was allocated by the declared length.
#[test]
fn a_length_alone_allocates_nothing() {
    let limits =
        Limits { message_bytes_max: u64::MAX, frame_bytes_max: u64::MAX, ..Limits::default() };
    for first in [0x81, 0x82, 0x01, 0x02] {
        let mut codec = Codec::server(limits);
        let mut connection = Connection::new();
        let length = [&[127], &((1_u64 << 63) - 1).to_be_bytes()[..]].concat();
        let mut bytes = frame_with(Role::Server, first, &length, b"x");
        let event = connection.receive(&mut codec, &mut &mut bytes[..], &mut Vec::new());
        assert_eq!(event, Ok(None));
        assert!(connection.bytes_held() < 128 << 10, "{}", connection.bytes_held());
    }
}

/// CVE-2020-27813, gorilla: the sum of a message's lengths wrapped and passed the limit.
#[test]
fn the_sum_of_lengths_does_not_wrap() {
    for limits in [
        Limits::default(),
        Limits { frame_bytes_max: u64::MAX, ..Limits::default() },
        Limits { message_bytes_max: u64::MAX, frame_bytes_max: u64::MAX, ..Limits::default() },
    ] {
        for role in [Role::Server, Role::Client] {
            for setup in setups(role, limits) {
                let lengths = [(1_u64 << 63) - 1, 1 << 63, u64::MAX, u64::MAX - 8];
                for len in lengths.into_iter().take(if cfg!(miri) { 1 } else { 4 }) {
                    let length = [&[127], &len.to_be_bytes()[..]].concat();
                    let mut stream = frame(role, 0x02, b"ten bytes.");
                    stream.extend(frame_with(role, 0x80, &length, b"and more"));
                    check_every_cut(setup, &stream);
                }
            }
        }
    }
}

/// CVE-2020-13935, Tomcat: a length with its highest bit set made the reader loop for ever.
/// CVE-2026-1528, undici: such lengths crashed the parser.
#[test]
fn a_length_beyond_63_bits_ends_the_connection() {
    for role in [Role::Server, Role::Client] {
        for first in [0x82, 0x81, 0x02, 0x01] {
            for len in [1_u64 << 63, u64::MAX, (1 << 63) | 5] {
                let length = [&[127], &len.to_be_bytes()[..]].concat();
                let stream = frame_with(role, first, &length, b"");
                let outcome = run_whole(setup(role), &stream);
                assert_eq!(outcome.error, Some(ProtocolError::LengthBeyond63Bits));
                assert_eq!(outcome.answers[0].1[..2], 1002_u16.to_be_bytes());
                check_every_cut(setup(role), &stream);
            }
        }
    }
}

/// CVE-2026-48779, ws: tiny and empty fragments cost far more than they carry. CVE-2026-12151,
/// undici: there was no limit to continuation frames.
#[test]
fn fragments_cost_what_they_carry() {
    const FRAGMENTS: u32 = if cfg!(miri) { 30 } else { 1_000 };
    let limits = Limits { fragments_per_message_max: FRAGMENTS, ..Limits::default() };
    for role in [Role::Server, Role::Client] {
        for payload in [&b""[..], b"x"] {
            let mut stream = frame(role, 0x01, payload);
            (1..FRAGMENTS).for_each(|_| stream.extend(frame(role, 0x00, payload)));
            let setup = Setup { limits, ..setup(role) };
            let mut codec = match role {
                Role::Server => Codec::server(limits),
                Role::Client => Codec::client(limits, [1; 32]),
            };
            let mut connection = Connection::new();
            let mut bytes = stream.clone();
            let event = connection.receive(&mut codec, &mut &mut bytes[..], &mut Vec::new());
            assert_eq!(event, Ok(None));
            // One buffer, not a thousand.
            assert!(connection.bytes_held() < 128 << 10, "{}", connection.bytes_held());
            stream.extend(frame(role, 0x00, payload));
            let outcome = run_whole(setup, &stream);
            assert_eq!(outcome.error, Some(ProtocolError::TooManyFragments));
        }
    }
}

/// CVE-2014-0193, Netty: a message of endless continuations passed the limit of a frame.
#[test]
fn continuations_do_not_bypass_the_limit_of_a_message() {
    let limits = Limits { message_bytes_max: 1_000, frame_bytes_max: 100, ..Limits::default() };
    for role in [Role::Server, Role::Client] {
        for setup in setups(role, limits) {
            let mut stream = frame(role, 0x02, &[0; 100]);
            for _ in 0..20 {
                stream.extend(frame(role, 0x00, &[0; 100]));
            }
            check_whole(setup, &stream);
            let outcome = run_whole(setup, &stream);
            assert_eq!(outcome.error, Some(ProtocolError::MessageTooLarge));
        }
    }
}

/// Frames of a flood.
const FLOOD: usize = if cfg!(miri) { 10 } else { 1_000 };

/// CVE-2021-3690, Undertow: pongs that nobody asked for were kept. CVE-2020-35896, ws-rs: answers
/// to pings piled up without the application's knowing; here they are in the caller's buffer.
#[test]
fn floods_of_control_frames_leave_nothing_behind() {
    for role in [Role::Server, Role::Client] {
        let mut codec = match role {
            Role::Server => Codec::server(Limits::default()),
            Role::Client => Codec::client(Limits::default(), [1; 32]),
        };
        let mut connection = Connection::new();
        let mut out = Vec::new();
        for first in [0x8A, 0x89] {
            for cut in [0, 1, 7] {
                for _ in 0..FLOOD {
                    let mut bytes = frame(role, first, &[9; 125]);
                    let (mut head, mut tail) = bytes.split_at_mut(cut);
                    assert_eq!(connection.receive(&mut codec, &mut head, &mut out), Ok(None));
                    let event = connection.receive(&mut codec, &mut tail, &mut out);
                    assert!(matches!(event, Ok(Some(Event::Ping(_) | Event::Pong(_)))));
                    assert_eq!(connection.bytes_held(), 0);
                }
                let pongs = answers(role, &std::mem::take(&mut out));
                assert_eq!(pongs.len(), if first == 0x89 { FLOOD } else { 0 });
            }
        }
    }
}

/// bun#42511: a close frame that came in two reads was reported as one without a code.
#[test]
fn a_close_frame_in_two_reads_keeps_its_code() {
    for role in [Role::Server, Role::Client] {
        for setup in setups(role, Limits::default()) {
            check_every_cut(setup, &frame(role, 0x88, b"\x0f\xa0why"));
        }
    }
}

/// By reading, sockudo-ws: each fragment of a text had the whole text validated again. That ours
/// takes linear time is for a benchmark to show; this, that it loses nothing on the way.
#[test]
fn a_text_in_fragments_of_one_byte() {
    let limits = Limits { fragments_per_message_max: 200_000, ..Limits::default() };
    let mut codec = Codec::server(limits);
    let mut connection = Connection::new();
    let text = "\u{1f41f}".repeat(if cfg!(miri) { 100 } else { 30_000 });
    let mut first = 0x01;
    for byte in text.as_bytes() {
        let mut bytes = frame(Role::Server, first, &[*byte]);
        first = 0x00;
        let event = connection.receive(&mut codec, &mut &mut bytes[..], &mut Vec::new());
        assert_eq!(event, Ok(None));
    }
    let mut bytes = frame(Role::Server, 0x00, b"\xff");
    let error = connection.receive(&mut codec, &mut &mut bytes[..], &mut Vec::new());
    assert_eq!(error, Err(ProtocolError::InvalidUtf8));
}

/// RUSTSEC-2026-0007, bytes: a reservation overflowed. The longest lengths, with no limit at all.
#[test]
fn a_reservation_does_not_overflow() {
    let limits =
        Limits { message_bytes_max: u64::MAX, frame_bytes_max: u64::MAX, ..Limits::default() };
    for streaming in [false, true] {
        let setup = Setup { limits, streaming, ..setup(Role::Server) };
        let length = [&[127], &((1_u64 << 63) - 1).to_be_bytes()[..]].concat();
        let mut stream = frame_with(Role::Server, 0x02, &length, &[0; 100]);
        stream.truncate(60);
        check_every_cut(setup, &stream);
    }
}

/// CVE-2026-45736 and one of 2016, ws: memory that nobody had written left in a close or a ping.
/// Under Miri this test also fails if a byte of what leaves was never written.
#[test]
fn what_leaves_was_written() {
    for role in [Role::Server, Role::Client] {
        let key = (role == Role::Client).then_some(super::replay::KEY);
        for len in [0, 1, 4, 8, 63, 64, 65, 123] {
            let mut connection = Connection::new();
            let reason = "r".repeat(len);
            let mut out = Vec::with_capacity(4_096);
            connection.ping(reason.as_bytes(), key, &mut out).unwrap();
            connection.pong(reason.as_bytes(), key, &mut out).unwrap();
            connection.close(CloseCode::NORMAL, &reason, key, &mut out).unwrap();
            let with_code = [&[0x03, 0xE8], reason.as_bytes()].concat();
            let expected = [
                (0x89, reason.clone().into_bytes()),
                (0x8A, reason.into_bytes()),
                (0x88, with_code),
            ];
            assert_eq!(answers(role, &out), expected);
        }
    }
}

/// sockudo-ws 1.4.3 and RUSTSEC-2022-0022, hyper: words read where none may be, memory read that
/// nobody had written. All of `tests/mask.rs` under Miri, and this: a frame at each alignment.
#[test]
fn frames_at_every_alignment() {
    for role in [Role::Server, Role::Client] {
        let stream = frame(role, 0x81, "caf\u{e9} \u{1f41f} ".repeat(20).as_bytes());
        let mut room = vec![0; stream.len() + 64];
        for at in 0..64 {
            room[at..at + stream.len()].copy_from_slice(&stream);
            let mut codec = match role {
                Role::Server => Codec::server(Limits::default()),
                Role::Client => Codec::client(Limits::default(), [1; 32]),
            };
            let mut connection = Connection::new();
            let mut input = &mut room[at..at + stream.len()];
            let event = connection.receive(&mut codec, &mut input, &mut Vec::new());
            let Ok(Some(Event::Message(Message::Text(text)))) = event else { panic!("{event:?}") };
            assert_eq!(text.matches('\u{1f41f}').count(), 20);
        }
    }
}
