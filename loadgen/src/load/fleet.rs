//! All connections of one thread: they are opened, send when messages are due, and end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_driver::{Adopted, Close, Closed, ConnId, SideTable, Sink, Tx};

use super::client::{Client, Next, Shared, Stage};
use super::clock::NS_PER_S;
use super::connector::{self, Connector};
use super::failure::Failure;
use super::flights::Flight;
use super::pace::Pace;
use super::plan::{Plan, Scenario};
use super::record::Kind;
use super::report::LoadKind;
use super::target::Place;
use super::tls::{ClientTls, TlsLink};

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

/// How connections are begun.
pub(crate) struct Dialer {
    pub(crate) connector: Connector,
    pub(crate) place: Place,
    pub(crate) tls: Option<Arc<ClientTls>>,
}

impl Dialer {
    fn dial<T: Tx>(
        &mut self,
        tx: &mut T,
        is_slow: bool,
    ) -> Result<(ConnId, Adopted, Option<TlsLink>), Failure> {
        let link = self.tls.as_ref().map(|tls| tls.link()).transpose();
        let link = link.map_err(|what| Failure::Other(what.into()))?;
        let kind = if is_slow { connector::Kind::Slow } else { connector::Kind::Usual };
        let explained = |error| Failure::Other(self.place.explain(&error).into());
        let opened = self.connector.open(kind).map_err(explained)?;
        let id = tx.adopt(opened.socket, opened.adopted).map_err(explained)?;
        Ok((id, opened.adopted, link))
    }
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

    fn not_opened(&mut self, failure: &Failure) {
        self.shared.hands.record.totals.connections_failed += 1;
        self.gauge.failed.fetch_add(1, Ordering::Relaxed);
        self.shared.hands.record.error(failure.what(), self.shared.now_ns);
    }

    /// Sends what is due by the schedule, until it is not or others have a right to their turn.
    pub(crate) fn send_due<T: Tx>(&mut self, tx: &mut T, pace: &mut Pace, start_ns: u64) {
        for _ in 0..SENDS_PER_TURN {
            let now_ns = self.tick();
            let Some(due_ns) = pace.peek().map(|due_ns| start_ns + due_ns) else { return };
            if due_ns > now_ns || now_ns >= self.shared.hands.record.until_ns {
                return;
            }
            pace.advance();
            if self.shared.plan.scenario == Scenario::Storm {
                self.storm(tx, due_ns);
            } else {
                self.send_next(tx, due_ns);
            }
        }
    }

    /// Opens a connection because one is due.
    fn storm<T: Tx>(&mut self, tx: &mut T, due_ns: u64) {
        if self.clients.len() >= self.shared.plan.connections.div_ceil(self.shared.plan.threads) {
            let what = "as many connections as --connections allows are open: some were not opened";
            return self.shared.hands.record.error(what, self.shared.now_ns);
        }
        let flight = Flight { due_ns, sent_ns: self.shared.now_ns, ..Flight::default() };
        self.shared.hands.record.sent(&flight, true);
        if let Some(client) = self.begin(tx, 0, due_ns).and_then(|id| self.clients.get_mut(id)) {
            client.depart(flight);
            self.in_flight += 1;
        }
    }

    fn send_next<T: Tx>(&mut self, tx: &mut T, due_ns: u64) {
        let Some(&id) = self.senders.get(self.turn % self.senders.len().max(1)) else {
            let what = "a message was due and no connection was open";
            return self.shared.hands.record.error(what, self.shared.now_ns);
        };
        self.turn = (self.turn + 1) % self.senders.len();
        self.send_on(tx, id, due_ns);
    }

