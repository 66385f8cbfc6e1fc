//! A connection that follows a script: what it waits for, and what is to be done next.

use sockeye_codec::{DataKind, Message};

use super::payload::Kind;
use super::record::{PayloadBytes, Record};
use super::script::{Moment, Outcome, Runner, Script};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It has not begun. A message that came before may have met its first step, where a server
    /// speaks first.
    Beginning,
    /// It is at its end, or about to take a step.
    Nothing,
    /// The end of a pause.
    Thinking { until_ns: u64 },
    /// A message.
    Expecting { until_ns: u64 },
}

/// What is to be done about a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// What is next in the script.
    Step,
    /// Send what the script has answered.
    Reply(Kind),
}

/// Where a connection stands.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) runner: Runner,
    waits: Waits,
    /// When it has sent its last message.
    pub(crate) sent_ns: u64,
    /// When it is to be woken, if that is new.
    timer_ns: Option<u64>,
    pub(crate) due: Due,
    /// A message was not what it must be.
    pub(crate) wrong: Option<String>,
}

impl Scripted {
    pub(crate) fn new(script: &Script) -> Self {
        Self {
            runner: Runner::new(script),
            waits: Waits::Beginning,
            sent_ns: 0,
            timer_ns: None,
            due: Due::Nothing,
            wrong: None,
        }
    }

    /// It waits for a message until then.
    pub(crate) fn expect(&mut self, until_ns: u64) {
        self.waits = Waits::Expecting { until_ns };
        self.timer_ns = Some(until_ns);
    }

    /// It waits until then.
    pub(crate) fn think(&mut self, until_ns: u64) {
        self.waits = Waits::Thinking { until_ns };
        self.timer_ns = Some(until_ns);
    }

    /// When it is to be woken, told once.
    pub(crate) const fn take_timer(&mut self) -> Option<u64> {
        self.timer_ns.take()
    }

    /// A time has come: whether the script goes on.
    ///
    /// # Errors
    /// What was waited for and has not come.
    pub(crate) fn wake(&mut self, script: &Script, now_ns: u64) -> Result<bool, String> {
        match self.waits {
            Waits::Thinking { until_ns } if now_ns >= until_ns => {
                self.waits = Waits::Nothing;
                Ok(true)
            }
            Waits::Expecting { until_ns } if now_ns >= until_ns => {
                self.waits = Waits::Nothing;
                Err(self.runner.timed_out(script).to_owned())
            }
            // A timer of something that is over.
            _ => Ok(false),
        }
    }

    /// A message has come. What is to be done is `due` then; a reply stands in `reply`.
    pub(crate) fn take(
        &mut self,
        script: &Script,
        moment: Moment,
        (message, bytes): (Message<'_>, PayloadBytes),
        hands: (&mut super::payload::Generator, &mut Vec<u8>, &mut Record),
    ) {
        let (generator, reply, record) = hands;
        let kind = match message.kind() {
            DataKind::Text => Kind::Text,
            DataKind::Binary => Kind::Binary,
        };
        reply.clear();
        let payload = message.as_bytes();
        let now_ns = moment.now_ns;
        record.heard(bytes, now_ns);
        match self.runner.message(script, moment, (kind, payload), generator, reply) {
            Outcome::Skipped => {}
            Outcome::Met { class } => {
                if let Some(class) = class {
                    record.classed(class, self.sent_ns, now_ns);
                }
                if !matches!(self.waits, Waits::Beginning | Waits::Thinking { .. }) {
                    self.waits = Waits::Nothing;
                    self.due = Due::Step;
                }
            }
            Outcome::Reply { kind } => self.due = Due::Reply(kind),
            Outcome::Wrong(what) => self.wrong = Some(what.to_owned()),
        }
    }
}
