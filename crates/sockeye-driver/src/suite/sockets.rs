//! The system's sockets: peers are plain ones, of the same thread as the driver.

use std::any;
use std::env;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rig::Rig;
use super::world::{Stream, World};
use crate::{Bound, Config, Driver};

/// The system chooses the port.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Says that this process was started for one test.
const ALONE: &str = "SOCKEYE_SUITE_ALONE";
/// A process that has one test to run makes do with so many descriptors.
const DESCRIPTORS_MAX: usize = 128;

/// The loopback, with one kind of driver.
pub(crate) struct Sockets<D> {
    make: fn(Config) -> D,
}

impl<D> Sockets<D> {
    pub(crate) const fn new(make: fn(Config) -> D) -> Self {
        Self { make }
    }
}

impl<D> Clone for Sockets<D> {
    fn clone(&self) -> Self {
        Self { make: self.make }
    }
}

impl<D> fmt::Debug for Sockets<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system's sockets with {}", any::type_name::<D>())
    }
}

/// A stream of which nothing waits.
fn at_once(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl<D: Driver<Listener = TcpListener>> World for Sockets<D> {
    type Driver = D;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Reserved = Bound;
    type Starved = Vec<File>;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn driver(&self, config: Config) -> D {
        (self.make)(config)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn bind(&self) -> (TcpListener, SocketAddr) {
        let bound = Bound::new(ANY).unwrap();
        let address = bound.local_addr();
        (bound.listen(1, 1024).unwrap().remove(0), address)
    }

    /// One that would block.
    fn bind_otherwise(&self) -> (TcpListener, SocketAddr) {
        self.listen()
    }

    fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(ANY).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn accept(&self, listener: &TcpListener) -> TcpStream {
        at_once(listener.accept().unwrap().0)
    }

    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to).map(at_once)
    }

    /// Bound, so that nobody else can listen there meanwhile; and we do not.
    fn reserve(&self) -> (Bound, SocketAddr) {
        let bound = Bound::new(ANY).unwrap();
        let address = bound.local_addr();
        (bound, address)
    }

    /// Takes all descriptors there are: for a process of one test.
    fn starve(&self) -> Vec<File> {
        assert!(env::var_os(ALONE).is_some(), "others need descriptors as well");
        let mut taken = Vec::new();
        loop {
            match File::open("/dev/null") {
                Ok(file) => taken.push(file),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    return taken;
                }
            }
            assert!(taken.len() <= DESCRIPTORS_MAX, "there is a limit");
        }
    }

    fn takes_at_once(&self) -> bool {
        true
    }

    fn settle(&self) {
        let (listener, address) = self.listen();
        let mut from = TcpStream::connect(address).unwrap();
        io::Write::write_all(&mut from, b"?").unwrap();
        let (mut to, _) = listener.accept().unwrap();
        io::Read::read_exact(&mut to, &mut [0]).unwrap();
    }

    /// What goes before a conversation on the loopback is told before the conversation's end.
    fn fence(rig: &mut Rig<Self>) {
        for _ in 0..2 {
            rig.converse();
        }
    }

    fn let_run<R>(&self, _thread: &JoinHandle<R>) {}
}

impl Stream for TcpStream {
    fn addr(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }

    fn finish(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }

    /// A close that does not linger.
    fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self, Some(Duration::ZERO)).unwrap();
    }
}

/// Runs one test in a process of its own, which has few descriptors: this very binary again.
pub(crate) fn run_alone<W: World>(name: &str, worlds: impl IntoIterator<Item = W>, test: fn(&W)) {
    let worlds: Vec<W> = worlds.into_iter().collect();
    if env::var_os(ALONE).is_some() {
        return super::run(name, worlds, test);
    }
    if worlds.is_empty() {
        return;
    }
    let limited = format!("ulimit -n {DESCRIPTORS_MAX} && exec \"$0\" \"$@\"");
    let mut child = Command::new("sh");
    child.arg("-c").arg(limited).arg(env::current_exe().unwrap());
    // By its path within the crate. It waits for nothing without a bound, and so do we.
    child.args(["--exact", name.split_once("::").unwrap().1, "--nocapture", "--test-threads=1"]);
    let output = child.env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{}\n{said}\n{complained}", output.status);
}
