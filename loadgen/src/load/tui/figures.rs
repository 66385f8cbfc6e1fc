//! Numbers as they stand on the screen.

use crate::load::units;

pub(super) use crate::load::units::{bytes, count};

/// A time; `-` if there is none.
pub(super) fn time(ns: u64) -> String {
    if ns == 0 { "-".into() } else { units::time_ns(ns) }
}

pub(super) fn rate(per_s: f64) -> String {
    count(per_s.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let times = [
            (0, "-"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (45_600, "45.6 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (1_234_567, "1.23 ms"),
            (9_996_000, "10.0 ms"),
            (12_345_678_900, "12.3 s"),
        ];
        for (ns, text) in times {
            assert_eq!(time(ns), text);
        }
        assert_eq!([count(0), count(999), count(1_000)], ["0", "999", "1,000"]);
        assert_eq!((rate(-1.0), rate(1_234_567.6)), ("0".into(), "1,234,568".into()));
    }
}
