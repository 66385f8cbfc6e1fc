//! The buffers that the kernel receives into: it takes one from a ring of them for each arrival,
//! and we put it back when its bytes have been looked at.
//!
//! The kernel takes them in the order of the ring, so that with all of them in it each would be
//! cold when its turn comes. The ring has only as many as the traffic needs; the others wait on a
//! stack, and the one that was used last is the next to go in.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The kernel maps the ring by pages.
const PAGE_BYTES: usize = 4096;

/// Memory of its own, zeroed: pages that nothing was received into stay the kernel's.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).expect("far below 2^63");
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout, and dropped once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// The ring has at least so many.
const OFFERED_MIN: u16 = 64;
/// How many turns it takes to see that fewer would do.
const TURNS_TO_SHRINK: u16 = 1024;

/// A ring of receive buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: Memory,
    bytes: Memory,
    count: u16,
    buffer_bytes: usize,
    /// Where the next buffer goes into the ring.
    tail: u16,
    /// Those in the ring, which are the kernel's.
    in_ring: u16,
    /// How many the ring is to have at the beginning of a turn.
    offered: u16,
    /// Those that nobody uses.
    spare: Vec<u16>,
    /// The most that a turn has taken, of the last so many turns.
    taken_max: u16,
    turns: u16,
    /// In this turn an arrival found the ring empty.
    is_short: bool,
}

// SAFETY: it owns its memory, which nothing else points to but the kernel.
unsafe impl Send for Buffers {}

impl Buffers {
    /// `count` (a power of two) buffers, registered as `group`.
    ///
    /// # Errors
    /// The kernel knows no buffer rings, or may not lock the ring's pages.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        group: u16,
        count: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let mut buffers = Self {
            entries: Memory::new(usize::from(count) * size_of::<BufRingEntry>()),
            bytes: Memory::new(usize::from(count) * buffer_bytes),
            count,
            buffer_bytes,
            tail: 0,
            in_ring: 0,
            offered: OFFERED_MIN.min(count),
            spare: (0..count).rev().collect(),
            taken_max: 0,
            turns: 0,
            is_short: false,
        };
        let address = buffers.entries.start.as_ptr() as u64;
        // SAFETY: the entries are aligned to a page, there are `count` of them, and they live until
        // the ring is closed: whoever owns both drops the ring first.
        unsafe { submitter.register_buf_ring_with_flags(address, count, group, 0)? };
        buffers.publish();
        Ok(buffers)
    }

    pub(super) const fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// The kernel has taken one out of the ring.
    pub(super) const fn taken(&mut self) {
        self.in_ring = self.in_ring.saturating_sub(1);
    }

    /// An arrival found the ring empty: from the next turn on it has more.
    pub(super) const fn ran_out(&mut self) {
        self.is_short = true;
    }

    /// More than half of them are in use.
    pub(super) fn are_scarce(&self) -> bool {
        self.spare.len() + usize::from(self.in_ring) <= usize::from(self.count / 2)
    }

    /// A part of what the kernel has put into a buffer that it gave to us.
    pub(super) fn received(&mut self, buffer: u16, from: usize, to: usize) -> &mut [u8] {
        assert!(buffer < self.count && from <= to && to <= self.buffer_bytes);
        // SAFETY: within the memory, by the line above, and initialized, since it was zeroed. The
        // buffer is ours from the kernel's completion until it is put back, and `&mut self` lends
        // one at a time.
        unsafe {
            let start = self.bytes.start.as_ptr().add(usize::from(buffer) * self.buffer_bytes);
            std::slice::from_raw_parts_mut(start.add(from), to - from)
        }
    }

    /// Nobody looks at this one any more.
    pub(super) fn put_back(&mut self, buffer: u16) {
        debug_assert!(!self.spare.contains(&buffer), "put back twice");
        self.spare.push(buffer);
    }

    /// Fills the ring as far as it is to be filled, and shows it to the kernel.
    pub(super) fn publish(&mut self) {
        self.adapt();
        if self.in_ring >= self.offered {
            return;
        }
        while self.in_ring < self.offered
            && let Some(buffer) = self.spare.pop()
        {
            self.push(buffer);
            self.in_ring += 1;
        }
        // SAFETY: the ring's first entry is there, aligned to a page; the kernel only reads the
        // tail that is in it.
        unsafe {
            let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
            let tail = BufRingEntry::tail(entries).cast_mut();
            // Release: the entries before the tail that covers them.
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Once in a while: as many as the busiest of the last turns has taken, and as many again.
    fn adapt(&mut self) {
        self.taken_max = self.taken_max.max(self.offered.saturating_sub(self.in_ring));
        if mem::take(&mut self.is_short) {
            self.offered = self.offered.saturating_mul(2).min(self.count);
        }
        self.turns += 1;
        if self.turns == TURNS_TO_SHRINK {
            let enough = self.taken_max.saturating_mul(2).max(OFFERED_MIN).min(self.count);
            self.offered = self.offered.min(enough);
            self.turns = 0;
            self.taken_max = 0;
        }
    }

    fn push(&mut self, buffer: u16) {
        let at = usize::from(self.tail % self.count);
        // SAFETY: `at` is below `count`. The kernel does not look at entries beyond the tail that
        // it was shown, and no more than `count` buffers are in the ring. The tail is in the first
        // entry, in a field that is not written here.
        unsafe {
            let entry = self.entries.start.as_ptr().cast::<BufRingEntry>().add(at);
            let start = self.bytes.start.as_ptr().add(usize::from(buffer) * self.buffer_bytes);
            (*entry).set_addr(start as u64);
            (*entry).set_len(self.buffer_bytes as u32);
            (*entry).set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }
}
