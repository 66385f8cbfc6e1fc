//! The message of Prometheus' remote write 1.0. It is three kinds of messages deep and needs two
//! wire types besides numbers, so it is written by hand, without a generator.
//!
//! ```proto
//! message WriteRequest { repeated TimeSeries timeseries = 1; }
//! message TimeSeries { repeated Label labels = 1; repeated Sample samples = 2; }
//! message Label { string name = 1; string value = 2; }
//! message Sample { double value = 1; int64 timestamp = 2; }
//! ```

use super::super::exposition::{Exposition, PREFIX, Sample};

#[cfg(test)]
#[path = "../../../../tests/load/write_request.rs"]
mod write_request;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;

/// All samples, at that time; a `value` takes the place of each one's own.
pub(super) fn write_request(
    exposition: &Exposition,
    labels: &[(String, String)],
    unix_ms: i64,
    value: Option<f64>,
) -> Vec<u8> {
    let mut request = Vec::new();
    for family in &exposition.families {
        for sample in &family.samples {
            let name = format!("{PREFIX}{}{}", family.name, sample.suffix);
            let series = time_series(&name, sample, labels, unix_ms, value);
            bytes(&mut request, 1, &series);
        }
    }
    request
}

fn time_series(
    name: &str,
    sample: &Sample,
    labels: &[(String, String)],
    unix_ms: i64,
    value: Option<f64>,
) -> Vec<u8> {
    let labels = sample.labels.iter().chain(labels);
    // "a label with an empty value is considered equivalent to a label that does not exist"
    let labels = labels.map(|(name, value)| (&**name, &**value)).filter(|it| !it.1.is_empty());
    let mut labels: Vec<_> = labels.chain([("__name__", name)]).collect();
    // "MUST be sorted in lexicographical order" by the specification
    labels.sort_unstable();
    let mut series = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        bytes(&mut label, 1, name.as_bytes());
        bytes(&mut label, 2, value.as_bytes());
        bytes(&mut series, 1, &label);
    }
    let mut written = vec![1 << 3 | FIXED64];
    written.extend_from_slice(&value.unwrap_or(sample.value).to_le_bytes());
    written.push(2 << 3 | VARINT);
    varint(&mut written, unix_ms as u64);
    bytes(&mut series, 2, &written);
    series
}

fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | BYTES);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Seven bits at a time, the lowest first.
fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::super::exposition::Kind;
    use super::write_request::{Sample, WriteRequest};
    use super::{Exposition, write_request};

    #[test]
    fn what_is_written_is_read_by_others() {
        let mut exposition = Exposition::with_labels(&[("zone".into(), "é".repeat(200))]);
        exposition.family("errors_total", Kind::Counter, "Errors.");
        exposition.sample("", &[("error", "b"), ("empty", "")], 1.5);
        exposition.gauge("open", "Open.", -0.0);
        let labels = [("job".into(), "sockeye".into()), ("instance".into(), "here".into())];
        let now_ms = 1_772_366_400_123;
        let bytes = write_request(&exposition, &labels, now_ms, None);
        let read = WriteRequest::decode(&*bytes).unwrap();
        assert_eq!(read.timeseries.len(), 2);
        let series = &read.timeseries[0];
        let labels: Vec<_> =
            series.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
        let zone = "é".repeat(200);
        let expected = [
            ("__name__", "sockeye_load_errors_total"),
            ("error", "b"),
            ("instance", "here"),
            ("job", "sockeye"),
            ("zone", &zone),
        ];
        assert_eq!(labels, expected);
        assert_eq!(series.samples, [Sample { value: 1.5, timestamp: now_ms }]);
        let other = write_request(&exposition, &[], i64::MAX, Some(7.0));
        for series in WriteRequest::decode(&*other).unwrap().timeseries {
            assert_eq!(series.samples, [Sample { value: 7.0, timestamp: i64::MAX }]);
        }
    }
}
