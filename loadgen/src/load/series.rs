//! The threads' parts of each second put together.

use super::clock::NS_PER_S;
use super::pace::Pace;
use super::plan::Plan;
use super::record::{Part, add_errors};
use super::report::{LoadKind, Phase, Stage, Window};

/// A window of which some threads have reported.
#[derive(Debug, Default)]
struct Pending {
    parts: usize,
    sum: Part,
    busiest_ns: u64,
}

/// All windows since the first message was due.
#[derive(Debug)]
pub(crate) struct Series {
    plan: std::sync::Arc<Plan>,
    schedule: Vec<Stage>,
    pending: Vec<Pending>,
    pub(crate) windows: Vec<Window>,
}

impl Series {
    pub(crate) fn new(plan: std::sync::Arc<Plan>) -> Self {
        let schedule = plan.schedule();
        Self { plan, schedule, pending: Vec::new(), windows: Vec::new() }
    }

    /// A thread reports. Returns the sum of its window if it was the last one to, and the window
    /// stands at the end of `windows`.
    pub(crate) fn add(&mut self, at: usize, part: Part, elapsed_ns: u64) -> Option<Part> {
        if at >= self.pending.len() {
            self.pending.resize_with(at + 1, Pending::default);
        }
        let pending = &mut self.pending[at];
        pending.parts += 1;
        pending.busiest_ns = pending.busiest_ns.max(part.busy_ns);
        pending.sum.sent += part.sent;
        pending.sum.received += part.received;
        pending.sum.errors += part.errors;
        add_errors(&mut pending.sum.kinds, part.kinds);
        pending.sum.open += part.open;
        pending.sum.headline.add(&part.headline);
        pending.sum.lag.add(&part.lag);
        if pending.parts < self.plan.threads {
            return None;
        }
        let Pending { sum, busiest_ns, .. } = std::mem::take(pending);
        let window = self.window(at, &sum, busiest_ns, elapsed_ns);
        self.windows.extend(window);
        Some(sum)
    }

    /// `None`: nothing of it belongs to the load.
    fn window(&self, at: usize, sum: &Part, busiest_ns: u64, elapsed_ns: u64) -> Option<Window> {
        let (plan, begin_ns) = (&self.plan, at as u64 * self.plan.window_ns);
        let end_ns = (begin_ns + plan.window_ns).min(elapsed_ns.max(begin_ns));
        let loaded_ns = plan.warm_up_ns + plan.duration_ns;
        let phase = if begin_ns < plan.warm_up_ns {
            Phase::WarmUp
        } else if begin_ns < loaded_ns {
            Phase::Measuring
        } else {
            Phase::Closing
        };
        let is_empty = sum.sent == 0 && sum.received == 0 && sum.errors == 0;
        if end_ns == begin_ns || (phase == Phase::Closing && is_empty) {
            return None;
        }
        let [at_s, until_s] = [begin_ns, end_ns].map(|ns| ns as f64 / NS_PER_S as f64);
        let seconds = until_s - at_s;
        let target = Pace::count_between(&self.schedule, at_s, until_s) / seconds;
        let quantile = |quantile| sum.headline.quantile_ns(quantile);
        Some(Window {
            at_s,
            seconds,
            phase,
            target_per_s: (plan.load == LoadKind::Open && begin_ns < loaded_ns).then_some(target),
            sent: sum.sent,
            received: sum.received,
            errors: sum.errors,
            open: sum.open,
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p99_9_ns: quantile(0.999),
            max_ns: sum.headline.max_ns(),
            lag_p99_ns: sum.lag.quantile_ns(0.99),
            busy_share: (busiest_ns as f64 / (end_ns - begin_ns) as f64).min(1.0),
            server_cpu_share: None,
            server_rss_bytes: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::plan::tests::plan;
    use super::*;

    fn part(sent: u64, busy_ns: u64) -> Part {
        let mut part = Part { sent, received: sent, open: 5, busy_ns, ..Part::default() };
        part.headline.record(1_000_000 * sent);
        part
    }

    #[test]
    fn a_window_is_whole_when_all_threads_have_reported() {
        let mut series = Series::new(Arc::new(plan()));
        assert!(series.add(0, part(40, 100), NS_PER_S).is_none());
        let sum = series.add(0, part(60, NS_PER_S / 2), NS_PER_S).unwrap();
        assert_eq!((sum.sent, sum.open, sum.headline.count()), (100, 10, 2));
        let window = &series.windows[0];
        assert_eq!((window.at_s, window.seconds, window.sent), (0.0, 1.0, 100));
        // It is half of the warming up, so it does not pass for a part of the measurement.
        assert_eq!((window.phase, window.target_per_s), (Phase::WarmUp, Some(100.0)));
        assert_eq!(window.busy_share, 0.5);
        assert!(window.max_ns.abs_diff(60_000_000) < 100_000);
    }

    #[test]
    fn the_last_one_is_as_long_as_it_was() {
        let mut series = Series::new(Arc::new(plan()));
        for at in [0, 1, 2] {
            for _ in 0..2 {
                series.add(at, part(if at < 2 { 1 } else { 0 }, 0), 1_600_000_000);
            }
        }
        assert_eq!(series.windows.len(), 2);
        assert!((series.windows[1].seconds - 0.6).abs() < 1e-9);
        assert!((series.windows[1].target_per_s.unwrap() - 50.0 / 0.6).abs() < 1e-6);
    }
}
