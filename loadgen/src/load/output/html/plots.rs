//! Which plots a report has.

use super::axis::{self, Axis};
use super::plot::{Bars, Line, Mark, Plot};
use crate::load::output::table;
use crate::load::report::{LoadKind, Phase, Report, Window};
use crate::load::units;

const SHADED: &str = "Shaded: connecting, warming up and closing, which are not measured.";

/// All that there is something to draw for.
pub(super) fn render(report: &Report, windows: &[Window]) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |plot: Option<Plot>| all.extend(plot.map(|plot| plot.render()));
    let time = Over { report, windows };
    add(time.throughput());
    add(time.percentiles());
    add(spectrum(report));
    add(load(report));
    add(time.open());
    add(time.errors());
    add(time.server_cpu());
    add(time.server_memory());
    all.extend(phases(report).map(|bars| bars.render()));
    all
}

/// Plots over time.
struct Over<'a> {
    report: &'a Report,
    windows: &'a [Window],
}

type Value = fn(&Window) -> Option<f64>;

impl Over<'_> {
    fn line(&self, name: &'static str, colour: &'static str, value: Value) -> Line {
        let point = |window: &Window| (window.at_s + window.seconds / 2.0, value(window));
        let points = self.windows.iter().map(point).collect();
        Line { name, colour, points, dots: Vec::new() }
    }

    /// `None` if no line has a value.
    fn plot(
        &self,
        (id, title, about): (&'static str, &'static str, &str),
        columns: &'static [usize],
        lines: Vec<Line>,
        y: impl FnOnce(&mut dyn Iterator<Item = f64>) -> Axis,
    ) -> Option<Plot> {
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line.points.iter().any(|(_, value)| value.is_some()))
            .collect();
        let (first, last) = (self.windows.first()?, self.windows.last()?);
        if lines.is_empty() {
            return None;
        }
        let mut values =
            lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
        let y = y(&mut values);
        let shades = shades(self.windows);
        let shaded = if shades.is_empty() { "" } else { SHADED };
        Some(Plot {
            id,
            title,
            about: format!("{about} {shaded}").trim().to_owned(),
            x: Axis::run(first.at_s, last.at_s + last.seconds),
            y,
            lines,
            shades,
            marks: Vec::new(),
            columns,
        })
    }

    fn throughput(&self) -> Option<Plot> {
        let mut lines =
            vec![self.line("received", "c1", |window| while_loaded(window, window.received))];
        if self.report.plan.load != LoadKind::Receive {
            let sent = |window: &Window| while_loaded(window, window.sent);
            lines.insert(0, self.line("sent", "c0", sent));
        }
        lines.push(self.line("target", "c5", |window| window.target_per_s));
        let moved = self.windows.iter().any(|window| window.sent + window.received > 0);
        let about = "Messages a second in each window: what was sent, what was received, and what \
                     was to be sent.";
        let text = ("throughput", "Throughput", about);
        let y = |values: &mut dyn Iterator<Item = f64>| {
            Axis::from_zero(values, 5, 1.0, "messages/s", axis::thousands)
        };
        self.plot(text, &[2, 3, 4], lines, y).filter(|_| moved)
    }

    fn percentiles(&self) -> Option<Plot> {
        fn some(ns: u64) -> Option<f64> {
            (ns > 0).then_some(ns as f64)
        }
        let lines = vec![
            self.line("max", "c4", |window| some(window.max_ns)),
            self.line("p99.9", "c3", |window| some(window.p99_9_ns)),
            self.line("p99", "c2", |window| some(window.p99_ns)),
            self.line("p90", "c1", |window| some(window.p90_ns)),
            self.line("p50", "c0", |window| some(window.p50_ns)),
        ];
        let name = self.report.latency.headline().map_or("latency", |(name, _)| name);
        let mut about = format!("The {name} time of the messages of each window.");
        if self.report.plan.load == LoadKind::Closed {
            about += " As this was a closed loop: percentiles hide stalls.";
        }
        let text = ("percentiles", "Latency over time", about.as_str());
        self.plot(text, &[7, 8, 9, 10, 11], lines, |values| {
            Axis::log_time(values).titled("time, logarithmic")
        })
    }

    fn open(&self) -> Option<Plot> {
        let lines = vec![self.line("open", "c0", |window| Some(window.open as f64))];
        let text = ("connections", "Connections", "Connections open at the end of each window.");
        self.plot(text, &[6], lines, |values| {
            Axis::from_zero(values, 5, 1.0, "connections", axis::thousands)
        })
    }

    fn errors(&self) -> Option<Plot> {
        let has_any = self.windows.iter().any(|window| window.errors > 0);
        let lines = vec![self.line("errors", "c3", |window| Some(window.errors as f64))];
        let text = ("errors", "Errors", "Errors in each window.");
        let y = |values: &mut dyn Iterator<Item = f64>| {
            Axis::from_zero(values, 5, 1.0, "errors", axis::thousands)
        };
        self.plot(text, &[5], lines, y).filter(|_| has_any)
    }

    fn server_cpu(&self) -> Option<Plot> {
        let lines = vec![self.line("CPU", "c0", |window| window.server_cpu_share)];
        let about = "Processors that the server's process kept busy in each window.";
        self.plot(("server-cpu", "Server CPU", about), &[14], lines, |values| {
            Axis::from_zero(values, 5, 0.01, "processors", axis::thousands)
        })
    }

    fn server_memory(&self) -> Option<Plot> {
        let lines = vec![
            self.line("RSS", "c1", |window| window.server_rss_bytes.map(|bytes| bytes as f64)),
        ];
        let about = "Memory of the server's process that was in RAM at the end of each window.";
        self.plot(("server-memory", "Server memory", about), &[15], lines, |values| {
            Axis::from_zero(values, 5, 1_000.0, "resident", axis::bytes)
        })
    }
}

