//! Unmasking and UTF-8 validation in one pass over the bytes, in registers: each vector is loaded,
//! unmasked, stored and checked.
//!
//! The check is the lookup algorithm of J. Keiser and D. Lemire, "Validating UTF-8 in less than one
//! instruction per byte" (2021): three tables, indexed by the halves of two bytes that follow each
//! other, have a bit for each way in which two bytes cannot; what they have in common is an error,
//! but for two continuations in a row, which is one unless a lead byte before called for them.

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm256_alignr_epi8, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_subs_epu8,
    _mm256_testz_si256, _mm256_xor_si256, _mm512_alignr_epi8, _mm512_alignr_epi32,
    _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_loadu_si512, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_maskz_mov_epi8, _mm512_movepi8_mask, _mm512_or_si512,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_srli_epi16, _mm512_storeu_si512, _mm512_subs_epu8, _mm512_test_epi8_mask,
    _mm512_xor_si512,
};

use super::{portable, x86};
use crate::utf8;

/// One or two vectors.
const CHUNK_BYTES: usize = 64;
/// What the fast way out for ASCII looks at together, where there is as much.
const BLOCK_BYTES: usize = 256;
/// A sequence that the text ends in, but not whole, has at most so many bytes.
const OPEN_BYTES_MAX: usize = 3;

/// A lead byte without a continuation behind it.
const TOO_SHORT: u8 = 1 << 0;
/// A continuation behind ASCII.
const TOO_LONG: u8 = 1 << 1;
/// E0 and a continuation below A0.
const OVERLONG_3: u8 = 1 << 2;
/// F4 and a continuation above 8F, or F5 to FF and one above 8F.
const TOO_LARGE: u8 = 1 << 3;
/// ED and a continuation above 9F.
const SURROGATE: u8 = 1 << 4;
/// C0 or C1 and a continuation.
const OVERLONG_2: u8 = 1 << 5;
/// F5 to FF and a continuation below 90.
const TOO_LARGE_1000: u8 = 1 << 6;
/// F0 and a continuation below 90; told from the one above by the low half of the first byte.
const OVERLONG_4: u8 = 1 << 6;
/// Two continuations: right behind a lead byte of three or four, wrong elsewhere.
const TWO_CONTINUATIONS: u8 = 1 << 7;
/// What the low half of the first byte says nothing about.
const ANY_LOW: u8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS;
const LARGE: u8 = ANY_LOW | TOO_LARGE | TOO_LARGE_1000;

/// By the high half of the first byte.
const FIRST_HIGH: [u8; 16] = {
    let mut table = [TOO_LONG; 16];
    (table[0x8], table[0x9], table[0xA], table[0xB]) =
        (TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS);
    table[0xC] = TOO_SHORT | OVERLONG_2;
    table[0xD] = TOO_SHORT;
    table[0xE] = TOO_SHORT | OVERLONG_3 | SURROGATE;
    table[0xF] = TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4;
    table
};

/// By the low half of the first byte.
const FIRST_LOW: [u8; 16] = {
    let mut table = [LARGE; 16];
    table[0x0] = ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4;
    table[0x1] = ANY_LOW | OVERLONG_2;
    (table[0x2], table[0x3]) = (ANY_LOW, ANY_LOW);
    table[0x4] = ANY_LOW | TOO_LARGE;
    table[0xD] = LARGE | SURROGATE;
    table
};

/// By the high half of the second byte.
const SECOND_HIGH: [u8; 16] = {
    let continuation = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS;
    let mut table = [TOO_SHORT; 16];
    table[0x8] = continuation | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4;
    table[0x9] = continuation | OVERLONG_3 | TOO_LARGE;
    (table[0xA], table[0xB]) =
        (continuation | SURROGATE | TOO_LARGE, continuation | SURROGATE | TOO_LARGE);
    table
};

/// From these on, the last three bytes of a vector are lead bytes of what it does not hold whole.
const OPEN_FROM: [u8; 3] = [0xF0, 0xE0, 0xC0];

