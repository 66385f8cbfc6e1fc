//! One connection of the load: from the handshake to its end, what it sends and what it gets.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use sockeye_codec::deflate::{Compressor, Deflate, Inflater};
use sockeye_codec::handshake::{ClientHandshake, ClientRequest, HandshakeLimits, Key};
use sockeye_codec::{
    CloseCode, Codec, Connection, DataKind, Event, Message, OpCode, Role, SendError, encode,
};
use xxhash_rust::xxh3::xxh3_64;

use super::clock::Clock;
use super::failure::Failure;
use super::flights::{Flight, Flights};
use super::payload::{self, Generator, Payload, Template, Values};
use super::plan::{Plan, Scenario};
use super::record::{Kind, Record};
use super::report::LoadKind;
use super::script::{Action, Moment};
use super::scripted::{Due, Scripted};
use super::stamp::Stamp;
use super::tls::TlsLink;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    Tls,
    Upgrading,
    Open,
    /// Our close frame has left.
    Closing,
}

/// What one thread's connections share.
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    /// Read before each thing that happens.
    pub(crate) now_ns: u64,
    pub(crate) codec: Codec,
    pub(crate) inflater: Inflater,
    pub(crate) hands: Hands,
    /// Plaintext that has come out of TLS, and that goes into it.
    pub(crate) plain_in: Vec<u8>,
    pub(crate) plain_out: Vec<u8>,
}

/// The part of it that is at hand while a message is lent from another part.
pub(crate) struct Hands {
    pub(crate) record: Record,
    pub(crate) payload: Arc<Payload>,
    pub(crate) generator: Generator,
    /// What the wall clock is ahead of the monotonic one.
    pub(crate) unix_ahead_ns: u64,
    /// The message that is being made.
    pub(crate) message: Vec<u8>,
    pub(crate) compressor: Option<Compressor>,
    /// In a closed loop an answer is followed by the next message.
    pub(crate) running: bool,
    /// What the server agreed to, as it wrote it.
    pub(crate) agreed: Option<String>,
}

impl Hands {
    fn moment(&self, number: u32, now_ns: u64) -> Moment {
        let now_unix_ms = (now_ns + self.unix_ahead_ns) / 1_000_000;
        Moment { now_ns, now_unix_ms, connection: number.into() }
    }
}

/// What few connections have, or have for a short while.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) tls: Option<Box<TlsLink>>,
    handshake: Option<Box<ClientHandshake>>,
    deflate: Option<Box<Deflate>>,
    /// The next sequence number of each publisher (`fanout`).
    heard: Vec<u64>,
    ping_sent_ns: Option<u64>,
    scripted: Option<Box<Scripted>>,
}

impl Extra {
    fn is_needed(&self) -> bool {
        self.tls.is_some()
            || self.deflate.is_some()
            || self.scripted.is_some()
            || !self.heard.is_empty()
    }
}

/// What is to be done about a connection after it has got bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// It has just opened.
    Opened,
    /// Its script is at its end; our close frame has left.
    Finished,
    /// The server's close frame has come; ours has left.
    Closed,
}

/// One connection.
pub(crate) struct Client {
    connection: Connection,
    flights: Flights,
    extra: Option<Box<Extra>>,
    /// When its stage began; while it connects, when that was due.
    pub(crate) since_ns: u64,
    /// The sequence number of its next message.
    sequence: u64,
    /// Which of the run's connections it is.
    pub(crate) number: u32,
    /// Its place among those that send, while it is open.
    pub(crate) place: u32,
    pub(crate) stage: Stage,
    pub(crate) is_slow: bool,
    has_received: bool,
}

