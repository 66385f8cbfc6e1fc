//! The clients: the client role of the codec on one driver of the simulator.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

use sockeye::sim::{Random, SimTx};
use sockeye_codec::handshake::{
    ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, Key,
};
use sockeye_codec::{Codec, Connection, DataKind, Event, Limits, OpCode, encode};
use sockeye_driver::{Close, Closed, ConnId, SideTable, Sink, Tx};

use crate::ledger::{Ledger, Serial};
use crate::payload;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Streaming,
    /// For what the server refuses.
    Unwanted,
    /// For nothing at all.
    Mute,
}

/// Where a client is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    Handshake,
    Open,
    /// It has sent a close frame.
    Closing,
    /// It has got one.
    Closed,
    /// It was answered with something other than 101.
    Refused,
    Gone,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ConnId,
    pub(crate) address: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) stage: Stage,
    handshake: Option<ClientHandshake>,
    connection: Connection,
    pub(crate) orders: u64,
    /// It has itself to thank for the end: it left, or broke the rules.
    pub(crate) is_guilty: bool,
    pub(crate) is_paused: bool,
    /// It had paused at some time.
    pub(crate) was_paused: bool,
    pub(crate) close_code: Option<u16>,
    /// The connect came to nothing.
    pub(crate) was_refused: bool,
    /// The status of an answer other than 101.
    pub(crate) status: Option<u16>,
}

/// All of them: the sink of their driver.
pub(crate) struct Clients {
    pub(crate) all: Vec<Client>,
    serials: SideTable<Serial>,
    codec: Codec,
    ledger: Rc<RefCell<Ledger>>,
    out: Vec<u8>,
}

impl Clients {
    pub(crate) fn new(ledger: Rc<RefCell<Ledger>>) -> Self {
        Self {
            all: Vec::new(),
            serials: SideTable::default(),
            codec: Codec::client(Limits::default(), [7; 32]),
            ledger,
            out: Vec::new(),
        }
    }

    /// A connect has begun.
    pub(crate) fn add(&mut self, id: ConnId, address: SocketAddr, kind: Kind) -> Serial {
        let serial = self.all.len();
        self.all.push(Client {
            id,
            address,
            kind,
            stage: Stage::Connecting,
            handshake: None,
            connection: Connection::new(),
            orders: 0,
            is_guilty: false,
            is_paused: false,
            was_paused: false,
            close_code: None,
            was_refused: false,
            status: None,
        });
        self.serials.insert(id, serial);
        serial
    }

    /// Sends the request, at once if the connection is there.
    pub(crate) fn request(&mut self, tx: &mut SimTx, serial: Serial) {
        let client = &mut self.all[serial];
        let folder = match client.kind {
            Kind::Plain => "c",
            Kind::Streaming => "s",
            Kind::Unwanted => "x",
            Kind::Mute => return,
        };
        let request = ClientRequest::new("sim.test", format!("/{folder}/{serial}"));
        let key = Key::new([serial as u8; 16]);
        let mut block = tx.out(client.id);
        request.write(&mut block, &key).expect("a request that can be written");
        tx.flush(client.id, block);
        let handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
        client.handshake = Some(handshake);
    }

    /// Gives the server an order, of `len` bytes at least, in one frame or in several.
    pub(crate) fn order(
        &mut self,
        tx: &mut SimTx,
        serial: Serial,
        order: (&str, u64, u64),
        len: usize,
        random: &mut Random,
    ) {
        let (verb, a, b) = order;
        let number = self.all[serial].orders;
        self.all[serial].orders += 1;
        let line = format!("{verb} {serial} {a} {b} {number}");
        self.ledger.borrow_mut().note(number, || format!("client gives the order {line}"));
        let text = payload::write(&line, number, len);
        let kind = if random.chance(500) { DataKind::Text } else { DataKind::Binary };
        let fragments = if random.chance(300) { 1 + random.below(6) } else { 1 };
        let mut cuts: Vec<_> = (1..fragments).map(|_| random.below(text.len())).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut block = tx.out(self.all[serial].id);
        let mut from = 0;
        for (n, to) in cuts.iter().enumerate() {
            let opcode = if n == 0 { kind.opcode() } else { OpCode::Continuation };
            let key = self.codec.next_masking_key();
            let payload = &text.as_bytes()[from..*to];
            encode::frame(&mut block, n + 1 == cuts.len(), opcode, payload, key);
            from = *to;
            if random.chance(100) {
                let key = self.codec.next_masking_key();
                encode::frame(&mut block, true, OpCode::Ping, b"in between", key);
            }
        }
        tx.flush(self.all[serial].id, block);
    }

    pub(crate) fn ping(&mut self, tx: &mut SimTx, serial: Serial, payload: &[u8]) {
        let client = &mut self.all[serial];
        let key = self.codec.next_masking_key();
        let mut block = tx.out(client.id);
        encode::frame(&mut block, true, OpCode::Ping, payload, key);
        tx.flush(client.id, block);
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&mut self, tx: &mut SimTx, serial: Serial, code: u16) {
        let client = &mut self.all[serial];
        let key = self.codec.next_masking_key();
        let mut block = tx.out(client.id);
        let code = sockeye_codec::CloseCode(code);
        client.connection.close(code, "bye", key, &mut block).expect("it is open");
        tx.flush(client.id, block);
        client.stage = Stage::Closing;
    }

