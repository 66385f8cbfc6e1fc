//! The backend on epoll (by mio): readiness turned into completions.
//!
//! What makes it fast: a socket is registered once, for reading and writing, edge-triggered, and
//! never again; one receive buffer and one block to send from serve all connections and stay in
//! cache; a read that does not fill the buffer has emptied the socket, so nothing is asked twice.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::{self, Listener, Outgoing, Port, SocketTx, TcpStream, flag};
use crate::{Config, Counters, Driver, Sink, Waker};

#[cfg(test)]
mod tests;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;

/// The epoll backend.
#[derive(Debug)]
pub struct Epoll {
    poll: Poll,
    events: Events,
    receive_buffer: Box<[u8]>,
    /// Connections to look at in this turn; the list itself is kept between turns.
    due: Vec<ConnId>,
    waker: Arc<mio::Waker>,
    tx: EpollTx,
}

/// The sending half of [`Epoll`].
pub type EpollTx = SocketTx<Registry>;
type Connection = sockets::Connection<Registry>;

/// A socket is registered once, and sends happen at once.
impl Port for Registry {
    type Socket = TcpStream;
    type Listener = sockets::TcpListener;
    type State = ();

    fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to)
    }

    fn watch(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.register(&mut connection.stream, Token(id.to_bits() as usize), interest)
    }

    fn connected(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn await_room(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn pause(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn unwatch(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn unlisten(&mut self, _listener: &sockets::TcpListener) {}

    #[inline]
    fn defer(&mut self, _id: ConnId, _to: &mut Connection, _bytes: &mut Outgoing<'_>) -> bool {
        false
    }

    #[inline]
    fn take_deferred(&mut self, _connection: &mut Connection) -> Option<Block> {
        None
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
            tx: SocketTx::new(config, registry),
        })
    }

    fn receive<S: Sink<EpollTx>>(&mut self, id: ConnId, sink: &mut S) {
        self.tx.receive(id, &mut self.receive_buffer, sink);
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
        // What is due from before this turn, apart from what becomes due in it.
        std::mem::swap(&mut self.due, &mut self.tx.due);
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER => self.tx.handle_listener_ready(),
                WAKER => {}
                _ => self.handle_event(Readiness::of(event), sink),
            }
        }
        self.events = events;
        let mut due = std::mem::take(&mut self.due);
        for id in due.drain(..) {
            if let Some(connection) = self.tx.connections.get_mut(id) {
                connection.flags &= !flag::DUE;
                self.receive(id, sink);
            }
        }
        self.due = due;
        self.tx.accept(sink);
        self.tx.bury(sink);
        Ok(())
    }

    fn tx(&mut self) -> &mut EpollTx {
        &mut self.tx
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        let mut listener = Listener::new(listener)?;
        self.tx.port.register(&mut listener.socket, LISTENER, Interest::READABLE)?;
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
        self.tx.port.as_fd()
    }
}
