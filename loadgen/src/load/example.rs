//! A report for tests to look at, compare and spoil.

use super::distribution::Distribution;
use super::report::*;

/// A run in which all went well: an open loop that reached its rate, with these response times
/// in nanoseconds.
pub(crate) fn report(rate_per_s: f64, times_ns: &[u64]) -> Report {
    let mut response = Distribution::default();
    for ns in times_ns {
        response.record(*ns);
    }
    let messages = response.count();
    Report {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".into(),
        started_unix_ms: 1_790_000_000_000,
        command: vec!["sockeye".into(), "load".into()],
        machine: Machine::default(),
        plan: PlanInfo {
            scenario: "echo".into(),
            url: "ws://127.0.0.1:9001/".into(),
            connections: 10,
            stages: vec![Stage { from_per_s: rate_per_s, to_per_s: rate_per_s, seconds: 1.0 }],
            payload: "32 B".into(),
            ..PlanInfo::default()
        },
        verdict: Verdict::default(),
        measured_s: 1.0,
        totals: Totals {
            messages_sent: messages,
            messages_received: messages,
            connections_opened: 10,
            ..Totals::default()
        },
        latency: Latency { response: response.if_any(), ..Latency::default() },
        classes: Vec::new(),
        phases: Phases::default(),
        fanout: None,
        push_times: None,
        slow: None,
        tls: None,
        compression: None,
        client: ClientCheck {
            target_per_s: Some(rate_per_s),
            achieved_per_s: rate_per_s,
            rate_ratio: Some(1.0),
            ..ClientCheck::default()
        },
        server: None,
        slo: Vec::new(),
        search: None,
        errors: Vec::new(),
        closes: Vec::new(),
        series: Vec::new(),
    }
}