/// A register of bytes.
///
/// # Safety
/// Of every function: the processor has the instructions. Of `load` and `store`: the bytes are
/// readable or writable; no alignment is asked for.
trait Vector: Copy {
    const BYTES: usize;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    /// The first `count` bytes of a chunk, unmasked where they go; zeros behind them.
    unsafe fn unmask_first<const N: usize>(
        to: *mut u8,
        from: *const u8,
        count: usize,
        key: u32,
    ) -> [Self; N];
    unsafe fn splat(byte: u8) -> Self;
    unsafe fn splat_key(key: u32) -> Self;
    /// A table for `lookup`.
    unsafe fn table(table: [u8; 16]) -> Self;
    unsafe fn zero() -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    /// The high half of each byte.
    unsafe fn high_half(self) -> Self;
    /// For each index, all of them below 16, the table's entry.
    unsafe fn lookup(self, indices: Self) -> Self;
    /// `self - other`, not below 0.
    unsafe fn subtract(self, other: Self) -> Self;
    /// The bytes that stand one, two and three before each.
    unsafe fn behind(self, previous: Self) -> [Self; 3];
    unsafe fn is_ascii(self) -> bool;
    unsafe fn is_zero(self) -> bool;
}

macro_rules! vector {
    (
        $vector:ty, $bytes:literal, $self:ident, $other:ident,
        $load:ident, $store:ident, $splat:ident, $splat_key:ident, $table:ident, $zero:ident,
        $xor:ident, $or:ident, $and:ident, $shift:ident, $shuffle:ident, $subtract:ident,
        $lanes:expr, $align:ident, $is_ascii:expr, $is_zero:expr, $unmask_first:ident
    ) => {
        // SAFETY: of every block below: the caller's word for the instructions and for the bytes.
        impl Vector for $vector {
            const BYTES: usize = $bytes;
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: as said above.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: as said above.
                unsafe { $store(to.cast(), self) }
            }
            #[inline(always)]
            unsafe fn unmask_first<const N: usize>(
                to: *mut u8,
                from: *const u8,
                count: usize,
                key: u32,
            ) -> [Self; N] {
                // SAFETY: as said above.
                unsafe { $unmask_first(to, from, count, key) }
            }
            #[inline(always)]
            unsafe fn splat(byte: u8) -> Self {
                // SAFETY: as said above.
                unsafe { $splat(byte.cast_signed()) }
            }
            #[inline(always)]
            unsafe fn splat_key(key: u32) -> Self {
                // SAFETY: as said above.
                unsafe { $splat_key(key.cast_signed()) }
            }
            #[inline(always)]
            unsafe fn table(table: [u8; 16]) -> Self {
                // SAFETY: as said above; the array has the 16 bytes.
                unsafe { $table(_mm_loadu_si128(table.as_ptr().cast::<__m128i>())) }
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as said above.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                // SAFETY: as said above.
                unsafe { $xor(self, other) }
            }
            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                // SAFETY: as said above.
                unsafe { $or(self, other) }
            }
            #[inline(always)]
            unsafe fn and(self, other: Self) -> Self {
                // SAFETY: as said above.
                unsafe { $and(self, other) }
            }
            #[inline(always)]
            unsafe fn high_half(self) -> Self {
                // SAFETY: as said above. What comes over from the next byte is cut off.
                unsafe { $and($shift::<4>(self), $splat(0x0F)) }
            }
            #[inline(always)]
            unsafe fn lookup(self, indices: Self) -> Self {
                // SAFETY: as said above.
                unsafe { $shuffle(self, indices) }
            }
            #[inline(always)]
            unsafe fn subtract(self, other: Self) -> Self {
                // SAFETY: as said above.
                unsafe { $subtract(self, other) }
            }
            #[inline(always)]
            unsafe fn behind($self, $other: Self) -> [Self; 3] {
                // SAFETY: as said above. Each lane of 16 bytes with the one before it.
                unsafe {
                    let lanes = $lanes;
                    [
                        $align::<15>($self, lanes),
                        $align::<14>($self, lanes),
                        $align::<13>($self, lanes),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn is_ascii($self) -> bool {
                // SAFETY: as said above.
                unsafe { $is_ascii }
            }
            #[inline(always)]
            unsafe fn is_zero($self) -> bool {
                // SAFETY: as said above.
                unsafe { $is_zero }
            }
        }
    };
}

vector! {
    __m512i, 64, self, previous,
    _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_broadcast_i32x4, _mm512_setzero_si512, _mm512_xor_si512, _mm512_or_si512,
    _mm512_and_si512, _mm512_srli_epi16, _mm512_shuffle_epi8, _mm512_subs_epu8,
    _mm512_alignr_epi32::<12>(self, previous), _mm512_alignr_epi8,
    _mm512_movepi8_mask(self) == 0, _mm512_test_epi8_mask(self, self) == 0, unmask_first_512
}

vector! {
    __m256i, 32, self, previous,
    _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_broadcastsi128_si256, _mm256_setzero_si256, _mm256_xor_si256, _mm256_or_si256,
    _mm256_and_si256, _mm256_srli_epi16, _mm256_shuffle_epi8, _mm256_subs_epu8,
    _mm256_permute2x128_si256::<0x21>(previous, self), _mm256_alignr_epi8,
    _mm256_movemask_epi8(self) == 0, _mm256_testz_si256(self, self) == 1, unmask_first_256
}

/// See [`Vector::unmask_first`]: by masks.
///
/// # Safety
/// `count` bytes, less than 64, are readable and writable; the processor has AVX-512 with BW.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn unmask_first_512<const N: usize>(
    to: *mut u8,
    from: *const u8,
    count: usize,
    key: u32,
) -> [__m512i; N] {
    let first = (1 << count) - 1;
    // SAFETY: the caller's word; what the mask leaves out is not touched.
    let plain = unsafe {
        let masked = _mm512_maskz_loadu_epi8(first, from.cast());
        let plain = _mm512_xor_si512(masked, _mm512_set1_epi32(key.cast_signed()));
        _mm512_mask_storeu_epi8(to.cast(), first, plain);
        _mm512_maskz_mov_epi8(first, plain)
    };
    [plain; N]
}

