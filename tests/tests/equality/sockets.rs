//! The stages with a kernel: a shard of the real backend, and peers that are sockets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockeye::{Backend, Config, Handle, Server, Shard, TlsConfig};
use sockeye_driver::Uring;
use sockeye_tests::rig::Script;

use crate::descriptors;
use crate::stage::{Place, Stage, Wire};

pub(crate) const EPOLL: Place = Place {
    module: "epoll",
    is_here: || true,
    stage: |script, config, tls| Sockets::stage(Backend::Epoll, script, config, tls),
    tls: false,
};

pub(crate) const TLS_EPOLL: Place = Place { module: "tls_epoll", tls: true, ..EPOLL };

pub(crate) const IO_URING: Place = Place {
    module: "io_uring",
    is_here: has_io_uring,
    stage: |script, config, tls| Sockets::stage(Backend::IoUring, script, config, tls),
    tls: false,
};

pub(crate) const TLS_IO_URING: Place = Place { module: "tls_io_uring", tls: true, ..IO_URING };

/// How long a turn waits for what no turn before it has brought about.
const WAIT: Duration = Duration::from_millis(1);

/// Not where a container forbids it. `SOCKEYE_REQUIRE_IO_URING` makes a failure of that.
fn has_io_uring() -> bool {
    let probed = Uring::probe(1, &Config::default().io_uring);
    if let Err(why) = &probed {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    probed.is_ok()
}

struct Sockets {
    address: SocketAddr,
    handle: Handle,
    shard: Shard<Script>,
}

impl Sockets {
    fn stage(
        backend: Backend,
        script: Script,
        config: Config,
        tls: Option<TlsConfig>,
    ) -> Box<dyn Stage> {
        if !descriptors::is_starved_child() {
            raise_descriptor_limit();
        }
        let server = Server::bind("127.0.0.1:0").expect("loopback");
        let mut server = server.backend(backend).config(config).shards(1);
        if let Some(tls) = tls {
            server = server.tls(tls);
        }
        let address = server.local_addr();
        let builder = server.build().expect("a listener").pop().expect("one shard");
        let handle = builder.handle();
        Box::new(Self { address, handle, shard: builder.start(script).expect("a shard") })
    }
}

/// As far as it goes without asking anybody.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the maximum it is allowed");
}

impl Stage for Sockets {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn connect(&mut self) -> io::Result<Box<dyn Wire>> {
        // The kernel takes connections that the shard has not accepted yet: this does not wait.
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(stream))
    }

    fn turn(&mut self, moved: bool, _wires: Option<Instant>) {
        let now = Instant::now();
        self.shard.turn(Some(if moved { now } else { now + WAIT })).expect("a turn");
    }

    fn is_done(&self) -> bool {
        self.shard.is_done()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

impl Wire for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn finish(&mut self) {
        // `NotConnected` says that a reset was first.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn abort(self: Box<Self>) {
        // Closing with no time to linger is what sends a reset.
        let set = rustix::net::sockopt::set_socket_linger(&*self, Some(Duration::ZERO));
        set.expect("a socket");
    }
}
