//! Limits at the last value that is allowed and at the first that is not.

use super::oracle::{Seen, Setup, expect};
use super::replay::{check_every_cut, frame, frame_with, run, setup, setups};
use crate::{Codec, Connection, DataKind, Limits, ProtocolError, Role};

const LIMITS: Limits = Limits {
    message_bytes_max: 300,
    frame_bytes_max: 200,
    fragments_per_message_max: 4,
    spare_bytes_max: 1 << 20,
};

/// What a stream of such frames comes to, in every cut and every setup.
fn error_of(frames: &[(u8, usize)], limits: Limits) -> Option<ProtocolError> {
    let mut errors = Vec::new();
    for role in [Role::Server, Role::Client] {
        let stream: Vec<u8> =
            frames.iter().flat_map(|(first, len)| frame(role, *first, &vec![b'x'; *len])).collect();
        for setup in setups(role, limits) {
            check_every_cut(setup, &stream);
            errors.push(expect(setup, &stream).error);
        }
    }
    assert!(errors.windows(2).all(|pair| pair[0] == pair[1]), "{errors:?}");
    errors[0]
}

#[test]
fn frame_bytes() {
    assert_eq!(error_of(&[(0x82, 200)], LIMITS), None);
    assert_eq!(error_of(&[(0x82, 201)], LIMITS), Some(ProtocolError::FrameTooLarge));
    assert_eq!(error_of(&[(0x02, 201)], LIMITS), Some(ProtocolError::FrameTooLarge));
}

#[test]
fn message_bytes_over_all_frames() {
    assert_eq!(error_of(&[(0x02, 150), (0x80, 150)], LIMITS), None);
    assert_eq!(error_of(&[(0x02, 150), (0x80, 151)], LIMITS), Some(ProtocolError::MessageTooLarge));
    // Each message counts from 0, and control frames do not count.
    let frames = [(0x01, 150), (0x89, 125), (0x80, 150), (0x82, 200), (0x01, 200), (0x80, 100)];
    assert_eq!(error_of(&frames, LIMITS), None);
    let only_message = Limits { frame_bytes_max: u64::MAX, ..LIMITS };
    assert_eq!(error_of(&[(0x82, 300)], only_message), None);
    assert_eq!(error_of(&[(0x82, 301)], only_message), Some(ProtocolError::MessageTooLarge));
}

#[test]
fn short_messages_have_limits_too() {
    let limits = Limits { message_bytes_max: 10, frame_bytes_max: 10, ..LIMITS };
    assert_eq!(error_of(&[(0x81, 10)], limits), None);
    assert_eq!(error_of(&[(0x81, 11)], limits), Some(ProtocolError::FrameTooLarge));
}

#[test]
fn fragments_empty_ones_too() {
    let whole = [(0x01, 1), (0x00, 0), (0x00, 0), (0x80, 0)];
    assert_eq!(error_of(&whole, LIMITS), None);
    let one_more = [(0x01, 1), (0x00, 0), (0x00, 0), (0x00, 0), (0x80, 0)];
    assert_eq!(error_of(&one_more, LIMITS), Some(ProtocolError::TooManyFragments));
}

/// A limit is refused by the header: not one byte of the payload has to come.
#[test]
fn a_declared_length_is_judged_before_the_payload() {
    for role in [Role::Server, Role::Client] {
        for len in [201, 1 << 32, (1 << 63) - 1_u64] {
            let length = match len {
                0..=0xFFFF => [&[126], &(len as u16).to_be_bytes()[..]].concat(),
                _ => [&[127], &len.to_be_bytes()[..]].concat(),
            };
            let stream = frame_with(role, 0x82, &length, &[]);
            let setup = Setup { limits: LIMITS, ..setup(role) };
            check_every_cut(setup, &stream);
            assert_eq!(expect(setup, &stream).error, Some(ProtocolError::FrameTooLarge));
        }
    }
}

/// So much of a message arrives.
const ARRIVING: usize = if cfg!(miri) { 15_000 } else { 1_000_000 };

/// What is reserved follows what has arrived, not what was declared.
#[test]
fn a_declared_length_reserves_little() {
    let limits = Limits { message_bytes_max: 1 << 40, frame_bytes_max: 1 << 40, ..LIMITS };
    for first in [0x81, 0x82] {
        let mut codec = Codec::server(limits);
        let mut connection = Connection::new();
        let length = [&[127], &(1_u64 << 40).to_be_bytes()[..]].concat();
        let mut stream = frame_with(Role::Server, first, &length, &vec![b'x'; ARRIVING]);
        let mut arrived = 0;
        for piece in stream.chunks_mut(10_000) {
            arrived += piece.len();
            let mut input = piece;
            assert_eq!(connection.receive(&mut codec, &mut input, &mut Vec::new()), Ok(None));
            let held = connection.bytes_held();
            assert!(held < 2 * arrived + (65 << 10), "{held} bytes for {arrived}");
        }
    }
}

/// Whoever sends one byte at a time has it put together all the same, within the limits.
#[test]
fn a_message_of_just_the_limit_in_single_bytes() {
    let stream: Vec<u8> = [(0x01, 200), (0x00, 0), (0x00, 50), (0x80, 50)]
        .iter()
        .flat_map(|(first, len)| frame(Role::Server, *first, &vec![b'x'; *len]))
        .collect();
    let pieces: Vec<_> = (0..stream.len()).map(|at| at..at + 1).collect();
    let setup = Setup { limits: LIMITS, ..setup(Role::Server) };
    let (outcome, _) = run(setup, &stream, &pieces);
    assert_eq!(outcome.events, [Seen::Message(DataKind::Text, vec![b'x'; 300])]);
}

/// Spare buffers are kept up to their limit, and what is kept is used.
#[test]
#[cfg_attr(miri, ignore = "megabytes, and no unsafe code that others do not reach")]
fn spare_buffers_are_bounded() {
    for spare_bytes_max in [0, 100 << 10, 1 << 20] {
        let limits = Limits { spare_bytes_max, ..Limits::default() };
        let mut codec = Codec::server(limits);
        let mut connections: Vec<_> = (0..50).map(|_| Connection::new()).collect();
        let mut out = Vec::new();
        for connection in &mut connections {
            let mut stream = frame(Role::Server, 0x02, &[1; 50_000]);
            assert_eq!(connection.receive(&mut codec, &mut &mut stream[..], &mut out), Ok(None));
        }
        for connection in &mut connections {
            let mut stream = frame(Role::Server, 0x80, &[2]);
            let event = connection.receive(&mut codec, &mut &mut stream[..], &mut out);
            assert!(matches!(event, Ok(Some(_))), "{event:?}");
        }
        for connection in &mut connections {
            let mut stream = frame(Role::Server, 0x89, &[]);
            assert!(connection.receive(&mut codec, &mut &mut stream[..], &mut out).is_ok());
            assert_eq!(connection.bytes_held(), 0, "nothing is under way");
        }
        assert!(codec.spare_bytes() <= spare_bytes_max, "{}", codec.spare_bytes());
    }
}
