//! A small WebSocket client on a blocking socket: the client role of the codec, for the tests and
//! tools that need a peer of our own making.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sockeye_codec::deflate::{Compressor, Deflate, DeflateConfig, Inflater, Params};
use sockeye_codec::handshake::{
    Accepted, ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, Key, RequestError,
    UrlError, WsUrl,
};
use sockeye_codec::mask::MaskingKey;
use sockeye_codec::{
    CloseCode, Codec, Connection, Event, Limits, Message, ProtocolError, Role, SendError,
};

/// What one read asks for.
const READ_BYTES: usize = 64 << 10;
/// How long the server may be silent.
const READ_TIMEOUT: Duration = crate::PATIENCE;

/// Both sides keep their windows, as large as they can be, and compress from so many bytes on.
pub const fn takeover(compress_bytes_min: usize) -> DeflateConfig {
    DeflateConfig {
        server_context_takeover: true,
        client_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
        level: 6,
        memory_level: 8,
        compress_bytes_min,
    }
}

/// What a client sends compressed messages with.
struct Compression {
    deflate: Deflate,
    compressor: Compressor,
}

/// One connection, past its handshake.
pub struct Client {
    stream: TcpStream,
    codec: Codec,
    connection: Connection,
    subprotocol: Option<String>,
    agreed: Option<Params>,
    compression: Option<Compression>,
    inflater: Inflater,
    /// `input[unread_from..unread_to]` has been read from the socket and not been looked at.
    input: Box<[u8]>,
    unread_from: usize,
    unread_to: usize,
    out: Vec<u8>,
}

impl Client {
    /// Connects to a `ws:` URL and offers the subprotocols.
    pub fn connect(url: &str, subprotocols: &[&str], limits: Limits) -> Result<Self, ClientError> {
        Self::connect_with(url, subprotocols, limits, None)
    }

    /// [`connect`](Self::connect), and offers permessage-deflate.
    pub fn connect_with(
        url: &str,
        subprotocols: &[&str],
        limits: Limits,
        deflate: Option<DeflateConfig>,
    ) -> Result<Self, ClientError> {
        let url = WsUrl::parse(url)?;
        if url.is_secure() {
            return Err(ClientError::Secure);
        }
        let mut request = ClientRequest::for_url(&url);
        for &name in subprotocols {
            request = request.subprotocol(name);
        }
        if let Some(config) = deflate {
            request = request.deflate(config);
        }
        let stream = TcpStream::connect((url.host(), url.port()))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut client = Self {
            stream,
            codec: Codec::client(limits, random()?),
            connection: Connection::new(),
            subprotocol: None,
            agreed: None,
            compression: None,
            inflater: Inflater::new(&limits),
            input: vec![0; READ_BYTES].into(),
            unread_from: 0,
            unread_to: 0,
            out: Vec::new(),
        };
        let accepted = client.shake_hands(&request)?;
        (client.subprotocol, client.agreed) = (accepted.subprotocol, accepted.deflate);
        if let (Some(params), Some(config)) = (&client.agreed, deflate) {
            client.connection = Connection::new().allow_rsv1();
            client.compression = Some(Compression {
                deflate: Deflate::new(params, Role::Client),
                compressor: Compressor::new(&config),
            });
        }
        Ok(client)
    }

    fn shake_hands(&mut self, request: &ClientRequest) -> Result<Accepted, ClientError> {
        let key = Key::new(random()?);
        request.write(&mut self.out, &key)?;
        self.flush()?;
        let mut handshake = ClientHandshake::new(request, &key, HandshakeLimits::default());
        loop {
            if self.read()? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let mut input = &mut self.input[..self.unread_to];
            if let Some(accepted) = handshake.read(&mut input)? {
                // The server's first frames may have come along with its answer.
                self.unread_from = self.unread_to - input.len();
                return Ok(accepted);
            }
        }
    }

    /// The subprotocol that the server has chosen.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// What was agreed on for permessage-deflate.
    pub const fn deflate(&self) -> Option<&Params> {
        self.agreed.as_ref()
    }

