//! Bytes out, and the end of connections.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use mio::net::TcpStream;

use super::{Connection, EpollTx, flag};
use crate::outbuf::Outbuf;
use crate::slots::ConnId;
use crate::{Close, Closed, Sink, Tx};

/// A block that grew beyond this is not kept for the next connection.
const BLOCK_BYTES_KEPT: usize = 512 << 10;
/// The kernel takes no more parts in one call (`IOV_MAX`).
const PARTS_MAX: usize = 1024;

impl Connection {
    /// Sends now if nothing waits, and says how much the kernel took; what it did not is for the
    /// caller to put into the [`backlog`](Self::backlog). `None`: nothing may be sent any more.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        if self.is(flag::DEAD | flag::CLOSING) {
            return Ok(None);
        }
        if self.backlog.is_some() || self.is(flag::CONNECTING) {
            return Ok(Some(0));
        }
        loop {
            let sent = match parts {
                [only] => self.stream.write(only),
                parts => self.stream.write_vectored(parts),
            };
            match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(0)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return sent.map(Some),
            }
        }
    }

    fn backlog(&mut self) -> &mut Outbuf {
        self.backlog.get_or_insert_default()
    }
}

impl EpollTx {
    /// Sends bytes through `queue`, which gets what the kernel leaves.
    fn send(
        &mut self,
        id: ConnId,
        parts: &[IoSlice<'_>],
        queue: impl FnOnce(&mut Outbuf, usize),
    ) -> usize {
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        match connection.send(parts) {
            Ok(Some(sent)) => {
                if sent < parts.iter().map(|part| part.len()).sum() {
                    queue(connection.backlog(), sent);
                    if connection.backlog_bytes() > self.config.backlog_low_bytes {
                        connection.flags |= flag::ABOVE_LOW_MARK;
                    }
                }
                connection.backlog_bytes()
            }
            Ok(None) => 0,
            Err(error) => {
                self.break_off(id, error);
                0
            }
        }
    }

    /// The next turn reads from this connection, whether or not epoll names it.
    pub(super) fn make_due(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is(flag::DUE)
        {
            connection.flags |= flag::DUE;
            self.due.push(id);
        }
    }

    /// The connection broke while we were sending: the sink will be told.
    fn break_off(&mut self, id: ConnId, error: io::Error) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.flags |= flag::DEAD;
            connection.backlog = None;
            self.dead.push((id, Closed::Error(error)));
        }
    }

    /// There is room in the socket again.
    pub(super) fn handle_writable<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(backlog) = &mut connection.backlog else { return };
        if let Err(error) = backlog.write_to(&mut connection.stream) {
            return self.break_off(id, error);
        }
        let waiting = backlog.len();
        if waiting == 0 {
            connection.backlog = None;
            if connection.is(flag::CLOSING) {
                return self.finish(id);
            }
        }
        if waiting <= self.config.backlog_low_bytes && connection.is(flag::ABOVE_LOW_MARK) {
            connection.flags &= !flag::ABOVE_LOW_MARK;
            if !connection.is(flag::CLOSING) {
                sink.drained(self, id);
            }
        }
    }

    /// A graceful close has sent all it had: FIN, and the peer's FIN is all that is waited for.
    pub(super) fn finish(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let ended = connection.is(flag::EOF);
        match connection.stream.shutdown(Shutdown::Write) {
            _ if ended => {
                connection.flags |= flag::DEAD;
                self.dead.push((id, Closed::Eof));
            }
            Ok(()) => {}
            Err(error) => self.break_off(id, error),
        }
    }

    /// The peer has sent its FIN.
    pub(super) fn handle_eof<S: Sink<Self>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.is(flag::CLOSING) && connection.backlog.is_some() {
            // It may still read: what we promised to send goes first.
            connection.flags |= flag::EOF;
            return;
        }
        self.handle_end(id, Closed::Eof, sink);
    }

    /// The connection is over, and the sink is told now.
    pub(super) fn handle_end<S: Sink<Self>>(&mut self, id: ConnId, why: Closed, sink: &mut S) {
        let Some(connection) = self.connections.get(id) else { return };
        if !connection.is(flag::DEAD) {
            self.connections.remove(id);
            sink.closed(self, id, why);
        }
    }

    /// Reports the connections that broke while something was sent to them.
    pub(super) fn bury<S: Sink<Self>>(&mut self, sink: &mut S) {
        // What the sink does about one may break others: they come in the next turn, which does
        // not wait.
        let mut dead = mem::take(&mut self.dead);
        for (id, why) in dead.drain(..) {
            if self.connections.remove(id).is_some() {
                sink.closed(self, id, why);
            }
        }
        if self.dead.is_empty() {
            self.dead = dead;
        }
    }
}

impl Tx for EpollTx {
    #[inline]
    fn now(&self) -> Instant {
        self.now
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnId> {
        self.register(TcpStream::connect(to)?, flag::CONNECTING)
    }

    #[inline]
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
        if block.capacity() <= BLOCK_BYTES_KEPT {
            self.block = block;
        }
        waiting
    }

    fn write(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize {
        if parts.len() <= PARTS_MAX {
            return self.send(id, parts, |backlog, sent| backlog.push_parts(parts, sent));
        }
        // What the kernel left for their number alone it would not ask for later.
        let each = parts.chunks(PARTS_MAX).map(|parts| self.write(id, parts));
        each.last().unwrap_or(0)
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
        self.connections.get(id)?.stream.peer_addr().ok()
    }

    fn set_recv(&mut self, id: ConnId, on: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if on && connection.is(flag::PAUSED) {
            connection.flags &= !flag::PAUSED;
            // What came meanwhile was announced meanwhile.
            connection.flags |= flag::READ_TO_END;
            self.make_due(id);
        } else if !on && !connection.is(flag::CLOSING) {
            connection.flags |= flag::PAUSED;
        }
    }

    fn close(&mut self, id: ConnId, how: Close) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if how == Close::Abort {
            self.connections.remove(id);
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
        self.listener = None;
    }
}
