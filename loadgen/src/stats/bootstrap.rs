//! How sure a ratio is: what it would have been with other samples of the same kind (Efron's
//! bootstrap), with a seed, so that the same samples give the same interval.

use super::random::Random;
use super::{SIGNIFICANCE, mean, median, normal, variance};

/// What of the samples is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistic {
    Mean,
    Median,
}

impl Statistic {
    pub(crate) fn of(self, samples: &[f64]) -> f64 {
        match self {
            Self::Mean => mean(samples),
            Self::Median => median(samples),
        }
    }
}

/// A ratio, candidate to baseline, and where 95 of 100 such intervals have the true one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    /// It may be infinite, where the baseline is often 0.
    pub(crate) high: f64,
}

impl Interval {
    /// It leaves no doubt on which side of 1 the ratio is.
    pub(crate) fn excludes_one(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// Resampling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bootstrap {
    pub(crate) statistic: Statistic,
    pub(crate) resamples: usize,
    pub(crate) seed: u64,
}

/// Fewer samples (or blocks of them) on a side say nothing of how they vary.
const SAMPLES_MIN: f64 = 3.0;

impl Bootstrap {
    /// The ratio of candidate to baseline. Samples are drawn in blocks of these lengths (baseline,
    /// candidate): 1 where they are independent, more where neighbours are alike. `None` where
    /// there are too few samples or the baseline is nothing.
    ///
    /// The bounds are percentiles of the resampled ratios. Those of few samples are too narrow by
    /// nature, and are taken further out, by as much as Student's t lies outside the normal
    /// distribution and n - 1 below n (Hesterberg, "What Teachers Should Know About the
    /// Bootstrap", 2015, section 5.3).
    pub(crate) fn ratio(
        &self,
        baseline: &[f64],
        candidate: &[f64],
        blocks: [usize; 2],
    ) -> Option<Interval> {
        let blocks = [blocks[0].max(1), blocks[1].max(1)];
        let counts =
            [baseline.len() as f64 / blocks[0] as f64, candidate.len() as f64 / blocks[1] as f64];
        let middle = self.statistic.of(baseline);
        if counts.iter().any(|count| *count < SAMPLES_MIN) || middle <= 0.0 || self.resamples == 0 {
            return None;
        }
        let mut random = Random::new(self.seed);
        let mut drawn = Vec::new();
        let mut draw = |samples: &[f64], block| {
            resample(samples, block, &mut random, &mut drawn);
            self.statistic.of(&drawn)
        };
        let mut ratios: Vec<f64> = (0..self.resamples)
            .map(|_| (draw(candidate, blocks[1]), draw(baseline, blocks[0])))
            .map(|(above, below)| if above == below { 1.0 } else { above / below })
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let share = tail_share(baseline, candidate, counts);
        Some(Interval {
            ratio: self.statistic.of(candidate) / middle,
            low: percentile(&ratios, share),
            high: percentile(&ratios, 1.0 - share),
        })
    }
}

/// As many as there are, in blocks that go round the end.
fn resample(samples: &[f64], block: usize, random: &mut Random, drawn: &mut Vec<f64>) {
    drawn.clear();
    while drawn.len() < samples.len() {
        let at = random.below(samples.len());
        let take = block.min(samples.len() - drawn.len());
        drawn.extend((at..at + take).map(|n| samples[n % samples.len()]));
    }
}

/// The share of resampled ratios that each bound leaves outside.
fn tail_share(baseline: &[f64], candidate: &[f64], counts: [f64; 2]) -> f64 {
    // Variances of both means, relative, so that they add up in the ratio.
    let sides = [baseline, candidate].map(|side| variance(side) / mean(side).powi(2).max(1e-300));
    let errors = [sides[0] / counts[0], sides[1] / counts[1]];
    let sum: f64 = errors.iter().sum();
    if sum <= 0.0 {
        return SIGNIFICANCE / 2.0;
    }
    // Welch and Satterthwaite's degrees of freedom.
    let squares = errors.iter().zip(counts).map(|(error, count)| error.powi(2) / (count - 1.0));
    let freedom = sum.powi(2) / squares.sum::<f64>();
    let resampled: f64 =
        errors.iter().zip(counts).map(|(error, count)| error * (count - 1.0) / count).sum();
    let t = normal::t_quantile(1.0 - SIGNIFICANCE / 2.0, freedom);
    normal::cumulative(-t * (sum / resampled).sqrt())
}

/// Between two neighbours, linear.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    if low == high { low } else { (high - low).mul_add(at.fract(), low) }
}

/// How many neighbours to draw together: half as many again as make the smallest error in the
/// variance of the mean of a series of which each value resembles the last as much as in this one
/// (Carlstein 1986, for an autoregressive series), because shorter blocks make intervals too
/// narrow and longer ones only less sure. At least the cube root of their number, since the
/// resemblance is an estimate.
pub(crate) fn block_length(samples: &[f64]) -> usize {
    let n = samples.len() as f64;
    if n < SAMPLES_MIN {
        return 1;
    }
    let mean = mean(samples);
    let squares: f64 = samples.iter().map(|value| (value - mean).powi(2)).sum();
    let products: f64 = samples.windows(2).map(|two| (two[0] - mean) * (two[1] - mean)).sum();
    let seen = if squares > 0.0 { products / squares } else { 0.0 };
    // A short series looks less alike than it is, by this much (Marriott and Pope, 1954); and near
    // 1 it tells no resemblance from a drift.
    let likeness = (seen + 3f64.mul_add(seen, 1.0) / n).clamp(0.0, 0.9);
    let best = 1.5 * (6f64.sqrt() * likeness / (1.0 - likeness.powi(2))).powf(2.0 / 3.0) * n.cbrt();
    // Enough blocks have to be left to see how they vary.
    best.max(n.cbrt()).min(n / SAMPLES_MIN).round().max(1.0) as usize
}

#[cfg(test)]
mod tests;
