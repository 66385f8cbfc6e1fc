//! From what was measured to the report: whether it may be believed, and whether it is good enough.

use super::clock::NS_PER_S;
use super::distribution::Distribution;
use super::machine::machine;
use super::pace::Pace;
use super::plan::{Plan, Scenario};
use super::record::Spread;
use super::report::{
    Class, ClientCheck, CloseCount, Compression, Fanout, Latency, LoadKind, Outcome, Phases,
    PushTimes, Report, SCHEMA_VERSION, SlowConsumers, Verdict,
};
use super::run::{Measured, Setup};
use super::slo::Slo;
use super::units;

/// Less of the target than this was not reached.
const RATE_RATIO_MIN: f64 = 0.99;
/// More of the response time than this is our own lateness,
const LAG_SHARE_MAX: f64 = 0.1;
/// but below this nobody is late.
const LAG_NS_MIN: u64 = 20_000;
/// A thread that has no time left.
const BUSY_SHARE_MAX: f64 = 0.97;
/// A server's process that has none left: then it was the bottleneck.
const SERVER_BUSY_SHARE_MIN: f64 = 0.95;

/// The report of a run.
pub(crate) fn report(setup: &Setup, measured: Measured, slo: &[Slo], is_cut_short: bool) -> Report {
    let plan = &setup.plan;
    let client = check(plan, &measured);
    let record = measured.record;
    let fanout = (plan.scenario == Scenario::Fanout).then(|| fanout(plan, &record));
    let slow = plan.slow.map(|slow| SlowConsumers {
        connections: (0..plan.connections).filter(|number| plan.is_slow(*number)).count() as u32,
        bytes_per_s: slow.bytes_per_s,
        messages_received: record.slow_received,
        closed: record.slow_closed,
        response: record.slow.clone().if_any(),
    });
    let compression = plan.deflate.as_ref().map(|_| Compression {
        agreed: measured.agreed,
        sent_plain_bytes: record.totals.bytes_sent,
        sent_wire_bytes: record.sent_wire_bytes,
        received_plain_bytes: record.totals.bytes_received,
        received_wire_bytes: record.received_wire_bytes,
    });
    let times = measured.push_times;
    let push_times = times.map(|times| PushTimes {
        timed: record.response.count(),
        untimed: record.untimed,
        future: record.future,
        ..times
    });
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        started_unix_ms: measured.started_unix_ms,
        command: Vec::new(),
        machine: machine(),
        plan: setup.info.clone(),
        verdict: Verdict::default(),
        measured_s: measured.measured_ns as f64 / NS_PER_S as f64,
        totals: record.totals,
        latency: Latency {
            response: record.response.if_any(),
            service: record.service.if_any(),
            lag: record.lag.if_any(),
            ping: record.ping.if_any(),
        },
        classes: plan
            .script
            .iter()
            .flat_map(|script| &script.classes)
            .zip(record.classes)
            .map(|(name, times)| Class { name: name.clone(), times })
            .collect(),
        phases: Phases {
            connect: record.connect.if_any(),
            tls: record.tls.if_any(),
            upgrade: record.upgrade.if_any(),
            first_message: record.first_message.if_any(),
        },
        fanout,
        push_times,
        slow,
        tls: measured.tls,
        compression,
        client,
        server: measured.server,
        slo: Vec::new(),
        search: None,
        errors: measured.errors,
        closes: record.closes.into_iter().map(|(code, count)| CloseCount { code, count }).collect(),
        series: measured.series,
    };
    if !is_cut_short {
        report.slo = slo.iter().map(|slo| slo.evaluate(&report)).collect();
    }
    let breaches = slo.iter().filter_map(|slo| slo.breach(&report)).collect();
    report.verdict = verdict(&report, breaches, is_cut_short);
    report
}

fn check(plan: &Plan, measured: &Measured) -> ClientCheck {
    let seconds = measured.measured_ns as f64 / NS_PER_S as f64;
    let totals = &measured.record.totals;
    let is_open_loop = plan.load == LoadKind::Open;
    let target = Pace::count_between(&plan.stages, 0.0, seconds);
    let due = totals.messages_sent + measured.record.missed;
    let counted = if plan.load == LoadKind::Receive {
        totals.messages_received
    } else {
        totals.messages_sent
    };
    let messages = totals.messages_sent.max(totals.messages_received);
    let per_s = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    ClientCheck {
        target_per_s: is_open_loop.then(|| per_s(target)),
        achieved_per_s: per_s(counted as f64),
        rate_ratio: (is_open_loop && due > 0).then(|| totals.messages_sent as f64 / due as f64),
        busy_share: measured.busy_share,
        cpu_s: measured.cpu_ns as f64 / NS_PER_S as f64,
        cpu_ns_per_message: if messages > 0 {
            measured.cpu_ns as f64 / messages as f64
        } else {
            0.0
        },
        queued_max: measured.record.queued_max,
        completion_overflows: measured.completion_overflows,
    }
}

