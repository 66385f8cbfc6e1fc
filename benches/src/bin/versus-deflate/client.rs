//! The client: a closed loop over connections that have agreed on compression. Its messages were
//! compressed beforehand, each without what came before it, which a client always may.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use sockeye_benches::corpus::{DOCUMENTS, document};
use sockeye_benches::frames::head_len;
use sockeye_codec::deflate::{Compressor, Deflate, DeflateConfig, Inflater};
use sockeye_codec::handshake::{Accepted, ClientHandshake, ClientRequest, HandshakeLimits, Key};
use sockeye_codec::{Codec, Connection, Event, FrameHeader, Limits, Message, Role};

const PATIENCE: Duration = Duration::from_secs(20);
const RECEIVE_BYTES: usize = 256 << 10;

/// What the client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    None,
    Both,
}

impl Takeover {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Both => "both",
        }
    }

    fn config(self) -> DeflateConfig {
        let keeps = self == Self::Both;
        DeflateConfig {
            server_context_takeover: keeps,
            client_context_takeover: keeps,
            compress_bytes_min: 0,
            ..DeflateConfig::default()
        }
    }
}

struct Peer {
    stream: TcpStream,
    /// The document that is under way.
    at: usize,
    /// What has come of the answer.
    answer: Vec<u8>,
}

/// Inflates all answers to one connection, and compares them.
struct Check {
    codec: Codec,
    connection: Connection,
    deflate: Deflate,
    inflater: Inflater,
}

pub(crate) struct Client {
    poll: Poll,
    peers: Vec<Peer>,
    /// As they are sent.
    questions: Vec<Vec<u8>>,
    documents: Vec<String>,
    check: Option<Check>,
    buffer: Vec<u8>,
    pub(crate) messages: u64,
    /// Payloads of answers, as they came.
    pub(crate) answer_bytes: u64,
}

impl Client {
    /// With documents of so many bytes.
    pub(crate) fn new(bytes: usize) -> Result<Self, Box<dyn Error>> {
        let documents: Vec<_> = (0..DOCUMENTS).map(|number| document(number, bytes)).collect();
        let config = Takeover::None.config();
        let offered =
            ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"];
        let offered = offered.map(str::as_bytes);
        let params = sockeye_codec::deflate::negotiate(offered, &config).ok_or("no parameters")?;
        let mut deflate = Deflate::new(&params, Role::Client);
        let mut compressor = Compressor::new(&config);
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let compress = |document: &String| {
            let mut frame = Vec::new();
            deflate.encode(&mut compressor, Message::Text(document), key, &mut frame);
            frame
        };
        Ok(Self {
            poll: Poll::new()?,
            peers: Vec::new(),
            questions: documents.iter().map(compress).collect(),
            documents,
            check: None,
            buffer: vec![0; RECEIVE_BYTES],
            messages: 0,
            answer_bytes: 0,
        })
    }

    /// Opens connections until there are so many.
    pub(crate) fn open(
        &mut self,
        port: u16,
        takeover: Takeover,
        count: usize,
    ) -> Result<(), Box<dyn Error>> {
        while self.peers.len() < count {
            let (stream, accepted) = open(port, takeover)?;
            let agreed = accepted.deflate.as_ref().ok_or("the server does not compress")?;
            let keeps = agreed.server_context_takeover();
            if keeps != (takeover == Takeover::Both) {
                return Err(format!("the server agreed on `{agreed}`").into());
            }
            if self.peers.is_empty() {
                let limits = Limits::default();
                self.check = Some(Check {
                    codec: Codec::client(limits, [7; 32]),
                    connection: Connection::new().allow_rsv1(),
                    deflate: Deflate::new(agreed, Role::Client),
                    inflater: Inflater::new(&limits),
                });
            }
            let mut stream = TcpStream::from_std(stream);
            let token = Token(self.peers.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            let at = self.peers.len() * 7 % DOCUMENTS;
            self.peers.push(Peer { stream, at, answer: Vec::new() });
        }
        Ok(())
    }

    /// Sends on each connection from this one on.
    pub(crate) fn start(&mut self, from: usize) -> Result<(), Box<dyn Error>> {
        (from..self.peers.len()).try_for_each(|at| self.ask(at))
    }

    fn ask(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        let peer = &mut self.peers[at];
        // At most 16 KiB to a peer that has answered all before: the socket takes it.
        peer.stream.write_all(&self.questions[peer.at])?;
        Ok(())
    }

    /// Goes on until `is_over`; `asks` for the next message after each answer.
    pub(crate) fn run(
        &mut self,
        asks: bool,
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut events = Events::with_capacity(1024);
        let (mut progress, mut last) = (self.messages, Instant::now());
        while !is_over(self) {
            match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.receive(event.token().0, asks)?;
            }
            if self.messages != progress {
                (progress, last) = (self.messages, Instant::now());
            } else if last.elapsed() > PATIENCE {
                return Err("the server has stopped answering".into());
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, asks: bool) -> Result<(), Box<dyn Error>> {
        loop {
            let peer = &mut self.peers[at];
            let len = match peer.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            peer.answer.extend_from_slice(&self.buffer[..len]);
            if at == 0 {
                self.check(len)?;
            }
            let peer = &mut self.peers[at];
            if let Some((header, header_len)) = FrameHeader::parse(&peer.answer, Role::Client)?
                && peer.answer.len() as u64 == header_len as u64 + header.payload_len
            {
                peer.answer.clear();
                peer.at = (peer.at + 1) % DOCUMENTS;
                self.messages += 1;
                self.answer_bytes += header.payload_len;
                if asks {
                    self.ask(at)?;
                }
            }
        }
    }

    /// What has come on the first connection, in the buffer.
    fn check(&mut self, len: usize) -> Result<(), Box<dyn Error>> {
        let Some(check) = &mut self.check else { return Ok(()) };
        let mut input = &mut self.buffer[..len];
        let mut out = Vec::new();
        while let Some(event) = check.connection.receive(&mut check.codec, &mut input, &mut out)? {
            let message = match event {
                Event::Message(message) => message,
                Event::Extension(kind, payload) => {
                    check.deflate.inflate(&mut check.inflater, kind, payload)?
                }
                other => return Err(format!("not an answer: {other:?}").into()),
            };
            if message.as_bytes() != self.documents[self.peers[0].at].as_bytes() {
                return Err("an answer is not what was sent".into());
            }
        }
        Ok(())
    }
}

/// Opens a connection, blocking.
fn open(port: u16, takeover: Takeover) -> Result<(std::net::TcpStream, Accepted), Box<dyn Error>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = ClientRequest::new("bench", "/").deflate(takeover.config());
    let key = Key::new([9; 16]);
    let mut bytes = Vec::new();
    request.write(&mut bytes, &key)?;
    stream.write_all(&bytes)?;
    let mut head = Vec::new();
    while head_len(&head).is_none() {
        let mut piece = [0; 1024];
        let len = stream.read(&mut piece)?;
        if len == 0 {
            return Err("the server closed a connection".into());
        }
        head.extend_from_slice(&piece[..len]);
    }
    let mut handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
    let accepted = handshake.read(&mut &mut head[..])?.ok_or("half an answer")?;
    stream.set_nonblocking(true)?;
    Ok((stream, accepted))
}
