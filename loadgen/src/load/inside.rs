//! The options that look into messages, which are JSON then.

use clap::Args;

use super::answers::AnswerId;
use super::payload::Payload;
use super::plan::{Plan, Scenario};
use super::push_time::{PushClock, PushTime};
use super::target::Target;

/// What is read in messages.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "JSON messages")]
pub(crate) struct InsideOptions {
    /// Tell answers by a value inside, such as /id or /id=/result/id, not by their order
    ///
    /// A JSON pointer (RFC 6901) into what is sent, and one into what is received where it is
    /// another. The answer is the message with the same string or number there; what has none of
    /// a message under way counts as pushed. For echo and slow.
    #[arg(long, value_name = "SENT[=RECEIVED]", conflicts_with = "file")]
    pub(crate) answer_id: Option<AnswerId>,
    /// Count response times from a time inside pushed messages, such as /data/time:us
    ///
    /// A JSON pointer (RFC 6901) to a Unix time in s, ms, us or ns (ms if nothing is said), or to
    /// a date as RFC 3339 writes it. For push and fanout.
    #[arg(long, value_name = "POINTER[:UNIT]", conflicts_with = "file")]
    pub(crate) push_time: Option<PushTime>,
    /// The clock that --push-time is of
    #[arg(long, value_enum, value_name = "CLOCK", default_value_t, requires = "push_time")]
    pub(crate) push_clock: PushClock,
}

impl InsideOptions {
    /// Whether the sender's clock is taken as ours, where times are read at all.
    pub(crate) fn is_same_clock(&self, scenario: Scenario, target: &Target) -> bool {
        match self.push_clock {
            _ if self.push_time.is_none() => true,
            // What fans out was published by us.
            PushClock::Auto => scenario == Scenario::Fanout || target.is_here(),
            PushClock::Same => true,
            PushClock::Estimate => false,
        }
    }

    /// Whether what will be sent has what is to be read, as far as that is known ahead.
    pub(crate) fn check(&self, payload: &Payload, plan: &Plan) -> Result<(), String> {
        self.answer_id.iter().try_for_each(|id| id.check(payload, plan))?;
        self.push_time.iter().try_for_each(|time| time.check(payload, plan))
    }
}
