//! A summary for a comment on a pull request.

use std::fmt::Write as _;

use super::facts;
use super::table::{self, Table};
use crate::load::report::{LoadKind, Outcome, Report};

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let outcome = report.verdict.outcome;
    let mark = match outcome {
        Outcome::Ok => "✅",
        Outcome::Interrupted => "⚠️",
        Outcome::Failed | Outcome::SloBreached | Outcome::Invalid => "❌",
    };
    let _ = writeln!(
        out,
        "### {mark} {}: {}",
        facts::verdict(outcome),
        escaped(&facts::title(&report.plan))
    );
    let _ = writeln!(out);
    let sentence = facts::verdict_of(report);
    if outcome == Outcome::Invalid {
        let _ = writeln!(out, "> **INVALID. {sentence}**");
    } else {
        let _ = writeln!(out, "{sentence}");
    }
    for reason in &report.verdict.reasons {
        let _ = writeln!(out, "\n- {}", escaped(reason));
    }
    if report.plan.load == LoadKind::Closed {
        let _ = writeln!(out, "\n> {}", facts::CLOSED_LOOP);
    }
    if let Some(latency) = table::latency(report).if_any() {
        let headline = report.latency.headline().map(|(name, _)| name);
        write_table(&mut out, &latency, headline);
    }
    let results = table::results(report);
    // Those that decide are open, all the others are folded away.
    let (open, folded): (Vec<_>, Vec<_>) =
        results.into_iter().partition(|table| matches!(table.title, "Limits" | "Errors"));
    for table in &open {
        write_table(&mut out, table, None);
    }
    let _ = writeln!(out, "\n<details>\n<summary>Everything else</summary>");
    for table in folded.iter().chain([&table::plan(report)]) {
        write_table(&mut out, table, None);
    }
    let _ = writeln!(out, "\n{}\n\n</details>", code(&facts::command(report)));
    out
}

/// A table, with one row in bold.
fn write_table(out: &mut String, table: &Table, bold: Option<&str>) {
    let _ = writeln!(out, "\n**{}**\n", table.title);
    let _ = writeln!(out, "| {} |", table.head.join(" | "));
    let align = if table.of_words { " --- |" } else { " ---: |" };
    let _ = writeln!(out, "| --- |{}", align.repeat(table.head.len().saturating_sub(1)));
    for row in &table.rows {
        let is_bold = bold.is_some_and(|bold| row.first().is_some_and(|first| first == bold));
        let cells = row.iter().map(|cell| match is_bold {
            true => format!("**{}**", escaped(cell)),
            false => escaped(cell),
        });
        let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    if let Some(note) = &table.note {
        let _ = writeln!(out, "\n{}", escaped(note));
    }
}

/// Text in which nothing is a mark: it may come from a server.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in facts::printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // `@` would call people, `#` would name issues.
            '@' => escaped.push_str("&#64;"),
            '#' => escaped.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// A block of code, fenced by more backticks than stand in it.
fn code(text: &str) -> String {
    let text = facts::printable(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}sh\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn tables_are_whole() {
        for (name, report) in samples::all() {
            let text = render(&report);
            let mut columns = None;
            for line in text.lines() {
                let unescaped = line.replace("\\|", "");
                let here = line.starts_with('|').then(|| unescaped.matches('|').count());
                if let (Some(before), Some(here)) = (columns, here) {
                    assert_eq!(before, here, "{name}: {line}");
                }
                columns = here;
            }
            assert!(!text.contains("NaN"), "{name}");
        }
    }

    #[test]
    fn nothing_from_elsewhere_is_a_mark() {
        assert_eq!(escaped("a|b <i> @me #1 `x`"), "a\\|b &lt;i&gt; &#64;me &#35;1 \\`x\\`");
        assert_eq!(code("echo ```"), "````sh\necho ```\n````");
        let text = render(&samples::rich());
        assert!(!text.contains("<script>"), "{text}");
    }

    #[test]
    fn what_is_invalid_says_so_first() {
        assert!(render(&samples::invalid()).starts_with("### ❌ INVALID: "));
        assert!(render(&samples::closed()).contains(facts::CLOSED_LOOP));
    }
}