impl Client {
    pub(crate) fn new(number: usize, due_ns: u64, tls: Option<TlsLink>, plan: &Plan) -> Self {
        let tls = tls.map(Box::new);
        let extra = tls.is_some().then(|| Box::new(Extra { tls, ..Extra::default() }));
        Self {
            connection: Connection::new(),
            flights: Flights::default(),
            extra,
            since_ns: due_ns,
            sequence: 0,
            number: number as u32,
            place: u32::MAX,
            stage: Stage::Connecting,
            is_slow: plan.is_slow(number),
            has_received: false,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Something is under way that is no message: the connection itself, in a storm.
    pub(crate) fn depart(&mut self, flight: Flight) {
        self.flights.push(flight);
    }

    /// It has arrived.
    pub(crate) fn arrive(&mut self) -> Option<Flight> {
        self.flights.pop()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open && self.connection.is_open()
    }

    /// The socket is connected: the first bytes.
    pub(crate) fn begin(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        let connect_ns = shared.now_ns.saturating_sub(self.since_ns);
        shared.hands.record.connect.record(connect_ns);
        self.since_ns = shared.now_ns;
        if let Some(tls) = self.extra.as_mut().and_then(|extra| extra.tls.as_mut()) {
            self.stage = Stage::Tls;
            return Ok(tls.start(out)?);
        }
        self.request(shared, out)
    }

    /// The request: each connection's own, where a script says so.
    fn upgrade_request<'a>(&self, shared: &'a mut Shared) -> Cow<'a, ClientRequest> {
        let plan = &shared.plan;
        let connect = plan.script.as_ref().map(|script| &script.connect);
        let Some(connect) = connect.filter(|it| it.path.is_some() || !it.headers.is_empty()) else {
            return Cow::Borrowed(&plan.request);
        };
        let moment = shared.hands.moment(self.number, shared.now_ns);
        let values = Values {
            connection: moment.connection,
            now_ns: moment.now_ns,
            now_unix_ms: moment.now_unix_ms,
            ..Values::default()
        };
        let generator = &mut shared.hands.generator;
        let mut render = |template: &Template| {
            let mut text = Vec::new();
            template.render(&values, generator, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let mut request = plan.request.clone();
        if let Some(path) = &connect.path {
            request = request.target(render(path));
        }
        for (name, value) in &connect.headers {
            request = request.header(name, render(value));
        }
        Cow::Owned(request)
    }

    fn request(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| Failure::Other(error.to_string().into()))?;
        let (request, key) = (self.upgrade_request(shared), Key::new(nonce));
        request.write(out, &key).map_err(|error| Failure::Other(error.to_string().into()))?;
        let handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
        self.extra.get_or_insert_default().handshake = Some(Box::new(handshake));
        self.stage = Stage::Upgrading;
        Ok(())
    }

    /// Bytes have come. What is to be sent goes to `out`.
    pub(crate) fn receive(
        &mut self,
        shared: &mut Shared,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let Some(mut tls) = self.extra.as_mut().and_then(|extra| extra.tls.take()) else {
            return self.receive_plain(shared, bytes, out);
        };
        let result = self.receive_tls(shared, &mut tls, bytes, out);
        self.extra.get_or_insert_default().tls = Some(tls);
        result
    }

    fn receive_tls(
        &mut self,
        shared: &mut Shared,
        tls: &mut TlsLink,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let mut plain_in = mem::take(&mut shared.plain_in);
        let mut plain_out = mem::take(&mut shared.plain_out);
        let mut go = || {
            tls.receive(bytes, &mut plain_in, out)?;
            if self.stage == Stage::Tls && tls.is_ready() {
                let tls_ns = shared.now_ns.saturating_sub(self.since_ns);
                shared.hands.record.tls.record(tls_ns);
                self.since_ns = shared.now_ns;
                self.request(shared, &mut plain_out)?;
            }
            let next = self.receive_plain(shared, &mut plain_in, &mut plain_out);
            if !plain_out.is_empty() {
                tls.seal(&plain_out, out)?;
            }
            next
        };
        let result = go();
        plain_in.clear();
        plain_out.clear();
        (shared.plain_in, shared.plain_out) = (plain_in, plain_out);
        result
    }

    fn receive_plain(
        &mut self,
        shared: &mut Shared,
        mut bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let mut next = Next::Nothing;
        if self.stage == Stage::Upgrading {
            if !self.upgrade(shared, &mut bytes)? {
                return Ok(Next::Nothing);
            }
            next = Next::Opened;
        }
        if bytes.is_empty() || !matches!(self.stage, Stage::Open | Stage::Closing) {
            return Ok(next);
        }
        loop {
            let Shared { plan, codec, now_ns, inflater, hands, .. } = &mut *shared;
            let event = self.connection.receive(codec, &mut bytes, out)?;
            let Some(event) = event else { return Ok(next) };
            let event = match event {
                Event::Extension(kind, payload) => {
                    let extra = self.extra.as_mut();
                    let Some(deflate) = extra.and_then(|extra| extra.deflate.as_mut()) else {
                        continue;
                    };
                    hands.record.received_wire_bytes += payload.len() as u64;
                    Event::Message(deflate.inflate(inflater, kind, payload)?)
                }
                event => event,
            };
            match event {
                Event::Message(message) => self.take(plan, hands, *now_ns, message),
                Event::Pong(_) => self.take_pong(hands, *now_ns),
                Event::Close(frame) => {
                    if self.stage == Stage::Open {
                        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code);
                        hands.record.closed(code.0);
                    }
                    return Ok(Next::Closed);
                }
                _ => continue,
            }
            match self.follow_up(shared, out)? {
                Next::Nothing => {}
                after => next = after,
            }
        }
    }

