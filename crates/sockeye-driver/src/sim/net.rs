//! The network: sockets, listeners and the one clock.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::pipe::Pipe;
use super::random::Random;
use super::socket::SimListener;

/// What may go wrong, and how often. The default is a network in good health.
#[derive(Debug, Clone)]
pub struct Faults {
    /// How long bytes are on their way, in microseconds: from, to.
    pub latency_us: (usize, usize),
    /// What one direction of a connection holds before it takes no more: from, to.
    pub pipe_bytes: (usize, usize),
    /// Of 1,000 receives: get only a part of what there is.
    pub short_receives: u32,
    /// Of 1,000 sends: only a part is taken of what there is room for, or nothing.
    pub short_sends: u32,
    /// Of 1,000 short sends: leave with the next turn, as io_uring's do, and may find no room then.
    pub deferred_sends: u32,
    /// Of 1,000 sends: they, and all behind them, are held up.
    pub stalls: u32,
    /// For how long, in microseconds: from, to.
    pub stall_us: (usize, usize),
    /// Of 1,000 events: the driver sees it only in its next turn.
    pub late_events: u32,
    /// Of 1,000 connections: reset at some byte,
    pub resets: u32,
    /// of so many at most, in one of the directions.
    pub reset_bytes_max: usize,
    /// Of 1,000 connects: refused.
    pub refused_connects: u32,
    /// Of 1,000 accepts: fail for want of a file descriptor.
    pub failed_accepts: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_us: (10, 200),
            pipe_bytes: (64 << 10, 256 << 10),
            short_receives: 0,
            short_sends: 0,
            deferred_sends: 0,
            stalls: 0,
            stall_us: (0, 0),
            late_events: 0,
            resets: 0,
            reset_bytes_max: 0,
            refused_connects: 0,
            failed_accepts: 0,
        }
    }
}

/// One network under one virtual clock; clones are the same network.
///
/// Nothing in it happens by itself: drivers turn, and [`advance_to`](Self::advance_to) lets time
/// pass. The same calls after the same seed have the same results.
#[derive(Debug, Clone)]
pub struct SimNet(Rc<RefCell<Net>>);

/// A socket, by number; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketId(usize);

#[derive(Debug)]
pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) random: Random,
    pub(super) faults: Faults,
    sockets: Vec<Socket>,
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    peer: SocketId,
    /// What comes in.
    inbox: Pipe,
    /// A connect under way: when it is decided, and how.
    connecting: Option<(Instant, Result<(), ErrorKind>)>,
    /// When the reset lands here.
    reset_at: Option<Instant>,
    /// The fault that was decided at birth: a reset behind so many bytes out.
    reset_after_bytes: Option<usize>,
    /// A fault has cut it.
    was_reset: bool,
    /// Its program has closed it.
    closed: bool,
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    queue: VecDeque<Waiting>,
    queue_max: usize,
    open: bool,
}

/// Who waits in a listener's queue.
#[derive(Debug)]
struct Waiting {
    /// From when on it can be accepted.
    from: Instant,
    socket: SocketId,
    /// The listener's owner knows that somebody has come.
    announced: bool,
}

impl SimNet {
    /// A network in which everything follows from the seed.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let net = Net {
            now: Instant::now(),
            random: Random::new(seed),
            faults,
            sockets: Vec::new(),
            listeners: Vec::new(),
        };
        Self(Rc::new(RefCell::new(net)))
    }

    pub(super) fn net(&self) -> RefMut<'_, Net> {
        self.0.borrow_mut()
    }

    /// The time: a real one when the network was made, a virtual one since.
    pub fn now(&self) -> Instant {
        self.net().now
    }

    /// Lets time pass. A time that has passed changes nothing.
    pub fn advance_to(&self, time: Instant) {
        let mut net = self.net();
        net.now = net.now.max(time);
    }

    /// From now on other things go wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.net().faults = faults;
    }

    /// So many listeners that share an address, each with a queue of so many connections at most.
    pub fn listen(&self, address: SocketAddr, count: usize, queue_max: usize) -> Vec<SimListener> {
        let mut net = self.net();
        let first = net.listeners.len();
        for _ in 0..count {
            net.listeners.push(Listener { address, queue: VecDeque::new(), queue_max, open: true });
        }
        (first..first + count).map(|number| SimListener::new(self.clone(), number)).collect()
    }

    /// Whether a fault has reset the connection that has this address at one of its ends.
    pub fn was_reset(&self, address: SocketAddr) -> bool {
        self.net().sockets.iter().any(|socket| socket.address == address && socket.was_reset)
    }
}

/// Sockets as a kernel gives them: nothing here waits.
impl Net {
    fn socket(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets[id.0]
    }

    fn peer(&mut self, id: SocketId) -> &mut Socket {
        let peer = self.sockets[id.0].peer;
        self.socket(peer)
    }

