//! Mann and Whitney's U: do the samples of one side tend to be larger, whatever their
//! distribution?

use super::normal;

/// Up to this many on each side all arrangements are counted.
const EXACT_MAX: usize = 20;

/// The chance that samples of one distribution look at least as different as these (two-sided);
/// 1 if a side has none. It is exact for small sides without ties, else that of the normal
/// approximation with corrections for ties and continuity.
pub(crate) fn mann_whitney_p(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let (u, ties) = u_statistic(a, b);
    if ties.is_empty() && a.len() <= EXACT_MAX && b.len() <= EXACT_MAX {
        exact_p(u, a.len(), b.len())
    } else {
        approximate_p(u, a.len() as f64, b.len() as f64, &ties)
    }
}

/// Pairs in which `a` is larger, a tie counting one half; and how many share each value that more
/// than one has.
fn u_statistic(a: &[f64], b: &[f64]) -> (f64, Vec<f64>) {
    let of_a = a.iter().map(|value| (*value, true));
    let mut all: Vec<_> = of_a.chain(b.iter().map(|value| (*value, false))).collect();
    all.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
    let (mut rank_sum, mut before, mut ties) = (0.0, 0, Vec::new());
    for same in all.chunk_by(|x, y| x.0 == y.0) {
        let count = same.len();
        let rank = before as f64 + (count + 1) as f64 / 2.0;
        rank_sum += rank * same.iter().filter(|(_, is_a)| *is_a).count() as f64;
        if count > 1 {
            ties.push(count as f64);
        }
        before += count;
    }
    let n = a.len() as f64;
    (rank_sum - n * (n + 1.0) / 2.0, ties)
}

fn exact_p(u: f64, n: usize, m: usize) -> f64 {
    // ways[i][u]: arrangements of i of `a` and the b seen so far that have this U. The largest of
    // all is of `b` (an arrangement of one fewer of `b`) or of `a`, where it exceeds all of `b`.
    let u_max = n * m;
    let mut ways = vec![vec![0.0; u_max + 1]; n + 1];
    for row in &mut ways {
        row[0] = 1.0;
    }
    for seen in 1..=m {
        for i in 1..=n {
            let (fewer, rows) = ways.split_at_mut(i);
            for u in seen..=i * seen {
                rows[0][u] += fewer[i - 1][u - seen];
            }
        }
    }
    let total: f64 = ways[n].iter().sum();
    let smaller_u = u.min(u_max as f64 - u) as usize;
    let tail: f64 = ways[n][..=smaller_u].iter().sum();
    (2.0 * tail / total).min(1.0)
}

fn approximate_p(u: f64, n: f64, m: f64, ties: &[f64]) -> f64 {
    let all = n + m;
    let tied: f64 = ties.iter().map(|count| count.powi(3) - count).sum();
    let variance = n * m / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    (2.0 * normal::cumulative(-distance / variance.sqrt())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn close(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() < 1e-6, "{ours}, not {theirs}");
    }

    #[test]
    fn small_sides_are_counted() {
        // All of one side above all of the other: 2 of the C(10, 5) = 252 arrangements.
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        close(mann_whitney_p(&low, &high), 2.0 / 252.0);
        close(mann_whitney_p(&high, &low), 2.0 / 252.0);
        // U = 2: 0, 1, 2 and 2 again (as 2 and as 1 + 1), so 4 on each side. The critical value of
        // the tables for 5 and 5 at 5 %.
        close(mann_whitney_p(&[1.0, 2.0, 3.0, 4.0, 7.5], &high), 8.0 / 252.0);
        // Three each cannot show anything at 5 %: 2 of 20.
        close(mann_whitney_p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 0.1);
        // The example of SciPy's documentation (ages of diabetes patients): exactly 1/9.
        let (males, females) = ([19.0, 22.0, 16.0, 29.0, 24.0], [20.0, 11.0, 17.0, 12.0]);
        assert_eq!(u_statistic(&males, &females), (17.0, vec![]));
        close(mann_whitney_p(&males, &females), 1.0 / 9.0);
    }

    #[test]
    fn large_sides_are_approximated() {
        // The same example, as SciPy gives it for method="asymptotic".
        close(approximate_p(17.0, 5.0, 4.0, &[]), 0.111_346_886_534_130_41);
        // By hand: ties of 3 and 2, variance 16 / 12 * (9 - (24 + 6) / 56) = 11.285714,
        // z = (8 - 3.5 - 0.5) / 3.359422 = 1.190681.
        let (a, b) = ([1.0, 2.0, 2.0, 5.0], [2.5, 5.0, 6.0, 2.0]);
        assert_eq!(u_statistic(&a, &b), (3.5, vec![3.0, 2.0]));
        close(mann_whitney_p(&a, &b), 0.233779);
        let same = [1.0; 30];
        assert_eq!(mann_whitney_p(&same, &same), 1.0);
        assert_eq!(mann_whitney_p(&same, &[]), 1.0);
    }

    #[test]
    fn the_count_and_the_approximation_agree() {
        let mut random = Random::new(3);
        for _ in 0..50 {
            let a: Vec<f64> = (0..20).map(|_| random.normal()).collect();
            let b: Vec<f64> = (0..20).map(|_| random.normal() + 0.3).collect();
            let (u, _) = u_statistic(&a, &b);
            let (exact, approximate) = (exact_p(u, 20, 20), approximate_p(u, 20.0, 20.0, &[]));
            assert!((exact - approximate).abs() < 0.005, "{exact} and {approximate}");
        }
    }

    #[test]
    fn five_in_a_hundred_are_false() {
        let mut random = Random::new(11);
        let mut called = 0;
        for _ in 0..4_000 {
            let a: Vec<f64> = (0..12).map(|_| random.normal()).collect();
            let b: Vec<f64> = (0..12).map(|_| random.normal()).collect();
            called += usize::from(mann_whitney_p(&a, &b) < 0.05);
        }
        assert!((140..=240).contains(&called), "{called} of 4,000");
    }
}
