//! What stands where. Everything is drawn from a [`Live`]; nothing is remembered.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::figures::{bytes, count, rate, time};
use crate::load::report::{Live, LoadKind, Phase, PlanInfo, Window};

/// Above this share a thread has no time left to be punctual.
const BUSY_RISK: f64 = 0.9;
/// Above this share of the response time it is our own lag that is measured.
const LAG_RISK: f64 = 0.1;

/// Narrower than this there is room for one thing beside another.
const COLUMNS_FOR_TWO: u16 = 60;
/// A chart with less inside says nothing.
const CHART_ROWS_MIN: u16 = 6;
/// Seven percentiles and a frame.
const LISTS_ROWS: u16 = 9;

/// Draws the whole screen, whatever its size.
pub(super) fn draw(frame: &mut Frame<'_>, live: &Live<'_>) {
    let area = frame.area();
    let heights = rows(area.height);
    let [head, progress, figures, charts, lists, foot] =
        Layout::vertical(heights.map(Constraint::Length)).areas(area);
    frame.render_widget(title(live, head.width), head);
    frame.render_widget(progress_line(live, progress.width), progress);
    frame.render_widget(figures_table(live), figures);
    if charts.height > 0 {
        draw_charts(frame, live, charts);
    }
    if lists.height > 0 {
        draw_lists(frame, live, lists);
    }
    let hint = " q or Ctrl-C ends the run and keeps what was measured";
    frame.render_widget(Paragraph::new(hint).dim(), foot);
}

/// Rows of head, progress, figures, charts, lists and foot. The first come first.
fn rows(height: u16) -> [u16; 6] {
    let mut left = height;
    let mut take = |rows: u16| {
        let taken = rows.min(left);
        left -= taken;
        taken
    };
    let (head, progress, figures) = (take(1), take(1), take(3));
    let foot = take(1);
    if left < CHART_ROWS_MIN {
        return [head, progress, figures, 0, 0, foot];
    }
    let lists = if left < CHART_ROWS_MIN + LISTS_ROWS { 0 } else { (left / 3).max(LISTS_ROWS) };
    [head, progress, figures, left - lists, lists, foot]
}