    fn arrival(&mut self) -> Instant {
        let mut delay_us = self.random.between(self.faults.latency_us);
        if self.random.chance(self.faults.stalls) {
            delay_us += self.random.between(self.faults.stall_us);
        }
        self.now + Duration::from_micros(delay_us as u64)
    }

    pub(super) fn connect(&mut self, to: SocketAddr) -> SocketId {
        let (id, peer) = (SocketId(self.sockets.len()), SocketId(self.sockets.len() + 1));
        // Each has a port of its own as long as they last; then they are told apart by the host.
        let port = 1024 + id.0 % 60_000;
        let host = Ipv4Addr::new(10, 0, (id.0 / 60_000) as u8, 1);
        let address = SocketAddr::new(IpAddr::V4(host), port as u16);
        for (address, peer) in [(address, peer), (to, id)] {
            let capacity = self.random.between(self.faults.pipe_bytes).max(1);
            self.sockets.push(Socket {
                address,
                peer,
                inbox: Pipe::new(capacity),
                connecting: None,
                reset_at: None,
                reset_after_bytes: None,
                was_reset: false,
                closed: false,
            });
        }
        let there = self.arrival();
        let back = there + (self.arrival() - self.now);
        let answer = self.enter_queue(to, peer, there);
        if answer.is_err() {
            self.socket(peer).closed = true;
        } else if self.random.chance(self.faults.resets) {
            let end = if self.random.chance(500) { id } else { peer };
            // Short distances are as likely as long ones: handshakes are short.
            let most = self.random.below(self.faults.reset_bytes_max) + 1;
            self.socket(end).reset_after_bytes = Some(self.random.below(most));
        }
        self.socket(id).connecting = Some((back, answer));
        id
    }

    fn enter_queue(
        &mut self,
        to: SocketAddr,
        socket: SocketId,
        at: Instant,
    ) -> Result<(), ErrorKind> {
        let open = |listener: &&mut Listener| listener.open && listener.address == to;
        let mut listeners: Vec<_> = self.listeners.iter_mut().filter(open).collect();
        let chosen = self.random.below(listeners.len());
        match listeners.get_mut(chosen) {
            None => Err(ErrorKind::ConnectionRefused),
            Some(_) if self.random.chance(self.faults.refused_connects) => {
                Err(ErrorKind::ConnectionRefused)
            }
            Some(listener) if listener.queue.len() >= listener.queue_max => {
                Err(ErrorKind::TimedOut)
            }
            Some(listener) => {
                listener.queue.push_back(Waiting { from: at, socket, announced: false });
                Ok(())
            }
        }
    }

    /// What has gone wrong by now.
    pub(super) fn take_error(&self, id: SocketId) -> Option<io::Error> {
        let socket = &self.sockets[id.0];
        let landed = |at: Instant| at <= self.now;
        match socket.connecting {
            Some((at, _)) if !landed(at) => None,
            Some((_, Err(refused))) => Some(refused.into()),
            _ => socket.reset_at.is_some_and(landed).then(|| ErrorKind::ConnectionReset.into()),
        }
    }

    /// When the connect is decided.
    pub(super) fn connected_at(&self, id: SocketId) -> Option<Instant> {
        Some(self.sockets[id.0].connecting?.0)
    }

    /// When somebody comes of whom the listener's owner does not know yet.
    pub(super) fn announced_at(&self, listener: usize) -> Option<Instant> {
        let queue = self.listeners[listener].queue.iter();
        queue.filter(|waiting| !waiting.announced).map(|waiting| waiting.from).min()
    }

    /// Tells the listener's owner that somebody has come: once, as a kernel does that is asked for
    /// edges.
    pub(super) fn announce(&mut self, listener: usize) {
        let now = self.now;
        let queue = self.listeners[listener].queue.iter_mut();
        queue.filter(|waiting| waiting.from <= now).for_each(|waiting| waiting.announced = true);
    }

    pub(super) fn accept(&mut self, listener: usize) -> io::Result<SocketId> {
        let now = self.now;
        let queue = &mut self.listeners[listener].queue;
        let Some(at) = queue.iter().position(|waiting| waiting.from <= now) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if self.random.chance(self.faults.failed_accepts) {
            return Err(io::Error::other("no file descriptor"));
        }
        let Waiting { socket, .. } = queue.remove(at).expect("it was found there");
        Ok(socket)
    }

    /// Who waits in its queue is turned away.
    pub(super) fn stop_listening(&mut self, listener: usize) {
        let listener = &mut self.listeners[listener];
        listener.open = false;
        for Waiting { socket, .. } in std::mem::take(&mut listener.queue) {
            self.reset_peer(socket);
            self.socket(socket).closed = true;
        }
    }

