use super::*;

const FEW: usize = 600;

fn bootstrap(statistic: Statistic, seed: u64) -> Bootstrap {
    Bootstrap { statistic, resamples: FEW, seed }
}

/// Times as they are: none below zero, a tail above. Their median is `median`, their mean
/// `median * exp(spread^2 / 2)`.
fn times(random: &mut Random, count: usize, median: f64, spread: f64) -> Vec<f64> {
    (0..count).map(|_| median * (spread * random.normal()).exp()).collect()
}

/// Each as much like the one before as `likeness` says.
fn series(random: &mut Random, count: usize, likeness: f64) -> Vec<f64> {
    let mut state = random.normal();
    let fresh = (1.0 - likeness * likeness).sqrt();
    let mut next = || {
        state = likeness * state + fresh * random.normal();
        100.0 + 10.0 * state
    };
    (0..count).map(|_| next()).collect()
}

/// In how many of 1,000 the interval has the true ratio, by a seed that never changes.
fn covered(mut sides: impl FnMut(&mut Random) -> (Option<Interval>, f64)) -> usize {
    let mut random = Random::new(2_026);
    let hits = (0..1_000).filter(|_| {
        let (interval, truth) = sides(&mut random);
        let Interval { low, high, .. } = interval.expect("there are enough samples");
        (low..=high).contains(&truth)
    });
    hits.count()
}

#[test]
fn the_ratio_is_that_of_the_samples_and_the_seed_repeats_it() {
    let (baseline, candidate) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 10.5]);
    let mean = bootstrap(Statistic::Mean, 1).ratio(&baseline, &candidate, [1, 1]).unwrap();
    let median = bootstrap(Statistic::Median, 1).ratio(&baseline, &candidate, [1, 1]).unwrap();
    assert!((mean.ratio - 30.5 / 15.0).abs() < 1e-12);
    assert_eq!(median.ratio, 2.0);
    assert!(mean.low < mean.ratio && mean.ratio < mean.high);
    let again = bootstrap(Statistic::Mean, 1).ratio(&baseline, &candidate, [1, 1]).unwrap();
    assert_eq!(mean, again);
    let other = bootstrap(Statistic::Mean, 2).ratio(&baseline, &candidate, [1, 1]).unwrap();
    assert_ne!(mean, other);
}

#[test]
fn too_little_gives_no_interval() {
    let mean = bootstrap(Statistic::Mean, 1);
    assert_eq!(mean.ratio(&[1.0, 2.0], &[1.0, 2.0, 3.0], [1, 1]), None);
    assert_eq!(mean.ratio(&[1.0; 8], &[1.0; 8], [4, 1]), None);
    assert_eq!(mean.ratio(&[0.0; 8], &[1.0; 8], [1, 1]), None);
    let same = mean.ratio(&[2.0; 8], &[2.0; 8], [1, 1]).unwrap();
    assert_eq!(same, Interval { ratio: 1.0, low: 1.0, high: 1.0 });
    assert!(!same.excludes_one());
}

#[test]
fn nineteen_of_twenty_intervals_of_five_runs_have_the_true_ratio() {
    let mut seed = 0;
    for (statistic, allowed) in [(Statistic::Mean, 935..=985), (Statistic::Median, 935..=999)] {
        let hits = covered(|random| {
            seed += 1;
            let baseline = times(random, 5, 100.0, 0.1);
            let candidate = times(random, 5, 120.0, 0.1);
            (bootstrap(statistic, seed).ratio(&baseline, &candidate, [1, 1]), 1.2)
        });
        assert!(allowed.contains(&hits), "{statistic:?}: {hits} of 1,000");
    }
}

#[test]
fn nineteen_of_twenty_intervals_of_many_samples_have_the_true_ratio() {
    let mut seed = 0;
    let hits = covered(|random| {
        seed += 1;
        let (baseline, candidate) = (times(random, 40, 100.0, 0.4), times(random, 60, 80.0, 0.4));
        (bootstrap(Statistic::Median, seed).ratio(&baseline, &candidate, [1, 1]), 0.8)
    });
    assert!((930..=985).contains(&hits), "{hits} of 1,000");
}

#[test]
fn neighbours_that_are_alike_do_not_make_it_too_sure() {
    let (mut seed, mut hits_without) = (0, 0);
    let hits = covered(|random| {
        seed += 1;
        let (baseline, candidate) = (series(random, 60, 0.6), series(random, 60, 0.6));
        let blocks = [block_length(&baseline), block_length(&candidate)];
        let mean = bootstrap(Statistic::Mean, seed);
        let without = mean.ratio(&baseline, &candidate, [1, 1]).unwrap();
        hits_without += usize::from((without.low..=without.high).contains(&1.0));
        (mean.ratio(&baseline, &candidate, blocks), 1.0)
    });
    assert!((910..=980).contains(&hits), "{hits} of 1,000");
    assert!(hits_without < 750, "{hits_without} of 1,000 if they are taken for independent");
}

#[test]
fn blocks_are_as_long_as_the_resemblance() {
    let mut random = Random::new(5);
    assert_eq!(block_length(&[]), 1);
    assert_eq!(block_length(&[1.0, 2.0]), 1);
    assert_eq!(block_length(&[4.0; 27]), 3);
    let independent = block_length(&series(&mut random, 1_000, 0.0));
    let alike = block_length(&series(&mut random, 1_000, 0.8));
    // 1.5 * (sqrt(6) * 0.8 / 0.36)^(2/3) * 10 = 46
    assert!((10..=14).contains(&independent), "{independent}");
    assert!((40..=53).contains(&alike), "{alike}");
    let drift: Vec<f64> = (0..30).map(f64::from).collect();
    assert_eq!(block_length(&drift), 10);
}
