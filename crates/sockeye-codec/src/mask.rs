//! Masking (RFC 6455 section 5.3): `octet[i] ^ key[i % 4]`, the same for both directions.

use crate::arch;

/// The four bytes of a frame's header that mask its payload.
pub type MaskingKey = [u8; 4];

/// Shorter payloads are done here, inlined; longer ones by the machine's vectors.
const SHORT_BYTES_MAX: usize = 64;

/// Masks or unmasks a part of a payload in place; `offset` is where in the payload it begins.
///
/// ```
/// let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// sockeye_codec::mask::apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn apply(payload: &mut [u8], key: MaskingKey, offset: usize) {
    let key = rotate(key, offset);
    if payload.len() <= SHORT_BYTES_MAX {
        apply_short(payload, key);
    } else {
        arch::xor_in_place(payload, key);
    }
}

/// The key for the payload's bytes from `by` on.
#[inline]
#[must_use]
pub const fn rotate(key: MaskingKey, by: usize) -> MaskingKey {
    u32::from_be_bytes(key).rotate_left(8 * (by % 4) as u32).to_be_bytes()
}

/// Appends the masked payload: one pass, no copy before.
#[inline]
pub(crate) fn extend(out: &mut Vec<u8>, payload: &[u8], key: MaskingKey) {
    arch::xor_extend(out, payload, key);
}

/// Masks or unmasks in place, for payloads that no vector is worth. Returns whether the result is
/// ASCII, which is known on the way.
#[inline]
pub(crate) fn apply_short(payload: &mut [u8], key: MaskingKey) -> bool {
    let half = u32::from_ne_bytes(key);
    let wide = u64::from(half) << 32 | u64::from(half);
    let mut all = 0;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        let plain = u64::from_ne_bytes(*word) ^ wide;
        all |= plain;
        *word = plain.to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        let plain = u32::from_ne_bytes(*word) ^ half;
        all |= u64::from(plain);
        *word = plain.to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
        all |= u64::from(*byte);
    }
    all & 0x8080_8080_8080_8080 == 0
}
