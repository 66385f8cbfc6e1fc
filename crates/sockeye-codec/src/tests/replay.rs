//! Streams made by hand, and the codec run over them in pieces.

use std::ops::Range;
use std::{mem, ptr};

use sockeye_codec::{Chunk, Codec, Connection, Event, Limits, Role, encode};

use super::oracle::{Outcome, Seen, Setup, expect};
use super::with_each_instruction_set;

pub(super) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A server or client with the default limits that gets whole messages.
pub(super) fn setup(role: Role) -> Setup {
    Setup { role, streaming: false, rsv1: false, limits: Limits::default() }
}

/// All setups there are for a stream of the peer's: whole messages and chunks, without RSV1 and
/// with it.
pub(super) fn setups(role: Role, limits: Limits) -> [Setup; 4] {
    [(false, false), (false, true), (true, false), (true, true)].map(|(streaming, rsv1)| Setup {
        role,
        streaming,
        rsv1,
        limits,
    })
}

/// A frame from the peer of `role`, in the shortest form: masked if that is a client.
pub(super) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let length = match len {
        0..=125 => vec![len as u8],
        126..=0xFFFF => [&[126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[127][..], &(len as u64).to_be_bytes()].concat(),
    };
    frame_with(role, first, &length, payload)
}

/// A frame with this length field, whatever the payload's length is.
pub(super) fn frame_with(role: Role, first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend_from_slice(length);
    match role {
        Role::Client => bytes.extend_from_slice(payload),
        Role::Server => {
            bytes[1] |= 0x80;
            bytes.extend_from_slice(&KEY);
            bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
    bytes
}

/// What the codec makes of the stream in these pieces, and the piece in which it failed.
pub(super) fn run(
    setup: Setup,
    stream: &[u8],
    pieces: &[Range<usize>],
) -> (Outcome, Option<Range<usize>>) {
    run_by(setup, stream, pieces, usize::MAX)
}

/// The same, where what fits into a room of so many bytes or more is received there, and messages
/// of as many are lent with their frames.
fn run_by(
    setup: Setup,
    stream: &[u8],
    pieces: &[Range<usize>],
    bytes_min: usize,
) -> (Outcome, Option<Range<usize>>) {
    let mut codec = match setup.role {
        Role::Server => Codec::server(setup.limits),
        Role::Client => Codec::client(setup.limits, [7; 32]),
    };
    codec = codec.lend_frames_from(bytes_min);
    let mut connection = Connection::new();
    if setup.streaming {
        connection = connection.streaming();
    }
    if setup.rsv1 {
        connection = connection.allow_rsv1();
    }
    let (mut outcome, mut failed_in, mut out) = (Outcome::default(), None, Vec::new());
    for piece in pieces {
        let mut bytes = stream[piece.clone()].to_vec();
        let mut input = &mut bytes[..];
        loop {
            let landed = match connection.room(bytes_min, usize::MAX) {
                Some(room) if !input.is_empty() => {
                    let len = room.len().min(input.len());
                    let (piece, rest) = mem::take(&mut input).split_at_mut(len);
                    room[..len].copy_from_slice(piece);
                    input = rest;
                    Some(len)
                }
                _ => None,
            };
            let event = match landed {
                Some(len) => connection.receive_in_room(&mut codec, len, &mut out),
                None => connection.receive(&mut codec, &mut input, &mut out),
            };
            match event {
                Ok(None) if !input.is_empty() => {}
                Ok(Some(event)) => outcome.push(seen(event)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(outcome.error, None, "a second error");
                    outcome.error = Some(error);
                    failed_in = Some(piece.clone());
                }
            }
        }
        assert!(input.is_empty(), "{} bytes were left", input.len());
    }
    outcome.answers = answers(setup.role, &out);
    (outcome, failed_in)
}

/// What the codec makes of the stream in one piece.
pub(super) fn run_whole(setup: Setup, stream: &[u8]) -> Outcome {
    run(setup, stream, std::slice::from_ref(&(0..stream.len()))).0
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Message(message) => Seen::Message(message.kind(), message.as_bytes().into()),
        Event::Framed(message, frame) => {
            let mut expected = Vec::new();
            encode::message(&mut expected, message, None);
            assert_eq!(frame, expected);
            let payload = message.as_bytes();
            assert!(ptr::eq(&frame[frame.len() - payload.len()..], payload), "a copy");
            Seen::Message(message.kind(), payload.into())
        }
        Event::Chunk(chunk) => seen_chunk(chunk, false),
        Event::ExtensionChunk(chunk) => seen_chunk(chunk, true),
        Event::Extension(kind, payload) => Seen::Extension(kind, payload.into()),
        Event::Ping(payload) => Seen::Ping(payload.into()),
        Event::Pong(payload) => Seen::Pong(payload.into()),
        other => {
            let Event::Close(close) = other else { panic!("not known here: {other:?}") };
            Seen::Close(close.map(|close| (close.code.0, close.reason.to_owned())))
        }
    }
}

fn seen_chunk(chunk: Chunk<'_>, extension: bool) -> Seen {
    let Chunk { kind, payload, first, last } = chunk;
    Seen::Chunk { kind, extension, payload: payload.into(), first, last }
}

/// The short frames that were written: first byte and payload. A client's are masked.
pub(super) fn answers(role: Role, mut out: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut answers = Vec::new();
    while let [first, second, rest @ ..] = out {
        assert_eq!(*second >= 0x80, role == Role::Client, "masked by the wrong side");
        let len = usize::from(second % 128);
        assert!(len <= 125, "an answer is a control frame");
        let (key, rest) = rest.split_at(if role == Role::Client { 4 } else { 0 });
        let mut payload = rest[..len].to_vec();
        if !key.is_empty() {
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        answers.push((*first, payload));
        out = &rest[len..];
    }
    assert!(out.is_empty(), "half an answer");
    answers
}

/// The codec agrees with the oracle on this stream in these pieces, with each instruction set.
pub(super) fn check(setup: Setup, stream: &[u8], pieces: &[Range<usize>]) {
    check_against(&expect(setup, stream), setup, stream, pieces);
}

fn check_against(expected: &Outcome, setup: Setup, stream: &[u8], pieces: &[Range<usize>]) {
    with_each_instruction_set(|name| {
        let ways = [usize::MAX, 1, 20];
        // Miri is slow: one way for each stream.
        let chosen = if cfg!(miri) { &ways[stream.len() % 3..][..1] } else { &ways[..] };
        for &bytes_min in chosen {
            let got = run_by(setup, stream, pieces, bytes_min);
            compare(expected.clone(), got, || {
                let way = format!("{name}, rooms and frames from {bytes_min} bytes");
                format!("{way}: {setup:?} in {pieces:?} of {stream:02x?}")
            });
        }
    });
}

fn compare(
    mut expected: Outcome,
    (mut got, failed_in): (Outcome, Option<Range<usize>>),
    what: impl Fn() -> String,
) {
    if let (Some(after), Some(piece)) = (expected.failed_after, &failed_in) {
        // Not a byte later than it could be known.
        let piece = piece.start + 1..=piece.end;
        assert!(piece.contains(&after), "failed in {piece:?}, known after {after}: {}", what());
    }
    if expected.error.is_some() {
        // The oracle hands out the good bytes before a bad one, the codec does not.
        let open = expected.take_open_chunk();
        let begun = got.take_open_chunk();
        assert!(open.starts_with(&begun), "a chunk that is no prefix: {}", what());
    }
    expected.failed_after = None;
    assert_eq!(got, expected, "{}", what());
}

/// The same in one piece.
pub(super) fn check_whole(setup: Setup, stream: &[u8]) {
    check(setup, stream, std::slice::from_ref(&(0..stream.len())));
}

/// The same for each cut in two, one byte at a time, and in one piece.
pub(super) fn check_every_cut(setup: Setup, stream: &[u8]) {
    let len = stream.len();
    let expected = expect(setup, stream);
    // Under Miri, which takes a thousand times as long, some of them.
    for cut in (0..=len).step_by(if cfg!(miri) { 1 + len / 2 } else { 1 }) {
        check_against(&expected, setup, stream, &[0..cut, cut..len]);
    }
    if !cfg!(miri) || len < 32 {
        let bytes: Vec<_> = (0..len).map(|at| at..at + 1).collect();
        check_against(&expected, setup, stream, &bytes);
    }
}
