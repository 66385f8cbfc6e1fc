//! Masking against one byte at a time, for each kernel that this machine can run.

use proptest::prelude::*;

use crate::arch;
use crate::arch::forced::instruction_sets;
use crate::mask::{self, MaskingKey};

const KEY: MaskingKey = [0x37, 0xfa, 0x21, 0x3d];

fn slow(bytes: &[u8], key: MaskingKey, offset: usize) -> Vec<u8> {
    bytes.iter().enumerate().map(|(n, byte)| byte ^ key[(n + offset) % 4]).collect()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn lengths() -> Vec<usize> {
    if cfg!(miri) {
        return vec![0, 1, 3, 4, 7, 8, 15, 16, 31, 33, 63, 65, 127, 130, 257, 515, 600];
    }
    let around = [512, 1_024, 4_096, 16_384, 65_536, 70_000];
    (0..=300).chain(around.into_iter().flat_map(|len| len - 5..=len + 5)).collect()
}

fn alignments() -> impl Iterator<Item = usize> {
    (0..64).step_by(if cfg!(miri) { 13 } else { 1 })
}

/// A guard on either side must stay as it is.
fn with_guards(len: usize, align: usize, run: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut buffer = vec![0xA5; len + align + 192];
    let begin = 64 + buffer[64..].as_ptr().align_offset(64) + align;
    buffer[begin..begin + len].copy_from_slice(&bytes(len));
    run(&mut buffer[begin..begin + len]);
    let (before, rest) = buffer.split_at(begin);
    let (result, after) = rest.split_at(len);
    assert!(before.iter().chain(after).all(|byte| *byte == 0xA5), "len {len} align {align}");
    result.to_vec()
}

#[test]
fn every_kernel_at_every_length_and_alignment() {
    for set in instruction_sets() {
        let name = set.name;
        for len in lengths() {
            let expected = slow(&bytes(len), KEY, 0);
            // Long ones at fewer alignments: the ends are what differs.
            for align in alignments().filter(|align| len < 1_024 || align % 9 == 0) {
                let in_place =
                    with_guards(len, align, |b| set.force(|| arch::xor_in_place(b, KEY)));
                assert_eq!(in_place, expected, "{name} len {len} align {align}");
                let copied = with_guards(len, align, |b| set.xor_copy(b, &bytes(len), KEY));
                assert_eq!(copied, expected, "{name} len {len} align {align}");
            }
        }
    }
}

#[test]
fn the_machine_runs_the_kernel_it_should() {
    let names: Vec<_> = instruction_sets().iter().map(|set| set.name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    #[cfg(target_arch = "x86_64")]
    {
        assert!(names.contains(&"sse2"));
        assert_eq!(names.contains(&"avx2"), is_x86_feature_detected!("avx2"));
        assert_eq!(names.contains(&"avx512"), is_x86_feature_detected!("avx512bw"));
    }
}

#[test]
fn offsets_turn_the_key() {
    for len in [0, 1, 5, 8, 63, 64, 65, 200] {
        for offset in (0..9).chain([usize::MAX - 2, usize::MAX]) {
            let mut payload = bytes(len);
            mask::apply(&mut payload, KEY, offset);
            assert_eq!(payload, slow(&bytes(len), KEY, offset % 4), "{len} {offset}");
        }
    }
}

#[test]
fn appending_masks_what_it_appends() {
    for len in lengths() {
        let mut out = b"before".to_vec();
        mask::extend(&mut out, &bytes(len), KEY);
        assert_eq!(out[..6], *b"before");
        assert_eq!(out[6..], slow(&bytes(len), KEY, 0));
    }
}

#[test]
fn the_short_way_knows_ascii() {
    for len in (0..=64).step_by(if cfg!(miri) { 7 } else { 1 }) {
        for high in (0..len).map(Some).chain([None]) {
            let mut plain = vec![b'a'; len];
            if let Some(high) = high {
                plain[high] = 0x80;
            }
            let mut masked = slow(&plain, KEY, 0);
            assert_eq!(mask::apply_short(&mut masked, KEY), high.is_none(), "{len} {high:?}");
            assert_eq!(masked, plain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    #[cfg_attr(miri, ignore = "hours under miri; the tests above cover the same paths")]
    fn in_any_pieces(
        payload in proptest::collection::vec(any::<u8>(), 0..4_000),
        key in any::<MaskingKey>(),
        mut cuts in proptest::collection::vec(0_usize..4_000, 0..8),
    ) {
        let whole = slow(&payload, key, 0);
        cuts.retain(|cut| *cut <= payload.len());
        cuts.sort_unstable();
        let mut masked = payload;
        let mut from = 0;
        for cut in cuts.into_iter().chain([masked.len()]) {
            mask::apply(&mut masked[from..cut], key, from);
            from = cut;
        }
        prop_assert_eq!(masked, whole);
    }
}
