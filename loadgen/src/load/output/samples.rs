//! Reports of every kind for the tests, the same each time.

use crate::load::distribution::Distribution;
use crate::load::report::{
    Class, ClientCheck, CloseCount, Compression, ErrorCount, Fanout, Latency, Live, LoadKind,
    Machine, Outcome, Phase, Phases, PlanInfo, PushTimes, Report, SCHEMA_VERSION, Search,
    SearchStep, ServerUsage, SloResult, SlowConsumers, Stage, Totals, Verdict, Window,
};

/// What a careless page would run, and a careless terminal obey.
const HOSTILE: &str = "refused: 403 <script>window.injected=1</script> \"a|b\" & \x1b[2J*bold*";

/// All of them, named.
pub(crate) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("rich", rich()),
        ("idle", idle()),
        ("invalid", invalid()),
        ("long", long()),
        ("short", short()),
        ("spikes", spikes()),
        ("nothing", nothing()),
        ("closed", closed()),
        ("one", one()),
    ]
}

/// A linear congruential generator: from 0.0 to 1.0.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What a JSON reader of any precision reads as it was written.
fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Times with a tail: most near `median_ns`, few a hundred times as long.
fn times(count: u32, median_ns: f64, seed: u64) -> Distribution {
    let mut chance = Chance(seed);
    let mut times = Distribution::default();
    for _ in 0..count {
        let tail = (1.0 - chance.next()).powf(-0.5) - 0.4;
        times.record((median_ns * tail) as u64);
    }
    times
}

fn plan(scenario: &str, load: LoadKind, rate: Option<f64>) -> PlanInfo {
    let stage = |rate| Stage { from_per_s: rate, to_per_s: rate, seconds: 30.0 };
    PlanInfo {
        scenario: scenario.to_owned(),
        url: "ws://127.0.0.1:9001/a-rather-long-path/that-goes-on?token=<b>&room=\"q\"".to_owned(),
        connections: 1_000,
        threads: 2,
        duration_s: 30.0,
        warm_up_s: 2.0,
        load,
        stages: rate.map(stage).into_iter().collect(),
        poisson: true,
        payload: "lognormal, median 200 B".to_owned(),
        verify: true,
        answer_id: None,
        backend: "io_uring".to_owned(),
        seed: 42,
    }
}

/// Windows of a run at 50,000 messages a second: one to connect, one to warm up, one to close.
fn windows(count: usize, median_ns: f64) -> Vec<Window> {
    let mut chance = Chance(count as u64);
    let window = |n: usize| {
        let sent = 50_000.0 * (1.0 - 0.02 * chance.next());
        let base = median_ns * (0.9 + 0.3 * chance.next());
        let stretch = |by: f64, wobble: f64| (base * by * (1.0 + wobble)) as u64;
        let (phase, is_loaded) = match n {
            0 => (Phase::Connecting, false),
            1 => (Phase::WarmUp, true),
            n if n + 1 == count => (Phase::Closing, false),
            _ => (Phase::Measuring, true),
        };
        let if_loaded = |ns: u64| if is_loaded { ns } else { 0 };
        Window {
            at_s: n as f64 - 1.0,
            seconds: 1.0,
            phase,
            target_per_s: is_loaded.then_some(50_000.0),
            sent: if_loaded(sent as u64),
            received: if_loaded((sent * 0.998) as u64),
            errors: u64::from(n % 7 == 3) * 3,
            open: if n == 0 { 640 } else { 1_000 - (n % 5) as u64 },
            p50_ns: if_loaded(stretch(1.0, 0.0)),
            p90_ns: if_loaded(stretch(1.8, chance.next() * 0.2)),
            p99_ns: if_loaded(stretch(4.0, chance.next() * 0.5)),
            p99_9_ns: if_loaded(stretch(9.0, chance.next())),
            max_ns: if_loaded(stretch(24.0, chance.next() * 3.0)),
            lag_p99_ns: if_loaded(stretch(0.05, chance.next())),
            busy_share: thousandths(0.4 + 0.1 * chance.next()),
            server_cpu_share: Some(thousandths(0.8 + 0.3 * chance.next())),
            server_rss_bytes: Some(48_000_000 + 90_000 * n as u64),
        }
    };
    (0..count).map(window).collect()
}

