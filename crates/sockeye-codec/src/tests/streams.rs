//! Whole streams, good and bad, in every cut, for both roles, with whole messages and with chunks:
//! event for event what the oracle says.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::oracle::Setup;
use super::replay::{check, check_every_cut, check_whole, frame, frame_with, setups};
use crate::{Limits, Role};

const TEXT: &str = "a\u{e4}\u{20ac}\u{1f41f}";

/// Everything of this stream's kind, in every cut.
fn check_all(build: impl Fn(Role) -> Vec<u8>) {
    for role in [Role::Server, Role::Client] {
        for setup in setups(role, Limits::default()) {
            check_every_cut(setup, &build(role));
        }
    }
}

/// Frames by first byte and payload.
fn check_frames(frames: &[(u8, &[u8])]) {
    check_all(|role| {
        frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect()
    });
}

#[test]
fn messages_of_one_frame() {
    check_frames(&[(0x81, TEXT.as_bytes()), (0x82, &[0xFF, 0, 1]), (0x81, b""), (0x82, b"")]);
}

#[test]
fn each_form_of_the_length() {
    for len in [125, 126, 127, 128, 300] {
        check_frames(&[(0x82, &vec![7; len]), (0x81, &vec![b'x'; len])]);
    }
}

#[test]
fn a_message_in_fragments_cut_inside_characters() {
    let text = TEXT.as_bytes();
    check_frames(&[(0x01, &text[..2]), (0x00, &text[2..5]), (0x00, b""), (0x80, &text[5..])]);
    check_frames(&[(0x02, &[1, 2]), (0x00, &[3]), (0x80, &[4, 5, 6]), (0x82, &[7])]);
    check_frames(&[(0x01, b""), (0x00, b""), (0x80, b"")]);
}

#[test]
fn control_frames_between_fragments() {
    check_frames(&[
        (0x01, b"one "),
        (0x89, b"ping"),
        (0x00, b""),
        (0x8A, b""),
        (0x8A, b"pong"),
        (0x80, "\u{1f41f}".as_bytes()),
        (0x89, b""),
        (0x88, b"\x03\xe8bye"),
    ]);
}

#[test]
fn nothing_comes_after_a_close() {
    check_frames(&[(0x88, b""), (0x81, b"late"), (0x88, b"")]);
    check_frames(&[(0x01, b"open"), (0x88, b"\x03\xe9"), (0x80, b"late")]);
}

#[test]
fn every_first_byte() {
    for first in (0..=255).step_by(if cfg!(miri) { 51 } else { 1 }) {
        check_frames(&[(first, b""), (0x81, b"x")]);
        check_frames(&[(0x01, b"a"), (first, b"b"), (0x80, b"c")]);
    }
}

#[test]
fn a_mask_where_none_may_be_and_none_where_one_must() {
    for role in [Role::Server, Role::Client] {
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        for setup in setups(role, Limits::default()) {
            let stream = [frame(role, 0x81, b"well"), frame(other, 0x81, b"wrong")].concat();
            check_every_cut(setup, &stream);
        }
    }
}

#[test]
fn lengths_that_are_not_minimal_or_beyond_63_bits() {
    let long = |len: u64| [&[127], &len.to_be_bytes()[..]].concat();
    let short = |len: u16| [&[126], &len.to_be_bytes()[..]].concat();
    for length in [
        short(0),
        short(125),
        long(0),
        long(126),
        long(0xFFFF),
        long(1 << 63),
        long(u64::MAX),
        long((1 << 63) - 1),
    ] {
        check_all(|role| frame_with(role, 0x82, &length, b"some"));
    }
}

#[test]
fn control_frames_that_are_too_long_or_in_pieces() {
    for first in [0x88, 0x89, 0x8A] {
        check_frames(&[(first, &[b'x'; 126])]);
        check_frames(&[(first & 0x7F, b"x")]);
        check_frames(&[(0x89, &[b'x'; 125]), (first, &[3; 125])]);
    }
}

#[test]
fn every_close_code() {
    for role in [Role::Server, Role::Client] {
        for code in (0..=u16::MAX).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let stream = frame(role, 0x88, &code.to_be_bytes());
            check_whole(setups(role, Limits::default())[0], &stream);
        }
    }
}

#[test]
fn close_payloads() {
    check_frames(&[(0x88, &[3])]);
    check_frames(&[(0x88, b"\x03\xe8\xc3")]);
    check_frames(&[(0x88, b"\x03\xe8\xff")]);
    check_frames(&[(0x88, "\u{3}\u{68}a".as_bytes())]);
    check_frames(&[(0x88, &[&[0x0f, 0xa0][..], "\u{1f41f}".repeat(30).as_bytes()].concat())]);
}

