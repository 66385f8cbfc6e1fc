//! The backend on io_uring: one system call sends what a turn has to send, waits, and brings what
//! has been received meanwhile. In a turn that takes long, what has to be sent leaves earlier.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::cqueue;
use rustc_hash::FxHashMap;
use rustix::event::{EventfdFlags, eventfd};

use crate::slots::ConnId;
use crate::sockets::{Listener, Outgoing, Pace, Port, SocketTx, flag};
use crate::{Config, Counters, Driver, Sink, UringConfig, Waker};

mod accept;
mod buffers;
mod completion;
mod probe;
mod queues;
mod receive;
mod ring;
mod sends;
#[cfg(test)]
mod tests;
mod unavailable;

use accept::RingListener;
use buffers::Buffers;
use completion::{CONNECTIONS_MAX, Completion, Op};
use receive::Arrival;
use ring::{BUFFER_GROUP, Ring};
use sends::Unsent;
pub use unavailable::Unavailable;

/// The sending half of [`Uring`].
pub type UringTx = SocketTx<Ring>;

/// The io_uring backend. It belongs to the thread that makes it: the kernel refuses another's turn.
#[derive(Debug)]
pub struct Uring {
    // The ring goes before the buffers that the kernel writes to.
    tx: UringTx,
    buffers: Buffers,
    /// What large connections receive into, one at a time.
    receive_buffer: Box<[u8]>,
    waker: Arc<OwnedFd>,
    /// What came for connections that are paused or over their budget, in order. No peer chooses an
    /// id, so the cheapest hash does.
    held: FxHashMap<ConnId, VecDeque<Arrival>>,
    /// What connections have received in this turn, where that may be more than the budget.
    received: FxHashMap<ConnId, usize>,
    /// All that arrived in this turn may be more than one connection's budget.
    counting: bool,
    happened: Vec<Completion>,
    /// Memory for those of them that are being handled.
    handled: Vec<Completion>,
    unsent: Vec<Unsent>,
    due: Vec<ConnId>,
    pace: Pace,
    /// How many it has had.
    listeners: usize,
}

/// What there is of a [`Uring`] before it is on its thread: it can be woken.
#[derive(Debug)]
pub struct UringBuilder {
    waker: Arc<OwnedFd>,
}

impl UringBuilder {
    /// For any thread.
    ///
    /// # Errors
    /// There is no file descriptor.
    pub fn new() -> io::Result<Self> {
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { waker: Arc::new(waker) })
    }

    /// Ends a turn that waits, of the driver to be, from any thread.
    pub fn waker(&self) -> Waker {
        waker(&self.waker)
    }

    /// The driver, on the thread that calls.
    ///
    /// # Errors
    /// Those of [`Uring::new`].
    pub fn build(self, mut config: Config) -> io::Result<Uring> {
        config.connections_max = config.connections_max.min(CONNECTIONS_MAX);
        let UringConfig { buffers, buffer_bytes, .. } = config.uring;
        let mut ring = probe::with_locked_memory(|| Ring::new(&config.uring))?;
        let buffers = probe::with_locked_memory(|| {
            Buffers::register(ring.submitter(), BUFFER_GROUP, buffers, buffer_bytes)
        })?;
        ring.poll_always(Op::Waker, self.waker.as_raw_fd())?;
        Ok(Uring {
            receive_buffer: vec![0; config.receive_buffer_bytes.max(1)].into_boxed_slice(),
            tx: SocketTx::new(config, ring),
            buffers,
            waker: self.waker,
            held: FxHashMap::default(),
            received: FxHashMap::default(),
            counting: false,
            happened: Vec::new(),
            handled: Vec::new(),
            unsent: Vec::new(),
            due: Vec::new(),
            pace: Pace::new(),
            listeners: 0,
        })
    }
}

fn waker(events: &Arc<OwnedFd>) -> Waker {
    let events = Arc::clone(events);
    Waker::new(move || match rustix::io::write(&*events, &1_u64.to_ne_bytes()) {
        // Its count is full: it is awake enough.
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    })
}

impl Uring {
    /// A driver without a listener, for this thread.
    ///
    /// # Errors
    /// The kernel has no io_uring, an old one, or one that this process may not use; or there are
    /// no file descriptors.
    pub fn new(config: Config) -> io::Result<Self> {
        UringBuilder::new()?.build(config)
    }

    /// Tries the real thing: as many rings at a time as there will be drivers, with buffers, and a
    /// receive on a pair of sockets.
    ///
    /// # Errors
    /// What is missing, and the remedy.
    pub fn probe(rings: usize, config: &UringConfig) -> Result<(), Unavailable> {
        probe::run(rings, config)
    }

