//! A report as Prometheus reads it (text exposition format 0.0.4), for a textfile collector or a
//! push gateway.

use std::fmt::Write as _;

use super::facts;
use super::table;
use crate::load::distribution::Distribution;
use crate::load::report::{LoadKind, Outcome, Report};

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut out = Exposition(String::new());
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
    out.0
}

fn about(out: &mut Exposition, report: &Report) {
    let plan = &report.plan;
    let labels = [
        ("version", report.version.as_str()),
        ("scenario", &plan.scenario),
        ("url", &plan.url),
        ("load", facts::load_name(plan.load)),
        ("backend", &plan.backend),
    ];
    out.family("info", "gauge", "What was run.");
    out.sample("info", &labels, 1.0);
    out.family("outcome", "gauge", "How the run ended: 1 for the outcome that it had.");
    for outcome in facts::OUTCOMES {
        let is_it = f64::from(u8::from(report.verdict.outcome == outcome));
        out.sample("outcome", &[("outcome", facts::outcome_name(outcome))], is_it);
    }
    let started = report.started_unix_ms as f64 / 1e3;
    out.gauge("start_time_seconds", "When the run began, since 1970.", started);
    out.gauge("duration_seconds", "Seconds of the measurement.", report.measured_s);
    let connections = f64::from(plan.connections);
    out.gauge("connections_planned", "Connections that were to be opened.", connections);
}

fn traffic(out: &mut Exposition, report: &Report) {
    let totals = &report.totals;
    for (name, help, number) in [
        ("messages_sent_total", "Messages sent.", totals.messages_sent),
        ("messages_received_total", "Messages received.", totals.messages_received),
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
        out.family(name, "counter", help);
        out.sample(name, &[], number as f64);
    }
    let peak = totals.connections_peak as f64;
    out.gauge("connections_peak", "Connections open at a time, at most.", peak);
    if !report.errors.is_empty() {
        out.family("errors_total", "counter", "Errors by their kind.");
        for error in &report.errors {
            out.sample("errors_total", &[("error", &error.what)], error.count as f64);
        }
    }
    if !report.closes.is_empty() {
        out.family("closes_total", "counter", "Close frames of the server by their code.");
        for close in &report.closes {
            let code = close.code.to_string();
            out.sample("closes_total", &[("code", &code)], close.count as f64);
        }
    }
    if let Some(fanout) = &report.fanout {
        out.gauge("reach_ratio", "Deliveries that came, of those due.", fanout.reach);
    }
    if let Some(times) = &report.push_times {
        let clock = facts::clock_name(report).unwrap_or_default();
        out.family("clock_offset_seconds", "gauge", "Our clock less that of pushed messages.");
        out.sample("clock_offset_seconds", &[("clock", clock)], times.offset_ns as f64 / 1e9);
        out.family("pushed_total", "counter", "Pushed messages by the time inside them.");
        let counts = [("good", times.timed), ("none", times.untimed), ("future", times.future)];
        for (time, count) in counts {
            out.sample("pushed_total", &[("time", time)], count as f64);
        }
    }
    if !report.slo.is_empty() {
        out.family("slo_met", "gauge", "Whether a limit was kept.");
        for slo in &report.slo {
            out.sample("slo_met", &[("slo", &slo.text)], f64::from(u8::from(slo.met)));
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
    out.family("client_cpu_seconds_total", "counter", help);
    out.sample("client_cpu_seconds_total", &[], check.cpu_s);
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

struct Exposition(String);

impl Exposition {
    fn comment(&mut self, word: &str, text: &str) {
        let _ = writeln!(self.0, "# {word}: {text}");
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP sockeye_load_{name} {help}");
        let _ = writeln!(self.0, "# TYPE sockeye_load_{name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "sockeye_load_{name}");
        if !labels.is_empty() {
            let labels =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
            let _ = write!(self.0, "{{{}}}", labels.collect::<Vec<_>>().join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// Quantiles of distributions; their names are labels where they have any.
    fn summary(&mut self, name: &str, help: &str, all: &[(&str, &Distribution)]) {
        self.family(name, "summary", help);
        for (phase, times) in all {
            let labels: &[_] = if phase.is_empty() { &[] } else { &[("phase", *phase)] };
            for quantile in ["0.5", "0.9", "0.99", "0.999", "0.9999", "1"] {
                let share = quantile.parse().unwrap_or(1.0);
                let labels = [labels, &[("quantile", quantile)]].concat();
                self.sample(name, &labels, times.quantile_ns(share) as f64 / 1e9);
            }
            let sum = times.mean_ns() * times.count() as f64 / 1e9;
            self.sample(&format!("{name}_sum"), labels, sum);
            self.sample(&format!("{name}_count"), labels, times.count() as f64);
        }
    }
}

/// The value of a label, on one line.
fn escaped(value: &str) -> String {
    facts::printable(value).replace('\\', "\\\\").replace('"', "\\\"")
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
        assert_eq!(escaped("a\"b\\c"), "a\\\"b\\\\c");
        // Never a second line.
        assert_eq!(escaped("a\nb"), "a\\\\u{a}b");
    }
}
