//! What a run has found out. Every format shows this, and the JSON of a run is nothing but this.
//! Times are nanoseconds or seconds, as their names say; bytes are payload bytes unless they say
//! otherwise.

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::tally::Tally;

/// Goes up when a reader of an earlier version would misunderstand a field; new fields do not
/// count.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    /// Of the `sockeye` that measured.
    pub(crate) version: String,
    /// When the run began.
    pub(crate) started_unix_ms: u64,
    /// The command line, without secrets: values of `--header` and `--cookie` are left out.
    pub(crate) command: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) plan: PlanInfo,
    pub(crate) verdict: Verdict,
    /// Seconds of the measurement, without warming up, connecting and closing.
    pub(crate) measured_s: f64,
    pub(crate) totals: Totals,
    pub(crate) latency: Latency,
    /// The same for each class of messages that a scenario file measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) classes: Vec<Class>,
    pub(crate) phases: Phases,
    /// What subscribers got of what publishers sent (`fanout`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fanout: Option<Fanout>,
    /// Where pushed messages say when they were made (`--push-time`): `latency.response` is from
    /// then to their arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) push_times: Option<PushTimes>,
    /// Where some consumers are slow (`slow`): the others' response time stands in `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slow: Option<SlowConsumers>,
    /// What TLS agreed on with the first connection: `TLS 1.3, TLS_AES_256_GCM_SHA384`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<String>,
    /// Where compression was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<Compression>,
    pub(crate) client: ClientCheck,
    /// With `--server-pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerUsage>,
    /// One for each `--slo`.
    #[serde(default)]
    pub(crate) slo: Vec<SloResult>,
    /// With `--find-max`: the steps that led to this run, which is the last confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<Search>,
    /// What went wrong, most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Close frames of the server, by their code (RFC 6455 section 7.4; 1005: none, 1006: no close
    /// frame at all), that came while the run was measured.
    pub(crate) closes: Vec<CloseCount>,
    /// One for each second (or `--window`), warming up included.
    pub(crate) series: Vec<Window>,
}

impl Report {
    /// The highest rate was searched for, and the client was late in the run that is shown here:
    /// the limits were kept, but the times are longer than the server's own.
    pub(crate) fn is_found_by_late_client(&self) -> bool {
        let last = self.search.as_ref().and_then(|search| search.steps.last());
        last.is_some_and(|step| step.confirmation && step.met && !step.valid)
    }
}

/// Where it was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Those that this process may use.
    pub(crate) processors: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
}

/// What was to be done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanInfo {
    /// `echo`, `push`, `fanout`, `idle`, `slow`, `storm` or `file`.
    pub(crate) scenario: String,
    pub(crate) url: String,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) duration_s: f64,
    pub(crate) warm_up_s: f64,
    pub(crate) load: LoadKind,
    /// The target rate over time (open loop); one stage where it is constant.
    #[serde(default)]
    pub(crate) stages: Vec<Stage>,
    /// Gaps between messages are exponential, not equal.
    #[serde(default)]
    pub(crate) poisson: bool,
    /// What a message is, in words: `32 B`, `lognormal, median 200 B`.
    pub(crate) payload: String,
    pub(crate) verify: bool,
    /// Where the value stands that tells whose answer is whose (`--answer-id`); without it their
    /// order does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer_id: Option<String>,
    pub(crate) backend: String,
    pub(crate) seed: u64,
}

/// Who decides when the next message leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoadKind {
    /// The clock: response times count from when a message was due, so a server that stalls is
    /// seen to stall.
    #[default]
    Open,
    /// The answers: the next message leaves when the last was answered. A server that stalls
    /// stops the clock, and the percentiles are too good (coordinated omission).
    Closed,
    /// Nobody: nothing is sent but what keeps connections open (`push`, `idle`).
    Receive,
}

/// A part of the target rate: linear from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) from_per_s: f64,
    pub(crate) to_per_s: f64,
    pub(crate) seconds: f64,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// Sentences, each with what to do, the weightiest first. Empty if all is well.
    pub(crate) reasons: Vec<String>,
}

/// The outcome, and with it the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// 0
    #[default]
    Ok,
    /// 1: connections failed, or answers were wrong.
    Failed,
    /// 3
    SloBreached,
    /// 4: the client was the bottleneck. The figures say nothing about the server.
    Invalid,
    /// 130 or 143: a signal ended it. What is here was measured until then; gates were not looked
    /// at.
    Interrupted,
}

