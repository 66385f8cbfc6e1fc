//! A count of all that a shard holds, for simulations.

use sockeye_driver::sim::SimDriver;
use sockeye_driver::{Driver, Tx};

use super::{Engine, Shard};
use crate::handler::Handler;
use crate::session::Stage;
use crate::sim::Census;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// A transport on the simulator.
pub(crate) trait Simulated {
    /// The simulator's driver.
    fn driver(&mut self) -> &mut SimDriver;

    /// Connections that something above the driver remembers.
    fn remembered(&self) -> Option<usize>;
}

impl Simulated for SimDriver {
    fn driver(&mut self) -> &mut SimDriver {
        self
    }

    fn remembered(&self) -> Option<usize> {
        None
    }
}

#[cfg(feature = "tls")]
impl Simulated for Tls<SimDriver> {
    fn driver(&mut self) -> &mut SimDriver {
        self.driver()
    }

    fn remembered(&self) -> Option<usize> {
        Some(self.connections())
    }
}

impl<D: Simulated, H: Handler> Shard<D, H> {
    pub(crate) fn census(&mut self) -> Census {
        let remembered = self.driver.remembered();
        let driver = self.driver.driver();
        let (connections, backlog_bytes) = driver.load();
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
        census.is_consistent = by_topic == census.subscriptions
            && remembered.is_none_or(|remembered| remembered == connections);
        let tx = driver.tx();
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
