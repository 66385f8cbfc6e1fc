//! Limits that a run has to keep: `p99<5ms`, `errors<0.1%`, `rate>=9900`.

use std::str::FromStr;

use super::distribution::Distribution;
use super::report::{LoadKind, Report, SloResult};
use super::units;

/// What may stand in a limit, for whoever got it wrong.
const ALLOWED: &str = "give METRIC, one of < <= > >=, and a limit: pN (p50, p99, p99.9), max, min \
     or mean with a time (5ms; ns, us, ms, s), which mean the response time, or another one as in \
     p99(service) or connect.p99 (response, service, lag, ping, connect, tls, upgrade, \
     first_message, skew, slow); errors or reach with a share (0.1%); rate with messages a second \
     (9900 or 10k)";

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slo {
    text: String,
    metric: Metric,
    comparison: Comparison,
    /// In nanoseconds, as a share, or a second.
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Time(Source, Figure),
    Errors,
    Reach,
    Rate,
}

/// Which times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What the report shows first: response, where there is such a thing.
    Headline,
    Response,
    Service,
    Lag,
    Ping,
    Connect,
    Tls,
    Upgrade,
    FirstMessage,
    Skew,
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// 0.0 to 1.0
    Quantile(f64),
    Max,
    Mean,
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Slo {
    /// Whether the run has kept it. What was not measured at all is not kept, and counts as 0.
    pub(crate) fn evaluate(&self, report: &Report) -> SloResult {
        let measured = self.measured(report);
        SloResult {
            text: self.text.clone(),
            limit: self.limit,
            measured: measured.unwrap_or(0.0),
            met: measured.is_some_and(|measured| self.comparison.holds(measured, self.limit)),
        }
    }

    /// The sentence for the verdict where it was not kept.
    pub(crate) fn breach(&self, report: &Report) -> Option<String> {
        let text = &self.text;
        if self.evaluate(report).met {
            return None;
        }
        Some(match self.measured(report) {
            Some(measured) => format!("{text} is not kept: {}", self.metric.show(measured)),
            None => format!("{text} is not kept: nothing that it limits was measured"),
        })
    }

    /// Whether a run that kept this proves that the server does, even if the client was late.
    ///
    /// What counts from when a message was due has our lateness in it, and a server that serves in
    /// order has done nothing earlier because it was asked later: the truth is no worse. What
    /// counts from when we sent may look better than it is, since messages that should have come
    /// together came apart. Lower bounds, and our lag itself, are what they are.
    pub(crate) fn stands_if_client_was_late(&self, report: &Report) -> bool {
        match (self.metric, self.comparison) {
            (Metric::Time(source, _), Comparison::Less | Comparison::LessOrEqual) => {
                source.stands_if_client_was_late(report)
            }
            _ => true,
        }
    }

    /// In the unit of the limit; `None` where there was nothing to measure.
    fn measured(&self, report: &Report) -> Option<f64> {
        match self.metric {
            Metric::Time(source, figure) => {
                let times = source.of(report).filter(|times| !times.is_empty())?;
                Some(match figure {
                    Figure::Quantile(quantile) => times.quantile_ns(quantile) as f64,
                    Figure::Max => times.max_ns() as f64,
                    Figure::Mean => times.mean_ns(),
                    Figure::Min => times.min_ns() as f64,
                })
            }
            Metric::Errors => error_share(report),
            Metric::Reach => report.fanout.as_ref().map(|fanout| fanout.reach),
            Metric::Rate => rate_per_s(report),
        }
    }
}

/// Messages a second: those sent, or where the client only listens, those received; `None` if
/// there were none.
pub(crate) fn rate_per_s(report: &Report) -> Option<f64> {
    let totals = &report.totals;
    match report.plan.load {
        LoadKind::Open | LoadKind::Closed => {
            (totals.messages_sent > 0).then_some(report.client.achieved_per_s)
        }
        LoadKind::Receive => (totals.messages_received > 0 && report.measured_s > 0.0)
            .then(|| totals.messages_received as f64 / report.measured_s),
    }
}

/// Errors of all that was tried: messages and connections. `None` if nothing was.
pub(crate) fn error_share(report: &Report) -> Option<f64> {
    let totals = &report.totals;
    let messages = totals.messages_sent.max(totals.messages_received);
    let tried = messages + totals.connections_opened + totals.connections_failed;
    // Both count the same mishaps, each perhaps some that the other has no place for.
    let listed: u64 = report.errors.iter().map(|error| error.count).sum();
    let counted =
        totals.unanswered + totals.mismatches + totals.connections_failed + totals.connections_lost;
    (tried > 0).then(|| listed.max(counted) as f64 / tried as f64)
}