fn title(live: &Live<'_>, columns: u16) -> Paragraph<'static> {
    let plan = live.plan;
    let mut spans = vec![
        Span::from(" sockeye load ").bold(),
        Span::from(format!("{} {}  {}", plan.scenario, plan.url, mode(plan))),
    ];
    if let Some(risk) = risk(live) {
        let warning = format!(" INVALID? {risk} ");
        // What does not fit has to give way to this.
        let room = usize::from(columns).saturating_sub(warning.chars().count() + 1);
        let text: String = spans.iter().map(|span| span.content.as_ref()).collect();
        let cut: String = text.chars().take(room).collect();
        spans = vec![
            Span::from(format!("{cut:<room$} ")).bold(),
            Span::from(warning).style(Style::new().fg(Color::White).bg(Color::Red)),
        ];
    }
    Paragraph::new(Line::from(spans))
}

fn mode(plan: &PlanInfo) -> String {
    let connections = count(plan.connections.into());
    match (plan.load, plan.stages.as_slice()) {
        (LoadKind::Closed, _) => format!("closed loop (uncorrected), {connections} connections"),
        (LoadKind::Receive, _) => format!("{connections} connections"),
        (LoadKind::Open, [stage]) if stage.from_per_s == stage.to_per_s => {
            format!("{}/s, {connections} connections", rate(stage.to_per_s))
        }
        (LoadKind::Open, _) => format!("changing rate, {connections} connections"),
    }
}

/// Why the run may turn out to have measured the client.
fn risk(live: &Live<'_>) -> Option<String> {
    let now = live.series.last().filter(|now| now.phase != Phase::Connecting)?;
    if now.busy_share > BUSY_RISK {
        return Some(format!("client {:.0} % busy", now.busy_share * 100.0));
    }
    let late = now.lag_p99_ns as f64 > LAG_RISK * now.p99_ns as f64;
    (late && now.p99_ns > 0).then(|| format!("client late: {}", time(now.lag_p99_ns)))
}

fn progress_line(live: &Live<'_>, columns: u16) -> Paragraph<'static> {
    let phase = match live.phase {
        Phase::Connecting => "connecting",
        Phase::WarmUp => "warming up",
        Phase::Measuring => "measuring",
        Phase::Closing => "closing",
    };
    let whole_s = live.plan.warm_up_s + live.plan.duration_s;
    let now = live.series.last().filter(|_| live.phase != Phase::Connecting);
    let done_s = now.map_or(0.0, |now| now.at_s + now.seconds).clamp(0.0, whole_s.max(0.0));
    let share = if whole_s > 0.0 { done_s / whole_s } else { 0.0 };
    let left_s = whole_s - done_s;
    let text = format!(" {done_s:.0} s of {whole_s:.0} s, {left_s:.0} s left");
    let room = usize::from(columns).saturating_sub(text.chars().count() + 13);
    let full = (share * room as f64).round() as usize;
    Paragraph::new(Line::from(vec![
        Span::from(format!(" {phase:<11}")),
        Span::from("█".repeat(full.min(room))).cyan(),
        Span::from("░".repeat(room.saturating_sub(full))).dim(),
        Span::from(text),
    ]))
}

fn received_per_s(window: &Window) -> f64 {
    if window.seconds > 0.0 { window.received as f64 / window.seconds } else { 0.0 }
}

fn figures_table(live: &Live<'_>) -> Paragraph<'static> {
    let line = |name: &str, numbers: [String; 7]| {
        let numbers: String = numbers.iter().map(|number| format!("{number:>10}")).collect();
        Line::from(format!(" {name:<9}{numbers}"))
    };
    let times = live.latency.headline();
    let name = times.map_or("response", |(name, _)| name);
    let heads = ["received/s", "p50", "p90", "p99", "p99.9", "max", "lag p99"];
    let now = live.series.last().map_or_else(<[String; 7]>::default, |now| {
        let ns = [now.p50_ns, now.p90_ns, now.p99_ns, now.p99_9_ns, now.max_ns, now.lag_p99_ns];
        rate_and_times(received_per_s(now), ns)
    });
    let measured = live.series.iter().filter(|window| window.phase == Phase::Measuring);
    let measured_s: f64 = measured.map(|window| window.seconds).sum();
    let received = live.totals.messages_received as f64;
    let received_per_s = if measured_s > 0.0 { received / measured_s } else { 0.0 };
    let quantile = |quantile| times.map_or(0, |(_, times)| times.quantile_ns(quantile));
    let lag_ns = live.latency.lag.as_ref().map_or(0, |lag| lag.quantile_ns(0.99));
    let ns = [quantile(0.5), quantile(0.9), quantile(0.99), quantile(0.999), quantile(1.0), lag_ns];
    Paragraph::new(vec![
        line(name, heads.map(str::to_owned)).dim(),
        line("now", now).bold(),
        line("so far", rate_and_times(received_per_s, ns)),
    ])
}

fn rate_and_times(per_s: f64, [p50, p90, p99, p99_9, max, lag]: [u64; 6]) -> [String; 7] {
    [rate(per_s), time(p50), time(p90), time(p99), time(p99_9), time(max), time(lag)]
}

fn draw_charts(frame: &mut Frame<'_>, live: &Live<'_>, area: Rect) {
    let points = |value: fn(&Window) -> f64| -> Vec<(f64, f64)> {
        live.series.iter().map(|window| (window.at_s, value(window))).collect()
    };
    // Log of microseconds; a window in which nothing came has no point.
    let log = |value: fn(&Window) -> u64| -> Vec<(f64, f64)> {
        let of = |window: &Window| (window.at_s, value(window));
        let some = live.series.iter().map(of).filter(|(_, ns)| *ns > 0);
        some.map(|(at_s, ns)| (at_s, (ns as f64).log10())).collect()
    };
    let (p50, p99) = (log(|window| window.p50_ns), log(|window| window.p99_ns));
    let latency = [("p50", Color::Green, &p50[..]), ("p99", Color::Yellow, &p99[..])];
    if area.width < COLUMNS_FOR_TWO {
        return draw_latency(frame, live, area, &latency);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
    let received = points(received_per_s);
    let target: Vec<_> =
        live.series.iter().filter_map(|window| Some((window.at_s, window.target_per_s?))).collect();
    let most = received.iter().chain(&target).map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let lines =
        [("target", Color::DarkGray, &target[..]), ("received/s", Color::Cyan, &received[..])];
    let labels = ["0".to_owned(), rate(most)];
    draw_chart(frame, left, " messages a second ", live, &lines, [0.0, most], labels);
    draw_latency(frame, live, right, &latency);
}

type Curve<'a> = (&'static str, Color, &'a [(f64, f64)]);

fn draw_latency(frame: &mut Frame<'_>, live: &Live<'_>, area: Rect, lines: &[Curve<'_>]) {
    let all = || lines.iter().flat_map(|(.., points)| points.iter().map(|point| point.1));
    // Whole decades, from a nanosecond on where there is nothing yet.
    let low = all().fold(f64::INFINITY, f64::min).floor();
    let low = if low.is_finite() { low } else { 0.0 };
    let high = all().fold(low + 1.0, f64::max).ceil();
    let labels = [low, high].map(|decade| {
        let text = time(10f64.powf(decade).round() as u64);
        text.replace(".00", "").replace(".0", "")
    });
    draw_chart(frame, area, " latency (log) ", live, lines, [low, high], labels);
}

fn draw_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    live: &Live<'_>,
    lines: &[Curve<'_>],
    y: [f64; 2],
    y_labels: [String; 2],
) {
    let first_s = live.series.first().map_or(0.0, |window| window.at_s);
    let last_s = live.series.last().map_or(0.0, |window| window.at_s).max(first_s + 1.0);
    let datasets = lines.iter().map(|(name, color, points)| {
        Dataset::default()
            .name(*name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(*color))
            .data(points)
    });
    let names = lines.iter().filter(|(.., points)| !points.is_empty());
    let legend: Vec<_> =
        names.flat_map(|(name, color, _)| [Span::from(*name).fg(*color), " ".into()]).collect();
    let block = Block::bordered()
        .border_style(Style::new().add_modifier(Modifier::DIM))
        .title(title)
        .title(Line::from(legend).alignment(Alignment::Right));
    let x = Axis::default().bounds([first_s, last_s]);
    let x = x.labels([format!("{first_s:.0} s"), format!("{last_s:.0} s")]);
    let chart = Chart::new(datasets.collect())
        .block(block)
        .legend_position(None)
        .x_axis(x)
        .y_axis(Axis::default().bounds(y).labels(y_labels));
    frame.render_widget(chart, area);
}

fn draw_lists(frame: &mut Frame<'_>, live: &Live<'_>, area: Rect) {
    let parts = if area.width < COLUMNS_FOR_TWO { [1, 0] } else { [1, 1] };
    let [left, right] = Layout::horizontal(parts.map(Constraint::Fill)).areas(area);
    let frame_of = |title: &'static str| {
        Block::bordered().border_style(Style::new().add_modifier(Modifier::DIM)).title(title)
    };
    let inner = left.width.saturating_sub(2);
    frame.render_widget(
        Paragraph::new(spectrum(live, inner)).block(frame_of(" percentiles so far ")),
        left,
    );
    frame.render_widget(
        Paragraph::new(counts(live)).block(frame_of(" connections and errors ")),
        right,
    );
}

const SPECTRUM: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// A bar for each, as long as the logarithm of the time, from the shortest time to the longest.
fn spectrum(live: &Live<'_>, columns: u16) -> Vec<Line<'static>> {
    let Some((_, times)) = live.latency.headline() else {
        return vec![Line::from(" nothing yet").dim()];
    };
    let (low, high) = ((times.min_ns().max(1) as f64).ln(), (times.max_ns().max(2) as f64).ln());
    let room = f64::from(columns.saturating_sub(20));
    let bar = |(name, quantile): (&str, f64)| {
        let ns = times.quantile_ns(quantile);
        let share = ((ns.max(1) as f64).ln() - low) / (high - low).max(f64::EPSILON);
        let color = if quantile < 0.99 { Color::Green } else { Color::Yellow };
        // Even the shortest is something.
        let length = (share.clamp(0.0, 1.0) * room).round().max(room.min(1.0)) as usize;
        Line::from(vec![
            Span::from(format!(" {name:<7}{:>9}  ", time(ns))),
            Span::from("█".repeat(length)).fg(color),
        ])
    };
    SPECTRUM.map(bar).into()
}

fn counts(live: &Live<'_>) -> Vec<Line<'static>> {
    let totals = live.totals;
    let open = live.series.last().map_or(0, |now| now.open);
    let mut lines = vec![
        Line::from(format!(" open {} (most {})", count(open), count(totals.connections_peak))),
        Line::from(format!(
            " lost {}, failed {}",
            count(totals.connections_lost),
            count(totals.connections_failed)
        )),
        Line::from(format!(
            " sent {}, received {}",
            count(totals.messages_sent),
            count(totals.messages_received)
        )),
    ];
    if let Some(server) = live.server {
        let rss = bytes(server.rss_peak_bytes);
        let share = server.cpu_share * 100.0;
        let cpu = match server.cpu_ns_per_message.round() as u64 {
            0 => String::new(),
            ns => format!(" {}/message", time(ns)),
        };
        lines.push(Line::from(format!(" server {share:.0} %{cpu} {rss}")));
    }
    if !live.closes.is_empty() {
        let closes = live.closes.iter();
        let closes: Vec<_> =
            closes.map(|close| format!("{} x {}", close.code, count(close.count))).collect();
        lines.push(Line::from(format!(" closed by the server: {}", closes.join(", "))).yellow());
    }
    if live.errors.is_empty() {
        lines.push(Line::from(" no errors").green());
    }
    lines.extend(
        live.errors
            .iter()
            .map(|error| Line::from(format!(" {} x {}", count(error.count), error.what)).red()),
    );
    lines
}