    /// Gives what comes in to `handle`, until that returns something, which is returned. `None`:
    /// the connection was closed first, and the server has closed its side of TCP, too.
    pub fn receive<R>(
        &mut self,
        mut handle: impl FnMut(Event<'_>, &mut Answer<'_>) -> Option<R>,
    ) -> Result<Option<R>, ClientError> {
        loop {
            let mut input = &mut self.input[self.unread_from..self.unread_to];
            loop {
                let masking_key = self.codec.next_masking_key();
                let event =
                    match self.connection.receive(&mut self.codec, &mut input, &mut self.out) {
                        Ok(Some(event)) => event,
                        Ok(None) => break,
                        Err(error) => {
                            // The close frame that says why. The server may be gone by now.
                            let _ = self.flush();
                            return Err(error.into());
                        }
                    };
                let event = match (event, &mut self.compression) {
                    (Event::Extension(kind, payload), Some(Compression { deflate, .. })) => {
                        match deflate.inflate(&mut self.inflater, kind, payload) {
                            Ok(message) => Event::Message(message),
                            Err(error) => {
                                self.connection.fail(error, masking_key, &mut self.out);
                                let _ = self.flush();
                                return Err(error.into());
                            }
                        }
                    }
                    (event, _) => event,
                };
                let (connection, compression) = (&mut self.connection, &mut self.compression);
                let mut answer =
                    Answer { connection, compression, masking_key, out: &mut self.out };
                if let Some(result) = handle(event, &mut answer) {
                    self.unread_from = self.unread_to - input.len();
                    self.flush()?;
                    return Ok(Some(result));
                }
            }
            self.flush()?;
            // The server closes TCP first (RFC 6455 section 7.1.1): read until it has.
            match self.read() {
                Ok(0) if self.connection.is_closed() => return Ok(None),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                // Some servers do it the hard way; there was nothing more to come.
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionReset
                        && self.connection.is_closed() =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a message.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), ClientError> {
        let masking_key = self.codec.next_masking_key();
        let (connection, compression) = (&mut self.connection, &mut self.compression);
        Answer { connection, compression, masking_key, out: &mut self.out }.send(message.into())?;
        Ok(self.flush()?)
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        let masking_key = self.codec.next_masking_key();
        self.connection.ping(payload, masking_key, &mut self.out)?;
        Ok(self.flush()?)
    }

    /// Begins the closing handshake.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), ClientError> {
        let masking_key = self.codec.next_masking_key();
        self.connection.close(code, reason, masking_key, &mut self.out)?;
        Ok(self.flush()?)
    }

    /// Sends bytes that are frames already.
    pub fn send_frames(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, &mut Codec),
    ) -> Result<(), ClientError> {
        write(&mut self.out, &mut self.codec);
        Ok(self.flush()?)
    }

    fn read(&mut self) -> io::Result<usize> {
        (self.unread_from, self.unread_to) = (0, 0);
        self.unread_to = self.stream.read(&mut self.input)?;
        Ok(self.unread_to)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.write_all(&self.out);
        self.out.clear();
        result
    }
}

/// What a client says to an event that it still holds.
pub struct Answer<'a> {
    connection: &'a mut Connection,
    compression: &'a mut Option<Compression>,
    masking_key: Option<MaskingKey>,
    out: &'a mut Vec<u8>,
}

impl Answer<'_> {
    /// Sends one message; a second one would have the masking key of the first.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        match self.compression {
            Some(Compression { deflate, compressor }) if self.connection.is_open() => {
                deflate.encode(compressor, message, self.masking_key, self.out);
                Ok(())
            }
            _ => self.connection.send(message, self.masking_key, self.out),
        }
    }
}

/// Bytes from the operating system: the masking keys and the handshake's nonce have to be strong
/// (RFC 6455 sections 5.3 and 4.1).
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Why a client gave up.
#[derive(Debug)]
pub enum ClientError {
    /// The caller's: not a `ws:` URL.
    Url(UrlError),
    /// The caller's: `wss:`, which needs TLS.
    Secure,
    /// The caller's: a request that must not leave.
    Request(RequestError),
    /// The caller's: a frame that must not leave.
    Send(SendError),
    /// The server's: it did not accept the connection.
    Handshake(HandshakeError),
    /// The server's: it broke the protocol.
    Protocol(ProtocolError),
    /// The system's, or the server has left without a word.
    Io(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Secure => f.write_str("wss needs TLS, which this client does not have: use ws"),
            Self::Request(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Io(error) => match error.kind() {
                // What a read timeout is called.
                io::ErrorKind::WouldBlock => {
                    write!(f, "nothing came for {} s", READ_TIMEOUT.as_secs())
                }
                io::ErrorKind::UnexpectedEof => f.write_str("the server left without a word"),
                _ => error.fmt(f),
            },
        }
    }
}

impl Error for ClientError {}

impl From<UrlError> for ClientError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<RequestError> for ClientError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<SendError> for ClientError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<HandshakeError> for ClientError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<ProtocolError> for ClientError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
