//! What a comparison could have shown at all.

use super::{SIGNIFICANCE, normal};

/// The chance to see a difference of the size that [`minimum_detectable_effect`] gives.
const POWER: f64 = 0.8;

/// The smallest relative difference that so many samples on each side show four times out of
/// five, where their standard deviation is this share of their mean; `None` for fewer than two.
pub(crate) fn minimum_detectable_effect(samples: usize, relative_deviation: f64) -> Option<f64> {
    if samples < 2 {
        return None;
    }
    let n = samples as f64;
    let freedom = 2.0 * (n - 1.0);
    let sure = normal::t_quantile(1.0 - SIGNIFICANCE / 2.0, freedom);
    let seen = normal::t_quantile(POWER, freedom);
    Some((sure + seen) * relative_deviation * (2.0 / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::{mean, random::Random, variance};
    use super::*;

    #[test]
    fn it_is_that_of_the_tables() {
        // Tables of the t test (5 % two-sided, power 0.8): 17 on each side for one deviation, 64
        // for half a one, 26 for 0.8.
        for (samples, deviations) in [(17, 1.0), (26, 0.8), (64, 0.5)] {
            let effect = minimum_detectable_effect(samples, 1.0).unwrap();
            assert!((effect - deviations).abs() < 0.02, "{samples}: {effect}");
        }
        // By hand: (2.306 + 0.889) * 0.02 * sqrt(2 / 5).
        let five = minimum_detectable_effect(5, 0.02).unwrap();
        assert!((five - 0.0404).abs() < 0.0001, "{five}");
        assert_eq!(minimum_detectable_effect(1, 0.02), None);
    }

    #[test]
    fn four_of_five_such_differences_are_seen() {
        let mut random = Random::new(17);
        let effect = minimum_detectable_effect(8, 0.05).unwrap();
        let mut seen = 0;
        for _ in 0..2_000 {
            let mut side = |middle: f64| -> Vec<f64> {
                (0..8).map(|_| middle + 0.05 * random.normal()).collect()
            };
            let (a, b) = (side(1.0), side(1.0 + effect));
            let error = ((variance(&a) + variance(&b)) / 8.0).sqrt();
            let t = (mean(&b) - mean(&a)) / error;
            seen += usize::from(t > normal::t_quantile(0.975, 14.0));
        }
        assert!((1_520..=1_680).contains(&seen), "{seen} of 2,000");
    }
}
