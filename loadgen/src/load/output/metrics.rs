//! A run as Prometheus sees it while it lasts: a page to be scraped, and remote write. Both have
//! the same figures, which are published once for each window.

mod endpoint;
mod post;
mod protobuf;
mod remote_write;

use std::fs;
use std::io;
use std::net::SocketAddr;

use clap::Args;
use sockeye_codec::handshake::is_token;

use self::endpoint::Endpoint;
use self::post::{Post, Url};
use self::remote_write::RemoteWrite;
use super::exposition::{Exposition, Kind, LABELS};
use super::{facts, prometheus};
use crate::load::options;
use crate::load::report::{
    Latency, Live, LoadKind, Observer, Outcome, Phase, PlanInfo, Report, Totals,
};
use crate::load::tally::{Step, Tally};

/// Who sees the run by its counters.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Prometheus, while it runs")]
pub(crate) struct MetricsOptions {
    /// Show http://ADDRESS/metrics, such as 127.0.0.1:9464; with port 0 the system chooses one
    ///
    /// Figures are renewed for each --window. Counters and histograms count from the first
    /// connection on, warming up included.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Send the same to a receiver of remote write, for each --window and at the end
    ///
    /// Such as http://127.0.0.1:9090/api/v1/write. If it does not take them that is said at the
    /// end; the run does not care.
    #[arg(long, value_name = "URL")]
    remote_write: Option<Url>,
    /// A header for the receiver, such as "Authorization: Bearer 123"; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header, requires = "remote_write")]
    remote_write_header: Vec<(String, String)>,
    /// A label for all of it, such as zone=eu; may be repeated
    ///
    /// Remote write has job=sockeye and instance=HOSTNAME unless they are given here.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    metric_label: Vec<(String, String)>,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = options::parse_header(text)?;
    if !is_token(name.as_bytes()) {
        return Err(format!("{name:?} is no name of a header"));
    }
    if value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err("a header has one line".into());
    }
    Ok((name, value))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    let is_name = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphabetic() || byte == b'_' || at > 0 && byte.is_ascii_digit()
    };
    if name.is_empty() || !name.bytes().enumerate().all(is_name) {
        return Err(format!("{name:?} is no name of a label: letters, digits and _ make one"));
    }
    if name.starts_with("__") || LABELS.contains(&name) {
        return Err(format!("the label {name} has a meaning already"));
    }
    Ok((name.to_owned(), facts::printable(value)))
}

impl MetricsOptions {
    pub(crate) const fn is_wanted(&self) -> bool {
        self.metrics.is_some() || self.remote_write.is_some()
    }

    /// What is wrong with them together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.metric_label.is_empty() && !self.is_wanted() {
            return Err("--metric-label: give --metrics or --remote-write as well".into());
        }
        let mut names: Vec<_> = self.metric_label.iter().map(|(name, _)| name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("--metric-label: there are two of {}", pair[0])),
            None => Ok(()),
        }
    }

    /// Listens, and begins to send, if that was asked for.
    pub(crate) fn start(&self, plan: &PlanInfo) -> Result<Option<Metrics>, String> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let first = exposition(&before(plan), &Tally::default(), &self.metric_label);
        let endpoint = self.metrics.map(|address| {
            let started = Endpoint::start(address, &first.text());
            started.map_err(|error| format!("--metrics {address}: {}", explain(&error)))
        });
        let endpoint = endpoint.transpose()?;
        if let Some(endpoint) = &endpoint {
            eprintln!("sockeye: metrics at http://{}/metrics", endpoint.address());
        }
        let remote_write = self.remote_write.as_ref().map(|url| {
            let post = Post::new(url, &self.remote_write_header)?;
            RemoteWrite::start(post, self.target_labels()).map_err(|error| error.to_string())
        });
        let remote_write = remote_write.transpose();
        let remote_write = remote_write.map_err(|error| format!("--remote-write: {error}"))?;
        let labels = self.metric_label.clone();
        let mut metrics =
            Metrics { labels, earlier: Tally::default(), last: first, endpoint, remote_write };
        metrics.publish();
        Ok(Some(metrics))
    }

    /// What a scrape would add to each series.
    fn target_labels(&self) -> Vec<(String, String)> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        [("job", "sockeye"), ("instance", host.trim())]
            .into_iter()
            .filter(|(name, _)| self.metric_label.iter().all(|(given, _)| given != name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        _ => error.to_string(),
    }
}

/// Publishes what the run tells.
pub(crate) struct Metrics {
    labels: Vec<(String, String)>,
    /// Of the runs of a search that are over: counters never go back.
    earlier: Tally,
    last: Exposition,
    endpoint: Option<Endpoint>,
    remote_write: Option<RemoteWrite>,
}

impl Metrics {
    fn publish(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.show(&self.last.text());
        }
        if let Some(remote_write) = &mut self.remote_write {
            remote_write.push(&self.last);
        }
    }

    /// The last figures, with how it ended. What went wrong with sending is one line.
    pub(crate) fn finish(mut self, report: &Report) -> Result<(), String> {
        let outcome = report.verdict.outcome;
        if outcome == Outcome::Invalid {
            self.last.comment("INVALID", facts::verdict_sentence(outcome));
        }
        prometheus::outcome(&mut self.last, outcome);
        self.publish();
        let Some(remote_write) = self.remote_write.take() else { return Ok(()) };
        remote_write.finish(&self.last).map_err(|error| format!("--remote-write: {error}"))
    }
}

