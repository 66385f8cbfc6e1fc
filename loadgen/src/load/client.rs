//! One connection of the load: from the handshake to its end, what it sends and what it gets.

mod incoming;
mod named;
mod outgoing;
mod script;
mod timed;
mod upgrade;

use std::iter;
use std::mem;
use std::sync::Arc;

use sockeye_codec::deflate::{Compressor, Deflate, Inflater};
use sockeye_codec::handshake::ClientHandshake;
use sockeye_codec::{CloseCode, Codec, Connection, Event};

use super::answers::Answers;
use super::clock::Clock;
use super::failure::Failure;
use super::flights::{Flight, Flights};
use super::payload::{Generator, Payload};
use super::plan::Plan;
use super::proxy::ProxyAnswer;
use super::push_time::SenderClock;
use super::record::Record;
use super::report::LoadKind;
use super::script::Moment;
use super::scripted::Scripted;
use super::tally::Step;
use super::tls::{TlsError, TlsLink};

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    /// The proxy was asked for a way to the server.
    Proxy,
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
    /// Of whom pushed messages say when they were made.
    pub(crate) sender_clock: Arc<SenderClock>,
    /// The message that is being made.
    pub(crate) message: Vec<u8>,
    pub(crate) compressor: Option<Compressor>,
    /// In a closed loop an answer is followed by the next message.
    pub(crate) running: bool,
    /// All connections are being closed: what comes now does not count.
    pub(crate) over: bool,
    /// What the server agreed to, as it wrote it,
    pub(crate) agreed: Option<String>,
    /// and what TLS did.
    pub(crate) tls: Option<String>,
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
    proxy: Option<Box<ProxyAnswer>>,
    handshake: Option<Box<ClientHandshake>>,
    deflate: Option<Box<Deflate>>,
    /// The next sequence number of each publisher (`fanout`).
    heard: Vec<u64>,
    ping_sent_ns: Option<u64>,
    scripted: Option<Box<Scripted>>,
    /// Where answers are told by what is in them.
    answers: Option<Box<Answers>>,
}

impl Extra {
    fn is_needed(&self) -> bool {
        self.tls.is_some()
            || self.deflate.is_some()
            || self.scripted.is_some()
            || self.answers.is_some()
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
        let named = self.extra.as_ref().and_then(|extra| extra.answers.as_ref());
        self.flights.len() + named.map_or(0, |answers| answers.len())
    }

    /// Those that are told by what is in them.
    fn answers(&mut self) -> &mut Answers {
        self.extra.get_or_insert_default().answers.get_or_insert_default()
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
        if let Some(request) = &shared.plan.proxy_request {
            out.extend_from_slice(request);
            self.extra.get_or_insert_default().proxy = Some(Box::default());
            self.stage = Stage::Proxy;
            return Ok(());
        }
        self.greet(shared, out)
    }

    /// The proxy has answered: whether the way is free, and the first bytes.
    fn pass_proxy(
        &mut self,
        shared: &mut Shared,
        bytes: &mut &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let Some(answer) = self.extra.as_mut().and_then(|extra| extra.proxy.as_mut()) else {
            return Ok(true);
        };
        if !answer.read(bytes)? {
            return Ok(false);
        }
        self.extra.get_or_insert_default().proxy = None;
        self.greet(shared, out)?;
        Ok(true)
    }

    /// The server is there.
    fn greet(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        let connect_ns = shared.now_ns.saturating_sub(self.since_ns);
        shared.hands.record.step(Step::Connect, connect_ns);
        self.since_ns = shared.now_ns;
        if let Some(tls) = self.extra.as_mut().and_then(|extra| extra.tls.as_mut()) {
            self.stage = Stage::Tls;
            return Ok(tls.start(out)?);
        }
        self.request(shared, out)
    }

    /// Bytes have come. What is to be sent goes to `out`.
    pub(crate) fn receive(
        &mut self,
        shared: &mut Shared,
        mut bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        if self.stage == Stage::Proxy
            && (!self.pass_proxy(shared, &mut bytes, out)? || bytes.is_empty())
        {
            return Ok(Next::Nothing);
        }
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
                shared.hands.record.step(Step::Tls, tls_ns);
                self.since_ns = shared.now_ns;
                shared.hands.tls.get_or_insert_with(|| tls.describe());
                self.request(shared, &mut plain_out)?;
            }
            let next = self.receive_plain(shared, &mut plain_in, &mut plain_out);
            if !plain_out.is_empty() {
                tls.seal(&plain_out, out)?;
            }
            if matches!(next, Ok(Next::Closed)) {
                tls.close(out);
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
            match event {
                Event::Message(message) => {
                    self.take(plan, hands, *now_ns, message, message.as_bytes().len());
                }
                Event::Extension(kind, payload) => {
                    let extra = self.extra.as_mut();
                    let Some(deflate) = extra.and_then(|extra| extra.deflate.as_mut()) else {
                        continue;
                    };
                    let message = deflate.inflate(inflater, kind, payload)?;
                    self.take(plan, hands, *now_ns, message, payload.len());
                }
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
                let wire_bytes = message.as_bytes().len();
                self.take(&shared.plan, &mut shared.hands, shared.now_ns, message, wire_bytes);
            }
            Some(Event::Extension(kind, payload)) => {
                let extra = self.extra.as_mut();
                if let Some(deflate) = extra.and_then(|extra| extra.deflate.as_mut()) {
                    let wire_bytes = payload.len();
                    let message = deflate.inflate(&mut shared.inflater, kind, payload)?;
                    self.take(&shared.plan, &mut shared.hands, shared.now_ns, message, wire_bytes);
                }
            }
            _ => return Ok(Next::Nothing),
        }
        self.follow_up(shared, out)
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.sealed(shared, out, |client, shared, out| {
            let key = shared.codec.next_masking_key();
            client.connection.ping(b"", key, out)?;
            shared.hands.record.pinged(shared.now_ns);
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

    /// What its TLS says of a FIN; `None`: nothing, or there is none.
    pub(crate) fn tls_end(&self) -> Option<TlsError> {
        self.extra.as_ref()?.tls.as_ref()?.end().err()
    }

    /// What will not be answered any more: counted as such, with the time that it has waited.
    pub(crate) fn give_up(&mut self, plan: &Plan, record: &mut Record, now_ns: u64) {
        let named = self.extra.as_mut().and_then(|extra| extra.answers.as_mut());
        let named = named.into_iter().flat_map(|answers| answers.drain());
        for flight in iter::from_fn(|| self.flights.pop()).chain(named) {
            if !self.is_slow {
                record.unanswered(&flight, plan.load == LoadKind::Open, now_ns);
            }
        }
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
