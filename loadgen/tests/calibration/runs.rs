//! Is what `sockeye load` reports true? It is held against a server whose response times are known
//! beforehand (`docs/CALIBRATION.md`). Times are what is tested here, so they do decide; a run in
//! which the server or the tool says itself that the machine kept it from its work is measured
//! again.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde_json::{Value, json};
use tungstenite::Message;

use crate::process::{Ended, Process, Server};
use crate::theory::{Theory, open_times};
use crate::tungstenite_client::connect;

const CONNECTIONS: u64 = 50;
const RATE_PER_S: u64 = 5_000;
const SECONDS: u64 = 4;

/// What may be wrong, of what must be reported.
const TOLERANCE: f64 = 0.02;
/// How late the server may wake for a run to count, of a stall: the rest is the tool's.
const LATE: f64 = 0.004;
/// Runs of which one has to be right.
const ATTEMPTS: usize = 6;
/// The exit code.
const CLIENT_WAS_THE_BOTTLENECK: i32 = 4;

/// A tenth of the time: the median is untouched, the tail is nothing but stalls. The last period
/// is cut where the server answers.
const SELDOM: Theory = theory(160, 1_600);
/// Four fifths of the time: the median, too, is of a stall.
const MOSTLY: Theory = theory(816, 1_020);

const fn theory(stall_ms: u64, period_ms: u64) -> Theory {
    Theory {
        stall: Duration::from_millis(stall_ms),
        period: Duration::from_millis(period_ms),
        duration: Duration::from_secs(SECONDS),
    }
}

/// What a report says of one kind of time.
struct Measured {
    p50: Duration,
    p99: Duration,
    p99_9: Duration,
    max: Duration,
    times: Histogram<u64>,
}

impl Measured {
    /// From the JSON of a run; `kind` is `response` or `service`.
    fn read(report: &Value, kind: &str) -> Result<Self, String> {
        let times = &report["latency"][kind];
        let duration = |name: &str| {
            let ns = times[name].as_u64().ok_or_else(|| format!("no {kind}.{name}"))?;
            Ok::<_, String>(Duration::from_nanos(ns))
        };
        let bytes = times["hdr_v2"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.ok_or_else(|| format!("no {kind}.hdr_v2"))?;
        let histogram = Deserializer::new().deserialize(&mut &bytes[..]);
        Ok(Self {
            p50: duration("p50_ns")?,
            p99: duration("p99_ns")?,
            p99_9: duration("p99_9_ns")?,
            max: duration("max_ns")?,
            times: histogram.map_err(|error| format!("{kind}.hdr_v2: {error:?}"))?,
        })
    }

    fn count_above(&self, time: Duration) -> u64 {
        let ns = time.as_nanos() as u64;
        self.times.len() - self.times.count_between(0, ns)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, p99_9, max, .. } = self;
        write!(f, "p50 {p50:?}, p99 {p99:?}, p99.9 {p99_9:?}, max {max:?}")
    }
}

/// Within the tolerance. What is not held up takes next to nothing, in comparison with a stall.
fn check(
    name: &str,
    measured: Duration,
    expected: Duration,
    stall: Duration,
) -> Result<(), String> {
    let allowed = if expected.is_zero() { stall } else { expected }.mul_f64(TOLERANCE);
    if measured.abs_diff(expected) <= allowed {
        return Ok(());
    }
    Err(format!("{name} is {measured:?} and must be {expected:?} within {allowed:?}"))
}

/// An open loop sees all that the stalls have held up.
fn check_open(theory: &Theory, report: &Value) -> Result<(), String> {
    let measured = Measured::read(report, "response")?;
    let due = RATE_PER_S * SECONDS;
    // One at either end, whichever way the tool counts.
    if measured.times.len().abs_diff(due) > CONNECTIONS {
        return Err(format!("{} times of {due}", measured.times.len()));
    }
    let figures = [
        ("p50", measured.p50, 0.5),
        ("p99", measured.p99, 0.99),
        ("p99.9", measured.p99_9, 0.999),
        ("max", measured.max, 1.0),
    ];
    for (name, measured, quantile) in figures {
        check(name, measured, theory.open_quantile(quantile), theory.stall)?;
    }
    let half = theory.stall / 2;
    let (share, expected) =
        (measured.count_above(half) as f64 / due as f64, theory.open_share_above(half));
    if (share - expected).abs() > TOLERANCE * expected {
        return Err(format!("{share} took longer than {half:?}, and {expected} must"));
    }
    Ok(())
}

