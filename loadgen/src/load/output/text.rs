//! The summary on a terminal.

use std::fmt::Write as _;

use super::facts;
use super::table::{self, Table};
use crate::load::report::{LoadKind, Outcome, Report};
use crate::load::units::{counted, rate, seconds, share, time_ns};

/// No line is longer.
const COLUMNS: usize = 80;

const BOLD: &str = "1";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const YELLOW: &str = "1;33";

/// The whole summary, with or without colours.
pub(crate) fn render(report: &Report, colour: bool) -> String {
    let mut text = Text { out: String::new(), colour };
    let outcome = report.verdict.outcome;
    // What makes all else worthless comes before it.
    if outcome == Outcome::Invalid {
        text.verdict(report);
        text.line("");
    }
    text.styled(BOLD, &facts::title(&report.plan));
    text.wrapped("", &report.plan.url);
    text.wrapped("", &planned(report));
    if report.plan.load == LoadKind::Closed {
        text.styled(YELLOW, facts::CLOSED_LOOP);
    }
    text.line("");
    text.headline(report);
    let latency = table::latency(report);
    if !latency.rows.is_empty() {
        text.line("");
        text.table(&Table { note: None, ..latency });
    }
    for table in table::results(report) {
        text.line("");
        text.table(&table);
    }
    if outcome != Outcome::Invalid {
        text.line("");
        text.verdict(report);
    }
    text.out
}

fn planned(report: &Report) -> String {
    let plan = &report.plan;
    let mut parts = Vec::new();
    if plan.load == LoadKind::Open {
        parts.push(facts::load(plan));
    }
    parts.push(format!("measured for {}", seconds(report.measured_s)));
    if plan.warm_up_s > 0.0 {
        parts.push(format!("warmed up for {}", seconds(plan.warm_up_s)));
    }
    match plan.scenario.as_str() {
        "push" | "idle" | "storm" => {}
        "file" => parts.push(format!("scenario {}", plan.payload)),
        _ => parts.push(format!("messages of {}", plan.payload)),
    }
    parts.push(format!("{} on {}", counted(plan.threads.into(), "thread"), plan.backend));
    parts.join(", ")
}

struct Text {
    out: String,
    colour: bool,
}

impl Text {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn styled(&mut self, style: &str, line: &str) {
        for line in wrap(&facts::printable(line), COLUMNS) {
            if self.colour {
                let _ = writeln!(self.out, "\x1b[{style}m{line}\x1b[0m");
            } else {
                self.line(&line);
            }
        }
    }

    /// Text that may be long, its later lines indented like its first.
    fn wrapped(&mut self, indent: &str, text: &str) {
        let width = COLUMNS - indent.chars().count();
        for line in wrap(&facts::printable(text), width) {
            self.line(&format!("{indent}{line}"));
        }
    }

    fn verdict(&mut self, report: &Report) {
        let verdict = &report.verdict;
        let style = match verdict.outcome {
            Outcome::Ok => GREEN,
            Outcome::Interrupted => YELLOW,
            Outcome::Failed | Outcome::SloBreached | Outcome::Invalid => RED,
        };
        let name = facts::verdict(verdict.outcome);
        let sentence = facts::verdict_of(report);
        self.styled(style, &format!("{name}: {sentence}"));
        for reason in &verdict.reasons {
            self.wrapped("  ", reason);
        }
    }

    fn headline(&mut self, report: &Report) {
        if let Some((name, times)) = report.latency.headline() {
            let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
            let mut line = format!("{name:<9}");
            for (quantile, q) in quantiles {
                let _ = write!(line, " {quantile} {}  ", time_ns(times.quantile_ns(q)));
            }
            let _ = write!(line, " max {}", time_ns(times.max_ns()));
            self.styled(BOLD, &line);
        }
        let check = &report.client;
        // Connections that only stay open have none.
        if report.plan.scenario != "idle" {
            let mut line = format!("{:<10}{}", "rate", rate(check.achieved_per_s));
            if let (Some(target), Some(ratio)) = (check.target_per_s, check.rate_ratio) {
                let _ = write!(line, " of {} ({})", rate(target), share(ratio));
            }
            self.line(&line);
        }
        let errors = crate::load::units::count(facts::errors(report));
        self.line(&format!("{:<10}{errors}", "errors"));
        if let Some(server) = &report.server
            && let Some((of, cpu)) = facts::server_cpu(report, server)
        {
            self.line(&format!("{:<10}{cpu} of processor time for each {of}", "server"));
        }
    }