#[test]
fn text_that_is_not_utf8_fails_at_its_first_bad_byte() {
    let bad: [&[u8]; 9] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"a\x80",
        b"\xc3",
        b"\xf0\x9f\x90",
    ];
    for bad in bad {
        let text = [b"good \xf0\x9f\x90\x9f", bad, b" and more"].concat();
        check_frames(&[(0x81, &text)]);
        check_frames(&[(0x01, &text), (0x80, b"x")]);
        check_frames(&[(0x81, &text[..9 + bad.len()])]);
        check_frames(&[(0x01, &text[..8]), (0x89, b"p"), (0x00, &text[8..9]), (0x80, bad)]);
    }
}

/// What a generated frame is.
#[derive(Debug, Clone)]
struct Generated {
    first: u8,
    payload: Vec<u8>,
    /// How the length is written; 0: in the shortest form.
    length: u8,
    /// Masked the other way round.
    wrong_mask: bool,
}

impl Generated {
    fn bytes(&self, role: Role) -> Vec<u8> {
        let role = match (role, self.wrong_mask) {
            (Role::Server, false) | (Role::Client, true) => Role::Server,
            _ => Role::Client,
        };
        let len = self.payload.len();
        match self.length {
            1 => frame_with(
                role,
                self.first,
                &[&[126], &(len as u16).to_be_bytes()[..]].concat(),
                &self.payload,
            ),
            2 => frame_with(
                role,
                self.first,
                &[&[127], &(len as u64).to_be_bytes()[..]].concat(),
                &self.payload,
            ),
            _ => frame(role, self.first, &self.payload),
        }
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a\u{e4}\u{20ac}\u{1f41f}]{0,60}".prop_map(String::into_bytes),
        3 => vec(any::<u8>(), 0..40),
        2 => vec(b'a'..=b'z', 120..132),
        1 => vec(b'a'..=b'z', 65_530..65_540),
        // Text that lacks an end, or a beginning.
        2 => ("[\u{20ac}\u{1f41f}]{1,9}", 1..3_usize, any::<bool>()).prop_map(|(text, cut, head)| {
            let bytes = text.into_bytes();
            if head { bytes[cut..].to_vec() } else { bytes[..bytes.len() - cut].to_vec() }
        }),
    ]
}

fn generated() -> impl Strategy<Value = Generated> {
    let first = prop_oneof![
        20 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]),
        2 => prop::sample::select(vec![0x88_u8, 0xC1, 0xC2, 0x41, 0x42]),
        1 => any::<u8>(),
    ];
    let length = prop_oneof![30 => Just(0_u8), 1 => 1..3_u8];
    (first, payload(), length, prop::bool::weighted(0.01)).prop_map(
        |(first, mut payload, length, wrong_mask)| {
            if first & 8 != 0 && length == 0 {
                payload.truncate(126);
            }
            Generated { first, payload, length, wrong_mask }
        },
    )
}

fn pieces(len: usize, mut cuts: Vec<prop::sample::Index>) -> Vec<Range<usize>> {
    let mut ends: Vec<usize> = cuts.drain(..).map(|cut| cut.index(len + 1)).collect();
    ends.push(len);
    ends.sort_unstable();
    let begins = std::iter::once(0).chain(ends.clone());
    begins.zip(ends).map(|(from, to)| from..to).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "hours under Miri; the streams above go the same ways")]
    fn generated_streams(
        frames in vec(generated(), 1..12),
        cuts in vec(any::<prop::sample::Index>(), 0..9),
        server in any::<bool>(),
        streaming in any::<bool>(),
        rsv1 in any::<bool>(),
        tight in any::<bool>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let limits = if tight {
            Limits {
                message_bytes_max: 150,
                frame_bytes_max: 128,
                fragments_per_message_max: 3,
                ..Limits::default()
            }
        } else {
            Limits::default()
        };
        let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes(role)).collect();
        let setup = Setup { role, streaming, rsv1, limits };
        check(setup, &stream, &pieces(stream.len(), cuts));
    }

    #[test]
    #[cfg_attr(miri, ignore = "hours under Miri; the streams above go the same ways")]
    fn noise(bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<prop::sample::Index>(), 0..5)) {
        for role in [Role::Server, Role::Client] {
            for setup in setups(role, Limits::default()) {
                check(setup, &bytes, &pieces(bytes.len(), cuts.clone()));
            }
        }
    }
}
