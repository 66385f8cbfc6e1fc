//! What is to be done: the command line, checked and worked out, the same for all threads.

use std::sync::Arc;

use clap::ValueEnum;
use sockeye_codec::deflate::DeflateConfig;
use sockeye_codec::handshake::ClientRequest;

use super::answers::AnswerId;
use super::clock::NS_PER_S;
use super::pace::Arrivals;
use super::push_time::PushTime;
use super::report::{LoadKind, Stage};
use super::script::Script;

/// What the connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// messages go out and come back
    Echo,
    /// nothing is sent: what the server sends by itself is counted
    Push,
    /// some publish, all others get it
    Fanout,
    /// connections stay open; pings show that they live
    Idle,
    /// echo, and some read slowly
    Slow,
    /// connections are opened and closed
    Storm,
    /// what a file says (--file)
    #[value(skip)]
    File,
}

impl Scenario {
    /// Its name on the command line and in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Push => "push",
            Self::Fanout => "fanout",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Storm => "storm",
            Self::File => "file",
        }
    }

    /// Who decides when the next message leaves.
    pub(crate) const fn load(self, is_closed: bool) -> LoadKind {
        match self {
            Self::Push | Self::Idle => LoadKind::Receive,
            Self::File => LoadKind::Closed,
            _ if is_closed => LoadKind::Closed,
            _ => LoadKind::Open,
        }
    }

    /// Each message has one answer, on the connection that it left on.
    pub(crate) const fn is_answered(self) -> bool {
        matches!(self, Self::Echo | Self::Slow)
    }
}

/// Those that read slowly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slow {
    /// Of all connections.
    pub(crate) share: f64,
    pub(crate) bytes_per_s: u64,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) load: LoadKind,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// Messages under way on each connection (closed loop).
    pub(crate) in_flight: usize,
    /// The rate, from the end of warming up on.
    pub(crate) stages: Vec<Stage>,
    pub(crate) arrivals: Arrivals,
    pub(crate) warm_up_ns: u64,
    pub(crate) duration_ns: u64,
    /// How long the last answers are waited for.
    pub(crate) drain_ns: u64,
    pub(crate) window_ns: u64,
    /// Connections opened in a second at most.
    pub(crate) connect_per_s: Option<f64>,
    /// Handshakes under way at a time.
    pub(crate) pending_max: usize,
    pub(crate) connect_timeout_ns: u64,
    /// Connections are closed when they are so old, and others opened.
    pub(crate) lifetime_ns: Option<u64>,
    /// Lost connections are opened again.
    pub(crate) reconnects: bool,
    /// The first so many connections publish (`fanout`).
    pub(crate) publishers: usize,
    pub(crate) slow: Option<Slow>,
    pub(crate) ping_every_ns: Option<u64>,
    pub(crate) verify: bool,
    /// What tells whose answer is whose; `None`: their order.
    pub(crate) answer_id: Option<AnswerId>,
    /// Where pushed messages say when they were made,
    pub(crate) push_time: Option<PushTime>,
    /// and whether by a clock that is taken as ours.
    pub(crate) is_same_clock: bool,
    pub(crate) spin: bool,
    pub(crate) seed: u64,
    pub(crate) request: ClientRequest,
    /// What asks the proxy, if there is one, for a way to the server.
    pub(crate) proxy_request: Option<Vec<u8>>,
    /// What connections do, in place of a scenario, and the request that it asks for.
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) deflate: Option<DeflateConfig>,
    pub(crate) message_bytes_max: u64,
    /// Messages under way on a connection at most: what is due beyond is an error.
    pub(crate) flights_max: usize,
}

impl Plan {
    /// The schedule with its warming up, at the rate that the measurement begins with.
    pub(crate) fn schedule(&self) -> Vec<Stage> {
        let Some(first) = self.stages.first() else { return Vec::new() };
        let seconds = self.warm_up_ns as f64 / NS_PER_S as f64;
        let rate = if first.from_per_s > 0.0 { first.from_per_s } else { first.to_per_s };
        let warm_up = Stage { from_per_s: rate, to_per_s: rate, seconds };
        let warm_up = (seconds > 0.0).then_some(warm_up);
        warm_up.into_iter().chain(self.stages.iter().copied()).collect()
    }

    /// The numbers of a thread's connections: every `threads`th.
    pub(crate) fn numbers(&self, thread: usize) -> impl Iterator<Item = usize> + use<> {
        (thread..self.connections).step_by(self.threads)
    }

    /// Whether a connection publishes.
    pub(crate) const fn publishes(&self, number: usize) -> bool {
        matches!(self.scenario, Scenario::Fanout) && number < self.publishers
    }

    /// Whether a connection sends when a message is due.
    pub(crate) const fn sends(&self, number: usize) -> bool {
        match self.scenario {
            Scenario::Echo | Scenario::Slow | Scenario::File => true,
            Scenario::Fanout => self.publishes(number),
            Scenario::Push | Scenario::Idle | Scenario::Storm => false,
        }
    }

    /// Whether a connection reads slowly: spread evenly over all but publishers.
    pub(crate) fn is_slow(&self, number: usize) -> bool {
        let Some(slow) = self.slow else { return false };
        let before = (number as f64 * slow.share).floor();
        !self.publishes(number) && ((number + 1) as f64 * slow.share).floor() > before
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A short echo run.
    pub(crate) fn plan() -> Plan {
        Plan {
            scenario: Scenario::Echo,
            load: LoadKind::Open,
            connections: 10,
            threads: 2,
            in_flight: 1,
            stages: vec![Stage { from_per_s: 100.0, to_per_s: 100.0, seconds: 1.0 }],
            arrivals: Arrivals::Regular { burst: 1 },
            warm_up_ns: NS_PER_S / 2,
            duration_ns: NS_PER_S,
            drain_ns: NS_PER_S,
            window_ns: NS_PER_S,
            connect_per_s: None,
            pending_max: 100,
            connect_timeout_ns: 10 * NS_PER_S,
            lifetime_ns: None,
            reconnects: false,
            publishers: 1,
            slow: None,
            ping_every_ns: None,
            verify: true,
            answer_id: None,
            push_time: None,
            is_same_clock: true,
            spin: true,
            seed: 1,
            request: ClientRequest::new("localhost", "/"),
            proxy_request: None,
            script: None,
            deflate: None,
            message_bytes_max: 16 << 20,
            flights_max: 1 << 16,
        }
    }

    #[test]
    fn connections_are_dealt_out_to_threads() {
        let plan = Plan { connections: 7, threads: 3, ..plan() };
        let mut all: Vec<_> = (0..3).flat_map(|thread| plan.numbers(thread)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn as_many_are_slow_as_were_asked_for() {
        let slow = Some(Slow { share: 0.05, bytes_per_s: 1 });
        let plan = Plan { connections: 1000, slow, ..plan() };
        assert_eq!((0..1000).filter(|number| plan.is_slow(*number)).count(), 50);
        let fanout = Plan { scenario: Scenario::Fanout, publishers: 1, ..plan };
        assert!(!fanout.is_slow(0) && fanout.publishes(0) && !fanout.sends(1));
    }

    #[test]
    fn warming_up_goes_before_the_schedule() {
        let plan = plan();
        let schedule = plan.schedule();
        assert_eq!(schedule.len(), 2);
        assert_eq!((schedule[0].seconds, schedule[0].from_per_s), (0.5, 100.0));
        assert_eq!(Plan { warm_up_ns: 0, ..plan }.schedule().len(), 1);
    }
}
