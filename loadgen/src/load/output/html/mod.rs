//! One page with everything, that needs nothing but a browser.

mod axis;
mod plot;
mod plots;

use std::fmt::Write as _;

use super::facts;
use super::table::{self, Table};
use crate::load::report::{LoadKind, Outcome, Report, Window};
use crate::load::units::{count, counted, rate, share, time_ns};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// More windows than this are drawn together: a screen has no room for them.
const WINDOWS_MAX: usize = 600;

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let title = escaped(&facts::title(&report.plan));
    let verdict = facts::verdict(report.verdict.outcome);
    let mut out = String::with_capacity(1 << 16);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{verdict}: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    header(&mut out, report);
    out.push_str("<main>\n");
    tiles(&mut out, report);
    let (windows, each) = together(&report.series);
    let plots = plots::render(report, &windows);
    if !plots.is_empty() {
        let plots = plots.join("\n");
        let _ =
            writeln!(out, "<section class=\"plots\" aria-label=\"Plots\">\n{plots}\n</section>");
    }
    tables(&mut out, report);
    series(&mut out, &windows, each);
    out.push_str("</main>\n");
    let _ = write!(
        out,
        "<footer>sockeye {}, schema version {}</footer>\n<script>\n{SCRIPT}</script>\n</body>\n\
         </html>\n",
        escaped(&report.version),
        report.schema_version
    );
    out
}

/// Text as it may stand in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in facts::printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn header(out: &mut String, report: &Report) {
    let outcome = report.verdict.outcome;
    let (verdict, sentence) = (facts::verdict(outcome), facts::verdict_of(report));
    let class = match outcome {
        Outcome::Ok => "ok",
        Outcome::Interrupted => "caution",
        Outcome::Failed | Outcome::SloBreached | Outcome::Invalid => "bad",
    };
    out.push_str("<header>\n");
    if outcome == Outcome::Invalid {
        let _ = writeln!(out, "<p class=\"banner\"><strong>{verdict}</strong> {sentence}</p>");
    }
    let _ = writeln!(
        out,
        "<p class=\"kind\">Load report</p>\n<h1>{}</h1>\n<p class=\"url\">{}</p>",
        escaped(&facts::title(&report.plan)),
        escaped(&report.plan.url)
    );
    if outcome != Outcome::Invalid {
        let _ = writeln!(
            out,
            "<p class=\"verdict\"><span class=\"badge {class}\">{verdict}</span> {sentence}</p>"
        );
    }
    if !report.verdict.reasons.is_empty() {
        out.push_str("<ul class=\"reasons\">");
        for reason in &report.verdict.reasons {
            let _ = write!(out, "<li>{}</li>", escaped(reason));
        }
        out.push_str("</ul>\n");
    }
    if report.plan.load == LoadKind::Closed {
        let _ = writeln!(out, "<p class=\"caution-note\">{}</p>", facts::CLOSED_LOOP);
    }
    let machine = &report.machine;
    let mut about = vec![facts::started(report)];
    if machine.processors > 0 {
        let processors = counted(machine.processors as u64, "processor");
        about.push(format!("{processors}, {}", machine.processor));
        about.push(machine.kernel.clone());
    }
    let about: Vec<_> =
        about.iter().map(|part| format!("<span>{}</span>", escaped(part))).collect();
    let _ = writeln!(out, "<p class=\"about\">{}</p>", about.join(" "));
    if !report.command.is_empty() {
        let _ = writeln!(
            out,
            "<pre class=\"command\"><code>{}</code></pre>",
            escaped(&facts::command(report))
        );
    }
    out.push_str("</header>\n");
}

