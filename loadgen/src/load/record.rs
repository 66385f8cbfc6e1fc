//! What a thread writes down: counts, histograms, and what of them belongs to the current window.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::flights::Flight;
use super::report::Totals;

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
    pub(crate) queued_max: u64,
    /// Messages of the measurement that were due, and for which there was no time.
    pub(crate) missed: u64,
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
        if self.measures(flight.due_ns) {
            self.received(bytes);
            self.service.record(now_ns.saturating_sub(flight.sent_ns));
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
        self.part.received += 1;
        let response_ns = due_ns.map(|due_ns| now_ns.saturating_sub(due_ns));
        if is_slow {
            if self.measures(due_ns.unwrap_or(now_ns)) {
                self.slow_received += 1;
                response_ns.into_iter().for_each(|ns| self.slow.record(ns));
            }
            return;
        }
        response_ns.into_iter().for_each(|ns| self.part.headline.record(ns));
        if self.measures(due_ns.unwrap_or(now_ns)) {
            self.received(bytes);
            response_ns.into_iter().for_each(|ns| self.response.record(ns));
        }
    }

    /// A message of a script came.
    pub(crate) fn heard(&mut self, bytes: PayloadBytes, now_ns: u64) {
        self.part.received += 1;
        if self.measures(now_ns) {
            self.received(bytes);
        }
    }

    /// It was what a script has waited for, and measures.
    pub(crate) fn classed(&mut self, class: usize, sent_ns: u64, now_ns: u64) {
        let service_ns = now_ns.saturating_sub(sent_ns);
        self.part.headline.record(service_ns);
        if self.measures(sent_ns) {
            self.service.record(service_ns);
            if class >= self.classes.len() {
                self.classes.resize_with(class + 1, Distribution::default);
            }
            self.classes[class].record(service_ns);
        }
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
        let Totals {
            messages_sent,
            messages_received,
            bytes_sent,
            bytes_received,
            unanswered,
            mismatches,
            connections_opened,
            connections_failed,
            connections_lost,
            connections_peak,
            pings_sent,
            pongs_received,
        } = other.totals;
        let totals = &mut self.totals;
        totals.messages_sent += messages_sent;
        totals.messages_received += messages_received;
        totals.bytes_sent += bytes_sent;
        totals.bytes_received += bytes_received;
        totals.unanswered += unanswered;
        totals.mismatches += mismatches;
        totals.connections_opened += connections_opened;
        totals.connections_failed += connections_failed;
        totals.connections_lost += connections_lost;
        totals.connections_peak += connections_peak;
        totals.pings_sent += pings_sent;
        totals.pongs_received += pongs_received;
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
