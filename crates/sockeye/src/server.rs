//! The builder: where to listen, how, and with how many shards. The one place that knows the
//! backends' drivers.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sockeye_driver::{Bound, Driver, Epoll, Uring, UringBuilder, Waker};

use crate::backend::Backend;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::mailbox::{Handle, Mailbox};
use crate::shard;
#[cfg(feature = "tls")]
use crate::tls::{Current, Tls, TlsConfig};
use crate::transport::Transport;

/// A driver that has no shard yet.
#[derive(Debug)]
enum AnyDriver {
    Epoll(Box<Epoll>),
    /// On the thread that it will be used on it becomes one.
    Uring(UringBuilder),
}

impl AnyDriver {
    fn new(backend: Backend, config: sockeye_driver::Config) -> Result<Self> {
        Ok(match backend {
            Backend::IoUring => Self::Uring(UringBuilder::new()?),
            Backend::Auto | Backend::Epoll => Self::Epoll(Box::new(Epoll::new(config)?)),
        })
    }

    fn waker(&self) -> Waker {
        match self {
            Self::Epoll(driver) => driver.waker(),
            Self::Uring(driver) => driver.waker(),
        }
    }
}

/// A server whose address is taken and which does not listen yet.
///
/// [`run`](Self::run) it, or [`build`](Self::build) its shards to drive them in loops of your own.
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    config: Config,
    backend: Backend,
    shards: usize,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

impl Server {
    /// Takes an address; with port 0 the system chooses a free one.
    ///
    /// # Errors
    /// The address is none, is in use, is not one of this machine's, or may not be used.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        let addresses =
            address.to_socket_addrs().map_err(|error| Error::Address(error.to_string()))?;
        let mut result = Err(Error::Address("the name has no address".into()));
        for address in addresses {
            match Bound::new(address) {
                Ok(bound) => {
                    let (config, backend) = (Config::default(), Backend::Auto);
                    let shards = thread::available_parallelism().map_or(1, NonZero::get);
                    return Ok(Self {
                        bound,
                        config,
                        backend,
                        shards,
                        #[cfg(feature = "tls")]
                        tls: None,
                    });
                }
                Err(cause) => result = Err(Error::Listen { address, cause }),
            }
        }
        result
    }

    /// The limits and times.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How the bytes move (default: [`Backend::Auto`]). [`Handle::backend`] tells what it came to.
    #[must_use]
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How many shards, each on a thread with a listener and connections of its own (default: one
    /// for each processor).
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Speaks TLS, and nothing else: `wss://`. [`Handle::reload_tls`] changes it while the server
    /// runs.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// How many shards it will have.
    pub const fn shard_count(&self) -> usize {
        self.shards
    }

    /// Where it will listen.
    pub const fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Listens, and gives out the shards to be started on threads of your own.
    ///
    /// # Errors
    /// A setting that makes no sense, a backend that is not there, or the system's.
    pub fn build(self) -> Result<Vec<ShardBuilder>> {
        self.config.check()?;
        if !(1..=usize::from(u16::MAX)).contains(&self.shards) {
            return Err(Error::Config(format!("shards must be 1 to {}", u16::MAX)));
        }
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref().map(Current::new).transpose()?.map(Arc::new);
        let chosen = self.backend.choose(self.shards, &self.config.io_uring)?;
        let config = Arc::new(self.config);
        let address = self.bound.local_addr();
        let listeners = self
            .bound
            .listen(self.shards, config.listen_backlog)
            .map_err(|cause| Error::Listen { address, cause })?;
        let mut drivers = Vec::new();
        for _ in &listeners {
            drivers.push(AnyDriver::new(chosen.backend, config.driver())?);
        }
        let mailbox =
            |driver: &AnyDriver| Arc::new(Mailbox::new(driver.waker(), Arc::clone(&config)));
        let handle = Handle {
            shards: drivers.iter().map(mailbox).collect(),
            backend: chosen,
            #[cfg(feature = "tls")]
            tls,
        };
        let shards = drivers.into_iter().zip(listeners).zip(0..);
        Ok(shards
            .map(|((driver, listener), number)| ShardBuilder {
                driver,
                listener,
                config: Arc::clone(&config),
                handle: handle.clone(),
                number,
            })
            .collect())
    }

    /// Listens and serves until [`Handle::shutdown`]; one shard is on this thread, the others on
    /// threads of their own, and there are no further threads. `handler` is called on each shard's
    /// thread with the shard's number.
    ///
    /// # Errors
    /// As [`build`](Self::build), or a driver broke.
    pub fn run<H: Handler>(self, handler: impl Fn(usize) -> H + Send + Sync) -> Result<()> {
        run(self.build()?, &handler)
    }

    /// [`run`](Self::run) on threads in the background, one for each shard.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn spawn<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Running> {
        let address = self.local_addr();
        let builders = self.build()?;
        let handle = builders[0].handle();
        let thread = thread::Builder::new()
            .name("sockeye-0".into())
            .spawn(move || run(builders, &handler))?;
        Ok(Running { handle, address, thread: Some(thread) })
    }
}