fn fanout(plan: &Plan, record: &super::record::Record) -> Fanout {
    let subscribers = (0..plan.connections)
        .filter(|number| !plan.publishes(*number) && !plan.is_slow(*number))
        .count() as u64;
    let published = record.totals.messages_sent;
    let delivered = record.deliveries.delivered;
    let mut skew = Distribution::default();
    for Spread { first_ns, last_ns, count } in record.deliveries.spreads.iter().flatten() {
        if *count > 1 {
            skew.record(last_ns - first_ns);
        }
    }
    let due = published * subscribers;
    let has_sequence = plan.push_time.is_none();
    Fanout {
        publishers: plan.publishers as u32,
        subscribers: subscribers as u32,
        published,
        delivered,
        reach: if due > 0 { delivered as f64 / due as f64 } else { 0.0 },
        skew: skew.if_any(),
        gaps: has_sequence.then_some(record.deliveries.gaps),
        duplicates: has_sequence.then_some(record.deliveries.duplicates),
        reordered: has_sequence.then_some(record.deliveries.reordered),
    }
}

fn verdict(report: &Report, breaches: Vec<String>, is_cut_short: bool) -> Verdict {
    let failures = failures(report);
    let doubts = doubts(report);
    let came = report.totals.messages_received > 0 || report.totals.connections_opened > 0;
    let outcome = if is_cut_short {
        Outcome::Interrupted
    } else if !doubts.is_empty() && came {
        Outcome::Invalid
    } else if !failures.is_empty() {
        Outcome::Failed
    } else if !breaches.is_empty() {
        Outcome::SloBreached
    } else {
        Outcome::Ok
    };
    let mut reasons = Vec::new();
    if is_cut_short {
        reasons.push("the run was interrupted: what is here was measured until then".into());
    } else {
        reasons.extend(doubts);
    }
    reasons.extend(failures);
    if !is_cut_short {
        reasons.extend(breaches);
    }
    Verdict { outcome, reasons }
}

/// Why the client, not the server, was measured.
fn doubts(report: &Report) -> Vec<String> {
    let (client, mut doubts) = (&report.client, Vec::new());
    let server_share = report.server.as_ref().map_or(0.0, |server| server.cpu_share);
    let remedy = "give it more --threads or a machine of its own, or lower the load";
    if let Some(ratio) = client.rate_ratio
        && ratio < RATE_RATIO_MIN
        && report.totals.connections_opened > 0
    {
        doubts.push(format!(
            "the client sent only {} of what was due: {remedy}",
            units::share(ratio)
        ));
    }
    if let (Some(lag), Some(response)) = (&report.latency.lag, &report.latency.response) {
        let (lag_ns, response_ns) = (lag.quantile_ns(0.99), response.quantile_ns(0.99));
        if lag_ns >= LAG_NS_MIN && lag_ns as f64 > LAG_SHARE_MAX * response_ns as f64 {
            doubts.push(format!(
                "the client itself was late, by {} at p99 of the {} that answers took: {remedy}",
                units::time_ns(lag_ns),
                units::time_ns(response_ns)
            ));
        }
    }
    if client.busy_share >= BUSY_SHARE_MAX && server_share < SERVER_BUSY_SHARE_MIN {
        doubts.push(format!(
            "a thread of the client was busy {} of the time: {remedy}; if it was the server that \
             had no time left, --server-pid shows it",
            units::share(client.busy_share)
        ));
    }
    doubts
}

/// An hour: all that is older looks the same.
const AGE_NS_MAX: u64 = 3600 * NS_PER_S;

/// Why the times inside messages are of no use.
fn useless_times(report: &Report) -> Option<String> {
    let PushTimes { pointer, timed, untimed, future, .. } = report.push_times.as_ref()?;
    let ages = report.latency.response.as_ref();
    if *timed == 0 && *untimed > *future {
        return Some(format!("messages have no time at {pointer}: check --push-time"));
    }
    if *timed == 0 && *future > 0 {
        return Some(format!(
            "all messages come from the future by their time at {pointer}: check its unit, or use \
             --push-clock estimate"
        ));
    }
    let are_old = ages.is_some_and(|ages| ages.quantile_ns(0.5) >= AGE_NS_MAX);
    are_old.then(|| {
        format!(
            "most messages are an hour old by their time at {pointer}, or older: check its unit"
        )
    })
}

/// What went wrong.
pub(crate) fn failures(report: &Report) -> Vec<String> {
    let (totals, mut failures) = (&report.totals, Vec::new());
    let mut count = |count: u64, what: &str, became: &str| {
        if count > 0 {
            let were = if count == 1 { "was" } else { "were" };
            failures.push(format!("{} {were} {became}", units::counted(count, what)));
        }
    };
    count(totals.connections_failed, "connection", "not opened");
    count(totals.connections_lost, "connection", "lost");
    count(totals.mismatches, "answer", "not what it must be");
    count(totals.unanswered, "message", "not answered");
    if let Some(worst) = report.errors.first() {
        failures.push(format!("most often ({}): {}", units::count(worst.count), worst.what));
    }
    failures.extend(useless_times(report));
    let expects = match report.plan.scenario.as_str() {
        "idle" => false,
        _ => report.measured_s > 0.0,
    };
    if failures.is_empty() && expects && totals.messages_received == 0 {
        failures.push("no message came: check --scenario, and that the server sends".into());
    }
    failures
}