    /// See [`Connection::room`].
    pub(crate) fn room(&mut self, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        let is_plain = self.extra.as_ref().is_none_or(|extra| extra.tls.is_none());
        if is_plain { self.connection.room(bytes_min, bytes_max) } else { None }
    }

    /// Bytes have come into the room.
    pub(crate) fn receive_in_room(
        &mut self,
        shared: &mut Shared,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let event = self.connection.receive_in_room(&mut shared.codec, len, out)?;
        match event {
            Some(Event::Message(message)) => {
                self.take(&shared.plan, &mut shared.hands, shared.now_ns, message);
            }
            Some(Event::Extension(kind, payload)) => {
                let extra = self.extra.as_mut();
                if let Some(deflate) = extra.and_then(|extra| extra.deflate.as_mut()) {
                    shared.hands.record.received_wire_bytes += payload.len() as u64;
                    let message = deflate.inflate(&mut shared.inflater, kind, payload)?;
                    self.take(&shared.plan, &mut shared.hands, shared.now_ns, message);
                }
            }
            _ => return Ok(Next::Nothing),
        }
        self.follow_up(shared, out)
    }

    fn upgrade(&mut self, shared: &mut Shared, bytes: &mut &mut [u8]) -> Result<bool, Failure> {
        let Some(extra) = &mut self.extra else { return Ok(false) };
        let Some(handshake) = &mut extra.handshake else { return Ok(false) };
        let Some(accepted) = handshake.read(bytes)? else { return Ok(false) };
        extra.handshake = None;
        if let Some(params) = accepted.deflate {
            extra.deflate = Some(Box::new(Deflate::new(&params, Role::Client)));
            self.connection = Connection::new().allow_rsv1();
            let header = accepted.header("Sec-WebSocket-Extensions");
            let agreed = header.map(|value| String::from_utf8_lossy(value).into_owned());
            shared.hands.agreed = agreed;
        }
        if let Some(script) = &shared.plan.script {
            extra.scripted = Some(Box::new(Scripted::new(script)));
        }
        self.extra.take_if(|extra| !extra.is_needed());
        let upgrade_ns = shared.now_ns.saturating_sub(self.since_ns);
        shared.hands.record.upgrade.record(upgrade_ns);
        self.since_ns = shared.now_ns;
        self.stage = Stage::Open;
        Ok(true)
    }

    /// A message has come.
    fn take(&mut self, plan: &Plan, hands: &mut Hands, now_ns: u64, message: Message<'_>) {
        let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
        if let (Some(scripted), Some(script)) = (scripted, &plan.script) {
            let moment = hands.moment(self.number, now_ns);
            let Hands { generator, message: reply, record, .. } = hands;
            scripted.take(script, moment, message, (generator, reply, record));
        } else if plan.scenario.is_answered() {
            self.take_answer(plan, hands, now_ns, message);
        } else {
            self.take_pushed(plan, hands, now_ns, message);
        }
    }

    fn note_first(&mut self, record: &mut Record, from_ns: u64, now_ns: u64) {
        if !self.has_received {
            self.has_received = true;
            record.first_message.record(now_ns.saturating_sub(from_ns));
        }
    }

