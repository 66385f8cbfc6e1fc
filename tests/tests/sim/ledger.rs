//! Who sent what to whom, and what has come: the invariants.
//!
//! A *source* is what the engine keeps in order: each shard, and "outside" (the test itself, which
//! stands for other threads). Each message has a number of its source, which only grows; a direct
//! message has the next number of its source and receiver; a publication has the next number of its
//! source and stream (its topic, and whom it leaves out).

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use sockeye::{Closed, Remote};

/// A connection, by the order in which they were begun.
pub(crate) type Serial = usize;
pub(crate) type Topic = u64;

/// Stands for "leaves out nobody".
pub(crate) const NOBODY: u64 = 9_999_999;
/// How many events a failure shows.
const TRACE_LEN: usize = 40;

/// A topic's publications from one source that leave out the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream {
    pub(crate) topic: Topic,
    pub(crate) source: usize,
    pub(crate) except: u64,
}

/// How the handler was told that a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    ByPeer,
    ByHandler,
    Lost,
    Other,
}

/// A topic's counters at some moment: where a subscription begins or ends.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mark(BTreeMap<Stream, u64>);

/// What a client knows of a subscription.
#[derive(Debug)]
struct Subscription {
    begin: Mark,
    next: BTreeMap<Stream, u64>,
}

/// Both ends of a connection.
#[derive(Debug, Default)]
pub(crate) struct Person {
    // The server's end.
    pub(crate) remote: Option<Remote>,
    pub(crate) shard: usize,
    pub(crate) ended: Option<Ended>,
    /// The close code that went with it.
    pub(crate) code: u16,
    /// Orders that have come.
    pub(crate) orders: u64,
    /// Direct messages that were taken, by source.
    queued: BTreeMap<usize, u64>,
    /// The next one may come although it was refused: it was the one too much.
    one_more: bool,
    /// What its own shard had for it when it was closed.
    queued_at_close: Option<u64>,
    begins: VecDeque<Mark>,
    ends: VecDeque<Mark>,
    // The client's end.
    got: BTreeMap<usize, u64>,
    last: BTreeMap<usize, u64>,
    subscriptions: BTreeMap<Topic, Subscription>,
}

/// How often things happened that the suite is about: a simulation in which they do not shows
/// nothing.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// The book.
#[derive(Debug)]
pub(crate) struct Ledger {
    begun: Instant,
    now: Instant,
    pub(crate) failure: Option<String>,
    trace: Option<VecDeque<String>>,
    digest: u64,
    numbers: BTreeMap<usize, u64>,
    streams: BTreeMap<Stream, u64>,
    pub(crate) people: Vec<Person>,
    /// A mailbox has refused publications: other shards' may be missing.
    pub(crate) is_lossy: bool,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) panics: u64,
    pub(crate) tally: Tally,
    /// Bytes sent to connections by their own callbacks, in this turn of a shard.
    sent_bytes: BTreeMap<Serial, usize>,
}

impl Ledger {
    pub(crate) fn new(now: Instant, tracing: bool) -> Self {
        Self {
            begun: now,
            now,
            failure: None,
            trace: tracing.then(VecDeque::new),
            digest: 0,
            numbers: BTreeMap::new(),
            streams: BTreeMap::new(),
            people: Vec::new(),
            is_lossy: false,
            opened: 0,
            closed: 0,
            panics: 0,
            tally: Tally::new(),
            sent_bytes: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// A shard begins a turn.
    pub(crate) fn begin_turn(&mut self) {
        self.sent_bytes.clear();
    }

    pub(crate) fn count_sent(&mut self, serial: Serial, bytes: usize) {
        *self.sent_bytes.entry(serial).or_default() += bytes;
    }

    pub(crate) fn sent_bytes(&self, serial: Serial) -> usize {
        self.sent_bytes.get(&serial).copied().unwrap_or(0)
    }

    pub(crate) fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Something happened: `what` is for the trace, the number for the digest.
    pub(crate) fn note(&mut self, number: u64, what: impl FnOnce() -> String) {
        let time_us = (self.now - self.begun).as_micros() as u64;
        let mixed = (self.digest ^ number ^ time_us.rotate_left(32)).wrapping_add(1);
        self.digest = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE_LEN {
                trace.pop_front();
            }
            trace.push_back(format!("{:>10.3} ms  {}", time_us as f64 / 1000.0, what()));
        }
    }

    /// Equal for equal runs.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn trace(&self) -> String {
        let lines = self.trace.iter().flatten();
        lines.fold(String::new(), |text, line| text + "  " + line + "\n")
    }

    /// An invariant does not hold; the first one counts.
    pub(crate) fn fail(&mut self, what: String) {
        self.note(0, || format!("FAILURE: {what}"));
        self.failure.get_or_insert(what);
    }

    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    fn next_number(&mut self, source: usize) -> u64 {
        let number = self.numbers.entry(source).or_default();
        *number += 1;
        *number
    }

