//! NEON, which every aarch64 that Rust's standard targets name has.

use core::arch::aarch64::{vdupq_n_u32, veorq_u8, vld1q_u8, vreinterpretq_u8_u32, vst1q_u8};

use super::portable;

/// The [`Kernel`](super::Kernel) for NEON.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
pub(super) unsafe fn xor_neon(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let mut at = 0;
    // SAFETY: each access ends at or before `len`, for which the caller vouches; loads and stores
    // need no alignment.
    unsafe {
        let wide = vreinterpretq_u8_u32(vdupq_n_u32(key));
        while at + 64 <= len {
            for n in [0, 16, 32, 48] {
                vst1q_u8(dst.add(at + n), veorq_u8(vld1q_u8(src.add(at + n)), wide));
            }
            at += 64;
        }
        while at + 16 <= len {
            vst1q_u8(dst.add(at), veorq_u8(vld1q_u8(src.add(at)), wide));
            at += 16;
        }
        portable::xor(dst.add(at), src.add(at), len - at, key);
    }
}
