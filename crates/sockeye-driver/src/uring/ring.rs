//! The ring, and what the sockets ask of it: entries for the kernel, sends that leave together.

use std::cell::OnceCell;
use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use rustix::event::{EventfdFlags, eventfd};

use super::completion::{Completion, Op, number, plain_number};
use crate::UringConfig;
use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::{self, Outgoing, Port, TcpListener, TcpStream, flag};

/// Sends in one system call: it is as long as they take.
const SENDS_AT_ONCE: usize = 512;
/// A connection's deferred bytes grow no longer than this; what is longer is sent at once, without
/// a copy.
const DEFERRED_BYTES_MAX: usize = 16 << 10;
/// Blocks kept for the sends of the next turn.
const SPARE_BLOCKS_MAX: usize = 1024;
/// The group of the one buffer ring.
pub(super) const BUFFER_GROUP: u16 = 0;

type Connection = sockets::Connection<Ring>;

/// What the ring keeps for each connection: 8 bytes.
#[derive(Debug, Default)]
pub struct State {
    /// Where in [`Ring::sends`] its deferred bytes are, counted from 1; 0: nowhere.
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

/// A send that waits to leave with others.
#[derive(Debug)]
struct Send {
    id: ConnId,
    fd: RawFd,
    /// `None`: it was taken back.
    block: Option<Block>,
}

/// A send that the kernel did not do, or not whole.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) id: ConnId,
    pub(super) block: Block,
    pub(super) sent: io::Result<usize>,
}