    fn table(&mut self, table: &Table) {
        self.styled(BOLD, table.title);
        let cells = |row: &[String]| row.iter().map(|cell| facts::printable(cell)).collect();
        let mut rows: Vec<Vec<String>> = table.rows.iter().map(|row| cells(row)).collect();
        // The heads of pairs say nothing that the title does not.
        if table.head.len() > 2 {
            rows.insert(0, table.head.iter().map(|&head| head.to_owned()).collect());
        }
        let widths = widths(&rows, table.head.len());
        for row in &rows {
            self.row(row, &widths);
        }
        if let Some(note) = &table.note {
            self.wrapped("  ", note);
        }
    }

    /// A row: as many lines as its longest cell needs.
    fn row(&mut self, row: &[String], widths: &[usize]) {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells.map(|(cell, width)| wrap(cell, *width)).collect();
        for n in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::from("  ");
            for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
                let cell = cell.get(n).map_or("", String::as_str);
                if column == 0 {
                    let _ = write!(line, "{cell:<width$}");
                } else {
                    let _ = write!(line, "  {cell:>width$}");
                }
            }
            self.line(&line);
        }
    }
}

/// How wide each column is: as wide as its widest cell, but the first yields where the line would
/// be too long.
fn widths(rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(width).collect();
    // Words from elsewhere may be as long as they like.
    for width in widths.iter_mut().skip(1) {
        *width = (*width).min(36);
    }
    let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(COLUMNS.saturating_sub(2 + others));
    }
    widths
}

/// Breaks between words, and within those that are longer than a line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut columns = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if columns > 0 && columns + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            columns = 0;
        } else if columns > 0 {
            line.push(' ');
            columns += 1;
        }
        for c in word.chars() {
            if columns == width {
                lines.push(std::mem::take(&mut line));
                columns = 0;
            }
            line.push(c);
            columns += 1;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn no_line_is_too_long_and_no_code_slips_in() {
        for (name, report) in samples::all() {
            let text = render(&report, false);
            for line in text.lines() {
                let columns = line.chars().count();
                assert!(columns <= COLUMNS, "{name}: {columns} columns: {line}");
                assert!(!line.contains(char::is_control), "{name}: {line:?}");
            }
            assert!(!text.contains("NaN") && !text.contains("inf/s"), "{name}: {text}");
            assert!(text.contains(facts::verdict(report.verdict.outcome)), "{name}");
        }
    }

    #[test]
    fn what_is_invalid_says_so_first() {
        let text = render(&samples::invalid(), false);
        assert!(text.starts_with("INVALID: The client was the bottleneck."), "{text}");
        let text = render(&samples::invalid(), true);
        assert!(text.starts_with("\x1b[1;31mINVALID"), "{text}");
    }

    #[test]
    fn the_headline_is_the_response() {
        let report = samples::rich();
        let text = render(&report, false);
        let line = text.lines().find(|line| line.starts_with("response")).unwrap();
        let response = report.latency.response.as_ref().unwrap();
        assert!(line.contains(&format!("p99 {}", time_ns(response.quantile_ns(0.99)))), "{line}");
        assert!(line.contains(&format!("max {}", time_ns(response.max_ns()))), "{line}");
    }

    #[test]
    fn what_servers_say_is_there_to_the_end() {
        let text = render(&samples::rich(), false);
        assert!(text.contains("*bold*") && text.contains("client_no_context_takeover"), "{text}");
        assert!(!text.contains('…'), "{text}");
    }

    #[test]
    fn long_words_are_broken() {
        assert_eq!(wrap("ab cdefgh i", 4), ["ab", "cdef", "gh i"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
