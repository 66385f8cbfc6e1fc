//! An engine, the record of what its handler was told, and its peers: all in one place and on one
//! thread, so that a test says who does what when. Peers are bytes; nothing is answered for them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use sockeye::{Closed, Handle, Remote, Stats};
use sockeye_codec::{FrameHeader, OpCode, Role, encode};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{REQUEST, close_payload};
use sockeye_tests::rig::{Seen, Setup};

use crate::stage::{Place, Stage, Wire};
use crate::tls;

/// What a peer takes from its wire at a time.
const READ_BYTES: usize = 256 << 10;
const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An echo server that never pings, finds nobody idle and waits longer than any test for the answer
/// to its close frame: only what the test does happens.
pub(crate) fn quiet() -> Setup {
    Setup::new().config(|config| {
        (config.ping_interval_ms, config.idle_timeout_ms) = (0, 0);
        config.close_timeout_ms = 4 * PATIENCE.as_millis() as u32;
    })
}

/// A frame of a client.
pub(crate) fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::frame(&mut bytes, fin, opcode, payload, Some(MASKING_KEY));
    bytes
}

/// A text message of a client.
pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(true, OpCode::Text, text.as_bytes())
}

/// A client's close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(true, OpCode::Close, &close_payload(code, reason))
}

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: OpCode,
    pub(crate) payload: Vec<u8>,
}

/// A peer of a [`World`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(usize);

/// How the server's half of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

struct Peer {
    wire: Box<dyn Wire>,
    outbox: Vec<u8>,
    written: usize,
    /// FIN, behind the outbox.
    finishes: bool,
    reads: bool,
    input: Vec<u8>,
    /// How much of `input` the test has had.
    taken: usize,
    end: Option<End>,
}

impl Peer {
    /// Writes and reads what it can now. Returns whether that was anything.
    fn pump(&mut self, buf: &mut [u8]) -> bool {
        let mut moved = self.wire.pump();
        while self.written < self.outbox.len() {
            match self.wire.write(&self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Cut off: how, the reading half finds out.
                Err(_) => self.written = self.outbox.len(),
            }
            moved = true;
        }
        if self.written == self.outbox.len() {
            self.outbox.clear();
            self.written = 0;
            if std::mem::take(&mut self.finishes) {
                self.wire.finish();
                moved = true;
            }
        }
        while self.reads && self.end.is_none() {
            match self.wire.read(buf) {
                Ok(0) => self.end = Some(End::Fin),
                Ok(count) => self.input.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.end = Some(End::Reset),
            }
            moved = true;
        }
        moved
    }

    fn next_event(&self) -> Option<Instant> {
        let reads = self.reads && self.end.is_none();
        self.wire.next_event(reads, !self.outbox.is_empty())
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let bytes = self.rest()[..len].to_vec();
        self.taken += len;
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
        }
        bytes
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let parsed = FrameHeader::parse(self.rest(), Role::Client).expect("a frame of a server");
        let (header, header_len) = parsed?;
        let frame_len = header_len + header.payload_len as usize;
        if self.rest().len() < frame_len {
            return None;
        }
        assert!(!header.rsv1, "nothing was negotiated");
        let payload = self.take(frame_len).split_off(header_len);
        Some(Frame { fin: header.fin, opcode: header.opcode, payload })
    }
}

/// See the module.
pub(crate) struct World {
    stage: Box<dyn Stage>,
    record: Receiver<Seen>,
    begun: Instant,
    seen: VecDeque<(Duration, Seen)>,
    opened: u64,
    closed: u64,
    peers: Vec<Option<Peer>>,
    buf: Box<[u8]>,
}

impl World {
    pub(crate) fn new(place: &Place, setup: Setup) -> Self {
        let (script, config, record) = setup.parts();
        let stage = tls::stage(place, script, config);
        Self {
            begun: stage.now(),
            stage,
            record,
            seen: VecDeque::new(),
            opened: 0,
            closed: 0,
            peers: Vec::new(),
            buf: vec![0; READ_BYTES].into(),
        }
    }

    pub(crate) fn stage(&mut self) -> &mut dyn Stage {
        &mut *self.stage
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.stage.handle()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle().stats()
    }

    /// The shard's time, from the beginning of the world.
    pub(crate) fn elapsed(&self) -> Duration {
        self.stage.now() - self.begun
    }

