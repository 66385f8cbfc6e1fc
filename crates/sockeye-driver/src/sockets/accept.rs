//! Connections in: accepted from the listener, or connected by us.

use std::io::{self, ErrorKind};
use std::time::Instant;

use super::{Accept as _, Connection, Port, Socket as _, SocketTx, TcpListener, flag};
use crate::slots::ConnId;
use crate::{Closed, Sink};

/// A listener, and when to ask it.
#[derive(Debug)]
pub(crate) struct Listener<L> {
    pub(crate) socket: L,
    /// It may have more: the kernel says so only once.
    ready: bool,
    /// Not before this: there was no file descriptor for the last connection.
    backoff_until: Option<Instant>,
}

impl Listener<TcpListener> {
    /// The system's.
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::of(TcpListener::from_std(listener)))
    }
}

impl<L> Listener<L> {
    /// A listener that may have connections already.
    pub(crate) const fn of(socket: L) -> Self {
        Self { socket, ready: true, backoff_until: None }
    }

    /// It is not to be asked yet.
    pub(crate) fn is_left_alone(&self, now: Instant) -> bool {
        self.backoff_until.is_some_and(|until| now < until)
    }

    /// When to look at it although the kernel is silent; `now` is the last turn's time.
    pub(crate) fn due_at(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.backoff_until.unwrap_or(now))
    }
}

impl<P: Port> SocketTx<P> {
    pub(crate) fn handle_listener_ready(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.ready = true;
        }
    }

    /// Accepts what there is, up to the turn's budget.
    pub(crate) fn accept<S: Sink<Self>>(&mut self, sink: &mut S) {
        for _ in 0..self.config.accept_budget {
            // Asked anew each time: the sink may have stopped the listener.
            let Some(listener) = &mut self.listener else { return };
            if !listener.ready || listener.is_left_alone(self.now) {
                return;
            }
            if self.connections.len() >= self.config.connections_max {
                listener.backoff_until = Some(self.now + self.config.accept_backoff);
                return;
            }
            match listener.socket.accept() {
                Ok(stream) => {
                    if listener.backoff_until.take().is_some() {
                        tracing::info!("accepting connections again");
                    }
                    match self.register(stream, 0) {
                        Ok(id) => sink.accepted(self, id),
                        Err(error) => tracing::warn!(%error, "a connection cannot be watched"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listener.ready = false;
                    listener.backoff_until = None;
                    return;
                }
                // accept(2): errors of the connection that was next; it is gone, others are not.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted
                            | ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionReset
                            | ErrorKind::PermissionDenied
                    ) => {}
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the kernel's queue.
                Err(error) => {
                    if listener.backoff_until.is_none() {
                        tracing::warn!(%error, "cannot accept for now: raise `ulimit -n`?");
                    }
                    self.counters.accept_backoffs += 1;
                    listener.backoff_until = Some(self.now + self.config.accept_backoff);
                    return;
                }
            }
        }
    }

    /// Takes a socket in: from now on it is watched.
    pub(crate) fn register(&mut self, stream: P::Socket, flags: u8) -> io::Result<ConnId> {
        let connection = Connection { stream, flags, state: P::State::default(), backlog: None };
        let id = self.connections.insert(connection);
        if let Some(connection) = self.connections.get_mut(id)
            && let Err(error) = self.port.watch(id, connection)
        {
            self.connections.remove(id);
            return Err(error);
        }
        Ok(id)
    }

    /// The first news of a connect. Returns whether the connection is there.
    pub(crate) fn handle_connecting<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let stream = &connection.stream;
        let connected = match stream.take_error() {
            Ok(None) => stream.peer_addr().map(|_| ()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match connected.and_then(|()| stream.set_nodelay()) {
            Ok(()) => {
                connection.flags &= !flag::CONNECTING;
                self.port.connected(id, connection);
                if !connection.is(flag::CLOSING) {
                    sink.connected(self, id);
                } else if connection.backlog.is_none() {
                    self.finish(id);
                }
                true
            }
            // Not yet: some other news came first.
            Err(error) if error.kind() == ErrorKind::NotConnected => false,
            Err(error) => {
                self.handle_end(id, Closed::Error(error), sink);
                false
            }
        }
    }
}
