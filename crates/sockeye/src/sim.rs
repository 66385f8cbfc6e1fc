//! Whole servers on the driver's [simulator](sockeye_driver::sim): for tests, of this engine and of
//! handlers. Shards are turned by hand, on virtual time, on one thread.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sockeye_driver::Driver;
use sockeye_driver::sim::SimListener;
pub use sockeye_driver::sim::{Faults, Random, SimDriver, SimNet, SimSocket, SimTx};

use crate::backend::{Backend, ChosenBackend};
use crate::config::Config;
use crate::error::Result;
use crate::handler::Handler;
use crate::mailbox::{Handle, Mailbox};
use crate::shard::Shard;
#[cfg(feature = "tls")]
use crate::tls::{Current, Tls, TlsConfig};
use crate::transport::Transport;

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
    let (handle, parts) = parts(net, address, config, count)?;
    let shards = shards(parts, &handle, handler, |driver, _| Ok(driver), Inner::Plain)?;
    Ok((handle, shards))
}

/// [`build`] with TLS. What it encrypts is not the seed's doing, but how much that is.
///
/// # Errors
/// A setting that makes no sense.
#[cfg(feature = "tls")]
pub fn build_tls<H: Handler>(
    net: &SimNet,
    address: SocketAddr,
    config: Config,
    tls: &TlsConfig,
    count: usize,
    handler: impl Fn(usize) -> H,
) -> Result<(Handle, Vec<SimShard<H>>)> {
    let (mut handle, parts) = parts(net, address, config, count)?;
    handle.tls = Some(Arc::new(Current::new(tls)?));
    let secure = |driver, config: &Config| Tls::of(driver, &handle, config);
    let shards = shards(parts, &handle, handler, secure, Inner::Tls)?;
    Ok((handle, shards))
}

/// What a shard is made of, but for the author's part.
struct Part {
    driver: SimDriver,
    listener: SimListener,
    config: Arc<Config>,
}

fn parts(
    net: &SimNet,
    address: SocketAddr,
    config: Config,
    count: usize,
) -> Result<(Handle, Vec<Part>)> {
    config.check()?;
    let config = Arc::new(config);
    // Short messages too are received in place, as only long ones are elsewhere.
    let driver = || sockeye_driver::Config { room_bytes_min: 64, ..config.driver() };
    let drivers: Vec<_> = (0..count).map(|_| SimDriver::new(net, driver())).collect();
    let mailbox = |driver: &SimDriver| Arc::new(Mailbox::new(driver.waker(), Arc::clone(&config)));
    // Below the engine is no backend of this list; the simulator behaves like this one.
    let backend = ChosenBackend::new(Backend::Epoll, "simulated");
    let handle = Handle {
        shards: drivers.iter().map(mailbox).collect(),
        backend,
        #[cfg(feature = "tls")]
        tls: None,
    };
    let listeners = net.listen(address, count, config.listen_backlog as usize);
    let part = |(driver, listener)| Part { driver, listener, config: Arc::clone(&config) };
    Ok((handle, drivers.into_iter().zip(listeners).map(part).collect()))
}

fn shards<T: Transport<Listener = SimListener>, H: Handler>(
    parts: Vec<Part>,
    handle: &Handle,
    handler: impl Fn(usize) -> H,
    transport: impl Fn(SimDriver, &Config) -> Result<T>,
    inner: impl Fn(Box<Shard<T, H>>) -> Inner<H>,
) -> Result<Vec<SimShard<H>>> {
    let shard = |(part, number): (Part, u16)| {
        let Part { driver, listener, config } = part;
        let transport = transport(driver, &config)?;
        let handler = handler(usize::from(number));
        let shard = Shard::new(transport, listener, handler, config, handle.clone(), number)?;
        Ok(SimShard(inner(Box::new(shard))))
    };
    parts.into_iter().zip(0..).map(shard).collect()
}

/// A shard on the simulator.
pub struct SimShard<H: Handler>(Inner<H>);

enum Inner<H: Handler> {
    Plain(Box<Shard<SimDriver, H>>),
    #[cfg(feature = "tls")]
    Tls(Box<Shard<Tls<SimDriver>, H>>),
}

/// The same with and without TLS.
macro_rules! each {
    ($inner:expr, $shard:ident => $what:expr) => {
        match $inner {
            Inner::Plain($shard) => $what,
            #[cfg(feature = "tls")]
            Inner::Tls($shard) => $what,
        }
    };
}

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
        each!(&mut self.0, shard => Ok(shard.turn(until)?))
    }

    /// When there is something to do, unless others turn meanwhile.
    pub fn next_deadline(&self) -> Option<Instant> {
        each!(&self.0, shard => shard.next_deadline())
    }

    /// The server was shut down and the shard's last connection is gone.
    pub fn is_done(&self) -> bool {
        each!(&self.0, shard => shard.is_done())
    }

    /// Counts all that there is. Between turns.
    pub fn census(&mut self) -> Census {
        each!(&mut self.0, shard => shard.census())
    }
}

impl<H: Handler> fmt::Debug for SimShard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimShard").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}
