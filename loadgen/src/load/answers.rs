//! Which answer is whose, where a server does not answer in order: by a value inside the messages
//! (`--answer-id`).

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::flights::Flight;
use super::json::{NoJson, Pointer};
use super::payload::Payload;
use super::plan::Plan;
use super::report::LoadKind;

/// So many of the answers that came last are remembered on each connection, to know one that
/// comes again.
const ANSWERED_MAX: usize = 256;

/// Where the value stands that names a message, and where in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerId {
    sent: Pointer,
    received: Pointer,
}

impl AnswerId {
    /// What names a message that is to be sent; `None`: nothing does.
    pub(crate) fn of_sent(&self, message: &[u8]) -> Option<Identity> {
        self.sent.find(message).ok().flatten().and_then(Identity::of)
    }

    /// What names the message that this one answers, if it answers any.
    ///
    /// # Errors
    /// It is not JSON.
    pub(crate) fn of_received(&self, message: &[u8]) -> Result<Option<Identity>, NoJson> {
        Ok(self.received.find(message)?.and_then(Identity::of))
    }

    /// Whether all that will be sent can be told from each other, as far as that is known ahead.
    pub(crate) fn check(&self, payload: &Payload, plan: &Plan) -> Result<(), String> {
        if !plan.scenario.is_answered() {
            let name = plan.scenario.name();
            return Err(format!(
                "--answer-id needs answers, which --scenario {name} has none of: use echo or slow"
            ));
        }
        let mut ids = Vec::new();
        let mut count = 0_u64;
        payload.preview(|message| {
            count += 1;
            let Some(id) = self.of_sent(message) else {
                let start: String = String::from_utf8_lossy(message).chars().take(60).collect();
                return Err(format!(
                    "--answer-id {self}: message {count} has no string or number at `{}`: {start}",
                    self.sent
                ));
            };
            if ids.len() < 2 && !ids.contains(&id) {
                ids.push(id);
            }
            Ok(())
        })?;
        let alone = plan.load == LoadKind::Closed && plan.in_flight == 1;
        if count == 0 {
            return Err("--answer-id looks into JSON: give messages that are, as in --message \
                 '{\"id\":{{seq}}}'"
                .into());
        }
        if ids.len() < 2 && !alone {
            return Err(format!(
                "--answer-id {self}: all messages have the same there; write {{{{seq}}}} or \
                 {{{{uuid}}}}, or use --closed with one under way"
            ));
        }
        Ok(())
    }
}

impl FromStr for AnswerId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sent, received) = match text.find("=/") {
            Some(at) => (&text[..at], &text[at + 1..]),
            // The answer is nothing but the value.
            None => text.strip_suffix('=').map_or((text, text), |sent| (sent, "")),
        };
        Ok(Self { sent: sent.parse()?, received: received.parse()? })
    }
}

impl fmt::Display for AnswerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sent)?;
        if self.sent == self.received { Ok(()) } else { write!(f, "={}", self.received) }
    }
}

/// What names a message: a string or a number of JSON. Of its 128 bits any two differ, but by a
/// chance that nobody will live to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u128);

impl Identity {
    /// Of a JSON text; `None` where it is no string and no number. `"\u0041"` is the same as `"A"`,
    /// and `1.0` the same as `1`, but `"1"` is not.
    pub(crate) fn of(json: &str) -> Option<Self> {
        // Seeds, one for each kind: values of different kinds are never the same.
        const STRING: u64 = 1;
        const INTEGER: u64 = 2;
        const REAL: u64 = 3;
        const LONG: u64 = 4;
        if let Some(inner) = json.strip_prefix('"') {
            let text = match inner.strip_suffix('"') {
                Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
                _ => Cow::Owned(serde_json::from_str(json).ok()?),
            };
            return Some(Self(xxh3_128_with_seed(text.as_bytes(), STRING)));
        }
        if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return None;
        }
        let integer = |integer: i128| Self(xxh3_128_with_seed(&integer.to_le_bytes(), INTEGER));
        if let Ok(number) = json.parse() {
            return Some(integer(number));
        }
        if !json.contains(['.', 'e', 'E']) {
            return Some(Self(xxh3_128_with_seed(json.as_bytes(), LONG)));
        }
        let number: f64 = json.parse().ok()?;
        // Up to here each whole number is one that `f64` has.
        let is_whole = number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64;
        if is_whole {
            return Some(integer(number as i128));
        }
        Some(Self(xxh3_128_with_seed(&number.to_bits().to_le_bytes(), REAL)))
    }
}

/// What came in is
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// the answer to this,
    Answer(Flight),
    /// an answer that had come already,
    Again,
    /// or no answer.
    Push,
}

/// The messages of a connection that wait for their answers, by what names them.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    under_way: HashMap<Identity, Flight>,
    /// What was answered last.
    answered: VecDeque<Identity>,
}

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn is_under_way(&self, id: Identity) -> bool {
        self.under_way.contains_key(&id)
    }

    /// A message has left.
    pub(crate) fn depart(&mut self, id: Identity, flight: Flight) {
        self.under_way.insert(id, flight);
    }

    /// Something with this name has come.
    pub(crate) fn arrive(&mut self, id: Identity) -> Told {
        let Some(flight) = self.under_way.remove(&id) else {
            return if self.answered.contains(&id) { Told::Again } else { Told::Push };
        };
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(id);
        Told::Answer(flight)
    }

    /// All that was not answered.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Flight> {
        self.under_way.drain().map(|(_, flight)| flight)
    }
}

#[cfg(test)]
mod tests;
