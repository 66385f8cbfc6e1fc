//! Whole servers on the driver's [simulator](sockeye_driver::sim): for tests, of this engine and of
//! handlers. Shards are turned by hand, on virtual time, on one thread.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sockeye_driver::Driver;
pub use sockeye_driver::sim::{Faults, Random, SimDriver, SimNet, SimSocket, SimTx};

use crate::backend::{Backend, ChosenBackend};
use crate::config::Config;
use crate::error::Result;
use crate::handler::Handler;
use crate::mailbox::{Handle, Mailbox};
use crate::shard::Shard;

/// A server with `count` shards that share an address of the network, as
/// [`Server::build`](crate::Server::build) makes it on the system's.
///
/// # Errors
/// A setting that makes no sense.
pub fn build<H: Handler>(
    net: &SimNet,
    address: SocketAddr,
    config: Config,
    count: usize,
    handler: impl Fn(usize) -> H,
) -> Result<(Handle, Vec<SimShard<H>>)> {
    config.check()?;
    let config = Arc::new(config);
    // Short messages too are received in place, as only long ones are elsewhere.
    let driver = || sockeye_driver::Config { room_bytes_min: 64, ..config.driver() };
    let drivers: Vec<_> = (0..count).map(|_| SimDriver::new(net, driver())).collect();
    let mailbox = |driver: &SimDriver| Arc::new(Mailbox::new(driver.waker(), Arc::clone(&config)));
    // Below the engine is no backend of this list; the simulator behaves like this one.
    let backend = ChosenBackend::new(Backend::Epoll, "simulated");
    let handle = Handle { shards: drivers.iter().map(mailbox).collect(), backend };
    let listeners = net.listen(address, count, config.listen_backlog as usize);
    let mut shards = Vec::new();
    for ((driver, listener), number) in drivers.into_iter().zip(listeners).zip(0_u16..) {
        let handler = handler(usize::from(number));
        let (config, handle) = (Arc::clone(&config), handle.clone());
        let shard = Shard::new(driver, listener, handler, config, handle, number)?;
        shards.push(SimShard(shard));
    }
    Ok((handle, shards))
}

/// A shard on the simulator.
pub struct SimShard<H: Handler>(Shard<SimDriver, H>);

/// All that a shard holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections of the driver.
    pub connections: usize,
    /// Sessions of the engine: those in a handshake too.
    pub sessions: usize,
    /// Sessions that are open.
    pub open: usize,
    /// Topics that somebody subscribes to.
    pub topics: usize,
    /// Subscriptions, by connection.
    pub subscriptions: usize,
    /// Entries of the timer wheel; those of connections that are gone stay until their time.
    pub timers: usize,
    /// Commands and publications that the last turn has left.
    pub undelivered: usize,
    /// Bytes that wait, for all connections.
    pub backlog_bytes: usize,
    /// Bytes that wait for one connection, at most.
    pub backlog_bytes_max: usize,
    /// Bytes that wait for one connection to which no close frame was sent, at most.
    pub open_backlog_bytes_max: usize,
    /// Whether the lists that say the same in two ways agree.
    pub is_consistent: bool,
}

impl<H: Handler> SimShard<H> {
    /// Does all there is to do; where that is nothing, the network's clock moves on until there is,
    /// or to `until`.
    ///
    /// # Errors
    /// Nothing will ever happen.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        Ok(self.0.turn(until)?)
    }

    /// When there is something to do, unless others turn meanwhile.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.next_deadline()
    }

    /// The server was shut down and the shard's last connection is gone.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Counts all that there is. Between turns.
    pub fn census(&mut self) -> Census {
        self.0.census()
    }
}

impl<H: Handler> fmt::Debug for SimShard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimShard").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}