fn tiles(out: &mut String, report: &Report) {
    let mut tiles: Vec<(String, String, String)> = Vec::new();
    let mut tile = |label: &str, value: String, more: String| {
        tiles.push((label.to_owned(), value, more));
    };
    if let Some((name, times)) = report.latency.headline() {
        for (quantile, q) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            tile(quantile, time_ns(times.quantile_ns(q)), name.to_owned());
        }
        tile("max", time_ns(times.max_ns()), format!("{name}, of {}", count(times.count())));
    }
    let (totals, check) = (&report.totals, &report.client);
    let is_storm = report.plan.scenario == "storm";
    let [sent, received] = if is_storm { ["Begun", "Opened"] } else { ["Sent", "Received"] };
    if report.plan.load != LoadKind::Receive {
        let target = match (check.target_per_s, check.rate_ratio) {
            (Some(target), Some(ratio)) => format!("{} of {}", share(ratio), rate(target)),
            _ => counted(totals.messages_sent, facts::counted_as(report)),
        };
        tile(sent, rate(check.achieved_per_s), target);
    }
    if totals.messages_received > 0 && report.measured_s > 0.0 {
        let per_s = rate(totals.messages_received as f64 / report.measured_s);
        tile(received, per_s, counted(totals.messages_received, facts::counted_as(report)));
    }
    let lost = totals.connections_failed + totals.connections_lost;
    let lost =
        if lost == 0 { "none lost".to_owned() } else { format!("{} lost or failed", count(lost)) };
    tile("Connections", count(totals.connections_peak), lost);
    let kinds = match report.errors.len() {
        0 => String::new(),
        1 => "of one kind".to_owned(),
        many => format!("of {many} kinds"),
    };
    tile("Errors", count(facts::errors(report)), kinds);
    if let Some(server) = &report.server {
        let share = crate::load::units::number(server.cpu_share);
        let busy = format!("{share} processors busy");
        match facts::server_cpu(report, server) {
            Some((of, cpu)) => tile("Server CPU", cpu, format!("for each {of}; {busy}")),
            None => tile("Server CPU", share, "processors busy".to_owned()),
        }
    }
    out.push_str("<dl class=\"tiles\">\n");
    for (label, value, more) in tiles {
        let _ = writeln!(
            out,
            "<div><dt>{}</dt><dd><b>{}</b><span>{}</span></dd></div>",
            escaped(&label),
            escaped(&value),
            escaped(&more)
        );
    }
    out.push_str("</dl>\n");
}

fn tables(out: &mut String, report: &Report) {
    out.push_str("<section class=\"tables\" aria-label=\"Tables\">\n");
    let latency = [table::latency(report), table::latency_in_full(report)];
    let all = latency.into_iter().filter_map(Table::if_any).chain(table::results(report));
    // Many columns take the whole width, few stand beside one another.
    let (wide, narrow): (Vec<_>, Vec<_>) = all.partition(|table| table.head.len() > 5);
    for table in &wide {
        write_table(out, table);
    }
    out.push_str("<div class=\"beside\">\n");
    for table in &narrow {
        write_table(out, table);
    }
    out.push_str("</div>\n");
    write_table(out, &table::plan(report));
    write_table(out, &table::glossary());
    out.push_str("</section>\n");
}

fn write_table(out: &mut String, table: &Table) {
    let title = escaped(table.title);
    let class = match (table.of_words, table.head.len()) {
        (true, _) => "words",
        (false, 2) => "figures pairs",
        (false, _) => "figures",
    };
    let _ = write!(
        out,
        "<div class=\"table\"><h2>{title}</h2><div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"{title}\"><table class=\"{class}\"><thead><tr>"
    );
    for head in &table.head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        write_row(out, row, "");
    }
    out.push_str("</tbody></table></div>");
    if let Some(note) = &table.note {
        let _ = write!(out, "<p class=\"note\">{}</p>", escaped(note));
    }
    out.push_str("</div>\n");
}

fn write_row(out: &mut String, row: &[String], attributes: &str) {
    let _ = write!(out, "<tr{attributes}>");
    for (n, cell) in row.iter().enumerate() {
        let mut cell = escaped(cell);
        // A figure and its unit stay together.
        if n > 0 && cell.len() <= 16 {
            cell = cell.replace(' ', "\u{a0}");
        }
        if n == 0 {
            let _ = write!(out, "<th scope=\"row\">{cell}</th>");
        } else {
            let _ = write!(out, "<td>{cell}</td>");
        }
    }
    out.push_str("</tr>");
}

