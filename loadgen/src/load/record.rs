//! What a thread writes down: counts, histograms, and what of them belongs to the current window.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::flights::Flight;
use super::report::Totals;
use super::tally::{Step, Tally};

/// Kinds of errors that are told apart; their texts come from servers, too.
const KINDS_MAX: usize = 100;
/// Messages of one publisher whose first and last arrival are remembered.
const SPREAD_MESSAGES_MAX: usize = 1 << 20;

/// How often, and when first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occurrences {
    pub(crate) count: u64,
    pub(crate) first_ns: u64,
}

/// A thread's part of a window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) errors: u64,
    /// The same by their kinds.
    pub(crate) kinds: BTreeMap<Cow<'static, str>, Occurrences>,
    pub(crate) open: u64,
    pub(crate) headline: Distribution,
    pub(crate) lag: Distribution,
    /// Time in which there was something to do.
    pub(crate) busy_ns: u64,
}

/// The first and the last arrival of a message, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) count: u32,
}

impl Spread {
    const NONE: Self = Self { first_ns: u64::MAX, last_ns: 0, count: 0 };

    pub(crate) fn add(&mut self, other: Self) {
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.count += other.count;
    }
}

/// What subscribers got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries {
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// By publisher, by sequence number.
    pub(crate) spreads: Vec<Vec<Spread>>,
}

impl Deliveries {
    pub(crate) fn spread(&mut self, publisher: usize, sequence: u64, now_ns: u64) {
        let Ok(at) = usize::try_from(sequence) else { return };
        if at >= SPREAD_MESSAGES_MAX {
            return;
        }
        if publisher >= self.spreads.len() {
            self.spreads.resize_with(publisher + 1, Vec::new);
        }
        let spreads = &mut self.spreads[publisher];
        if at >= spreads.len() {
            spreads.resize(at + 1, Spread::NONE);
        }
        spreads[at].add(Spread { first_ns: now_ns, last_ns: now_ns, count: 1 });
    }
}

/// Payload bytes of a message: as it is, and on the wire, where it may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PayloadBytes {
    pub(crate) plain: usize,
    pub(crate) wire: usize,
}

/// All that a thread writes down.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The measurement: what was due then counts, whenever its answer comes.
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
    pub(crate) totals: Totals,
    pub(crate) response: Distribution,
    pub(crate) service: Distribution,
    pub(crate) lag: Distribution,
    pub(crate) ping: Distribution,
    /// Of slow consumers.
    pub(crate) slow: Distribution,
    pub(crate) slow_received: u64,
    pub(crate) slow_closed: u64,
    /// Of the classes of a script.
    pub(crate) classes: Vec<Distribution>,
    pub(crate) connect: Distribution,
    pub(crate) tls: Distribution,
    pub(crate) upgrade: Distribution,
    pub(crate) first_message: Distribution,
    pub(crate) deliveries: Deliveries,
    pub(crate) errors: BTreeMap<Cow<'static, str>, Occurrences>,
    pub(crate) closes: BTreeMap<u16, u64>,
    pub(crate) part: Part,
    /// Where somebody watches by counters.
    pub(crate) tally: Option<Box<Tally>>,
    pub(crate) queued_max: u64,
    /// Messages of the measurement that were due, and for which there was no time.
    pub(crate) missed: u64,
    /// Pushed messages that do not say when they were made, where they should,
    pub(crate) untimed: u64,
    /// or say that they will be.
    pub(crate) future: u64,
    /// What of `totals.bytes_sent` and `totals.bytes_received` was on the wire.
    pub(crate) sent_wire_bytes: u64,
    pub(crate) received_wire_bytes: u64,
}

impl Record {
    /// Whether what was due at that time is measured.
    #[inline]
    pub(crate) const fn measures(&self, due_ns: u64) -> bool {
        due_ns >= self.from_ns && due_ns < self.until_ns
    }

    /// A message has left.
    #[inline]
    pub(crate) fn sent(&mut self, flight: &Flight, wire_bytes: usize, is_open_loop: bool) {
        self.part.sent += 1;
        let lag_ns = flight.sent_ns.saturating_sub(flight.due_ns);
        if is_open_loop {
            self.part.lag.record(lag_ns);
        }
        if let Some(tally) = &mut self.tally {
            tally.sent(flight.len, is_open_loop.then_some(lag_ns));
        }
        if self.measures(flight.due_ns) {
            self.totals.messages_sent += 1;
            self.totals.bytes_sent += u64::from(flight.len);
            self.sent_wire_bytes += wire_bytes as u64;
            if is_open_loop {
                self.lag.record(lag_ns);
            }
        }
    }

