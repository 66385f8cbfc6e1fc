//! Connections, and the sending half that all backends share, the simulator's among them: what a
//! backend does in its own way, and whose sockets it has, is its [`Port`].

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
/// The system's, as all backends for them have them.
pub(crate) use mio::net::{TcpListener, TcpStream};

use crate::outbuf::{Block, Outbuf};
use crate::slots::{ConnId, Slots};
use crate::{Adopted, Close, Closed, Config, Counters, Sink, Tx};

mod accept;
mod deferred;
mod outgoing;
mod pace;
mod receive;
mod socket;

pub(crate) use accept::Listener;
pub(crate) use deferred::{DEFERRED_BYTES_MAX, Deferral, Deferred};
pub(crate) use outgoing::Outgoing;
pub(crate) use pace::Pace;
pub(crate) use socket::{Accept, Socket, adopt};

/// A block that grew beyond this is not kept for the next connection.
const BLOCK_BYTES_KEPT: usize = 512 << 10;
/// The kernel takes no more parts in one call (`IOV_MAX`).
const PARTS_MAX: usize = 1024;

/// How a backend gets to know of its sockets, and what else it does in its own way.
pub trait Port: Sized {
    /// Its connections' sockets.
    type Socket: Socket;

    /// What it accepts them from.
    type Listener: Accept<Socket = Self::Socket>;

    /// What it keeps for each connection.
    type State: Default + fmt::Debug;

    /// Begins to connect a new socket.
    ///
    /// # Errors
    /// What can be told at once.
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;

    /// Makes its own kind of a socket of the system's.
    ///
    /// # Errors
    /// The kernel's, or `Unsupported`.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Self::Socket>;

    /// Watches a socket from now on: whether it connects, or what it receives.
    ///
    /// # Errors
    /// The kernel's.
    fn watch(&mut self, id: ConnId, connection: &mut Connection<Self>) -> io::Result<()>;

    /// It has connected.
    fn connected(&mut self, id: ConnId, connection: &mut Connection<Self>);

    /// Something waits: the kernel is to say when it takes more.
    fn await_room(&mut self, id: ConnId, connection: &mut Connection<Self>);

    /// Receives nothing more for now.
    fn pause(&mut self, id: ConnId, connection: &mut Connection<Self>);

    /// The socket is about to be closed.
    fn unwatch(&mut self, id: ConnId, connection: &mut Connection<Self>);

    /// The listener is about to be closed.
    fn unlisten(&mut self, listener: &Self::Listener);

    /// Takes over bytes, to send them with those of other connections before the next wait, behind
    /// what it has taken over for this one before. `false`: it does not; they are to be sent now.
    fn defer(
        &mut self,
        id: ConnId,
        connection: &mut Connection<Self>,
        bytes: &mut Outgoing<'_>,
    ) -> bool;

    /// Gives back what it has taken over and not sent.
    fn take_deferred(&mut self, connection: &mut Connection<Self>) -> Option<Block>;

    /// A block that it has given back was sent, and serves again.
    fn reuse(&mut self, block: Block);
}

/// A sending half.
#[derive(Debug)]
pub struct SocketTx<P: Port> {
    pub(crate) config: Config,
    pub(crate) port: P,
    pub(crate) now: Instant,
    pub(crate) connections: Slots<Connection<P>>,
    pub(crate) listener: Option<Listener<P::Listener>>,
    /// Connections that may have more to read although the kernel will not say so again: their
    /// budget was used up, or they were paused.
    pub(crate) due: Vec<ConnId>,
    /// Connections that were found dead while sending; the sink hears of it within the turn.
    pub(crate) dead: Vec<(ConnId, Closed)>,
    pub(crate) counters: Counters,
    block: Vec<u8>,
}

/// With no more state than epoll needs 16 bytes, so that an idle connection costs little.
#[derive(Debug)]
pub struct Connection<P: Port> {
    pub(crate) stream: P::Socket,
    pub(crate) flags: u8,
    pub(crate) state: P::State,
    /// What the kernel did not take.
    backlog: Option<Box<Outbuf>>,
}

/// The flags of a connection.
pub(crate) mod flag {
    /// A connect is under way.
    pub(crate) const CONNECTING: u8 = 1;
    /// Inbound pause.
    pub(crate) const PAUSED: u8 = 2;
    /// Closed gracefully: what comes in is discarded.
    pub(crate) const CLOSING: u8 = 4;
    /// The peer's FIN came while a graceful close still had bytes to send.
    pub(crate) const EOF: u8 = 8;
    /// Broken; waits in `dead` to be reported.
    pub(crate) const DEAD: u8 = 16;
    /// The backlog has been above the low mark since the sink last heard that it drained.
    pub(crate) const ABOVE_LOW_MARK: u8 = 32;
    /// The peer's FIN is known to be on its way: a short read does not mean that nothing follows.
    pub(crate) const READ_TO_END: u8 = 64;
    /// In the list of those to be read from without a word of the kernel.
    pub(crate) const DUE: u8 = 128;
}