impl Source {
    fn of(self, report: &Report) -> Option<&Distribution> {
        let (latency, phases) = (&report.latency, &report.phases);
        match self {
            Self::Headline => latency.headline().map(|(_, times)| times),
            Self::Response => latency.response.as_ref(),
            Self::Service => latency.service.as_ref(),
            Self::Lag => latency.lag.as_ref(),
            Self::Ping => latency.ping.as_ref(),
            Self::Connect => phases.connect.as_ref(),
            Self::Tls => phases.tls.as_ref(),
            Self::Upgrade => phases.upgrade.as_ref(),
            Self::FirstMessage => phases.first_message.as_ref(),
            Self::Skew => report.fanout.as_ref()?.skew.as_ref(),
            Self::Slow => report.slow.as_ref()?.response.as_ref(),
        }
    }

    fn stands_if_client_was_late(self, report: &Report) -> bool {
        match self {
            Self::Headline => report.latency.response.is_some(),
            Self::Response | Self::Slow | Self::Lag => true,
            // In a storm from when it was due, else from before the load.
            Self::Connect => true,
            Self::Tls | Self::Upgrade => report.plan.scenario != "storm",
            Self::Service | Self::Ping | Self::FirstMessage | Self::Skew => false,
        }
    }
}

impl Comparison {
    fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::LessOrEqual => measured <= limit,
            Self::Greater => measured > limit,
            Self::GreaterOrEqual => measured >= limit,
        }
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?}: {what}; {ALLOWED}");
        let squeezed: String = text.split_whitespace().collect();
        let at = squeezed.find(['<', '>']).ok_or_else(|| wrong("there is no < or >"))?;
        let (left, right) = squeezed.split_at(at);
        let (comparison, right) = comparison(right);
        let metric = Metric::parse(left)
            .ok_or_else(|| wrong(&format!("{left:?} is nothing that is measured")))?;
        let limit = metric
            .parse_limit(right)
            .filter(|limit| limit.is_finite() && *limit >= 0.0)
            .ok_or_else(|| wrong(&format!("{right:?} is no {} for {left}", metric.unit())))?;
        Ok(Self { text: text.trim().to_owned(), metric, comparison, limit })
    }
}

/// Splits off what `text` begins with, one of the four.
fn comparison(text: &str) -> (Comparison, &str) {
    let known = [
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
    ];
    let found = known.iter().find_map(|(sign, is)| Some((*is, text.strip_prefix(sign)?)));
    found.unwrap_or((Comparison::Greater, text.trim_start_matches('>')))
}

impl Metric {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "errors" => return Some(Self::Errors),
            "reach" => return Some(Self::Reach),
            "rate" => return Some(Self::Rate),
            _ => {}
        }
        if let Some(figure) = Figure::parse(text) {
            return Some(Self::Time(Source::Headline, figure));
        }
        // p99.9(service), or service.p99.9
        let (figure, source) = match text.strip_suffix(')') {
            Some(text) => text.split_once('(')?,
            None => text.split_once('.').map(|(source, figure)| (figure, source))?,
        };
        Some(Self::Time(source_named(source)?, Figure::parse(figure)?))
    }

    fn parse_limit(self, text: &str) -> Option<f64> {
        match self {
            Self::Time(..) => {
                let at = text.find(|c: char| c.is_alphabetic())?;
                let ns = match &text[at..] {
                    "ns" => 1.0,
                    "us" | "µs" => 1e3,
                    "ms" => 1e6,
                    "s" => 1e9,
                    _ => return None,
                };
                Some(number(&text[..at])? * ns)
            }
            Self::Errors | Self::Reach => Some(number(text.strip_suffix('%')?)? / 100.0),
            Self::Rate => {
                let text = text.strip_suffix("/s").unwrap_or(text);
                let of = |suffix, factor| Some(number(text.strip_suffix(suffix)?)? * factor);
                of("k", 1e3).or_else(|| of("M", 1e6)).or_else(|| number(text))
            }
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Time(..) => "time",
            Self::Errors | Self::Reach => "share",
            Self::Rate => "rate",
        }
    }

    fn show(self, measured: f64) -> String {
        match self {
            Self::Time(..) => units::time(measured),
            Self::Errors | Self::Reach => units::share(measured),
            Self::Rate => units::rate(measured),
        }
    }
}

/// Digits and a point, and nothing that only `f64` takes for a number, such as `inf`.
fn number(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_');
    if digits { text.replace('_', "").parse().ok() } else { None }
}

fn source_named(name: &str) -> Option<Source> {
    Some(match name {
        "response" => Source::Response,
        "service" => Source::Service,
        "lag" => Source::Lag,
        "ping" => Source::Ping,
        "connect" => Source::Connect,
        "tls" => Source::Tls,
        "upgrade" => Source::Upgrade,
        "first_message" => Source::FirstMessage,
        "skew" => Source::Skew,
        "slow" => Source::Slow,
        _ => return None,
    })
}

impl Figure {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "max" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "min" => Some(Self::Min),
            _ => {
                let percent = number(text.strip_prefix('p')?)?;
                (0.0..=100.0).contains(&percent).then_some(Self::Quantile(percent / 100.0))
            }
        }
    }
}

#[cfg(test)]
mod tests;