    /// `None`: not connected, or not any more.
    pub(super) fn peer_addr(&self, id: SocketId) -> Option<SocketAddr> {
        let socket = &self.sockets[id.0];
        let connecting = socket.connecting.is_some_and(|(at, _)| at > self.now);
        let broken = socket.reset_at.is_some_and(|at| at <= self.now);
        (!connecting && !broken).then(|| self.sockets[socket.peer.0].address)
    }

    pub(super) fn local_addr(&self, id: SocketId) -> SocketAddr {
        self.sockets[id.0].address
    }

    /// Up to `into.len()` bytes; `Ok(0)` is the FIN.
    pub(super) fn read(&mut self, id: SocketId, into: &mut [u8]) -> io::Result<usize> {
        let now = self.now;
        let short = self.random.chance(self.faults.short_receives);
        let room = if short { self.part(into.len()) } else { into.len() };
        let socket = self.socket(id);
        if socket.reset_at.is_some_and(|at| at <= now) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let read = socket.inbox.read(&mut into[..room], now);
        read.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    /// At least 1; often few.
    fn part(&mut self, of: usize) -> usize {
        let most = if self.random.chance(300) { of.min(16) } else { of };
        1 + self.random.below(most)
    }

    /// What fits.
    pub(super) fn write(&mut self, id: SocketId, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let now = self.now;
        if self.socket(id).reset_at.is_some_and(|at| at <= now) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.peer(id).closed || self.socket(id).was_reset {
            // It is lost, and that is found out later.
            self.reset(id);
            return Ok(len);
        }
        let mut room = self.peer(id).inbox.room().min(len);
        if room > 0 && self.random.chance(self.faults.short_sends) {
            room = self.part(room) - 1;
        }
        if room == 0 {
            return if len == 0 { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let cut = self.socket(id).reset_after_bytes.filter(|left| *left <= room);
        let passing = cut.unwrap_or(room);
        let at = self.arrival();
        let mut left = passing;
        for part in parts {
            let take = part.len().min(left);
            if take > 0 {
                self.peer(id).inbox.push(&part[..take], at);
            }
            left -= take;
        }
        if let Some(bytes) = &mut self.socket(id).reset_after_bytes {
            *bytes -= passing;
        }
        if cut.is_some() {
            self.cut(id);
        }
        Ok(room)
    }

    /// Whether a write would get somewhere, be it an error.
    pub(super) fn is_writable(&self, id: SocketId) -> bool {
        let socket = &self.sockets[id.0];
        let peer = &self.sockets[socket.peer.0];
        peer.closed || peer.inbox.room() > 0 || socket.reset_at.is_some_and(|at| at <= self.now)
    }

    /// When there is, or was, something to read: bytes, FIN or a reset.
    pub(super) fn readable_at(&self, id: SocketId) -> Option<Instant> {
        let socket = &self.sockets[id.0];
        let readable = socket.inbox.readable_at(self.now);
        match (readable, socket.reset_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn reset_at(&self, id: SocketId) -> Option<Instant> {
        self.sockets[id.0].reset_at
    }

    /// The fault: nothing passes any more, and either end finds out in its own time.
    fn cut(&mut self, id: SocketId) {
        let peer = self.socket(id).peer;
        for end in [id, peer] {
            self.socket(end).was_reset = true;
            self.socket(end).reset_after_bytes = None;
            self.reset(end);
        }
    }

    fn reset_peer(&mut self, id: SocketId) {
        let peer = self.socket(id).peer;
        self.reset(peer);
    }

    fn reset(&mut self, id: SocketId) {
        let at = self.arrival();
        self.socket(id).reset_at.get_or_insert(at);
    }

    /// FIN.
    pub(super) fn shutdown(&mut self, id: SocketId) -> io::Result<()> {
        let now = self.now;
        if self.socket(id).reset_at.is_some_and(|at| at <= now) {
            return Err(ErrorKind::NotConnected.into());
        }
        let at = self.arrival();
        self.peer(id).inbox.push_fin(at);
        Ok(())
    }

    /// Closes it with a reset, whether or not all was read.
    pub(super) fn abort(&mut self, id: SocketId) {
        self.socket(id).closed = true;
        self.reset_peer(id);
    }

    /// Bytes that nobody has read make it a reset, as TCP has it.
    pub(super) fn close(&mut self, id: SocketId) {
        let socket = self.socket(id);
        if std::mem::replace(&mut socket.closed, true) {
            return;
        }
        let unread = !socket.inbox.is_empty();
        let cut = socket.reset_at.is_some();
        socket.inbox = Pipe::default();
        if unread {
            self.reset_peer(id);
        } else if !cut && !self.peer(id).inbox.has_fin() {
            let at = self.arrival();
            self.peer(id).inbox.push_fin(at);
        }
    }
}
