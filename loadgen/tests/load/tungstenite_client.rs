//! A client that is not ours.

use std::net::{SocketAddr, TcpStream};

use tungstenite::WebSocket;

use crate::process::PATIENCE;

/// Connects.
pub(crate) fn connect(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream.set_nodelay(true).expect("it is a socket");
    let (client, _) = tungstenite::client(format!("ws://{address}/"), stream).expect("accepted");
    client
}
