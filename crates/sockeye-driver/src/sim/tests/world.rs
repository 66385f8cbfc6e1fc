//! The simulator's network, as the behaviour suite wants it. Peers have sockets without a driver.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::socket::SimSocket;
use super::super::{Faults, SimDriver, SimListener, SimNet};
use crate::Config;
use crate::sockets::{Accept as _, Socket as _};
use crate::suite::Rig;
use crate::suite::world::{Stream, World};

/// A network, and the addresses in it.
#[derive(Clone)]
pub(super) struct SimWorld {
    net: SimNet,
    seed: u64,
    faults: Faults,
    addresses: Rc<Cell<u16>>,
}

impl SimWorld {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let net = SimNet::new(seed, faults.clone());
        Self { net, seed, faults, addresses: Rc::default() }
    }

    fn address(&self) -> SocketAddr {
        self.addresses.set(self.addresses.get() + 1);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), self.addresses.get())
    }
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network of seed {} with {:?}", self.seed, self.faults)
    }
}

/// Accepting fails until this goes.
pub(super) struct Starved(SimWorld);

impl Drop for Starved {
    fn drop(&mut self) {
        self.0.net.set_faults(self.0.faults.clone());
    }
}

impl World for SimWorld {
    type Driver = SimDriver;
    type Stream = SimSocket;
    type Listener = SimListener;
    type Reserved = ();
    type Starved = Starved;

    /// Of virtual time: stalls add up.
    const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

    fn driver(&self, config: Config) -> SimDriver {
        SimDriver::new(&self.net, config)
    }

    fn now(&self) -> Instant {
        self.net.now()
    }

    fn bind(&self) -> (SimListener, SocketAddr) {
        let address = self.address();
        (self.net.listen(address, 1, 1024).remove(0), address)
    }

    /// There is one make only.
    fn bind_otherwise(&self) -> (SimListener, SocketAddr) {
        self.bind()
    }

    fn listen(&self) -> (SimListener, SocketAddr) {
        self.bind()
    }

    fn accept(&self, listener: &SimListener) -> SimSocket {
        loop {
            match listener.accept() {
                Ok(socket) => return socket,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let next = listener.announced_at().expect("somebody is about to come");
            self.net.advance_to(next);
        }
    }

    fn connect(&self, to: SocketAddr) -> io::Result<SimSocket> {
        let socket = SimSocket::connect(&self.net, to);
        self.net.advance_to(socket.connected_at().expect("it is decided when"));
        socket.take_error()?.map_or(Ok(socket), Err)
    }

    fn reserve(&self) -> ((), SocketAddr) {
        ((), self.address())
    }

    fn starve(&self) -> Starved {
        self.net.set_faults(Faults { failed_accepts: 1_000, ..self.faults.clone() });
        Starved(self.clone())
    }

    fn takes_at_once(&self) -> bool {
        self.faults.short_sends == 0
    }

    fn settle(&self) {
        let longest_us = self.faults.latency_us.1 + self.faults.stall_us.1;
        // There and back.
        self.net.advance_to(self.now() + Duration::from_micros(2 * longest_us as u64));
    }

    /// Time passes until nothing is on its way, and the driver sees it all.
    fn fence(rig: &mut Rig<Self>) {
        rig.converse();
        rig.world.settle();
        rig.turn_until_idle();
    }

    /// Virtual time would be over before it begins.
    fn let_run<R>(&self, thread: &JoinHandle<R>) {
        while !thread.is_finished() {
            thread::yield_now();
        }
    }
}

impl Stream for SimSocket {
    fn addr(&self) -> SocketAddr {
        self.local_addr()
    }

    fn finish(&self) {
        crate::sockets::Socket::finish(self).unwrap();
    }

    fn reset(self) {
        self.abort();
    }
}
