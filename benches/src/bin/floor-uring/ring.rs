//! The ring and its receive buffers. All the memory that the kernel sees is never freed: the floor
//! ends with its process.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode};
use rustix::net::SendFlags;

const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
const GROUP: u16 = 0;
/// Without an end to the wait the kernel takes the least wait for all of it.
const FOR_EVER: Timespec = Timespec::new().sec(365 * 24 * 3600);

/// How much of everything.
#[derive(Debug)]
pub(crate) struct Sizes {
    pub(crate) submissions: u32,
    pub(crate) completions: u32,
    pub(crate) buffers: u16,
    pub(crate) buffer_bytes: u32,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    Accept,
    Receive,
    /// Never waits, and is told of if it failed or fell short.
    Send,
    /// Waits until all is sent.
    Rest,
    Cancel,
    Close,
}

const OPS: [Op; 6] = [Op::Accept, Op::Receive, Op::Send, Op::Rest, Op::Cancel, Op::Close];

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) op: Op,
    pub(crate) fd: RawFd,
    /// A number, or an error's below zero.
    pub(crate) result: i32,
    /// The request goes on.
    pub(crate) more: bool,
    /// The buffer with what was received, to be put back.
    pub(crate) buffer: Option<u16>,
}

impl Answer {
    /// Nothing is wrong with the connection: it is armed again when buffers were put back.
    pub(crate) fn is_out_of_buffers(&self) -> bool {
        matches!(-self.result, libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
    }
}

/// The kernel takes nothing now.
pub(crate) const fn is_for_later(result: i32) -> bool {
    matches!(-result, libc::EAGAIN | libc::EINTR)
}

pub(crate) struct Ring {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    /// Completions of this turn.
    taken: usize,
    buffers: Buffers,
}

impl Ring {
    /// With all that makes it fast, or not at all: it is a bound.
    pub(crate) fn new(sizes: &Sizes) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        builder.setup_coop_taskrun().setup_taskrun_flag();
        builder.setup_submit_all().setup_no_sqarray();
        builder.setup_cqsize(sizes.completions).setup_clamp();
        let ring = Box::leak(Box::new(builder.build(sizes.submissions)?));
        let parameters = ring.params();
        if !parameters.is_feature_skip_cqe_on_success() || !parameters.is_feature_min_timeout() {
            return Err(io::Error::other("the floor on io_uring takes Linux 6.12 or newer"));
        }
        let (mut submitter, submissions, completions) = ring.split();
        submitter.register_ring_fd()?;
        let buffers = Buffers::new(&submitter, sizes.buffers, sizes.buffer_bytes)?;
        Ok(Self { submitter, submissions, completions, taken: 0, buffers })
    }

    /// Hands all that was pushed to the kernel and waits.
    pub(crate) fn wait(&mut self, want: usize, min_wait_us: u32) -> io::Result<()> {
        self.submissions.sync();
        let waited = if min_wait_us == 0 {
            self.submitter.submit_and_wait(want)
        } else {
            let arguments = SubmitArgs::new().timespec(&FOR_EVER).min_wait_usec(min_wait_us);
            self.submitter.submit_with_args(want, &arguments)
        };
        self.submissions.sync();
        self.completions.sync();
        self.taken = 0;
        match waited {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The next thing that has happened.
    pub(crate) fn next(&mut self) -> io::Result<Option<Answer>> {
        let Some(completion) = self.completions.next() else {
            // Sends that fell short must be known of before the next one: no bound without.
            let overflowed = self.taken >= self.completions.capacity();
            return if overflowed {
                Err(io::Error::other("the completion ring was full: give --completions more"))
            } else {
                Ok(None)
            };
        };
        self.taken += 1;
        let number = completion.user_data();
        Ok(Some(Answer {
            op: OPS[(number >> 32) as usize % OPS.len()],
            fd: number as u32 as RawFd,
            result: completion.result(),
            more: cqueue::more(completion.flags()),
            buffer: cqueue::buffer_select(completion.flags()),
        }))
    }

    /// What was received into a buffer that was not put back yet.
    pub(crate) fn received(&mut self, answer: &Answer, buffer: u16) -> &mut [u8] {
        let len = usize::try_from(answer.result).unwrap_or(0);
        self.buffers.received(buffer, len)
    }

    /// Gives a buffer back, from the next [`Ring::publish`] on.
    pub(crate) fn put_back(&mut self, buffer: u16) {
        self.buffers.put_back(buffer);
    }

    /// Shows the kernel all that was put back.
    pub(crate) fn publish(&mut self) {
        self.buffers.publish();
    }

    pub(crate) fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        self.push(Op::Accept, listener, opcode::AcceptMulti::new(Fd(listener)).build())
    }

    pub(crate) fn receive(&mut self, fd: RawFd) -> io::Result<()> {
        self.push(Op::Receive, fd, opcode::RecvMulti::new(Fd(fd), GROUP).build())
    }

    /// Sends what the kernel takes at once. It says how much that was where it was not all.
    pub(crate) fn send(&mut self, fd: RawFd, bytes: &'static [u8]) -> io::Result<()> {
        let entry = send(fd, bytes, libc::MSG_DONTWAIT).flags(Flags::SKIP_SUCCESS);
        self.push(Op::Send, fd, entry)
    }

    /// Sends all, however long it takes, and says when it was done.
    pub(crate) fn send_rest(&mut self, fd: RawFd, bytes: &'static [u8]) -> io::Result<()> {
        self.push(Op::Rest, fd, send(fd, bytes, 0))
    }

    /// Ends a [`Ring::send_rest`] that is under way.
    pub(crate) fn cancel(&mut self, fd: RawFd) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(number(Op::Rest, fd)).build();
        self.push(Op::Cancel, fd, entry.flags(Flags::SKIP_SUCCESS))
    }

