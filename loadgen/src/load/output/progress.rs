//! A plain line for each window, where no screen is drawn.

use std::io::{self, Write};

use super::table;
use crate::load::report::{Live, LoadKind, Observer, Phase};
use crate::load::units::{count, rate, time_ns};

/// Writes to stderr, or to whatever stands for it.
pub(crate) struct Progress<W> {
    out: W,
    /// The phase of the line before.
    phase: Option<Phase>,
}

impl<W: Write> Progress<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self { out, phase: None }
    }
}

impl<W: Write> Observer for Progress<W> {
    fn window(&mut self, live: &Live<'_>) -> io::Result<()> {
        let Some(window) = live.series.last() else { return Ok(()) };
        if self.phase != Some(live.phase) {
            self.phase = Some(live.phase);
            let loop_kind = match (live.phase, live.plan.load) {
                (Phase::Measuring, LoadKind::Closed) => super::facts::CLOSED_LOOP,
                _ => "",
            };
            let dots = if loop_kind.is_empty() { "..." } else { ", " };
            writeln!(self.out, "{}{dots}{loop_kind}", table::phase(live.phase))?;
        }
        let mut line = format!("{:>6.0} s  open {}", live.elapsed_s, count(window.open));
        if live.phase != Phase::Connecting {
            let [sent, received] = [window.sent, window.received].map(|n| table::per_s(window, n));
            line += &format!("  sent {}  received {}", rate(sent), rate(received));
        }
        if window.max_ns > 0 {
            let [p50, p99, max] = [window.p50_ns, window.p99_ns, window.max_ns].map(time_ns);
            line += &format!("  p50 {p50}  p99 {p99}  max {max}");
        }
        let errors: u64 = live.errors.iter().map(|error| error.count).sum();
        if errors > 0 {
            line += &format!("  errors {}", count(errors));
        }
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn lines(report: &crate::load::report::Report) -> Vec<String> {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out);
        for n in 0..=report.series.len() {
            progress.window(&samples::live(report, n)).unwrap();
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_window_is_a_line_and_each_phase_is_named_once() {
        let report = samples::rich();
        let lines = lines(&report);
        assert_eq!(lines.len(), report.series.len() + 4, "{lines:#?}");
        assert_eq!(lines[0], "connecting...");
        assert!(lines.contains(&"measuring...".to_owned()));
        assert!(lines.iter().any(|line| line.contains("  p99 ")));
        assert!(lines.last().unwrap().contains("  errors "));
    }

    #[test]
    fn a_closed_loop_is_named() {
        let lines = lines(&samples::closed());
        assert!(lines.iter().any(|line| line.contains(super::super::facts::CLOSED_LOOP)));
    }
}