/// Everything that a report can have.
pub(crate) fn rich() -> Report {
    Report {
        classes: vec![Class { name: "say | <b>".to_owned(), times: times(5_000, 2e6, 10) }],
        fanout: Some(fanout()),
        push_times: Some(PushTimes {
            pointer: "/<b>|time:us".to_owned(),
            estimated: true,
            offset_ns: -12_345_678,
            round_trip_ns: Some(1_530_000),
            timed: 1_480_000,
            untimed: 10,
            future: 2_000,
        }),
        slow: Some(SlowConsumers {
            connections: 50,
            bytes_per_s: 10_000,
            messages_received: 12_345,
            closed: 7,
            response: Some(times(500, 2e8, 9)),
        }),
        tls: Some("TLS 1.3, TLS_AES_256_GCM_SHA384".to_owned()),
        compression: Some(Compression {
            agreed: Some("permessage-deflate; client_no_context_takeover".to_owned()),
            sent_plain_bytes: 1_000_000_000,
            sent_wire_bytes: 310_000_000,
            received_plain_bytes: 1_000_000_000,
            received_wire_bytes: 305_500_000,
        }),
        slo: [("p99<5ms", 5e6, 1.2e6, true), ("errors<0.1%", 0.001, 0.0004, true)]
            .into_iter()
            .map(|(text, limit, measured, met)| slo(text, limit, measured, met))
            .chain([slo("rate>45k", 45_000.0, 49_412.0, true)])
            .collect(),
        search: Some(search()),
        errors: vec![
            ErrorCount { what: HOSTILE.to_owned(), count: 1_234, first_at_s: 3.25 },
            ErrorCount { what: "connection reset by peer".to_owned(), count: 12, first_at_s: 0.5 },
        ],
        closes: [(1000, 3), (1006, 12), (1011, 1), (4001, 2)]
            .map(|(code, count)| CloseCount { code, count })
            .to_vec(),
        ..plain()
    }
}

/// An echo run, and nothing special.
fn plain() -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".to_owned(),
        started_unix_ms: 1_772_366_400_000,
        command: [
            "sockeye",
            "load",
            "ws://127.0.0.1:9001/<b>",
            "--rate",
            "50k",
            "--slo",
            "p99<5ms",
        ]
        .map(str::to_owned)
        .to_vec(),
        machine: Machine {
            processors: 2,
            processor: "Example Processor 9000 @ 2.80 GHz".to_owned(),
            kernel: "Linux 6.18.0".to_owned(),
            memory_bytes: 8_000_000_000,
        },
        plan: plan("echo", LoadKind::Open, Some(50_000.0)),
        verdict: Verdict::default(),
        measured_s: 30.0,
        totals: totals(),
        latency: Latency {
            response: Some(times(100_000, 120_000.0, 1)),
            service: Some(times(100_000, 110_000.0, 2)),
            lag: Some(times(100_000, 2_000.0, 3)),
            ping: None,
        },
        classes: Vec::new(),
        phases: Phases {
            connect: Some(times(1_000, 40_000.0, 4)),
            tls: Some(times(1_000, 1_900_000.0, 5)),
            upgrade: Some(times(1_000, 220_000.0, 6)),
            first_message: Some(times(1_000, 310_000.0, 7)),
        },
        fanout: None,
        push_times: None,
        slow: None,
        tls: None,
        compression: None,
        client: ClientCheck {
            target_per_s: Some(50_000.0),
            achieved_per_s: 49_412.0,
            rate_ratio: Some(0.998_24),
            busy_share: 0.47,
            cpu_s: 14.2,
            cpu_ns_per_message: 9_580.0,
            queued_max: 17,
            completion_overflows: 0,
        },
        server: Some(ServerUsage {
            pid: 4_242,
            name: "echo-server".to_owned(),
            cpu_share: 0.96,
            cpu_ns_per_message: 19_400.0,
            cpu_ns_per_connection_second: None,
            rss_before_bytes: 21_000_000,
            rss_peak_bytes: 50_700_000,
            bytes_per_connection: Some(11_480.0),
        }),
        slo: Vec::new(),
        search: None,
        errors: Vec::new(),
        closes: Vec::new(),
        series: windows(33, 120_000.0),
    }
}

fn totals() -> Totals {
    Totals {
        messages_sent: 1_482_360,
        messages_received: 1_482_010,
        pushed: 0,
        bytes_sent: 402_000_000,
        bytes_received: 401_900_000,
        unanswered: 350,
        mismatches: 0,
        connections_opened: 1_012,
        connections_failed: 4,
        connections_lost: 12,
        connections_peak: 1_000,
        pings_sent: 60,
        pongs_received: 60,
    }
}

fn slo(text: &str, limit: f64, measured: f64, met: bool) -> SloResult {
    SloResult { text: text.to_owned(), limit, measured, met }
}

fn fanout() -> Fanout {
    Fanout {
        publishers: 10,
        subscribers: 990,
        published: 30_000,
        delivered: 29_699_970,
        reach: 0.999_999,
        skew: Some(times(30_000, 900_000.0, 8)),
        gaps: Some(30),
        duplicates: Some(0),
        reordered: Some(2),
    }
}

fn search() -> Search {
    let step = |target: f64, p99_ms: f64, met, valid, confirmation| {
        let ns = |by: f64| (p99_ms * by * 1e6) as u64;
        SearchStep {
            target_per_s: target,
            achieved_per_s: target * if valid || met { 0.999 } else { 0.93 },
            p50_ns: ns(0.2),
            p99_ns: ns(1.0),
            p99_9_ns: ns(2.5),
            max_ns: ns(9.0),
            met,
            valid,
            confirmation,
        }
    };
    Search {
        steps: vec![
            step(10_000.0, 0.31, true, true, false),
            step(20_000.0, 0.36, true, true, false),
            step(40_000.0, 0.62, true, true, false),
            step(80_000.0, 64.0, false, true, false),
            step(160_000.0, 480.0, false, false, false),
            step(60_000.0, 7.9, false, true, false),
            step(50_000.0, 1.2, true, true, false),
            step(50_000.0, 1.25, true, true, true),
            step(50_000.0, 1.18, true, false, true),
        ],
        found_per_s: Some(50_000.0),
        knee_per_s: Some(47_000.0),
    }
}

