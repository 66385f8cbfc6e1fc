//! A report as Prometheus reads it (text exposition format 0.0.4), for a textfile collector or a
//! push gateway.

use super::exposition::{Exposition, Kind};
use super::facts;
use super::table;
use crate::load::report::{LoadKind, Outcome, PlanInfo, Report, Totals};

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut out = Exposition::default();
    if report.verdict.outcome == Outcome::Invalid {
        out.comment("INVALID", facts::verdict_sentence(Outcome::Invalid));
    }
    if report.plan.load == LoadKind::Closed {
        out.comment("CAUTION", facts::CLOSED_LOOP);
    }
    about(&mut out, report);
    for (name, times) in table::latencies(report) {
        let metric = format!("{name}_seconds");
        out.summary(&metric, &format!("Latency of messages: {name}."), &[("", times)]);
    }
    let phases = table::phases(report);
    if !phases.is_empty() {
        out.summary("phase_seconds", "Steps of opening a connection.", &phases);
    }
    traffic(&mut out, report);
    client_and_server(&mut out, report);
    out.text()
}

/// What was run.
pub(super) fn info(out: &mut Exposition, plan: &PlanInfo, version: &str) {
    let labels = [
        ("version", version),
        ("scenario", &plan.scenario),
        ("url", &plan.url),
        ("load", facts::load_name(plan.load)),
        ("backend", &plan.backend),
    ];
    out.family("info", Kind::Gauge, "What was run.");
    out.sample("", &labels, 1.0);
}

/// How it ended.
pub(super) fn outcome(out: &mut Exposition, outcome: Outcome) {
    out.family("outcome", Kind::Gauge, "How the run ended: 1 for the outcome that it had.");
    for possible in facts::OUTCOMES {
        let is_it = f64::from(u8::from(possible == outcome));
        out.sample("", &[("outcome", facts::outcome_name(possible))], is_it);
    }
}

fn about(out: &mut Exposition, report: &Report) {
    info(out, &report.plan, &report.version);
    outcome(out, report.verdict.outcome);
    let started = report.started_unix_ms as f64 / 1e3;
    out.gauge("start_time_seconds", "When the run began, since 1970.", started);
    out.gauge("duration_seconds", "Seconds of the measurement.", report.measured_s);
    let connections = f64::from(report.plan.connections);
    out.gauge("connections_planned", "Connections that were to be opened.", connections);
}

/// What only grows.
pub(super) fn totals(out: &mut Exposition, totals: &Totals) {
    for (name, help, number) in [
        ("messages_sent_total", "Messages sent.", totals.messages_sent),
        ("messages_received_total", "Messages received.", totals.messages_received),
        ("messages_pushed_total", "Of these pushed, not answers.", totals.pushed),
        ("payload_sent_bytes_total", "Payload sent.", totals.bytes_sent),
        ("payload_received_bytes_total", "Payload received.", totals.bytes_received),
        ("messages_unanswered_total", "Messages without an answer.", totals.unanswered),
        ("mismatches_total", "Answers that were wrong.", totals.mismatches),
        ("connections_opened_total", "Connections opened.", totals.connections_opened),
        ("connections_failed_total", "Attempts that came to nothing.", totals.connections_failed),
        ("connections_lost_total", "Connections lost.", totals.connections_lost),
        ("pings_sent_total", "Pings sent.", totals.pings_sent),
        ("pongs_received_total", "Pongs received.", totals.pongs_received),
    ] {
        out.counter(name, help, number as f64);
    }
}

/// Errors by their kind, and close frames by their code.
pub(super) fn errors<'a>(
    out: &mut Exposition,
    errors: impl Iterator<Item = (&'a str, u64)>,
    closes: impl Iterator<Item = (u16, u64)>,
) {
    let mut errors = errors.peekable();
    if errors.peek().is_some() {
        out.family("errors_total", Kind::Counter, "Errors by their kind.");
    }
    errors.for_each(|(error, count)| out.sample("", &[("error", error)], count as f64));
    let mut closes = closes.peekable();
    if closes.peek().is_some() {
        out.family("closes_total", Kind::Counter, "Close frames of the server by their code.");
    }
    closes.for_each(|(code, count)| out.sample("", &[("code", &code.to_string())], count as f64));
}

