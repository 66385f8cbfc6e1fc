//! The backend without a kernel, for tests: connections in memory, under a virtual clock and a
//! seed. It keeps every promise of the seam, in the most awkward ways that the promises leave. What
//! becomes of a connection is decided by the code that decides it for the other backends
//! (`sockets.rs`); the simulator is one more `Port` of it.
//!
//! A [`SimNet`] is the network and the clock, and its [`Faults`] say what goes wrong in it; any
//! number of [`SimDriver`]s share it on one thread. A turn never sleeps: where there is nothing to
//! do the clock moves on to when there is, or to `until`. With several drivers it is for the test
//! to say who turns next: turn them with a time that has passed, and move the clock by
//! [`SimNet::advance_to`] to the earliest [`next_deadline`](Driver::next_deadline) of them all.
//!
//! Nothing is left to chance but by the seed: no threads, no real time (one [`Instant`] when the
//! network is made is all), no order of a hash table.

mod net;
mod pipe;
mod port;
mod random;
mod socket;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use net::{Faults, SimNet};
pub use port::SimTx;
pub use random::Random;
pub use socket::{SimListener, SimSocket};

use crate::slots::ConnId;
use crate::sockets::{Listener, flag};
use crate::{Config, Driver, Sink, Waker};

/// A driver of one [`SimNet`]. Dropping it closes all it has, as the end of a process does.
#[derive(Debug)]
pub struct SimDriver {
    receive_buffer: Box<[u8]>,
    woken: Arc<AtomicBool>,
    tx: SimTx,
}

/// What a turn finds to do. One connection may be there twice.
#[derive(Debug, Clone, Copy)]
enum Work {
    Accept,
    Connect(ConnId),
    Receive(ConnId),
    Send(ConnId),
}

impl SimDriver {
    /// A driver without a listener.
    pub fn new(net: &SimNet, config: Config) -> Self {
        Self {
            receive_buffer: vec![0; config.receive_buffer_bytes.max(1)].into_boxed_slice(),
            woken: Arc::default(),
            tx: SimTx::on(net.clone(), config),
        }
    }

    /// This end's address of a connection.
    pub fn local_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.tx.local_addr(id)
    }

    /// How many connections there are, and how many bytes wait for all of them.
    pub fn load(&self) -> (usize, usize) {
        self.tx.load()
    }

    /// Moves the clock on to when there is something to do.
    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let now = self.tx.port.net.now();
        let target = match (until, self.next_deadline()) {
            (Some(until), Some(next)) => until.min(next),
            (until, next) => until.or(next).ok_or_else(|| {
                io::Error::new(ErrorKind::Deadlock, "nothing will ever happen to this driver")
            })?,
        };
        if target > now {
            self.tx.port.net.advance_to(target);
        }
        Ok(())
    }

    fn receive<S: Sink<SimTx>>(&mut self, id: ConnId, sink: &mut S) {
        self.tx.receive(id, &mut self.receive_buffer, sink);
        if self.tx.connections.get(id).is_some_and(|connection| connection.is(flag::DUE)) {
            self.tx.suspend(id);
        }
    }

    fn handle<S: Sink<SimTx>>(&mut self, work: Work, sink: &mut S) {
        match work {
            Work::Accept => {
                self.tx.announce();
                self.tx.accept(sink);
            }
            Work::Connect(id) => {
                if self.tx.handle_connecting(id, sink) {
                    self.tx.handle_writable(id, sink);
                }
            }
            Work::Receive(id) => self.receive(id, sink),
            Work::Send(id) => {
                self.tx.has_room(id);
                self.tx.handle_writable(id, sink);
            }
        }
    }
}

impl Driver for SimDriver {
    type Tx = SimTx;
    type Listener = SimListener;

    fn turn<S: Sink<SimTx>>(&mut self, until: Option<Instant>, sink: &mut S) -> io::Result<()> {
        self.wait(until)?;
        self.woken.store(false, Ordering::Relaxed);
        self.tx.now = self.tx.port.net.now();
        self.tx.send_all_deferred();
        for id in mem::take(&mut self.tx.due) {
            self.tx.resume(id);
        }
        for work in self.tx.work() {
            self.handle(work, sink);
        }
        self.tx.bury(sink);
        Ok(())
    }

    fn tx(&mut self) -> &mut SimTx {
        &mut self.tx
    }

    fn listen(&mut self, listener: SimListener) -> io::Result<()> {
        self.tx.listener = Some(Listener::of(listener));
        Ok(())
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || {
            woken.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Not before this time is there anything to do, unless another driver turns meanwhile.
    fn next_deadline(&self) -> Option<Instant> {
        if self.woken.load(Ordering::Relaxed) {
            return Some(self.tx.port.net.now());
        }
        self.tx.next_event()
    }
}