    /// Sends what was deferred, if it has waited long enough. What is found to have happened
    /// meanwhile is the next turn's.
    #[inline]
    fn send_batch(&mut self) -> io::Result<()> {
        if self.pace.step() && self.tx.port.has_deferred() {
            self.tx.port.send(&mut self.happened, &mut self.unsent)?;
            self.handle_sent();
        }
        Ok(())
    }

    /// The sends are done, more or less.
    fn handle_sent(&mut self) {
        let tx = &mut self.tx;
        for id in tx.port.sent() {
            if let Some(connection) = tx.connections.get_mut(id) {
                connection.state.sent();
            }
        }
        while let Some(unsent) = self.unsent.pop() {
            self.handle_unsent(unsent);
        }
    }

    /// A send that did not go out whole: the rest waits, or the connection is broken.
    fn handle_unsent(&mut self, Unsent { id, block, sent }: Unsent) {
        let bytes = Outgoing::Deferred(&block);
        match sent {
            Ok(sent) => self.tx.keep(id, &bytes, sent),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                self.tx.keep(id, &bytes, 0);
            }
            Err(error) => self.tx.break_off(id, error),
        }
    }

    fn handle<S: Sink<UringTx>>(&mut self, completion: Completion, sink: &mut S) -> io::Result<()> {
        match completion.op() {
            Op::Receive => self.handle_received(completion, sink),
            Op::Readable => self.handle_readable(completion, sink),
            Op::Room => self.handle_room(completion, sink),
            Op::Accept => self.handle_accepted(completion),
            Op::Waker => {
                // Reads what it was told, so that it can be told again.
                let _ = rustix::io::read(&*self.waker, &mut [0_u8; 8]);
                if !cqueue::more(completion.flags) {
                    self.tx.port.poll_always(Op::Waker, self.waker.as_raw_fd())?;
                }
            }
            // Sends have been looked at, and of a cancellation the cancelled tells.
            Op::Send | Op::SendZeroCopy | Op::Cancel => {}
        }
        Ok(())
    }

    /// There is room to send, or a connect has come to something.
    fn handle_room<S: Sink<UringTx>>(&mut self, completion: Completion, sink: &mut S) {
        let id = completion.id();
        let Some(connection) = self.tx.connections.get_mut(id) else { return };
        connection.state.polling = false;
        if connection.is(flag::CONNECTING) && !self.tx.handle_connecting(id, sink) {
            if let Some(connection) = self.tx.connections.get_mut(id) {
                self.tx.port.await_room(id, connection);
            }
            return;
        }
        self.tx.handle_writable(id, sink);
    }
}

impl Driver for Uring {
    type Tx = UringTx;
    type Listener = TcpListener;

    fn turn<S: Sink<UringTx>>(&mut self, until: Option<Instant>, sink: &mut S) -> io::Result<()> {
        self.forget();
        self.arm()?;
        self.arm_listener()?;
        let timeout =
            if self.happened.is_empty() { self.tx.timeout(until) } else { Some(Duration::ZERO) };
        self.tx.port.turn(timeout, &mut self.happened, &mut self.unsent)?;
        self.tx.now = Instant::now();
        self.handle_sent();
        self.pace.begin(self.tx.now);
        self.received.clear();
        let arrived = self.happened.iter().map(|happened| happened.received_bytes()).sum::<usize>();
        self.counting =
            !self.tx.due.is_empty() || arrived > self.tx.config.receive_budget_bytes.max(1);
        // What is due from before this turn, apart from what becomes due in it.
        mem::swap(&mut self.due, &mut self.tx.due);
        let mut due = mem::take(&mut self.due);
        for id in due.drain(..) {
            self.handle_due(id, sink);
            self.send_batch()?;
        }
        self.due = due;
        let mut handled = mem::replace(&mut self.happened, mem::take(&mut self.handled));
        for completion in handled.drain(..) {
            self.handle(completion, sink)?;
            self.send_batch()?;
        }
        self.handled = handled;
        self.tx.accept(sink);
        self.tx.bury(sink);
        Ok(())
    }

    fn tx(&mut self) -> &mut UringTx {
        &mut self.tx
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        self.listeners += 1;
        let listener = RingListener::new(listener, self.listeners)?;
        self.tx.listener = Some(Listener::of(listener));
        Ok(())
    }

    fn waker(&self) -> Waker {
        waker(&self.waker)
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.happened.is_empty() || self.tx.port.has_work() || self.has_idle_listener() {
            return Some(self.tx.now);
        }
        self.tx.next_deadline()
    }

    fn counters(&self) -> Counters {
        let port = &self.tx.port;
        Counters {
            completion_overflows: port.overflows,
            zero_copy_sends: port.zero_copy.sends,
            zero_copy_copied: port.zero_copy.copied,
            ..self.tx.counters
        }
    }
}

impl AsFd for Uring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tx.port.event_fd().as_fd()
    }
}
