//! A comparison as text, Markdown or JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::analysis::{Comparison, Row, Sample};
use crate::load::units::{counted, share};
use crate::stats::Statistic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Markdown,
    Json,
}

/// Goes up when a reader of an earlier version would misunderstand a field.
const SCHEMA_VERSION: u32 = 1;

/// All of them, with a line's end.
pub(crate) fn text(
    comparisons: &[Comparison],
    format: Format,
) -> Result<String, serde_json::Error> {
    if format == Format::Json {
        let all: Vec<_> = comparisons.iter().map(json).collect();
        let whole = json!({ "schema_version": SCHEMA_VERSION, "comparisons": all });
        return Ok(serde_json::to_string_pretty(&whole)? + "\n");
    }
    let one = |comparison| match format {
        Format::Markdown => markdown(comparison),
        _ => plain(comparison),
    };
    Ok(comparisons.iter().map(one).collect::<Vec<_>>().join("\n"))
}

const HEADINGS: [&str; 7] =
    ["", "baseline", "candidate", "ratio", "95 % interval", "detectable", "verdict"];

fn cells(comparison: &Comparison, row: &Row) -> [String; 7] {
    let none = || "-".to_owned();
    [
        row.metric.title(comparison.times),
        row.metric.show(row.baseline),
        row.metric.show(row.candidate),
        row.ratio().map_or_else(none, |ratio| format!("{ratio:.3}")),
        row.interval.map_or_else(none, |it| format!("{:.3} to {:.3}", it.low, it.high)),
        row.detectable.map_or_else(none, share),
        row.verdict().to_owned(),
    ]
}

/// What the samples were, and how sure that makes it.
fn method(comparison: &Comparison) -> String {
    let of = match comparison.sample {
        Sample::Run => "run",
        Sample::Window => "window",
    };
    let [baseline, candidate] = comparison.counts;
    let candidate = counted(candidate as u64, of);
    let statistic = statistic_name(comparison);
    match comparison.sample {
        Sample::Run => format!(
            "samples: {baseline} and {candidate}; {statistic}s; intervals by bootstrap, and a \
             difference is one only if Mann-Whitney's p is below 0.05 too"
        ),
        Sample::Window => format!(
            "samples: {baseline} and {candidate}; {statistic}s of the windows' figures; \
             intervals by bootstrap of blocks, since neighbours are alike"
        ),
    }
}

const fn statistic_name(comparison: &Comparison) -> &'static str {
    match comparison.statistic {
        Statistic::Mean => "mean",
        Statistic::Median => "median",
    }
}

fn plain(comparison: &Comparison) -> String {
    let rows = comparison.rows.iter().map(|row| cells(comparison, row));
    let table: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        table.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..HEADINGS.len()).map(width).collect();
    let mut text = format!(
        "baseline   {}\ncandidate  {}\n{}\n\n",
        comparison.baseline,
        comparison.candidate,
        method(comparison)
    );
    for cells in &table {
        let mut line = format!("{:<width$}", cells[0], width = widths[0]);
        for (cell, width) in cells[1..6].iter().zip(&widths[1..6]) {
            line += &format!("  {cell:>width$}");
        }
        line += &format!("  {}", cells[6]);
        text += line.trim_end();
        text.push('\n');
    }
    for note in &comparison.notes {
        let _ = write!(text, "\nNote: {note}.");
    }
    if !comparison.notes.is_empty() {
        text.push('\n');
    }
    text
}

fn markdown(comparison: &Comparison) -> String {
    let escape = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut text = format!(
        "**{}** beside **{}** (baseline)\n\n| {} |\n|---|---:|---:|---:|---:|---:|---|\n",
        escape(&comparison.candidate),
        escape(&comparison.baseline),
        HEADINGS.join(" | ")
    );
    for row in &comparison.rows {
        text += &format!("| {} |\n", cells(comparison, row).map(|cell| escape(&cell)).join(" | "));
    }
    text += &format!("\n{}.\n", method(comparison));
    for note in &comparison.notes {
        text += &format!("\nNote: {}.\n", escape(note));
    }
    text
}

fn json(comparison: &Comparison) -> Value {
    let rows = comparison.rows.iter().map(|row| {
        // What is infinite has no number in JSON, and is null.
        json!({
            "metric": row.metric.name(),
            "baseline": row.baseline,
            "candidate": row.candidate,
            "ratio": row.ratio(),
            "ratio_low": row.interval.map(|interval| interval.low),
            "ratio_high": row.interval.map(|interval| interval.high),
            "mann_whitney_p": row.p_value,
            "minimum_detectable_effect": row.detectable,
            "verdict": row.verdict(),
        })
    });
    json!({
        "baseline": comparison.baseline,
        "candidate": comparison.candidate,
        "sample": match comparison.sample { Sample::Run => "run", Sample::Window => "window" },
        "statistic": statistic_name(comparison),
        "samples": comparison.counts,
        "times": comparison.times,
        "metrics": rows.collect::<Vec<_>>(),
        "notes": comparison.notes,
    })
}
