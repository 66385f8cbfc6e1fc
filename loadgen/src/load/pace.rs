//! When messages are due: a rate over time, known in advance, that no answer and no delay changes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::NS_PER_S;
use super::report::Stage;

/// How the gaps between messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// As many at a time, equally spaced.
    Regular { burst: u32 },
    /// Exponential: as from many senders that know nothing of each other (a Poisson process).
    Poisson,
}

/// One thread's share of the schedule. Times are nanoseconds after the start.
///
/// The rate is integrated: message number `n` is due when the area under the rate has grown to `n`.
/// So a ramp, a step and a constant rate are one thing, and rounding does not add up.
#[derive(Debug)]
pub(crate) struct Pace {
    stages: Vec<Stage>,
    /// Which of them is under way, when it began, and the area before it.
    at: usize,
    begun_s: f64,
    area_before: f64,
    /// The area at which the next message is due.
    next_area: f64,
    /// What one message of this thread is of the area: the number of threads.
    share: f64,
    burst: u32,
    /// Messages of the burst under way that are still due at its time.
    left_of_burst: u32,
    random: Option<Box<StdRng>>,
    next_ns: Option<u64>,
}

impl Pace {
    /// For thread `thread` of `threads`: their messages interleave.
    pub(crate) fn new(
        stages: &[Stage],
        arrivals: Arrivals,
        thread: usize,
        threads: usize,
        seed: u64,
    ) -> Self {
        let (burst, random) = match arrivals {
            Arrivals::Regular { burst } => (burst.max(1), None),
            Arrivals::Poisson => {
                (1, Some(Box::new(StdRng::seed_from_u64(seed.wrapping_add(thread as u64)))))
            }
        };
        let mut pace = Self {
            stages: stages.to_vec(),
            at: 0,
            begun_s: 0.0,
            area_before: 0.0,
            next_area: 0.0,
            share: threads as f64,
            burst,
            left_of_burst: 0,
            random,
            next_ns: None,
        };
        pace.next_area = match pace.random {
            Some(_) => pace.gap(),
            None => thread as f64 * f64::from(burst),
        };
        pace.next_ns = pace.time_of_next();
        pace
    }

    /// When the next message is due; `None`: there is none any more.
    #[inline]
    pub(crate) const fn peek(&self) -> Option<u64> {
        self.next_ns
    }

    /// Goes on to the one after it.
    pub(crate) fn advance(&mut self) {
        if self.left_of_burst > 1 {
            self.left_of_burst -= 1;
            return;
        }
        self.next_area += self.gap();
        self.next_ns = self.time_of_next();
    }

    /// How many messages all threads together send in the time from one second to another.
    pub(crate) fn count_between(stages: &[Stage], from_s: f64, to_s: f64) -> f64 {
        let area_until = |until_s: f64| {
            let (mut area, mut begun) = (0.0, 0.0);
            for stage in stages {
                let seconds = (until_s - begun).clamp(0.0, stage.seconds);
                area += area_of(stage, seconds);
                begun += stage.seconds;
            }
            area
        };
        area_until(to_s) - area_until(from_s)
    }

    fn gap(&mut self) -> f64 {
        match &mut self.random {
            // 1 - [0, 1) is never 0.
            Some(random) => -(1.0 - random.random::<f64>()).ln() * self.share,
            None => self.share * f64::from(self.burst),
        }
    }

    fn time_of_next(&mut self) -> Option<u64> {
        self.left_of_burst = self.burst;
        while let Some(stage) = self.stages.get(self.at) {
            let area = area_of(stage, stage.seconds);
            let due = self.next_area - self.area_before;
            if due < area {
                let seconds = self.begun_s + seconds_of(stage, due);
                return Some((seconds * NS_PER_S as f64) as u64);
            }
            self.area_before += area;
            self.begun_s += stage.seconds;
            self.at += 1;
        }
        None
    }
}

/// The messages of a stage's first seconds.
fn area_of(stage: &Stage, seconds: f64) -> f64 {
    let slope = (stage.to_per_s - stage.from_per_s) / stage.seconds;
    stage.from_per_s * seconds + slope * seconds * seconds / 2.0
}