    /// A message of the measurement has come.
    #[inline]
    fn received(&mut self, bytes: PayloadBytes) {
        self.totals.messages_received += 1;
        self.totals.bytes_received += bytes.plain as u64;
        self.received_wire_bytes += bytes.wire as u64;
    }

    /// An answer has come.
    #[inline]
    pub(crate) fn answered(&mut self, flight: &Flight, bytes: PayloadBytes, now_ns: u64, of: Kind) {
        self.part.received += 1;
        let response_ns = now_ns.saturating_sub(flight.due_ns);
        if of.is_slow {
            if self.measures(flight.due_ns) {
                self.slow_received += 1;
                self.slow.record(response_ns);
            }
            return;
        }
        self.part.headline.record(response_ns);
        let service_ns = now_ns.saturating_sub(flight.sent_ns);
        if let Some(tally) = &mut self.tally {
            tally.received(bytes.plain, of.is_open_loop.then_some(response_ns), Some(service_ns));
        }
        if self.measures(flight.due_ns) {
            self.received(bytes);
            self.service.record(service_ns);
            if of.is_open_loop {
                self.response.record(response_ns);
            }
        }
    }

    /// A message came that is nobody's answer. `due_ns`: what its stamp says, if it has one.
    #[inline]
    pub(crate) fn pushed(
        &mut self,
        due_ns: Option<u64>,
        bytes: PayloadBytes,
        now_ns: u64,
        is_slow: bool,
    ) {
        let response_ns = due_ns.map(|due_ns| now_ns.saturating_sub(due_ns));
        self.came(due_ns.unwrap_or(now_ns), response_ns, bytes, is_slow);
    }

    /// The same. It counts if `at_ns` is measured.
    #[inline]
    pub(crate) fn came(
        &mut self,
        at_ns: u64,
        response_ns: Option<u64>,
        bytes: PayloadBytes,
        is_slow: bool,
    ) {
        self.part.received += 1;
        if is_slow {
            if self.measures(at_ns) {
                self.slow_received += 1;
                response_ns.into_iter().for_each(|ns| self.slow.record(ns));
            }
            return;
        }
        response_ns.into_iter().for_each(|ns| self.part.headline.record(ns));
        if let Some(tally) = &mut self.tally {
            tally.received(bytes.plain, response_ns, None);
        }
        if self.measures(at_ns) {
            self.received(bytes);
            response_ns.into_iter().for_each(|ns| self.response.record(ns));
        }
    }

    /// A message came that nobody has asked for, beside answers.
    pub(crate) fn unasked(&mut self, bytes: PayloadBytes, now_ns: u64, is_slow: bool) {
        if !is_slow {
            self.tally.iter_mut().for_each(|tally| tally.totals.pushed += 1);
            self.totals.pushed += u64::from(self.measures(now_ns));
        }
        self.pushed(None, bytes, now_ns, is_slow);
    }

    /// A message came that must not have come.
    #[cold]
    pub(crate) fn wrong(
        &mut self,
        what: &'static str,
        bytes: PayloadBytes,
        now_ns: u64,
        is_slow: bool,
    ) {
        self.pushed(None, bytes, now_ns, is_slow);
        self.totals.mismatches += 1;
        self.error(what, now_ns);
    }

    /// A message of a script came.
    pub(crate) fn heard(&mut self, bytes: PayloadBytes, now_ns: u64) {
        self.part.received += 1;
        if let Some(tally) = &mut self.tally {
            tally.received(bytes.plain, None, None);
        }
        if self.measures(now_ns) {
            self.received(bytes);
        }
    }

    /// It was what a script has waited for, and measures.
    pub(crate) fn classed(&mut self, class: usize, sent_ns: u64, now_ns: u64) {
        let service_ns = now_ns.saturating_sub(sent_ns);
        self.part.headline.record(service_ns);
        if let Some(tally) = &mut self.tally {
            tally.service.record(service_ns);
        }
        if self.measures(sent_ns) {
            self.service.record(service_ns);
            if class >= self.classes.len() {
                self.classes.resize_with(class + 1, Distribution::default);
            }
            self.classes[class].record(service_ns);
        }
    }

    /// Its answer has not come, and will not any more.
    pub(crate) fn unanswered(&mut self, flight: &Flight, is_open_loop: bool, now_ns: u64) {
        let waited_ns = is_open_loop.then_some(now_ns.saturating_sub(flight.due_ns));
        if let Some(tally) = &mut self.tally {
            tally.unanswered(waited_ns);
        }
        if self.measures(flight.due_ns) {
            self.totals.unanswered += 1;
            waited_ns.into_iter().for_each(|ns| self.response.record(ns));
        }
    }

