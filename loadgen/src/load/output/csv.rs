//! The series as comma-separated values (RFC 4180).

use std::fmt::Write as _;

use super::facts;
use crate::load::report::{Phase, Report};

const HEAD: &str = "at_s,seconds,phase,target_per_s,sent,received,errors,open,p50_ns,p90_ns,\
                    p99_ns,p99_9_ns,max_ns,lag_p99_ns,busy_share,server_cpu_share,\
                    server_rss_bytes,load,outcome,clock,clock_offset_ns";

/// A row for each window. Load and outcome stand in each, so that none is read without them.
pub(super) fn render(report: &Report) -> String {
    let mut out = format!("{HEAD}\r\n");
    let load = facts::load_name(report.plan.load);
    let outcome = facts::outcome_name(report.verdict.outcome);
    let clock = facts::clock_name(report).unwrap_or_default();
    let offset_ns = report.push_times.as_ref().map(|times| times.offset_ns);
    for window in &report.series {
        let phase = match window.phase {
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warm_up",
            Phase::Measuring => "measuring",
            Phase::Closing => "closing",
        };
        let _ = write!(out, "{},{},{phase},", window.at_s, window.seconds);
        let _ = write!(out, "{},", maybe(window.target_per_s));
        let numbers = [
            window.sent,
            window.received,
            window.errors,
            window.open,
            window.p50_ns,
            window.p90_ns,
            window.p99_ns,
            window.p99_9_ns,
            window.max_ns,
            window.lag_p99_ns,
        ];
        for number in numbers {
            let _ = write!(out, "{number},");
        }
        let _ = write!(out, "{},{},", window.busy_share, maybe(window.server_cpu_share));
        let _ = write!(out, "{},{load},{outcome},", maybe(window.server_rss_bytes));
        let _ = write!(out, "{clock},{}\r\n", maybe(offset_ns));
    }
    out
}

fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_row_has_each_column() {
        for (name, report) in samples::all() {
            let text = render(&report);
            let rows: Vec<_> = text.split_terminator("\r\n").collect();
            assert_eq!(rows.len(), report.series.len() + 1, "{name}");
            for row in &rows {
                assert_eq!(row.matches(',').count(), HEAD.matches(',').count(), "{name}: {row}");
                assert!(!row.contains(['\n', '"', ' ']), "{name}: {row}");
            }
        }
        let text = render(&samples::invalid());
        assert!(text.split_terminator("\r\n").skip(1).all(|row| row.ends_with(",open,invalid,,")));
        let text = render(&samples::rich());
        let mut rows = text.split_terminator("\r\n").skip(1);
        assert!(rows.all(|row| row.ends_with(",open,ok,estimated,-12345678")), "{text}");
    }
}
