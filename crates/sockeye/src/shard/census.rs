//! A count of all that a shard holds, for simulations.

use sockeye_driver::sim::SimDriver;
use sockeye_driver::{Driver, Tx};

use super::{Engine, Shard};
use crate::handler::Handler;
use crate::session::Stage;
use crate::sim::Census;

impl<H: Handler> Shard<SimDriver, H> {
    pub(crate) fn census(&mut self) -> Census {
        let (connections, backlog_bytes) = self.driver.load();
        let Engine { sessions, core, wheel, mails, overflowed, .. } = &self.engine;
        let mut census = Census {
            connections,
            backlog_bytes,
            sessions: sessions.len(),
            timers: wheel.len(),
            undelivered: mails.len() + overflowed.len() + core.outgoing.ends.len(),
            ..Census::default()
        };
        census.undelivered += usize::from(!core.deliveries.is_empty());
        let by_topic;
        (census.topics, by_topic, census.subscriptions) = core.topics.len();
        census.is_consistent = by_topic == census.subscriptions;
        let tx = self.driver.tx();
        for id in sessions.ids() {
            let Some(session) = sessions.get(id) else { continue };
            let is_open = session.link.stage == Stage::Open;
            census.open += usize::from(is_open);
            census.is_consistent &= !is_open || session.data.is_some();
            let waiting = tx.backlog_bytes(id);
            census.backlog_bytes_max = census.backlog_bytes_max.max(waiting);
            // Its close frame may stand behind as much as there is; nothing else may.
            if session.link.connection.is_open() {
                census.open_backlog_bytes_max = census.open_backlog_bytes_max.max(waiting);
            }
        }
        census
    }
}
