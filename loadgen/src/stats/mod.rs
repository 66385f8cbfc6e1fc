//! Is it faster, or was that chance? Samples in, a verdict out; nothing here knows what was
//! measured.

mod bootstrap;
mod effect;
mod normal;
mod random;
mod rank;

pub(crate) use bootstrap::{Bootstrap, Interval, Statistic, block_length};
pub(crate) use effect::minimum_detectable_effect;
pub(crate) use rank::mann_whitney_p;

/// The chance to call a difference where there is none.
pub(crate) const SIGNIFICANCE: f64 = 0.05;

/// The mean; 0 of nothing.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    if samples.is_empty() { 0.0 } else { samples.iter().sum::<f64>() / samples.len() as f64 }
}

/// The median; 0 of nothing.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => 0.0,
        (_, 1) => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The variance, as estimated from a sample; 0 where one sample or none says nothing of it.
pub(crate) fn variance(samples: &[f64]) -> f64 {
    if samples.len() < 2 {
        return 0.0;
    }
    let mean = mean(samples);
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    squares / (samples.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_spread() {
        assert_eq!((mean(&[]), median(&[]), variance(&[1.0])), (0.0, 0.0, 0.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(variance(&[1.0, 2.0, 6.0]), 7.0);
    }
}
