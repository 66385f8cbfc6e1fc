//! The floor on io_uring: the twin of `floor`, moving the bytes of an echo or a broadcast and doing
//! no WebSocket at all. It answers whether a bound is the kernel's or ours, so a wake-up does the
//! least that is correct:
//!
//! - one system call a turn sends all that is owed and brings what has come;
//! - one multishot receive for each connection, on one ring of buffers;
//! - one send for each connection that is owed something. It never waits, so it is over when the
//!   call returns, and the kernel tells only of one that failed or fell short. What then is left is
//!   sent by one that waits inside the kernel.

mod ring;

use std::io::{self, Write};
use std::os::fd::{IntoRawFd, RawFd};

use clap::Parser;
use ring::{Answer, Op, Ring, Sizes};
use sockeye_benches::floors::{App, FloorOptions, KEY, KEY_BYTES};
use sockeye_benches::{cpu, frames};
use sockeye_codec::mask;

/// The most that one send takes.
const SEND_BYTES: usize = 512 << 10;
/// All answers are sent from here: what they say is of no interest. Not zeros: those would be one
/// page of memory, many times over, and always in cache.
static ANSWER: [u8; SEND_BYTES] = [1; SEND_BYTES];

/// A server on io_uring that does no WebSocket: the least that the same traffic can cost.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    floor: FloorOptions,
    /// Receive buffers, a power of two
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=32768))]
    buffers: u16,
    /// Bytes of each; the client's request has to fit
    #[arg(long, default_value_t = 64 << 10, value_parser = clap::value_parser!(u32).range(256..))]
    buffer_bytes: u32,
    /// Completions that a turn waits for; above 1 with --min-wait-us only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    want: u32,
    /// How long it waits for them at most; then one is enough. 0: one is enough at once
    #[arg(long, default_value_t = 0)]
    min_wait_us: u32,
    /// Entries of the submission ring
    #[arg(long, default_value_t = 1024)]
    submissions: u32,
    /// Entries of the completion ring
    #[arg(long, default_value_t = 4096)]
    completions: u32,
}

/// What there is of a connection, under its descriptor's number.
#[derive(Debug, Clone, Copy, Default)]
struct Connection {
    /// Bytes of the frame under way that have come.
    partial: usize,
    /// Bytes of answers that are to be sent.
    owed: usize,
    /// Bytes of the last send.
    sent: usize,
    /// The handshake is over, and the peer is still there.
    open: bool,
    /// The kernel has fallen short: the next send waits inside of it.
    blocked: bool,
    /// That send is under way.
    waiting: bool,
    /// The peer is gone; to be closed when nothing is under way.
    over: bool,
}

impl Connection {
    /// How many frames are whole with so many bytes more, and what an echo of those bytes has.
    fn whole_and_echo_bytes(&self, received: usize, frame_bytes: usize) -> (usize, usize) {
        let whole = (self.partial + received) / frame_bytes;
        (whole, received - (KEY_BYTES * whole).min(received))
    }
}

struct Floor {
    ring: Ring,
    app: App,
    listener: RawFd,
    frame_bytes: usize,
    unmask: bool,
    connections: Vec<Connection>,
    /// Those that are owed something.
    owed: Vec<RawFd>,
    /// Those whose receive has ended for want of a buffer.
    unarmed: Vec<RawFd>,
    /// Frames to be sent to everybody at the end of the turn.
    due: usize,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if options.want > 1 && options.min_wait_us == 0 {
        return Err(io::Error::other("--want above 1 takes --min-wait-us: it may never come"));
    }
    cpu::raise_file_limit()?;
    let socket = options.floor.listen()?;
    let address = socket.local_addr()?;
    let mut ring = Ring::new(&Sizes {
        submissions: options.submissions,
        completions: options.completions,
        buffers: options.buffers,
        buffer_bytes: options.buffer_bytes,
    })?;
    let listener = socket.into_raw_fd();
    ring.accept(listener)?;
    println!("listening on {}", address.as_socket().ok_or_else(|| io::Error::other("no IP"))?);
    io::stdout().flush()?;
    let mut floor = Floor {
        ring,
        app: options.floor.app,
        listener,
        frame_bytes: options.floor.frame_bytes as usize,
        unmask: options.floor.unmask,
        connections: Vec::new(),
        owed: Vec::new(),
        unarmed: Vec::new(),
        due: 0,
    };
    loop {
        floor.ring.wait(options.want as usize, options.min_wait_us)?;
        floor.turn()?;
    }
}

