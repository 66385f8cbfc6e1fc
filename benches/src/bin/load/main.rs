//! The client of the bench: a closed loop over one epoll, with its frames made beforehand, so that
//! it is never the bottleneck for long. Prints one line of JSON.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use sockeye_benches::rows::{Carrier, Row, Work};
use sockeye_benches::sample::Sample;
use sockeye_benches::tls::{self, ClientSession};
use sockeye_benches::{cpu, frames, rows};

use connection::{Connection, News, Shared};

mod connection;

/// rustls allocates for each record.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Leave TLS out, in a row that has it
    #[arg(long)]
    plain: bool,
}

fn find_row(name: &str) -> Result<&'static Row, String> {
    rows::find(name).ok_or_else(|| {
        let names: Vec<_> = rows::ROWS.iter().map(|row| row.name).collect();
        format!("no such row; there are {}", names.join(", "))
    })
}

struct Load {
    row: &'static Row,
    server: SocketAddr,
    /// What each connection's TLS begins with.
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    connections: Vec<Connection>,
    shared: Shared,
    /// Connections that are open, and, in a broadcast, that have all of the batch under way.
    open: usize,
    served: usize,
    messages: u64,
    /// Connections that have opened with an earlier one's TLS session.
    resumed: u64,
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
    let (before, resumed) = (Sample::take(options.server, load.messages)?, load.resumed);
    load.run(options.seconds)?;
    let after = Sample::take(options.server, load.messages)?;
    if load.resumes() && load.resumed - resumed != before.messages_until(&after) {
        return Err("the server does not resume every TLS session".into());
    }
    println!("{}", before.until(&after));
    Ok(())
}

impl Load {
    fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let row = options.row;
        let payload = frames::payload(row.kind, row.bytes);
        let question = frames::client_frame(row.kind, &payload).repeat(row.frames);
        let answer = frames::server_frame(row.kind, &payload).repeat(row.frames);
        let resumes = row.carrier == Carrier::TlsResumed;
        let secure = row.is_secure() && !options.plain;
        Ok(Self {
            row,
            server: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), options.port),
            poll: Poll::new()?,
            connections: Vec::new(),
            shared: Shared::new(question, answer, options.verify),
            tls: secure.then(|| tls::client_config(resumes)).transpose()?,
            open: 0,
            served: 0,
            messages: 0,
            resumed: 0,
            begun: 0,
        })
    }

    /// Whether each connection goes on with an earlier one's TLS session.
    fn resumes(&self) -> bool {
        self.tls.is_some() && self.row.carrier == Carrier::TlsResumed
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
        let session = self.tls.clone().map(ClientSession::connect).transpose()?;
        let connection = Connection::new(stream, session.map(Box::new));
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
                for connection in &mut self.connections {
                    connection.ask(self.row.in_flight, &mut self.shared)?;
                }
            }
            Work::Broadcast => self.connections[0].ask(1, &mut self.shared)?,
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
            let connection = &mut self.connections[at];
            if event.is_writable() {
                if connection.is_connecting() {
                    connection.begin(&mut self.shared)?;
                    continue;
                }
                connection.write(&mut self.shared)?;
            }
            if event.is_readable() {
                self.receive(at)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        loop {
            let mut news = News::default();
            let more = self.connections[at].receive(&mut self.shared, &mut news)?;
            if news.opened {
                self.open += 1;
                if self.row.work == Work::Accept {
                    // Closed by being replaced.
                    self.messages += 1;
                    self.resumed += u64::from(self.connections[at].is_resumed());
                    return self.connect(at);
                }
            }
            self.handle_answers(at, news.answered)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn handle_answers(&mut self, at: usize, answered: usize) -> Result<(), Box<dyn Error>> {
        self.messages += (answered * self.row.frames) as u64;
        if self.row.work != Work::Broadcast {
            return self.connections[at].ask(answered, &mut self.shared);
        }
        self.served += answered;
        if self.served == self.connections.len() {
            self.served = 0;
            self.connections[0].ask(1, &mut self.shared)?;
        }
        Ok(())
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