/// The windows, folded away. The script reads here what it shows beside the plots.
fn series(out: &mut String, windows: &[Window], each: usize) {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return };
    let table = table::series(windows);
    let span = (last.at_s + last.seconds - first.at_s).max(f64::MIN_POSITIVE);
    let title = match each {
        1 => format!("Over time: {}", counted(windows.len() as u64, "window")),
        each => format!(
            "Over time: {}, each {each} windows together; of percentiles the slowest",
            counted(windows.len() as u64, "row")
        ),
    };
    let _ = write!(
        out,
        "<details class=\"series\"><summary>{title}</summary><div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"Over time\"><table class=\"figures\" id=\"windows\">\
         <thead><tr>"
    );
    for head in &table.head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out.push_str("</tr></thead><tbody>");
    for (window, row) in windows.iter().zip(&table.rows) {
        let x = (window.at_s + window.seconds / 2.0 - first.at_s) / span;
        write_row(out, row, &format!(" data-x=\"{x:.4}\""));
        out.push('\n');
    }
    out.push_str("</tbody></table></div></details>\n");
}

/// As few windows as can be drawn, and how many are one of them: counts are added, of everything
/// else the worst is kept.
fn together(series: &[Window]) -> (Vec<Window>, usize) {
    let each = series.len().div_ceil(WINDOWS_MAX).max(1);
    // Those of different phases stay apart.
    let phases = series.chunk_by(|a, b| a.phase == b.phase);
    let windows = phases.flat_map(|phase| phase.chunks(each)).filter_map(|some| {
        let (first, others) = some.split_first()?;
        Some(others.iter().fold(first.clone(), add))
    });
    (windows.collect(), each)
}

fn add(mut sum: Window, other: &Window) -> Window {
    let seconds = sum.seconds + other.seconds;
    let mean = |a: f64, b: f64| {
        if seconds > 0.0 { (a * sum.seconds + b * other.seconds) / seconds } else { a }
    };
    let mean_of = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some(mean(a, b)),
        (a, b) => a.or(b),
    };
    sum.target_per_s = mean_of(sum.target_per_s, other.target_per_s);
    sum.server_cpu_share = mean_of(sum.server_cpu_share, other.server_cpu_share);
    sum.busy_share = sum.busy_share.max(other.busy_share);
    sum.server_rss_bytes = sum.server_rss_bytes.max(other.server_rss_bytes);
    sum.seconds = seconds;
    sum.sent += other.sent;
    sum.received += other.received;
    sum.errors += other.errors;
    sum.open = other.open;
    sum.p50_ns = sum.p50_ns.max(other.p50_ns);
    sum.p90_ns = sum.p90_ns.max(other.p90_ns);
    sum.p99_ns = sum.p99_ns.max(other.p99_ns);
    sum.p99_9_ns = sum.p99_9_ns.max(other.p99_9_ns);
    sum.max_ns = sum.max_ns.max(other.max_ns);
    sum.lag_p99_ns = sum.lag_p99_ns.max(other.lag_p99_ns);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::Phase;

    #[test]
    fn many_windows_become_few_and_lose_nothing() {
        let window = |n: usize| Window {
            at_s: n as f64,
            seconds: 1.0,
            phase: if n < 7 { Phase::WarmUp } else { Phase::Measuring },
            sent: 10,
            max_ns: n as u64,
            open: n as u64,
            target_per_s: Some(10.0),
            ..Window::default()
        };
        let series: Vec<_> = (0..10_000).map(window).collect();
        let (windows, each) = together(&series);
        assert!(each == 17 && windows.len() <= WINDOWS_MAX + 1, "{each}, {}", windows.len());
        assert_eq!(windows.iter().map(|window| window.sent).sum::<u64>(), 100_000);
        assert!((windows.iter().map(|window| window.seconds).sum::<f64>() - 1e4).abs() < 1e-6);
        // The phases stay apart, and the worst is kept.
        assert_eq!((windows[0].seconds, windows[0].max_ns), (7.0, 6));
        assert_eq!((windows[1].at_s, windows[1].max_ns, windows[1].open), (7.0, 23, 23));
        assert_eq!(windows[1].target_per_s, Some(10.0));

        let (windows, each) = together(&series[..WINDOWS_MAX]);
        assert_eq!((windows.as_slice(), each), (&series[..WINDOWS_MAX], 1));
    }
}
