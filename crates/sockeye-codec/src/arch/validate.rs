//! Unmasking with UTF-8 validation: the choice of the implementation, and the one for processors
//! that have none of their own: block by block, each validated while it is in the first-level cache.

use super::Kernel;
#[cfg(target_arch = "x86_64")]
use super::fused;
use crate::utf8;
#[cfg(target_arch = "x86_64")]
use simdutf8::basic::imp::{ChunkedUtf8Validator, x86};

/// A block, a multiple of [`CHUNK_BYTES`] and of the key's length.
const BLOCK_BYTES: usize = 16 << 10;
/// What a validator takes at a time.
const CHUNK_BYTES: usize = 64;
/// A sequence that the text ends in has at most so many bytes, and may be held back.
const OPEN_BYTES_MAX: usize = 3;

/// UTF-8 of any length in chunks of [`CHUNK_BYTES`].
trait Validator {
    /// # Safety
    /// For this and the other functions: the processor has the implementation's instructions.
    unsafe fn new() -> Self;

    /// Takes whole chunks.
    ///
    /// # Safety
    /// As for `new`.
    unsafe fn update(&mut self, chunks: &[u8]);

    /// Takes the rest; whether all of it was UTF-8.
    ///
    /// # Safety
    /// As for `new`.
    unsafe fn finish(self, rest: &[u8]) -> bool;
}

#[cfg(target_arch = "x86_64")]
macro_rules! validator {
    ($($instructions:ident)*) => {$(
        impl Validator for x86::$instructions::ChunkedUtf8ValidatorImp {
            unsafe fn new() -> Self {
                // SAFETY: the caller's word for the instructions.
                unsafe { ChunkedUtf8Validator::new() }
            }

            unsafe fn update(&mut self, chunks: &[u8]) {
                // SAFETY: the caller's word for the instructions.
                unsafe { self.update_from_chunks(chunks) }
            }

            unsafe fn finish(self, rest: &[u8]) -> bool {
                // SAFETY: the caller's word for the instructions.
                unsafe { self.finalize(Some(rest)).is_ok() }
            }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
validator!(sse42);

/// For every processor: what simdutf8 or the standard library make of it.
struct Plain(utf8::Utf8Stream, bool);

impl Validator for Plain {
    unsafe fn new() -> Self {
        Self(utf8::Utf8Stream::default(), true)
    }

    unsafe fn update(&mut self, chunks: &[u8]) {
        self.1 = self.1 && self.0.push(chunks).is_ok();
    }

    unsafe fn finish(mut self, rest: &[u8]) -> bool {
        self.1 && self.0.push(rest).is_ok() && self.0.finish().is_ok()
    }
}

/// Unmasks `len` bytes and validates them. `None`: they are not UTF-8. Else how many bytes at the
/// end belong to a sequence that they do not hold whole and may yet become a character, which only
/// `may_end_open` allows.
///
/// # Safety
/// As [`Kernel`], but for the instructions, which this sees to itself.
#[inline]
pub(super) unsafe fn unmask(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    let run: Blocks = best();
    // SAFETY: `best` names what this processor can run; the rest is the caller's word.
    unsafe { run(dst, src, len, key, may_end_open) }
}

/// [`unmask`] with one kernel and one validator.
///
/// # Safety
/// As [`Kernel`].
pub(crate) type Blocks = unsafe fn(*mut u8, *const u8, usize, u32, bool) -> Option<usize>;

#[cfg(target_arch = "x86_64")]
#[inline]
fn best() -> Blocks {
    if is_x86_feature_detected!("avx512bw") {
        fused::unmask_avx512
    } else if is_x86_feature_detected!("avx2") {
        fused::unmask_avx2
    } else if is_x86_feature_detected!("sse4.2") {
        blocks_sse42
    } else {
        blocks_plain
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn best() -> Blocks {
    blocks_plain
}

/// What this processor can run, the best one first, the plain one last.
#[cfg(test)]
pub(crate) fn all() -> Vec<(&'static str, Blocks)> {
    let mut all: Vec<(&'static str, Blocks)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") {
            all.push(("avx512", fused::unmask_avx512));
        }
        if is_x86_feature_detected!("avx2") {
            all.push(("avx2", fused::unmask_avx2));
        }
        if is_x86_feature_detected!("sse4.2") {
            all.push(("sse42", blocks_sse42));
        }
    }
    all.push(("plain", blocks_plain));
    all
}

macro_rules! blocks {
    ($(#[$config:meta] $name:ident = $kernel:path, $validator:path;)*) => {$(
        /// # Safety
        /// As [`Kernel`].
        #[$config]
        unsafe fn $name(
            dst: *mut u8,
            src: *const u8,
            len: usize,
            key: u32,
            may_end_open: bool,
        ) -> Option<usize> {
            // SAFETY: the caller's word; whoever has the kernel's instructions has the validator's.
            unsafe { blocks::<$validator>($kernel, dst, src, len, key, may_end_open) }
        }
    )*};
}

blocks! {
    #[cfg(target_arch = "x86_64")]
    blocks_sse42 = super::x86::xor_sse2, x86::sse42::ChunkedUtf8ValidatorImp;
    #[cfg(target_arch = "x86_64")]
    blocks_plain = super::x86::xor_sse2, Plain;
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    blocks_plain = super::aarch64::xor_neon, Plain;
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
    blocks_plain = super::portable::xor, Plain;
}

/// # Safety
/// As [`Kernel`]; the processor has the validator's instructions too.
unsafe fn blocks<V: Validator>(
    kernel: Kernel,
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    // SAFETY: the caller's word.
    let mut validator = unsafe { V::new() };
    // What goes to the validator at the end: less than a chunk, and what may be held back.
    let chunks_end = len.saturating_sub(OPEN_BYTES_MAX) / CHUNK_BYTES * CHUNK_BYTES;
    let (mut at, mut validated) = (0, 0);
    while at < len {
        let block = (len - at).min(BLOCK_BYTES);
        // SAFETY: `at + block <= len`, for which the caller vouches; the key need not be turned,
        // since all blocks but the last are a multiple of its length.
        unsafe { kernel(dst.add(at), src.add(at), block, key) };
        at += block;
        let end = at.min(chunks_end);
        if validated < end {
            // SAFETY: the first `at` bytes of `dst` have been written, and nobody else writes.
            unsafe {
                validator.update(std::slice::from_raw_parts(dst.add(validated), end - validated));
            }
            validated = end;
        }
    }
    // SAFETY: all `len` bytes have been written. `validated` is a multiple of the chunk.
    let rest = unsafe { std::slice::from_raw_parts(dst.add(validated), len - validated) };
    let open = if may_end_open { utf8::open_tail(rest) } else { 0 };
    let (rest, tail) = rest.split_at(rest.len() - open);
    // SAFETY: the caller's word for the instructions.
    let valid = unsafe { validator.finish(rest) } && (open == 0 || utf8::may_become_char(tail));
    valid.then_some(open)
}

/// Runs one implementation in place, for tests that compare them.
#[cfg(test)]
pub(crate) fn run(
    blocks: Blocks,
    bytes: &mut [u8],
    key: [u8; 4],
    may_end_open: bool,
) -> Option<usize> {
    let dst = bytes.as_mut_ptr();
    // SAFETY: `all` lists only what this processor can run; both pointers are derived from the one
    // exclusive reference.
    unsafe { blocks(dst, dst, bytes.len(), u32::from_ne_bytes(key), may_end_open) }
}
