//! The sending half, and the connections.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::Work;
use super::net::{SimListener, SimNet, SocketId};
use crate::outbuf::Outbuf;
use crate::slots::{ConnId, Slots};
use crate::{Close, Closed, Config, Sink, Tx};

/// The sending half of a [`SimDriver`](super::SimDriver).
#[derive(Debug)]
pub struct SimTx {
    pub(super) net: SimNet,
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) connections: Slots<Connection>,
    /// All of them, in the order in which they began; dead ones until the next turn.
    ids: Vec<ConnId>,
    block: Vec<u8>,
    listener: Option<SimListener>,
    backoff_until: Option<Instant>,
    /// Connections that were found dead while sending; the sink hears of it within the turn.
    dead: Vec<(ConnId, Closed)>,
}

/// A connection. Its flags are those of the epoll backend.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: SocketId,
    connecting: bool,
    paused: bool,
    /// Closed gracefully: what comes in is discarded.
    pub(super) closing: bool,
    /// The peer's FIN came while a graceful close still had bytes to send.
    eof: bool,
    /// Broken; waits in `dead` to be reported.
    dead: bool,
    above_low_mark: bool,
    backlog: Option<Outbuf>,
}

impl Connection {
    pub(super) const fn is_receiving(&self) -> bool {
        !(self.connecting || self.paused || self.eof || self.dead)
    }

    fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, Outbuf::len)
    }
}

/// A socket as `Outbuf` wants it.
struct Socket<'a> {
    net: &'a SimNet,
    id: SocketId,
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.net.net().write(self.id, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.net.net().write(self.id, parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SimTx {
    pub(super) fn new(net: SimNet, config: Config) -> Self {
        Self {
            now: net.now(),
            net,
            config,
            connections: Slots::new(),
            ids: Vec::new(),
            block: Vec::new(),
            listener: None,
            backoff_until: None,
            dead: Vec::new(),
        }
    }

    pub(super) fn local_addr(&self, id: ConnId) -> Option<SocketAddr> {
        Some(self.net.net().local_addr(self.connections.get(id)?.socket))
    }

    pub(super) fn load(&self) -> (usize, usize) {
        let live = self.ids.iter().filter_map(|id| self.connections.get(*id));
        (self.connections.len(), live.map(Connection::backlog_bytes).sum())
    }

    fn insert(&mut self, socket: SocketId, connecting: bool) -> ConnId {
        let id = self.connections.insert(Connection {
            socket,
            connecting,
            paused: false,
            closing: false,
            eof: false,
            dead: false,
            above_low_mark: false,
            backlog: None,
        });
        self.ids.push(id);
        id
    }

    fn remove(&mut self, id: ConnId) -> bool {
        let removed = self.connections.remove(id);
        if let Some(connection) = &removed {
            self.net.net().close(connection.socket);
        }
        removed.is_some()
    }

    /// When a turn finds something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let net = self.net.net();
        if !self.dead.is_empty() {
            return Some(net.now);
        }
        let live = self.ids.iter().filter_map(|id| self.connections.get(*id));
        let connections = live.filter_map(|connection| {
            let socket = connection.socket;
            if connection.connecting {
                return net.connected_at(socket);
            }
            let receive = net.readable_at(socket).filter(|_| connection.is_receiving());
            let send = connection.backlog.as_ref().and_then(|_| {
                if net.is_writable(socket) { Some(net.now) } else { net.reset_at(socket) }
            });
            receive.into_iter().chain(send).min()
        });
        let accept = self.listener.as_ref().and_then(|listener| {
            let from = net.acceptable_at(listener.number)?;
            Some(self.backoff_until.map_or(from, |until| until.max(from)))
        });
        connections.chain(accept).min()
    }

    /// All there is to do now, in any order. Some of it is put off: completions come late.
    pub(super) fn work(&mut self) -> Vec<Work> {
        let Self { connections, ids, now, .. } = self;
        ids.retain(|id| connections.get(*id).is_some());
        let mut net = self.net.net();
        let mut work = vec![Work::Accept];
        for id in ids {
            let Some(connection) = connections.get(*id) else { continue };
            let socket = connection.socket;
            if connection.connecting {
                if net.connected_at(socket).is_some_and(|at| at <= *now) {
                    work.push(Work::Connect(*id));
                }
                continue;
            }
            if connection.is_receiving() && net.readable_at(socket).is_some_and(|at| at <= *now) {
                work.push(Work::Receive(*id));
            }
            if connection.backlog.is_some() && net.is_writable(socket) {
                work.push(Work::Send(*id));
            }
        }
        net.random.shuffle(&mut work);
        let late = net.faults.late_events;
        // Never all of it, or a turn would do nothing at all.
        let first = work[0];
        let mut work: Vec<_> = work.into_iter().filter(|_| !net.random.chance(late)).collect();
        if work.is_empty() {
            work.push(first);
        }
        work
    }

    pub(super) fn listen(&mut self, listener: SimListener) {
        self.listener = Some(listener);
        self.backoff_until = None;
    }

    pub(super) fn accept<S: Sink<Self>>(&mut self, sink: &mut S) {
        for _ in 0..self.config.accept_budget {
            // Asked anew each time: the sink may have stopped the listener.
            let Some(listener) = &self.listener else { return };
            if self.backoff_until.is_some_and(|until| self.now < until) {
                return;
            }
            self.backoff_until = None;
            if self.connections.len() >= self.config.connections_max {
                self.backoff_until = Some(self.now + self.config.accept_backoff);
                return;
            }
            let accepted = self.net.net().accept(listener.number);
            match accepted {
                Ok((socket, peer)) => {
                    let id = self.insert(socket, false);
                    sink.accepted(self, id, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.backoff_until = Some(self.now + self.config.accept_backoff),
            }
        }
    }

    pub(super) fn handle_connected<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let connected = self.net.net().connected(connection.socket);
        match connected {
            None => {}
            Some(Ok(())) => {
                connection.connecting = false;
                if !connection.closing {
                    sink.connected(self, id);
                } else if connection.backlog.is_none() {
                    self.finish(id);
                }
            }
            Some(Err(error)) => self.handle_end(id, Closed::Error(error), sink),
        }
    }

    fn send(
        &mut self,
        id: ConnId,
        parts: &[IoSlice<'_>],
        queue: impl FnOnce(&mut Outbuf, usize),
    ) -> usize {
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        if connection.dead || connection.closing {
            return 0;
        }
        let sent = if connection.backlog.is_some() || connection.connecting {
            Ok(0)
        } else {
            self.net.net().write(connection.socket, parts)
        };
        match sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                self.break_off(id, error);
                return 0;
            }
            sent => {
                let sent = sent.unwrap_or(0);
                if sent < parts.iter().map(|part| part.len()).sum() {
                    queue(connection.backlog.get_or_insert_default(), sent);
                    connection.above_low_mark |=
                        connection.backlog_bytes() > self.config.backlog_low_bytes;
                }
            }
        }
        connection.backlog_bytes()
    }

    fn break_off(&mut self, id: ConnId, error: io::Error) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.dead = true;
            connection.backlog = None;
            self.dead.push((id, Closed::Error(error)));
        }
    }

    pub(super) fn handle_writable<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(backlog) = &mut connection.backlog else { return };
        let mut socket = Socket { net: &self.net, id: connection.socket };
        if let Err(error) = backlog.write_to(&mut socket) {
            return self.break_off(id, error);
        }
        let waiting = backlog.len();
        if waiting == 0 {
            connection.backlog = None;
            if connection.closing {
                return self.finish(id);
            }
        }
        if waiting <= self.config.backlog_low_bytes && connection.above_low_mark {
            connection.above_low_mark = false;
            if !connection.closing {
                sink.drained(self, id);
            }
        }
    }

    /// A graceful close has sent all it had.
    fn finish(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let ended = connection.eof;
        let result = self.net.net().shutdown(connection.socket);
        match result {
            _ if ended => {
                connection.dead = true;
                self.dead.push((id, Closed::Eof));
            }
            Ok(()) => {}
            Err(error) => self.break_off(id, error),
        }
    }

    pub(super) fn handle_eof<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.closing && connection.backlog.is_some() {
            // It may still read: what we promised to send goes first.
            connection.eof = true;
            return;
        }
        self.handle_end(id, Closed::Eof, sink);
    }

    pub(super) fn handle_end<S: Sink<Self>>(&mut self, id: ConnId, why: Closed, sink: &mut S) {
        if self.connections.get(id).is_some_and(|connection| !connection.dead) {
            self.remove(id);
            sink.closed(self, id, why);
        }
    }

    pub(super) fn bury<S: Sink<Self>>(&mut self, sink: &mut S) {
        for (id, why) in mem::take(&mut self.dead) {
            if self.remove(id) {
                sink.closed(self, id, why);
            }
        }
    }
}

