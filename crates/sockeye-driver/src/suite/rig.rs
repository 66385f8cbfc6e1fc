//! What the suite stands on: a driver that listens, a sink that writes down what it is told and
//! objects to what may not be, and peers that are plain sockets of the same thread.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Bound, Close, Closed, Config, ConnId, Sink, Tx};

/// What the suite is about: drivers of the system's sockets.
pub(crate) trait Driver: crate::Driver<Listener = TcpListener> + AsFd {}

impl<D: crate::Driver<Listener = TcpListener> + AsFd> Driver for D {}

/// How a test makes its driver.
pub(crate) type Make<D> = fn(Config) -> D;

/// The system chooses the port.
pub(super) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Nothing takes this long: a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than this the kernel keeps for no connection.
pub(super) const KERNEL_BYTES_MAX: usize = 256 << 20;

/// Bounds a wait.
pub(super) struct Patience(Instant);

impl Patience {
    pub(super) fn new() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    pub(super) const fn until(&self) -> Instant {
        self.0
    }

    pub(super) fn check(&self, what: &str) {
        assert!(Instant::now() < self.0, "waited in vain: {what}");
    }
}

/// What a sink was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Accepted(ConnId, SocketAddr),
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    Drained(ConnId),
    Closed(ConnId, End),
}

impl Event {
    pub(super) const fn id(&self) -> ConnId {
        match self {
            Self::Accepted(id, _)
            | Self::Connected(id)
            | Self::Received(id, _)
            | Self::Drained(id)
            | Self::Closed(id, _) => *id,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Error(ErrorKind),
}

/// A connection, as its sink knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    /// Closed gracefully: only its end is to be told.
    Closing,
    Dead,
}

/// What a sink does about an event, within the call; the answer is how to close that connection.
type Reaction<T> = Box<dyn FnMut(&mut T, &Event) -> Option<Close>>;

/// The sink: keeps all events and sees to it that each of them is in order.
pub(super) struct Seen<T> {
    events: Vec<Event>,
    stages: HashMap<ConnId, Stage>,
    reaction: Option<Reaction<T>>,
}

impl<T: Tx> Seen<T> {
    /// Promises 3 and 6, and the order of one connection's events, for every test.
    fn note(&mut self, tx: &mut T, event: Event) {
        let id = event.id();
        let stage = self.stages.get(&id).copied();
        let next = match (stage, &event) {
            (None, Event::Accepted(..)) | (Some(Stage::Connecting), Event::Connected(_)) => {
                Stage::Open
            }
            (Some(Stage::Open), Event::Received(_, bytes)) if !bytes.is_empty() => Stage::Open,
            (Some(Stage::Open), Event::Drained(_)) => Stage::Open,
            (Some(Stage::Connecting | Stage::Open | Stage::Closing), Event::Closed(..)) => {
                Stage::Dead
            }
            _ => panic!("{event:?} of a connection that is {stage:?}"),
        };
        self.stages.insert(id, next);
        if let Some(reaction) = &mut self.reaction
            && let Some(how) = reaction(tx, &event)
        {
            self.close(tx, id, how);
        }
        self.events.push(event);
    }

    fn close(&mut self, tx: &mut T, id: ConnId, how: Close) {
        let stage = if how == Close::Abort { Stage::Dead } else { Stage::Closing };
        if self.stages.get(&id).is_some_and(|stage| *stage != Stage::Dead) {
            self.stages.insert(id, stage);
        }
        tx.close(id, how);
    }
}

impl<T> Seen<T> {
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(super) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is(event)).count()
    }

    pub(super) fn accepted(&self) -> Vec<(ConnId, SocketAddr)> {
        let accepted = self.events.iter().filter_map(|event| match event {
            Event::Accepted(id, peer) => Some((*id, *peer)),
            _ => None,
        });
        accepted.collect()
    }

    /// All bytes of one connection.
    pub(super) fn received(&self, of: ConnId) -> Vec<u8> {
        let received = self.events.iter().filter_map(|event| match event {
            Event::Received(id, bytes) if *id == of => Some(bytes.as_slice()),
            _ => None,
        });
        received.collect::<Vec<_>>().concat()
    }

    pub(super) fn drained(&self, of: ConnId) -> usize {
        self.count(|event| *event == Event::Drained(of))
    }

    pub(super) fn connected(&self, of: ConnId) -> bool {
        self.events.contains(&Event::Connected(of))
    }

    /// The end of one connection, if it was told.
    pub(super) fn end(&self, of: ConnId) -> Option<End> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(id, end) if *id == of => Some(*end),
            _ => None,
        })
    }
}

