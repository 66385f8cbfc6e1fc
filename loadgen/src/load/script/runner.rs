//! Where one connection stands in a script.

use super::super::payload::{Generator, Kind, Values};
use super::matcher::{Match, Matcher};
use super::{Reply, SAVED_BYTES_MAX, Script, Step, Turns};

/// When and on which connection something happens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    /// Of the monotonic clock.
    pub(crate) now_ns: u64,
    /// Since 1970.
    pub(crate) now_unix_ms: u64,
    /// The number of the connection, from 0.
    pub(crate) connection: u64,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Send what was appended to `out`.
    Send { kind: Kind },
    /// Wait for messages. If none has met the step by then, it has timed out.
    Expect { until_ns: u64 },
    /// Do nothing for so long. Messages that come meanwhile may meet the step behind it.
    Think { ns: u64 },
    /// Send a ping.
    Ping,
    /// Close the connection; it is the end.
    Close { code: u16, reason: &'a str },
    /// Nothing, from now on.
    Done,
}

/// What a message was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// Nobody waits for it.
    Skipped,
    /// What was waited for: ask for what is next, unless the connection still thinks. The class,
    /// if there is one, gets the time since the last message that was sent.
    Met { class: Option<usize> },
    /// Send what was appended to `out`; nothing else changes.
    Reply { kind: Kind },
    /// Not what it must be, and the script is at its end.
    Wrong(&'a str),
}

/// The state of a connection: 56 bytes, and what it has saved.
#[derive(Debug)]
pub(crate) struct Runner {
    /// The step that is next.
    at: usize,
    /// How many messages it has sent.
    sent: u64,
    /// When the step that is waited for times out; 0 before it is waited for.
    until_ns: u64,
    /// Of each loop around the step: turns that are left, or when it is over.
    loops: Box<[u64]>,
    saved: Box<[Box<[u8]>]>,
}

impl Runner {
    /// At the beginning.
    pub(crate) fn new(script: &Script) -> Self {
        let loops = vec![0; script.depth].into();
        let saved = vec![Box::default(); script.variables].into();
        Self { at: 0, sent: 0, until_ns: 0, loops, saved }
    }

    /// What is to be done now: called at the beginning, when what it said last is done, and when a
    /// message has met a step; until it says to wait. A message to send is appended to `out`.
    pub(crate) fn next<'a>(
        &mut self,
        script: &'a Script,
        moment: Moment,
        generator: &mut Generator,
        out: &mut Vec<u8>,
    ) -> Action<'a> {
        // A loop has at least one step that is no loop, so this comes to an end.
        loop {
            let Some(step) = script.steps.get(self.at) else { return Action::Done };
            if let Step::Expect { timeout_ns, .. } = step {
                if self.until_ns == 0 {
                    self.until_ns = moment.now_ns.saturating_add(*timeout_ns);
                }
                return Action::Expect { until_ns: self.until_ns };
            }
            self.at += 1;
            match step {
                Step::Send { kind, template } => {
                    let values = values(&self.saved, moment, self.sent);
                    template.render(&values, generator, out);
                    self.sent += 1;
                    return Action::Send { kind: *kind };
                }
                Step::Think(pause) => {
                    return Action::Think { ns: pause.sample_ns(generator.random()) };
                }
                Step::Ping => return Action::Ping,
                Step::Close { code, reason } => {
                    self.at = script.steps.len();
                    return Action::Close { code: *code, reason };
                }
                Step::Begin { depth, turns } => {
                    self.loops[*depth] = match turns {
                        Turns::Times(times) => *times,
                        Turns::ForNs(ns) => moment.now_ns.saturating_add(*ns),
                        Turns::Forever => 0,
                    };
                }
                Step::End { depth, begin } => {
                    if self.goes_on(script, *depth, *begin, moment.now_ns) {
                        self.at = begin + 1;
                    }
                }
                Step::Expect { .. } => unreachable!("it was looked at before"),
            }
        }
    }

    /// Whether a loop has another turn.
    fn goes_on(&mut self, script: &Script, depth: usize, begin: usize, now_ns: u64) -> bool {
        let Step::Begin { turns, .. } = &script.steps[begin] else {
            unreachable!("a loop begins where it says")
        };
        match turns {
            Turns::Times(_) => {
                self.loops[depth] -= 1;
                self.loops[depth] > 0
            }
            Turns::ForNs(_) => now_ns < self.loops[depth],
            Turns::Forever => true,
        }
    }

    /// What a message means. A reply to it is appended to `out`.
    pub(crate) fn message<'a>(
        &mut self,
        script: &'a Script,
        moment: Moment,
        (kind, payload): (Kind, &[u8]),
        generator: &mut Generator,
        out: &mut Vec<u8>,
    ) -> Outcome<'a> {
        let values = values(&self.saved, moment, self.sent.saturating_sub(1));
        let mut matches =
            |matcher: &Matcher| matcher.matches(kind, payload, &values, generator, out);
        let reply = script.replies.iter();
        let mut reply = reply.filter(|reply| !matches!(matches(&reply.matcher), Match::No));
        if let Some(Reply { kind, template, .. }) = reply.next() {
            template.render(&values, generator, out);
            return Outcome::Reply { kind: *kind };
        }
        let Some(Step::Expect { matcher, class, other, .. }) = script.steps.get(self.at) else {
            return self.stray(script, "a message came that no step expects");
        };
        match matches(matcher) {
            Match::No => return self.stray(script, other),
            Match::Yes => {}
            Match::Json(json) => {
                for (variable, text) in matcher.saved(&json) {
                    if text.len() > SAVED_BYTES_MAX {
                        self.at = script.steps.len();
                        return Outcome::Wrong("a value to save is longer than 64 KiB");
                    }
                    self.saved[variable] = text.into_bytes().into();
                }
            }
        }
        self.at += 1;
        self.until_ns = 0;
        Outcome::Met { class: *class }
    }

    fn stray<'a>(&mut self, script: &Script, what: &'a str) -> Outcome<'a> {
        if !script.strict {
            return Outcome::Skipped;
        }
        self.at = script.steps.len();
        Outcome::Wrong(what)
    }

    /// The time of [`Action::Expect`] is over: says what did not come. The script is at its end.
    pub(crate) fn timed_out<'a>(&mut self, script: &'a Script) -> &'a str {
        let step = script.steps.get(self.at);
        self.at = script.steps.len();
        match step {
            Some(Step::Expect { missing, .. }) => missing,
            _ => "a time was over that nobody waited for",
        }
    }
}

const fn values(saved: &[Box<[u8]>], moment: Moment, sequence: u64) -> Values<'_> {
    let Moment { now_ns, now_unix_ms, connection } = moment;
    Values { connection, sequence, now_ns, now_unix_ms, variables: saved }
}