    fn send_on<T: Tx>(&mut self, tx: &mut T, id: ConnId, due_ns: u64) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.in_flight() >= self.shared.plan.flights_max {
            let what = "so many answers are due on a connection that nothing more is sent on it";
            return self.shared.hands.record.error(what, self.shared.now_ns);
        }
        let before = client.in_flight();
        let mut out = tx.out(id);
        let result = client.send(&mut self.shared, due_ns, &mut out);
        self.in_flight = self.in_flight + client.in_flight() - before;
        let waiting = tx.flush(id, out);
        if waiting > 0 {
            let record = &mut self.shared.hands.record;
            record.queued_max = record.queued_max.max(waiting as u64);
        }
        self.settle(tx, id, result.map(|()| Next::Nothing));
    }

    /// The first messages of a closed loop.
    pub(crate) fn start_closed_loop<T: Tx>(&mut self, tx: &mut T) {
        self.shared.hands.running = true;
        if self.shared.plan.load != LoadKind::Closed {
            return;
        }
        for id in self.senders.clone() {
            self.fill(tx, id);
        }
    }

    /// A step of a connection's script.
    fn script<T: Tx>(
        &mut self,
        tx: &mut T,
        id: ConnId,
        step: impl FnOnce(&mut Client, &mut Shared, &mut Vec<u8>) -> Result<Next, Failure>,
    ) {
        self.tick();
        let Some(client) = self.clients.get_mut(id) else { return };
        let mut out = tx.out(id);
        let result = step(client, &mut self.shared, &mut out);
        tx.flush(id, out);
        self.set_script_timer(id);
        self.settle(tx, id, result);
    }

    fn set_script_timer(&mut self, id: ConnId) {
        if let Some(at_ns) = self.clients.get_mut(id).and_then(Client::take_timer) {
            self.at(at_ns, Action::Script(id));
        }
    }

    /// Has as many messages under way on a connection as a closed loop has.
    fn fill<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        if self.shared.plan.script.is_some() {
            return self.script(tx, id, Client::follow_script);
        }
        while self.clients.get(id).is_some_and(|client| {
            client.is_open() && client.in_flight() < self.shared.plan.in_flight
        }) {
            let now_ns = self.tick();
            self.send_on(tx, id, now_ns);
        }
    }

    /// Closes all that is open, and opens nothing more.
    pub(crate) fn close_all<T: Tx>(&mut self, tx: &mut T) {
        self.closing = true;
        self.shared.hands.running = false;
        self.to_open.clear();
        let now_ns = self.tick();
        let plan = self.plan();
        let ids: Vec<_> = self.clients.ids().collect();
        for id in ids {
            if let Some(client) = self.clients.get_mut(id) {
                client.give_up(&plan, &mut self.shared.hands.record, now_ns);
            }
            if !self.close(tx, id) {
                tx.close(id, Close::Abort);
                self.forget(id);
            }
        }
    }

    /// Ends all at once.
    pub(crate) fn abort_all<T: Tx>(&mut self, tx: &mut T) {
        let ids: Vec<_> = self.clients.ids().collect();
        for id in ids {
            tx.close(id, Close::Abort);
            self.forget(id);
        }
    }

    /// Begins the closing handshake. `false`: it is not open.
    fn close<T: Tx>(&mut self, tx: &mut T, id: ConnId) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        if !client.is_open() {
            return client.stage == Stage::Closing;
        }
        let mut out = tx.out(id);
        // It is open, so it can be closed.
        let _ = client.close(&mut self.shared, &mut out);
        tx.flush(id, out);
        tx.set_recv(id, true);
        self.no_sender(id);
        self.at(self.shared.now_ns + CLOSE_TIMEOUT_NS, Action::Drop(id));
        true
    }

    fn no_sender(&mut self, id: ConnId) {
        let Some(place) = self.clients.get(id).map(|client| client.place as usize) else { return };
        if self.senders.get(place) != Some(&id) {
            return;
        }
        self.senders.swap_remove(place);
        if let Some(moved) = self.senders.get(place)
            && let Some(client) = self.clients.get_mut(*moved)
        {
            client.place = place as u32;
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
        self.shared.hands.record.answered(&flight, 0, self.shared.now_ns, of);
        if self.shared.plan.lifetime_ns.is_none() {
            self.close(tx, id);
        }
    }

    /// The closing handshake is over, or the server has begun it.
    fn closed_by_server<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        let Some(client) = self.clients.get(id) else { return };
        let (stage, is_slow, number) = (client.stage, client.is_slow, client.number);
        tx.close(id, Close::Graceful);
        if stage == Stage::Open {
            let record = &mut self.shared.hands.record;
            if is_slow {
                record.slow_closed += 1;
            } else {
                record.totals.connections_lost += 1;
                record.error("the server closed a connection", self.shared.now_ns);
            }
            self.reopen(number);
        }
        self.forget(id);
    }

    fn reopen(&mut self, number: u32) {
        if self.shared.plan.reconnects && !self.closing {
            let jitter = scatter(number.into()) % (RECONNECT_NS / 2);
            self.at(self.shared.now_ns + RECONNECT_NS + jitter, Action::Open(number));
        }
    }

    /// A connection came to nothing, or was lost.
    fn lost(&mut self, id: ConnId, failure: &Failure) {
        let Some(client) = self.clients.get(id) else { return };
        let (stage, is_slow, number) = (client.stage, client.is_slow, client.number);
        match stage {
            Stage::Connecting | Stage::Tls | Stage::Upgrading => self.not_opened(failure),
            Stage::Open => {
                let record = &mut self.shared.hands.record;
                if !matches!(failure, Failure::Script(_)) {
                    record.closed(1006);
                }
                if is_slow {
                    record.slow_closed += 1;
                } else {
                    match failure {
                        Failure::Script(_) => record.totals.mismatches += 1,
                        _ => record.totals.connections_lost += 1,
                    }
                    record.error(failure.what(), self.shared.now_ns);
                }
                self.reopen(number);
            }
            // It was to end anyway.
            Stage::Closing => {}
        }
        self.forget(id);
    }

    fn forget(&mut self, id: ConnId) {
        self.no_sender(id);
        let Some(mut client) = self.clients.remove(id) else { return };
        match client.stage {
            Stage::Connecting | Stage::Tls | Stage::Upgrading => self.pending -= 1,
            Stage::Open | Stage::Closing => {
                self.open -= 1;
                self.gauge.open.fetch_sub(1, Ordering::Relaxed);
                let is_over = client.stage == Stage::Closing;
                if self.shared.plan.script.is_some() && is_over && self.shared.hands.running {
                    // Somebody else comes, and does the same.
                    self.to_open.push(client.number as usize);
                }
            }
        }
        self.in_flight -= client.in_flight();
        let now_ns = self.shared.now_ns;
        client.give_up(&self.shared.plan, &mut self.shared.hands.record, now_ns);
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
