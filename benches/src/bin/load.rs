//! The client of the bench: a closed loop over one epoll, with its frames made beforehand, so that
//! it is never the bottleneck for long. Prints one line of JSON.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Parser;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use sockeye_benches::rows::{Row, Work};
use sockeye_benches::{cpu, frames, rows};

const RECEIVE_BYTES: usize = 512 << 10;
/// Source addresses that short-lived connections take in turn: each has its own ports.
const SOURCES: u32 = 100;
/// Connections that open at the same time.
const OPENING_MAX: usize = 256;
/// Idle connections that are there before one is counted.
const FIRST_IDLE: usize = 1_000;
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts one row's load on a server and says what it cost.
#[derive(Debug, Parser)]
struct Options {
    /// The server's port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// The server's process
    #[arg(long)]
    server: u32,
    /// The row
    #[arg(long, value_parser = find_row)]
    row: &'static Row,
    /// How long to measure, after a fifth of it to warm up
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Compare every answer with what was sent, not its length alone
    #[arg(long)]
    verify: bool,
}

fn find_row(name: &str) -> Result<&'static Row, String> {
    rows::find(name).ok_or_else(|| {
        let names: Vec<_> = rows::ROWS.iter().map(|row| row.name).collect();
        format!("no such row; there are {}", names.join(", "))
    })
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    open: bool,
    /// Bytes that have come of the answers to one write.
    received: usize,
    /// Writes to be made, and the bytes of the first that have left.
    to_write: usize,
    written: usize,
}

struct Load {
    row: &'static Row,
    server: SocketAddr,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    question: Vec<u8>,
    answer: Vec<u8>,
    verify: bool,
    /// Connections that are open, and, in a broadcast, that have all of the batch under way.
    open: usize,
    served: usize,
    messages: u64,
    /// Connections begun so far.
    begun: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    cpu::raise_file_limit()?;
    let mut load = Load::new(&options)?;
    if options.row.work == Work::Idle {
        return load.report_idle(options.server);
    }
    load.open(options.row.connections)?;
    load.start()?;
    load.run(options.seconds / 5.0)?;
    let before = Sample::take(&load, options.server)?;
    load.run(options.seconds)?;
    let after = Sample::take(&load, options.server)?;
    println!("{}", before.until(&after));
    Ok(())
}

struct Sample {
    time: Instant,
    server_ns: u64,
    client_ns: u64,
    messages: u64,
}

impl Sample {
    fn take(load: &Load, server: u32) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            server_ns: cpu::process_ns(server)?,
            client_ns: cpu::process_ns(std::process::id())?,
            time: Instant::now(),
            messages: load.messages,
        })
    }

    fn until(&self, end: &Self) -> serde_json::Value {
        serde_json::json!({
            "messages": end.messages - self.messages,
            "elapsed_ns": (end.time - self.time).as_nanos() as u64,
            "server_cpu_ns": end.server_ns - self.server_ns,
            "client_cpu_ns": end.client_ns - self.client_ns,
        })
    }
}