/// A closed loop sees one message of each connection in each stall, and no more.
fn check_closed(theory: &Theory, report: &Value) -> Result<(), String> {
    if !report["latency"]["response"].is_null() {
        return Err("a closed loop has no response times".into());
    }
    let measured = Measured::read(report, "service")?;
    let (held_up, expected) =
        (measured.count_above(theory.stall / 2), theory.closed_held_up(CONNECTIONS));
    if held_up != expected {
        return Err(format!("{held_up} messages were held up, and {expected} must be"));
    }
    check("max", measured.max, theory.stall, theory.stall)?;
    check("p50", measured.p50, Duration::ZERO, theory.stall)
}

/// A server that calibrates, and runs of the tool against it.
struct Bench {
    server: Server,
    theory: Theory,
}

impl Bench {
    fn start(theory: Theory) -> Self {
        let (stall, period) = (theory.stall.as_millis(), theory.period.as_millis());
        let (stall, period) = (format!("{stall}ms"), format!("{period}ms"));
        let options = ["--app", "calibrate", "--stall", &stall, "--stall-every", &period];
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], &options[..]].concat();
        Self { server: Server::ready(Process::start_verbose(&arguments)), theory }
    }

    /// Runs the tool until what it reports is right, where neither it nor the server says that the
    /// machine was in its way. A machine can be that without their knowing it; a tool that is wrong
    /// is wrong each time.
    fn assert(&self, load: &[&str], check: fn(&Theory, &Value) -> Result<(), String>) {
        let late_max = self.theory.stall.mul_f64(LATE);
        let mut last = "the machine was too busy".to_owned();
        for _attempt in 0..ATTEMPTS {
            let report = self.run(load);
            let (stalls, late) =
                read_end(&self.server.process.wait_for_error_line("the run is over"));
            println!("{load:?}: {stalls} stalls, up to {late:?} late");
            let Some(report) = report.filter(|_| late <= late_max) else { continue };
            for kind in ["response", "service"] {
                if let Ok(measured) = Measured::read(&report, kind) {
                    println!("{kind}: {measured}");
                }
            }
            if stalls != self.theory.stalls() {
                last = format!("the server stalled {stalls} times");
                continue;
            }
            match check(&self.theory, &report) {
                Ok(()) => return,
                Err(error) => last = error,
            }
        }
        panic!("{load:?}: in {ATTEMPTS} runs, and in the last of them {last}");
    }

    /// `None`: the tool says itself that it could not keep up, and that its figures mean nothing.
    fn run(&self, load: &[&str]) -> Option<Value> {
        let url = format!("ws://{}/", self.server.address);
        let (connections, seconds) = (CONNECTIONS.to_string(), format!("{SECONDS}s"));
        let common = ["load", &url, "--scenario", "echo", "--connections", &connections];
        let times = ["--duration", &seconds, "--warm-up", "0s", "--json", "-"];
        let Ended { status, stdout, stderr } =
            Process::run(&[&common[..], &times[..], load].concat());
        if status.code() == Some(CLIENT_WAS_THE_BOTTLENECK) {
            println!("{load:?}: {stderr:?}");
            return None;
        }
        assert!(status.success(), "{status}: {stderr:?}");
        Some(serde_json::from_str(&stdout.join("\n")).expect("the report"))
    }
}

/// `.. stalls=4 late_max_us=83`.
fn read_end(line: &str) -> (u64, Duration) {
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let figures = number("stalls=").zip(number("late_max_us="));
    let (stalls, late_us) = figures.unwrap_or_else(|| panic!("no figures in {line:?}"));
    (stalls, Duration::from_micros(late_us))
}

/// One after the other: they would disturb each other.
#[test]
fn what_is_reported_is_what_must_be() {
    let rate = RATE_PER_S.to_string();
    for theory in [SELDOM, MOSTLY] {
        Bench::start(theory).assert(&["--rate", &rate], check_open);
    }
    // A closed loop hides what theory says that it hides.
    Bench::start(MOSTLY).assert(&["--closed"], check_closed);
}

/// A report with these times.
fn synthetic(kind: &str, times: impl Iterator<Item = Duration>) -> Value {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    times.for_each(|time| histogram.record((time.as_nanos() as u64).max(1)).unwrap());
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    json!({"latency": {kind: {
        "p50_ns": histogram.value_at_quantile(0.5),
        "p99_ns": histogram.value_at_quantile(0.99),
        "p99_9_ns": histogram.value_at_quantile(0.999),
        "max_ns": histogram.max(),
        "hdr_v2": STANDARD.encode(bytes),
    }}})
}

fn due_times(theory: &Theory) -> impl Iterator<Item = Duration> {
    open_times(theory, Duration::from_secs(1) / RATE_PER_S as u32)
}

