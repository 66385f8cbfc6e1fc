//! Connections end: by us, by the server, or by themselves.

use std::sync::atomic::Ordering;

use sockeye_driver::{Close, ConnId, Tx};

use super::super::client::Stage;
use super::super::failure::Failure;
use super::{Action, CLOSE_TIMEOUT_NS, Fleet, RECONNECT_NS, scatter};

impl Fleet {
    /// Closes all that is open, and opens nothing more.
    pub(crate) fn close_all<T: Tx>(&mut self, tx: &mut T) {
        self.closing = true;
        self.shared.hands.running = false;
        self.shared.hands.over = true;
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
    pub(super) fn close<T: Tx>(&mut self, tx: &mut T, id: ConnId) -> bool {
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

    pub(super) fn no_sender(&mut self, id: ConnId) {
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

    /// The closing handshake is over, or the server has begun it.
    pub(super) fn closed_by_server<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
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

    pub(super) fn reopen(&mut self, number: u32) {
        if self.shared.plan.reconnects && !self.closing {
            let jitter = scatter(number.into()) % (RECONNECT_NS / 2);
            self.at(self.shared.now_ns + RECONNECT_NS + jitter, Action::Open(number));
        }
    }

    /// A connection came to nothing, or was lost.
    pub(super) fn lost(&mut self, id: ConnId, failure: &Failure) {
        let Some(client) = self.clients.get(id) else { return };
        let (stage, is_slow, number) = (client.stage, client.is_slow, client.number);
        match stage {
            Stage::Connecting | Stage::Proxy | Stage::Tls | Stage::Upgrading => {
                self.not_opened(failure)
            }
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

    pub(super) fn forget(&mut self, id: ConnId) {
        self.no_sender(id);
        let Some(mut client) = self.clients.remove(id) else { return };
        match client.stage {
            Stage::Connecting | Stage::Proxy | Stage::Tls | Stage::Upgrading => self.pending -= 1,
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

    pub(super) fn not_opened(&mut self, failure: &Failure) {
        self.shared.hands.record.totals.connections_failed += 1;
        self.gauge.failed.fetch_add(1, Ordering::Relaxed);
        self.shared.hands.record.error(failure.what(), self.shared.now_ns);
    }
}
