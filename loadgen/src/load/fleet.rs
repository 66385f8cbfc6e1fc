//! All connections of one thread: they are opened, send when messages are due, and end.

mod dialer;
mod ending;
mod sending;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_driver::{Adopted, Close, Closed, ConnId, SideTable, Sink, Tx};

pub(crate) use dialer::Dialer;

use super::client::{Client, Next, Shared, Stage};
use super::clock::NS_PER_S;
use super::failure::Failure;
use super::plan::{Plan, Scenario};
use super::record::{Kind, PayloadBytes};
use super::report::LoadKind;

/// Connections begun in a row before anything else is looked at.
const OPENINGS_PER_TURN: usize = 64;
/// Messages sent in a row before anything else is looked at.
const SENDS_PER_TURN: usize = 256;
/// How long a lost connection waits before it is opened again, and half as much again by chance.
const RECONNECT_NS: u64 = NS_PER_S / 5;
/// How long the server may take to answer a close frame.
const CLOSE_TIMEOUT_NS: u64 = 2 * NS_PER_S;

/// What others may look at while the threads run.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) open: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What is to happen to a connection at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    /// It must be open by now.
    Expect(ConnId),
    Ping(ConnId),
    /// Its life is over.
    Expire(ConnId),
    /// It may read again.
    Resume(ConnId),
    /// Number so-and-so is to be opened.
    Open(u32),
    /// The server must have closed by now.
    Drop(ConnId),
    /// A script goes on.
    Script(ConnId),
}

/// The connections of a thread.
pub(crate) struct Fleet {
    pub(crate) shared: Shared,
    dialer: Dialer,
    clients: SideTable<Client>,
    gauge: Arc<Gauge>,
    /// Numbers that were not opened yet, the next one last.
    to_open: Vec<usize>,
    /// When the next may be.
    open_next_ns: u64,
    open_gap_ns: u64,
    pending: usize,
    /// Open ones that send, and whose turn it is.
    senders: Vec<ConnId>,
    turn: usize,
    timers: BinaryHeap<Reverse<(u64, Action)>>,
    open: u64,
    /// Messages that wait for an answer, on all connections.
    in_flight: usize,
    pub(crate) closing: bool,
}

