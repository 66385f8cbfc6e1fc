//! Messages leave: when they are due, when one was answered, when a script says so.

use sockeye_driver::{ConnId, Tx};

use super::super::client::{Client, Next, Shared};
use super::super::failure::Failure;
use super::super::flights::Flight;
use super::super::pace::Pace;
use super::super::plan::Scenario;
use super::super::report::LoadKind;
use super::{Action, Fleet, SENDS_PER_TURN};

impl Fleet {
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
    pub(super) fn storm<T: Tx>(&mut self, tx: &mut T, due_ns: u64) {
        if self.clients.len() >= self.shared.plan.connections.div_ceil(self.shared.plan.threads) {
            let what = "as many connections as --connections allows are open: some were not opened";
            return self.shared.hands.record.error(what, self.shared.now_ns);
        }
        let flight = Flight { due_ns, sent_ns: self.shared.now_ns, ..Flight::default() };
        self.shared.hands.record.sent(&flight, 0, true);
        if let Some(client) = self.begin(tx, 0, due_ns).and_then(|id| self.clients.get_mut(id)) {
            client.depart(flight);
            self.in_flight += 1;
        }
    }

    pub(super) fn send_next<T: Tx>(&mut self, tx: &mut T, due_ns: u64) {
        let Some(&id) = self.senders.get(self.turn % self.senders.len().max(1)) else {
            let what = "a message was due and no connection was open";
            return self.shared.hands.record.error(what, self.shared.now_ns);
        };
        self.turn = (self.turn + 1) % self.senders.len();
        self.send_on(tx, id, due_ns);
    }

    pub(super) fn send_on<T: Tx>(&mut self, tx: &mut T, id: ConnId, due_ns: u64) {
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
    pub(super) fn script<T: Tx>(
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

    pub(super) fn set_script_timer(&mut self, id: ConnId) {
        if let Some(at_ns) = self.clients.get_mut(id).and_then(Client::take_timer) {
            self.at(at_ns, Action::Script(id));
        }
    }

    /// Has as many messages under way on a connection as a closed loop has.
    pub(super) fn fill<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        if self.shared.plan.script.is_some() {
            return self.script(tx, id, Client::follow_script);
        }
        let in_flight = self.shared.plan.in_flight;
        // One that cannot be sent is not tried again.
        for _ in 0..in_flight {
            let has_room = |client: &Client| client.is_open() && client.in_flight() < in_flight;
            if !self.clients.get(id).is_some_and(has_room) {
                return;
            }
            let now_ns = self.tick();
            self.send_on(tx, id, now_ns);
        }
    }
}
