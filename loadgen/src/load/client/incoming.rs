//! What comes: answers, what others have published, pongs.

use sockeye_codec::{DataKind, Message};
use xxhash_rust::xxh3::xxh3_64;

use super::super::plan::{Plan, Scenario};
use super::super::record::{Kind, PayloadBytes, Record};
use super::super::report::LoadKind;
use super::super::stamp::Stamp;
use super::super::tally::Step;
use super::{Client, Hands};

impl Client {
    /// A message has come.
    pub(super) fn take(
        &mut self,
        plan: &Plan,
        hands: &mut Hands,
        now_ns: u64,
        message: Message<'_>,
        wire_bytes: usize,
    ) {
        if hands.over {
            return;
        }
        let bytes = PayloadBytes { plain: message.as_bytes().len(), wire: wire_bytes };
        let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
        if let (Some(scripted), Some(script)) = (scripted, &plan.script) {
            let moment = hands.moment(self.number, now_ns);
            let Hands { generator, message: reply, record, .. } = hands;
            scripted.take(script, moment, (message, bytes), (generator, reply, record));
        } else if let Some(id) = &plan.answer_id {
            self.take_named(plan, id, hands, now_ns, (message, bytes));
        } else if plan.scenario.is_answered() {
            self.take_answer(plan, hands, now_ns, (message, bytes));
        } else {
            self.take_pushed(plan, hands, now_ns, (message, bytes));
        }
    }

    pub(super) fn note_first(&mut self, record: &mut Record, from_ns: u64, now_ns: u64) {
        if !self.has_received {
            self.has_received = true;
            record.step(Step::FirstMessage, now_ns.saturating_sub(from_ns));
        }
    }

    pub(super) fn take_answer(
        &mut self,
        plan: &Plan,
        hands: &mut Hands,
        now_ns: u64,
        (message, bytes): (Message<'_>, PayloadBytes),
    ) {
        let Some(flight) = self.flights.pop() else {
            return hands.record.error("a message came that answers none", now_ns);
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
        hands.record.answered(&flight, bytes, now_ns, of);
    }

    pub(super) fn take_pushed(
        &mut self,
        plan: &Plan,
        hands: &mut Hands,
        now_ns: u64,
        (message, bytes): (Message<'_>, PayloadBytes),
    ) {
        if let Some(time) = &plan.push_time {
            return self.take_timed(plan, time, hands, now_ns, (message, bytes));
        }
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
        hands.record.pushed(due_ns, bytes, now_ns, self.is_slow);
    }

    pub(super) fn note_delivery(
        &mut self,
        plan: &Plan,
        record: &mut Record,
        now_ns: u64,
        stamp: Stamp,
    ) {
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

    pub(super) fn take_pong(&mut self, hands: &mut Hands, now_ns: u64) {
        let sent_ns = self.extra.as_mut().and_then(|extra| extra.ping_sent_ns.take());
        let Some(sent_ns) = sent_ns else { return };
        hands.sender_clock.round_trip(now_ns.saturating_sub(sent_ns));
        hands.record.ponged(sent_ns, now_ns);
        self.extra.take_if(|extra| !extra.is_needed());
    }
}
