//! The simulator keeps the promises, and has the faults that it was asked for.

use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::{Faults, Random, SimDriver, SimNet, SimTx};
use crate::{Adopted, Close, Closed, Config, ConnId, Driver, Sink, Tx};

mod world;

/// The behaviour suite on a network in good health.
mod suite {
    use super::world::SimWorld;
    use super::{Faults, PIPE_BYTES, SEEDS};

    fn worlds() -> impl Iterator<Item = SimWorld> {
        let faults = Faults { pipe_bytes: PIPE_BYTES, ..Faults::default() };
        SEEDS.map(move |seed| SimWorld::new(seed, faults.clone()))
    }

    crate::suite::mount!(worlds);
    crate::suite::mount!(worlds, starved by crate::suite::run);
}

/// The behaviour suite on a bad one: whatever comes short, late, or not for a while.
mod rough_suite {
    use super::world::SimWorld;
    use super::{Faults, PIPE_BYTES, SEEDS, rough};

    fn worlds() -> impl Iterator<Item = SimWorld> {
        let faults = Faults { pipe_bytes: PIPE_BYTES, ..rough() };
        SEEDS.map(move |seed| SimWorld::new(seed, faults.clone()))
    }

    crate::suite::mount!(worlds);
    crate::suite::mount!(worlds, starved by crate::suite::run);
}

/// The behaviour suite with a driver that sends as io_uring does: some now, some in its next turn.
mod deferring_suite {
    use super::world::SimWorld;
    use super::{Faults, PIPE_BYTES, SEEDS};

    fn worlds() -> impl Iterator<Item = SimWorld> {
        let faults = Faults { pipe_bytes: PIPE_BYTES, deferred_sends: 700, ..Faults::default() };
        SEEDS.map(move |seed| SimWorld::new(seed, faults.clone()))
    }

    crate::suite::mount!(worlds);
    crate::suite::mount!(worlds, starved by crate::suite::run);
}

/// So many networks for each test of the suite.
const SEEDS: std::ops::Range<u64> = 0..4;
/// What the suite sends at once, though nobody reads, has to fit.
const PIPE_BYTES: (usize, usize) = (128 << 10, 512 << 10);

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), 80);

/// A sink that writes down what it is told.
#[derive(Debug, Default)]
struct Seen {
    accepted: Vec<ConnId>,
    connected: Vec<ConnId>,
    received: Vec<u8>,
    /// How much at a time.
    receives: Vec<usize>,
    drained: usize,
    ends: Vec<(ConnId, Option<ErrorKind>)>,
}

impl Sink<SimTx> for Seen {
    fn accepted(&mut self, tx: &mut SimTx, id: ConnId) {
        assert!(tx.peer_addr(id).is_some());
        self.accepted.push(id);
    }

    fn connected(&mut self, _tx: &mut SimTx, id: ConnId) {
        self.connected.push(id);
    }

    fn received(&mut self, _tx: &mut SimTx, _id: ConnId, bytes: &mut [u8]) {
        self.received.extend_from_slice(bytes);
        self.receives.push(bytes.len());
    }

    fn drained(&mut self, _tx: &mut SimTx, _id: ConnId) {
        self.drained += 1;
    }

    fn closed(&mut self, tx: &mut SimTx, id: ConnId, why: Closed) {
        assert_eq!(tx.peer_addr(id), None, "the id is dead");
        let error = match why {
            Closed::Eof => None,
            Closed::Error(error) => Some(error.kind()),
        };
        self.ends.push((id, error));
    }
}

/// Two drivers of one network, the first of which listens.
struct Pair {
    net: SimNet,
    drivers: [SimDriver; 2],
    seen: [Seen; 2],
}

const SERVER: usize = 0;
const CLIENT: usize = 1;

impl Pair {
    fn new(seed: u64, faults: Faults, config: Config) -> Self {
        let net = SimNet::new(seed, faults);
        let mut server = SimDriver::new(&net, config.clone());
        server.listen(net.listen(ADDRESS, 1, 1_000).remove(0)).unwrap();
        let client = SimDriver::new(&net, config);
        Self { net, drivers: [server, client], seen: Default::default() }
    }

    fn turn(&mut self, who: usize) {
        let now = self.net.now();
        self.drivers[who].turn(Some(now), &mut self.seen[who]).unwrap();
    }

    /// Until nothing is to be done any more.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let next = [0, 1].map(|who| self.drivers[who].next_deadline());
            let Some(next) = next.into_iter().flatten().min() else { return };
            self.net.advance_to(next);
            self.turn(SERVER);
            self.turn(CLIENT);
        }
        panic!("it does not come to rest");
    }

    fn connect(&mut self) -> ConnId {
        self.drivers[CLIENT].tx().connect(ADDRESS).unwrap()
    }

    /// A connection: its ids at the server and at the client.
    fn join(&mut self) -> (ConnId, ConnId) {
        let id = self.connect();
        self.settle();
        assert_eq!(self.seen[CLIENT].connected.last(), Some(&id));
        (*self.seen[SERVER].accepted.last().unwrap(), id)
    }
}