impl Drop for SimTx {
    fn drop(&mut self) {
        for id in mem::take(&mut self.ids) {
            self.remove(id);
        }
    }
}

impl Tx for SimTx {
    fn now(&self) -> Instant {
        self.now
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnId> {
        let socket = self.net.net().connect(to);
        Ok(self.insert(socket, true))
    }

    fn out(&mut self, _id: ConnId) -> Vec<u8> {
        mem::take(&mut self.block)
    }

    fn flush(&mut self, id: ConnId, mut block: Vec<u8>) -> usize {
        let waiting = if block.is_empty() {
            self.backlog_bytes(id)
        } else {
            self.send(id, &[IoSlice::new(&block)], |backlog, sent| backlog.push(&block[sent..]))
        };
        block.clear();
        self.block = block;
        waiting
    }

    fn write(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize {
        self.send(id, parts, |backlog, sent| backlog.push_parts(parts, sent))
    }

    fn send_shared(&mut self, id: ConnId, bytes: &Bytes) -> usize {
        self.send(id, &[IoSlice::new(bytes)], |backlog, sent| {
            backlog.push_shared(bytes.clone(), sent);
        })
    }

    fn backlog_bytes(&self, id: ConnId) -> usize {
        self.connections.get(id).map_or(0, Connection::backlog_bytes)
    }

    fn peer_addr(&self, id: ConnId) -> Option<SocketAddr> {
        let socket = self.connections.get(id)?.socket;
        self.net.net().peer_addr(socket)
    }

    fn set_recv(&mut self, id: ConnId, on: bool) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.paused = !on && !connection.closing;
        }
    }

    fn close(&mut self, id: ConnId, how: Close) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if how == Close::Abort {
            self.remove(id);
        } else if !connection.closing && !connection.dead {
            connection.closing = true;
            connection.paused = false;
            if connection.backlog.is_none() && !connection.connecting {
                self.finish(id);
            }
        }
    }

    fn stop_listening(&mut self) {
        self.listener = None;
    }
}