impl<T: Tx> Sink<T> for Seen<T> {
    fn accepted(&mut self, tx: &mut T, id: ConnId, peer: SocketAddr) {
        self.note(tx, Event::Accepted(id, peer));
    }

    fn connected(&mut self, tx: &mut T, id: ConnId) {
        self.note(tx, Event::Connected(id));
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        let event = Event::Received(id, bytes.to_vec());
        // They are the sink's to change: no driver may look at them again.
        bytes.fill(0xA5);
        self.note(tx, event);
    }

    fn drained(&mut self, tx: &mut T, id: ConnId) {
        self.note(tx, Event::Drained(id));
    }

    fn closed(&mut self, tx: &mut T, id: ConnId, why: Closed) {
        let end = match why {
            Closed::Eof => End::Eof,
            Closed::Error(error) => End::Error(error.kind()),
        };
        self.note(tx, Event::Closed(id, end));
    }
}

/// The other end of a connection.
pub(super) struct Peer(TcpStream);

impl Peer {
    pub(super) fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).unwrap())
    }

    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// For what certainly fits into the kernel's buffers.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// As much as fits now.
    pub(super) fn send_some(&mut self, bytes: &[u8]) -> usize {
        match self.at_once(|stream| stream.write(bytes)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent.unwrap(),
        }
    }

    /// What is there now; `None`: nothing yet.
    fn receive_some(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        match self.at_once(|stream| stream.read(bytes)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            received => received.map(Some),
        }
    }

    fn at_once<R>(&mut self, call: impl FnOnce(&mut TcpStream) -> R) -> R {
        self.0.set_nonblocking(true).unwrap();
        let result = call(&mut self.0);
        self.0.set_nonblocking(false).unwrap();
        result
    }

    /// Waits for so many bytes, for which the driver need not turn.
    pub(super) fn receive_exactly(&mut self, len: usize) {
        self.0.read_exact(&mut vec![0; len]).unwrap();
    }

    /// FIN.
    pub(super) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// RST: that is what closing a socket does that has bytes which nobody read. The driver has
    /// sent some, or does so in its next turns.
    pub(super) fn reset<D: Driver>(mut self, rig: &mut Rig<D>) {
        let patience = Patience::new();
        while !matches!(self.at_once(|stream| stream.peek(&mut [0])), Ok(1)) {
            patience.check("something unread");
            rig.turn();
        }
    }
}

/// A driver that listens on an address of its own, and its sink.
pub(super) struct Rig<D: Driver> {
    pub(super) driver: D,
    pub(super) seen: Seen<D::Tx>,
    address: SocketAddr,
}

