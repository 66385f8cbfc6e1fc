//! Echo servers of other people, for the tool to be run against: `ws` on Node and tungstenite. Both
//! end with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use sockeye_tests::node::{Packages, Server};
use tungstenite::{Message, WebSocket};

use crate::process::PATIENCE;
use crate::tungstenite_client::connect;

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
pub(crate) struct Node(Server);

impl Node {
    /// `None` where it cannot be had and is not required.
    pub(crate) fn start(deflate: Deflate) -> Option<Self> {
        let deflate = if deflate == Deflate::On { &["deflate"][..] } else { &[] };
        start_node(&[&["ws_echo.mjs"], deflate].concat()).map(Self)
    }
}

impl Peer for Node {
    fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// A program of this folder; `None` where its packages cannot be had and are not required.
pub(crate) fn start_node(arguments: &[&str]) -> Option<Server> {
    let packages = Packages {
        folder: "load-node",
        manifest: include_str!("package.json"),
        lock: include_str!("package-lock.json"),
        scripts: &[
            ("graphql_ws.mjs", include_str!("graphql_ws.mjs")),
            ("socket_io.mjs", include_str!("socket_io.mjs")),
            ("ws_echo.mjs", include_str!("ws_echo.mjs")),
        ],
    };
    let folder = packages.installed(env!("CARGO_TARGET_TMPDIR"))?;
    Some(Server::start(&folder, arguments))
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
    /// One that echoes.
    pub(crate) fn start() -> Self {
        Self::serving(echo)
    }

    /// One that does this with each connection, which is accepted.
    pub(crate) fn serving(serve: fn(WebSocket<TcpStream>)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let sockets = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&sockets);
        let acceptor = thread::spawn(move || accept(&listener, &shared, serve));
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
fn accept(
    listener: &TcpListener,
    sockets: &Mutex<Option<Vec<TcpStream>>>,
    serve: fn(WebSocket<TcpStream>),
) {
    thread::scope(|scope| {
        for (count, stream) in listener.incoming().enumerate() {
            let stream = stream.expect("a client comes");
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sockets) = sockets.as_mut() else { return };
            assert!(count < CONNECTIONS_MAX, "more connections than a test needs");
            sockets.push(stream.try_clone().expect("one more descriptor"));
            scope.spawn(move || {
                // One that only connects, to see whether somebody is there, ends here.
                if stream.set_nodelay(true).is_ok()
                    && let Ok(server) = tungstenite::accept(stream)
                {
                    serve(server);
                }
            });
        }
    });
}

/// Until the client closes, or goes.
fn echo(mut server: WebSocket<TcpStream>) {
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