impl Floor {
    /// All that has happened, and what is to be done about it.
    fn turn(&mut self) -> io::Result<()> {
        while let Some(answer) = self.ring.next()? {
            let fd = answer.fd;
            match answer.op {
                Op::Receive => self.handle_received(&answer)?,
                Op::Send => self.handle_unsent(fd, answer.result),
                Op::Rest => self.handle_rest(fd, answer.result)?,
                Op::Accept => self.handle_accepted(&answer)?,
                // Of these only failures are told: what was to be ended has ended by itself.
                Op::Cancel | Op::Close => {}
            }
        }
        self.ring.publish();
        for fd in self.unarmed.drain(..) {
            if !self.connections[fd as usize].over {
                self.ring.receive(fd)?;
            }
        }
        if self.due > 0 {
            let bytes = std::mem::take(&mut self.due) * (self.frame_bytes - KEY_BYTES);
            for fd in 0..self.connections.len() {
                if self.connections[fd].open {
                    self.owe(fd as RawFd, bytes);
                }
            }
        }
        let mut owed = std::mem::take(&mut self.owed);
        for fd in owed.drain(..) {
            self.send(fd)?;
        }
        self.owed = owed;
        Ok(())
    }

    fn handle_accepted(&mut self, answer: &Answer) -> io::Result<()> {
        if !answer.more {
            self.ring.accept(self.listener)?;
        }
        let Ok(at) = usize::try_from(answer.result) else {
            return Err(io::Error::from_raw_os_error(-answer.result));
        };
        if at >= self.connections.len() {
            self.connections.resize(at + 1, Connection::default());
        }
        self.connections[at] = Connection::default();
        self.ring.receive(answer.result)
    }

    fn handle_received(&mut self, answer: &Answer) -> io::Result<()> {
        let fd = answer.fd;
        let connection = &mut self.connections[fd as usize];
        let mut sent_now = 0;
        if let Some(buffer) = answer.buffer {
            if self.unmask && connection.open {
                let received = self.ring.received(answer, buffer);
                mask::apply(received, KEY, 0);
                if self.app == App::Echo && connection.owed == 0 && !connection.waiting {
                    let (_, due) =
                        connection.whole_and_echo_bytes(received.len(), self.frame_bytes);
                    // Where it is in cache: later, by the ring, it took a fifth longer.
                    sent_now = ring::send_now(fd, &received[..due]);
                }
            }
            self.ring.put_back(buffer);
        }
        match usize::try_from(answer.result) {
            Ok(len) if len > 0 => {
                if !answer.more {
                    self.unarmed.push(fd);
                }
                if !connection.open {
                    // The bench's client sends its request in one piece.
                    connection.open = true;
                    connection.sent = frames::ANSWER.len();
                    return self.ring.send(fd, frames::ANSWER);
                }
                let (whole, due) = connection.whole_and_echo_bytes(len, self.frame_bytes);
                connection.partial = (connection.partial + len) % self.frame_bytes;
                match self.app {
                    App::Echo if due > sent_now => {
                        // What the kernel has refused now waits inside of it.
                        connection.blocked |= sent_now > 0;
                        self.owe(fd, due - sent_now);
                    }
                    App::Echo => {}
                    App::Broadcast => self.due += whole,
                }
                Ok(())
            }
            Err(_) if answer.is_out_of_buffers() => {
                self.unarmed.push(fd);
                Ok(())
            }
            _ => {
                connection.open = false;
                connection.owed = 0;
                connection.over = true;
                // The send that waits would never be over without a peer that reads.
                if connection.waiting { self.ring.cancel(fd) } else { self.ring.close(fd) }
            }
        }
    }

    fn owe(&mut self, fd: RawFd, bytes: usize) {
        let connection = &mut self.connections[fd as usize];
        if connection.owed == 0 {
            self.owed.push(fd);
        }
        connection.owed += bytes;
    }

    /// Sends what a connection is owed, unless a send is under way: what that leaves comes then.
    fn send(&mut self, fd: RawFd) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        if connection.owed == 0 || connection.waiting {
            return Ok(());
        }
        let bytes = connection.owed.min(SEND_BYTES);
        connection.sent = bytes;
        connection.owed -= bytes;
        if connection.blocked || connection.owed > 0 {
            connection.waiting = true;
            self.ring.send_rest(fd, &ANSWER[..bytes])
        } else {
            self.ring.send(fd, &ANSWER[..bytes])
        }
    }

    /// A send of this turn did not go out whole.
    fn handle_unsent(&mut self, fd: RawFd, result: i32) {
        let connection = &mut self.connections[fd as usize];
        let sent = match usize::try_from(result) {
            Ok(sent) => sent,
            Err(_) if ring::is_for_later(result) => 0,
            // Its receive will say so, too.
            Err(_) => return,
        };
        if !connection.over && sent < connection.sent {
            let rest = connection.sent - sent;
            connection.blocked = true;
            self.owe(fd, rest);
        }
    }

    /// A send that has waited inside the kernel is over.
    fn handle_rest(&mut self, fd: RawFd, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        connection.waiting = false;
        connection.blocked = false;
        if connection.over {
            return self.ring.close(fd);
        }
        match usize::try_from(result) {
            Ok(sent) => connection.owed += connection.sent.saturating_sub(sent),
            Err(_) if ring::is_for_later(result) => connection.owed += connection.sent,
            // Its receive will say so, too.
            Err(_) => connection.owed = 0,
        }
        if connection.owed > 0 {
            self.owed.push(fd);
        }
        Ok(())
    }
}
