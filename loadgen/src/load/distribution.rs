//! Times, many of them: a histogram that loses less than 0.1 % of each, and can be added to others
//! of its kind without loss.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    Deserializer as HdrDeserializer, Serializer, V2DeflateSerializer,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// From a nanosecond to an hour, to three digits. What is longer counts as an hour.
const NS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Nanoseconds.
#[derive(Clone, PartialEq)]
pub(crate) struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        let bounds = Histogram::new_with_bounds(1, NS_MAX, DIGITS);
        Self(bounds.unwrap_or_else(|_| unreachable!("1 ns to an hour, to three digits")))
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, p99) = (self.count(), self.quantile_ns(0.99));
        write!(f, "Distribution({count} times, p99 {p99} ns)")
    }
}

impl Distribution {
    /// Counts a time.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds all of another one.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, or it came from a file and is resized.
        if self.0.add(&other.0).is_err() {
            for value in other.0.iter_recorded() {
                self.0.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that this share of all (0.0 to 1.0) did not exceed; 0 if there are none.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The longest; 0 if there are none.
    pub(crate) fn max_ns(&self) -> u64 {
        self.0.max()
    }

    /// The shortest; 0 if there are none.
    pub(crate) fn min_ns(&self) -> u64 {
        if self.is_empty() { 0 } else { self.0.min() }
    }

    pub(crate) fn mean_ns(&self) -> f64 {
        self.0.mean()
    }

    pub(crate) fn stdev_ns(&self) -> f64 {
        self.0.stdev()
    }

    /// The histogram itself, for what is drawn of it.
    pub(crate) const fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// `None` if there are no times.
    pub(crate) fn if_any(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }
}

/// What stands in a file: figures to be read, and all of it to be added up.
#[derive(Serialize, Deserialize)]
struct Written {
    count: u64,
    min_ns: u64,
    mean_ns: f64,
    stdev_ns: f64,
    p50_ns: u64,
    p75_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p99_9_ns: u64,
    p99_99_ns: u64,
    max_ns: u64,
    /// HdrHistogram's V2 encoding, compressed, as base64: what other tools of that family read.
    hdr_v2: String,
}

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        written.map_err(|error| serde::ser::Error::custom(format!("a histogram: {error:?}")))?;
        Written {
            count: self.count(),
            min_ns: self.min_ns(),
            mean_ns: self.mean_ns(),
            stdev_ns: self.stdev_ns(),
            p50_ns: self.quantile_ns(0.5),
            p75_ns: self.quantile_ns(0.75),
            p90_ns: self.quantile_ns(0.9),
            p99_ns: self.quantile_ns(0.99),
            p99_9_ns: self.quantile_ns(0.999),
            p99_99_ns: self.quantile_ns(0.9999),
            max_ns: self.max_ns(),
            hdr_v2: STANDARD.encode(bytes),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let bytes = STANDARD.decode(&written.hdr_v2).map_err(D::Error::custom)?;
        let histogram = HdrDeserializer::new().deserialize(&mut &bytes[..]);
        histogram
            .map(Self)
            .map_err(|error| D::Error::custom(format!("hdr_v2 is no histogram: {error:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_without_loss() {
        let mut times = Distribution::default();
        for ns in [1, 1_000, 5_000_000, 5_000_000, 7_200_000_000_000] {
            times.record(ns);
        }
        let text = serde_json::to_string(&times).unwrap();
        let read: Distribution = serde_json::from_str(&text).unwrap();
        assert_eq!((read.count(), read.min_ns()), (5, 1));
        assert!(read.quantile_ns(0.5).abs_diff(5_000_000) <= 5_000);
        assert_eq!(read.max_ns(), times.max_ns());
        assert_eq!(read.histogram(), times.histogram());
        let mut sum = Distribution::default();
        sum.add(&read);
        sum.add(&times);
        assert_eq!(sum.count(), 10);
    }

    #[test]
    fn none_is_zero_and_not_a_failure() {
        let none = Distribution::default();
        assert_eq!((none.min_ns(), none.max_ns(), none.quantile_ns(0.99)), (0, 0, 0));
        let text = serde_json::to_string(&none).unwrap();
        let read: Distribution = serde_json::from_str(&text).unwrap();
        assert!(read.is_empty());
        assert!(none.if_any().is_none());
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let text = serde_json::to_string(&Distribution::default()).unwrap();
        for bad in ["\"hdr_v2\":\"!\"", "\"hdr_v2\":\"AAAA\""] {
            let at = text.find("\"hdr_v2\"").unwrap();
            let broken = format!("{}{bad}}}", &text[..at]);
            assert!(serde_json::from_str::<Distribution>(&broken).is_err());
        }
    }
}
