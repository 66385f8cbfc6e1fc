//! Scales with round ticks.

use crate::load::units;

/// A direction of a plot: what stands where.
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    /// Values and their labels.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) title: &'static str,
}

/// No time is drawn below that on a logarithmic axis: nothing that is measured here is so short.
const LOG_NS_MIN: f64 = 100.0;

impl Axis {
    /// From zero to a round value that is not below any of `values`.
    pub(super) fn from_zero(
        values: impl Iterator<Item = f64>,
        ticks_max: u32,
        step_min: f64,
        title: &'static str,
        label: fn(f64) -> String,
    ) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = round_step(most.max(step_min), ticks_max).max(step_min);
        let steps = (most / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|n| f64::from(n) * step);
        // Nothing is nothing in every unit.
        let label = |value| if value == 0.0 { "0".to_owned() } else { label(value) };
        let ticks = ticks.map(|value| (value, label(value))).collect();
        Self { low: 0.0, high: steps * step, is_log: false, ticks, title }
    }

    /// Seconds of a run, in the unit that suits how long it was.
    pub(super) fn run(low_s: f64, high_s: f64) -> Self {
        let span = (high_s - low_s).max(1e-3);
        let (unit, title) = match span {
            span if span > 7_200.0 => (3_600.0, "hours"),
            span if span > 900.0 => (60.0, "minutes"),
            _ => (1.0, "seconds"),
        };
        let step = round_step(span / unit, 6);
        let first = (low_s / unit / step).ceil();
        let last = ((low_s + span) / unit / step).floor();
        let ticks = (0..=(last - first).max(0.0) as u32).map(|n| (first + f64::from(n)) * step);
        let ticks = ticks.map(|value| (value * unit, plain(value))).collect();
        Self { low: low_s, high: low_s + span, is_log: false, ticks, title }
    }

    /// Nanoseconds, each ten times as far as the ones before. Zeros are drawn at the bottom.
    pub(super) fn log_time(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, LOG_NS_MIN);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        low = round_down(low.clamp(LOG_NS_MIN, high));
        high = round_up(high.max(low * 1.01));
        let decades = (high / low).log10();
        let is_wide = decades > 2.4;
        // At most six of them.
        let every = if is_wide { (decades / 6.0).ceil() as i32 } else { 1 };
        let mut ticks = Vec::new();
        let exponent = low.log10().floor() as i32;
        for step in 0..=(decades.ceil() as i32 + 1) {
            let factors: &[f64] = if is_wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            for factor in factors {
                let value = factor * 10_f64.powi(exponent + step);
                if value >= low * 0.999 && value <= high * 1.001 && step % every == 0 {
                    ticks.push((value, time(value)));
                }
            }
        }
        Self { low, high, is_log: true, ticks, title: "" }
    }

    /// Shares of all on the way to one: each step leaves a tenth of what was left.
    pub(super) fn percentiles() -> Self {
        let labels = ["0", "90", "99", "99.9", "99.99", "99.999"];
        let ticks = (0..).map(f64::from).zip(labels.map(str::to_owned)).collect();
        Self { low: 0.0, high: 5.0, is_log: false, ticks, title: "percentile, %" }
    }

    pub(super) const fn titled(mut self, title: &'static str) -> Self {
        self.title = title;
        self
    }

    /// Where a value stands, from 0.0 to 1.0.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, so that there are at most so many steps.
fn round_step(span: f64, steps_max: u32) -> f64 {
    round_up(span / f64::from(steps_max))
}

/// The next 1, 2 or 5 times a power of ten that is not below.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    // What is a little more by the nature of floating point is the same.
    let factor = factors.into_iter().find(|factor| value <= factor * power * 1.000_001);
    factor.unwrap_or(10.0) * power
}

/// The next that is not above.
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factor = [5.0, 2.0].into_iter().find(|factor| value >= factor * power * 0.999_999);
    factor.unwrap_or(1.0) * power
}

/// A round time, without digits that say nothing: `5 ms`.
pub(super) fn time(ns: f64) -> String {
    short(&units::time(ns))
}

/// A round size.
pub(super) fn bytes(bytes: f64) -> String {
    short(&units::bytes(bytes as u64))
}

/// A round number, its thousands as `k`.
pub(super) fn thousands(number: f64) -> String {
    if number >= 1e6 {
        format!("{}M", plain(number / 1e6))
    } else if number >= 1e4 {
        format!("{}k", plain(number / 1e3))
    } else {
        plain(number)
    }
}

/// A number with the digits that it needs, at most three behind the point.
fn plain(number: f64) -> String {
    if number.abs() >= 1_000.0 && number.fract() == 0.0 {
        return units::number(number);
    }
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn short(text: &str) -> String {
    text.replace(".00 ", " ").replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = Axis::from_zero([49_800.0].into_iter(), 5, 1.0, "", thousands);
        assert_eq!(labels(&axis), ["0", "10k", "20k", "30k", "40k", "50k"]);
        let axis = Axis::from_zero([0.0].into_iter(), 5, 1.0, "", thousands);
        assert_eq!(labels(&axis), ["0", "1"]);
        let axis = Axis::from_zero([1.03].into_iter(), 5, 0.01, "", thousands);
        assert_eq!(labels(&axis), ["0", "0.5", "1", "1.5"]);
        let axis = Axis::run(-1.0, 32.0);
        assert_eq!(labels(&axis), ["0", "10", "20", "30"]);
        assert_eq!((axis.share(-1.0), axis.share(32.0)), (0.0, 1.0));
        let axis = Axis::run(0.0, 86_400.0);
        assert_eq!((labels(&axis), axis.title), (vec!["0", "5", "10", "15", "20"], "hours"));
    }

    #[test]
    fn logarithmic_ticks_suit_their_range() {
        let axis = Axis::log_time([420_000.0, 610_000.0].into_iter());
        assert_eq!(labels(&axis), ["200 µs", "500 µs", "1 ms"]);
        let axis = Axis::log_time([12_000.0, 90e9].into_iter());
        assert_eq!(labels(&axis), ["10 µs", "1 ms", "100 ms", "10 s"]);
        assert_eq!(axis.share(0.0), 0.0);
        // Nothing, a single value, and values below all that is drawn.
        for values in [vec![], vec![0.0], vec![70_000.0], vec![1.0, 2.0]] {
            let axis = Axis::log_time(values.clone().into_iter());
            assert!(!axis.ticks.is_empty(), "{values:?}");
            assert!(values.iter().all(|value| axis.share(*value).is_finite()), "{values:?}");
        }
    }
}
