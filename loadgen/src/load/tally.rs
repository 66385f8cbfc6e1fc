//! What a run has counted so far, for those who watch it by its counters. Unlike the report it
//! counts from the very beginning, warming up included, and is never set back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::buckets::Buckets;
use super::report::Totals;

/// A step of opening a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    Tls,
    Upgrade,
    FirstMessage,
}

impl Step {
    pub(crate) const ALL: [Self; 4] = [Self::Connect, Self::Tls, Self::Upgrade, Self::FirstMessage];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::FirstMessage => "first_message",
        }
    }
}

/// One thread's, or the sum of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) totals: Totals,
    pub(crate) response: Buckets,
    pub(crate) service: Buckets,
    pub(crate) lag: Buckets,
    pub(crate) ping: Buckets,
    /// By [`Step`].
    pub(crate) steps: [Buckets; Step::ALL.len()],
    pub(crate) errors: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) closes: BTreeMap<u16, u64>,
}

impl Tally {
    /// A message has left; `lag_ns` in an open loop.
    pub(crate) fn sent(&mut self, len: u32, lag_ns: Option<u64>) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += u64::from(len);
        lag_ns.into_iter().for_each(|ns| self.lag.record(ns));
    }

    /// A message has come.
    pub(crate) fn received(
        &mut self,
        len: usize,
        response_ns: Option<u64>,
        service_ns: Option<u64>,
    ) {
        self.totals.messages_received += 1;
        self.totals.bytes_received += len as u64;
        response_ns.into_iter().for_each(|ns| self.response.record(ns));
        service_ns.into_iter().for_each(|ns| self.service.record(ns));
    }

    /// No answer will come any more; `waited_ns` in an open loop.
    pub(crate) fn unanswered(&mut self, waited_ns: Option<u64>) {
        self.totals.unanswered += 1;
        waited_ns.into_iter().for_each(|ns| self.response.record(ns));
    }

    /// Adds another thread's, or another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        for (ours, theirs) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.lag, &other.lag),
            (&mut self.ping, &other.ping),
        ] {
            ours.add(theirs);
        }
        self.steps.iter_mut().zip(&other.steps).for_each(|(ours, theirs)| ours.add(theirs));
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
        for (code, count) in &other.closes {
            *self.closes.entry(*code).or_default() += count;
        }
    }
}
