//! Unmasking with UTF-8 validation: which implementation, and the one for processors that have none
//! of their own: block by block, each validated while it is in the first-level cache.

#[cfg(target_arch = "x86_64")]
use super::fused;
use crate::utf8::Utf8Stream;

/// A multiple of the key's length.
const BLOCK_BYTES: usize = 16 << 10;

/// Writes `len` bytes to `dst`, unmasked with the key as [`Kernel`](super::Kernel) does, and
/// validates them. `None`: they are not UTF-8. Else how many bytes at the end belong to a sequence
/// that they do not hold whole and may yet become a character, which only `may_end_open` allows.
/// All of it is written in either case.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
pub(crate) type UnmaskText = unsafe fn(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize>;

#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn best() -> UnmaskText {
    if is_x86_feature_detected!("avx512bw") {
        fused::unmask_avx512
    } else if is_x86_feature_detected!("avx2") {
        fused::unmask_avx2
    } else {
        unmask_in_blocks
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn best() -> UnmaskText {
    unmask_in_blocks
}

/// What this processor can run, the best one first, the one for all of them last.
#[cfg(test)]
pub(crate) fn all() -> Vec<(&'static str, UnmaskText)> {
    let mut all: Vec<(&'static str, UnmaskText)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") {
            all.push(("avx512", fused::unmask_avx512));
        }
        if is_x86_feature_detected!("avx2") {
            all.push(("avx2", fused::unmask_avx2));
        }
    }
    all.push(("blocks", unmask_in_blocks));
    all
}

/// # Safety
/// As [`Kernel`](super::Kernel), but for the instructions.
unsafe fn unmask_in_blocks(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    may_end_open: bool,
) -> Option<usize> {
    let (mut utf8, mut valid) = (Utf8Stream::default(), true);
    let mut at = 0;
    while at < len {
        let block = (len - at).min(BLOCK_BYTES);
        // SAFETY: `at + block <= len`, for which the caller vouches; the key need not be turned,
        // since all blocks but the last are a multiple of its length. What has been written is
        // nobody else's to write.
        let written = unsafe {
            super::best()(dst.add(at), src.add(at), block, key);
            std::slice::from_raw_parts(dst.add(at), block)
        };
        valid = valid && utf8.push(written).is_ok();
        at += block;
    }
    let open = utf8.open_len();
    (valid && (open == 0 || may_end_open)).then_some(open)
}

/// Runs one implementation in place, for tests that compare them.
#[cfg(test)]
pub(crate) fn run(
    unmask_text: UnmaskText,
    bytes: &mut [u8],
    key: [u8; 4],
    may_end_open: bool,
) -> Option<usize> {
    let dst = bytes.as_mut_ptr();
    // SAFETY: `all` lists only what this processor can run; both pointers are derived from the one
    // exclusive reference.
    unsafe { unmask_text(dst, dst, bytes.len(), u32::from_ne_bytes(key), may_end_open) }
}
