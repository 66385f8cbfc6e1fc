//! The ring, and what the sockets ask of it: entries for the kernel, sends that leave together.

use std::cell::OnceCell;
use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, Submitter, opcode};
use rustix::event::{EventfdFlags, eventfd};

use super::accept::{RingListener, turn_away};
use super::completion::{Completion, Op, number, plain_number};
use super::queues::Queues;
use super::sends::ZeroCopy;
use crate::UringConfig;
use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::{
    self, DEFERRED_BYTES_MAX, Deferral, Deferred, Outgoing, Port, TcpStream, flag,
};

/// The group of the one buffer ring.
pub(super) const BUFFER_GROUP: u16 = 0;

type Connection = sockets::Connection<Ring>;

/// What the ring keeps for each connection: 8 bytes.
#[derive(Debug, Default)]
pub struct State {
    /// Where its deferred bytes are in the ring's.
    deferred: u32,
    /// What is under way to learn of arrivals.
    pub(super) armed: Armed,
    /// 0: it receives by the ring. Else it is polled, for at least so many receives.
    pub(super) large: u8,
    /// A poll for room to send is under way.
    pub(super) polling: bool,
    /// Arrivals are held back for it.
    pub(super) holding: bool,
}

/// What is under way on a connection to learn of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Armed {
    #[default]
    No,
    /// A multishot receive.
    Ring,
    /// A multishot poll.
    Poll,
}

impl Armed {
    const fn op(self) -> Option<Op> {
        match self {
            Self::No => None,
            Self::Ring => Some(Op::Receive),
            Self::Poll => Some(Op::Readable),
        }
    }
}

impl State {
    /// Nothing is deferred any more.
    pub(super) const fn sent(&mut self) {
        self.deferred = 0;
    }
}

/// The ring, which belongs to the thread that makes it.
pub struct Ring {
    pub(super) queues: Queues,
    /// See [`Ring::event_fd`].
    pub(super) events: OnceCell<OwnedFd>,
    pub(super) deferred: Deferred<RawFd>,
    /// The sends of the last turn, done.
    pub(super) sent: Vec<Deferral<RawFd>>,
    pub(super) zero_copy: ZeroCopy,
    /// Connections to receive for, anew, once buffers were put back.
    pub(super) unarmed: Vec<ConnId>,
    /// Dead ones for which arrivals are held back.
    pub(super) forgotten: Vec<ConnId>,
    /// How often the kernel had more to tell than there was room for.
    pub(super) overflows: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("deferred", &self.deferred.len()).finish_non_exhaustive()
    }
}

impl Ring {
    /// With all that makes it fast where the kernel has it, and with less where it has not.
    pub(super) fn new(config: &UringConfig) -> io::Result<Self> {
        let build = |no_array: bool, defer: bool| {
            let mut builder = IoUring::builder();
            builder.setup_clamp().setup_cqsize(config.completions).setup_submit_all();
            builder.setup_coop_taskrun().setup_taskrun_flag();
            if defer {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
            if no_array {
                builder.setup_no_sqarray();
            }
            builder.build(config.submissions)
        };
        let release = rustix::system::uname();
        let ring = if misnames_accepted(release.release().to_str().unwrap_or_default()) {
            build(true, false).or_else(|_| build(false, false))
        } else {
            build(true, true).or_else(|_| build(false, true)).or_else(|_| build(false, false))
        };
        let queues = Queues::of(ring?);
        let can_zero_copy = || can_zero_copy(&queues.submitter);
        let zero_copy_bytes_min = config.zero_copy_bytes_min.filter(|_| can_zero_copy());
        Ok(Self {
            queues,
            zero_copy: ZeroCopy::from(zero_copy_bytes_min),
            events: OnceCell::new(),
            deferred: Deferred::default(),
            sent: Vec::new(),
            unarmed: Vec::new(),
            forgotten: Vec::new(),
            overflows: 0,
        })
    }

    pub(super) const fn submitter(&self) -> &Submitter<'static> {
        &self.queues.submitter
    }