impl Fleet {
    pub(crate) fn new(shared: Shared, dialer: Dialer, gauge: Arc<Gauge>, thread: usize) -> Self {
        let plan = &shared.plan;
        let mut to_open: Vec<_> = plan.numbers(thread).collect();
        to_open.reverse();
        if plan.scenario == Scenario::Storm {
            to_open.clear();
        }
        let gap = plan.connect_per_s.map_or(0.0, |rate| plan.threads as f64 / rate);
        let open_gap_ns = (gap * NS_PER_S as f64) as u64;
        let open_next_ns =
            shared.clock.now_ns() + open_gap_ns / plan.threads as u64 * thread as u64;
        Self {
            shared,
            dialer,
            clients: SideTable::default(),
            gauge,
            to_open,
            open_next_ns,
            open_gap_ns,
            pending: 0,
            senders: Vec::new(),
            turn: 0,
            timers: BinaryHeap::new(),
            open: 0,
            in_flight: 0,
            closing: false,
        }
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.shared.plan)
    }

    pub(crate) fn tick(&mut self) -> u64 {
        self.shared.now_ns = self.shared.clock.now_ns();
        self.shared.now_ns
    }

    /// The time as it was last read.
    pub(crate) const fn now_ns(&self) -> u64 {
        self.shared.now_ns
    }

    /// All were tried.
    pub(crate) fn is_assembled(&self) -> bool {
        self.to_open.is_empty() && self.pending == 0
    }

    /// No connection is left, and none will come: there is nothing to load any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.clients.is_empty()
            && self.to_open.is_empty()
            && self.timers.is_empty()
            && self.shared.plan.scenario != Scenario::Storm
    }

    /// All are open: what only opening them took is given back.
    pub(crate) fn shrink(&mut self) {
        let clients = &self.clients;
        let is_of_use = |action: &Action| match action {
            Action::Expect(id) => clients.get(*id).is_some_and(|client| !client.is_open()),
            _ => true,
        };
        self.timers.retain(|Reverse((_, action))| is_of_use(action));
        self.timers.shrink_to_fit();
        self.to_open.shrink_to_fit();
        self.senders.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(crate) const fn open(&self) -> u64 {
        self.open
    }

    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// When something is to be done by itself; not what is due by the schedule.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        let timer = self.timers.peek().map(|Reverse((at_ns, _))| *at_ns);
        let may_open = !self.to_open.is_empty() && self.pending < self.pending_max();
        let opening = may_open.then_some(self.open_next_ns);
        timer.into_iter().chain(opening).min()
    }

    fn pending_max(&self) -> usize {
        self.shared.plan.pending_max.div_ceil(self.shared.plan.threads)
    }

    /// Does what is to be done by itself.
    pub(crate) fn work<T: Tx>(&mut self, tx: &mut T) {
        let now_ns = self.tick();
        for _ in 0..OPENINGS_PER_TURN {
            if self.pending >= self.pending_max() || self.open_next_ns > now_ns {
                break;
            }
            let Some(number) = self.to_open.pop() else { break };
            self.open_next_ns += self.open_gap_ns;
            self.begin(tx, number, now_ns);
        }
        while let Some(Reverse((at_ns, action))) = self.timers.peek().copied()
            && at_ns <= now_ns
        {
            self.timers.pop();
            self.act(tx, action);
        }
    }

    fn at(&mut self, at_ns: u64, action: Action) {
        self.timers.push(Reverse((at_ns, action)));
    }

    fn act<T: Tx>(&mut self, tx: &mut T, action: Action) {
        match action {
            Action::Expect(id) => {
                let stage = self.clients.get(id).map(|client| client.stage);
                let what = match stage {
                    Some(Stage::Connecting) => "connecting took too long (--connect-timeout)",
                    Some(Stage::Proxy) => "the proxy took too long (--connect-timeout)",
                    Some(Stage::Tls) => "the TLS handshake took too long (--connect-timeout)",
                    Some(Stage::Upgrading) => "the upgrade took too long (--connect-timeout)",
                    _ => return,
                };
                tx.close(id, Close::Abort);
                self.lost(id, &Failure::Other(what.into()));
            }
            Action::Ping(id) => {
                let every_ns = self.shared.plan.ping_every_ns;
                let Some(client) = self.clients.get_mut(id) else { return };
                if let (true, Some(every_ns)) = (client.is_open(), every_ns) {
                    let mut out = tx.out(id);
                    let result = client.ping(&mut self.shared, &mut out);
                    tx.flush(id, out);
                    let now_ns = self.shared.now_ns;
                    self.at(now_ns + every_ns, Action::Ping(id));
                    self.settle(tx, id, result.map(|()| Next::Nothing));
                }
            }
            Action::Expire(id) => {
                let number = self.clients.get(id).map(|client| client.number);
                if self.close(tx, id)
                    && let Some(number) = number
                    && self.shared.plan.scenario != Scenario::Storm
                    && !self.closing
                {
                    self.to_open.push(number as usize);
                }
            }
            Action::Resume(id) => tx.set_recv(id, true),
            Action::Open(number) => {
                if !self.closing {
                    self.to_open.push(number as usize);
                }
            }
            Action::Script(id) => self.script(tx, id, Client::wake),
            Action::Drop(id) => {
                if self.clients.get(id).is_some() {
                    tx.close(id, Close::Abort);
                    self.forget(id);
                }
            }
        }
    }

    /// Begins to open a connection that was due then.
    fn begin<T: Tx>(&mut self, tx: &mut T, number: usize, due_ns: u64) -> Option<ConnId> {
        let plan = self.plan();
        match self.dialer.dial(tx, plan.is_slow(number)) {
            Ok((id, adopted, tls)) => {
                self.pending += 1;
                self.clients.insert(id, Client::new(number, due_ns, tls, &plan));
                self.at(self.shared.now_ns + plan.connect_timeout_ns, Action::Expect(id));
                if adopted == Adopted::Connected {
                    self.connected(tx, id);
                }
                Some(id)
            }
            Err(failure) => {
                self.not_opened(&failure);
                None
            }
        }
    }

    /// What follows from what a connection has got or done.
    fn settle<T: Tx>(&mut self, tx: &mut T, id: ConnId, result: Result<Next, Failure>) {
        match result {
            Ok(Next::Nothing) => {}
            Ok(Next::Opened) => self.opened(tx, id),
            Ok(Next::Finished) => {
                self.no_sender(id);
                self.at(self.shared.now_ns + CLOSE_TIMEOUT_NS, Action::Drop(id));
            }
            Ok(Next::Closed) => self.closed_by_server(tx, id),
            Err(failure) => {
                tx.close(id, Close::Abort);
                self.lost(id, &failure);
            }
        }
    }

    fn opened<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        let plan = self.plan();
        let Some(client) = self.clients.get_mut(id) else { return };
        let (number, now_ns) = (client.number as usize, self.shared.now_ns);
        self.pending -= 1;
        self.open += 1;
        self.gauge.open.fetch_add(1, Ordering::Relaxed);
        let totals = &mut self.shared.hands.record.totals;
        totals.connections_opened += 1;
        totals.connections_peak = totals.connections_peak.max(self.open);
        if let Some(lifetime_ns) = plan.lifetime_ns {
            // Half of it to one and a half, so that those that came together do not go together.
            let part = scatter(number as u64 ^ now_ns) % 1024 * lifetime_ns / 1024;
            self.at(now_ns + lifetime_ns / 2 + part, Action::Expire(id));
        }
        if let Some(every_ns) = plan.ping_every_ns {
            // Spread over the first interval, so that they do not all come at once.
            let part = number as u64 % 1024 * every_ns / 1024;
            self.at(now_ns + part, Action::Ping(id));
        }
        if plan.sends(number) {
            if let Some(client) = self.clients.get_mut(id) {
                client.place = self.senders.len() as u32;
            }
            self.senders.push(id);
            if plan.load == LoadKind::Closed && self.shared.hands.running {
                self.fill(tx, id);
            }
        }
    }

    /// A connection of a storm is open: that was its answer.
    fn stormed<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        let Some(flight) = self.clients.get_mut(id).and_then(Client::arrive) else { return };
        self.in_flight -= 1;
        let of = Kind { is_slow: false, is_open_loop: true };
        let bytes = PayloadBytes { plain: 0, wire: 0 };
        self.shared.hands.record.answered(&flight, bytes, self.shared.now_ns, of);
        if self.shared.plan.lifetime_ns.is_none() {
            self.close(tx, id);
        }
    }

    /// Some bytes have come for a connection, to be handled by `receive`.
    fn received_by<T: Tx>(
        &mut self,
        tx: &mut T,
        id: ConnId,
        len: usize,
        receive: impl FnOnce(&mut Client, &mut Shared, &mut Vec<u8>) -> Result<Next, Failure>,
    ) {
        self.tick();
        let Some(client) = self.clients.get_mut(id) else { return };
        let before = client.in_flight();
        let mut out = tx.out(id);
        let result = receive(client, &mut self.shared, &mut out);
        self.in_flight = self.in_flight + client.in_flight() - before;
        let is_slow = client.is_slow && client.stage == Stage::Open;
        tx.flush(id, out);
        let is_open = matches!(result, Ok(Next::Opened));
        self.set_script_timer(id);
        self.settle(tx, id, result);
        if is_open && self.shared.plan.scenario == Scenario::Storm {
            self.stormed(tx, id);
        }
        if let (true, Some(slow)) = (is_slow, self.shared.plan.slow) {
            tx.set_recv(id, false);
            let pause_ns = len as u64 * NS_PER_S / slow.bytes_per_s.max(1);
            self.at(self.shared.now_ns + pause_ns, Action::Resume(id));
        }
    }
}

