//! SSE2, AVX2 and AVX-512.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm_storeu_si128, _mm_xor_si128,
    _mm256_loadu_si256, _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_set1_epi32,
    _mm512_storeu_si512, _mm512_xor_si512,
};

use super::portable;

/// From here on the store is aligned first: one that straddles two cache lines costs two.
const ALIGN_BYTES_MIN: usize = 512;

/// The first bytes up to a multiple of `align` in `dst`, and the key turned by as many.
fn head(dst: *mut u8, len: usize, key: u32, align: usize) -> (usize, u32) {
    let head = if len >= ALIGN_BYTES_MIN { dst.align_offset(align).min(len) } else { 0 };
    // x86 is little-endian: the key's first byte is its lowest.
    (head, key.rotate_right(8 * (head % 4) as u32))
}

/// The [`Kernel`](super::Kernel) for SSE2, which every x86-64 has.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
pub(super) unsafe fn xor_sse2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let (mut at, turned) = head(dst, len, key, 16);
    // SAFETY: `at <= len`; each access below ends at or before `len`, for which the caller vouches.
    // Loads and stores are the unaligned ones.
    unsafe {
        portable::xor(dst, src, at, key);
        let wide = _mm_set1_epi32(turned.cast_signed());
        while at + 64 <= len {
            for n in [0, 16, 32, 48] {
                let block = _mm_loadu_si128(src.add(at + n).cast::<__m128i>());
                _mm_storeu_si128(dst.add(at + n).cast(), _mm_xor_si128(block, wide));
            }
            at += 64;
        }
        while at + 16 <= len {
            let block = _mm_loadu_si128(src.add(at).cast::<__m128i>());
            _mm_storeu_si128(dst.add(at).cast(), _mm_xor_si128(block, wide));
            at += 16;
        }
        portable::xor(dst.add(at), src.add(at), len - at, turned);
    }
}

/// The [`Kernel`](super::Kernel) for AVX2.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[target_feature(enable = "avx2")]
pub(super) unsafe fn xor_avx2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let (mut at, turned) = head(dst, len, key, 32);
    // SAFETY: as in `xor_sse2`.
    unsafe {
        portable::xor(dst, src, at, key);
        let wide = _mm256_set1_epi32(turned.cast_signed());
        while at + 128 <= len {
            for n in [0, 32, 64, 96] {
                let block = _mm256_loadu_si256(src.add(at + n).cast::<__m256i>());
                _mm256_storeu_si256(dst.add(at + n).cast(), _mm256_xor_si256(block, wide));
            }
            at += 128;
        }
        while at + 32 <= len {
            let block = _mm256_loadu_si256(src.add(at).cast::<__m256i>());
            _mm256_storeu_si256(dst.add(at).cast(), _mm256_xor_si256(block, wide));
            at += 32;
        }
        portable::xor(dst.add(at), src.add(at), len - at, turned);
    }
}

/// The [`Kernel`](super::Kernel) for AVX-512: what is left at either end takes one masked access.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn xor_avx512(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let (mut at, turned) = head(dst, len, key, 64);
    // SAFETY: as in `xor_sse2`; a masked access touches only the bytes whose bit is set, which are
    // the first `at` (below 64) and the last `len - at` (below 64).
    unsafe {
        if at > 0 {
            let mask = (1 << at) - 1;
            let block = _mm512_maskz_loadu_epi8(mask, src.cast());
            let wide = _mm512_set1_epi32(key.cast_signed());
            _mm512_mask_storeu_epi8(dst.cast(), mask, _mm512_xor_si512(block, wide));
        }
        let wide = _mm512_set1_epi32(turned.cast_signed());
        while at + 256 <= len {
            for n in [0, 64, 128, 192] {
                let block = _mm512_loadu_si512(src.add(at + n).cast());
                _mm512_storeu_si512(dst.add(at + n).cast(), _mm512_xor_si512(block, wide));
            }
            at += 256;
        }
        while at + 64 <= len {
            let block = _mm512_loadu_si512(src.add(at).cast());
            _mm512_storeu_si512(dst.add(at).cast(), _mm512_xor_si512(block, wide));
            at += 64;
        }
        if at < len {
            let mask = (1 << (len - at)) - 1;
            let block = _mm512_maskz_loadu_epi8(mask, src.add(at).cast());
            _mm512_mask_storeu_epi8(dst.add(at).cast(), mask, _mm512_xor_si512(block, wide));
        }
    }
}