fn traffic(out: &mut Exposition, report: &Report) {
    totals(out, &report.totals);
    let peak = report.totals.connections_peak as f64;
    out.gauge("connections_peak", "Connections open at a time, at most.", peak);
    let kinds = report.errors.iter().map(|error| (error.what.as_str(), error.count));
    errors(out, kinds, report.closes.iter().map(|close| (close.code, close.count)));
    if let Some(fanout) = &report.fanout {
        out.gauge("reach_ratio", "Deliveries that came, of those due.", fanout.reach);
    }
    if let Some(times) = &report.push_times {
        let clock = facts::clock_name(report).unwrap_or_default();
        let help = "Our clock less that of pushed messages.";
        out.family("clock_offset_seconds", Kind::Gauge, help);
        out.sample("", &[("clock", clock)], times.offset_ns as f64 / 1e9);
        let help = "Pushed messages by the time inside them.";
        out.family("messages_timed_total", Kind::Counter, help);
        let counts = [("good", times.timed), ("none", times.untimed), ("future", times.future)];
        for (time, count) in counts {
            out.sample("", &[("time", time)], count as f64);
        }
    }
    if !report.slo.is_empty() {
        out.family("slo_met", Kind::Gauge, "Whether a limit was kept.");
        for slo in &report.slo {
            out.sample("", &[("slo", &slo.text)], f64::from(u8::from(slo.met)));
        }
    }
    let search = report.search.as_ref();
    if let Some(found) = search.and_then(|search| search.found_per_s) {
        out.gauge("found_messages_per_second", "The highest rate that kept all limits.", found);
    }
}

fn client_and_server(out: &mut Exposition, report: &Report) {
    let check = &report.client;
    if let Some(target) = check.target_per_s {
        out.gauge("target_messages_per_second", "The rate that was to be sent.", target);
    }
    let achieved = check.achieved_per_s;
    out.gauge("achieved_messages_per_second", "The rate that was sent.", achieved);
    if let Some(ratio) = check.rate_ratio {
        out.gauge("rate_ratio", "Achieved by target rate.", ratio);
    }
    out.gauge("client_busy_ratio", "Busy share of the busiest thread.", check.busy_share);
    let help = "Processor time of this client.";
    out.counter("client_cpu_seconds_total", help, check.cpu_s);
    let Some(server) = &report.server else { return };
    out.gauge("server_cpu_ratio", "Processors that the server kept busy.", server.cpu_share);
    let per_message = server.cpu_ns_per_message / 1e9;
    let help = "Processor time of the server for each message.";
    out.gauge("server_cpu_seconds_per_message", help, per_message);
    let resident = server.rss_peak_bytes as f64;
    out.gauge("server_resident_memory_bytes", "Memory of the server, at most.", resident);
    if let Some(bytes) = server.bytes_per_connection {
        let help = "Memory of the server for each connection.";
        out.gauge("server_connection_memory_bytes", help, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::samples;
    use super::*;

    /// A line of the format: name, labels and a number.
    fn is_sample(line: &str) -> bool {
        let Some((series, value)) = line.rsplit_once(' ') else { return false };
        let name = series.split('{').next().unwrap_or_default();
        let labels = &series[name.len()..];
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && (labels.is_empty() || labels.starts_with('{') && labels.ends_with("\"}"))
            && value.parse::<f64>().is_ok_and(f64::is_finite)
    }

    #[test]
    fn every_line_is_of_the_format() {
        for (name, report) in samples::all() {
            let text = render(&report);
            assert!(text.ends_with('\n'), "{name}");
            let mut families = HashSet::new();
            let mut series = HashSet::new();
            for line in text.lines() {
                if let Some(family) = line.strip_prefix("# TYPE ") {
                    assert!(families.insert(family.to_owned()), "{name}: twice: {line}");
                } else if !line.starts_with('#') {
                    assert!(is_sample(line), "{name}: {line}");
                    let one = line.rsplit_once(' ').unwrap().0.to_owned();
                    assert!(series.insert(one), "{name}: twice: {line}");
                }
            }
            assert!(families.len() > 10, "{name}");
        }
    }

    #[test]
    fn what_must_be_known_is_there() {
        let text = render(&samples::invalid());
        assert!(text.starts_with("# INVALID: The client was the bottleneck."), "{text}");
        assert!(text.contains("sockeye_load_outcome{outcome=\"invalid\"} 1\n"), "{text}");
        let text = render(&samples::closed());
        assert!(text.starts_with("# CAUTION: closed loop"), "{text}");
        let text = render(&samples::rich());
        assert!(text.contains("sockeye_load_response_seconds{quantile=\"0.99\"} 0.0"), "{text}");
    }
}
