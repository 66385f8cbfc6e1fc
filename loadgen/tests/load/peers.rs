//! Echo servers of other people, for the tool to be run against: `ws` on Node and tungstenite. Both
//! end with the test.
//!
//! Where there is no Node, or no network to install `ws` from, that one is left out, unless
//! `SOCKEYE_REQUIRE_NODE=1` is set.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tungstenite::Message;

use crate::process::PATIENCE;
use crate::tungstenite_client::connect;

const PACKAGE: &str = include_str!("../../../tests/tests/interop/package.json");
const PACKAGE_LOCK: &str = include_str!("../../../tests/tests/interop/package-lock.json");
const SCRIPT: &str = include_str!("ws_echo.mjs");

/// An echo server.
pub(crate) trait Peer {
    fn address(&self) -> SocketAddr;
}

/// All that there are here, by their names.
pub(crate) fn peers() -> Vec<(&'static str, Box<dyn Peer>)> {
    let mut peers: Vec<(_, Box<dyn Peer>)> = vec![("tungstenite", Box::new(Tungstenite::start()))];
    if let Some(node) = Node::start(Deflate::Off) {
        peers.push(("ws", Box::new(node)));
    }
    peers
}

/// Whether a server agrees on permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deflate {
    Off,
    On,
}

/// `ws`, in a process of its own.
pub(crate) struct Node {
    child: Child,
    address: SocketAddr,
}

impl Node {
    /// `None` where it cannot be had and is not required.
    pub(crate) fn start(deflate: Deflate) -> Option<Self> {
        let folder = installed()?;
        let mut command = Command::new("node");
        command.arg("ws_echo.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        if deflate == Deflate::On {
            command.arg("deflate");
        }
        let child = command.spawn().expect("node runs");
        // Killed from here on, whatever happens.
        let mut node = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into() };
        let mut line = String::new();
        let stdout = node.child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let port = line.trim().strip_prefix("port ").and_then(|port| port.parse().ok());
        node.address.set_port(port.unwrap_or_else(|| panic!("no port in {line:?}")));
        Some(node)
    }
}

impl Peer for Node {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder with `ws` in it.
fn installed() -> Option<PathBuf> {
    // The tests of this file share it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match install() {
        Ok(folder) => Some(folder),
        Err(why) => {
            let required = std::env::var_os("SOCKEYE_REQUIRE_NODE").is_some_and(|it| it == "1");
            assert!(!required, "{why}");
            println!("not run: {why}");
            None
        }
    }
}

/// Makes it, once for each version of the lock file.
fn install() -> Result<PathBuf, String> {
    for program in ["node", "npm"] {
        if let Err(error) = Command::new(program).arg("--version").output() {
            return Err(format!("`{program}` does not run ({error}): install Node.js 20 or later"));
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load-ws");
    let done = folder.join("installed-package-lock.json");
    let write = |name, content| fs::write(folder.join(name), content);
    let prepared = fs::create_dir_all(&folder)
        .and_then(|()| write("package.json", PACKAGE))
        .and_then(|()| write("package-lock.json", PACKAGE_LOCK))
        .and_then(|()| write("ws_echo.mjs", SCRIPT));
    prepared.map_err(|error: io::Error| format!("{}: {error}", folder.display()))?;
    if fs::read_to_string(&done).is_ok_and(|installed| installed == PACKAGE_LOCK) {
        return Ok(folder);
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.args(["--fetch-timeout=30000", "--fetch-retries=1"]);
    let output = npm.current_dir(&folder).output().map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`npm ci` cannot install `ws`, is there a network? {stderr}"));
    }
    fs::write(&done, PACKAGE_LOCK).map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(folder)
}

/// Connections that tungstenite serves, each on a thread.
const CONNECTIONS_MAX: usize = 256;

/// tungstenite, in threads of the test's.
pub(crate) struct Tungstenite {
    address: SocketAddr,
    /// Of its connections; `None`: it takes no more.
    sockets: Arc<Mutex<Option<Vec<TcpStream>>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Tungstenite {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let sockets = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&sockets);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        Self { address, sockets, acceptor: Some(acceptor) }
    }
}

impl Peer for Tungstenite {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tungstenite {
    fn drop(&mut self) {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
        for socket in sockets.into_iter().flatten() {
            // Gone already, most likely.
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts: it sees that no more are taken.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let ended = acceptor.join();
            assert!(ended.is_ok() || thread::panicking(), "tungstenite's threads ended well");
        }
    }
}

/// Until no more are taken; ends when all connections have.
fn accept(listener: &TcpListener, sockets: &Mutex<Option<Vec<TcpStream>>>) {
    thread::scope(|scope| {
        for (count, stream) in listener.incoming().enumerate() {
            let stream = stream.expect("a client comes");
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sockets) = sockets.as_mut() else { return };
            assert!(count < CONNECTIONS_MAX, "more connections than a test needs");
            sockets.push(stream.try_clone().expect("one more descriptor"));
            scope.spawn(|| echo(stream));
        }
    });
}

/// Until the client closes, or goes.
fn echo(stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut server) = tungstenite::accept(stream) else { return };
    while let Ok(message) = server.read() {
        // Pings are answered, and closing is, by the next read.
        if matches!(message, Message::Text(_) | Message::Binary(_)) && server.send(message).is_err()
        {
            return;
        }
    }
}

fn assert_echoes(address: SocketAddr) {
    let mut clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        for message in [Message::text("fish 🐟".repeat(n)), Message::binary(vec![0xff; n * 5_000])]
        {
            client.send(message.clone()).expect("it is open");
            assert_eq!(client.read().expect("it is open"), message);
        }
    }
    // Some close, some break off, some are still there when the server goes.
    let staying = clients.split_off(10);
    for mut client in clients.drain(..5) {
        client.close(None).expect("it is open");
        assert!(client.read().expect("an answer").is_close());
    }
    drop(clients);
    for mut client in staying {
        client.send(Message::text("still here")).expect("it is open");
        assert_eq!(client.read().expect("it is open"), Message::text("still here"));
    }
}

#[test]
fn the_servers_of_others_echo_and_end() {
    for (name, peer) in peers() {
        println!("{name}");
        let address = peer.address();
        assert_echoes(address);
        let mut last = connect(address);
        drop(peer);
        assert!(last.read().is_err(), "{name} is gone");
        assert!(TcpStream::connect(address).is_err(), "{name} listens no more");
    }
}

#[test]
fn node_agrees_on_compression_when_asked() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    for (deflate, expected) in [(Deflate::Off, false), (Deflate::On, true)] {
        let Some(node) = Node::start(deflate) else { return };
        let mut stream = TcpStream::connect(node.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        stream.write_all(REQUEST).expect("it is open");
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head.first().map(String::as_str), Some("HTTP/1.1 101 Switching Protocols"));
        let agreed = head.iter().any(|line| line.contains("permessage-deflate"));
        assert_eq!(agreed, expected, "{deflate:?}: {head:?}");
    }
}