/// Counts of the measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) messages_sent: u64,
    pub(crate) messages_received: u64,
    /// Those of them that the server has sent by itself, where answers are told from them
    /// (`--answer-id`).
    #[serde(default)]
    pub(crate) pushed: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Messages that were due and have not been answered when the run ended.
    pub(crate) unanswered: u64,
    /// Answers that are not what they must be.
    pub(crate) mismatches: u64,
    /// Connections that were opened, reconnections too, from the very beginning.
    pub(crate) connections_opened: u64,
    /// Attempts that came to nothing, from the very beginning.
    pub(crate) connections_failed: u64,
    /// Connections that were lost without our doing.
    pub(crate) connections_lost: u64,
    /// Most at a time.
    pub(crate) connections_peak: u64,
    pub(crate) pings_sent: u64,
    pub(crate) pongs_received: u64,
}

impl Totals {
    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            messages_sent,
            messages_received,
            pushed,
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
        } = other;
        self.messages_sent += messages_sent;
        self.messages_received += messages_received;
        self.pushed += pushed;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
        self.unanswered += unanswered;
        self.mismatches += mismatches;
        self.connections_opened += connections_opened;
        self.connections_failed += connections_failed;
        self.connections_lost += connections_lost;
        self.connections_peak += connections_peak;
        self.pings_sent += pings_sent;
        self.pongs_received += pongs_received;
    }
}

/// Three answers to "how long?".
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// From when a message was due to its answer; a closed loop has none. For `push` and `fanout`:
    /// from its stamp to its arrival. The headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<Distribution>,
    /// From when it was really sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<Distribution>,
    /// From due to sent: what we were late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lag: Option<Distribution>,
    /// From a ping to its pong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ping: Option<Distribution>,
}

impl Latency {
    /// The one to show first, and what it is called.
    pub(crate) fn headline(&self) -> Option<(&'static str, &Distribution)> {
        let response = self.response.as_ref().map(|response| ("response", response));
        let service = || self.service.as_ref().map(|service| ("service", service));
        response.or_else(service).or_else(|| self.ping.as_ref().map(|ping| ("ping", ping)))
    }
}

/// A class of messages (`measure` in a scenario file).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Class {
    pub(crate) name: String,
    /// From the last message sent to the one that was waited for.
    pub(crate) times: Distribution,
}

/// What opening a connection takes, step by step, each from the end of the one before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Phases {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connect: Option<Distribution>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Distribution>,
    /// From the request to the 101.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade: Option<Distribution>,
    /// From the first message sent to its answer; where nothing is answered, from the 101 to the
    /// first message that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_message: Option<Distribution>,
}

/// Publishers and subscribers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fanout {
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    /// Deliveries that came, of those that should have.
    pub(crate) reach: f64,
    /// From the first subscriber to have a message to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skew: Option<Distribution>,
    /// Sequence numbers that a subscriber never saw; with `--push-time` they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gaps: Option<u64>,
    /// Those that it saw twice,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duplicates: Option<u64>,
    /// or late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reordered: Option<u64>,
}

/// Times inside pushed messages, and the clock that they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushTimes {
    /// Where they stand, and their unit: `/data/time:ms`.
    pub(crate) pointer: String,
    /// What the clocks differ by was estimated; else the sender's was taken as ours.
    pub(crate) estimated: bool,
    /// What our clock is ahead of the sender's.
    pub(crate) offset_ns: i64,
    /// The shortest time from a ping to its pong, where it was part of the estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_ns: Option<u64>,
    /// Messages whose times are in `latency.response`,
    pub(crate) timed: u64,
    /// those that have none there,
    pub(crate) untimed: u64,
    /// and those that were made, by their clock, after they came.
    pub(crate) future: u64,
}

/// Those that read slowly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SlowConsumers {
    pub(crate) connections: u32,
    pub(crate) bytes_per_s: u64,
    pub(crate) messages_received: u64,
    /// Those that the server has closed.
    pub(crate) closed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<Distribution>,
}

/// permessage-deflate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compression {
    /// What the server agreed to, as it wrote it; `None`: to nothing.
    pub(crate) agreed: Option<String>,
    /// Payload of the messages that `totals` counts, as it was before compression, and on the wire.
    pub(crate) sent_plain_bytes: u64,
    pub(crate) sent_wire_bytes: u64,
    pub(crate) received_plain_bytes: u64,
    pub(crate) received_wire_bytes: u64,
}