fn run<H: Handler>(
    builders: Vec<ShardBuilder>,
    handler: &(impl Fn(usize) -> H + Send + Sync),
) -> Result<()> {
    let serve = |builder: ShardBuilder| -> Result<()> {
        let handle = builder.handle();
        let handler = handler(builder.number());
        let mut result = builder.start(handler);
        if let Ok(shard) = &mut result {
            while !shard.is_done() {
                if let Err(error) = shard.turn(None) {
                    result = Err(error);
                    break;
                }
            }
        }
        // A shard that fails takes the server down: half a server would go unnoticed.
        result.map(drop).inspect_err(|_| handle.shutdown())
    };
    thread::scope(|scope| {
        let mut builders = builders.into_iter();
        let first = builders.next();
        let mut threads = Vec::new();
        for builder in builders {
            let name = format!("sockeye-{}", builder.number());
            let handle = builder.handle();
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, || serve(builder));
            threads.push(thread.inspect_err(|_| handle.shutdown())?);
        }
        let mut result = first.map_or(Ok(()), serve);
        for thread in threads {
            let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(other);
        }
        result
    })
}

/// A server in the background. Dropping it shuts the server down and waits for that.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    address: SocketAddr,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Running {
    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The server, for any thread.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the server has ended, which [`Handle::shutdown`] brings about.
    ///
    /// # Errors
    /// A driver broke.
    pub fn join(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.handle.shutdown();
            if let Err(error) = self.wait() {
                tracing::error!(%error, "the server failed");
            }
        }
    }
}

/// A shard that can be sent to the thread it will live on.
#[derive(Debug)]
pub struct ShardBuilder {
    driver: AnyDriver,
    listener: TcpListener,
    config: Arc<Config>,
    handle: Handle,
    number: u16,
}

impl ShardBuilder {
    /// Which shard it is, from 0.
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// The server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Makes the shard, on this thread.
    ///
    /// # Errors
    /// The system's.
    pub fn start<H: Handler>(self, handler: H) -> Result<Shard<H>> {
        let Self { driver, listener, config, handle, number } = self;
        let parts = Parts { listener, handler, config, handle, number };
        let inner = match driver {
            #[cfg(feature = "tls")]
            AnyDriver::Epoll(driver) if parts.handle.tls.is_some() => {
                Inner::TlsEpoll(parts.tls_shard(*driver)?)
            }
            AnyDriver::Epoll(driver) => Inner::Epoll(parts.shard(*driver)?),
            AnyDriver::Uring(builder) => {
                let driver = builder.build(parts.config.driver()).map_err(|cause| {
                    Error::Backend(format!("the ring of shard {number} cannot be made: {cause}"))
                })?;
                match &parts.handle {
                    #[cfg(feature = "tls")]
                    handle if handle.tls.is_some() => Inner::TlsUring(parts.tls_shard(driver)?),
                    _ => Inner::Uring(parts.shard(driver)?),
                }
            }
        };
        Ok(Shard { inner })
    }
}

/// All of a shard but what drives it.
struct Parts<H> {
    listener: TcpListener,
    handler: H,
    config: Arc<Config>,
    handle: Handle,
    number: u16,
}

impl<H: Handler> Parts<H> {
    fn shard<D>(self, driver: D) -> Result<Box<shard::Shard<D, H>>>
    where
        D: Transport<Listener = TcpListener>,
    {
        let Self { listener, handler, config, handle, number } = self;
        Ok(Box::new(shard::Shard::new(driver, listener, handler, config, handle, number)?))
    }

    /// The server has TLS.
    #[cfg(feature = "tls")]
    fn tls_shard<D>(self, driver: D) -> Result<Box<shard::Shard<Tls<D>, H>>>
    where
        D: Driver<Listener = TcpListener>,
    {
        let tls = Tls::of(driver, &self.handle, &self.config)?;
        self.shard(tls)
    }
}

/// A shard to be driven by hand: for threads, and loops, of your own.
///
/// Watch [`as_fd`](AsFd::as_fd) for reading, in whatever loop there is, and wake at
/// [`next_deadline`](Self::next_deadline); on either call [`turn`](Self::turn) with a time that has
/// passed. Or let `turn` do the waiting. It stays on the thread that
/// [started](ShardBuilder::start) it.
pub struct Shard<H: Handler> {
    inner: Inner<H>,
}

enum Inner<H: Handler> {
    Epoll(Box<shard::Shard<Epoll, H>>),
    Uring(Box<shard::Shard<Uring, H>>),
    #[cfg(feature = "tls")]
    TlsEpoll(Box<shard::Shard<Tls<Epoll>, H>>),
    #[cfg(feature = "tls")]
    TlsUring(Box<shard::Shard<Tls<Uring>, H>>),
}

/// The same for each backend.
macro_rules! each {
    ($inner:expr, $shard:ident => $what:expr) => {
        match $inner {
            Inner::Epoll($shard) => $what,
            Inner::Uring($shard) => $what,
            #[cfg(feature = "tls")]
            Inner::TlsEpoll($shard) => $what,
            #[cfg(feature = "tls")]
            Inner::TlsUring($shard) => $what,
        }
    };
}

impl<H: Handler> Shard<H> {
    /// Waits until there is something to do, or until `until`, and does it all. `None`: however
    /// long it takes.
    ///
    /// # Errors
    /// The driver broke; the shard is of no use any more.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        each!(&mut self.inner, shard => Ok(shard.turn(until)?))
    }

    /// When the shard has something to do even if its descriptor stays silent.
    pub fn next_deadline(&self) -> Option<Instant> {
        each!(&self.inner, shard => shard.next_deadline())
    }

    /// The server was shut down and the shard's last connection is gone.
    pub fn is_done(&self) -> bool {
        each!(&self.inner, shard => shard.is_done())
    }
}

impl<H: Handler> fmt::Debug for Shard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}

impl<H: Handler> AsFd for Shard<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(&self.inner, shard => shard.as_fd())
    }
}
