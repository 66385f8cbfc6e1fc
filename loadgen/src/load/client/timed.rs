//! Pushed messages that say when they were made (`--push-time`).

use sockeye_codec::Message;

use super::super::plan::{Plan, Scenario};
use super::super::push_time::{Age, PushTime};
use super::super::record::PayloadBytes;
use super::{Client, Hands};

impl Client {
    /// A message has come.
    pub(super) fn take_timed(
        &mut self,
        plan: &Plan,
        time: &PushTime,
        hands: &mut Hands,
        now_ns: u64,
        (message, bytes): (Message<'_>, PayloadBytes),
    ) {
        self.note_first(&mut hands.record, self.since_ns, now_ns);
        if plan.publishes(self.number as usize) {
            return; // a publisher's own, where the server sends to everybody
        }
        let now_unix_ns = now_ns.saturating_add(hands.unix_ahead_ns) as i64;
        let Hands { record, sender_clock, .. } = hands;
        // What was published belongs to when it was, what comes by itself to when it comes.
        let is_published = plan.scenario == Scenario::Fanout;
        let made_ns = time.of(message.as_bytes());
        let is_settled = record.measures(now_ns);
        let age = made_ns.map(|made_ns| sender_clock.age(now_unix_ns, made_ns, is_settled));
        let age_ns = match age {
            Some(Age::Ns(ns)) => Some(ns),
            Some(Age::Future) | None => None,
        };
        let at_ns = if is_published { now_ns.saturating_sub(age_ns.unwrap_or(0)) } else { now_ns };
        if record.measures(at_ns) {
            record.untimed += u64::from(age.is_none());
            record.future += u64::from(age == Some(Age::Future));
            record.deliveries.delivered += u64::from(is_published && !self.is_slow);
        }
        record.came(at_ns, age_ns, bytes, self.is_slow);
    }
}
