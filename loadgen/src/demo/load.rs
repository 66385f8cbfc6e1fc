//! The load: connections with one message under way on each.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sockeye_codec::handshake::{ClientHandshake, ClientRequest, HandshakeLimits, Key};
use sockeye_codec::{Codec, Connection, Event, Limits, Message};
use sockeye_driver::{Close, Closed, Config, ConnId, Driver, Epoll, SideTable, Sink, Tx};

/// How long the whole of the load may take to connect, or a bare socket to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) latency_ns: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { messages: 0, latency_ns: Histogram::new_with_max(60_000_000_000, 3)? })
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<(), Box<dyn Error>> {
        self.messages += other.messages;
        Ok(self.latency_ns.add(&other.latency_ns)?)
    }
}

/// The load's connections and the loop they are in.
#[derive(Debug)]
pub(super) struct Load {
    driver: Epoll,
    clients: Clients,
}

#[derive(Debug)]
struct Clients {
    codec: Codec,
    request: Option<(ClientRequest, Key)>,
    table: SideTable<Client>,
    open: usize,
    payload: Vec<u8>,
    running: bool,
    tally: Tally,
    failure: Option<String>,
}

#[derive(Debug)]
struct Client {
    /// Until the server has answered it.
    handshake: Option<Box<ClientHandshake>>,
    connection: Connection,
    sent: Instant,
}

impl Load {
    pub(super) fn new(bytes: usize) -> Result<Self, Box<dyn Error>> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
        Ok(Self {
            driver: Epoll::new(Config::default())?,
            clients: Clients {
                codec: Codec::client(Limits::default(), seed),
                request: None,
                table: SideTable::default(),
                open: 0,
                payload: (0..bytes).map(|n| n as u8).collect(),
                running: false,
                tally: Tally::new()?,
                failure: None,
            },
        })
    }

    /// Opens the connections.
    pub(super) fn connect(&mut self, to: SocketAddr, count: usize) -> Result<(), Box<dyn Error>> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        self.clients.request = Some((ClientRequest::new(to.to_string(), "/"), Key::new(nonce)));
        let until = Instant::now() + CONNECT_TIMEOUT;
        for _ in 0..count {
            let id = self.driver.tx().connect(to)?;
            self.clients.begin(id);
        }
        while self.clients.open < count {
            if Instant::now() >= until {
                return Err(format!("{} of {count} connections opened", self.clients.open).into());
            }
            self.turn(until)?;
        }
        Ok(())
    }

    /// Sends and receives until then; returns what was measured since the last call.
    pub(super) fn run_until(&mut self, until: Instant) -> Result<Tally, Box<dyn Error>> {
        if !self.clients.running {
            self.clients.running = true;
            let ids: Vec<_> = self.clients.table.ids().collect();
            for id in ids {
                self.clients.send_first(self.driver.tx(), id);
            }
        }
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(std::mem::replace(&mut self.clients.tally, Tally::new()?))
    }

    fn turn(&mut self, until: Instant) -> Result<(), Box<dyn Error>> {
        self.driver.turn(Some(until), &mut self.clients)?;
        self.clients.failure.take().map_or(Ok(()), |failure| Err(failure.into()))
    }
}

impl Clients {
    fn begin(&mut self, id: ConnId) {
        let Some((request, key)) = &self.request else { return };
        let handshake = ClientHandshake::new(request, key, HandshakeLimits::default());
        let client = Client {
            handshake: Some(Box::new(handshake)),
            connection: Connection::new(),
            sent: Instant::now(),
        };
        self.table.insert(id, client);
    }

    fn send_first(&mut self, tx: &mut impl Tx, id: ConnId) {
        let Some(client) = self.table.get_mut(id) else { return };
        let mut out = tx.out(id);
        if let Err(error) = client.send(&self.payload, &mut self.codec, &mut out) {
            self.failure = Some(error.to_string());
        }
        tx.flush(id, out);
    }

    fn receive(
        &mut self,
        id: ConnId,
        mut bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error>> {
        let Some(client) = self.table.get_mut(id) else { return Ok(()) };
        if let Some(handshake) = &mut client.handshake {
            if handshake.read(&mut bytes)?.is_none() {
                return Ok(());
            }
            client.handshake = None;
            self.open += 1;
        }
        while let Some(event) = client.connection.receive(&mut self.codec, &mut bytes, out)? {
            match event {
                Event::Message(Message::Binary(answer)) if answer == self.payload => {}
                Event::Message(_) => return Err("an answer is not what was sent".into()),
                Event::Close(frame) => return Err(format!("the engine closed: {frame:?}").into()),
                _ => continue,
            }
            let now = Instant::now();
            self.tally.messages += 1;
            let latency = now.saturating_duration_since(client.sent).as_nanos() as u64;
            self.tally.latency_ns.saturating_record(latency);
            let key = self.codec.next_masking_key();
            client.connection.send(&self.payload, key, out)?;
            client.sent = now;
        }
        Ok(())
    }
}

impl Client {
    fn send(
        &mut self,
        payload: &[u8],
        codec: &mut Codec,
        out: &mut Vec<u8>,
    ) -> Result<(), sockeye_codec::SendError> {
        self.sent = Instant::now();
        self.connection.send(payload, codec.next_masking_key(), out)
    }
}

impl<T: Tx> Sink<T> for Clients {
    fn accepted(&mut self, _tx: &mut T, _id: ConnId) {}

    fn connected(&mut self, tx: &mut T, id: ConnId) {
        let Some((request, key)) = &self.request else { return };
        let mut out = tx.out(id);
        if let Err(error) = request.write(&mut out, key) {
            self.failure = Some(error.to_string());
        }
        tx.flush(id, out);
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        let mut out = tx.out(id);
        if let Err(error) = self.receive(id, bytes, &mut out) {
            self.failure = Some(error.to_string());
            tx.close(id, Close::Abort);
        }
        tx.flush(id, out);
    }

    fn drained(&mut self, _tx: &mut T, _id: ConnId) {}

    fn closed(&mut self, _tx: &mut T, _id: ConnId, why: Closed) {
        self.failure = Some(match why {
            Closed::Eof => "the engine closed a connection".into(),
            Closed::Error(error) => format!("a connection was lost: {error}"),
        });
    }
}

/// Opens WebSocket connections of which nothing is kept but the sockets.
pub(super) fn connect_idle(
    to: SocketAddr,
    count: usize,
    sockets: &mut Vec<TcpStream>,
) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for _ in 0..count {
        let mut socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        socket.write_all(REQUEST)?;
        let mut answer = [0; 512];
        let len = socket.read(&mut answer)?;
        if !answer[..len].starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the engine did not accept an idle connection"));
        }
        sockets.push(socket);
    }
    Ok(())
}
