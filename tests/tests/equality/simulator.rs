//! The stages without a kernel: a shard on the simulator, and peers that are sockets of its
//! network. `SOCKEYE_SIM_SEED` chooses another run than the usual one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye::sim::{self, Census, Faults, SimNet, SimShard, SimSocket};
use sockeye::{Config, Handle, TlsConfig};
use sockeye_tests::rig::Script;

use crate::stage::{Place, Stage, Wire};

pub(crate) const CALM: Place = Place {
    module: "calm",
    is_here: || true,
    stage: |script, config, tls| Simulator::stage(Faults::default(), script, config, tls),
    tls: false,
};

pub(crate) const TLS_CALM: Place = Place { module: "tls_calm", tls: true, ..CALM };

/// Everything comes in pieces, late or not for a while, and nothing is lost.
pub(crate) const ROUGH: Place = Place {
    module: "rough",
    is_here: || true,
    stage: |script, config, tls| {
        let faults = Faults {
            latency_us: (10, 2_000),
            pipe_bytes: (16 << 10, 96 << 10),
            short_receives: 300,
            short_sends: 300,
            stalls: 20,
            stall_us: (1_000, 10_000),
            late_events: 300,
            ..Faults::default()
        };
        Simulator::stage(faults, script, config, tls)
    },
    tls: false,
};

pub(crate) const TLS_ROUGH: Place = Place { module: "tls_rough", tls: true, ..ROUGH };

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), 80);
/// How much time passes at least, in a hurry.
const STEP: Duration = Duration::from_micros(500);

fn seed() -> u64 {
    match std::env::var("SOCKEYE_SIM_SEED") {
        Ok(seed) => seed.trim().parse().expect("a seed is a number"),
        Err(_) => 1,
    }
}

struct Simulator {
    net: SimNet,
    faults: Faults,
    handle: Handle,
    shard: SimShard<Script>,
    step: Duration,
}

impl Simulator {
    fn stage(
        faults: Faults,
        script: Script,
        config: Config,
        tls: Option<TlsConfig>,
    ) -> Box<dyn Stage> {
        let net = SimNet::new(seed(), faults.clone());
        let handler = |_| script.clone();
        let built = match tls {
            Some(tls) => sim::build_tls(&net, ADDRESS, config, &tls, 1, handler),
            None => sim::build(&net, ADDRESS, config, 1, handler),
        };
        let (handle, mut shards) = built.expect("settings that make sense");
        let shard = shards.pop().expect("one shard");
        Box::new(Self { net, faults, handle, shard, step: Duration::ZERO })
    }
}

impl Stage for Simulator {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn connect(&mut self) -> io::Result<Box<dyn Wire>> {
        let socket = SimSocket::connect(&self.net, ADDRESS);
        Ok(Box::new(SimWire { net: self.net.clone(), socket }))
    }

    fn turn(&mut self, moved: bool, wires: Option<Instant>) {
        let (now, shard) = (self.net.now(), self.shard.next_deadline());
        if !moved && shard.is_none_or(|at| at > now) {
            let next = [shard, wires].into_iter().flatten().min();
            let next = next.expect("nothing will ever happen to anybody");
            self.net.advance_to(next.max(now + self.step));
        }
        self.shard.turn(Some(self.net.now())).expect("a turn");
    }

    fn is_done(&self) -> bool {
        self.shard.is_done()
    }

    fn now(&self) -> Instant {
        self.net.now()
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn wire_bytes_max(&self) -> Option<usize> {
        Some(self.faults.pipe_bytes.1)
    }

    fn hurry(&mut self) {
        self.step = STEP;
    }

    fn starve(&mut self, on: bool) -> bool {
        self.faults.failed_accepts = if on { 1_000 } else { 0 };
        self.net.set_faults(self.faults.clone());
        true
    }

    fn assert_empty(&mut self) {
        let census = self.shard.census();
        // Entries of the wheel stay until their time has come.
        let empty = Census { timers: census.timers, is_consistent: true, ..Census::default() };
        assert_eq!(census, empty);
    }
}

struct SimWire {
    net: SimNet,
    socket: SimSocket,
}

impl SimWire {
    /// When its connect comes to something, where it has not yet.
    fn connects_at(&self) -> Option<Instant> {
        self.socket.connected_at().filter(|at| *at > self.net.now())
    }

    fn check(&self) -> io::Result<()> {
        if self.connects_at().is_some() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

impl Wire for SimWire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.socket.read(into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.socket.write(bytes)
    }

    fn finish(&mut self) {
        // `NotConnected` says that a reset was first.
        let _ = self.socket.finish();
    }

    fn abort(self: Box<Self>) {
        self.socket.abort();
    }

    fn next_event(&self, reads: bool, writes: bool) -> Option<Instant> {
        self.connects_at().or_else(|| {
            let readable = if reads { self.socket.readable_at() } else { None };
            let writable = if writes { self.socket.writable_at() } else { None };
            readable.into_iter().chain(writable).min()
        })
    }
}
