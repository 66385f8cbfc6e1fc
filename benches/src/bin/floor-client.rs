//! The floor of clients: a closed loop that does no WebSocket. One thread, epoll (edge-triggered,
//! registered once), one receive buffer; on each connection one frame is under way, which was made
//! beforehand, and the next one leaves when as many bytes have come as its answer has. The clock is
//! not read for each message. Prints one line of JSON.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use mio::{Events, Interest, Poll, Token};
use sockeye_benches::frames::{self, Kind};
use sockeye_benches::sample::Sample;
use sockeye_benches::{cpu, floors};

const RECEIVE_BYTES: usize = 64 << 10;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times that the poll returns between two looks at the clock.
const TURNS: u32 = 64;
/// A request's answer is shorter.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// The least that a client can cost: as many bytes, and no WebSocket.
#[derive(Debug, Parser)]
struct Options {
    /// The server's port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// The server's process, for its CPU time [default: this one]
    #[arg(long)]
    server: Option<u32>,
    /// Connections, each with one frame under way
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Payload bytes of a frame
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    bytes: u32,
    /// How long to measure, after a fifth of it to warm up
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "give seconds, at most a day".into())
}

struct Connection {
    stream: mio::net::TcpStream,
    /// Bytes of the answer under way that have not come.
    expected: usize,
    /// Bytes of the frame under way that the kernel has not taken.
    unsent: usize,
}

struct Client {
    poll: Poll,
    connections: Vec<Connection>,
    frame: Vec<u8>,
    /// An answer is a frame without its masking key.
    answer_bytes: usize,
    buffer: Vec<u8>,
    messages: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    cpu::raise_file_limit()?;
    let server = options.server.unwrap_or_else(std::process::id);
    let mut client = Client::connect(&options)?;
    client.run(options.seconds / 5.0)?;
    let before = Sample::take(server, client.messages)?;
    client.run(options.seconds)?;
    println!("{}", before.until(&Sample::take(server, client.messages)?));
    Ok(())
}

impl Client {
    /// Opens the connections, one after the other, and then sends the first frame on each.
    fn connect(options: &Options) -> Result<Self, Box<dyn Error>> {
        let poll = Poll::new()?;
        let payload = frames::payload(Kind::Binary, options.bytes as usize);
        let frame = frames::client_frame(Kind::Binary, &payload);
        let answer_bytes = frame.len() - floors::KEY_BYTES;
        let mut connections = Vec::with_capacity(options.connections.into());
        for at in 0..usize::from(options.connections) {
            let mut stream = mio::net::TcpStream::from_std(open(options.port)?);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(at), interest)?;
            connections.push(Connection { stream, expected: answer_bytes, unsent: frame.len() });
        }
        let buffer = vec![0; RECEIVE_BYTES];
        let mut client = Self { poll, connections, frame, answer_bytes, buffer, messages: 0 };
        for at in 0..client.connections.len() {
            client.send(at)?;
        }
        Ok(client)
    }

    fn run(&mut self, seconds: f64) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut events = Events::with_capacity(1024);
        let mut silent = None;
        loop {
            for _ in 0..TURNS {
                match self.poll.poll(&mut events, Some(Duration::from_millis(10))) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    result => result?,
                }
                if events.is_empty() {
                    break;
                }
                silent = None;
                for event in &events {
                    let at = event.token().0;
                    if event.is_writable() {
                        self.send(at)?;
                    }
                    if event.is_readable() {
                        self.receive(at)?;
                    }
                }
            }
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            if events.is_empty() && now - *silent.get_or_insert(now) > PATIENCE {
                return Err("the server has stopped answering".into());
            }
        }
    }

    fn send(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        let connection = &mut self.connections[at];
        while connection.unsent > 0 {
            let rest = &self.frame[self.frame.len() - connection.unsent..];
            match connection.stream.write(rest) {
                Ok(sent) => connection.unsent -= sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        loop {
            let connection = &mut self.connections[at];
            let len = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let rest = connection.expected.checked_sub(len);
            connection.expected = rest.ok_or("an answer is longer than what was sent")?;
            if connection.expected == 0 {
                self.messages += 1;
                connection.expected = self.answer_bytes;
                connection.unsent = self.frame.len();
                self.send(at)?;
            }
            if len < RECEIVE_BYTES {
                return Ok(());
            }
        }
    }
}

/// A WebSocket connection, which this client takes the server's word for.
fn open(port: u16) -> Result<TcpStream, Box<dyn Error>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(frames::REQUEST)?;
    let mut head = Vec::new();
    while frames::head_len(&head).is_none() {
        let mut part = [0; 512];
        let len = stream.read(&mut part)?;
        if len == 0 || head.len() > HEAD_BYTES_MAX {
            return Err("the server does not answer the handshake".into());
        }
        head.extend_from_slice(&part[..len]);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") || frames::head_len(&head) != Some(head.len()) {
        return Err("the server did not accept the handshake".into());
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}
