//! The backend on io_uring: one system call sends what a turn has to send, waits, and brings what
//! has been received meanwhile.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use io_uring::cqueue;
use rustix::event::{EventfdFlags, eventfd};

use crate::slots::ConnId;
use crate::sockets::{Listener, Outgoing, Port, SocketTx, flag};
use crate::{Closed, Config, Counters, Driver, Sink, Waker};

mod buffers;
mod completion;
mod probe;
mod ring;
#[cfg(test)]
mod tests;
mod unavailable;

use buffers::Buffers;
use completion::{CONNECTIONS_MAX, Completion, Op};
use ring::{BUFFER_GROUP, Ring, State, Unsent};
pub use unavailable::Unavailable;

/// Receive buffers. Pages that were never received into cost nothing.
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 16 << 10;

/// The sending half of [`Uring`].
pub type UringTx = SocketTx<Ring, State>;

/// The io_uring backend. It belongs to the thread that makes it: the kernel refuses another's turn.
#[derive(Debug)]
pub struct Uring {
    // The ring goes before the buffers that the kernel writes to.
    tx: UringTx,
    buffers: Buffers,
    waker: Arc<OwnedFd>,
    /// What came for connections that are paused or over their budget, in order.
    held: HashMap<ConnId, VecDeque<Arrival>>,
    /// What connections have received in this turn, where that may be more than the budget.
    received: HashMap<ConnId, usize>,
    /// All that arrived in this turn may be more than one connection's budget.
    counting: bool,
    happened: Vec<Completion>,
    unsent: Vec<Unsent>,
    due: Vec<ConnId>,
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
        let mut ring = probe::with_locked_memory(Ring::new)?;
        let buffers = probe::with_locked_memory(|| {
            Buffers::register(ring.ring(), BUFFER_GROUP, BUFFERS, BUFFER_BYTES)
        })?;
        ring.poll_always(Op::Waker, self.waker.as_raw_fd())?;
        Ok(Uring {
            tx: SocketTx::new(config, ring),
            buffers,
            waker: self.waker,
            held: HashMap::new(),
            received: HashMap::new(),
            counting: false,
            happened: Vec::new(),
            unsent: Vec::new(),
            due: Vec::new(),
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

/// What the kernel says of a connection's inbound half.
#[derive(Debug)]
enum Arrival {
    Bytes { buffer: u16, from: usize, to: usize },
    Eof,
    Error(io::Error),
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
    pub fn probe(rings: usize) -> Result<(), Unavailable> {
        probe::run(rings)
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
            Op::Room => self.handle_room(completion, sink),
            Op::Listener => {
                self.tx.handle_listener_ready();
                if let Some(listener) = &self.tx.listener
                    && !cqueue::more(completion.flags)
                {
                    let fd = listener.socket.as_raw_fd();
                    self.tx.port.poll_always(Op::Listener, fd)?;
                }
            }
            Op::Waker => {
                // Reads what it was told, so that it can be told again.
                let _ = rustix::io::read(&*self.waker, &mut [0_u8; 8]);
                if !cqueue::more(completion.flags) {
                    self.tx.port.poll_always(Op::Waker, self.waker.as_raw_fd())?;
                }
            }
            // None is under way here, and of a cancellation the cancelled tells.
            Op::Send | Op::Cancel => {}
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

    fn handle_received<S: Sink<UringTx>>(&mut self, completion: Completion, sink: &mut S) {
        let id = completion.id();
        let buffer = cqueue::buffer_select(completion.flags);
        let Some(connection) = self.tx.connections.get_mut(id) else {
            // It was closed meanwhile.
            buffer.into_iter().for_each(|buffer| self.buffers.put_back(buffer));
            return;
        };
        connection.state.receiving = cqueue::more(completion.flags);
        let goes_on = connection.state.receiving;
        let arrival = match (completion.outcome(), buffer) {
            (Ok(0), buffer) => {
                buffer.into_iter().for_each(|buffer| self.buffers.put_back(buffer));
                Arrival::Eof
            }
            (Ok(to), Some(buffer)) => {
                if !goes_on {
                    self.tx.port.unarmed.push(id);
                }
                Arrival::Bytes { buffer, from: 0, to }
            }
            (Ok(_), None) => return,
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => {
                    self.tx.counters.receives_without_buffer += 1;
                    return self.tx.port.unarmed.push(id);
                }
                // It was paused, or something else that is no end: it goes on where it stopped.
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {
                    return self.tx.port.unarmed.push(id);
                }
                _ => Arrival::Error(error),
            },
        };
        match self.held.get_mut(&id) {
            Some(held) => held.push_back(arrival),
            None => self.deliver(id, arrival, sink),
        }
    }

    /// Tells the sink, or holds it back until it may be told.
    fn deliver<S: Sink<UringTx>>(&mut self, id: ConnId, arrival: Arrival, sink: &mut S) {
        let Some(connection) = self.tx.connections.get_mut(id) else {
            return self.drop_arrival(&arrival);
        };
        if connection.is(flag::DEAD | flag::EOF) {
            return self.drop_arrival(&arrival);
        }
        if connection.is(flag::PAUSED) {
            return self.hold(id, arrival);
        }
        let Arrival::Bytes { buffer, from, to } = arrival else {
            return match arrival {
                Arrival::Error(error) => self.tx.handle_end(id, Closed::Error(error), sink),
                _ => self.tx.handle_eof(id, sink),
            };
        };
        let left = self.budget_left(id, to - from);
        let end = to.min(from + left);
        if from < end && !connection_is_closing(&self.tx, id) {
            sink.received(&mut self.tx, id, self.buffers.received(buffer, from, end));
        }
        if end == to || self.tx.connections.get(id).is_none() {
            self.buffers.put_back(buffer);
        } else {
            self.hold(id, Arrival::Bytes { buffer, from: end, to });
            self.tx.make_due(id);
        }
    }

    /// How much of so many bytes it may still receive in this turn.
    fn budget_left(&mut self, id: ConnId, bytes: usize) -> usize {
        if !self.counting {
            return bytes;
        }
        let budget = self.tx.config.receive_budget_bytes.max(1);
        let received = self.received.entry(id).or_default();
        let left = budget.saturating_sub(*received).min(bytes);
        *received += left;
        left
    }

    /// In front of what is held already.
    fn hold(&mut self, id: ConnId, arrival: Arrival) {
        self.held.entry(id).or_default().push_front(arrival);
        if let Some(connection) = self.tx.connections.get_mut(id) {
            connection.state.holding = true;
        }
    }

    fn drop_arrival(&mut self, arrival: &Arrival) {
        if let Arrival::Bytes { buffer, .. } = arrival {
            self.buffers.put_back(*buffer);
        }
    }

    /// Goes on with a connection whose budget was used up, or that was paused.
    fn handle_due<S: Sink<UringTx>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.tx.connections.get_mut(id) else { return };
        connection.flags &= !flag::DUE;
        while let Some(held) = self.held.get_mut(&id) {
            let Some(arrival) = held.pop_front() else {
                self.held.remove(&id);
                if let Some(connection) = self.tx.connections.get_mut(id) {
                    connection.state.holding = false;
                }
                break;
            };
            let before = held.len();
            self.deliver(id, arrival, sink);
            if self.held.get(&id).is_none_or(|held| held.len() > before) {
                // Held back again, or closed.
                break;
            }
        }
        self.tx.port.unarmed.push(id);
    }

    /// Receives again for those whose receiving has ended and who may.
    fn arm(&mut self) -> io::Result<()> {
        self.buffers.publish();
        let mut unarmed = mem::take(&mut self.tx.port.unarmed);
        for id in unarmed.drain(..) {
            let Some(connection) = self.tx.connections.get_mut(id) else { continue };
            let stays = connection.state.receiving || connection.state.holding;
            if !stays && !connection.is(flag::PAUSED | flag::DEAD | flag::EOF | flag::CONNECTING) {
                self.tx.port.receive(id, connection)?;
            }
        }
        self.tx.port.unarmed = unarmed;
        Ok(())
    }

    fn forget(&mut self) {
        for id in mem::take(&mut self.tx.port.forgotten) {
            for arrival in self.held.remove(&id).into_iter().flatten() {
                self.drop_arrival(&arrival);
            }
        }
    }
}

fn connection_is_closing(tx: &UringTx, id: ConnId) -> bool {
    tx.connections.get(id).is_none_or(|connection| connection.is(flag::CLOSING))
}

impl Driver for Uring {
    type Tx = UringTx;
    type Listener = TcpListener;

    fn turn<S: Sink<UringTx>>(&mut self, until: Option<Instant>, sink: &mut S) -> io::Result<()> {
        self.forget();
        self.arm()?;
        let timeout = self.tx.timeout(until);
        self.tx.port.turn(timeout, &mut self.happened, &mut self.unsent)?;
        self.tx.now = Instant::now();
        let tx = &mut self.tx;
        for id in tx.port.sent() {
            if let Some(connection) = tx.connections.get_mut(id) {
                connection.state.sent();
            }
        }
        while let Some(unsent) = self.unsent.pop() {
            self.handle_unsent(unsent);
        }
        self.received.clear();
        let arrived = self.happened.iter().map(|happened| happened.received_bytes()).sum::<usize>();
        self.counting =
            !self.tx.due.is_empty() || arrived > self.tx.config.receive_budget_bytes.max(1);
        // What is due from before this turn, apart from what becomes due in it.
        mem::swap(&mut self.due, &mut self.tx.due);
        let mut due = mem::take(&mut self.due);
        for id in due.drain(..) {
            self.handle_due(id, sink);
        }
        self.due = due;
        let mut happened = mem::take(&mut self.happened);
        for completion in happened.drain(..) {
            self.handle(completion, sink)?;
        }
        self.happened = happened;
        self.tx.accept(sink);
        self.tx.bury(sink);
        Ok(())
    }

    fn tx(&mut self) -> &mut UringTx {
        &mut self.tx
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = Listener::new(listener)?;
        self.tx.port.poll_always(Op::Listener, listener.socket.as_raw_fd())?;
        self.tx.listener = Some(listener);
        Ok(())
    }

    fn waker(&self) -> Waker {
        waker(&self.waker)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let port = &self.tx.port;
        if port.has_work() { Some(self.tx.now) } else { self.tx.next_deadline() }
    }

    fn counters(&self) -> Counters {
        Counters { completion_overflows: self.tx.port.overflows(), ..self.tx.counters }
    }
}

impl AsFd for Uring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tx.port.event_fd().as_fd()
    }
}
