//! What the suite stands on: a driver that listens, and its peers.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::seen::{End, Event, Seen};
use super::world::{Stream as _, World};
use crate::{Adopted, Close, Config, ConnId, Driver as _, Tx as _};

/// The sending half of a world's driver.
pub(super) type TxOf<W> = <<W as World>::Driver as crate::Driver>::Tx;

/// More than this is kept for no connection by anything below a driver.
pub(super) const KERNEL_BYTES_MAX: usize = 256 << 20;
/// Nothing takes this long, by a clock that nobody can turn.
const REAL_PATIENCE: Duration = Duration::from_secs(60);

/// Bounds a wait.
pub(super) struct Patience<W> {
    world: W,
    until: Instant,
    real_until: Instant,
}

impl<W: World> Patience<W> {
    pub(super) fn new(world: &W) -> Self {
        Self {
            world: world.clone(),
            until: world.now() + W::PATIENCE,
            real_until: Instant::now() + REAL_PATIENCE,
        }
    }

    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn check(&self, what: &str) {
        let lost = self.world.now() >= self.until || Instant::now() >= self.real_until;
        assert!(!lost, "waited in vain: {what}");
    }
}

/// The other end of a connection.
pub(super) struct Peer<W: World> {
    world: W,
    stream: W::Stream,
}

impl<W: World> Peer<W> {
    /// The other end of a socket that was made elsewhere.
    pub(super) fn of(world: &W, stream: W::Stream) -> Self {
        Self { world: world.clone(), stream }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.stream.addr()
    }

    /// For what certainly fits, though the driver does not turn.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let patience = Patience::new(&self.world);
        let mut sent = 0;
        while sent < bytes.len() {
            patience.check("room for what certainly fits");
            sent += self.send_some(&bytes[sent..]);
        }
    }

    /// As much as fits now.
    pub(super) fn send_some(&mut self, bytes: &[u8]) -> usize {
        match io::Write::write(&mut self.stream, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent.unwrap(),
        }
    }

    /// What is there now; `None`: nothing yet.
    pub(super) fn receive_some(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        match io::Read::read(&mut self.stream, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            received => received.map(Some),
        }
    }

    /// FIN.
    pub(super) fn finish(&self) {
        self.stream.finish();
    }

    /// RST.
    pub(super) fn reset(self) {
        self.stream.reset();
    }

    pub(super) fn into_stream(self) -> W::Stream {
        self.stream
    }
}

/// A listener to which the driver connects.
pub(super) struct Listener<W: World> {
    world: W,
    listener: W::Listener,
    address: SocketAddr,
}

impl<W: World> Listener<W> {
    pub(super) fn new(world: &W) -> Self {
        let (listener, address) = world.listen();
        Self { world: world.clone(), listener, address }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The driver need not turn for it.
    pub(super) fn accept(&self) -> Peer<W> {
        Peer { stream: self.world.accept(&self.listener), world: self.world.clone() }
    }
}

/// A driver that listens on an address of its own, and its sink.
pub(crate) struct Rig<W: World> {
    pub(crate) world: W,
    pub(super) driver: W::Driver,
    pub(super) seen: Seen<TxOf<W>>,
    address: SocketAddr,
}

impl<W: World> Rig<W> {
    pub(super) fn new(world: &W, config: Config) -> Self {
        let (listener, address) = world.bind();
        let mut driver = world.driver(config);
        driver.listen(listener).unwrap();
        Self { world: world.clone(), driver, seen: Seen::default(), address }
    }

    pub(super) fn now(&self) -> Instant {
        self.world.now()
    }

    pub(super) fn patience(&self) -> Patience<W> {
        Patience::new(&self.world)
    }

    pub(super) fn tx(&mut self) -> &mut TxOf<W> {
        self.driver.tx()
    }

    /// From here on, this is done about each event.
    pub(super) fn react(
        &mut self,
        reaction: impl FnMut(&mut TxOf<W>, &Event) -> Option<Close> + 'static,
    ) {
        self.seen.react(reaction);
    }

    pub(super) fn connect(&mut self, to: SocketAddr) -> ConnId {
        let id = self.tx().connect(to).unwrap();
        self.expect_connect(id);
        id
    }

    pub(super) fn adopt(&mut self, socket: impl Into<OwnedFd>, adopted: Adopted) -> ConnId {
        let id = self.tx().adopt(socket.into(), adopted).unwrap();
        match adopted {
            Adopted::Connecting => self.seen.expect_connect(id),
            Adopted::Connected => self.seen.expect_open(id),
        }
        id
    }

    /// A reaction has begun to connect this one.
    pub(super) fn expect_connect(&mut self, id: ConnId) {
        self.seen.expect_connect(id);
    }

    pub(super) fn close(&mut self, id: ConnId, how: Close) {
        self.seen.close(self.driver.tx(), id, how);
    }

    /// One turn that does not wait long; returns what it told.
    pub(super) fn turn(&mut self) -> &[Event] {
        self.turn_to(self.now() + Duration::from_millis(1))
    }

    pub(super) fn turn_to(&mut self, until: Instant) -> &[Event] {
        let from = self.seen.events().len();
        self.driver.turn(Some(until), &mut self.seen).unwrap();
        &self.seen.events()[from..]
    }