    /// A step of opening a connection has taken so long.
    pub(crate) fn step(&mut self, step: Step, ns: u64) {
        if let Some(tally) = &mut self.tally {
            tally.steps[step as usize].record(ns);
        }
        match step {
            Step::Connect => &mut self.connect,
            Step::Tls => &mut self.tls,
            Step::Upgrade => &mut self.upgrade,
            Step::FirstMessage => &mut self.first_message,
        }
        .record(ns);
    }

    /// A ping has left.
    pub(crate) fn pinged(&mut self, now_ns: u64) {
        if let Some(tally) = &mut self.tally {
            tally.totals.pings_sent += 1;
        }
        if self.measures(now_ns) {
            self.totals.pings_sent += 1;
        }
    }

    /// Its pong has come.
    pub(crate) fn ponged(&mut self, sent_ns: u64, now_ns: u64) {
        let ping_ns = now_ns.saturating_sub(sent_ns);
        if let Some(tally) = &mut self.tally {
            tally.totals.pongs_received += 1;
            tally.ping.record(ping_ns);
        }
        if self.measures(sent_ns) {
            self.totals.pongs_received += 1;
            self.ping.record(ping_ns);
        }
    }

    /// All that was counted from the very beginning, as it is now.
    pub(crate) fn tally(&self) -> Option<Tally> {
        let tally = self.tally.as_deref()?;
        let totals = &self.totals;
        Some(Tally {
            // What is not bound to the measurement is counted once.
            totals: Totals {
                mismatches: totals.mismatches,
                connections_opened: totals.connections_opened,
                connections_failed: totals.connections_failed,
                connections_lost: totals.connections_lost,
                ..tally.totals.clone()
            },
            errors: self.errors.iter().map(|(what, it)| (what.clone(), it.count)).collect(),
            closes: self.closes.clone(),
            ..tally.clone()
        })
    }

    /// Something went wrong.
    #[cold]
    pub(crate) fn error(&mut self, what: impl Into<Cow<'static, str>>, now_ns: u64) {
        self.part.errors += 1;
        let what = what.into();
        let is_known = self.errors.contains_key(&what);
        let what = if is_known || self.errors.len() < KINDS_MAX { what } else { "others".into() };
        let first = Occurrences { count: 0, first_ns: now_ns };
        self.part.kinds.entry(what.clone()).or_insert(first).count += 1;
        self.errors.entry(what).or_insert(first).count += 1;
    }

    /// The server's close frame, or the lack of one.
    pub(crate) fn closed(&mut self, code: u16) {
        *self.closes.entry(code).or_default() += 1;
    }

    /// Adds what another thread has written down.
    pub(crate) fn add(&mut self, other: Self) {
        self.totals.add(&other.totals);
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.ping.add(&other.ping);
        self.slow.add(&other.slow);
        if self.classes.len() < other.classes.len() {
            self.classes.resize_with(other.classes.len(), Distribution::default);
        }
        self.classes.iter_mut().zip(&other.classes).for_each(|(ours, theirs)| ours.add(theirs));
        self.connect.add(&other.connect);
        self.tls.add(&other.tls);
        self.upgrade.add(&other.upgrade);
        self.first_message.add(&other.first_message);
        self.slow_received += other.slow_received;
        self.slow_closed += other.slow_closed;
        self.queued_max = self.queued_max.max(other.queued_max);
        self.missed += other.missed;
        self.untimed += other.untimed;
        self.future += other.future;
        self.sent_wire_bytes += other.sent_wire_bytes;
        self.received_wire_bytes += other.received_wire_bytes;
        add_errors(&mut self.errors, other.errors);
        for (code, count) in other.closes {
            *self.closes.entry(code).or_default() += count;
        }
        self.add_deliveries(other.deliveries);
    }

    fn add_deliveries(&mut self, other: Deliveries) {
        let ours = &mut self.deliveries;
        ours.delivered += other.delivered;
        ours.gaps += other.gaps;
        ours.duplicates += other.duplicates;
        ours.reordered += other.reordered;
        for (publisher, spreads) in other.spreads.into_iter().enumerate() {
            if publisher >= ours.spreads.len() {
                ours.spreads.push(spreads);
                continue;
            }
            let known = &mut ours.spreads[publisher];
            if known.len() < spreads.len() {
                known.resize(spreads.len(), Spread::NONE);
            }
            known.iter_mut().zip(spreads).for_each(|(known, spread)| known.add(spread));
        }
    }
}