impl Load {
    fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let row = options.row;
        let payload = frames::payload(row.kind, row.bytes);
        Ok(Self {
            row,
            server: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), options.port),
            poll: Poll::new()?,
            connections: Vec::new(),
            buffer: vec![0; RECEIVE_BYTES],
            question: frames::client_frame(row.kind, &payload).repeat(row.frames),
            answer: frames::server_frame(row.kind, &payload).repeat(row.frames),
            verify: options.verify,
            open: 0,
            served: 0,
            messages: 0,
            begun: 0,
        })
    }

    fn connect(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + self.begun % SOURCES);
        self.begun = self.begun.wrapping_add(1);
        socket.bind(&SocketAddr::new(source.into(), 0).into())?;
        match socket.connect(&self.server.into()) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                return Err(error.into());
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), interest)?;
        let connection = Connection { stream, open: false, received: 0, to_write: 0, written: 0 };
        if at == self.connections.len() {
            self.connections.push(connection);
        } else {
            self.connections[at] = connection;
        }
        Ok(())
    }

    /// Opens connections until there are so many, some at a time so that the listener's queue does
    /// not overflow.
    fn open(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + OPEN_TIMEOUT;
        while self.open < count && self.row.work != Work::Accept {
            if Instant::now() > until {
                return Err(format!("{} connections opened", self.open).into());
            }
            while self.connections.len() < count.min(self.open + OPENING_MAX) {
                self.connect(self.connections.len())?;
            }
            self.turn(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Box<dyn Error>> {
        match self.row.work {
            Work::Echo => {
                for at in 0..self.connections.len() {
                    self.connections[at].to_write = self.row.in_flight;
                    self.write(at)?;
                }
            }
            Work::Broadcast => {
                self.connections[0].to_write = 1;
                self.write(0)?;
            }
            Work::Accept => {
                for at in 0..self.row.connections {
                    self.connect(at)?;
                }
            }
            Work::Idle => {}
        }
        Ok(())
    }

    fn run(&mut self, seconds: f64) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut progress = self.messages;
        let mut last = Instant::now();
        while Instant::now() < until {
            self.turn(Duration::from_millis(100))?;
            if self.messages != progress {
                (progress, last) = (self.messages, Instant::now());
            } else if last.elapsed() > OPEN_TIMEOUT {
                return Err("the server has stopped answering".into());
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> Result<(), Box<dyn Error>> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &events {
            let at = event.token().0;
            if !self.connections[at].open && event.is_writable() && !event.is_readable() {
                // Connected: the request goes out in one piece.
                self.connections[at].stream.write_all(frames::REQUEST)?;
                continue;
            }
            if event.is_writable() {
                self.write(at)?;
            }
            if event.is_readable() {
                self.receive(at)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        let connection = &mut self.connections[at];
        while connection.to_write > 0 {
            match connection.stream.write(&self.question[connection.written..]) {
                Ok(len) => connection.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if connection.written == self.question.len() {
                connection.written = 0;
                connection.to_write -= 1;
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        loop {
            let len = match self.connections[at].stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let from = if self.connections[at].open { 0 } else { self.handle_open(at, len)? };
            if from == len && self.row.work == Work::Accept {
                return Ok(());
            }
            self.handle_answer(at, from, len)?;
            if len < self.buffer.len() {
                return Ok(());
            }
        }
    }

    /// The server's 101, which must come in one piece.
    fn handle_open(&mut self, at: usize, len: usize) -> Result<usize, Box<dyn Error>> {
        let head = &self.buffer[..len];
        let end = frames::head_len(head).filter(|_| head.starts_with(b"HTTP/1.1 101 "));
        let end = end.ok_or("the server did not accept the handshake")?;
        self.connections[at].open = true;
        self.open += 1;
        if self.row.work == Work::Accept {
            // Closed by being replaced.
            self.messages += 1;
            self.connect(at)?;
        }
        Ok(end)
    }

    fn handle_answer(&mut self, at: usize, from: usize, to: usize) -> Result<(), Box<dyn Error>> {
        let connection = &mut self.connections[at];
        let mut bytes = &self.buffer[from..to];
        while !bytes.is_empty() {
            let expected = &self.answer[connection.received..];
            let (part, rest) = bytes.split_at(expected.len().min(bytes.len()));
            if self.verify && part != &expected[..part.len()] {
                return Err("an answer is not what was sent".into());
            }
            bytes = rest;
            connection.received += part.len();
            if connection.received == self.answer.len() {
                connection.received = 0;
                self.messages += self.row.frames as u64;
                match self.row.work {
                    Work::Echo => connection.to_write += 1,
                    _ => self.served += 1,
                }
            }
        }
        if self.row.work == Work::Broadcast && self.served == self.connections.len() {
            self.served = 0;
            self.connections[0].to_write = 1;
            return self.write(0);
        }
        self.write(at)
    }

    /// The memory that connections cost the server: what it takes however many there are, such as
    /// buffers for those that open at the same time, it has taken with the first ones.
    fn report_idle(&mut self, server: u32) -> Result<(), Box<dyn Error>> {
        let count = self.row.connections;
        self.open(FIRST_IDLE)?;
        // What the server still does for the last ones is then done.
        self.turn(Duration::from_millis(300))?;
        let initial = cpu::anonymous_bytes(server)?;
        self.open(FIRST_IDLE + count)?;
        self.turn(Duration::from_millis(300))?;
        let bytes = cpu::anonymous_bytes(server)?.saturating_sub(initial);
        let per_connection = bytes as f64 / count as f64;
        println!("{}", serde_json::json!({ "bytes_per_connection": per_connection }));
        Ok(())
    }
}