/// Whether the client, not the server, was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientCheck {
    /// Messages that should have been sent in a second, on average (open loop),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_per_s: Option<f64>,
    /// and were.
    pub(crate) achieved_per_s: f64,
    /// The share of the messages that were due that there was time to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_ratio: Option<f64>,
    /// Share of the time in which the busiest thread had something to do; it may spin besides.
    pub(crate) busy_share: f64,
    /// User and system time of all threads.
    pub(crate) cpu_s: f64,
    /// 0 where there were no messages.
    pub(crate) cpu_ns_per_message: f64,
    /// Most messages that waited in our own memory because the kernel took no more.
    pub(crate) queued_max: u64,
    pub(crate) completion_overflows: u64,
}

/// What the server's process used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerUsage {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Processors kept busy, 1.0 for one.
    pub(crate) cpu_share: f64,
    /// For each message that came back, or in a storm each connection; 0 where there were none.
    pub(crate) cpu_ns_per_message: f64,
    /// For each connection in each second, where there were no messages (`idle`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ns_per_connection_second: Option<f64>,
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    /// Growth of its anonymous memory from before the first connection to all open, for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_connection: Option<f64>,
}

/// A limit, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SloResult {
    /// As it was given: `p99<5ms`.
    pub(crate) text: String,
    /// In the unit of the limit: nanoseconds for times, a share for `errors`, messages a second
    /// for `rate`.
    pub(crate) limit: f64,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

/// The search for the highest rate that keeps the limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Search {
    /// In the order of trying.
    pub(crate) steps: Vec<SearchStep>,
    /// The highest that was confirmed; `None`: not even the lowest kept the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) found_per_s: Option<f64>,
    /// Where latency begins to rise faster than load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) knee_per_s: Option<f64>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SearchStep {
    pub(crate) target_per_s: f64,
    pub(crate) achieved_per_s: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p99_9_ns: u64,
    pub(crate) max_ns: u64,
    /// Every limit was kept. Where `valid` is false too, that holds for the server: its times are
    /// no longer than these.
    pub(crate) met: bool,
    /// The client kept up. If it did not, a limit that broke says nothing about the server.
    pub(crate) valid: bool,
    /// It was run to confirm an earlier step.
    pub(crate) confirmation: bool,
}

/// One kind of error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorCount {
    /// In a few words, the same for all of the kind.
    pub(crate) what: String,
    pub(crate) count: u64,
    /// Seconds after the first connection was begun.
    pub(crate) first_at_s: f64,
}

/// One close code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloseCount {
    pub(crate) code: u16,
    pub(crate) count: u64,
}

/// A stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// Where it begins, in seconds after the first message was due; below zero while connections
    /// are opened.
    pub(crate) at_s: f64,
    pub(crate) seconds: f64,
    pub(crate) phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_per_s: Option<f64>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) errors: u64,
    /// Connections open at its end.
    pub(crate) open: u64,
    /// Of the headline latency (`Latency::headline`) in this window; zeros where nothing came.
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p99_9_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) lag_p99_ns: u64,
    pub(crate) busy_share: f64,
    /// With `--server-pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_rss_bytes: Option<u64>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    #[default]
    Connecting,
    WarmUp,
    Measuring,
    Closing,
}

/// What those who watch a run are told, once for each window.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    pub(crate) plan: &'a PlanInfo,
    pub(crate) phase: Phase,
    /// Since the first connection was begun.
    pub(crate) elapsed_s: f64,
    /// All windows so far; the last is the newest.
    pub(crate) series: &'a [Window],
    /// Of the measurement so far.
    pub(crate) totals: &'a Totals,
    pub(crate) latency: &'a Latency,
    pub(crate) errors: &'a [ErrorCount],
    pub(crate) closes: &'a [CloseCount],
    pub(crate) server: Option<&'a ServerUsage>,
    /// Connections open now.
    pub(crate) open: u64,
    /// All that was counted from the very beginning, where somebody has asked for it.
    pub(crate) tally: Option<&'a Tally>,
}

/// Somebody who watches a run: a screen, a line of progress, a file with a line for each window.
pub(crate) trait Observer {
    /// A window is over.
    fn window(&mut self, live: &Live<'_>) -> std::io::Result<()>;

    /// The run is over: these are its last figures. A search has several runs.
    fn end(&mut self, _live: &Live<'_>) -> std::io::Result<()> {
        Ok(())
    }
}