    // The server's end.

    pub(crate) fn handle_open(&mut self, serial: Serial, shard: usize, remote: Remote) {
        self.opened += 1;
        self.note(serial as u64, || format!("shard {shard}: open {serial}"));
        let twice = self.people[serial].remote.is_some();
        self.check(!twice, || format!("{serial} opened twice"));
        let person = &mut self.people[serial];
        (person.remote, person.shard) = (Some(remote), shard);
    }

    pub(crate) fn handle_closed(&mut self, serial: Serial, why: &Closed) {
        self.closed += 1;
        self.note(serial as u64, || format!("server: closed {serial}: {why}"));
        let person = &mut self.people[serial];
        let in_order = person.remote.is_some() && person.ended.is_none();
        person.code = why.code().0;
        let what = match why {
            Closed::ByPeer { .. } => "closed by peers",
            Closed::ByHandler { .. } => "closed by handlers",
            Closed::Shutdown => "closed by shutdowns",
            Closed::Protocol(_) => "closed for violations",
            Closed::Idle => "closed as idle",
            Closed::Backlog => "closed for a backlog",
            Closed::Panicked => "closed by panics",
            _ => "lost",
        };
        person.ended = Some(match why {
            Closed::ByPeer { .. } => Ended::ByPeer,
            Closed::ByHandler { .. } => Ended::ByHandler,
            Closed::Lost(_) => Ended::Lost,
            _ => Ended::Other,
        });
        if let Closed::ByPeer { .. } = why {
            let queued = person.queued.get(&person.shard).copied().unwrap_or(0);
            person.queued_at_close.get_or_insert(queued);
        }
        self.count(what);
        self.check(in_order, || format!("`closed` of {serial} without `open`, or twice"));
    }

    pub(crate) fn handle_order(&mut self, serial: Serial, of: u64, number: u64) {
        self.count("orders");
        self.note(number, || format!("server: order {number} of {of}"));
        self.check(of == serial as u64, || format!("{serial} gave an order of {of}"));
        let person = &mut self.people[serial];
        let (next, over) = (person.orders, person.ended.is_some());
        person.orders += 1;
        self.check(number == next, || format!("order {number} of {serial} instead of {next}"));
        self.check(!over, || format!("an order of {serial}, which is closed"));
    }

    /// The line of a direct message, to be [taken](Self::take_direct) if it is sent.
    pub(crate) fn direct(&mut self, verb: &str, source: usize, to: Serial, topic: u64) -> String {
        let number = self.next_number(source);
        let next = self.people[to].queued.get(&source).copied().unwrap_or(0);
        format!("{verb} {source} {to} {topic} {next} {number}")
    }

    pub(crate) fn take_direct(&mut self, source: usize, to: Serial) {
        *self.people[to].queued.entry(source).or_default() += 1;
    }

    pub(crate) fn take_one_too_much(&mut self, to: Serial) {
        self.people[to].one_more = true;
    }

    /// Its own shard closes it now.
    pub(crate) fn close(&mut self, serial: Serial) {
        let person = &mut self.people[serial];
        let queued = person.queued.get(&person.shard).copied().unwrap_or(0);
        person.queued_at_close.get_or_insert(queued);
    }

    /// The line of a publication, to be [taken](Self::take_publication) if it is sent.
    pub(crate) fn publication(&mut self, stream: Stream) -> String {
        let Stream { topic, source, except } = stream;
        let number = self.next_number(source);
        let next = self.streams.get(&stream).copied().unwrap_or(0);
        format!("P {source} {topic} {except} {next} {number}")
    }

    pub(crate) fn take_publication(&mut self, stream: Stream) {
        *self.streams.entry(stream).or_default() += 1;
    }

    fn mark(&self, topic: Topic) -> Mark {
        let streams = self.streams.iter().filter(|(stream, _)| stream.topic == topic);
        Mark(streams.map(|(stream, count)| (*stream, *count)).collect())
    }

    pub(crate) fn subscribe(&mut self, serial: Serial, topic: Topic) {
        let mark = self.mark(topic);
        self.people[serial].begins.push_back(mark);
    }

    pub(crate) fn unsubscribe(&mut self, serial: Serial, topic: Topic) {
        let mark = self.mark(topic);
        self.people[serial].ends.push_back(mark);
    }

    // The client's end.

    pub(crate) fn handle_message(&mut self, serial: Serial, verb: &str, numbers: &[u64]) {
        let number = numbers.last().copied().unwrap_or(0);
        self.note(number, || format!("client {serial}: {verb} {numbers:?}"));
        let result = match *numbers {
            [source, to, topic, next, number] if verb != "P" => self
                .in_order(serial, source as usize, number)
                .and_then(|()| self.handle_direct(serial, verb, source as usize, to, topic, next)),
            [source, topic, except, next, number] => {
                let stream = Stream { topic, source: source as usize, except };
                self.in_order(serial, stream.source, number)
                    .and_then(|()| self.handle_publication(serial, stream, next))
            }
            _ => Err("not a message of ours".into()),
        };
        if let Err(what) = result {
            self.fail(format!("client {serial} got {verb} {numbers:?}: {what}"));
        }
    }