    /// Everybody does what they can.
    pub(crate) fn turn(&mut self) {
        let mut moved = false;
        for peer in self.peers.iter_mut().flatten() {
            moved |= peer.pump(&mut self.buf);
        }
        let wires = match moved {
            true => None,
            false => self.peers.iter().flatten().filter_map(Peer::next_event).min(),
        };
        self.stage.turn(moved, wires);
        let now = self.elapsed();
        for seen in self.record.try_iter() {
            match &seen {
                Seen::Open(_) => self.opened += 1,
                Seen::Closed(..) => self.closed += 1,
                _ => {}
            }
            self.seen.push_back((now, seen));
        }
    }

    pub(crate) fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}; {:?}", self.stats());
            self.turn();
        }
    }

    pub(crate) fn wait_for_stats(&mut self, what: &str, is_so: impl Fn(Stats) -> bool) {
        self.turn_until(what, |world| is_so(world.stats()));
    }

    /// What was sent before this has been handled after it: as messages of others have, that took
    /// the same way. Where the network holds something up it may still be on its way.
    pub(crate) fn fence(&mut self, by: Id) {
        for _ in 0..2 {
            self.send(by, &text("fence"));
            assert_eq!(self.read_text(by), "fence");
        }
    }

    // Peers.

    /// A peer that connects and says nothing.
    pub(crate) fn connect(&mut self) -> Id {
        self.try_connect().expect("a connection")
    }

    pub(crate) fn try_connect(&mut self) -> io::Result<Id> {
        let wire = self.stage.connect()?;
        let peer = Peer {
            wire,
            outbox: Vec::new(),
            written: 0,
            finishes: false,
            reads: true,
            input: Vec::new(),
            taken: 0,
            end: None,
        };
        self.peers.push(Some(peer));
        Ok(Id(self.peers.len() - 1))
    }

    /// A peer that has asked for the path, which is all of its request that is its own.
    pub(crate) fn ask(&mut self, path: &str) -> Id {
        let id = self.connect();
        self.send(id, REQUEST.replacen("GET / ", &format!("GET {path} "), 1).as_bytes());
        id
    }

    /// The server has let it in.
    pub(crate) fn expect_open(&mut self, id: Id) {
        let head = self.read_head(id);
        assert!(head.starts_with("HTTP/1.1 101 "), "not accepted: {head}");
    }

    /// A peer whose connection is open on both sides.
    pub(crate) fn open(&mut self) -> Id {
        let id = self.ask("/");
        self.expect_open(id);
        id
    }

    /// The same, and what the server calls it.
    pub(crate) fn open_with_remote(&mut self) -> (Id, Remote) {
        let id = self.open();
        (id, self.next_open())
    }

    fn peer(&mut self, id: Id) -> &mut Peer {
        self.peers[id.0].as_mut().expect("a peer that has not left")
    }

    /// These bytes leave as fast as the wire takes them.
    pub(crate) fn send(&mut self, id: Id, bytes: &[u8]) {
        self.peer(id).outbox.extend_from_slice(bytes);
    }

    /// FIN, behind all that was sent; it goes on reading.
    pub(crate) fn finish(&mut self, id: Id) {
        self.peer(id).finishes = true;
    }

    pub(crate) fn set_reading(&mut self, id: Id, on: bool) {
        self.peer(id).reads = on;
    }

    /// All that was sent has been taken by the wire.
    pub(crate) fn flush(&mut self, id: Id) {
        self.turn_until("the wire takes it", |world| world.peer(id).outbox.is_empty());
    }

    /// RST, once the wire has taken what was sent.
    pub(crate) fn abort(&mut self, id: Id) {
        self.flush(id);
        let peer = self.peers[id.0].take().expect("a peer that has not left");
        peer.wire.abort();
    }

    /// Closes its end, without a word.
    pub(crate) fn leave(&mut self, id: Id) {
        self.peers[id.0] = None;
    }

    pub(crate) fn read_head(&mut self, id: Id) -> String {
        let end = |peer: &Peer| {
            let at = peer.rest().windows(4).position(|four| four == b"\r\n\r\n");
            at.map(|at| at + 4)
        };
        self.turn_until("a head", |world| {
            let peer = world.peer(id);
            assert!(peer.end.is_none() || end(peer).is_some(), "cut short: {:?}", peer.rest());
            end(peer).is_some()
        });
        let peer = self.peer(id);
        let len = end(peer).unwrap_or_default();
        String::from_utf8(peer.take(len)).expect("text")
    }

    pub(crate) fn read_frame(&mut self, id: Id) -> Frame {
        let mut frame = None;
        self.turn_until("a frame", |world| {
            let peer = world.peer(id);
            frame = peer.take_frame();
            assert!(frame.is_some() || peer.end.is_none(), "instead of a frame: {:?}", peer.end);
            frame.is_some()
        });
        frame.expect("it was waited for")
    }

    /// The next frame's payload, which must be a whole message.
    pub(crate) fn read_message(&mut self, id: Id, opcode: OpCode) -> Vec<u8> {
        let frame = self.read_frame(id);
        assert!(frame.fin && frame.opcode == opcode, "not {opcode:?}: {:?}", frame.opcode);
        frame.payload
    }

    pub(crate) fn read_text(&mut self, id: Id) -> String {
        String::from_utf8(self.read_message(id, OpCode::Text)).expect("UTF-8")
    }

    pub(crate) fn read_close(&mut self, id: Id) -> (u16, String) {
        let payload = self.read_message(id, OpCode::Close);
        let (code, reason) = payload.split_first_chunk().expect("a close code");
        (u16::from_be_bytes(*code), String::from_utf8(reason.into()).expect("UTF-8"))
    }

    /// So many bytes.
    pub(crate) fn read_bytes(&mut self, id: Id, len: usize) -> Vec<u8> {
        self.turn_until("bytes", |world| {
            let peer = world.peer(id);
            assert!(peer.rest().len() >= len || peer.end.is_none(), "cut short");
            peer.rest().len() >= len
        });
        self.peer(id).take(len)
    }

    /// All that still comes, and the end of it.
    pub(crate) fn read_to_end(&mut self, id: Id) -> (Vec<u8>, End) {
        self.turn_until("an end", |world| world.peer(id).end.is_some());
        let peer = self.peer(id);
        let len = peer.rest().len();
        (peer.take(len), peer.end.expect("it was waited for"))
    }

    /// FIN, and nothing before it.
    pub(crate) fn expect_end(&mut self, id: Id) {
        let (rest, end) = self.read_to_end(id);
        assert_eq!((rest.len(), end), (0, End::Fin), "{:?}", &rest[..rest.len().min(80)]);
    }

    /// The peer closes in the way of RFC 6455, and leaves.
    pub(crate) fn close(&mut self, id: Id, code: u16) {
        self.send(id, &close(code, ""));
        assert_eq!(self.read_close(id).0, code);
        self.expect_end(id);
        self.leave(id);
    }

    // The record.

    /// The next entry, and when it was made.
    pub(crate) fn next_timed(&mut self) -> (Duration, Seen) {
        self.turn_until("the handler is told something", |world| !world.seen.is_empty());
        self.seen.pop_front().expect("it was waited for")
    }

    pub(crate) fn next(&mut self) -> Seen {
        self.next_timed().1
    }

    pub(crate) fn next_open(&mut self) -> Remote {
        match self.next() {
            Seen::Open(remote) => remote,
            other => panic!("not an opened connection: {other:?}"),
        }
    }

    /// The next entry must be a text message.
    pub(crate) fn next_text(&mut self) -> String {
        match self.next() {
            Seen::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The next entry must be the end of a connection; what waited for it may have drained before.
    pub(crate) fn next_closed(&mut self) -> Closed {
        loop {
            match self.next() {
                Seen::Closed(_, why) => return why,
                Seen::Drained => {}
                other => panic!("not the end of a connection: {other:?}"),
            }
        }
    }

    pub(crate) fn next_note(&mut self) -> String {
        match self.next() {
            Seen::Note(note) => note,
            other => panic!("not a note: {other:?}"),
        }
    }

    /// Orders the obedient handler to do something that it counts; it notes how often it did.
    pub(crate) fn order(&mut self, peer: Id, what: &str) -> usize {
        self.send(peer, &text(what));
        assert_eq!(self.next_text(), what);
        self.next_note().parse().expect("a number")
    }

    /// What is on the record now, and not looked at.
    pub(crate) fn take_record(&mut self) -> Vec<Seen> {
        self.seen.drain(..).map(|(_, seen)| seen).collect()
    }

    /// Everybody leaves, and nothing is left; then the server ends.
    fn end(&mut self) {
        self.peers.clear();
        self.wait_for_stats("nobody is left", |stats| stats.connections == 0);
        self.stage.assert_empty();
        let stats = self.stats();
        let expected = (stats.opened, stats.opened, 0);
        assert_eq!((self.opened, self.closed, stats.open), expected, "`closed` once per `open`");
        self.handle().shutdown();
        self.turn_until("the end", |world| world.stage.is_done());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}
