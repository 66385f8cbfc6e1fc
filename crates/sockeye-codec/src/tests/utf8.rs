//! UTF-8 against the table of RFC 3629, one byte at a time.

use proptest::prelude::*;

use crate::arch::forced::{InstructionSet, instruction_sets};
use crate::arch::{self, Text};
use crate::mask::MaskingKey;
use crate::utf8::Utf8Stream;

const KEY: MaskingKey = [0x37, 0xfa, 0x21, 0x3d];

/// The grammar of RFC 3629 section 4 as a machine: which bytes may come next, and how many
/// continuation bytes follow them. `None`: no more can make it valid.
#[derive(Clone, Copy)]
struct Oracle {
    /// The range of the next byte, where inside a sequence.
    next: (u8, u8),
    missing: u8,
}

impl Oracle {
    const START: Self = Self { next: (0, 0), missing: 0 };

    fn step(self, byte: u8) -> Option<Self> {
        if self.missing > 0 {
            let (low, high) = self.next;
            return (low..=high)
                .contains(&byte)
                .then_some(Self { next: (0x80, 0xBF), missing: self.missing - 1 });
        }
        let (next, missing) = match byte {
            0x00..=0x7F => ((0, 0), 0),
            0xC2..=0xDF => ((0x80, 0xBF), 1),
            0xE0 => ((0xA0, 0xBF), 2),
            0xE1..=0xEC | 0xEE..=0xEF => ((0x80, 0xBF), 2),
            0xED => ((0x80, 0x9F), 2),
            0xF0 => ((0x90, 0xBF), 3),
            0xF1..=0xF3 => ((0x80, 0xBF), 3),
            0xF4 => ((0x80, 0x8F), 3),
            _ => return None,
        };
        Some(Self { next, missing })
    }

    /// The index of the first byte that cannot be right, or whether the end is.
    fn judge(bytes: &[u8]) -> Result<bool, usize> {
        let mut state = Self::START;
        for (n, byte) in bytes.iter().enumerate() {
            state = state.step(*byte).ok_or(n)?;
        }
        Ok(state.missing == 0)
    }
}

/// The same, of the stream: fed one byte at a time it must fail at the same byte.
fn judge_stream(bytes: &[u8]) -> Result<bool, usize> {
    let mut utf8 = Utf8Stream::default();
    for (n, byte) in bytes.iter().enumerate() {
        utf8.push(std::slice::from_ref(byte)).map_err(|_| n)?;
    }
    Ok(utf8.finish().is_ok())
}

fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = [
        &b""[..],
        b"plain",
        "κόσμε".as_bytes(),
        "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\u{D7FF}\u{E000}".as_bytes(),
        "你好，世界 🐟🦀 naïve".as_bytes(),
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\x80",
        b"\xE0\x9F\xBF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF0\x80\x80\x80",
        b"\xF0\x8F\xBF\xBF",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFE",
        b"\xFF",
        b"\x80",
        b"\xBF\xBF\xBF\xBF",
        b"\xE2\x82",
        b"\xF0\x9F\x90",
        b"\xE2\x82x",
        b"\xF0\x9F\x90\xF0",
        b"\xC3\xC3\xA9",
        b"\xF4\x90",
        b"\xED\xA0",
    ]
    .iter()
    .map(|sample| sample.to_vec())
    .collect();
    let long = samples.iter().map(|sample| [&[b'x'; 70][..], sample, &[b'y'; 70]].concat());
    samples.extend(long.collect::<Vec<_>>());
    samples
}

#[test]
fn every_two_bytes_and_their_continuations() {
    let step = if cfg!(miri) { 23 } else { 1 };
    for first in (0..=255).step_by(step) {
        for second in (0..=255_u8).step_by(step) {
            for rest in [&b""[..], b"\x80", b"\xBF\x80", b"x"] {
                let bytes = [&[first, second], rest].concat();
                assert_eq!(judge_stream(&bytes), Oracle::judge(&bytes), "{bytes:x?}");
                assert_eq!(std::str::from_utf8(&bytes).is_ok(), Oracle::judge(&bytes) == Ok(true));
            }
        }
    }
}

