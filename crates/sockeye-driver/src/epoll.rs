//! The backend on epoll (by mio): readiness turned into completions.
//!
//! What makes it fast: a socket is registered once, for reading and writing, edge-triggered, and
//! never again; one receive buffer serves all connections and stays in cache; a read that does not
//! fill the buffer has emptied the socket, so nothing is asked twice; the answers of a few
//! connections leave one after the other, so that a peer on this machine wakes once for them all.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::{
    self, DEFERRED_BYTES_MAX, Deferred, Listener, Outgoing, Pace, Port, SocketTx, TcpStream, flag,
};
use crate::{Config, Counters, Driver, Sink, Waker};

#[cfg(test)]
mod tests;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;
/// Connections whose answers leave together (`docs/decisions/0012-io-uring-experiments.md`).
const DEFERRED_SENDS_MAX: usize = 16;

/// The epoll backend.
#[derive(Debug)]
pub struct Epoll {
    poll: Poll,
    events: Events,
    receive_buffer: Box<[u8]>,
    /// Connections to look at in this turn; the list itself is kept between turns.
    due: Vec<ConnId>,
    waker: Arc<mio::Waker>,
    pace: Pace,
    tx: EpollTx,
}

/// The sending half of [`Epoll`].
pub type EpollTx = SocketTx<EpollPort>;
type Connection = sockets::Connection<EpollPort>;

/// What the sockets are registered with, and the answers of this turn that are still here.
#[derive(Debug)]
pub struct EpollPort {
    registry: Registry,
    /// While events are handled; else there would be nobody to send them.
    defers: bool,
    deferred: Deferred,
}

/// What it keeps for each connection.
#[derive(Debug, Default)]
pub struct State {
    /// Where its deferred bytes are in the port's. In a byte, as an idle connection has no more.
    deferred: u8,
}

const _: () = assert!(DEFERRED_SENDS_MAX <= u8::MAX as usize);

impl Port for EpollPort {
    type Socket = TcpStream;
    type Listener = sockets::TcpListener;
    type State = State;

    fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<TcpStream> {
        sockets::adopt(socket)
    }

    fn watch(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(id.to_bits() as usize);
        self.registry.register(&mut connection.stream, token, interest)
    }

    fn connected(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn await_room(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn pause(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn unwatch(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn unlisten(&mut self, _listener: &sockets::TcpListener) {}

    #[inline]
    fn defer(&mut self, id: ConnId, connection: &mut Connection, bytes: &mut Outgoing<'_>) -> bool {
        let place = usize::from(connection.state.deferred);
        let has_room = place > 0 || self.deferred.len() < DEFERRED_SENDS_MAX;
        let len = self.deferred.len_at(place) + bytes.len();
        if !self.defers || !has_room || len > DEFERRED_BYTES_MAX {
            return false;
        }
        let place = self.deferred.push(place, id, (), bytes);
        connection.state.deferred = place as u8;
        true
    }

    #[inline]
    fn take_deferred(&mut self, connection: &mut Connection) -> Option<Block> {
        self.deferred.take(mem::take(&mut connection.state.deferred).into())
    }

    #[inline]
    fn reuse(&mut self, block: Block) {
        self.deferred.reuse(block);
    }
}

impl Epoll {
    /// A driver without a listener.
    ///
    /// # Errors
    /// The kernel's: no file descriptors, most likely.
    pub fn new(config: Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            receive_buffer: vec![0; config.receive_buffer_bytes.max(1)].into_boxed_slice(),
            due: Vec::new(),
            waker,
            pace: Pace::new(),
            tx: SocketTx::new(
                config,
                EpollPort { registry, defers: false, deferred: Deferred::default() },
            ),
        })
    }

    fn receive<S: Sink<EpollTx>>(&mut self, id: ConnId, sink: &mut S) {
        self.tx.receive(id, &mut self.receive_buffer, sink);
    }

    /// Sends what was deferred, once there is enough of it or it has waited long enough.
    #[inline]
    fn send_batch(&mut self) {
        if self.pace.step() || self.tx.port.deferred.len() >= DEFERRED_SENDS_MAX {
            self.send_deferred();
        }
    }

    #[inline(never)]
    fn send_deferred(&mut self) {
        for at in 0..self.tx.port.deferred.len() {
            self.tx.send_deferred(self.tx.port.deferred.id_at(at));
        }
        self.tx.port.deferred.clear();
    }

    fn handle_event<S: Sink<EpollTx>>(&mut self, what: Readiness, sink: &mut S) {
        let id = what.id;
        let Some(connection) = self.tx.connections.get_mut(id) else { return };
        if what.read_closed {
            connection.flags |= flag::READ_TO_END;
        }
        // Read from once in a turn: else the budget would count for each time.
        let due = connection.is(flag::DUE);
        if connection.is(flag::CONNECTING) && !self.tx.handle_connecting(id, sink) {
            return;
        }
        if what.writable {
            self.tx.handle_writable(id, sink);
        }
        if what.readable && !due {
            self.receive(id, sink);
        }
    }
}

/// An event of mio, out of its list: the list cannot be held while the driver is changed.
#[derive(Clone, Copy)]
struct Readiness {
    id: ConnId,
    readable: bool,
    writable: bool,
    read_closed: bool,
}

impl Readiness {
    fn of(event: &Event) -> Self {
        let read_closed = event.is_read_closed() || event.is_error();
        Self {
            id: ConnId::from_bits(event.token().0 as u64),
            readable: event.is_readable() || read_closed,
            writable: event.is_writable(),
            read_closed,
        }
    }
}

impl Driver for Epoll {
    type Tx = EpollTx;
    type Listener = TcpListener;

    fn turn<S: Sink<EpollTx>>(&mut self, until: Option<Instant>, sink: &mut S) -> io::Result<()> {
        let timeout = self.tx.timeout(until);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        self.tx.now = Instant::now();
        self.pace.begin(self.tx.now);
        // What is due from before this turn, apart from what becomes due in it.
        mem::swap(&mut self.due, &mut self.tx.due);
        self.tx.port.defers = true;
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER => self.tx.handle_listener_ready(),
                WAKER => {}
                _ => self.handle_event(Readiness::of(event), sink),
            }
            self.send_batch();
        }
        self.events = events;
        let mut due = mem::take(&mut self.due);
        for id in due.drain(..) {
            if let Some(connection) = self.tx.connections.get_mut(id) {
                connection.flags &= !flag::DUE;
                self.receive(id, sink);
            }
            self.send_batch();
        }
        self.due = due;
        self.tx.port.defers = false;
        self.send_deferred();
        self.tx.accept(sink);
        self.tx.bury(sink);
        Ok(())
    }

    fn tx(&mut self) -> &mut EpollTx {
        &mut self.tx
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        let mut listener = Listener::new(listener)?;
        self.tx.port.registry.register(&mut listener.socket, LISTENER, Interest::READABLE)?;
        self.tx.listener = Some(listener);
        Ok(())
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        Waker::new(move || waker.wake())
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.tx.next_deadline()
    }

    fn counters(&self) -> Counters {
        self.tx.counters
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tx.port.registry.as_fd()
    }
}
