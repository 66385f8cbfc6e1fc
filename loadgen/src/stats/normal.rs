//! The normal distribution, and Student's t by way of it.

use std::f64::consts::TAU;

/// The share of a standard normal distribution below `x`.
pub(crate) fn cumulative(x: f64) -> f64 {
    // Beyond this the series cancels, and what is left is under 1e-15.
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    // Marsaglia (2004): 1/2 + density * (x + x^3/3 + x^5/(3*5) + ...).
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    while sum + term != sum || odd < x.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    let density = (-x * x / 2.0).exp() / TAU.sqrt();
    density.mul_add(sum, 0.5).clamp(0.0, 1.0)
}

/// The value that this share of a standard normal distribution is below.
pub(crate) fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    // Each turn halves 16: after 60 nothing is left of it.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if cumulative(middle) < share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The same of Student's t with these degrees of freedom, by the expansion of Cornish and Fisher
/// (Abramowitz and Stegun, 26.7.5): to three digits from 3 degrees on, 1 % short at 2, and taken
/// as 1 below that.
pub(crate) fn t_quantile(share: f64, freedom: f64) -> f64 {
    let v = freedom.max(1.0);
    let z = quantile(share);
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5)
            - 1920.0 * z.powi(3)
            - 945.0 * z)
            / 92_160.0,
    ];
    let by_power = terms.iter().zip(1..).map(|(term, power)| term / v.powi(power));
    z + by_power.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        let table =
            [(0.0, 0.5), (1.0, 0.841_344_746), (1.96, 0.975_002_105), (-3.0, 0.001_349_898)];
        for (x, share) in table {
            assert!((cumulative(x) - share).abs() < 1e-9, "{x}");
            assert!((quantile(share) - x).abs() < 1e-6, "{x}");
        }
        assert_eq!((cumulative(-40.0), cumulative(40.0)), (0.0, 1.0));
        assert!(cumulative(-7.9) < 1e-14 && cumulative(7.9) > 1.0 - 1e-14);
    }

    #[test]
    fn students_t_is_that_of_the_tables() {
        let table = [(3.0, 3.182), (4.0, 2.776), (8.0, 2.306), (30.0, 2.042), (1e9, 1.960)];
        for (freedom, t) in table {
            let ours = t_quantile(0.975, freedom);
            assert!((ours - t).abs() < 0.006, "{freedom}: {ours}, not {t}");
        }
        assert!((t_quantile(0.8, 30.0) - 0.854).abs() < 0.001);
    }
}
