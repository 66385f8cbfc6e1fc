//! What all formats say in the same words.

use crate::load::report::{LoadKind, Outcome, PlanInfo, Report, ServerUsage, SloResult};
use crate::load::units;

/// Stands wherever percentiles of a closed loop stand.
pub(super) const CLOSED_LOOP: &str = "closed loop: percentiles hide stalls";

/// The outcome as a headline.
pub(super) const fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "OK",
        Outcome::Failed => "FAILED",
        Outcome::SloBreached => "LIMIT BROKEN",
        Outcome::Invalid => "INVALID",
        Outcome::Interrupted => "INTERRUPTED",
    }
}

/// What a search says of trials that a late client has not spoilt.
pub(super) const KEPT_LATE: &str = " Late: the client was, and the limits were kept all the same; \
     the server's times are no longer than these.";

/// The verdict in a sentence.
pub(super) fn verdict_of(report: &Report) -> &'static str {
    match report.verdict.outcome {
        Outcome::Ok if report.is_found_by_late_client() => {
            "Every limit was kept, although the client was late."
        }
        Outcome::Ok if report.slo.is_empty() => "The client kept up, and nothing went wrong.",
        outcome => verdict_sentence(outcome),
    }
}

/// The outcome in a sentence.
pub(super) const fn verdict_sentence(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "The client kept up, and every limit was kept.",
        Outcome::Failed => "Connections failed, or answers were not what they must be.",
        Outcome::SloBreached => "A limit was not kept.",
        Outcome::Invalid => {
            "The client was the bottleneck. These figures say nothing about the server."
        }
        Outcome::Interrupted => "A signal ended the run. What is here was measured until then.",
    }
}

/// The outcome as programs read it: as in the JSON.
pub(super) const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::SloBreached => "slo_breached",
        Outcome::Invalid => "invalid",
        Outcome::Interrupted => "interrupted",
    }
}

/// All outcomes.
pub(super) const OUTCOMES: [Outcome; 5] =
    [Outcome::Ok, Outcome::Failed, Outcome::SloBreached, Outcome::Invalid, Outcome::Interrupted];

/// The kind of load as programs read it: as in the JSON.
pub(super) const fn load_name(load: LoadKind) -> &'static str {
    match load {
        LoadKind::Open => "open",
        LoadKind::Closed => "closed",
        LoadKind::Receive => "receive",
    }
}

/// What was done, as a title: `echo at 10,000/s on 100 connections`.
pub(super) fn title(plan: &PlanInfo) -> String {
    let connections = units::counted(plan.connections.into(), "connection");
    match plan.load {
        LoadKind::Open => {
            let rates = plan.stages.iter().flat_map(|stage| [stage.from_per_s, stage.to_per_s]);
            let low = rates.clone().fold(f64::INFINITY, f64::min);
            let high = rates.fold(0.0, f64::max);
            let rate = match (low, high) {
                _ if plan.stages.is_empty() => String::new(),
                (low, high) if low == high => format!(" at {}", units::rate(high)),
                (low, high) => {
                    format!(" at {} to {}", units::number(low), units::rate(high))
                }
            };
            format!("{}{rate} on {connections}", plan.scenario)
        }
        LoadKind::Closed => format!("{} in a closed loop on {connections}", plan.scenario),
        LoadKind::Receive => format!("{} on {connections}", plan.scenario),
    }
}

/// How the load was made, in words.
pub(super) fn load(plan: &PlanInfo) -> String {
    match plan.load {
        LoadKind::Open if plan.poisson => "open loop, gaps exponential (Poisson)".to_owned(),
        LoadKind::Open => "open loop, gaps equal".to_owned(),
        LoadKind::Closed => CLOSED_LOOP.to_owned(),
        LoadKind::Receive => "nothing sent but what keeps connections open".to_owned(),
    }
}

/// The stages of the target rate: `0 to 10,000/s in 5 s, 10,000/s for 30 s`.
pub(super) fn stages(plan: &PlanInfo) -> Option<String> {
    let stages = plan.stages.iter().map(|stage| {
        let seconds = units::seconds(stage.seconds);
        let to = units::rate(stage.to_per_s);
        if stage.from_per_s == stage.to_per_s {
            format!("{to} for {seconds}")
        } else {
            format!("{} to {to} in {seconds}", units::number(stage.from_per_s))
        }
    });
    let stages: Vec<_> = stages.collect();
    (!stages.is_empty()).then(|| stages.join(", "))
}

/// Limit and measurement of an SLO, in the unit that its text names.
pub(super) fn slo_figures(slo: &SloResult) -> [String; 2] {
    let name = slo.text.trim_start();
    [slo.limit, slo.measured].map(|figure| {
        if name.starts_with("err") || name.starts_with("reach") {
            units::share(figure)
        } else if name.starts_with("rate") {
            units::rate(figure)
        } else {
            units::time(figure)
        }
    })
}

/// The meaning of a close code (RFC 6455 section 7.4.1 and the registry that it opens).
pub(super) const fn close_code(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "no code given",
        1006 => "no close frame",
        1007 => "invalid payload",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000..=3999 => "registered",
        4000..=4999 => "private use",
        _ => "not assigned",
    }
}

/// Whose clock the times inside messages are of.
pub(super) fn clock(report: &Report) -> Option<String> {
    let times = report.push_times.as_ref()?;
    if !times.estimated {
        return Some("the sender's clock is taken as ours".to_owned());
    }
    let offset = units::time_ns(times.offset_ns.unsigned_abs());
    let side = if times.offset_ns > 0 { "behind" } else { "ahead of" };
    let by = if times.round_trip_ns.is_some() { "" } else { ", without any ping's time" };
    Some(format!("the sender's clock is estimated to be {offset} {side} ours{by}"))
}

/// The same for programs.
pub(super) fn clock_name(report: &Report) -> Option<&'static str> {
    let times = report.push_times.as_ref()?;
    Some(if times.estimated { "estimated" } else { "same" })
}

/// What a report counts as messages.
pub(super) fn counted_as(report: &Report) -> &'static str {
    if report.plan.scenario == "storm" { "connection" } else { "message" }
}

/// What the server's processor time is counted for, and how much that is.
pub(super) fn server_cpu(report: &Report, server: &ServerUsage) -> Option<(&'static str, String)> {
    if server.cpu_ns_per_message > 0.0 {
        return Some((counted_as(report), units::time(server.cpu_ns_per_message)));
    }
    let ns = server.cpu_ns_per_connection_second?;
    Some(("connection and second", units::time(ns)))
}

/// All errors of all kinds.
pub(super) fn errors(report: &Report) -> u64 {
    report.errors.iter().map(|error| error.count).sum()
}

/// The command line as a shell takes it.
pub(super) fn command(report: &Report) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,%@+".contains(c);
    let words = report.command.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// When it began, in UTC: `2026-03-01 12:00:00 UTC`.
pub(super) fn started(report: &Report) -> String {
    let seconds = report.started_unix_ms / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The Gregorian date so many days after 1 January 1970. Years are counted from 1 March, so that
/// the day that is not in every year is the last.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of the year 0
    let (era, day) = (days / 146_097, days % 146_097); // 400 years
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // since March
    let of_month = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 { (year, month + 3, of_month) } else { (year + 1, month - 9, of_month) }
}

/// Text from elsewhere, safe on a terminal: what would move the cursor is shown as what it is.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks of the direction of writing could make a line say something else.
        let is_direction = matches!(
            c,
            '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if c.is_control() || is_direction {
            printable.extend(c.escape_unicode());
        } else {
            printable.push(c);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (20_454, (2026, 1, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
    }
}