/// Connections that only stay open: no latency at all.
pub(crate) fn idle() -> Report {
    let mut series = windows(12, 1.0);
    for window in &mut series {
        *window = Window {
            at_s: window.at_s,
            seconds: window.seconds,
            phase: window.phase,
            open: 15_000,
            busy_share: 0.001,
            ..Window::default()
        };
    }
    Report {
        plan: PlanInfo { connections: 15_000, ..plan("idle", LoadKind::Receive, None) },
        totals: Totals {
            connections_opened: 15_000,
            connections_peak: 15_000,
            ..Totals::default()
        },
        latency: Latency::default(),
        phases: Phases { tls: None, first_message: None, ..plain().phases },
        client: ClientCheck { busy_share: 0.001, cpu_s: 0.02, ..ClientCheck::default() },
        server: None,
        series,
        ..plain()
    }
}

/// The client was the bottleneck.
pub(crate) fn invalid() -> Report {
    Report {
        verdict: Verdict {
            outcome: Outcome::Invalid,
            reasons: [
                "Only 71.2 % of the target rate was sent: lower --rate, or give the client more \
                 processors with --threads.",
                "p99 of the lag is 48 % of p99 of the response; 10 % is the limit.",
            ]
            .map(str::to_owned)
            .to_vec(),
        },
        client: ClientCheck {
            achieved_per_s: 35_600.0,
            rate_ratio: Some(0.712),
            busy_share: 0.998,
            ..plain().client
        },
        ..plain()
    }
}

/// Ten minutes.
fn long() -> Report {
    Report { series: windows(600, 85_000.0), ..plain() }
}

/// Three windows.
fn short() -> Report {
    Report { series: windows(3, 400.0), ..plain() }
}

/// A single window, and a single message in it.
fn one() -> Report {
    let window = Window {
        seconds: 1.0,
        phase: Phase::Measuring,
        target_per_s: Some(1.0),
        sent: 1,
        received: 1,
        open: 1,
        p50_ns: 70_000,
        p90_ns: 70_000,
        p99_ns: 70_000,
        p99_9_ns: 70_000,
        max_ns: 70_000,
        ..Window::default()
    };
    Report {
        latency: Latency { response: Some(times(1, 70_000.0, 1)), ..Latency::default() },
        series: vec![window],
        ..plain()
    }
}

/// Now and then a thousand times as slow, and windows in which nothing came.
fn spikes() -> Report {
    let mut report = plain();
    for (n, window) in report.series.iter_mut().enumerate() {
        if n % 9 == 5 {
            window.p99_9_ns = 900_000_000;
            window.max_ns = 120_000_000_000;
        }
        if n % 9 == 6 {
            *window = Window {
                received: 0,
                p50_ns: 0,
                p90_ns: 0,
                p99_ns: 0,
                p99_9_ns: 0,
                max_ns: 0,
                ..window.clone()
            };
        }
    }
    report
}

/// Nothing came about.
pub(crate) fn nothing() -> Report {
    Report {
        verdict: Verdict {
            outcome: Outcome::Failed,
            reasons: vec!["No connection could be opened: connection refused.".to_owned()],
        },
        command: Vec::new(),
        machine: Machine::default(),
        measured_s: 0.0,
        totals: Totals { connections_failed: 1_000, ..Totals::default() },
        latency: Latency::default(),
        phases: Phases::default(),
        client: ClientCheck {
            target_per_s: Some(50_000.0),
            rate_ratio: Some(0.0),
            ..ClientCheck::default()
        },
        server: None,
        errors: vec![ErrorCount {
            what: "connection refused".to_owned(),
            count: 1_000,
            first_at_s: 0.0,
        }],
        series: Vec::new(),
        ..plain()
    }
}

/// The next message leaves when the last was answered.
pub(crate) fn closed() -> Report {
    let mut report = plain();
    report.plan = plan("echo", LoadKind::Closed, None);
    report.latency = Latency { service: report.latency.service, ..Latency::default() };
    report.client = ClientCheck { target_per_s: None, rate_ratio: None, ..report.client };
    for window in &mut report.series {
        window.target_per_s = None;
    }
    report
}

/// What a watcher of that run was told when so many windows were over.
pub(crate) fn live(report: &Report, windows: usize) -> Live<'_> {
    let series = &report.series[..windows];
    Live {
        plan: &report.plan,
        phase: series.last().map(|window| window.phase).unwrap_or_default(),
        elapsed_s: windows as f64,
        series,
        totals: &report.totals,
        latency: &report.latency,
        errors: &report.errors,
        closes: &report.closes,
        server: report.server.as_ref(),
        open: series.last().map_or(0, |window| window.open),
        tally: None,
    }
}