#[test]
fn every_cut_in_three() {
    for sample in samples() {
        let expected = Oracle::judge(&sample);
        assert_eq!(judge_stream(&sample), expected);
        let step = if cfg!(miri) { 29 } else { 1 };
        for a in (0..=sample.len()).step_by(step) {
            for b in (a..=sample.len()).step_by(step) {
                let mut utf8 = Utf8Stream::default();
                let mut seen = 0;
                let failed = [&sample[..a], &sample[a..b], &sample[b..]].iter().find_map(|chunk| {
                    let before = seen;
                    seen += chunk.len();
                    utf8.push(chunk).is_err().then_some(before..seen)
                });
                match (expected, failed) {
                    (Ok(whole), None) => assert_eq!(utf8.finish().is_ok(), whole),
                    // In the very chunk that has the byte.
                    (Err(at), Some(chunk)) => assert!(chunk.contains(&at), "{sample:x?} {a} {b}"),
                    other => panic!("{other:?} {sample:x?} {a} {b}"),
                }
            }
        }
    }
}

#[test]
fn texts_of_every_length_are_unmasked_and_judged() {
    let mixed = "a€🐟你 plain ascii for a while, ".repeat(if cfg!(miri) { 10 } else { 1_500 });
    let lengths: Vec<usize> = (0..200).chain([4_000, 16_383, 16_384, 16_385, 40_000]).collect();
    for len in lengths.into_iter().filter(|len| *len <= mixed.len()) {
        for flaw in [None, Some(0), Some(len / 2), len.checked_sub(1)] {
            let mut plain = mixed.as_bytes()[..len].to_vec();
            if let Some(byte) = flaw.and_then(|at| plain.get_mut(at)) {
                *byte = 0xFF;
            }
            let mut masked = plain.clone();
            crate::mask::apply(&mut masked, KEY, 0);
            let expected = std::str::from_utf8(&plain).ok();
            assert_eq!(arch::unmask_text(&mut masked, KEY), expected, "{len} {flaw:?}");
            assert_eq!(arch::valid_text(&plain), expected);
        }
    }
}

/// Around the edges of chunks and blocks, with each instruction set.
#[test]
fn every_implementation_at_the_edges_of_its_blocks() {
    const BLOCK: usize = 16 << 10;
    let edges = if cfg!(miri) { vec![64] } else { vec![64, 128, BLOCK, BLOCK + 64, 2 * BLOCK] };
    for set in instruction_sets() {
        for edge in &edges {
            let lengths = [edge + 3, edge + 70, *edge, edge + 1];
            for len in lengths.into_iter().take(if cfg!(miri) { 2 } else { 4 }) {
                for at in (edge - 6..(edge + 4).min(len)).chain([0, len - 1]) {
                    // ASCII but for one thing, so that whole blocks are passed over.
                    for thing in ["", "\u{e4}", "\u{20ac}", "\u{1f41f}", "\u{1f41f}\u{e4}"] {
                        for cut in 0..=thing.len() {
                            let mut plain = vec![b'a'; len];
                            let end = len.min(at + cut);
                            plain[at..end].copy_from_slice(&thing.as_bytes()[..end - at]);
                            check_implementation(set, &plain);
                        }
                    }
                    let mut plain = vec![b'a'; len];
                    plain[at] = 0xFF;
                    check_implementation(set, &plain);
                }
            }
        }
    }
}

