//! The buffers that the kernel receives into: it takes one from a ring of them for each arrival,
//! and we put it back when its bytes have been looked at.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
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

/// A ring of receive buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: Memory,
    bytes: Memory,
    count: u16,
    buffer_bytes: usize,
    /// Where the next buffer is put back; the kernel sees it after [`Buffers::publish`].
    tail: u16,
}

// SAFETY: it owns its memory, which nothing else points to but the kernel.
unsafe impl Send for Buffers {}

impl Buffers {
    /// `count` (a power of two) buffers, registered as `group`.
    ///
    /// # Errors
    /// The kernel knows no buffer rings, or may not lock the ring's pages.
    pub(super) fn register(
        ring: &IoUring,
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
        };
        let address = buffers.entries.start.as_ptr() as u64;
        // SAFETY: the entries are aligned to a page, there are `count` of them, and they live until
        // the ring is closed: whoever owns both drops the ring first.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, group, 0)? };
        (0..count).for_each(|buffer| buffers.put_back(buffer));
        buffers.publish();
        Ok(buffers)
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

    /// Gives a buffer back to the kernel, from the next [`Buffers::publish`] on.
    pub(super) fn put_back(&mut self, buffer: u16) {
        let at = usize::from(self.tail % self.count);
        // SAFETY: `at` is below `count`. The kernel does not look at entries beyond the tail that
        // it was shown, and there are never more than `count` buffers to put back. The tail is in
        // the first entry, in a field that is not written here.
        unsafe {
            let entry = self.entries.start.as_ptr().cast::<BufRingEntry>().add(at);
            let start = self.bytes.start.as_ptr().add(usize::from(buffer) * self.buffer_bytes);
            (*entry).set_addr(start as u64);
            (*entry).set_len(self.buffer_bytes as u32);
            (*entry).set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all that was put back.
    pub(super) fn publish(&self) {
        // SAFETY: the ring's first entry is there, aligned to a page; the kernel only reads the
        // tail that is in it.
        unsafe {
            let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
            let tail = BufRingEntry::tail(entries).cast_mut();
            // Release: the entries before the tail that covers them.
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}