fn small() -> Config {
    Config { receive_buffer_bytes: 1_000, ..Config::default() }
}

fn rough() -> Faults {
    Faults {
        pipe_bytes: (1, 5_000),
        short_receives: 500,
        short_sends: 300,
        stalls: 50,
        stall_us: (1, 100_000),
        late_events: 300,
        ..Faults::default()
    }
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Promises 4 and 7, whatever the weather.
#[test]
fn all_bytes_arrive_in_order() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed, rough(), small());
        let (_, id) = pair.join();
        let bytes = pattern(seed, 60_000);
        for (n, part) in bytes.chunks(1_777).enumerate() {
            let tx = pair.drivers[CLIENT].tx();
            match n % 3 {
                0 => tx.write(id, &[IoSlice::new(&part[..100]), IoSlice::new(&part[100..])]),
                1 => tx.send_shared(id, &Bytes::copy_from_slice(part)),
                _ => {
                    let mut block = tx.out(id);
                    block.extend_from_slice(part);
                    tx.flush(id, block)
                }
            };
            pair.turn(n % 2);
        }
        pair.drivers[CLIENT].tx().close(id, Close::Graceful);
        pair.settle();
        assert!(pair.seen[SERVER].received == bytes, "seed {seed}");
        assert_eq!(pair.seen[SERVER].ends.len(), 1);
        assert_eq!(pair.seen[CLIENT].ends, [(id, None)]);
        assert_eq!(pair.drivers.each_ref().map(SimDriver::load), [(0, 0); 2]);
    }
}

/// Promise 5: what one connection delivers in a turn, and how many come in.
#[test]
fn turns_keep_to_their_budgets() {
    let config = Config {
        receive_buffer_bytes: 100,
        receive_budget_bytes: 250,
        accept_budget: 3,
        ..Config::default()
    };
    let mut pair = Pair::new(1, Faults::default(), config);
    let (_, id) = pair.join();
    pair.drivers[CLIENT].tx().write(id, &[IoSlice::new(&[1; 10_000])]);
    for _ in 0..20 {
        pair.connect();
    }
    pair.net.advance_to(pair.net.now() + Duration::from_secs(1));
    while pair.seen[SERVER].received.len() < 10_000 || pair.seen[SERVER].accepted.len() < 21 {
        let before = (pair.seen[SERVER].received.len(), pair.seen[SERVER].accepted.len());
        pair.turn(SERVER);
        let after = &pair.seen[SERVER];
        assert!(after.received.len() <= before.0 + 250 && after.accepted.len() <= before.1 + 3);
    }
    assert!(pair.seen[SERVER].receives.iter().all(|len| *len <= 100));
}

#[test]
fn above_the_maximum_peers_wait_until_one_leaves() {
    let mut pair = Pair::new(1, Faults::default(), Config { connections_max: 2, ..small() });
    for _ in 0..5 {
        pair.connect();
    }
    for left in 0..4 {
        pair.net.advance_to(pair.net.now() + Duration::from_secs(1));
        for _ in 0..10 {
            pair.turn(CLIENT);
            pair.turn(SERVER);
        }
        assert_eq!(pair.seen[SERVER].accepted.len(), (left + 2).min(5));
        assert!(pair.drivers[SERVER].load().0 <= 2);
        let leaves = pair.seen[SERVER].accepted[left];
        pair.drivers[SERVER].tx().close(leaves, Close::Abort);
    }
}

/// Bytes wait where the peer does not read, and that they drain is told once.
#[test]
fn a_peer_that_does_not_read_makes_a_backlog() {
    let faults = Faults { pipe_bytes: (1_000, 1_000), ..Faults::default() };
    let mut pair = Pair::new(1, faults, Config { backlog_low_bytes: 500, ..small() });
    let (server, client) = pair.join();
    pair.drivers[CLIENT].tx().set_recv(client, false);
    let waiting = pair.drivers[SERVER].tx().write(server, &[IoSlice::new(&[7; 10_000])]);
    assert_eq!(waiting, 9_000);
    pair.settle();
    assert_eq!(pair.drivers[SERVER].tx().backlog_bytes(server), 9_000);
    assert_eq!((pair.seen[CLIENT].received.len(), pair.seen[SERVER].drained), (0, 0));
    pair.drivers[CLIENT].tx().set_recv(client, true);
    pair.settle();
    assert_eq!((pair.seen[CLIENT].received.len(), pair.seen[SERVER].drained), (10_000, 1));
}

