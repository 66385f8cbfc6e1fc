//! SSE2, AVX2 and AVX-512.

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_set1_epi32, _mm_storeu_si128, _mm_xor_si128,
    _mm256_loadu_si256, _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_loadu_si512, _mm512_set1_epi32, _mm512_storeu_si512, _mm512_xor_si512,
};

use super::portable;

/// From here on the stores are aligned: one that straddles two cache lines costs two.
pub(super) const ALIGN_BYTES_MIN: usize = 512;

/// The key for the bytes from `at` on. x86 is little-endian: its first byte is the lowest.
pub(super) fn turn(key: u32, at: usize) -> u32 {
    key.rotate_right(8 * (at % 4) as u32)
}

/// A kernel: the first and the last vector wherever they lie (two of each for what has up to four),
/// and between them whole ones, aligned, four at a time. Where they overlap, the same bytes are
/// stored twice.
macro_rules! kernel {
    (
        $(#[$attribute:meta])* $name:ident, $vector:ty, $bytes:literal,
        $load:ident, $store:ident, $set:ident, $xor:ident
    ) => {
        $(#[$attribute])*
        ///
        /// # Safety
        /// As [`Kernel`](super::Kernel).
        pub(super) unsafe fn $name(dst: *mut u8, src: *const u8, len: usize, key: u32) {
            const BYTES: usize = $bytes;
            // SAFETY: `len >= BYTES` from here on, and each access ends at or before `len`, for
            // which the caller vouches. Loads and stores are the unaligned ones. Both ends are
            // loaded before anything is stored, since `dst` may be `src`.
            unsafe {
                let Some(last_at) = len.checked_sub(BYTES) else {
                    return portable::xor(dst, src, len, key);
                };
                let load = |at: usize, key| $xor($load(src.add(at).cast::<$vector>()), key);
                let store = |at: usize, block| $store(dst.add(at).cast::<$vector>(), block);
                let wide = |at| $set(turn(key, at).cast_signed());
                let (front, back) = (wide(0), wide(last_at));
                let (first, last) = (load(0, front), load(last_at, back));
                if len > 2 * BYTES {
                    let (second, last_but_one) = (load(BYTES, front), load(last_at - BYTES, back));
                    if len > 4 * BYTES {
                        let aligned = BYTES - dst.addr() % BYTES;
                        let mut at = if len >= ALIGN_BYTES_MIN { aligned } else { BYTES };
                        let turned = wide(at);
                        while at + 4 * BYTES <= last_at {
                            for n in [0, BYTES, 2 * BYTES, 3 * BYTES] {
                                store(at + n, load(at + n, turned));
                            }
                            at += 4 * BYTES;
                        }
                        while at < last_at {
                            store(at, load(at, turned));
                            at += BYTES;
                        }
                    } else {
                        store(BYTES, second);
                        store(last_at - BYTES, last_but_one);
                    }
                }
                store(0, first);
                store(last_at, last);
            }
        }
    };
}

kernel! {
    /// The [`Kernel`](super::Kernel) for SSE2, which every x86-64 has.
    xor_sse2, __m128i, 16, _mm_loadu_si128, _mm_storeu_si128, _mm_set1_epi32, _mm_xor_si128
}

kernel! {
    /// The [`Kernel`](super::Kernel) for AVX2.
    #[target_feature(enable = "avx2")]
    xor_avx2, __m256i, 32, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi32,
    _mm256_xor_si256
}

kernel! {
    /// The [`Kernel`](super::Kernel) for AVX-512.
    #[target_feature(enable = "avx512f")]
    xor_avx512, __m512i, 64, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi32,
    _mm512_xor_si512
}
