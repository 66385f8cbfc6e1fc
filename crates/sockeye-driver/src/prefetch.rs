//! A hint to the processor (`docs/decisions/0016-prefetch.md`).

/// Has the line of the cache brought in where a value begins, and does not wait for it. Where the
/// language has no such instruction, nothing.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it is a hint that neither reads nor faults, of an address that is a value's; and
        // every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