    /// Bytes that no client may send.
    pub(crate) fn violate(&mut self, tx: &mut SimTx, serial: Serial, bytes: &[u8]) {
        let client = &mut self.all[serial];
        client.is_guilty = true;
        let mut block = tx.out(client.id);
        block.extend_from_slice(bytes);
        tx.flush(client.id, block);
    }

    /// Leaves without a close frame.
    pub(crate) fn leave(&mut self, tx: &mut SimTx, serial: Serial, how: Close) {
        let client = &mut self.all[serial];
        client.is_guilty = true;
        if how == Close::Abort {
            client.stage = Stage::Gone;
            self.serials.remove(client.id);
        }
        tx.close(client.id, how);
    }

    pub(crate) fn pause(&mut self, tx: &mut SimTx, serial: Serial, on: bool) {
        let client = &mut self.all[serial];
        client.is_paused = on;
        client.was_paused |= on;
        tx.set_recv(client.id, !on);
    }

    fn fail(&self, serial: Serial, what: &str) {
        self.ledger.borrow_mut().fail(format!("client {serial}: {what}"));
    }

    fn handle_answer(&mut self, serial: Serial, input: &mut &mut [u8]) {
        let client = &mut self.all[serial];
        if client.kind == Kind::Mute {
            // The answer to nothing: too late is all it can be.
            let is_timeout = client.stage != Stage::Handshake || input.starts_with(b"H");
            (client.stage, client.status) = (Stage::Refused, Some(408));
            *input = &mut [];
            if !is_timeout {
                self.fail(serial, "an answer to nothing");
            }
            return;
        }
        let Some(handshake) = &mut client.handshake else { return };
        match handshake.read(input) {
            Ok(None) => {}
            Ok(Some(_)) => {
                client.stage = Stage::Open;
                if client.kind == Kind::Unwanted {
                    self.fail(serial, "was let in");
                }
            }
            Err(HandshakeError::Refused { status, .. }) => {
                (client.stage, client.status) = (Stage::Refused, Some(status));
                *input = &mut [];
                let rightly = status == 403 && client.kind == Kind::Unwanted || status == 408;
                if !rightly {
                    self.fail(serial, "was refused");
                }
            }
            Err(error) => self.fail(serial, &error.to_string()),
        }
    }

    fn handle_frames(&mut self, tx: &mut SimTx, serial: Serial, input: &mut &mut [u8]) {
        let Self { all, codec, ledger, out, .. } = self;
        let client = &mut all[serial];
        loop {
            match client.connection.receive(codec, input, out) {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => {
                    let text = message.as_text().unwrap_or("no text");
                    let mut ledger = ledger.borrow_mut();
                    match payload::read(text) {
                        Ok((verb, numbers)) => ledger.handle_message(serial, verb, &numbers),
                        Err(what) => ledger.fail(format!("client {serial}: {what}")),
                    }
                }
                Ok(Some(Event::Close(frame))) => {
                    let code = frame.map_or(1005, |frame| frame.code.0);
                    client.close_code = Some(code);
                    client.stage = Stage::Closed;
                    let mut ledger = ledger.borrow_mut();
                    ledger.handle_close_frame(serial, code);
                    ledger.check(input.is_empty(), || format!("bytes after {serial}'s close"));
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    let what = format!("client {serial}: the server broke the protocol: {error}");
                    ledger.borrow_mut().fail(what);
                    break;
                }
            }
        }
        let mut block = tx.out(client.id);
        block.append(out);
        tx.flush(client.id, block);
    }
}

impl Sink<SimTx> for Clients {
    fn accepted(&mut self, _tx: &mut SimTx, _id: ConnId) {}

    fn connected(&mut self, _tx: &mut SimTx, id: ConnId) {
        if let Some(serial) = self.serials.get(id) {
            self.all[*serial].stage = Stage::Handshake;
        }
    }

    fn received(&mut self, tx: &mut SimTx, id: ConnId, bytes: &mut [u8]) {
        let Some(serial) = self.serials.get(id).copied() else { return };
        let mut input = bytes;
        if self.all[serial].stage == Stage::Handshake {
            self.handle_answer(serial, &mut input);
        }
        match self.all[serial].stage {
            Stage::Open | Stage::Closing => self.handle_frames(tx, serial, &mut input),
            Stage::Closed => self.fail(serial, "bytes after the close frame"),
            _ => {}
        }
    }

    fn drained(&mut self, _tx: &mut SimTx, _id: ConnId) {}

    fn closed(&mut self, _tx: &mut SimTx, id: ConnId, why: Closed) {
        let Some(serial) = self.serials.remove(id) else { return };
        let client = &mut self.all[serial];
        let stage = std::mem::replace(&mut client.stage, Stage::Gone);
        client.was_refused = stage == Stage::Connecting;
        let what = match why {
            Closed::Eof => ErrorKind::UnexpectedEof,
            Closed::Error(error) => error.kind(),
        };
        let mut ledger = self.ledger.borrow_mut();
        ledger.note(serial as u64, || format!("client {serial}: gone ({what:?}), was {stage:?}"));
    }
}