/// When a stage has had so many messages: [`area_of`] the other way round.
fn seconds_of(stage: &Stage, area: f64) -> f64 {
    let slope = (stage.to_per_s - stage.from_per_s) / stage.seconds;
    let from = stage.from_per_s;
    // The root of slope/2 t^2 + from t = area, in the form that does not cancel out.
    2.0 * area / (from + (from * from + 2.0 * slope * area).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn constant(per_s: f64, seconds: f64) -> Stage {
        Stage { from_per_s: per_s, to_per_s: per_s, seconds }
    }

    fn times(mut pace: Pace) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(ns) = pace.peek() {
            times.push(ns);
            pace.advance();
        }
        times
    }

    const ONE: Arrivals = Arrivals::Regular { burst: 1 };

    #[test]
    fn a_constant_rate_is_exact_and_does_not_drift() {
        let times = times(Pace::new(&[constant(3000.0, 1000.0)], ONE, 0, 1, 0));
        assert_eq!(times.len(), 3_000_000);
        for (n, ns) in times.iter().enumerate().step_by(999) {
            let exact = n as f64 * 1e9 / 3000.0;
            assert!((*ns as f64 - exact).abs() <= 2.0, "message {n}: {ns}, not {exact}");
        }
    }

    #[test]
    fn threads_share_a_schedule() {
        let stages =
            [constant(1000.0, 1.0), Stage { from_per_s: 1000.0, to_per_s: 5000.0, seconds: 2.0 }];
        let whole = times(Pace::new(&stages, ONE, 0, 1, 0));
        let mut shared: Vec<_> =
            (0..3).flat_map(|n| times(Pace::new(&stages, ONE, n, 3, 0))).collect();
        shared.sort_unstable();
        assert_eq!(shared, whole);
        assert_eq!(whole.len(), 7000);
    }

    #[test]
    fn a_ramp_has_the_rate_that_it_has_reached() {
        let stages = [Stage { from_per_s: 100.0, to_per_s: 1100.0, seconds: 10.0 }];
        let times = times(Pace::new(&stages, ONE, 0, 1, 0));
        assert_eq!(times.len(), 6000);
        for second in 0..10 {
            let range = second * NS_PER_S..(second + 1) * NS_PER_S;
            let count = times.iter().filter(|ns| range.contains(ns)).count() as i64;
            let exact = 150 + 100 * second as i64;
            assert!((count - exact).abs() <= 1, "second {second}: {count}, not {exact}");
        }
        let expected = Pace::count_between(&stages, 2.0, 4.0);
        assert!((expected - 800.0).abs() < 1e-6, "{expected}");
        let down = [Stage { from_per_s: 1000.0, to_per_s: 0.0, seconds: 1.0 }];
        let times = self::times(Pace::new(&down, ONE, 0, 1, 0));
        assert_eq!(times.len(), 500);
        assert!(times.is_sorted() && times[499] < NS_PER_S);
    }

    #[test]
    fn bursts_come_at_once_and_keep_the_rate() {
        let burst = Arrivals::Regular { burst: 10 };
        let all: Vec<_> = (0..2)
            .flat_map(|n| times(Pace::new(&[constant(100.0, 1.0)], burst, n, 2, 0)))
            .collect();
        assert_eq!(all.len(), 100);
        let mut distinct = all;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 10);
    }

    #[test]
    fn poisson_has_the_rate_and_exponential_gaps() {
        let times = times(Pace::new(&[constant(1000.0, 200.0)], Arrivals::Poisson, 0, 1, 7));
        let count = times.len() as f64;
        // Its standard deviation is the root of 200,000.
        assert!((count - 200_000.0).abs() < 5.0 * 447.0, "{count}");
        let gaps: Vec<_> = times.windows(2).map(|two| (two[1] - two[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let long = gaps.iter().filter(|gap| **gap > 2.0).count() as f64 / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean} ms");
        assert!((long - (-2.0_f64).exp()).abs() < 0.005, "{long}");
        let again = self::times(Pace::new(&[constant(1000.0, 200.0)], Arrivals::Poisson, 0, 1, 7));
        assert_eq!(times, again, "a seed is a schedule");
    }

    #[test]
    fn no_rate_no_messages() {
        assert!(times(Pace::new(&[], ONE, 0, 1, 0)).is_empty());
        assert!(times(Pace::new(&[constant(0.0, 5.0)], ONE, 0, 1, 0)).is_empty());
    }
}