    /// Whether something waits for the next turn to be told to the kernel.
    pub(super) fn has_work(&self) -> bool {
        self.has_deferred() || !self.unarmed.is_empty() || !self.queues.submissions.is_empty()
    }

    /// Whether sends wait.
    pub(super) const fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Readable when there is something to do. The ring's own descriptor would do, but it does not
    /// tell of work that the kernel defers until it is asked; and only who wants this pays for it.
    pub(super) fn event_fd(&self) -> &OwnedFd {
        self.events.get_or_init(|| {
            let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
            let events = events.expect("a file descriptor");
            let registered = self.submitter().register_eventfd(events.as_raw_fd());
            registered.expect("the thread of the turns asks, and only once");
            events
        })
    }

    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: what an entry points to lives until it has completed: of sends the blocks, which
        // are kept until then (see `turn` and `ZeroCopy`); no other entry points to memory.
        while unsafe { self.queues.submissions.push(entry) }.is_err() {
            self.submit()?;
        }
        Ok(())
    }

    /// Whether the kernel has taken all that was pushed.
    pub(super) fn is_submitted(&mut self) -> bool {
        self.queues.submissions.sync();
        self.queues.submissions.is_empty()
    }

    /// Hands over what was pushed.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        loop {
            match self.queues.enter(|submitter| submitter.submit()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                submitted => return submitted,
            }
        }
    }

    /// Hands over what was pushed and waits for something to happen, or for the time.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let waited = match timeout {
            None => self.queues.enter(|submitter| submitter.submit_and_wait(1)),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&time);
                self.queues.enter(|submitter| submitter.submit_with_args(1, &arguments))
            }
        };
        match waited {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    // EBUSY: completions have to be taken before it goes on.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            waited => waited,
        }
    }

    fn poll_once(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        if connection.state.polling {
            return Ok(());
        }
        let events = libc::POLLOUT as u32;
        let entry = opcode::PollAdd::new(Fd(connection.stream.as_raw_fd()), events).build();
        self.push(&entry.user_data(number(Op::Room, id)))?;
        connection.state.polling = true;
        Ok(())
    }

    /// Polls again and again, and says so each time.
    pub(super) fn poll_always(&mut self, op: Op, fd: RawFd) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build();
        self.push(&entry.user_data(plain_number(op, 0)))
    }

    /// Receives into the buffers, again and again; or polls, if the connection is large.
    pub(super) fn receive(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        let fd = connection.stream.as_raw_fd();
        if connection.state.large == 0 {
            self.push_receive(fd, number(Op::Receive, id))?;
            connection.state.armed = Armed::Ring;
        } else {
            let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
            let entry = opcode::PollAdd::new(Fd(fd), events).multi(true).build();
            self.push(&entry.user_data(number(Op::Readable, id)))?;
            connection.state.armed = Armed::Poll;
        }
        Ok(())
    }

    /// Much comes to it at a time: from now on it is polled.
    pub(super) fn make_large(&mut self, id: ConnId, connection: &mut Connection, receives: u8) {
        if connection.state.large == 0 {
            self.disarm(id, connection);
        }
        connection.state.large = receives;
    }

    /// Ends what is under way; what has come until then comes first, then the end of it.
    pub(super) fn disarm(&mut self, id: ConnId, connection: &Connection) {
        if let Some(op) = connection.state.armed.op() {
            self.cancel(number(op, id));
        }
    }

    /// Ends the request of this number.
    pub(super) fn cancel(&mut self, number: u64) {
        let entry = opcode::AsyncCancel::new(number).build();
        let pushed = self.push(&entry.user_data(plain_number(Op::Cancel, 0)));
        if let Err(error) = pushed {
            // It goes on as it was, which is slower and not wrong.
            tracing::error!(%error, "the ring takes no cancellation");
        }
    }

    /// The same from something that is no connection.
    pub(super) fn receive_from(&mut self, fd: RawFd) -> io::Result<()> {
        self.push_receive(fd, plain_number(Op::Receive, 0))
    }

    fn push_receive(&mut self, fd: RawFd, number: u64) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(fd), BUFFER_GROUP).build();
        self.push(&entry.user_data(number))
    }
}