/// A number that has nothing to do with the one before it (Fibonacci hashing).
const fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

impl<T: Tx> Sink<T> for Fleet {
    fn accepted(&mut self, _tx: &mut T, _id: ConnId) {}

    fn connected(&mut self, tx: &mut T, id: ConnId) {
        self.received_by(tx, id, 0, |client, shared, out| {
            client.begin(shared, out).map(|()| Next::Nothing)
        });
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        let len = bytes.len();
        self.received_by(tx, id, len, |client, shared, out| client.receive(shared, bytes, out));
    }

    fn room(&mut self, id: ConnId, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        self.clients.get_mut(id)?.room(bytes_min, bytes_max)
    }

    fn received_in_room(&mut self, tx: &mut T, id: ConnId, len: usize) {
        self.received_by(tx, id, len, |client, shared, out| {
            client.receive_in_room(shared, len, out)
        });
    }

    fn drained(&mut self, _tx: &mut T, _id: ConnId) {}

    fn closed(&mut self, _tx: &mut T, id: ConnId, why: Closed) {
        self.tick();
        let client = self.clients.get(id);
        let stage = client.map(|client| client.stage);
        let tls_end = client.and_then(Client::tls_end);
        let failure = match why {
            Closed::Eof if stage == Some(Stage::Proxy) => {
                Failure::Other("the proxy closed a connection instead of an answer".into())
            }
            Closed::Eof if let Some(error) = tls_end => Failure::Tls(error),
            Closed::Eof if stage == Some(Stage::Upgrading) => {
                Failure::Other("the server closed a connection instead of an answer".into())
            }
            Closed::Eof => Failure::Other("the server closed a connection without a word".into()),
            Closed::Error(error) if stage == Some(Stage::Connecting) => {
                Failure::Other(self.dialer.place.explain(&error).into())
            }
            Closed::Error(error) => Failure::Io(error),
        };
        self.lost(id, &failure);
    }
}
