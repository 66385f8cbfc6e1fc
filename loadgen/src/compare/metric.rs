//! What is compared: one figure of a run, or of a window of it.

use crate::load::report::{LoadKind, PlanInfo, Report, Window};
use crate::load::{slo, units};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    P50,
    P90,
    P99,
    P99_9,
    Rate,
    Cpu,
    Rss,
    Errors,
}

impl Metric {
    pub(crate) const ALL: [Self; 8] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P99_9,
        Self::Rate,
        Self::Cpu,
        Self::Rss,
        Self::Errors,
    ];

    /// As it is written on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P99_9 => "p99.9",
            Self::Rate => "rate",
            Self::Cpu => "cpu",
            Self::Rss => "rss",
            Self::Errors => "errors",
        }
    }

    /// As a person reads it; times are called what the report calls them.
    pub(crate) fn title(self, times: &str) -> String {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::P99_9 => format!("{times} {}", self.name()),
            Self::Rate => "rate".into(),
            Self::Cpu => "server CPU/message".into(),
            Self::Rss => "server RSS".into(),
            Self::Errors => "errors".into(),
        }
    }

    /// The words for better and worse.
    pub(crate) const fn words(self) -> [&'static str; 2] {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::P99_9 | Self::Rate => ["faster", "slower"],
            Self::Cpu | Self::Rss => ["less", "more"],
            Self::Errors => ["fewer", "more"],
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        self == Self::Rate
    }

    /// Of a whole run.
    pub(crate) fn of_run(self, report: &Report) -> Option<f64> {
        let quantile = |quantile| {
            let (_, times) = report.latency.headline()?;
            (!times.is_empty()).then(|| times.quantile_ns(quantile) as f64)
        };
        match self {
            Self::P50 => quantile(0.5),
            Self::P90 => quantile(0.9),
            Self::P99 => quantile(0.99),
            Self::P99_9 => quantile(0.999),
            Self::Rate => slo::rate_per_s(report),
            Self::Cpu => {
                let server = report.server.as_ref()?;
                Some(server.cpu_ns_per_message).filter(|ns| *ns > 0.0)
            }
            Self::Rss => report.server.as_ref().map(|server| server.rss_peak_bytes as f64),
            Self::Errors => slo::error_share(report),
        }
    }

    /// Of a window; `None` where nothing came of which there could be a time. Memory has no
    /// windows: that of one process is one sample, however often it is looked at.
    pub(crate) fn of_window(self, plan: &PlanInfo, window: &Window) -> Option<f64> {
        let time = |ns: u64| (window.max_ns > 0).then_some(ns as f64);
        let counted = match plan.load {
            LoadKind::Open | LoadKind::Closed => window.sent,
            LoadKind::Receive => window.received,
        };
        match self {
            Self::P50 => time(window.p50_ns),
            Self::P90 => time(window.p90_ns),
            Self::P99 => time(window.p99_ns),
            Self::P99_9 => time(window.p99_9_ns),
            Self::Rate => (window.seconds > 0.0).then(|| counted as f64 / window.seconds),
            Self::Cpu => {
                let share = window.server_cpu_share.filter(|_| window.received > 0)?;
                Some(share * window.seconds * 1e9 / window.received as f64)
            }
            Self::Rss => None,
            Self::Errors => {
                let tried = window.sent.max(window.received) + window.errors;
                Some(if tried > 0 { window.errors as f64 / tried as f64 } else { 0.0 })
            }
        }
    }

    /// A value with its unit, as the report of a run has it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::P99_9 | Self::Cpu => units::time(value),
            Self::Rate => units::rate(value),
            Self::Rss => units::bytes(value as u64),
            Self::Errors => units::share(value),
        }
    }
}