impl Port for Ring {
    type Socket = TcpStream;
    type Listener = RingListener;
    type State = State;

    fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<TcpStream> {
        sockets::adopt(socket)
    }

    fn watch(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        if connection.is(flag::CONNECTING) {
            self.poll_once(id, connection)
        } else {
            self.receive(id, connection)
        }
    }

    fn connected(&mut self, id: ConnId, _connection: &mut Connection) {
        self.unarmed.push(id);
    }

    fn await_room(&mut self, id: ConnId, connection: &mut Connection) {
        if let Err(error) = self.poll_once(id, connection) {
            tracing::error!(%error, "the ring takes no poll");
        }
    }

    fn pause(&mut self, id: ConnId, connection: &mut Connection) {
        // What a poll tells of may stay in the socket.
        if connection.state.armed == Armed::Ring {
            self.disarm(id, connection);
        }
    }

    fn unwatch(&mut self, id: ConnId, connection: &mut Connection) {
        // Its descriptor's number may be another connection's soon: no entry may still name it.
        if !self.is_submitted() {
            let submitted = self.submit();
            debug_assert!(submitted.is_ok(), "{submitted:?}");
        }
        if connection.state.armed != Armed::No || connection.state.polling {
            // The ring holds the socket for as long as something is under way on it. An error: it
            // is not connected (any more), and nothing is.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        if connection.state.holding {
            self.forgotten.push(id);
        }
        self.zero_copy.forget(id);
    }

    fn unlisten(&mut self, listener: &RingListener) {
        // The ring holds the socket; this ends its listening at once.
        if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "the listener cannot be shut down");
        }
    }

    fn defer(&mut self, id: ConnId, connection: &mut Connection, bytes: &mut Outgoing<'_>) -> bool {
        let place = connection.state.deferred as usize;
        let waiting = self.deferred.len_at(place);
        let len = waiting + bytes.len();
        // Without a copy only what we own, and as it is.
        let is_lent = matches!(bytes, Outgoing::Block(_) | Outgoing::Shared(_))
            && waiting == 0
            && self.zero_copy.is_for(id, len);
        if len > DEFERRED_BYTES_MAX && !is_lent {
            return false;
        }
        let place = self.deferred.push(place, id, connection.stream.as_raw_fd(), bytes);
        connection.state.deferred = place as u32;
        true
    }

    fn take_deferred(&mut self, connection: &mut Connection) -> Option<Block> {
        self.deferred.take(mem::take(&mut connection.state.deferred) as usize)
    }

    fn reuse(&mut self, block: Block) {
        self.deferred.reuse(block);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Nothing may be under way when the buffers are freed, which comes after this.
        let cancelled = self.submitter().register_sync_cancel(None, CancelBuilder::any());
        if let Err(error) = cancelled
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the ring ends with requests under way");
        }
        self.queues.completions.sync();
        for entry in &mut self.queues.completions {
            let number = entry.user_data();
            turn_away(Completion { number, result: entry.result(), flags: entry.flags() });
        }
        self.zero_copy.abandon();
    }
}

/// Whether this release of the kernel, with work deferred until it is asked for, names descriptors
/// that are none where an accept goes on by itself: 6.6.1 to 6.8-rc3. Some of their stable releases
/// are mended, which nothing tells.
pub(super) fn misnames_accepted(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or_default();
    match (number(), number(), number()) {
        (6, 6, patch) => patch >= 1,
        (6, 7, _) => true,
        (6, 8, _) => ["-rc1", "-rc2", "-rc3"].iter().any(|name| release.contains(name)),
        _ => false,
    }
}

/// Whether the kernel knows sends without a copy.
fn can_zero_copy(submitter: &Submitter<'_>) -> bool {
    let mut probe = Probe::new();
    let asked = submitter.register_probe(&mut probe);
    asked.is_ok() && probe.is_supported(opcode::SendZc::CODE)
}