/// It has drained when it has fallen to the mark: not one byte earlier, and not one later.
#[test]
fn a_backlog_drains_at_the_mark() {
    for (mark, drains) in [(8_999, 0), (9_000, 1)] {
        let faults = Faults { pipe_bytes: (1_000, 1_000), ..Faults::default() };
        let mut pair = Pair::new(1, faults, Config { backlog_low_bytes: mark, ..small() });
        let (server, client) = pair.join();
        pair.drivers[CLIENT].tx().set_recv(client, false);
        pair.drivers[SERVER].tx().write(server, &[IoSlice::new(&[7; 11_000])]);
        pair.settle();
        // The peer reads once, which makes room for 1,000 of the 10,000 bytes that wait.
        pair.net.advance_to(pair.net.now() + Duration::from_secs(1));
        pair.drivers[CLIENT].tx().set_recv(client, true);
        pair.turn(CLIENT);
        assert_eq!(pair.seen[CLIENT].received.len(), 1_000);
        pair.drivers[CLIENT].tx().set_recv(client, false);
        pair.settle();
        assert_eq!(pair.drivers[SERVER].tx().backlog_bytes(server), 9_000);
        assert_eq!(pair.seen[SERVER].drained, drains);
    }
}

/// An abort with unread bytes is a reset, one without is a FIN; no call follows at its own end.
#[test]
fn an_abort_is_heard_at_the_other_end_only() {
    for unread in [false, true] {
        let mut pair = Pair::new(1, Faults::default(), small());
        let (server, client) = pair.join();
        if unread {
            pair.drivers[CLIENT].tx().set_recv(client, false);
            pair.drivers[SERVER].tx().write(server, &[IoSlice::new(b"unread")]);
            pair.settle();
        }
        pair.drivers[CLIENT].tx().close(client, Close::Abort);
        pair.settle();
        let error = unread.then_some(ErrorKind::ConnectionReset);
        assert_eq!(pair.seen[SERVER].ends, [(server, error)]);
        assert_eq!(pair.seen[CLIENT].ends, []);
    }
}

/// A reset comes at some byte: what was sent before may have come, nothing behind it does, and both
/// ends are told, once.
#[test]
fn a_reset_cuts_at_some_byte() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let faults = Faults { resets: 1_000, reset_bytes_max: 5_000, ..rough() };
        let mut pair = Pair::new(seed, faults, small());
        let id = pair.connect();
        let bytes = pattern(seed, 20_000);
        pair.drivers[CLIENT].tx().write(id, &[IoSlice::new(&bytes)]);
        pair.settle();
        let got = &pair.seen[SERVER].received;
        assert!(bytes.starts_with(got));
        if got.len() < bytes.len() {
            lengths.insert(got.len());
            assert_eq!(pair.seen[CLIENT].ends, [(id, Some(ErrorKind::ConnectionReset))]);
            assert_eq!(pair.seen[SERVER].ends.len(), pair.seen[SERVER].accepted.len());
        }
    }
    assert!(lengths.len() > 20, "{lengths:?}");
}

#[test]
fn a_connect_to_nobody_is_refused() {
    let mut pair = Pair::new(1, Faults::default(), small());
    pair.drivers[SERVER].tx().stop_listening();
    let id = pair.connect();
    pair.settle();
    assert_eq!(pair.seen[CLIENT].ends, [(id, Some(ErrorKind::ConnectionRefused))]);
    assert!(pair.seen[CLIENT].connected.is_empty());
}

/// The system's sockets are no part of the network.
#[test]
fn a_socket_of_the_systems_is_not_adopted() {
    let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut pair = Pair::new(1, Faults::default(), small());
    let refused = pair.drivers[CLIENT].tx().adopt(socket.into(), Adopted::Connected);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0, "it is closed");
}

/// A turn lets time pass when there is nothing to do, as far as it may, and not at all when woken.
#[test]
fn a_turn_waits_in_virtual_time() {
    let mut pair = Pair::new(1, Faults::default(), small());
    let begun = pair.net.now();
    let until = begun + Duration::from_secs(3_600);
    let driver = &mut pair.drivers[SERVER];
    let waker = driver.waker();
    std::thread::spawn(move || waker.wake().unwrap()).join().unwrap();
    driver.turn(Some(until), &mut pair.seen[SERVER]).unwrap();
    assert_eq!(driver.tx().now(), begun);
    driver.turn(Some(until), &mut pair.seen[SERVER]).unwrap();
    assert_eq!(driver.tx().now(), until);
    let error = driver.turn(None, &mut pair.seen[SERVER]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock, "nobody would ever end it");
}

/// Dropping a driver is the end of a process: its peers hear of it.
#[test]
fn a_driver_that_is_dropped_leaves_nothing() {
    let Pair { net, drivers: [mut server, client], mut seen } = {
        let mut pair = Pair::new(1, Faults::default(), small());
        pair.join();
        pair.connect();
        pair
    };
    drop(client);
    for _ in 0..10 {
        net.advance_to(net.now() + Duration::from_millis(1));
        server.turn(Some(net.now()), &mut seen[SERVER]).unwrap();
    }
    assert_eq!((server.load(), seen[SERVER].ends.len()), ((0, 0), 2));
}
