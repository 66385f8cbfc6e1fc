//! A client that waits: rustls on a socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sockeye_tests::peer::{REQUEST, TEXT, masked};
use sockeye_tests::rig::Rig;
use sockeye_tests::{PATIENCE, tls};

/// A connection with TLS.
pub(crate) struct Wss(pub(crate) StreamOwned<ClientConnection, TcpStream>);

/// A connection without.
pub(crate) fn tcp(rig: &Rig) -> TcpStream {
    let stream = TcpStream::connect(rig.address).expect("loopback");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

impl Wss {
    /// Has not said anything yet.
    pub(crate) fn new(rig: &Rig, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self(StreamOwned::new(tls::connection_to(config, name), tcp(rig)))
    }

    /// Open on both sides.
    pub(crate) fn open(rig: &Rig, config: &Arc<ClientConfig>) -> Self {
        let mut wss = Self::new(rig, config, tls::NAME);
        wss.shake_hands().expect("accepted");
        wss
    }

    /// Sends the request and reads the answer to it.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
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

    pub(crate) fn echo(&mut self, text: &str) {
        self.0.write_all(&masked(TEXT, text.as_bytes())).expect("it is open");
        let mut answer = vec![0; 2 + text.len()];
        self.0.read_exact(&mut answer).expect("it is open");
        assert_eq!(&answer[2..], text.as_bytes());
    }

    /// What ends it before it was open.
    pub(crate) fn refusal(&mut self) -> String {
        self.shake_hands().expect_err("it is refused").to_string()
    }

    /// The certificate that the server has shown.
    pub(crate) fn server_certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("a certificate")[0].to_vec()
    }
}