/// See [`Vector::unmask_first`]: through memory, since AVX2 has no masks for bytes.
///
/// # Safety
/// `count` bytes, less than 64, are readable and writable; the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unmask_first_256<const N: usize>(
    to: *mut u8,
    from: *const u8,
    count: usize,
    key: u32,
) -> [__m256i; N] {
    let mut chunk = [0; CHUNK_BYTES];
    // SAFETY: the caller's word, and the chunk has more bytes than that and `N` vectors.
    unsafe {
        portable::xor(to, from, count, key);
        chunk.as_mut_ptr().copy_from_nonoverlapping(to, count);
        load(chunk.as_ptr())
    }
}

/// The state of the check.
struct Utf8<V> {
    first_high: V,
    first_low: V,
    second_high: V,
    open_max: V,
    previous: V,
    /// Not zero: `previous` ends in a sequence that goes on.
    open: V,
    error: V,
}

impl<V: Vector> Utf8<V> {
    /// # Safety
    /// The processor has the vector's instructions; the same of the other functions.
    #[inline(always)]
    unsafe fn new() -> Self {
        let mut open_max = [0xFF; CHUNK_BYTES];
        for (max, from) in open_max[V::BYTES - 3..V::BYTES].iter_mut().zip(OPEN_FROM) {
            *max = from - 1;
        }
        // SAFETY: the caller's word; the array has a vector's bytes.
        unsafe {
            Self {
                first_high: V::table(FIRST_HIGH),
                first_low: V::table(FIRST_LOW),
                second_high: V::table(SECOND_HIGH),
                open_max: V::load(open_max.as_ptr()),
                previous: V::zero(),
                open: V::zero(),
                error: V::zero(),
            }
        }
    }

    /// Takes the next vectors.
    #[inline(always)]
    unsafe fn push<const N: usize>(&mut self, vectors: [V; N]) {
        // SAFETY: the caller's word.
        unsafe {
            let mut all = vectors[0];
            for vector in &vectors[1..] {
                all = all.or(*vector);
            }
            if all.is_ascii() {
                self.error = self.error.or(self.open);
                self.open = V::zero();
                self.previous = vectors[N - 1];
                return;
            }
            for vector in vectors {
                self.check(vector);
            }
            self.open = self.previous.subtract(self.open_max);
        }
    }

    #[inline(always)]
    unsafe fn check(&mut self, input: V) {
        // SAFETY: the caller's word.
        unsafe {
            let [one, two, three] = input.behind(self.previous);
            let pairs = self
                .first_high
                .lookup(one.high_half())
                .and(self.first_low.lookup(one.and(V::splat(0x0F))))
                .and(self.second_high.lookup(input.high_half()));
            // The high bit where a lead byte of three stands two before, or one of four three
            // before: there, and only there, two continuations stand together.
            let called_for =
                two.subtract(V::splat(0xE0 - 0x80)).or(three.subtract(V::splat(0xF0 - 0x80)));
            self.error = self.error.or(called_for.and(V::splat(0x80)).xor(pairs));
            self.previous = input;
        }
    }

