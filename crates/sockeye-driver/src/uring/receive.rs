//! What comes in. Most connections have a multishot receive under way: the kernel puts what arrives
//! into a buffer of the ring, and tells of it in the call that sends and waits. A connection to
//! which much comes at a time is **large** for a while: it is polled, and read from as epoll reads,
//! into one buffer that stays in cache or right into the message. Never both at once: the bytes
//! would lose their order.

use std::collections::VecDeque;
use std::io;
use std::mem;

use io_uring::cqueue;

use super::completion::Completion;
use super::ring::Armed;
use super::{Uring, UringTx};
use crate::slots::ConnId;
use crate::sockets::flag;
use crate::{Closed, Sink};

/// A connection stops being large after so many receives in a row that were not.
const SMALL_RECEIVES_MAX: u8 = 32;

/// An arrival of so many bytes makes a connection large: from here on one buffer that stays in
/// cache is worth one more system call (`docs/decisions/0012-io-uring-experiments.md`, 12).
const LARGE_BYTES_MIN: usize = 8 << 10;

/// What the kernel says of a connection's inbound half.
#[derive(Debug)]
pub(super) enum Arrival {
    Bytes {
        buffer: u16,
        from: usize,
        to: usize,
    },
    /// Out of its buffer: too many were held back.
    Copied(Vec<u8>),
    Eof,
    Error(io::Error),
}

impl Uring {
    pub(super) fn handle_received<S: Sink<UringTx>>(
        &mut self,
        completion: Completion,
        sink: &mut S,
    ) {
        let id = completion.id();
        let buffer = cqueue::buffer_select(completion.flags);
        if buffer.is_some() {
            self.buffers.taken();
        }
        let large_bytes_min = self.large_bytes_min();
        let Some(connection) = self.tx.connections.get_mut(id) else {
            // It was closed meanwhile.
            buffer.into_iter().for_each(|buffer| self.buffers.put_back(buffer));
            return;
        };
        if !cqueue::more(completion.flags) {
            connection.state.armed = Armed::No;
        }
        let ended = connection.state.armed == Armed::No;
        let arrival = match (completion.outcome(), buffer) {
            (Ok(0), buffer) => {
                buffer.into_iter().for_each(|buffer| self.buffers.put_back(buffer));
                Arrival::Eof
            }
            (Ok(to), Some(buffer)) => {
                if to >= large_bytes_min {
                    self.tx.port.make_large(id, connection, SMALL_RECEIVES_MAX);
                }
                if ended {
                    self.tx.port.unarmed.push(id);
                }
                Arrival::Bytes { buffer, from: 0, to }
            }
            (Ok(_), None) => return,
            (Err(error), _) => match error.raw_os_error() {
                // No buffer was left, it was cancelled, or something else that is no end: it goes
                // on where it stopped.
                Some(code @ (libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN)) => {
                    if code == libc::ENOBUFS {
                        self.buffers.ran_out();
                        self.tx.counters.receives_without_buffer += 1;
                    }
                    return self.tx.port.unarmed.push(id);
                }
                _ => Arrival::Error(error),
            },
        };
        if connection.state.holding {
            let arrival = self.spare_buffers(arrival);
            self.held.entry(id).or_default().push_back(arrival);
        } else {
            self.deliver(id, arrival, sink);
        }
    }

