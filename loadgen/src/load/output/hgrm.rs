//! The headline latency in the layout of HdrHistogram's percentile output, in milliseconds, as its
//! plotters read it.

use std::fmt::Write as _;

use super::facts;
use crate::load::distribution::Distribution;
use crate::load::report::{LoadKind, Outcome, Report};

const NS_PER_MS: f64 = 1e6;

/// As HdrHistogram has it unless told otherwise.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The whole text; without any message the table has no row.
pub(super) fn render(report: &Report) -> String {
    let none = Distribution::default();
    let (name, times) = report.latency.headline().unwrap_or(("response", &none));
    let mut out = percentiles(times);
    // Behind the footer, where no reader looks for figures.
    let _ = writeln!(out, "# {name} time in milliseconds");
    if report.plan.load == LoadKind::Closed {
        let _ = writeln!(out, "# {}", facts::CLOSED_LOOP);
    }
    if let Some(clock) = facts::clock(report) {
        let _ = writeln!(out, "# {clock}");
    }
    if report.verdict.outcome == Outcome::Invalid {
        let _ = writeln!(out, "# INVALID: {}", facts::verdict_sentence(Outcome::Invalid));
    }
    out
}

fn percentiles(times: &Distribution) -> String {
    let histogram = times.histogram();
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    // The last step comes once for each half that is left; once is enough.
    let mut ended = false;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        if ended {
            break;
        }
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        ended = quantile >= 1.0;
        if ended {
            let _ = writeln!(out, "{value:12.6} {quantile:14.12} {total:10}");
        } else {
            let distance = 1.0 / (1.0 - quantile);
            let _ = writeln!(out, "{value:12.6} {quantile:14.12} {total:10} {distance:14.2}");
        }
    }
    let [mean, stdev] = [times.mean_ns(), times.stdev_ns()].map(|ns| ns / NS_PER_MS);
    let max = times.max_ns() as f64 / NS_PER_MS;
    let count = times.count();
    // As HdrHistogram divides its values: halves of a power of two, doubled until all fit.
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    let bits = (histogram.high() / sub_buckets).checked_ilog2().map_or(0, |bits| bits + 1);
    let buckets = bits + 1;
    let _ = writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {stdev:12.6}]");
    let _ = writeln!(out, "#[Max     = {max:12.6}, Total count    = {count:12}]");
    let _ = writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    /// What a plotter reads: lines of four words (the last of three) that are numbers.
    fn rows(text: &str) -> Vec<Vec<f64>> {
        let lines = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect()
    }

    #[test]
    fn the_layout_is_the_known_one() {
        let mut times = Distribution::default();
        for ms in 1..=1_000_u64 {
            times.record(ms * 1_000_000);
        }
        let text = percentiles(&times);
        let head = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
        assert!(text.starts_with(head), "{text}");
        let rows = rows(&text);
        let (last, others) = rows.split_last().unwrap();
        assert!(others.iter().all(|row| row.len() == 4), "{text}");
        assert_eq!(last[1..], [1.0, 1_000.0], "{text}");
        assert!((last[0] - 1_000.0).abs() < 1.0, "{text}");
        for pair in rows.windows(2) {
            assert!((0..3).all(|n| pair[0][n] <= pair[1][n]), "{pair:?}");
        }
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!((median[0] - 500.0).abs() < 1.0 && median[3] == 2.0, "{median:?}");
        let footer: Vec<_> = text.lines().rev().take(3).collect();
        assert!(footer[2].starts_with("#[Mean    =   500."), "{text}");
        assert!(footer[1].ends_with("Total count    =         1000]"), "{text}");
        assert_eq!(footer[0], "#[Buckets =           32, SubBuckets     =         2048]");
    }

    #[test]
    fn notes_are_comments() {
        for (name, report) in samples::all() {
            let text = render(&report);
            assert!(!text.contains("NaN"), "{name}: {text}");
            let (_, footer) = text.split_once("#[Mean").unwrap();
            assert!(footer.lines().skip(1).all(|line| line.starts_with('#')), "{name}: {text}");
        }
        assert!(render(&samples::invalid()).contains("\n# INVALID: "));
        assert!(render(&samples::closed()).contains(facts::CLOSED_LOOP));
    }
}