/// A rate; none while connections are opened or closed.
fn while_loaded(window: &Window, messages: u64) -> Option<f64> {
    let is_loaded = matches!(window.phase, Phase::WarmUp | Phase::Measuring);
    is_loaded.then(|| table::per_s(window, messages))
}

/// Stretches of time that do not count.
fn shades(windows: &[Window]) -> Vec<(f64, f64)> {
    let mut shades: Vec<(f64, f64)> = Vec::new();
    for window in windows.iter().filter(|window| window.phase != Phase::Measuring) {
        let (from, to) = (window.at_s, window.at_s + window.seconds);
        match shades.last_mut() {
            Some(last) if (last.1 - from).abs() < 0.001 => last.1 = to,
            _ => shades.push((from, to)),
        }
    }
    shades
}

/// How the time grows towards the slowest.
fn spectrum(report: &Report) -> Option<Plot> {
    const POINTS: u32 = 200;
    let x = Axis::percentiles();
    let colours = [("response", "c0"), ("service", "c1"), ("lag", "c2"), ("ping", "c3")];
    let lines: Vec<_> = table::latencies(report)
        .into_iter()
        .filter(|(_, times)| times.count() > 1)
        .map(|(name, times)| {
            // Beyond that there is only the slowest, again and again.
            let end = (times.count() as f64).log10().min(5.0);
            let point = |n: u32| {
                let nines = end * f64::from(n) / f64::from(POINTS);
                let quantile = 1.0 - 10_f64.powf(-nines);
                (nines, Some(times.quantile_ns(quantile) as f64))
            };
            let colour = colours.iter().find(|(of, _)| *of == name).map_or("c4", |(_, c)| c);
            let points = (0..=POINTS).map(point).collect();
            Line { name, colour, points, dots: Vec::new() }
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let y = Axis::log_time(values).titled("time, logarithmic");
    let mut about = "The time that so many percent of all messages did not exceed. Each step to \
                     the right leaves a tenth of the messages before it."
        .to_owned();
    if report.plan.load == LoadKind::Closed {
        about += " As this was a closed loop: percentiles hide stalls.";
    }
    let (id, title) = ("spectrum", "Percentile spectrum");
    Some(Plot { id, title, about, x, y, lines, shades: vec![], marks: vec![], columns: &[] })
}

/// Latency against load, if a highest rate was looked for.
fn load(report: &Report) -> Option<Plot> {
    let search = report.search.as_ref().filter(|search| !search.steps.is_empty())?;
    let mut steps: Vec<_> = search.steps.iter().collect();
    steps.sort_by(|a, b| a.achieved_per_s.total_cmp(&b.achieved_per_s));
    let dots: Vec<_> = steps.iter().map(|step| step.met).collect();
    let any_late = steps.iter().any(|step| step.met && !step.valid);
    let line = |name, colour, ns: fn(&crate::load::report::SearchStep) -> u64| {
        let points = steps.iter().map(|step| {
            let ns = ns(step);
            (step.achieved_per_s, (ns > 0).then_some(ns as f64))
        });
        Line { name, colour, points: points.collect(), dots: dots.clone() }
    };
    let lines = vec![
        line("p99.9", "c3", |step| step.p99_9_ns),
        line("p99", "c2", |step| step.p99_ns),
        line("p50", "c0", |step| step.p50_ns),
    ];
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let y = Axis::log_time(values).titled("time, logarithmic");
    let rates = steps.iter().map(|step| step.achieved_per_s);
    let x = Axis::from_zero(rates, 5, 1.0, "messages/s", axis::thousands);
    let mark = |what: &str, rate: Option<f64>| {
        rate.map(|at| Mark { at, text: format!("{what} {}", units::rate(at)) })
    };
    let marks = [mark("found", search.found_per_s), mark("knee", search.knee_per_s)];
    Some(Plot {
        id: "load",
        title: "Latency against load",
        about: "Each dot is one trial; hollow: a limit broke, the server's or the client's. Found: \
                the highest rate that was confirmed. Knee: where latency begins to rise faster \
                than load."
            .to_owned() + if any_late { super::facts::KEPT_LATE } else { "" },
        x,
        y,
        lines,
        shades: vec![],
        marks: marks.into_iter().flatten().collect(),
        columns: &[],
    })
}

/// What opening a connection takes.
fn phases(report: &Report) -> Option<Bars> {
    let phases: Vec<_> =
        table::phases(report).into_iter().filter(|(_, times)| !times.is_empty()).collect();
    if phases.is_empty() {
        return None;
    }
    let bar = |ns: u64| (ns as f64, units::time_ns(ns));
    let rows: Vec<_> = phases
        .into_iter()
        .map(|(name, times)| (name, [0.5, 0.99].map(|q| bar(times.quantile_ns(q)))))
        .collect();
    let values = rows.iter().flat_map(|(_, bars)| bars.iter().map(|(value, _)| *value));
    let x = Axis::from_zero(values, 3, 1_000.0, "", axis::time);
    Some(Bars {
        id: "phases",
        title: "Opening a connection",
        about: "What each step takes, from the end of the one before.".to_owned(),
        kinds: ["p50", "p99"],
        x,
        rows,
    })
}