    pub(crate) fn close(&mut self, fd: RawFd) -> io::Result<()> {
        let entry = opcode::Close::new(Fd(fd)).build();
        self.push(Op::Close, fd, entry.flags(Flags::SKIP_SUCCESS))
    }

    fn push(&mut self, op: Op, fd: RawFd, entry: Entry) -> io::Result<()> {
        let entry = entry.user_data(number(op, fd));
        // SAFETY: of all entries only sends point to memory, and that is `'static`.
        while unsafe { self.submissions.push(&entry) }.is_err() {
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
        Ok(())
    }
}

/// Sends what the kernel takes, and says how much that was. Of an error its receive will tell.
pub(crate) fn send_now(fd: RawFd, bytes: &[u8]) -> usize {
    // SAFETY: the descriptor is an accepted connection's, which nobody else closes.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).unwrap_or(0)
}

fn number(op: Op, fd: RawFd) -> u64 {
    (op as u64) << 32 | u64::from(fd as u32)
}

/// A short send is a failure to the kernel: it is told of although successes are not.
fn send(fd: RawFd, bytes: &'static [u8], flags: i32) -> Entry {
    let flags = flags | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32).flags(flags).build()
}

/// A page of the buffer ring: for each entry the buffer's address, then its length (4 bytes), its
/// number (2) and, in the first entry only, the ring's tail (2).
#[repr(align(4096))]
struct Page([AtomicU64; PAGE_BYTES / size_of::<u64>()]);

/// The buffers that the kernel receives into.
struct Buffers {
    pages: &'static [Page],
    /// Where the first buffer is.
    start: *mut u8,
    count: u16,
    buffer_bytes: u32,
    /// Which buffer the first entry names.
    first: u16,
    /// Where the next is put back, and what of that the kernel has been shown.
    tail: u16,
    published: u16,
}

impl Buffers {
    fn new(submitter: &Submitter<'_>, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        let pages = (usize::from(count) * ENTRY_BYTES).div_ceil(PAGE_BYTES);
        let pages: Vec<_> = (0..pages).map(|_| Page([const { AtomicU64::new(0) }; _])).collect();
        let pages: &'static [Page] = pages.leak();
        // From here on a buffer is the kernel's, but from its completion until it is put back.
        let start = vec![0_u8; usize::from(count) * buffer_bytes as usize].leak().as_mut_ptr();
        let address = pages.as_ptr().expose_provenance() as u64;
        // SAFETY: the entries are aligned to a page, there is room for `count` of them, they are
        // atomic, and they are never freed.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let mut buffers =
            Self { pages, start, count, buffer_bytes, first: 0, tail: 0, published: 0 };
        (0..count).for_each(|buffer| buffers.put_back(buffer));
        buffers.publish();
        Ok(buffers)
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        self.start.wrapping_add(usize::from(buffer) * self.buffer_bytes as usize)
    }

    fn received(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        assert!(buffer < self.count && len <= self.buffer_bytes as usize);
        // SAFETY: it is one of the buffers, which are never freed, no longer than it is, and the
        // kernel's again when it is put back, which takes what this borrows.
        unsafe { std::slice::from_raw_parts_mut(self.start(buffer), len) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        let words = PAGE_BYTES / size_of::<u64>();
        &self.pages[at / words].0[at % words]
    }

    fn lower_half(&self, buffer: u16, tail: u16) -> u64 {
        let [a, b, c, d] = self.buffer_bytes.to_ne_bytes();
        let ([e, f], [g, h]) = (buffer.to_ne_bytes(), tail.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    fn put_back(&mut self, buffer: u16) {
        let at = usize::from(self.tail % self.count);
        if at == 0 {
            self.first = buffer;
        }
        let address = self.start(buffer).expose_provenance() as u64;
        let half = self.lower_half(buffer, self.published);
        self.word(2 * at).store(address, Ordering::Relaxed);
        self.word(2 * at + 1).store(half, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        if self.published != self.tail {
            self.published = self.tail;
            // Release: the entries before the tail that covers them.
            self.word(1).store(self.lower_half(self.first, self.tail), Ordering::Release);
        }
    }
}
