//! The floor: a server that moves the bytes of an echo or a broadcast and does no WebSocket at all.
//! One thread, epoll (edge-triggered, registered once), one receive buffer, one `recv` and one
//! `send` for each read. It is told how long the client's frames are and counts bytes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use sockeye_benches::floors::{App, FloorOptions, KEY, KEY_BYTES};
use sockeye_benches::{cpu, frames};
use sockeye_codec::mask;

const LISTENER: Token = Token(usize::MAX);
const RECEIVE_BYTES: usize = 512 << 10;

/// A server that does no WebSocket: the least that the same traffic can cost.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    floor: FloorOptions,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    open: bool,
    /// Bytes of the frame under way that have come.
    partial: usize,
    /// Bytes of answers that the kernel has not taken.
    backlog: usize,
}

/// Where the bytes of a send are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Received,
    Other,
}

struct Floor {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: VecDeque<usize>,
    /// What is received, and where an echo is sent from: its bytes are where they landed.
    buffer: Vec<u8>,
    /// What else is sent: what it says is of no interest.
    other: Vec<u8>,
    frame_bytes: usize,
    unmask: bool,
    /// Frames to be sent to everybody at the end of the turn.
    due: usize,
}

fn main() -> io::Result<()> {
    let Options { floor: options } = Options::parse();
    cpu::raise_file_limit()?;
    let poll = Poll::new()?;
    let socket = options.listen()?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut floor = Floor {
        poll,
        connections: Vec::new(),
        free: VecDeque::new(),
        // Not zeros: those would be one page of memory, many times over, and always in cache.
        buffer: vec![1; RECEIVE_BYTES],
        other: vec![1; RECEIVE_BYTES],
        frame_bytes: options.frame_bytes as usize,
        unmask: options.unmask,
        due: 0,
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
                Token(at) => {
                    if event.is_writable() {
                        floor.send(at, 0, Source::Other);
                    }
                    if event.is_readable() || event.is_read_closed() {
                        floor.receive(at, options.app, event.is_read_closed());
                    }
                }
            }
        }
        if floor.due > 0 {
            let bytes = std::mem::take(&mut floor.due) * (floor.frame_bytes - KEY_BYTES);
            for at in 0..floor.connections.len() {
                floor.send(at, bytes, Source::Other);
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let at = self.free.pop_front().unwrap_or(self.connections.len());
                    if at == self.connections.len() {
                        self.connections.push(None);
                    }
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, Token(at), interest)?;
                    let connection = Connection { stream, open: false, partial: 0, backlog: 0 };
                    self.connections[at] = Some(connection);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, at: usize, app: App, to_end: bool) {
        loop {
            let Some(connection) = &mut self.connections[at] else { return };
            let len = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return self.close(at),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            };
            if connection.open {
                if self.unmask {
                    mask::apply(&mut self.buffer[..len], KEY, 0);
                }
                connection.partial += len;
                let whole = connection.partial / self.frame_bytes;
                connection.partial %= self.frame_bytes;
                match app {
                    App::Echo => {
                        self.send(at, len - (KEY_BYTES * whole).min(len), Source::Received);
                    }
                    App::Broadcast => self.due += whole,
                }
            } else {
                // The bench's client sends its request in one piece.
                connection.open = true;
                if connection.stream.write(frames::ANSWER).is_err() {
                    return self.close(at);
                }
            }
            if len < self.buffer.len() && !to_end {
                return;
            }
        }
    }

    fn send(&mut self, at: usize, bytes: usize, source: Source) {
        let Some(connection) = &mut self.connections[at] else { return };
        if !connection.open {
            return;
        }
        let waits = connection.backlog > 0 && bytes > 0;
        connection.backlog += bytes;
        if waits {
            return; // the kernel will say when it has room
        }
        while connection.backlog > 0 {
            let from = if source == Source::Received { &self.buffer } else { &self.other };
            let part = &from[..connection.backlog.min(from.len())];
            match connection.stream.write(part) {
                Ok(sent) => connection.backlog -= sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            }
        }
    }

    fn close(&mut self, at: usize) {
        self.connections[at] = None;
        // Not used again within this turn's events.
        self.free.push_back(at);
    }
}