/// Adds kinds of errors to others.
pub(crate) fn add_errors(
    to: &mut BTreeMap<Cow<'static, str>, Occurrences>,
    from: BTreeMap<Cow<'static, str>, Occurrences>,
) {
    for (what, occurrences) in from {
        let known = to.entry(what).or_insert(Occurrences { count: 0, ..occurrences });
        known.count += occurrences.count;
        known.first_ns = known.first_ns.min(occurrences.first_ns);
    }
}

/// What sort of connection, and of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) is_slow: bool,
    pub(crate) is_open_loop: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Kind = Kind { is_slow: false, is_open_loop: true };

    fn record() -> Record {
        Record { from_ns: 1_000, until_ns: 2_000, ..Record::default() }
    }

    #[test]
    fn what_was_due_in_the_measurement_counts_whenever_its_answer_comes() {
        let mut record = record();
        for due_ns in [999, 1_000, 1_999, 2_000] {
            let flight = Flight { due_ns, sent_ns: due_ns + 10, len: 7, ..Flight::default() };
            record.sent(&flight, 5, true);
            record.answered(&flight, PayloadBytes { plain: 7, wire: 4 }, 5_000, OPEN);
        }
        assert_eq!((record.totals.messages_sent, record.totals.messages_received), (2, 2));
        assert_eq!((record.totals.bytes_sent, record.totals.bytes_received), (14, 14));
        assert_eq!((record.sent_wire_bytes, record.received_wire_bytes), (10, 8));
        assert_eq!((record.response.count(), record.lag.max_ns()), (2, 10));
        assert_eq!((record.response.max_ns(), record.service.max_ns()), (4_001, 3_991));
        assert_eq!((record.part.sent, record.part.received), (4, 4));
    }

    #[test]
    fn a_tally_counts_what_is_not_measured_too() {
        let mut record = Record { tally: Some(Box::default()), ..record() };
        for due_ns in [999, 1_000, 2_000] {
            let flight = Flight { due_ns, sent_ns: due_ns + 10, len: 7, ..Flight::default() };
            record.sent(&flight, 7, true);
            record.answered(&flight, PayloadBytes { plain: 7, wire: 7 }, 5_000, OPEN);
            record.unanswered(&flight, true, 6_000);
            record.pinged(due_ns);
            record.ponged(due_ns, 6_000);
        }
        record.step(Step::Upgrade, 5);
        record.pushed(None, PayloadBytes { plain: 3, wire: 3 }, 5_000, false);
        record.error("an error", 5_000);
        let tally = record.tally().unwrap();
        let Totals { messages_sent, messages_received, bytes_received, .. } = tally.totals;
        assert_eq!((messages_sent, messages_received, bytes_received), (3, 4, 24));
        let Totals { unanswered, pings_sent, pongs_received, .. } = tally.totals;
        assert_eq!((unanswered, pings_sent, pongs_received), (3, 3, 3));
        let Totals { unanswered, pings_sent, pongs_received, .. } = record.totals;
        assert_eq!((unanswered, pings_sent, pongs_received), (1, 1, 1));
        assert_eq!((tally.response.count(), record.response.count()), (6, 2));
        assert_eq!((tally.service.count(), tally.lag.count(), tally.ping.count()), (3, 3, 3));
        assert_eq!((tally.steps[2].count(), record.upgrade.count()), (1, 1));
        assert_eq!(tally.errors["an error"], 1);
        let mut sum = tally.clone();
        sum.add(&tally);
        assert_eq!((sum.totals.messages_sent, sum.errors["an error"]), (6, 2));
        assert!(self::record().tally().is_none());
    }

    #[test]
    fn errors_have_a_bound_and_are_added_up() {
        let mut record = record();
        for n in 0..300_u64 {
            record.error(format!("error {n}"), 1_000 - n);
        }
        assert_eq!(record.errors.len(), KINDS_MAX + 1);
        assert_eq!(record.errors["others"].count, 200);
        let mut sum = self::record();
        sum.error("error 1", 7);
        sum.add(record);
        assert_eq!(sum.errors["error 1"], Occurrences { count: 2, first_ns: 7 });
    }

    #[test]
    fn spreads_of_threads_are_put_together() {
        let (mut a, mut b) = (record(), record());
        a.deliveries.spread(1, 2, 100);
        a.deliveries.spread(1, 2, 130);
        b.deliveries.spread(1, 2, 90);
        b.deliveries.spread(3, u64::MAX, 1);
        a.add(b);
        let spread = a.deliveries.spreads[1][2];
        assert_eq!(spread, Spread { first_ns: 90, last_ns: 130, count: 3 });
        assert_eq!(a.deliveries.spreads[1][0].count, 0);
    }
}
