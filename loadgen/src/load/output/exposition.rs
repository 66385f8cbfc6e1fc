//! Figures as Prometheus has them: families of samples with labels. As a text they are its
//! exposition format 0.0.4.

use std::fmt::Write as _;

use super::facts;
use crate::load::buckets::Buckets;
use crate::load::distribution::Distribution;

/// What all names begin with.
pub(super) const PREFIX: &str = "sockeye_load_";
/// Names of labels that mean something in some family.
pub(super) const LABELS: [&str; 12] = [
    "version", "scenario", "url", "load", "backend", "outcome", "phase", "quantile", "le", "error",
    "code", "slo",
];

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// What follows the family's name: `_bucket`, `_sum`, `_count` or nothing.
    pub(super) suffix: &'static str,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// Numbers of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Without the prefix.
    pub(super) name: String,
    kind: Kind,
    help: String,
    pub(super) samples: Vec<Sample>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Exposition {
    comments: Vec<String>,
    /// Labels that each sample has.
    labels: Vec<(String, String)>,
    pub(super) families: Vec<Family>,
}

impl Exposition {
    /// One whose samples all have these labels.
    pub(super) fn with_labels(labels: &[(String, String)]) -> Self {
        Self { labels: labels.to_vec(), ..Self::default() }
    }

    pub(super) fn comment(&mut self, word: &str, text: &str) {
        self.comments.push(format!("{word}: {text}"));
    }

    /// Begins a family; the samples that follow are its.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.families.push(Family { name, kind, help, samples: Vec::new() });
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help);
        self.sample("", &[], value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Counter, help);
        self.sample("", &[], value);
    }

    /// A sample of the family that was begun last.
    pub(super) fn sample(&mut self, suffix: &'static str, labels: &[(&str, &str)], value: f64) {
        let own = labels.iter().map(|(name, value)| ((*name).to_owned(), facts::printable(value)));
        let labels = own.chain(self.labels.iter().cloned()).collect();
        if let Some(family) = self.families.last_mut() {
            family.samples.push(Sample { suffix, labels, value });
        }
    }

    /// Quantiles of distributions; their names are labels where they have any.
    pub(super) fn summary(&mut self, name: &str, help: &str, all: &[(&str, &Distribution)]) {
        self.family(name, Kind::Summary, help);
        for (phase, times) in all {
            let labels: &[_] = if phase.is_empty() { &[] } else { &[("phase", *phase)] };
            for quantile in ["0.5", "0.9", "0.99", "0.999", "0.9999", "1"] {
                let share = quantile.parse().unwrap_or(1.0);
                let labels = [labels, &[("quantile", quantile)]].concat();
                self.sample("", &labels, times.quantile_ns(share) as f64 / 1e9);
            }
            let sum = times.mean_ns() * times.count() as f64 / 1e9;
            self.sample("_sum", labels, sum);
            self.sample("_count", labels, times.count() as f64);
        }
    }

    /// The same of times in buckets.
    pub(super) fn histogram(&mut self, name: &str, help: &str, all: &[(&str, &Buckets)]) {
        self.family(name, Kind::Histogram, help);
        for (phase, times) in all {
            let labels: &[_] = if phase.is_empty() { &[] } else { &[("phase", *phase)] };
            let count = times.count();
            for (bound, count) in times.cumulative().chain([("+Inf", count)]) {
                self.sample("_bucket", &[labels, &[("le", bound)]].concat(), count as f64);
            }
            self.sample("_sum", labels, times.sum_ns() as f64 / 1e9);
            self.sample("_count", labels, count as f64);
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            let _ = writeln!(text, "# {comment}");
        }
        for Family { name, kind, help, samples } in &self.families {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
                Kind::Summary => "summary",
            };
            let _ = writeln!(text, "# HELP {PREFIX}{name} {help}");
            let _ = writeln!(text, "# TYPE {PREFIX}{name} {kind}");
            for Sample { suffix, labels, value } in samples {
                let _ = write!(text, "{PREFIX}{name}{suffix}");
                let labels =
                    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
                let labels = labels.collect::<Vec<_>>().join(",");
                if !labels.is_empty() {
                    let _ = write!(text, "{{{labels}}}");
                }
                let _ = writeln!(text, " {value}");
            }
        }
        text
    }
}

/// The value of a label, which has no line breaks any more.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_on_their_line() {
        let mut out = Exposition::with_labels(&[("team".into(), "a\\b".into())]);
        out.family("errors_total", Kind::Counter, "Errors.");
        out.sample("", &[("error", "a\"b\\c\nd")], 2.0);
        let text = out.text();
        let line = text.lines().last().unwrap();
        let expected = r#"sockeye_load_errors_total{error="a\"b\\c\\u{a}d",team="a\\b"} 2"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn a_histogram_ends_with_all_of_it() {
        let mut times = Buckets::default();
        [15_000, 90_000_000_000].into_iter().for_each(|ns| times.record(ns));
        let mut out = Exposition::default();
        out.histogram("x_seconds", "X.", &[("tls", &times)]);
        let text = out.text();
        for line in [
            "# TYPE sockeye_load_x_seconds histogram",
            "sockeye_load_x_seconds_bucket{phase=\"tls\",le=\"1e-05\"} 0",
            "sockeye_load_x_seconds_bucket{phase=\"tls\",le=\"2e-05\"} 1",
            "sockeye_load_x_seconds_bucket{phase=\"tls\",le=\"50.0\"} 1",
            "sockeye_load_x_seconds_bucket{phase=\"tls\",le=\"+Inf\"} 2",
            "sockeye_load_x_seconds_sum{phase=\"tls\"} 90.000015",
            "sockeye_load_x_seconds_count{phase=\"tls\"} 2",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in {text}");
        }
    }
}
