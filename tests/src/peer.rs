//! A peer made of a socket and RFC 6455 alone, without a line of the codec: it sends anything, also
//! what must not be sent, and reads one frame after the other.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::PATIENCE;

/// The key of [`REQUEST`]: RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A plain opening handshake.
pub const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
/// A whole text message, as a frame's first byte.
pub const TEXT: u8 = 0x81;
/// A whole binary message, as a frame's first byte.
pub const BINARY: u8 = 0x82;
/// A close frame's first byte.
pub const CLOSE: u8 = 0x88;
/// A ping's first byte.
pub const PING: u8 = 0x89;
/// A pong's first byte.
pub const PONG: u8 = 0x8A;

/// One frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The masking key, if there was one.
    pub masking_key: Option<[u8; 4]>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A close frame's code and reason.
    ///
    /// # Panics
    /// It is not a close frame with a code and a reason in UTF-8.
    pub fn close(&self) -> (u16, &str) {
        assert_eq!(self.first, CLOSE, "not a close frame: {self:?}");
        let (code, reason) = self.payload.split_first_chunk().expect("a close code");
        (u16::from_be_bytes(*code), std::str::from_utf8(reason).expect("a reason in UTF-8"))
    }
}

/// A frame of a client. `first` is its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, payload.len(), 0x80);
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame of a server. `first` is its first byte.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

fn header(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..=125 => header.push(mask | len as u8),
        126..=0xFFFF => {
            header.push(mask | 126);
            header.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    header
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// So many bytes that repeat nowhere in sight; each `seed` has its own.
pub fn bytes_of(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut words = Vec::with_capacity(len.next_multiple_of(8));
    while words.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words.extend_from_slice(&state.to_le_bytes());
    }
    words.truncate(len);
    words
}

/// A text of so many bytes with characters of one to four bytes; each `seed` has its own.
pub fn text_of(len: usize, seed: u64) -> String {
    const CHARACTERS: [char; 8] = ['a', 'é', '€', '😀', 'z', '\u{7ff}', '\u{ffff}', '\u{10ffff}'];
    let mut text = String::with_capacity(len);
    for byte in bytes_of(len, seed) {
        let character = CHARACTERS[usize::from(byte) % CHARACTERS.len()];
        match len - text.len() {
            0 => break,
            room if room < 4 => text.push('x'),
            _ => text.push(character),
        }
    }
    text
}

/// One end of a TCP connection. Every wait is bounded by [`PATIENCE`]; what a test does not expect
/// panics.
#[derive(Debug)]
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl From<TcpStream> for Peer {
    fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream: BufReader::new(stream) }
    }
}

impl Peer {
    /// Connects, and says nothing.
    pub fn tcp(address: SocketAddr) -> Self {
        TcpStream::connect(address).expect("a server that listens").into()
    }

    /// Connects and opens a WebSocket.
    pub fn open(address: SocketAddr) -> Self {
        Self::open_with(address, REQUEST).0
    }

    /// Connects and opens a WebSocket with this request; the answer's head.
    pub fn open_with(address: SocketAddr, request: &str) -> (Self, String) {
        let mut peer = Self::tcp(address);
        peer.send(request.as_bytes());
        let head = peer.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "not accepted: {head}");
        (peer, head)
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_ref().write_all(bytes).expect("a peer that receives");
    }

    /// Sends one frame, as a client. `first` is its first byte.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&masked(first, payload));
    }

    /// An HTTP head with its empty line.
    pub fn read_head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).expect("a head"), 0, "cut short: {head}");
        }
        head
    }

    /// So many bytes.
    pub fn read_bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("more bytes");
        bytes
    }

    /// The next frame, in the shortest form of the length.
    pub fn read_frame(&mut self) -> Frame {
        let [first, second] = self.read_array();
        let len = match second & 0x7F {
            126 => {
                let len = u16::from_be_bytes(self.read_array());
                assert!(len >= 126, "a length that is not minimal");
                len.into()
            }
            127 => {
                let len = u64::from_be_bytes(self.read_array());
                assert!(len > 0xFFFF, "a length that is not minimal");
                len
            }
            short => u64::from(short),
        };
        let masking_key = (second & 0x80 != 0).then(|| self.read_array::<4>());
        let mut payload = self.read_bytes(len as usize);
        if let Some(key) = masking_key {
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        Frame { first, masking_key, payload }
    }

    fn read_array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).expect("more bytes");
        bytes
    }

    /// The next frame's payload, which must be a whole text message.
    pub fn read_text(&mut self) -> String {
        let frame = self.read_frame();
        assert_eq!(frame.first, TEXT, "not a text message: {frame:?}");
        String::from_utf8(frame.payload).expect("UTF-8")
    }

    /// The next frame, which must be a close frame: its code and reason.
    pub fn read_close(&mut self) -> (u16, String) {
        let frame = self.read_frame();
        let (code, reason) = frame.close();
        (code, reason.into())
    }

    /// What comes until the other side's FIN. A reset is a failure.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("a FIN, no reset");
        bytes
    }

    /// The other side closes TCP without another byte.
    pub fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "{} more bytes: {:?}", rest.len(), &rest[..rest.len().min(80)]);
    }

    /// The other side is gone, whichever way.
    pub fn expect_gone(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Closes in the way of RFC 6455: close frame, answer, the server's FIN.
    pub fn close(mut self, code: u16) {
        self.send_frame(CLOSE, &close_payload(code, ""));
        assert_eq!(self.read_close().0, code);
        self.expect_end();
    }

    /// Sends a FIN; receiving goes on.
    pub fn shutdown_write(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("a socket");
    }

    /// Whether something has come that was not read yet: bytes, a FIN or a reset. Does not wait.
    pub fn has_input(&self) -> bool {
        if !self.stream.buffer().is_empty() {
            return true;
        }
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).expect("a socket");
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("a socket");
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Ends the connection with a reset. The other side must have sent something that was not read:
    /// closing a socket over such bytes is what makes the kernel send one.
    pub fn reset(self) {
        assert!(self.stream.buffer().is_empty(), "bytes that were read ahead");
        assert_eq!(self.stream.get_ref().peek(&mut [0]).expect("bytes"), 1, "not a byte has come");
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
