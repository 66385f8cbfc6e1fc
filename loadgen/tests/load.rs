//! `sockeye load`, from outside: what it reports, of servers of all kinds.

#[path = "load/calibration.rs"]
mod calibration;
#[path = "load/peers.rs"]
mod peers;
#[allow(dead_code, reason = "other tests need other parts of it")]
#[path = "serve/process.rs"]
mod process;
#[path = "load/runs.rs"]
mod runs;
#[path = "load/theory.rs"]
mod theory;

use std::net::{SocketAddr, TcpStream};

use process::PATIENCE;
use tungstenite::WebSocket;

/// A client that is not ours.
fn connect(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream.set_nodelay(true).expect("it is a socket");
    let (client, _) = tungstenite::client(format!("ws://{address}/"), stream).expect("accepted");
    client
}