    fn take_answer(&mut self, plan: &Plan, hands: &mut Hands, now_ns: u64, message: Message<'_>) {
        let Some(flight) = self.flights.pop() else {
            // On one that is closed the answers were given up.
            if self.stage == Stage::Open {
                hands.record.error("a message came that answers none", now_ns);
            }
            return;
        };
        self.note_first(&mut hands.record, flight.sent_ns, now_ns);
        let payload = message.as_bytes();
        if plan.verify {
            let is_text = message.kind() == DataKind::Text;
            let is_same = payload.len() == flight.len as usize
                && is_text == flight.is_text
                && xxh3_64(payload) == flight.hash;
            if !is_same {
                hands.record.totals.mismatches += 1;
                let what = "an answer is not what was sent: is this an echo server?";
                hands.record.error(what, now_ns);
            }
        }
        let of = Kind { is_slow: self.is_slow, is_open_loop: plan.load == LoadKind::Open };
        hands.record.answered(&flight, payload.len(), now_ns, of);
    }

    fn take_pushed(&mut self, plan: &Plan, hands: &mut Hands, now_ns: u64, message: Message<'_>) {
        self.note_first(&mut hands.record, self.since_ns, now_ns);
        let payload = message.as_bytes();
        let stamp = Stamp::read(payload, message.kind() == DataKind::Text);
        if plan.scenario == Scenario::Fanout {
            let Some(stamp) = stamp else {
                let what = "a message came that no publisher has sent";
                return hands.record.error(what, now_ns);
            };
            if plan.publishes(self.number as usize) {
                return; // a publisher's own, where the server sends to everybody
            }
            if !self.is_slow {
                self.note_delivery(plan, &mut hands.record, now_ns, stamp);
            }
        }
        let due_ns = stamp.map(|stamp| stamp.due_ns);
        hands.record.pushed(due_ns, payload.len(), now_ns, self.is_slow);
    }

    fn note_delivery(&mut self, plan: &Plan, record: &mut Record, now_ns: u64, stamp: Stamp) {
        let publisher = stamp.connection as usize;
        if publisher >= plan.publishers {
            return record.error("a message came from another run's publisher", now_ns);
        }
        if record.measures(stamp.due_ns) {
            record.deliveries.delivered += 1;
            record.deliveries.spread(publisher, stamp.sequence, now_ns);
        }
        let heard = &mut self.extra.get_or_insert_default().heard;
        if heard.is_empty() {
            // What was published before it subscribed does not count.
            heard.resize(plan.publishers, u64::MAX);
        }
        let expected = &mut heard[publisher];
        if *expected == u64::MAX || stamp.sequence == *expected {
            *expected = stamp.sequence + 1;
        } else if stamp.sequence > *expected {
            record.deliveries.gaps += stamp.sequence - *expected;
            *expected = stamp.sequence + 1;
        } else if stamp.sequence + 1 == *expected {
            record.deliveries.duplicates += 1;
        } else {
            record.deliveries.reordered += 1;
            record.deliveries.gaps = record.deliveries.gaps.saturating_sub(1);
        }
    }

    fn take_pong(&mut self, hands: &mut Hands, now_ns: u64) {
        let sent_ns = self.extra.as_mut().and_then(|extra| extra.ping_sent_ns.take());
        let Some(sent_ns) = sent_ns else { return };
        if hands.record.measures(sent_ns) {
            hands.record.totals.pongs_received += 1;
            hands.record.ping.record(now_ns.saturating_sub(sent_ns));
        }
        self.extra.take_if(|extra| !extra.is_needed());
    }