impl Observer for Metrics {
    fn window(&mut self, live: &Live<'_>) -> io::Result<()> {
        let mut tally = self.earlier.clone();
        live.tally.into_iter().for_each(|of_run| tally.add(of_run));
        self.last = exposition(live, &tally, &self.labels);
        self.publish();
        Ok(())
    }

    fn end(&mut self, live: &Live<'_>) -> io::Result<()> {
        live.tally.into_iter().for_each(|of_run| self.earlier.add(of_run));
        self.last = exposition(live, &self.earlier, &self.labels);
        Ok(())
    }
}

/// A run that has not begun.
fn before(plan: &PlanInfo) -> Live<'_> {
    const NOTHING: &Totals = &Totals {
        messages_sent: 0,
        messages_received: 0,
        pushed: 0,
        bytes_sent: 0,
        bytes_received: 0,
        unanswered: 0,
        mismatches: 0,
        connections_opened: 0,
        connections_failed: 0,
        connections_lost: 0,
        connections_peak: 0,
        pings_sent: 0,
        pongs_received: 0,
    };
    const NO_LATENCY: &Latency = &Latency { response: None, service: None, lag: None, ping: None };
    Live {
        plan,
        phase: Phase::Connecting,
        elapsed_s: 0.0,
        series: &[],
        totals: NOTHING,
        latency: NO_LATENCY,
        errors: &[],
        closes: &[],
        server: None,
        open: 0,
        tally: None,
    }
}

/// A series that is there once stays to the end, so that none seems to have stopped.
fn exposition(live: &Live<'_>, tally: &Tally, labels: &[(String, String)]) -> Exposition {
    let mut out = Exposition::with_labels(labels);
    let load = live.plan.load;
    if load == LoadKind::Closed {
        out.comment("CAUTION", facts::CLOSED_LOOP);
    }
    prometheus::info(&mut out, live.plan, env!("CARGO_PKG_VERSION"));
    gauges(&mut out, live);
    // What is published is answered by nobody.
    let is_answered = load != LoadKind::Receive && live.plan.scenario != "fanout";
    let latencies = [
        ("response", &tally.response, load != LoadKind::Closed),
        ("service", &tally.service, is_answered),
        ("lag", &tally.lag, load == LoadKind::Open),
        ("ping", &tally.ping, tally.ping.count() > 0),
    ];
    for (name, times, _) in latencies.into_iter().filter(|(_, _, is_there)| *is_there) {
        let help = format!("Latency of messages: {name}.");
        out.histogram(&format!("{name}_seconds"), &help, &[("", times)]);
    }
    let steps = Step::ALL.map(Step::name).into_iter().zip(&tally.steps);
    let steps: Vec<_> = steps.filter(|(_, times)| times.count() > 0).collect();
    if !steps.is_empty() {
        out.histogram("phase_seconds", "Steps of opening a connection.", &steps);
    }
    prometheus::totals(&mut out, &tally.totals);
    let errors = tally.errors.iter().map(|(what, count)| (&**what, *count));
    prometheus::errors(&mut out, errors, tally.closes.iter().map(|(code, count)| (*code, *count)));
    out
}

fn gauges(out: &mut Exposition, live: &Live<'_>) {
    const PHASES: [(Phase, &str); 4] = [
        (Phase::Connecting, "connecting"),
        (Phase::WarmUp, "warm_up"),
        (Phase::Measuring, "measuring"),
        (Phase::Closing, "closing"),
    ];
    out.family("phase", Kind::Gauge, "What the run is doing: 1 for the phase that it is in.");
    for (phase, name) in PHASES {
        out.sample("", &[("phase", name)], f64::from(u8::from(phase == live.phase)));
    }
    let planned = f64::from(live.plan.connections);
    out.gauge("connections_planned", "Connections that were to be opened.", planned);
    out.gauge("connections_open", "Connections open now.", live.open as f64);
    let peak = live.totals.connections_peak as f64;
    out.gauge("connections_peak", "Connections open at a time, at most.", peak);
    let window = live.series.last();
    if live.plan.load == LoadKind::Open {
        let target = window.and_then(|window| window.target_per_s).unwrap_or(0.0);
        let help = "The rate that was to be sent in the last window.";
        out.gauge("target_messages_per_second", help, target);
    }
    let achieved = window.map_or(0.0, |window| {
        let is_receiving = live.plan.load == LoadKind::Receive;
        let count = if is_receiving { window.received } else { window.sent };
        if window.seconds > 0.0 { count as f64 / window.seconds } else { 0.0 }
    });
    let help = "The rate that was sent in the last window.";
    out.gauge("achieved_messages_per_second", help, achieved);
    let busy = window.map_or(0.0, |window| window.busy_share);
    out.gauge("client_busy_ratio", "Busy share of the busiest thread.", busy);
    let mut windows = live.series.iter().rev();
    if let Some(cpu) = windows.clone().find_map(|window| window.server_cpu_share) {
        out.gauge("server_cpu_ratio", "Processors that the server kept busy.", cpu);
    }
    if let Some(bytes) = windows.find_map(|window| window.server_rss_bytes) {
        out.gauge("server_resident_memory_bytes", "Memory of the server.", bytes as f64);
    }
}

#[cfg(test)]
mod tests;