    /// A large connection has something to read.
    pub(super) fn handle_readable<S: Sink<UringTx>>(
        &mut self,
        completion: Completion,
        sink: &mut S,
    ) {
        let id = completion.id();
        let Some(connection) = self.tx.connections.get_mut(id) else { return };
        if !cqueue::more(completion.flags) {
            connection.state.armed = Armed::No;
            self.tx.port.unarmed.push(id);
        }
        let Ok(events) = completion.outcome() else { return };
        if events as i32 & i32::from(libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0 {
            connection.flags |= flag::READ_TO_END;
        }
        self.receive_large(id, sink);
    }

    /// Once in a turn: else the budget would count for each time.
    fn receive_large<S: Sink<UringTx>>(&mut self, id: ConnId, sink: &mut S) {
        let Some(connection) = self.tx.connections.get_mut(id) else { return };
        if connection.state.armed == Armed::Ring || connection.is(flag::DUE) {
            return;
        }
        if self.received.contains_key(&id) {
            return self.tx.make_due(id);
        }
        let received = self.tx.receive(id, &mut self.receive_buffer, sink);
        self.received.insert(id, received);
        let is_small = received < self.large_bytes_min();
        if let Some(connection) = self.tx.connections.get_mut(id) {
            let left = connection.state.large.saturating_sub(1);
            connection.state.large = if is_small { left } else { SMALL_RECEIVES_MAX };
            if connection.state.large == 0 {
                self.tx.port.disarm(id, connection);
            }
        }
    }

    fn large_bytes_min(&self) -> usize {
        LARGE_BYTES_MIN.min(self.buffers.buffer_bytes())
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
        let discards = connection.is(flag::CLOSING);
        let (is_whole, rest) = match arrival {
            Arrival::Eof => return self.tx.handle_eof(id, sink),
            Arrival::Error(error) => {
                return self.tx.handle_end(id, Closed::Error(error), sink);
            }
            Arrival::Bytes { buffer, from, to } => {
                let end = from + self.budget_left(id, to - from);
                if from < end && !discards {
                    sink.received(&mut self.tx, id, self.buffers.received(buffer, from, end));
                }
                (end == to, Arrival::Bytes { buffer, from: end, to })
            }
            Arrival::Copied(mut bytes) => {
                let rest = bytes.split_off(self.budget_left(id, bytes.len()));
                if !bytes.is_empty() && !discards {
                    sink.received(&mut self.tx, id, &mut bytes);
                }
                (rest.is_empty(), Arrival::Copied(rest))
            }
        };
        if is_whole || self.tx.connections.get(id).is_none() {
            self.drop_arrival(&rest);
        } else {
            self.hold(id, rest);
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
        let Some(connection) = self.tx.connections.get_mut(id) else {
            return self.drop_arrival(&arrival);
        };
        connection.state.holding = true;
        let arrival = self.spare_buffers(arrival);
        self.held.entry(id).or_default().push_front(arrival);
    }

    /// What is held back must not leave the others without buffers.
    fn spare_buffers(&mut self, arrival: Arrival) -> Arrival {
        match arrival {
            Arrival::Bytes { buffer, from, to } if self.buffers.are_scarce() => {
                let copy = self.buffers.received(buffer, from, to).to_vec();
                self.buffers.put_back(buffer);
                Arrival::Copied(copy)
            }
            arrival => arrival,
        }
    }

    fn drop_arrival(&mut self, arrival: &Arrival) {
        if let Arrival::Bytes { buffer, .. } = arrival {
            self.buffers.put_back(*buffer);
        }
    }

    /// Goes on with a connection whose budget was used up, or that was paused.
    pub(super) fn handle_due<S: Sink<UringTx>>(&mut self, id: ConnId, sink: &mut S) {
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
        if let Some(connection) = self.tx.connections.get(id)
            && connection.state.armed == Armed::Poll
            && !connection.state.holding
        {
            return self.receive_large(id, sink);
        }
        self.tx.port.unarmed.push(id);
    }

    /// Receives or polls again for those for whom that has ended and who may.
    pub(super) fn arm(&mut self) -> io::Result<()> {
        self.buffers.publish();
        let mut unarmed = mem::take(&mut self.tx.port.unarmed);
        for id in unarmed.drain(..) {
            let Some(connection) = self.tx.connections.get_mut(id) else { continue };
            let stays = connection.state.armed != Armed::No || connection.state.holding;
            if !stays && connection.may_receive() {
                self.tx.port.receive(id, connection)?;
            }
        }
        self.tx.port.unarmed = unarmed;
        Ok(())
    }

    /// Lets go of what was held back for dead connections.
    pub(super) fn forget(&mut self) {
        for id in mem::take(&mut self.tx.port.forgotten) {
            let held: VecDeque<_> = self.held.remove(&id).unwrap_or_default();
            held.iter().for_each(|arrival| self.drop_arrival(arrival));
        }
    }
}
