//! Each instruction set by itself, for tests that compare them.

use std::cell::Cell;

use super::validate::{UnmaskText, unmask_in_blocks};
use super::{Kernel, portable};
#[cfg(target_arch = "x86_64")]
use super::{fused, x86};

/// What is done with the instructions of one set.
#[derive(Clone, Copy)]
pub(crate) struct InstructionSet {
    pub(crate) name: &'static str,
    pub(super) kernel: Kernel,
    pub(super) unmask_text: UnmaskText,
}

/// Those of this processor, the best one first, the portable one last.
pub(crate) fn instruction_sets() -> Vec<InstructionSet> {
    let set = |name, kernel, unmask_text| InstructionSet { name, kernel, unmask_text };
    let mut sets = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") {
            sets.push(set("avx512", x86::xor_avx512, fused::unmask_avx512));
        }
        if is_x86_feature_detected!("avx2") {
            sets.push(set("avx2", x86::xor_avx2, fused::unmask_avx2));
        }
        sets.push(set("sse2", x86::xor_sse2, unmask_in_blocks));
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    sets.push(set("neon", super::aarch64::xor_neon, unmask_in_blocks));
    sets.push(set("portable", portable::xor, unmask_in_blocks));
    sets
}

thread_local! {
    static FORCED: Cell<Option<InstructionSet>> = const { Cell::new(None) };
}

pub(super) fn get() -> Option<InstructionSet> {
    FORCED.get()
}

impl InstructionSet {
    /// Whatever this thread does with the crate in `run`, it does with this set.
    pub(crate) fn force<T>(self, run: impl FnOnce() -> T) -> T {
        struct Undo;
        impl Drop for Undo {
            fn drop(&mut self) {
                FORCED.set(None);
            }
        }
        let _undo = Undo;
        FORCED.set(Some(self));
        run()
    }

    /// From one slice to another.
    pub(crate) fn xor_copy(self, to: &mut [u8], from: &[u8], key: [u8; 4]) {
        assert_eq!(to.len(), from.len());
        // SAFETY: `instruction_sets` lists only what this processor can run; the slices have the
        // same length and do not overlap, one being borrowed exclusively.
        unsafe {
            (self.kernel)(to.as_mut_ptr(), from.as_ptr(), from.len(), u32::from_ne_bytes(key))
        }
    }

    /// In place.
    pub(crate) fn unmask_text(
        self,
        bytes: &mut [u8],
        key: [u8; 4],
        may_end_open: bool,
    ) -> Option<usize> {
        let dst = bytes.as_mut_ptr();
        // SAFETY: `instruction_sets` lists only what this processor can run; both pointers are
        // derived from the one exclusive reference.
        unsafe { (self.unmask_text)(dst, dst, bytes.len(), u32::from_ne_bytes(key), may_end_open) }
    }
}
