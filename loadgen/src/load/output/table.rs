//! The tables of a report, for all formats that people read.

use super::facts;
use crate::load::distribution::Distribution;
use crate::load::report::{LoadKind, Phase, Report, Window};
use crate::load::units::{bytes, count, counted, number, rate, seconds, share, time, time_ns};

/// A table: the first cell of each row says what the row is.
pub(super) struct Table {
    pub(super) title: &'static str,
    /// One for each column.
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// The other columns are words, not figures.
    pub(super) of_words: bool,
    pub(super) note: Option<String>,
}

impl Table {
    fn figures(title: &'static str, head: &[&'static str]) -> Self {
        Self { title, head: head.to_vec(), rows: Vec::new(), of_words: false, note: None }
    }

    fn words(title: &'static str) -> Self {
        let head = vec!["What", "Value"];
        Self { title, head, rows: Vec::new(), of_words: true, note: None }
    }

    fn pairs(title: &'static str) -> Self {
        Self::figures(title, &["What", "Figure"])
    }

    fn row(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.rows.push(vec![what.into(), value.into()]);
    }

    fn row_if(&mut self, what: &str, value: Option<String>) {
        if let Some(value) = value {
            self.row(what, value);
        }
    }

    /// `None` if it has no row.
    pub(super) fn if_any(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }
}

/// Response, service, lag and ping, as far as they were measured.
pub(super) fn latencies(report: &Report) -> Vec<(&'static str, &Distribution)> {
    let latency = &report.latency;
    let all = [
        ("response", &latency.response),
        ("service", &latency.service),
        ("lag", &latency.lag),
        ("ping", &latency.ping),
    ];
    all.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?))).collect()
}

/// The steps of opening a connection, as far as they were taken.
pub(super) fn phases(report: &Report) -> Vec<(&'static str, &Distribution)> {
    let phases = &report.phases;
    let all = [
        ("connect", &phases.connect),
        ("TLS", &phases.tls),
        ("upgrade", &phases.upgrade),
        ("first message", &phases.first_message),
    ];
    all.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?))).collect()
}

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn distributions<'a>(
    title: &'static str,
    rows: impl IntoIterator<Item = (&'a str, &'a Distribution)>,
) -> Table {
    let mut table = Table::figures(title, &["Time"]);
    table.head.extend(QUANTILES.map(|(name, _)| name));
    table.head.push("max");
    for (name, times) in rows {
        let mut row = vec![name.to_owned()];
        row.extend(QUANTILES.map(|(_, quantile)| time_ns(times.quantile_ns(quantile))));
        row.push(time_ns(times.max_ns()));
        table.rows.push(row);
    }
    table
}

/// The three answers to "how long?".
pub(super) fn latency(report: &Report) -> Table {
    let mut table = distributions("Latency", latencies(report));
    if report.plan.load == LoadKind::Closed {
        table.note = Some(facts::CLOSED_LOOP.to_owned());
    }
    table
}

/// All figures of the latencies, a column for each.
pub(super) fn latency_in_full(report: &Report) -> Table {
    type Figure = fn(&Distribution) -> String;
    let figures: [(&str, Figure); 12] = [
        ("count", |times| count(times.count())),
        ("min", |times| time_ns(times.min_ns())),
        ("mean", |times| time(times.mean_ns())),
        ("standard deviation", |times| time(times.stdev_ns())),
        ("p50", |times| time_ns(times.quantile_ns(0.5))),
        ("p75", |times| time_ns(times.quantile_ns(0.75))),
        ("p90", |times| time_ns(times.quantile_ns(0.9))),
        ("p99", |times| time_ns(times.quantile_ns(0.99))),
        ("p99.9", |times| time_ns(times.quantile_ns(0.999))),
        ("p99.99", |times| time_ns(times.quantile_ns(0.9999))),
        ("p99.999", |times| time_ns(times.quantile_ns(0.999_99))),
        ("max", |times| time_ns(times.max_ns())),
    ];
    let all = latencies(report);
    let mut table = Table::figures("Latency in full", &["Figure"]);
    table.head.extend(all.iter().map(|(name, _)| *name));
    if !all.is_empty() {
        for (name, figure) in figures {
            let mut row = vec![name.to_owned()];
            row.extend(all.iter().map(|(_, times)| figure(times)));
            table.rows.push(row);
        }
    }
    table
}

/// Everything but latencies and what was planned, each only where there is something to say.
pub(super) fn results(report: &Report) -> Vec<Table> {
    let tables = [
        slo(report),
        distributions(
            "Measured by the scenario file",
            report.classes.iter().map(|class| (class.name.as_str(), &class.times)),
        ),
        distributions("Opening a connection", phases(report)),
        traffic(report),
        errors(report),
        closes(report),
        fanout(report),
        push_times(report),
        slow(report),
        compression(report),
        search(report),
        client(report),
        server(report),
    ];
    tables.into_iter().filter_map(Table::if_any).collect()
}

