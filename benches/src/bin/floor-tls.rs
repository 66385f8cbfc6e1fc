//! The floor of wss: a server that moves the bytes of an echo, encrypted, and does no WebSocket.
//! One thread, epoll (edge-triggered, registered once), one receive buffer, one `recv` and one
//! `send` for each read, and in between what rustls cannot be spared: each record is decrypted
//! where it landed, and as many bytes as an echo has are encrypted from memory that is always the
//! same. It is told how long the client's frames are and counts bytes. With `--unmask` it does what
//! no server is spared whose plaintext rustls lends: it copies that, passes over it, encrypts it.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use sockeye_benches::floors::{App, FloorOptions, KEY, KEY_BYTES};
use sockeye_benches::tls::{Records, ServerSession, server_config};
use sockeye_benches::{cpu, frames};
use sockeye_codec::mask;

/// As sockeye has it: rustls allocates for each record.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const LISTENER: Token = Token(usize::MAX);
const RECEIVE_BYTES: usize = 512 << 10;

/// A server of TLS that does no WebSocket: the least that the same traffic can cost with rustls.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    floor: FloorOptions,
    /// A PEM file with the certificate
    #[arg(long = "tls-cert", value_name = "FILE")]
    certificate: PathBuf,
    /// The PEM file with its key
    #[arg(long = "tls-key", value_name = "FILE")]
    key: PathBuf,
}

struct Connection {
    stream: TcpStream,
    session: ServerSession,
    /// The WebSocket is open.
    open: bool,
    /// Bytes of the frame under way that have come.
    partial: usize,
    /// Records that the kernel has not taken. Nothing is received meanwhile.
    backlog: Vec<u8>,
}

struct Floor {
    poll: Poll,
    config: Arc<ServerConfig>,
    connections: Vec<Option<Connection>>,
    free: VecDeque<usize>,
    /// What is received.
    buffer: Vec<u8>,
    /// What is encrypted: what it says is of no interest, unless it is what has come.
    plain: Vec<u8>,
    records: Records,
    frame_bytes: usize,
    unmask: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { floor: options, certificate, key } = Options::parse();
    if options.app != App::Echo {
        return Err("floor-tls echoes; it does nothing else".into());
    }
    cpu::raise_file_limit()?;
    let poll = Poll::new()?;
    let config = server_config(&certificate, &key)?;
    let socket = options.listen()?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut floor = Floor {
        poll,
        config,
        connections: Vec::new(),
        free: VecDeque::new(),
        // Not zeros: those would be one page of memory, many times over, and always in cache.
        buffer: vec![1; RECEIVE_BYTES],
        // A record that was held may come on top of what is received.
        plain: vec![1; 2 * RECEIVE_BYTES],
        records: Records::default(),
        frame_bytes: options.frame_bytes as usize,
        unmask: options.unmask,
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener)?,
                Token(at)
                    if floor.send_backlog(at) || event.is_readable() || event.is_read_closed() =>
                {
                    floor.receive(at, event.is_read_closed());
                }
                Token(_) => {}
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<(), Box<dyn Error>> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let at = self.free.pop_front().unwrap_or(self.connections.len());
            if at == self.connections.len() {
                self.connections.push(None);
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(at), interest)?;
            let session = ServerSession::accept(Arc::clone(&self.config))?;
            let backlog = Vec::new();
            let connection = Connection { stream, session, open: false, partial: 0, backlog };
            self.connections[at] = Some(connection);
        }
    }

    /// Returns whether there was one and all of it has left: what has come meanwhile waits.
    fn send_backlog(&mut self, at: usize) -> bool {
        let Some(connection) = &mut self.connections[at] else { return false };
        let waited = !connection.backlog.is_empty();
        if waited && connection.send_backlog().is_err() {
            self.close(at);
            return false;
        }
        waited && connection.backlog.is_empty()
    }

    fn receive(&mut self, at: usize, to_end: bool) {
        loop {
            let Some(connection) = &mut self.connections[at] else { return };
            if !connection.backlog.is_empty() {
                return; // the kernel will say when it has room
            }
            let len = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return self.close(at),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            };
            if self.answer(at, len).is_err() {
                return self.close(at);
            }
            if len < self.buffer.len() && !to_end {
                return;
            }
        }
    }

    /// Decrypts what was received and sends what is due for it.
    fn answer(&mut self, at: usize, len: usize) -> Result<(), Box<dyn Error>> {
        let Some(connection) = &mut self.connections[at] else { return Ok(()) };
        let mut received = 0;
        let take = |plain: &[u8]| {
            if self.unmask && connection.open {
                // rustls lends it: what is unmasked is a copy.
                self.plain[received..][..plain.len()].copy_from_slice(plain);
            }
            received += plain.len();
        };
        connection.session.receive(&mut self.buffer[..len], &mut self.records, take)?;
        if connection.session.has_ended() {
            return Err("it has ended".into());
        }
        if connection.open {
            if self.unmask {
                mask::apply(&mut self.plain[..received], KEY, 0);
            }
            connection.partial += received;
            let whole = connection.partial / self.frame_bytes;
            connection.partial %= self.frame_bytes;
            let mut due = received - (KEY_BYTES * whole).min(received);
            while due > 0 {
                let part = &self.plain[..due.min(self.plain.len())];
                connection.session.seal(part, &mut self.records)?;
                due -= part.len();
            }
        } else if received > 0 {
            // The bench's client sends its request in one piece.
            connection.open = true;
            connection.session.seal(frames::ANSWER, &mut self.records)?;
        }
        connection.send(&self.records)?;
        self.records.clear();
        Ok(())
    }

    fn close(&mut self, at: usize) {
        self.records.clear();
        self.connections[at] = None;
        // Not used again within this turn's events.
        self.free.push_back(at);
    }
}

impl Connection {
    fn send(&mut self, records: &Records) -> io::Result<()> {
        if records.bytes().is_empty() {
            return Ok(());
        }
        let sent = match self.stream.write(records.bytes()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.backlog.extend_from_slice(&records.bytes()[sent..]);
        Ok(())
    }

    fn send_backlog(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            match self.stream.write(&self.backlog) {
                Ok(sent) => drop(self.backlog.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