fn check_implementation(set: InstructionSet, plain: &[u8]) {
    let name = set.name;
    let mut masked = plain.to_vec();
    crate::mask::apply(&mut masked, KEY, 0);
    let mut whole = masked.clone();
    let expected = std::str::from_utf8(plain);
    let valid = set.unmask_text(&mut whole, KEY, false);
    assert_eq!(valid, expected.is_ok().then_some(0), "{name}: {plain:x?}");
    let open = match expected {
        Ok(_) => Some(0),
        Err(error) => error.error_len().is_none().then(|| plain.len() - error.valid_up_to()),
    };
    assert_eq!(set.unmask_text(&mut masked, KEY, true), open, "{name}: {plain:x?}");
    assert!(whole == plain && masked == plain, "{name}: unmasked wrong");
}

/// A text in pieces that end at and around the edges of blocks.
#[test]
#[cfg_attr(miri, ignore = "hours under miri; the tests above cover the same paths")]
fn a_growing_text_over_several_blocks() {
    let plain = "a\u{20ac}\u{1f41f}\u{4f60} and ascii, ".repeat(2_500);
    let mut masked = plain.clone().into_bytes();
    crate::mask::apply(&mut masked, KEY, 0);
    for size in [127, 129, 1_000, 16_383, 16_384, 16_385, 16_500, 40_000] {
        for flaw in [None, Some(5), Some(16_384), Some(40_001)] {
            let mut masked = masked.clone();
            if let Some(flaw) = flaw {
                masked[flaw] = 0xFF ^ KEY[flaw % 4];
            }
            let mut text = Text::default();
            // Every way to land there is: a copy, a room, one after the other.
            for in_room in [|_| false, |_| true, |n| n % 2 == 0, |n: usize| n % 2 == 1] {
                text.clear();
                let failed = masked.chunks(size).enumerate().find_map(|(n, piece)| {
                    let key = crate::mask::rotate(KEY, n * size);
                    let pushed = if in_room(n) {
                        text.room(piece.len()).copy_from_slice(piece);
                        text.push_room(piece.len(), key)
                    } else {
                        text.push_masked(piece, key)
                    };
                    pushed.is_err().then_some(n)
                });
                assert_eq!(failed, flaw.map(|flaw| flaw / size), "{size} {flaw:?}");
                if flaw.is_none() {
                    assert_eq!(text.finish(), Ok(&plain[..]));
                }
            }
        }
    }
}

#[test]
fn a_growing_text_once_refused_stays_refused() {
    let mut text = Text::default();
    text.push_masked(b"good", [0; 4]).unwrap();
    assert!(text.push_masked(b"\xFF", [0; 4]).is_err());
    assert!(text.finish().is_err());
    text.clear();
    text.push_masked("é".as_bytes(), [0; 4]).unwrap();
    assert_eq!(text.finish(), Ok("é"));
    text.push_masked(b"\xC3", [0; 4]).unwrap();
    assert!(text.finish().is_err(), "an open sequence at the end");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    #[cfg_attr(miri, ignore = "hours under miri; the tests above cover the same paths")]
    fn a_growing_text_in_any_pieces(
        text in "[a-zé€🐟\u{10FFFF}]{0,300}",
        flaw in proptest::option::of((0_usize..900, any::<u8>())),
        cuts in proptest::collection::vec(0_usize..900, 0..10),
    ) {
        let mut plain = text.into_bytes();
        if let Some((at, byte)) = flaw && at < plain.len() {
            plain[at] = byte;
        }
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= plain.len()).collect();
        cuts.push(plain.len());
        cuts.sort_unstable();
        let mut masked = plain.clone();
        crate::mask::apply(&mut masked, KEY, 0);
        let mut growing = Text::default();
        let mut from = 0;
        let mut failed = None;
        for cut in cuts {
            let key = crate::mask::rotate(KEY, from);
            if growing.push_masked(&masked[from..cut], key).is_err() {
                failed = Some(from..cut);
                break;
            }
            from = cut;
        }
        match (Oracle::judge(&plain), failed) {
            (Ok(true), None) => prop_assert_eq!(growing.finish().unwrap().as_bytes(), &plain[..]),
            (Ok(false), None) => prop_assert!(growing.finish().is_err()),
            (Err(at), Some(piece)) => prop_assert!(piece.contains(&at)),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
