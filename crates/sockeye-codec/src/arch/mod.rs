//! The only unsafe code of the crate: exclusive-or at the width of the machine, and text whose
//! validity is known.
//!
//! Each instruction set has one kernel, `unsafe fn(dst, src, len, key)`; `dst` may be `src`. Which
//! one is best is looked up on each call: the standard library keeps the answer in a static.

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
#[cfg(test)]
pub(crate) mod forced;
#[cfg(target_arch = "x86_64")]
mod fused;
mod growing;
mod portable;
mod text;
mod validate;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use growing::Growing;
pub(crate) use text::{Text, unmask_text, unmask_text_behind, valid_text};

/// Writes `src[i] ^ key[i % 4]` to `dst[i]` for each `i < len`; the key is in memory order.
///
/// # Safety
/// `src` is readable and `dst` writable for `len` bytes; the two are the same or do not overlap.
/// The processor has the kernel's instructions.
pub(crate) type Kernel = unsafe fn(dst: *mut u8, src: *const u8, len: usize, key: u32);

/// The kernel for this processor; in tests the one that they force.
#[inline]
fn best() -> Kernel {
    #[cfg(test)]
    if let Some(set) = forced::get() {
        return set.kernel;
    }
    detected()
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn detected() -> Kernel {
    if is_x86_feature_detected!("avx512bw") {
        x86::xor_avx512
    } else if is_x86_feature_detected!("avx2") {
        x86::xor_avx2
    } else {
        x86::xor_sse2
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[inline]
fn detected() -> Kernel {
    aarch64::xor_neon
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
#[inline]
fn detected() -> Kernel {
    portable::xor
}

/// Masks or unmasks in place.
#[inline]
pub(crate) fn xor_in_place(bytes: &mut [u8], key: [u8; 4]) {
    let dst = bytes.as_mut_ptr();
    // SAFETY: `best` names a kernel that this processor can run; a slice is readable and writable
    // for its length, and both pointers are derived from the one exclusive reference.
    unsafe { best()(dst, dst, bytes.len(), u32::from_ne_bytes(key)) }
}

/// Appends the masked bytes, in one pass.
#[inline]
pub(crate) fn xor_extend(out: &mut Vec<u8>, bytes: &[u8], key: [u8; 4]) {
    out.reserve(bytes.len());
    let dst = out.spare_capacity_mut().as_mut_ptr().cast();
    // SAFETY: as above; `reserve` made `bytes.len()` bytes of spare capacity, which overlap no
    // other slice, and the kernel initializes all of them.
    unsafe {
        best()(dst, bytes.as_ptr(), bytes.len(), u32::from_ne_bytes(key));
        out.set_len(out.len() + bytes.len());
    }
}
