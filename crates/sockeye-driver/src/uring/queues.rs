//! The ring, split for as long as it lives: its queues, and the way into the kernel. What a
//! registered descriptor needs is remembered by the latter, which borrows the ring.

use std::io;
use std::ptr::NonNull;

use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter};

/// A ring's parts, which go before the ring itself.
pub(super) struct Queues {
    pub(super) submitter: Submitter<'static>,
    pub(super) submissions: SubmissionQueue<'static>,
    pub(super) completions: CompletionQueue<'static>,
    _ring: Leaked,
}

/// A ring that its parts think lives for ever.
struct Leaked(NonNull<IoUring>);

impl Queues {
    /// The parts of a ring, whose descriptor is registered where the kernel can (Linux 5.18): it is
    /// not looked up in every call then. The registration is for this thread.
    pub(super) fn of(ring: IoUring) -> Self {
        let leaked = Leaked(NonNull::from(Box::leak(Box::new(ring))));
        // SAFETY: it is initialized and nobody else has a reference to it; `Leaked`, which frees
        // it, is the last of the fields to go, so the parts do not outlive it.
        let ring: &'static mut IoUring = unsafe { &mut *leaked.0.as_ptr() };
        let (mut submitter, submissions, completions) = ring.split();
        if let Err(error) = submitter.register_ring_fd() {
            tracing::debug!(%error, "the ring's descriptor is not registered");
        }
        Self { submitter, submissions, completions, _ring: leaked }
    }

    /// Tells the kernel what was pushed and which completions have been looked at (or it would not
    /// wait for more), and takes note of what it did. `enter` says how long that takes.
    pub(super) fn enter(
        &mut self,
        enter: impl Fn(&Submitter<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.submissions.sync();
        self.completions.sync();
        let entered = enter(&self.submitter);
        self.submissions.sync();
        self.completions.sync();
        entered.map(drop)
    }
}

impl Drop for Queues {
    /// The thread's registration would keep the ring, and the sockets on which something is under
    /// way, until the thread ends.
    fn drop(&mut self) {
        if let Err(error) = self.submitter.unregister_ring_fd() {
            tracing::debug!(%error, "the ring's descriptor was not registered");
        }
    }
}

impl Drop for Leaked {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and all that borrowed it is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
