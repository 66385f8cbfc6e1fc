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

/// The one for this processor; in tests the one that they force.
#[inline]
pub(super) fn best() -> UnmaskText {
    #[cfg(test)]
    if let Some(set) = super::forced::get() {
        return set.unmask_text;
    }
    detected()
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn detected() -> UnmaskText {
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
fn detected() -> UnmaskText {
    unmask_in_blocks
}

/// # Safety
/// As [`Kernel`](super::Kernel), but for the instructions.
pub(super) unsafe fn unmask_in_blocks(
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