/// The ring, which belongs to the thread that makes it.
pub struct Ring {
    ring: IoUring,
    /// See [`Ring::event_fd`].
    events: OnceCell<OwnedFd>,
    sends: Vec<Send>,
    /// Those of the last turn, done.
    sent: Vec<Send>,
    spare: Vec<Vec<u8>>,
    /// Connections to receive for, anew, once buffers were put back.
    pub(super) unarmed: Vec<ConnId>,
    /// Dead ones for which arrivals are held back.
    pub(super) forgotten: Vec<ConnId>,
    /// How often the kernel had more to tell than there was room for.
    overflows: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("sends", &self.sends.len()).finish_non_exhaustive()
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
        let ring =
            build(true, true).or_else(|_| build(false, true)).or_else(|_| build(false, false));
        Ok(Self {
            ring: ring?,
            events: OnceCell::new(),
            sends: Vec::new(),
            sent: Vec::new(),
            spare: Vec::new(),
            unarmed: Vec::new(),
            forgotten: Vec::new(),
            overflows: 0,
        })
    }

    pub(super) const fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// How often the kernel had more to tell than there was room for.
    pub(super) const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Whether something waits for the next turn to be told to the kernel.
    pub(super) fn has_work(&self) -> bool {
        !self.sends.is_empty() || !self.unarmed.is_empty()
    }

    /// Readable when there is something to do. The ring's own descriptor would do, but it does not
    /// tell of work that the kernel defers until it is asked; and only who wants this pays for it.
    pub(super) fn event_fd(&self) -> &OwnedFd {
        self.events.get_or_init(|| {
            let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
            let events = events.expect("a file descriptor");
            let registered = self.ring.submitter().register_eventfd(events.as_raw_fd());
            registered.expect("the thread of the turns asks, and only once");
            events
        })
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: what an entry points to lives until it has completed: of sends the blocks, which
        // are kept until then (see `turn`); no other entry points to memory.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.submit()?;
        }
        Ok(())
    }

    /// Hands over what was pushed.
    fn submit(&self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for `want` completions, or for the time.
    fn wait(&self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let waited = match timeout {
            None => submitter.submit_and_wait(want),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                submitter.submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
        };
        match waited {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    // EBUSY: completions have to be taken before it goes on.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what was deferred, then waits for something to happen: `happened` gets it. Sends that
    /// were not done come back in `unsent`. None is under way when this returns.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        if let Some(events) = self.events.get() {
            // What it told is looked at now.
            let _ = rustix::io::read(events, &mut [0_u8; 8]);
        }
        self.sent.clear();
        let mut sends = mem::replace(&mut self.sends, mem::take(&mut self.sent));
        let result = self.send_and_wait(&mut sends, timeout, happened, unsent);
        if result.is_err() {
            // The kernel may still read them: nobody else gets this memory.
            mem::forget(sends);
            return result;
        }
        self.sent = sends;
        Ok(())
    }

    fn send_and_wait(
        &mut self,
        sends: &mut [Send],
        timeout: Option<Duration>,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        let mut under_way = 0;
        for at in 0..sends.len() {
            let Some(block) = &sends[at].block else { continue };
            let bytes = block.bytes();
            let entry = opcode::Send::new(Fd(sends[at].fd), bytes.as_ptr(), bytes.len() as u32)
                // Never waits: done, or not, when the system call returns.
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build();
            self.push(&entry.user_data(plain_number(Op::Send, at)))?;
            under_way += 1;
            if under_way == SENDS_AT_ONCE {
                self.submit()?;
                self.finish_sends(sends, under_way, happened, unsent)?;
                under_way = 0;
            }
        }
        let timeout = if happened.is_empty() { timeout } else { Some(Duration::ZERO) };
        // The sends complete within the call: it waits for one thing more than those.
        self.wait(under_way + 1, timeout)?;
        self.finish_sends(sends, under_way, happened, unsent)
    }

    /// Takes completions out of the ring until none of these sends is under way.
    fn finish_sends(
        &mut self,
        sends: &mut [Send],
        mut under_way: usize,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        loop {
            under_way -= self.reap(sends, happened, unsent);
            if under_way == 0 {
                return Ok(());
            }
            self.wait(under_way, None)?;
        }
    }

    /// Takes all completions out of the ring; returns how many were of sends.
    fn reap(
        &mut self,
        sends: &mut [Send],
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> usize {
        if self.ring.submission().cq_overflow() {
            self.overflows += 1;
            tracing::debug!(count = self.overflows, "more completions than the ring has room for");
        }
        let mut done = 0;
        for entry in self.ring.completion() {
            let completion = Completion {
                number: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            if completion.op() != Op::Send {
                happened.push(completion);
                continue;
            }
            done += 1;
            let at = (completion.number & u64::from(u32::MAX)) as usize;
            let Some(send) = sends.get_mut(at) else { continue };
            let Some(block) = send.block.take() else { continue };
            let sent = completion.outcome();
            if !matches!(sent, Ok(sent) if sent == block.bytes().len()) {
                unsent.push(Unsent { id: send.id, block, sent });
            } else if let Block::Owned(bytes) = block {
                keep_spare(&mut self.spare, bytes);
            }
        }
        done
    }

    /// The connections whose sends are done: their next bytes are deferred anew.
    pub(super) fn sent(&self) -> impl Iterator<Item = ConnId> {
        self.sent.iter().map(|send| send.id)
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

    /// Its arrivals fill whole buffers: from now on it is polled.
    pub(super) fn make_large(&mut self, id: ConnId, connection: &mut Connection, receives: u8) {
        if connection.state.large == 0 {
            self.disarm(id, connection);
        }
        connection.state.large = receives;
    }

    /// Buffers do for it again.
    pub(super) fn make_small(&mut self, id: ConnId, connection: &mut Connection) {
        connection.state.large = 0;
        self.disarm(id, connection);
    }

    /// Ends what is under way; what has come until then comes first, then the end of it.
    fn disarm(&mut self, id: ConnId, connection: &Connection) {
        let Some(op) = connection.state.armed.op() else { return };
        let entry = opcode::AsyncCancel::new(number(op, id)).build();
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

fn keep_spare(spare: &mut Vec<Vec<u8>>, mut bytes: Vec<u8>) {
    if spare.len() < SPARE_BLOCKS_MAX && bytes.capacity() <= 2 * DEFERRED_BYTES_MAX {
        bytes.clear();
        spare.push(bytes);
    }
}

impl Port for Ring {
    type Socket = TcpStream;
    type Listener = TcpListener;
    type State = State;

    fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to)
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
        if !self.ring.submission().is_empty() {
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
    }

    fn unlisten(&mut self, listener: &TcpListener) {
        // The ring holds the socket; this ends its listening at once.
        if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "the listener cannot be shut down");
        }
    }

    fn defer(&mut self, id: ConnId, connection: &mut Connection, bytes: &mut Outgoing<'_>) -> bool {
        let before = (connection.state.deferred as usize).checked_sub(1);
        let block = before.and_then(|at| self.sends[at].block.as_mut());
        let waiting = block.as_ref().map_or(0, |block| block.bytes().len());
        if waiting + bytes.len() > DEFERRED_BYTES_MAX {
            return false;
        }
        if let Some(block) = block {
            append(block, bytes, &mut self.spare);
            return true;
        }
        let block = match bytes {
            Outgoing::Block(bytes) => {
                let empty = self.spare.pop().unwrap_or_default();
                Block::Owned(mem::replace(bytes, empty))
            }
            Outgoing::Shared(bytes) => Block::Shared((*bytes).clone()),
            bytes => {
                let mut own = self.spare.pop().unwrap_or_default();
                bytes.copy_to(&mut own);
                Block::Owned(own)
            }
        };
        self.sends.push(Send { id, fd: connection.stream.as_raw_fd(), block: Some(block) });
        connection.state.deferred = self.sends.len() as u32;
        true
    }

    fn take_deferred(&mut self, connection: &mut Connection) -> Option<Block> {
        let at = (mem::take(&mut connection.state.deferred) as usize).checked_sub(1)?;
        self.sends.get_mut(at)?.block.take()
    }
}

/// Puts bytes behind those of a block; one that is shared becomes our own.
fn append(block: &mut Block, bytes: &Outgoing<'_>, spare: &mut Vec<Vec<u8>>) {
    if let Block::Shared(shared) = block {
        let mut own = spare.pop().unwrap_or_default();
        own.extend_from_slice(shared);
        *block = Block::Owned(own);
    }
    if let Block::Owned(own) = block {
        bytes.copy_to(own);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Nothing may be under way when the buffers are freed, which comes after this.
        let cancelled = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        if let Err(error) = cancelled
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the ring ends with requests under way");
        }
    }
}