impl<P: Port> Connection<P> {
    pub(crate) const fn is(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether bytes may be taken from it.
    pub(crate) const fn may_receive(&self) -> bool {
        !self.is(flag::CONNECTING | flag::PAUSED | flag::DEAD | flag::EOF)
    }

    pub(crate) fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// Sends what the kernel takes at once, and says how much that was.
    fn write(&mut self, bytes: &Outgoing<'_>) -> io::Result<usize> {
        loop {
            let sent = match bytes.in_one() {
                // The kernel has a shorter way for one.
                Ok(bytes) => self.stream.send(bytes),
                Err(parts) => self.stream.send_parts(parts),
            };
            match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }
}

impl<P: Port> SocketTx<P> {
    pub(crate) fn new(config: Config, port: P) -> Self {
        Self {
            config,
            port,
            now: Instant::now(),
            connections: Slots::new(),
            listener: None,
            due: Vec::new(),
            dead: Vec::new(),
            counters: Counters::default(),
            block: Vec::new(),
        }
    }

    /// Sends now if nothing waits, or has it sent before the next wait; what the kernel leaves is
    /// kept. Returns the bytes that wait.
    fn send(&mut self, id: ConnId, mut bytes: Outgoing<'_>) -> usize {
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        if connection.is(flag::DEAD | flag::CLOSING) {
            return 0;
        }
        if connection.backlog.is_some() || connection.is(flag::CONNECTING) {
            self.keep(id, &bytes, 0);
            return self.backlog_bytes(id);
        }
        if self.port.defer(id, connection, &mut bytes) {
            return 0;
        }
        if let Some(before) = self.port.take_deferred(connection) {
            self.send_block(id, before);
            return self.send(id, bytes);
        }
        let sent = connection.write(&bytes);
        self.note_sent(id, &bytes, sent)
    }

    /// Keeps what the kernel did not take. Returns the bytes that wait.
    #[inline]
    fn note_sent(&mut self, id: ConnId, bytes: &Outgoing<'_>, sent: io::Result<usize>) -> usize {
        match sent {
            Ok(sent) if sent == bytes.len() => return 0,
            Ok(sent) => self.keep(id, bytes, sent),
            Err(error) => self.break_off(id, error),
        }
        self.backlog_bytes(id)
    }

    /// Sends what was deferred, before something that cannot wait for it.
    pub(crate) fn send_deferred(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(block) = self.port.take_deferred(connection)
        {
            self.send_block(id, block);
        }
    }

    fn send_block(&mut self, id: ConnId, block: Block) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let bytes = Outgoing::Deferred(&block);
        let sent = connection.write(&bytes);
        self.note_sent(id, &bytes, sent);
        self.port.reuse(block);
    }

    /// Keeps what comes after the first `sent` bytes.
    #[inline(never)]
    pub(crate) fn keep(&mut self, id: ConnId, bytes: &Outgoing<'_>, sent: usize) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let first = connection.backlog.is_none() && !connection.is(flag::CONNECTING);
        bytes.queue(connection.backlog.get_or_insert_default(), sent);
        if connection.backlog_bytes() > self.config.backlog_low_bytes {
            connection.flags |= flag::ABOVE_LOW_MARK;
        }
        if first {
            self.port.await_room(id, connection);
        }
    }

    /// The next turn reads from this connection, whether or not the kernel names it.
    pub(crate) fn make_due(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is(flag::DUE)
        {
            connection.flags |= flag::DUE;
            self.due.push(id);
        }
    }

    /// The connection broke while we were sending: the sink will be told.
    #[cold]
    pub(crate) fn break_off(&mut self, id: ConnId, error: io::Error) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is(flag::DEAD)
        {
            connection.flags |= flag::DEAD;
            connection.backlog = None;
            self.dead.push((id, Closed::Error(error)));
        }
    }