#[test]
fn what_must_be_is_accepted() {
    let base = Duration::from_micros(150);
    for theory in [SELDOM, MOSTLY] {
        let report = synthetic("response", due_times(&theory).map(|time| time + base));
        check_open(&theory, &report).unwrap();
        let held_up = theory.closed_held_up(CONNECTIONS) as usize;
        let times = std::iter::repeat_n(theory.stall + base, held_up);
        let times = times.chain(std::iter::repeat_n(base, 20_000));
        check_closed(&theory, &synthetic("service", times)).unwrap();
    }
}

/// The mistakes that load tools make.
#[test]
fn what_must_not_be_is_refused() {
    for theory in [SELDOM, MOSTLY] {
        let open =
            |times: Vec<Duration>| check_open(&theory, &synthetic("response", times.into_iter()));
        let all: Vec<_> = due_times(&theory).collect();
        assert!(open(all.clone()).is_ok());
        // Counted from when they were sent, after the stall: one on each connection is seen.
        let seen = all
            .iter()
            .enumerate()
            .map(|(n, time)| if n % 4_000 < CONNECTIONS as usize { *time } else { Duration::ZERO });
        assert!(open(seen.collect()).is_err());
        // Left out while the server did not answer.
        let quick = all.iter().filter(|time| time.is_zero()).copied();
        assert!(open(quick.collect()).is_err());
        // Off by 3 %.
        assert!(open(all.iter().map(|time| time.mul_f64(1.03)).collect()).is_err());
        // The longest is not the longest.
        let clipped = theory.stall.mul_f64(0.97);
        assert!(open(all.iter().map(|time| (*time).min(clipped)).collect()).is_err());

        let closed =
            |times: Vec<Duration>| check_closed(&theory, &synthetic("service", times.into_iter()));
        let held_up = theory.closed_held_up(CONNECTIONS) as usize;
        let times = |held_up| {
            let mut times = vec![Duration::from_micros(150); 20_000];
            times[..held_up].fill(theory.stall);
            times
        };
        assert!(closed(times(held_up)).is_ok());
        assert!(closed(times(held_up - 1)).is_err() && closed(times(held_up + 1)).is_err());
        assert!(closed(all).is_err());
    }
    let report = synthetic("response", due_times(&SELDOM));
    assert!(check_closed(&SELDOM, &report).is_err());
    assert!(check_open(&SELDOM, &json!({})).is_err());
}

#[test]
fn the_servers_own_account_is_understood() {
    let line = "INFO sockeye: all connections are gone: the run is over stalls=4 late_max_us=83";
    assert_eq!(read_end(line), (4, Duration::from_micros(83)));
}

/// Seen by a client that is no load tool: what is asked in a stall is answered at its end, and the
/// schedule of the next run is its own.
#[test]
fn the_server_keeps_to_its_schedule() {
    const STALLS: u32 = 4;
    let bench = Bench::start(theory(60, 100));
    let Theory { stall, period, .. } = bench.theory;
    for _run in 0..2 {
        let mut client = connect(bench.server.address);
        let begin = Instant::now();
        let (mut held_up, mut answered_at_once) = (0, 0);
        while held_up < STALLS {
            let sent = Instant::now();
            client.send(Message::text("now?")).expect("it is open");
            assert_eq!(client.read().expect("it is open"), Message::text("now?"));
            if sent.elapsed() < stall / 2 {
                answered_at_once += 1;
                assert!(held_up > 0, "the first message begins the schedule");
                continue;
            }
            // The schedule begins with the first message: after it was sent.
            assert!(begin.elapsed() >= period * held_up + stall, "too early: stall {held_up}");
            held_up += 1;
        }
        assert!(answered_at_once > 0, "it answers now and then");
        drop(client);
        let (stalls, late) = read_end(&bench.server.process.wait_for_error_line("the run is over"));
        println!("{stalls} stalls, up to {late:?} late");
        assert!((1..=STALLS.into()).contains(&stalls), "{stalls}");
    }
}

#[test]
fn a_schedule_that_cannot_be_is_one_clear_line() {
    let refused = |options: &[&str]| {
        let Ended { status, stdout, stderr } =
            Process::run(&[&["serve", "--listen", "127.0.0.1:0"], options].concat());
        assert!(!status.success() && stdout.is_empty() && stderr.len() == 1, "{stderr:?}");
        stderr.concat()
    };
    let line = refused(&["--app", "echo", "--stall", "10ms"]);
    assert_eq!(line, "sockeye: --stall and --stall-every need --app calibrate");
    let line = refused(&["--app", "calibrate", "--stall", "2s"]);
    assert_eq!(line, "sockeye: --stall (2s) must be less than --stall-every (1s)");
    let line = refused(&["--app", "calibrate", "--stall", "2"]);
    assert!(line.contains("--stall") && line.contains("write 2ms or 2s"), "{line}");
}