    fn in_order(&mut self, serial: Serial, source: usize, number: u64) -> Result<(), String> {
        let sent = self.numbers.get(&source).is_some_and(|last| number <= *last);
        let last = self.people[serial].last.entry(source).or_default();
        if !sent || number <= *last {
            return Err(format!("after number {last} of this source"));
        }
        *last = number;
        Ok(())
    }

    fn handle_direct(
        &mut self,
        serial: Serial,
        verb: &str,
        source: usize,
        to: u64,
        topic: Topic,
        next: u64,
    ) -> Result<(), String> {
        self.count("direct messages");
        let person = &mut self.people[serial];
        if to != serial as u64 {
            return Err("which is another's".into());
        }
        let got = person.got.entry(source).or_default();
        if next != *got {
            return Err(format!("instead of direct message {got}"));
        }
        *got += 1;
        let shard = person.shard;
        match verb {
            "S" => {
                let begin = person.begins.pop_front().ok_or("without a subscription")?;
                let subscription = Subscription { begin, next: BTreeMap::new() };
                let old = person.subscriptions.insert(topic, subscription);
                old.map_or(Ok(()), |_| Err("subscribed twice".into()))
            }
            "U" => {
                let end = person.ends.pop_front().ok_or("without an end")?;
                let subscription =
                    person.subscriptions.remove(&topic).ok_or("was not subscribed")?;
                subscription.check_complete(serial, &end, |stream| stream.source == shard)
            }
            _ => Ok(()),
        }
    }

    fn handle_publication(
        &mut self,
        serial: Serial,
        stream: Stream,
        number: u64,
    ) -> Result<(), String> {
        if stream.except == serial as u64 {
            return Err("which leaves it out".into());
        }
        let is_lossy = self.is_lossy;
        self.count("publications");
        if stream.source != self.people[serial].shard {
            self.count("publications of other shards");
        }
        let person = &mut self.people[serial];
        let is_local = stream.source == person.shard;
        let subscription = person.subscriptions.get_mut(&stream.topic).ok_or("not subscribed")?;
        let begin = subscription.begin.0.get(&stream).copied().unwrap_or(0);
        let next = subscription.next.insert(stream, number + 1);
        let fits = match next {
            Some(next) => number == next || is_lossy && !is_local && number > next,
            // Other shards' publications of before may still have been on their way.
            None if is_local => number == begin,
            None => number <= begin || is_lossy,
        };
        if fits { Ok(()) } else { Err(format!("expected {next:?}, or from {begin} on")) }
    }

    /// The client has the server's close frame: nothing may be missing that its shard had sent.
    pub(crate) fn handle_close_frame(&mut self, serial: Serial, code: u16) {
        self.note(u64::from(code), || format!("client {serial}: close frame {code}"));
        self.count("close frames");
        let person = &self.people[serial];
        let got = person.got.get(&person.shard).copied().unwrap_or(0);
        if let Some(queued) = person.queued_at_close {
            let complete = got == queued || person.one_more && got == queued + 1;
            self.check(complete, || {
                format!("client {serial} is closed ({code}) with {got} of {queued} messages")
            });
        }
    }

    /// Nothing is under way any more: what this open connection is to have, it has.
    pub(crate) fn check_settled(&mut self, serial: Serial, orders: u64) {
        self.count("connections at rest");
        let person = &self.people[serial];
        let mut result = Ok(());
        if person.orders != orders {
            result = Err(format!("{} of {orders} orders have come", person.orders));
        }
        if person.got != person.queued {
            result = Err(format!("got {:?} of {:?}", person.got, person.queued));
        }
        for (topic, subscription) in &person.subscriptions {
            let all = !self.is_lossy;
            let counts = |stream: &Stream| all || stream.source == person.shard;
            let complete = subscription.check_complete(serial, &self.mark(*topic), counts);
            result = result.and(complete);
        }
        if let Err(what) = result {
            self.fail(format!("client {serial}, open and at rest: {what}"));
        }
    }
}

impl Subscription {
    /// Whether all has come that was published up to the mark.
    fn check_complete(
        &self,
        serial: Serial,
        end: &Mark,
        counts: impl Fn(&Stream) -> bool,
    ) -> Result<(), String> {
        for (stream, count) in &end.0 {
            if stream.except == serial as u64 || !counts(stream) {
                continue;
            }
            let begin = self.begin.0.get(stream);
            let next = self.next.get(stream).or(begin).copied().unwrap_or(0);
            // More have come where others were published before the client took this in.
            if next != *count {
                return Err(format!("has {next} of {count} publications of {stream:?}"));
            }
        }
        Ok(())
    }
}