    /// There is room in the socket again.
    pub(crate) fn handle_writable<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(backlog) = &mut connection.backlog else { return };
        if let Err(error) = backlog.write_to(|parts| connection.stream.send_parts(parts)) {
            return self.break_off(id, error);
        }
        let waiting = backlog.len();
        if waiting == 0 {
            connection.backlog = None;
            if connection.is(flag::CLOSING) {
                return self.finish(id);
            }
        } else {
            self.port.await_room(id, connection);
        }
        if waiting <= self.config.backlog_low_bytes && connection.is(flag::ABOVE_LOW_MARK) {
            connection.flags &= !flag::ABOVE_LOW_MARK;
            if !connection.is(flag::CLOSING) {
                sink.drained(self, id);
            }
        }
    }

    /// A graceful close has sent all it had: FIN, and the peer's FIN is all that is waited for.
    pub(crate) fn finish(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let ended = connection.is(flag::EOF);
        match connection.stream.finish() {
            _ if ended => {
                connection.flags |= flag::DEAD;
                self.dead.push((id, Closed::Eof));
            }
            Ok(()) => {}
            Err(error) => self.break_off(id, error),
        }
    }

    /// The peer has sent its FIN.
    pub(crate) fn handle_eof<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.is(flag::CLOSING) && connection.backlog.is_some() {
            // It may still read: what we promised to send goes first.
            connection.flags |= flag::EOF;
            return;
        }
        self.handle_end(id, Closed::Eof, sink);
    }

    /// The connection is over, and the sink is told now.
    pub(crate) fn handle_end<S: Sink<Self>>(&mut self, id: ConnId, why: Closed, sink: &mut S) {
        let Some(connection) = self.connections.get(id) else { return };
        if !connection.is(flag::DEAD) {
            self.remove(id);
            sink.closed(self, id, why);
        }
    }

    /// Forgets a connection and closes its socket. Returns whether it was there.
    fn remove(&mut self, id: ConnId) -> bool {
        self.send_deferred(id);
        let Some(mut connection) = self.connections.remove(id) else { return false };
        self.port.unwatch(id, &mut connection);
        true
    }

    /// Reports the connections that broke while something was sent to them.
    pub(crate) fn bury<S: Sink<Self>>(&mut self, sink: &mut S) {
        // What the sink does about one may break others: they come in the next turn, which does
        // not wait.
        let mut dead = mem::take(&mut self.dead);
        for (id, why) in dead.drain(..) {
            if self.remove(id) {
                sink.closed(self, id, why);
            }
        }
        if self.dead.is_empty() {
            self.dead = dead;
        }
    }

    /// When a turn would find work although the kernel is silent.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.due.is_empty() || !self.dead.is_empty() {
            return Some(self.now);
        }
        self.listener.as_ref().and_then(|listener| listener.due_at(self.now))
    }

    /// How long the kernel may let us sleep.
    pub(crate) fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        let until = match (until, self.next_deadline()) {
            (Some(until), Some(deadline)) => until.min(deadline),
            (until, deadline) => until.or(deadline)?,
        };
        Some(until.saturating_duration_since(Instant::now()))
    }
}

impl<P: Port> Tx for SocketTx<P> {
    #[inline]
    fn now(&self) -> Instant {
        self.now
    }

    #[inline]
    fn expect(&self, id: ConnId) {
        self.connections.expect(id);
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnId> {
        let stream = self.port.connect(to)?;
        self.register(stream, flag::CONNECTING)
    }

    fn adopt(&mut self, socket: OwnedFd, adopted: Adopted) -> io::Result<ConnId> {
        let stream = self.port.adopt(socket)?;
        let connecting = adopted == Adopted::Connecting;
        self.register(stream, if connecting { flag::CONNECTING } else { 0 })
    }

    #[inline]
    fn out(&mut self, _id: ConnId) -> Vec<u8> {
        mem::take(&mut self.block)
    }

    fn flush(&mut self, id: ConnId, mut block: Vec<u8>) -> usize {
        let waiting = if block.is_empty() {
            self.backlog_bytes(id)
        } else {
            self.send(id, Outgoing::Block(&mut block))
        };
        block.clear();
        if block.capacity() <= BLOCK_BYTES_KEPT {
            self.block = block;
        }
        waiting
    }

    fn write(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize {
        if let [part] = parts {
            return self.send(id, Outgoing::Borrowed(part));
        }
        if parts.len() <= PARTS_MAX {
            return self.send(id, Outgoing::Parts(parts));
        }
        // What the kernel left for their number alone it would not ask for later.
        let each = parts.chunks(PARTS_MAX).map(|parts| self.write(id, parts));
        each.last().unwrap_or(0)
    }

    fn send_shared(&mut self, id: ConnId, bytes: &Bytes) -> usize {
        self.send(id, Outgoing::Shared(bytes))
    }

    fn backlog_bytes(&self, id: ConnId) -> usize {
        self.connections.get(id).map_or(0, Connection::backlog_bytes)
    }

    fn peer_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.connections.get(id)?.stream.peer_addr().ok()
    }

    fn set_recv(&mut self, id: ConnId, on: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if on && connection.is(flag::PAUSED) {
            connection.flags &= !flag::PAUSED;
            // What came meanwhile was announced meanwhile.
            connection.flags |= flag::READ_TO_END;
            self.make_due(id);
        } else if !on && !connection.is(flag::CLOSING | flag::PAUSED) {
            connection.flags |= flag::PAUSED;
            self.port.pause(id, connection);
        }
    }

    fn close(&mut self, id: ConnId, how: Close) {
        self.send_deferred(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        if how == Close::Abort {
            self.remove(id);
        } else if !connection.is(flag::CLOSING | flag::DEAD) {
            connection.flags |= flag::CLOSING;
            let idle = connection.backlog.is_none() && !connection.is(flag::CONNECTING);
            self.set_recv(id, true);
            if idle {
                self.finish(id);
            }
        }
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.port.unlisten(&listener.socket);
        }
    }
}
