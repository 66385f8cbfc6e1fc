//! The only unsafe code of the crate: exclusive-or at the width of the machine, and text whose
//! validity is known.
//!
//! Each instruction set has one kernel, `unsafe fn(dst, src, len, key)`; `dst` may be `src`. Which
//! one is best is looked up on each call: the standard library keeps the answer in a static.

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod fused;
mod portable;
mod text;
mod validate;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use text::{Text, unmask_text, valid_text};

/// Writes `src[i] ^ key[i % 4]` to `dst[i]` for each `i < len`; the key is in memory order.
///
/// # Safety
/// `src` is readable and `dst` writable for `len` bytes; the two are the same or do not overlap.
/// The processor has the kernel's instructions.
pub(crate) type Kernel = unsafe fn(dst: *mut u8, src: *const u8, len: usize, key: u32);

#[cfg(test)]
pub(crate) use validate::{UnmaskText, all as unmask_texts, run as run_text};

/// The kernels that this processor can run, the best one first, the portable one last.
#[cfg(test)]
pub(crate) fn kernels() -> Vec<(&'static str, Kernel)> {
    let mut kernels: Vec<(&'static str, Kernel)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") {
            kernels.push(("avx512", x86::xor_avx512));
        }
        if is_x86_feature_detected!("avx2") {
            kernels.push(("avx2", x86::xor_avx2));
        }
        kernels.push(("sse2", x86::xor_sse2));
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    kernels.push(("neon", aarch64::xor_neon));
    kernels.push(("portable", portable::xor));
    kernels
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn best() -> Kernel {
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
fn best() -> Kernel {
    aarch64::xor_neon
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
#[inline]
fn best() -> Kernel {
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

/// Runs one kernel, for tests that compare them.
#[cfg(test)]
pub(crate) fn run_in_place(kernel: Kernel, bytes: &mut [u8], key: [u8; 4]) {
    let dst = bytes.as_mut_ptr();
    // SAFETY: `kernels` lists only what this processor can run; the rest as in `xor_in_place`.
    unsafe { kernel(dst, dst, bytes.len(), u32::from_ne_bytes(key)) }
}

/// Runs one kernel from one slice to another.
#[cfg(test)]
pub(crate) fn run_copy(kernel: Kernel, to: &mut [u8], from: &[u8], key: [u8; 4]) {
    assert_eq!(to.len(), from.len());
    // SAFETY: `kernels` lists only what this processor can run; the slices have the same length and
    // do not overlap, one being borrowed exclusively.
    unsafe { kernel(to.as_mut_ptr(), from.as_ptr(), from.len(), u32::from_ne_bytes(key)) }
}
