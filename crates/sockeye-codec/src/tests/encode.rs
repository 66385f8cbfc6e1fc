//! Frames out, byte for byte.

use super::replay::{KEY, frame as frame_of_peer};
use crate::{
    CloseCode, Codec, Connection, Limits, Message, OpCode, PreparedMessage, Role, SendError, encode,
};

const SIZES: [usize; 12] = [0, 1, 2, 125, 126, 127, 128, 4_096, 65_535, 65_536, 65_537, 300_000];

/// The frames of a server are what a client of the tests expects, and the other way round.
#[test]
fn messages_of_every_form_of_the_length() {
    for len in SIZES.into_iter().filter(|len| !cfg!(miri) || *len < 1_000) {
        let payload = vec![b'x'; len];
        let text = str::from_utf8(&payload).expect("ASCII");
        for (message, first) in [(Message::Text(text), 0x81), (Message::Binary(&payload), 0x82)] {
            let mut out = b"before".to_vec();
            encode::message(&mut out, message, None);
            let unmasked = frame_of_peer(Role::Client, first, &payload);
            assert_eq!(out[..6], *b"before");
            assert_eq!(out[6..], unmasked);

            let mut out = Vec::new();
            encode::message(&mut out, message, Some(KEY));
            assert_eq!(out, frame_of_peer(Role::Server, first, &payload));

            let header = encode::header(message);
            assert_eq!([header.as_ref(), &payload].concat(), unmasked);
            assert_eq!(PreparedMessage::new(message).frame(), &unmasked);
        }
    }
}

#[test]
fn fragments() {
    for (key, role) in [(None, Role::Client), (Some(KEY), Role::Server)] {
        let mut out = Vec::new();
        encode::frame(&mut out, false, OpCode::Text, b"one", key);
        encode::frame(&mut out, false, OpCode::Continuation, b"", key);
        encode::frame(&mut out, true, OpCode::Continuation, &[b'2'; 200], key);
        let expected: Vec<u8> = [(0x01, &b"one"[..]), (0x00, b""), (0x80, &[b'2'; 200])]
            .iter()
            .flat_map(|(first, payload)| frame_of_peer(role, *first, payload))
            .collect();
        assert_eq!(out, expected);
    }
}

/// Section 5.7's examples.
#[test]
fn the_examples_of_the_rfc() {
    let mut out = Vec::new();
    encode::message(&mut out, "Hello".into(), None);
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    out.clear();
    encode::message(&mut out, "Hello".into(), Some(KEY));
    assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(encode::header(Message::Binary(&[0; 256])).as_ref(), [0x82, 0x7E, 0x01, 0x00]);
    assert_eq!(
        encode::header(Message::Binary(&[0; 65536])).as_ref(),
        [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
    );
}

#[test]
fn control_frames_have_at_most_125_bytes() {
    let mut connection = Connection::new();
    let mut out = Vec::new();
    assert_eq!(connection.ping(&[7; 125], None, &mut out), Ok(()));
    assert_eq!(out, frame_of_peer(Role::Client, 0x89, &[7; 125]));
    out.clear();
    assert_eq!(connection.ping(&[7; 126], None, &mut out), Err(SendError::ControlTooLong));
    assert_eq!(connection.pong(&[7; 126], None, &mut out), Err(SendError::ControlTooLong));
    assert_eq!(out, [], "nothing of it was written");
    assert_eq!(connection.pong(b"", None, &mut out), Ok(()));
    assert_eq!(out, [0x8A, 0]);
}

#[test]
fn close_frames_that_may_not_be_sent() {
    let mut out = Vec::new();
    let codes = (0..1000).chain([1004, 1005, 1006, 1015]).chain(1016..3000).chain(5000..=u16::MAX);
    for code in codes.step_by(if cfg!(miri) { 99 } else { 1 }) {
        let mut connection = Connection::new();
        let result = connection.close(CloseCode(code), "", None, &mut out);
        assert_eq!(result, Err(SendError::InvalidClose), "{code}");
        assert!(connection.is_open() && out.is_empty());
    }
    let mut connection = Connection::new();
    let too_long = "x".repeat(124);
    let result = connection.close(CloseCode::NORMAL, &too_long, None, &mut out);
    assert_eq!(result, Err(SendError::InvalidClose));
    assert_eq!(connection.close(CloseCode::NORMAL, &too_long[1..], None, &mut out), Ok(()));
    let payload = [&1000_u16.to_be_bytes()[..], &too_long.as_bytes()[1..]].concat();
    assert_eq!(out, frame_of_peer(Role::Client, 0x88, &payload));
}

/// Section 5.3: a fresh key for each frame, and not a predictable one.
#[test]
fn masking_keys_are_fresh() {
    let keys = |seed| {
        let mut codec = Codec::client(Limits::default(), seed);
        (0..1_000).map(|_| codec.next_masking_key().expect("a client's")).collect::<Vec<_>>()
    };
    let (one, other) = (keys([1; 32]), keys([2; 32]));
    assert_ne!(one, other, "they follow from the seed");
    let mut distinct = one.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() >= 999, "{} of 1,000 keys differ", distinct.len());
    assert_eq!(Codec::server(Limits::default()).next_masking_key(), None);
}
