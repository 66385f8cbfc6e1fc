//! Times in few buckets, as Prometheus has them: counted while messages fly, and added up over
//! threads and machines.

/// What a bucket counts up to (and including), in nanoseconds, and in seconds as the label `le`
/// has it: written as Prometheus writes floats itself, so that a series is the same whichever way
/// it comes.
pub(crate) const BOUNDS: [(u64, &str); 21] = [
    (10_000, "1e-05"),
    (20_000, "2e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (200_000, "0.0002"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_000_000, "0.002"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (200_000_000, "0.2"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_000_000_000, "2.0"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
    (20_000_000_000, "20.0"),
    (50_000_000_000, "50.0"),
];

/// For each number of bits, the first bound that a time of so many bits may not exceed. Bounds are
/// at least a factor of two apart, so no two of them have the same number of bits: a time exceeds
/// this one or it does not, and is below the next.
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits < first.len() {
        let shortest = 1_u64 << (bits - 1);
        let mut at = 0;
        while at < BOUNDS.len() && BOUNDS[at].0 < shortest {
            at += 1;
        }
        first[bits] = at as u8;
        bits += 1;
    }
    first
};

/// How many times there were, and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Each without those before it; the last is for what exceeds all bounds.
    counts: [u64; BOUNDS.len() + 1],
    sum_ns: u64,
}

impl Buckets {
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        let first = usize::from(FIRST[(u64::BITS - ns.leading_zeros()) as usize]);
        let exceeds = BOUNDS.get(first).is_some_and(|(bound_ns, _)| ns > *bound_ns);
        self.counts[first + usize::from(exceeds)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// For each bound the times that did not exceed it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.iter().map(|(_, bound)| *bound).zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_that_its_bound_says() {
        let near = |ns: u64| [ns.saturating_sub(1), ns, ns.saturating_add(1)];
        let powers = (0..64).flat_map(|bit| near(1 << bit));
        for ns in BOUNDS.iter().flat_map(|(ns, _)| near(*ns)).chain(powers).chain([u64::MAX]) {
            let mut one = Buckets::default();
            one.record(ns);
            let expected = BOUNDS.partition_point(|(bound_ns, _)| *bound_ns < ns);
            assert_eq!(one.counts.iter().position(|count| *count == 1), Some(expected), "{ns}");
            assert_eq!((one.count(), one.sum_ns()), (1, ns));
        }
    }

    #[test]
    fn labels_are_the_bounds_in_seconds() {
        for (ns, label) in BOUNDS {
            let seconds: f64 = label.parse().unwrap();
            assert_eq!((seconds * 1e9).round() as u64, ns);
        }
    }

    #[test]
    fn they_are_cumulative_and_add_up() {
        let (mut a, mut b) = (Buckets::default(), Buckets::default());
        [5_000, 150_000, 150_000].into_iter().for_each(|ns| a.record(ns));
        [150_000, 60_000_000_000].into_iter().for_each(|ns| b.record(ns));
        a.add(&b);
        let at = |label| a.cumulative().find(|(bound, _)| *bound == label).unwrap().1;
        assert_eq!([at("1e-05"), at("0.0001"), at("0.0002"), at("50.0")], [1, 1, 4, 4]);
        assert_eq!((a.count(), a.sum_ns()), (5, 60_000_455_000));
    }
}