    pub(super) fn turn_until(&mut self, what: &str, done: impl Fn(&Seen<TxOf<W>>) -> bool) {
        let patience = self.patience();
        while !done(&self.seen) {
            patience.check(what);
            self.turn_to(patience.until());
        }
    }

    /// A new peer; it has connected, the driver does not know of it yet.
    pub(super) fn peer(&self) -> Peer<W> {
        self.try_peer().unwrap()
    }

    pub(super) fn try_peer(&self) -> io::Result<Peer<W>> {
        let stream = self.world.connect(self.address)?;
        Ok(Peer { stream, world: self.world.clone() })
    }

    /// New peers, oldest first.
    pub(super) fn crowd(&self, count: usize) -> VecDeque<Peer<W>> {
        (0..count).map(|_| self.peer()).collect()
    }

    /// A new peer, accepted.
    pub(super) fn join(&mut self) -> (ConnId, Peer<W>) {
        // Only what is told from here on: an earlier peer may have had the same port.
        let from = self.seen.events().len();
        let peer = self.peer();
        let address = peer.addr();
        let find = |seen: &Seen<TxOf<W>>| {
            seen.events()[from..].iter().find_map(|event| match event {
                Event::Accepted(id, peer) if *peer == address => Some(*id),
                _ => None,
            })
        };
        self.turn_until("to be accepted", |seen| find(seen).is_some());
        (find(&self.seen).unwrap(), peer)
    }

    /// A byte from the peer, and one back.
    pub(super) fn exchange(&mut self, id: ConnId, peer: &mut Peer<W>) {
        let before = self.seen.received(id).len();
        peer.send(b"?");
        self.turn_until("a byte in", |seen| seen.received(id).len() == before + 1);
        self.send(id, b"!");
        assert_eq!(self.read(peer, 1), b"!");
    }

    /// A few bytes to a peer for which nothing waits.
    pub(super) fn send(&mut self, id: ConnId, bytes: &[u8]) {
        let waiting = self.tx().write(id, &[IoSlice::new(bytes)]);
        assert!(waiting == 0 || !self.world.takes_at_once(), "{waiting} bytes wait");
    }

    /// Lets pass what would happen: all that went before it has been told after it.
    pub(super) fn fence(&mut self) {
        W::fence(self);
    }

    /// A connection that begins now comes, sends, and leaves.
    pub(crate) fn converse(&mut self) {
        let (id, mut peer) = self.join();
        self.exchange(id, &mut peer);
        drop(peer);
        self.turn_until("it to go", |seen| seen.end(id) == Some(End::Eof));
    }

    /// Turns for as long as there is something to do now.
    pub(crate) fn turn_until_idle(&mut self) {
        let patience = self.patience();
        while self.driver.next_deadline().is_some_and(|next| next <= self.now()) {
            patience.check("nothing to do");
            self.turn_to(self.now());
        }
    }

    /// All of it, whatever fits at a time.
    pub(super) fn feed(&mut self, peer: &mut Peer<W>, bytes: &[u8]) {
        let patience = self.patience();
        let mut sent = 0;
        while sent < bytes.len() {
            patience.check("the driver to read");
            sent += peer.send_some(&bytes[sent..]);
            self.turn();
        }
    }

    /// So many bytes at the peer.
    pub(super) fn read(&mut self, peer: &mut Peer<W>, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.pump(peer, &mut bytes, len);
        assert_eq!((end, bytes.len()), (None, len));
        bytes
    }

    /// All that comes to the peer, and whether FIN ends it or an error.
    pub(super) fn read_to_end(&mut self, peer: &mut Peer<W>) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = self.pump(peer, &mut bytes, usize::MAX);
        (bytes, end.expect("only an end ends it"))
    }

    fn pump(&mut self, peer: &mut Peer<W>, bytes: &mut Vec<u8>, len: usize) -> Option<End> {
        let patience = self.patience();
        let mut part = vec![0; 256 << 10];
        while bytes.len() < len {
            patience.check("bytes to come out");
            let room = part.len().min(len - bytes.len());
            match peer.receive_some(&mut part[..room]) {
                Ok(None) => {
                    self.turn();
                }
                Ok(Some(0)) => return Some(End::Eof),
                Ok(Some(count)) => bytes.extend_from_slice(&part[..count]),
                Err(error) => return Some(End::Error(error.kind())),
            }
        }
        None
    }

    /// Sends until that many bytes wait; returns all that was sent.
    pub(super) fn fill(&mut self, id: ConnId, backlog_bytes: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.tx().backlog_bytes(id) < backlog_bytes {
            assert!(sent.len() < KERNEL_BYTES_MAX, "the kernel takes everything");
            let bytes = Bytes::from(pattern(sent.len() as u64 + 1, 256 << 10));
            self.tx().send_shared(id, &bytes);
            sent.extend_from_slice(&bytes);
        }
        sent
    }
}

/// Bytes in which no part looks like another, and the same for the same seed.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> =
        (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// `SplitMix64`: the tests' choices, the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Long byte strings do not belong in a panic's message.
#[track_caller]
pub(super) fn assert_same(got: &[u8], expected: &[u8]) {
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    assert_eq!((got.len(), differs), (expected.len(), None), "(length, first difference)");
}
