//! What a load tool must report of a server that answers nothing at the beginning of each period
//! and at once in the rest of it. `docs/CALIBRATION.md` derives it.

use std::time::Duration;

/// The schedule and how long the load lasts. It begins with the first message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theory {
    pub(crate) stall: Duration,
    pub(crate) period: Duration,
    pub(crate) duration: Duration,
}

impl Theory {
    /// Whole periods, and the seconds of the last, unfinished one.
    fn periods(&self) -> (f64, f64) {
        let (duration, period) = (self.duration.as_secs_f64(), self.period.as_secs_f64());
        let whole = (duration / period).floor();
        (whole, duration - whole * period)
    }

    /// Stalls that begin before the load ends.
    pub(crate) fn stalls(&self) -> u64 {
        let (whole, rest) = self.periods();
        whole as u64 + u64::from(rest > 0.0)
    }

    /// The share of messages of an open loop, at a constant rate, that take longer than this.
    pub(crate) fn open_share_above(&self, time: Duration) -> f64 {
        let (whole, rest) = self.periods();
        // Those take longer that are due so early in a stall.
        let early = self.stall.saturating_sub(time).as_secs_f64();
        (whole * early + early.min(rest)) / self.duration.as_secs_f64()
    }

    /// The response time that this share of the messages of an open loop do not exceed. Zero: what
    /// the server takes when it does not stall.
    pub(crate) fn open_quantile(&self, quantile: f64) -> Duration {
        let (whole, rest) = self.periods();
        // The seconds in which those are due that take longer, in all periods together.
        let longer = (1.0 - quantile) * self.duration.as_secs_f64();
        let in_all_periods = longer / (whole + 1.0);
        let early = if in_all_periods <= rest { in_all_periods } else { (longer - rest) / whole };
        Duration::from_secs_f64((self.stall.as_secs_f64() - early).max(0.0))
    }

    /// Messages of a closed loop that a stall holds up: on each connection the one that is under
    /// way when it begins.
    pub(crate) fn closed_held_up(&self, connections: u64) -> u64 {
        self.stalls() * connections
    }
}

/// Times of an open loop as a simple simulation has them: a message each `interval`.
pub(crate) fn open_times(theory: &Theory, interval: Duration) -> impl Iterator<Item = Duration> {
    let Theory { stall, period, duration } = *theory;
    let messages = (duration.as_nanos() / interval.as_nanos()) as u32;
    (0..messages).map(move |n| {
        let phase_ns = (interval * n).as_nanos() % period.as_nanos();
        stall.saturating_sub(Duration::from_nanos(phase_ns as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const fn theory(stall_ms: u64, period_ms: u64, duration_ms: u64) -> Theory {
        Theory {
            stall: Duration::from_millis(stall_ms),
            period: Duration::from_millis(period_ms),
            duration: Duration::from_millis(duration_ms),
        }
    }

    fn assert_quantiles(theory: Theory, expected_ms: [f64; 4]) {
        for (quantile, expected_ms) in [0.5, 0.99, 0.999, 1.0].into_iter().zip(expected_ms) {
            let ms = theory.open_quantile(quantile).as_secs_f64() * 1e3;
            assert!((ms - expected_ms).abs() < 1e-6, "{theory:?} {quantile}: {ms} ms");
        }
    }

    #[test]
    fn whole_periods_are_as_the_table_of_the_document_says() {
        for duration_ms in [1_000, 10_000] {
            assert_quantiles(theory(100, 1_000, duration_ms), [0.0, 90.0, 99.0, 100.0]);
            assert_quantiles(theory(800, 1_000, duration_ms), [300.0, 790.0, 799.0, 800.0]);
        }
        assert_quantiles(theory(100, 10_000, 60_000), [0.0, 0.0, 90.0, 100.0]);
    }

    #[test]
    fn a_period_that_is_cut_short_counts_as_far_as_it_goes() {
        // Three stalls, the last period only half: 30 ms of 2.5 s are 1.2 %.
        assert_eq!(theory(100, 1_000, 2_500).stalls(), 3);
        assert!((theory(100, 1_000, 2_500).open_share_above(90 * MS) - 0.012).abs() < 1e-9);
        // It ends 20 ms into the third stall: all of those, and the first 80 ms of the others.
        let cut = theory(100, 1_000, 2_020);
        assert!((cut.open_share_above(20 * MS) - 0.18 / 2.02).abs() < 1e-9);
        assert_eq!((cut.stalls(), cut.closed_held_up(50)), (3, 150));
        assert_eq!(theory(100, 1_000, 2_000).stalls(), 2);
    }

    #[test]
    fn quantiles_and_shares_are_the_same_curve() {
        for theory in [theory(100, 1_000, 4_000), theory(816, 1_020, 4_000), theory(50, 70, 1_010)]
        {
            for quantile in [0.3, 0.5, 0.9, 0.99, 0.999, 0.9999] {
                let time = theory.open_quantile(quantile);
                let share = theory.open_share_above(time);
                let longer = 1.0 - quantile;
                let is_base = time.is_zero() && share <= longer;
                assert!(is_base || (share - longer).abs() < 1e-6, "{theory:?} {quantile}: {share}");
            }
        }
    }

    /// The derivation, against counting.
    #[test]
    fn a_simulation_agrees() {
        for theory in [theory(160, 1_600, 4_000), theory(816, 1_020, 4_000), theory(90, 100, 250)] {
            let mut times: Vec<_> = open_times(&theory, MS / 10).collect();
            times.sort_unstable();
            for quantile in [0.25, 0.5, 0.9, 0.99, 0.999] {
                let counted = times[(quantile * times.len() as f64) as usize];
                let derived = theory.open_quantile(quantile);
                assert!(counted.abs_diff(derived) <= MS / 5, "{quantile}: {counted:?} {derived:?}");
            }
            assert_eq!(times.last().copied(), Some(theory.open_quantile(1.0)));
        }
    }
}
