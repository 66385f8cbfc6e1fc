//! A client that waits: rustls on a socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::peer::{REQUEST, TEXT, masked};
use crate::{PATIENCE, tls};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A connection with TLS.
pub struct Wss(pub StreamOwned<ClientConnection, TcpStream>);

/// A connection without.
pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("loopback");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

impl Wss {
    /// Has not said anything yet.
    pub fn new(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self(StreamOwned::new(tls::connection_to(config, name), tcp(address)))
    }

    /// Open on both sides.
    pub fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut wss = Self::new(address, config, tls::NAME);
        wss.shake_hands().expect("accepted");
        wss
    }

    /// Sends the request and reads the answer to it.
    ///
    /// # Errors
    /// What ends it before.
    pub fn shake_hands(&mut self) -> io::Result<()> {
        self.0.write_all(REQUEST.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Ok(())
    }

    /// A short text, and its echo.
    pub fn echo(&mut self, text: &str) {
        self.0.write_all(&masked(TEXT, text.as_bytes())).expect("it is open");
        let mut answer = vec![0; 2 + text.len()];
        self.0.read_exact(&mut answer).expect("it is open");
        assert_eq!(&answer[2..], text.as_bytes());
    }

    /// What ends it before it was open.
    pub fn refusal(&mut self) -> String {
        self.shake_hands().expect_err("it is refused").to_string()
    }

    /// The certificate that the server has shown.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("a certificate")[0].to_vec()
    }
}