impl<D: Driver> Rig<D> {
    pub(super) fn new(make: Make<D>, config: Config) -> Self {
        let bound = Bound::new(ANY).unwrap();
        let address = bound.local_addr();
        let mut driver = make(config);
        driver.listen(bound.listen(1, 1024).unwrap().remove(0)).unwrap();
        let seen = Seen { events: Vec::new(), stages: HashMap::new(), reaction: None };
        Self { driver, seen, address }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn tx(&mut self) -> &mut D::Tx {
        self.driver.tx()
    }

    /// From here on, this is done about each event.
    pub(super) fn react(
        &mut self,
        reaction: impl FnMut(&mut D::Tx, &Event) -> Option<Close> + 'static,
    ) {
        self.seen.reaction = Some(Box::new(reaction));
    }

    pub(super) fn connect(&mut self, to: SocketAddr) -> ConnId {
        let id = self.tx().connect(to).unwrap();
        self.expect_connect(id);
        id
    }

    /// A reaction has begun to connect this one.
    pub(super) fn expect_connect(&mut self, id: ConnId) {
        self.seen.stages.insert(id, Stage::Connecting);
    }

    pub(super) fn close(&mut self, id: ConnId, how: Close) {
        self.seen.close(self.driver.tx(), id, how);
    }

    /// One turn that does not wait long; returns what it told.
    pub(super) fn turn(&mut self) -> &[Event] {
        self.turn_to(Instant::now() + Duration::from_millis(1))
    }

    pub(super) fn turn_to(&mut self, until: Instant) -> &[Event] {
        let from = self.seen.events.len();
        self.driver.turn(Some(until), &mut self.seen).unwrap();
        &self.seen.events[from..]
    }

    pub(super) fn turn_until(&mut self, what: &str, done: impl Fn(&Seen<D::Tx>) -> bool) {
        let patience = Patience::new();
        while !done(&self.seen) {
            patience.check(what);
            self.turn_to(patience.until());
        }
    }

    /// A new peer, accepted.
    pub(super) fn join(&mut self) -> (ConnId, Peer) {
        // Only what is told from here on: an earlier peer may have had the same port.
        let from = self.seen.events.len();
        let peer = Peer::connect(self.address);
        let address = peer.addr();
        let find = |seen: &Seen<D::Tx>| {
            seen.events[from..].iter().find_map(|event| match event {
                Event::Accepted(id, peer) if *peer == address => Some(*id),
                _ => None,
            })
        };
        self.turn_until("to be accepted", |seen| find(seen).is_some());
        (find(&self.seen).unwrap(), peer)
    }

    /// A byte from the peer, and one back.
    pub(super) fn exchange(&mut self, id: ConnId, peer: &mut Peer) {
        let before = self.seen.received(id).len();
        peer.send(b"?");
        self.turn_until("a byte in", |seen| seen.received(id).len() == before + 1);
        assert_eq!(self.tx().write(id, &[IoSlice::new(b"!")]), 0);
        assert_eq!(self.read(peer, 1), b"!");
    }

    /// Lets pass what would happen: when a connection that begins now has come, sent and left, all
    /// that went before it on the loopback has been told.
    pub(super) fn fence(&mut self) {
        for _ in 0..2 {
            let (id, mut peer) = self.join();
            self.exchange(id, &mut peer);
            drop(peer);
            self.turn_until("the fence to go", |seen| seen.end(id) == Some(End::Eof));
        }
    }

    /// All of it, whatever fits at a time.
    pub(super) fn feed(&mut self, peer: &mut Peer, bytes: &[u8]) {
        let patience = Patience::new();
        let mut sent = 0;
        while sent < bytes.len() {
            patience.check("the driver to read");
            sent += peer.send_some(&bytes[sent..]);
            self.turn();
        }
    }

    /// So many bytes at the peer.
    pub(super) fn read(&mut self, peer: &mut Peer, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.pump(peer, &mut bytes, len);
        assert_eq!((end, bytes.len()), (None, len));
        bytes
    }

    /// All that comes to the peer, and whether FIN ends it or an error.
    pub(super) fn read_to_end(&mut self, peer: &mut Peer) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = self.pump(peer, &mut bytes, usize::MAX);
        (bytes, end.expect("only an end ends it"))
    }

    fn pump(&mut self, peer: &mut Peer, bytes: &mut Vec<u8>, len: usize) -> Option<End> {
        let patience = Patience::new();
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

/// What was sent on the loopback before this has arrived after it.
pub(super) fn settle() {
    let listener = TcpListener::bind(ANY).unwrap();
    let mut from = Peer::connect(listener.local_addr().unwrap());
    from.send(b"?");
    Peer::new(listener.accept().unwrap().0).receive_exactly(1);
}

/// Peers that wait for their turn, oldest first.
pub(super) fn crowd(to: SocketAddr, count: usize) -> VecDeque<Peer> {
    (0..count).map(|_| Peer::connect(to)).collect()
}

/// Long byte strings do not belong in a panic's message.
#[track_caller]
pub(super) fn assert_same(got: &[u8], expected: &[u8]) {
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    assert_eq!((got.len(), differs), (expected.len(), None), "(length, first difference)");
}
