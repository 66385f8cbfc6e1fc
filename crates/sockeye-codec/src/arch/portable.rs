//! Eight bytes at a time on any machine; also the end of what the vector kernels leave.

/// The [`Kernel`](super::Kernel) for every processor.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline]
pub(super) unsafe fn xor(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    // The same in either byte order: both halves are the key as it lies in memory.
    let wide = u64::from(key) << 32 | u64::from(key);
    let mut at = 0;
    while at + 8 <= len {
        // SAFETY: `at + 8 <= len`, and the caller vouches for `len` bytes; unaligned on purpose.
        unsafe {
            let word = src.add(at).cast::<u64>().read_unaligned();
            dst.add(at).cast::<u64>().write_unaligned(word ^ wide);
        }
        at += 8;
    }
    for key in key.to_ne_bytes().into_iter().cycle().take(len - at) {
        // SAFETY: `at < len`: what is left of `len` bounds the loop.
        unsafe { dst.add(at).write(src.add(at).read() ^ key) };
        at += 1;
    }
}