fn slo(report: &Report) -> Table {
    let mut table = Table::figures("Limits", &["Limit", "Bound", "Measured", "Result"]);
    for slo in &report.slo {
        let [limit, measured] = facts::slo_figures(slo);
        let result = if slo.met { "kept" } else { "BROKEN" };
        table.rows.push(vec![slo.text.clone(), limit, measured, result.to_owned()]);
    }
    table
}

fn traffic(report: &Report) -> Table {
    let totals = &report.totals;
    let mut table = Table::pairs("Traffic");
    let check = &report.client;
    let per_s = |messages: u64| {
        if report.measured_s > 0.0 { messages as f64 / report.measured_s } else { 0.0 }
    };
    table.row_if("target rate", check.target_per_s.map(rate));
    let scenario = report.plan.scenario.as_str();
    if report.plan.load != LoadKind::Receive {
        table.row("achieved rate", rate(check.achieved_per_s));
    }
    if scenario == "storm" {
        table.row("connections begun", count(totals.messages_sent));
        table.row("of these, opened", count(totals.messages_received));
    } else if scenario != "idle" || totals.messages_received > 0 {
        table.row("received rate", rate(per_s(totals.messages_received)));
        if report.plan.load != LoadKind::Receive {
            table.row("messages sent", count(totals.messages_sent));
        }
        // What slow ones have got has a table of its own.
        let fast = if report.slow.is_some() { ", slow ones apart" } else { "" };
        table.row(format!("messages received{fast}"), count(totals.messages_received));
        if report.plan.answer_id.is_some() {
            table.row("of these pushed, not answers", count(totals.pushed));
        }
        if report.plan.load != LoadKind::Receive {
            table.row("payload sent", bytes(totals.bytes_sent));
        }
        table.row(format!("payload received{fast}"), bytes(totals.bytes_received));
    }
    if matches!(scenario, "echo" | "slow" | "storm") {
        table.row("not answered at the end", count(totals.unanswered));
    }
    let is_checked = report.plan.verify || report.plan.answer_id.is_some();
    if is_checked && matches!(scenario, "echo" | "slow" | "file") {
        table.row("answers that were wrong", count(totals.mismatches));
    }
    table.row("connections opened, from the beginning", count(totals.connections_opened));
    table.row("connections open at a time, most", count(totals.connections_peak));
    table.row("connections that failed", count(totals.connections_failed));
    table.row("connections that were lost", count(totals.connections_lost));
    if totals.pings_sent > 0 {
        table.row("pings sent", count(totals.pings_sent));
        table.row("pongs received", count(totals.pongs_received));
    }
    table
}

fn errors(report: &Report) -> Table {
    let mut table = Table::figures("Errors", &["Error", "Count", "First at"]);
    for error in &report.errors {
        let first_at = seconds(error.first_at_s);
        table.rows.push(vec![error.what.clone(), count(error.count), first_at]);
    }
    table
}

fn closes(report: &Report) -> Table {
    let mut table = Table::figures("Closed by the server", &["Close code", "Count"]);
    for close in &report.closes {
        let code = format!("{} {}", close.code, facts::close_code(close.code));
        table.row(code, count(close.count));
    }
    table
}

fn fanout(report: &Report) -> Table {
    let mut table = Table::pairs("Fan-out");
    let Some(fanout) = &report.fanout else { return table };
    table.row("publishers", count(fanout.publishers.into()));
    table.row("subscribers", count(fanout.subscribers.into()));
    table.row("published", count(fanout.published));
    table.row("delivered", count(fanout.delivered));
    table.row("reach", share(fanout.reach));
    if let Some(skew) = &fanout.skew {
        table.row("first to last subscriber, p50", time_ns(skew.quantile_ns(0.5)));
        table.row("first to last subscriber, p99", time_ns(skew.quantile_ns(0.99)));
        table.row("first to last subscriber, max", time_ns(skew.max_ns()));
    }
    table.row_if("never seen", fanout.gaps.map(count));
    table.row_if("seen twice", fanout.duplicates.map(count));
    table.row_if("seen late", fanout.reordered.map(count));
    table
}

fn push_times(report: &Report) -> Table {
    let mut table = Table::pairs("Times inside messages");
    let Some(times) = &report.push_times else { return table };
    table.row("at", &times.pointer);
    table.row("response counts from there", count(times.timed));
    table.row("messages without a time", count(times.untimed));
    table.row("made after they came", count(times.future));
    table.row_if("shortest ping", times.round_trip_ns.map(time_ns));
    table.note = facts::clock(report);
    table
}