    /// In a closed loop the next message leaves when one was answered; a script says itself.
    fn follow_up(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<Next, Failure> {
        if let Some(scripted) = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut()) {
            if let Some(what) = scripted.wrong.take() {
                return Err(Failure::Script(what));
            }
            return match mem::replace(&mut scripted.due, Due::Nothing) {
                Due::Nothing => Ok(Next::Nothing),
                Due::Step => self.step(shared, out),
                Due::Reply(kind) => {
                    let flight = self.flight(shared, shared.now_ns, kind == payload::Kind::Text);
                    self.encode(shared, &flight, out)?;
                    Ok(Next::Nothing)
                }
            };
        }
        let Shared { plan, hands, .. } = &*shared;
        let is_closed_loop = plan.load == LoadKind::Closed && hands.running;
        if !is_closed_loop || !self.is_open() || !plan.scenario.is_answered() {
            return Ok(Next::Nothing);
        }
        let (now_ns, in_flight) = (shared.now_ns, plan.in_flight);
        while self.flights.len() < in_flight {
            self.send_plain(shared, now_ns, out)?;
        }
        Ok(Next::Nothing)
    }

    /// Begins the script.
    pub(crate) fn follow_script(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        self.sealed(shared, out, Self::step)
    }

    /// A time that the script has set has come.
    pub(crate) fn wake(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<Next, Failure> {
        let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
        let (Some(scripted), Some(script)) = (scripted, &shared.plan.script) else {
            return Ok(Next::Nothing);
        };
        if scripted.wake(script, shared.now_ns).map_err(Failure::Script)? {
            self.follow_script(shared, out)
        } else {
            Ok(Next::Nothing)
        }
    }

    /// When the script wants to be woken, told once.
    pub(crate) fn take_timer(&mut self) -> Option<u64> {
        self.extra.as_mut()?.scripted.as_mut()?.take_timer()
    }

    /// What is next in the script, until it waits.
    fn step(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<Next, Failure> {
        let Some(script) = shared.plan.script.clone() else { return Ok(Next::Nothing) };
        while self.is_open() {
            let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
            let Some(scripted) = scripted else { break };
            let moment = shared.hands.moment(self.number, shared.now_ns);
            let Hands { generator, message, .. } = &mut shared.hands;
            message.clear();
            match scripted.runner.next(&script, moment, generator, message) {
                Action::Send { kind } => {
                    scripted.sent_ns = shared.now_ns;
                    let flight = self.flight(shared, shared.now_ns, kind == payload::Kind::Text);
                    self.encode(shared, &flight, out)?;
                }
                Action::Expect { until_ns } => {
                    scripted.expect(until_ns);
                    break;
                }
                Action::Think { ns } => {
                    scripted.think(shared.now_ns + ns);
                    break;
                }
                Action::Ping => {
                    let key = shared.codec.next_masking_key();
                    self.connection.ping(b"", key, out)?;
                }
                Action::Close { code, reason } => {
                    return self.finish(shared, CloseCode(code), reason, out);
                }
                Action::Done => return self.finish(shared, CloseCode::NORMAL, "", out),
            }
        }
        Ok(Next::Nothing)
    }

    /// The script is at its end.
    fn finish(
        &mut self,
        shared: &mut Shared,
        code: CloseCode,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let key = shared.codec.next_masking_key();
        self.connection.close(code, reason, key, out)?;
        self.stage = Stage::Closing;
        Ok(Next::Finished)
    }

    /// Sends a message that was due then.
    pub(crate) fn send(
        &mut self,
        shared: &mut Shared,
        due_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.sealed(shared, out, |client, shared, out| client.send_plain(shared, due_ns, out))
    }

    /// Has `write` write frames, and encrypts them where there is TLS.
    fn sealed<R>(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Self, &mut Shared, &mut Vec<u8>) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        if self.extra.as_ref().is_none_or(|extra| extra.tls.is_none()) {
            return write(self, shared, out);
        }
        let mut plain = mem::take(&mut shared.plain_out);
        let mut result = write(self, shared, &mut plain);
        if let Some(tls) = self.extra.as_mut().and_then(|extra| extra.tls.as_mut())
            && !plain.is_empty()
        {
            let sealed = tls.seal(&plain, out).map_err(Failure::from);
            result = result.and_then(|done| sealed.map(|()| done));
        }
        plain.clear();
        shared.plain_out = plain;
        result
    }

    fn send_plain(
        &mut self,
        shared: &mut Shared,
        due_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let flight = self.compose(shared, due_ns);
        self.encode(shared, &flight, out)?;
        if shared.plan.scenario.is_answered() {
            self.flights.push(flight);
        }
        Ok(())
    }

    /// Appends the message that was made.
    fn encode(
        &mut self,
        shared: &mut Shared,
        flight: &Flight,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if !self.connection.is_open() {
            return Err(Failure::Send(SendError::Closed));
        }
        let Shared { plan, codec, hands, .. } = shared;
        let Hands { record, payload, message, compressor, .. } = hands;
        let before = out.len();
        let deflate = self.extra.as_mut().and_then(|extra| extra.deflate.as_mut());
        let opcode = if flight.is_text { OpCode::Text } else { OpCode::Binary };
        match (deflate, compressor, payload.fragment_bytes()) {
            (Some(deflate), Some(compressor), None) => {
                let whole = match std::str::from_utf8(message) {
                    Ok(text) if flight.is_text => Message::Text(text),
                    _ => Message::Binary(message),
                };
                deflate.encode(compressor, whole, codec.next_masking_key(), out);
            }
            (_, _, Some(bytes)) => fragment(codec, opcode, message, bytes.get(), out),
            _ => encode::frame(out, true, opcode, message, codec.next_masking_key()),
        }
        record.sent_wire_bytes += (out.len() - before) as u64;
        record.sent(flight, plan.load == LoadKind::Open);
        Ok(())
    }

    /// Makes the next message.
    fn compose(&mut self, shared: &mut Shared, due_ns: u64) -> Flight {
        let moment = shared.hands.moment(self.number, shared.now_ns);
        let Hands { payload, generator, message, .. } = &mut shared.hands;
        let values = Values {
            connection: moment.connection,
            sequence: self.sequence,
            now_ns: moment.now_ns,
            now_unix_ms: moment.now_unix_ms,
            variables: &[],
        };
        message.clear();
        let is_text = payload.write(&values, generator, message) == payload::Kind::Text;
        if payload.size().is_some() && message.len() >= Stamp::bytes(is_text) {
            let stamp = Stamp { connection: self.number, sequence: self.sequence, due_ns };
            stamp.write(message, is_text);
        }
        self.sequence += 1;
        self.flight(shared, due_ns, is_text)
    }

    /// The message that was made, on its way.
    fn flight(&self, shared: &Shared, due_ns: u64, is_text: bool) -> Flight {
        let message = &shared.hands.message;
        let is_verified = shared.plan.verify && shared.plan.scenario.is_answered();
        Flight {
            due_ns,
            sent_ns: shared.now_ns,
            hash: if is_verified { xxh3_64(message) } else { 0 },
            len: message.len() as u32,
            is_text,
        }
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.sealed(shared, out, |client, shared, out| {
            let key = shared.codec.next_masking_key();
            client.connection.ping(b"", key, out)?;
            if shared.hands.record.measures(shared.now_ns) {
                shared.hands.record.totals.pings_sent += 1;
            }
            client.extra.get_or_insert_default().ping_sent_ns = Some(shared.now_ns);
            Ok(())
        })
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.stage = Stage::Closing;
        self.sealed(shared, out, |client, shared, out| {
            let key = shared.codec.next_masking_key();
            Ok(client.connection.close(CloseCode::NORMAL, "", key, out)?)
        })
    }

    /// What will not be answered any more: counted as such, with the time that it has waited.
    pub(crate) fn give_up(&mut self, plan: &Plan, record: &mut Record, now_ns: u64) {
        while let Some(flight) = self.flights.pop() {
            if !record.measures(flight.due_ns) || self.is_slow {
                continue;
            }
            record.totals.unanswered += 1;
            if plan.load == LoadKind::Open {
                record.response.record(now_ns.saturating_sub(flight.due_ns));
            }
        }
    }
}

/// A message in frames of so many bytes (section 5.4).
fn fragment(codec: &mut Codec, opcode: OpCode, message: &[u8], bytes: usize, out: &mut Vec<u8>) {
    let mut pieces = message.chunks(bytes);
    let mut opcode = opcode;
    let mut next = pieces.next().or(Some(&[]));
    while let Some(piece) = next {
        next = pieces.next();
        encode::frame(out, next.is_none(), opcode, piece, codec.next_masking_key());
        opcode = OpCode::Continuation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Client>() <= 104, "{}", size_of::<Client>());
    }
}