    #[inline(always)]
    unsafe fn is_valid(&self) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.error.or(self.open).is_zero() }
    }
}

/// The whole of it, see [`UnmaskText`](super::validate::UnmaskText); `N` vectors make a chunk,
/// `M` a block.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn unmask<V: Vector, const N: usize, const M: usize>(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    // SAFETY: every access to `dst` and `src` ends at or before `len`, for which the caller
    // vouches, as for the instructions; slices of `dst` are made of what has been written.
    unsafe {
        let (open, may_go_on) = if may_end_open { open_at_end(src, len, key) } else { (0, true) };
        let whole = len - open;
        let mut utf8 = Utf8::<V>::new();
        let aligned = dst.align_offset(CHUNK_BYTES);
        let head = if len >= x86::ALIGN_BYTES_MIN { aligned } else { 0 };
        let turned = x86::turn(key, head);
        if head > 0 {
            portable::xor(dst, src, head, key);
            // Nothing but zeros before it: they are as good as nothing.
            let mut chunk = [0; CHUNK_BYTES];
            chunk[CHUNK_BYTES - head..].copy_from_slice(std::slice::from_raw_parts(dst, head));
            utf8.push(load::<V, N>(chunk.as_ptr()));
        }
        let wide = V::splat_key(turned);
        let (mut at, end) = (head, head + (whole - head) / CHUNK_BYTES * CHUNK_BYTES);
        while at + BLOCK_BYTES <= end {
            utf8.push(unmask_some::<V, M>(dst.add(at), src.add(at), wide));
            at += BLOCK_BYTES;
        }
        while at < end {
            utf8.push(unmask_some::<V, N>(dst.add(at), src.add(at), wide));
            at += CHUNK_BYTES;
        }
        if at < whole {
            utf8.push(V::unmask_first::<N>(dst.add(at), src.add(at), whole - at, turned));
        }
        portable::xor(dst.add(whole), src.add(whole), open, x86::turn(key, whole));
        (may_go_on && utf8.is_valid()).then_some(open)
    }
}

/// How many bytes at the end of a masked text belong to a sequence that it does not hold whole, and
/// whether something makes a character of them.
///
/// # Safety
/// `len` bytes are readable.
unsafe fn open_at_end(src: *const u8, len: usize, key: u32) -> (usize, bool) {
    let mut end = [0; OPEN_BYTES_MAX];
    let count = len.min(OPEN_BYTES_MAX);
    let at = len - count;
    // SAFETY: the caller's word, and the array has as many bytes.
    unsafe { portable::xor(end.as_mut_ptr(), src.add(at), count, x86::turn(key, at)) };
    let end = &end[..count];
    let open = utf8::open_tail(end);
    (open, utf8::may_become_char(&end[count - open..]))
}

/// # Safety
/// `N` vectors are readable at `src` and writable at `dst`, and the processor has the instructions.
#[inline(always)]
unsafe fn unmask_some<V: Vector, const N: usize>(dst: *mut u8, src: *const u8, wide: V) -> [V; N] {
    // SAFETY: the caller's word. All are loaded before the first is stored, since the processor
    // takes a store for one that may change what is loaded after it.
    unsafe {
        let vectors = load::<V, N>(src).map(|vector| vector.xor(wide));
        for (n, vector) in vectors.into_iter().enumerate() {
            vector.store(dst.add(n * V::BYTES));
        }
        vectors
    }
}

/// # Safety
/// `N` vectors are readable, and the processor has the instructions.
#[inline(always)]
unsafe fn load<V: Vector, const N: usize>(from: *const u8) -> [V; N] {
    // SAFETY: the caller's word.
    std::array::from_fn(|n| unsafe { V::load(from.add(n * V::BYTES)) })
}

/// # Safety
/// As [`Kernel`](super::Kernel).
#[target_feature(enable = "avx2")]
pub(super) unsafe fn unmask_avx2(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    // SAFETY: the caller's word.
    unsafe { unmask::<__m256i, 2, 8>(dst, src, len, key, may_end_open) }
}

/// # Safety
/// As [`Kernel`](super::Kernel).
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn unmask_avx512(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    // SAFETY: the caller's word.
    unsafe { unmask::<__m512i, 1, 4>(dst, src, len, key, may_end_open) }
}