fn slow(report: &Report) -> Table {
    let mut table = Table::pairs("Slow consumers");
    let Some(slow) = &report.slow else { return table };
    table.row("connections that read slowly", count(slow.connections.into()));
    table.row("each reads", format!("{}/s", bytes(slow.bytes_per_s)));
    table.row("messages received by them", count(slow.messages_received));
    table.row("closed by the server", count(slow.closed));
    if let Some(response) = &slow.response {
        table.row("their response, p50", time_ns(response.quantile_ns(0.5)));
        table.row("their response, p99", time_ns(response.quantile_ns(0.99)));
        table.row("their response, max", time_ns(response.max_ns()));
    }
    table
}

fn compression(report: &Report) -> Table {
    let mut table = Table::pairs("Compression");
    let Some(compression) = &report.compression else { return table };
    let Some(agreed) = &compression.agreed else {
        table.row("the server agreed to", "nothing");
        return table;
    };
    table.row("the server agreed to", agreed);
    let directions = [
        ("payload sent", compression.sent_plain_bytes, compression.sent_wire_bytes),
        ("payload received", compression.received_plain_bytes, compression.received_wire_bytes),
    ];
    for (what, plain, wire) in directions.into_iter().filter(|(_, plain, _)| *plain > 0) {
        let share = share(wire as f64 / plain as f64);
        table.row(format!("{what}, plain"), bytes(plain));
        table.row(format!("{what}, on the wire"), format!("{} ({share})", bytes(wire)));
    }
    table
}

fn search(report: &Report) -> Table {
    let head = ["Target", "Achieved", "p50", "p99", "p99.9", "max", "Result"];
    let mut table = Table::figures("Search for the highest rate", &head);
    let Some(search) = &report.search else { return table };
    for step in &search.steps {
        let result = match (step.valid, step.met) {
            (false, false) => "client's limit",
            (true, false) => "broken",
            (true, true) if step.confirmation => "confirmed",
            (true, true) => "kept",
            (false, true) if step.confirmation => "confirmed, late",
            (false, true) => "kept, late",
        };
        let mut row = vec![rate(step.target_per_s), rate(step.achieved_per_s)];
        row.extend([step.p50_ns, step.p99_ns, step.p99_9_ns, step.max_ns].map(time_ns));
        row.push(result.to_owned());
        table.rows.push(row);
    }
    let found = search.found_per_s.map_or_else(
        || "Not even the lowest rate kept the limits.".to_owned(),
        |found| format!("Highest confirmed rate: {}.", rate(found)),
    );
    let knee = search
        .knee_per_s
        .map(|knee| format!(" Latency begins to rise faster than load at {}.", rate(knee)));
    let any_late = search.steps.iter().any(|step| step.met && !step.valid);
    let late = if any_late { facts::KEPT_LATE } else { "" };
    table.note = Some(found + knee.as_deref().unwrap_or_default() + late);
    table
}

fn client(report: &Report) -> Table {
    let check = &report.client;
    let mut table = Table::pairs("The client itself");
    table.row_if("achieved of the target rate", check.rate_ratio.map(share));
    table.row("busy share of the busiest thread", share(check.busy_share));
    table.row("processor time", format!("{} s", number(check.cpu_s)));
    let per_message = Some(check.cpu_ns_per_message).filter(|ns| *ns > 0.0);
    let of = facts::counted_as(report);
    table.row_if(&format!("processor time for each {of}"), per_message.map(time));
    table.row("messages that waited in our memory, most", count(check.queued_max));
    if check.completion_overflows > 0 {
        table.row("completion queue overflows", count(check.completion_overflows));
    }
    table
}

fn server(report: &Report) -> Table {
    let mut table = Table::pairs("The server's process");
    let Some(server) = &report.server else { return table };
    table.row("process", format!("{} ({})", server.name, server.pid));
    table.row("processors kept busy", number(server.cpu_share));
    if let Some((of, cpu)) = facts::server_cpu(report, server) {
        table.row(format!("processor time for each {of}"), cpu);
    }
    table.row("resident memory before", bytes(server.rss_before_bytes));
    table.row("resident memory at most", bytes(server.rss_peak_bytes));
    let per_connection = server.bytes_per_connection;
    table.row_if("memory for each connection", per_connection.map(|size| bytes(size as u64)));
    table
}

/// What was planned, and where it ran.
pub(super) fn plan(report: &Report) -> Table {
    let (plan, machine) = (&report.plan, &report.machine);
    let mut table = Table::words("Plan and machine");
    table.row("URL", &plan.url);
    table.row("scenario", &plan.scenario);
    table.row("load", facts::load(plan));
    table.row_if("target rate", facts::stages(plan));
    table.row("connections", count(plan.connections.into()));
    table.row("threads", count(plan.threads.into()));
    table.row("measured", seconds(report.measured_s));
    let planned = (seconds(plan.duration_s), seconds(plan.warm_up_s));
    table.row("planned", format!("{} after {} of warming up", planned.0, planned.1));
    table.row("message", &plan.payload);
    if let Some(id) = &report.plan.answer_id {
        table.row("answers told by", format!("the value at {id}"));
    } else if matches!(plan.scenario.as_str(), "echo" | "slow") {
        table.row("answers checked", if plan.verify { "yes" } else { "no" });
    }
    table.row_if("TLS", report.tls.clone());
    table.row("backend", &plan.backend);
    table.row("seed", plan.seed.to_string());
    let processors = counted(machine.processors as u64, "processor");
    if machine.processors > 0 {
        table.row("machine", format!("{processors}, {}", machine.processor));
        table.row("memory", bytes(machine.memory_bytes));
        table.row("kernel", &machine.kernel);
    }
    table.row("begun", facts::started(report));
    table.row("sockeye", &report.version);
    table
}

/// What each figure means.
pub(super) fn glossary() -> Table {
    let mut table = Table::words("What the figures mean");
    table.head = vec!["Figure", "Meaning"];
    for (figure, meaning) in [
        (
            "response",
            "From when a message was due by the schedule to its answer. If the server \
          stalls, messages that had to wait count as slow. For push and fan-out: from when a \
          message was published to its arrival.",
        ),
        ("service", "From when a message was really sent to its answer."),
        ("lag", "From due to sent: how late this client was. It must be small beside response."),
        ("ping", "From a ping to its pong."),
        (
            "p50, p99, ...",
            "The time that this share of all messages did not exceed: of 100 \
          messages, 99 were no slower than p99.",
        ),
        (
            "closed loop",
            "The next message leaves when the last was answered. A server that stalls \
          is asked less, so that the percentiles hide stalls.",
        ),
        (
            "achieved rate",
            "Messages that were really sent in a second. Below 99 % of the target \
          the client was the bottleneck, and the run is invalid.",
        ),
        (
            "client's limit",
            "Of a search: a limit broke while the client was late, which says nothing \
          about the server.",
        ),
        (
            "connect, TLS, upgrade, first message",
            "The steps of opening a connection, each from \
          the end of the one before.",
        ),
        ("busy share", "Part of the time in which the client's busiest thread had work to do."),
        (
            "processors kept busy",
            "Processor time of the process, user and system, for each second \
          of the run: 1.0 is one processor.",
        ),
        ("resident memory", "Memory of the server's process that is in RAM (RSS)."),
        ("reach", "Deliveries that came, of those that should have."),
        ("knee", "The rate at which latency begins to rise faster than load."),
    ] {
        table.row(figure, meaning);
    }
    table
}

/// A row for each window.
pub(super) fn series(windows: &[Window]) -> Table {
    let head = [
        "From, s",
        "Phase",
        "Target/s",
        "Sent/s",
        "Received/s",
        "Errors",
        "Open",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "Lag p99",
        "Busy",
    ];
    let mut table = Table::figures("Over time", &head);
    let has_server = windows
        .iter()
        .any(|window| window.server_cpu_share.is_some() || window.server_rss_bytes.is_some());
    if has_server {
        table.head.extend(["Server CPU", "Server RSS"]);
    }
    for window in windows {
        let mut row = vec![format!("{:.1}", window.at_s), phase(window.phase).to_owned()];
        row.push(window.target_per_s.map(number).unwrap_or_default());
        row.extend([window.sent, window.received].map(|n| number(per_s(window, n))));
        row.extend([window.errors, window.open].map(count));
        let times = [window.p50_ns, window.p90_ns, window.p99_ns, window.p99_9_ns, window.max_ns];
        row.extend(times.map(|ns| if ns == 0 { String::new() } else { time_ns(ns) }));
        row.push(time_ns(window.lag_p99_ns));
        row.push(share(window.busy_share));
        if has_server {
            row.push(window.server_cpu_share.map(number).unwrap_or_default());
            row.push(window.server_rss_bytes.map(bytes).unwrap_or_default());
        }
        table.rows.push(row);
    }
    table
}

/// So many in that window, as a rate.
pub(super) fn per_s(window: &Window, messages: u64) -> f64 {
    if window.seconds > 0.0 { messages as f64 / window.seconds } else { 0.0 }
}

/// The phase in words.
pub(super) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "connecting",
        Phase::WarmUp => "warming up",
        Phase::Measuring => "measuring",
        Phase::Closing => "closing",
    }
}
