use std::convert::Infallible;

use super::super::example::report;
use super::*;

fn options(slo: &str) -> SearchOptions {
    SearchOptions::new(vec![slo.parse().unwrap()])
}

/// Responses with this p99, as a report has them.
fn run_with_p99(rate_per_s: f64, p99_ns: f64) -> Report {
    let median = (p99_ns / 6.64) as u64;
    let mut times = vec![median.max(1); 97];
    times.extend([p99_ns as u64; 3]);
    report(rate_per_s, &times)
}

/// A queue with one server (M/M/1) of this capacity: response times are exponential with mean
/// 1 / (capacity - rate), so 99 of 100 are below ln(100) times that. Beyond capacity the queue
/// grows for the whole second.
fn queue(capacity_per_s: f64, rate_per_s: f64) -> Report {
    let mean_s =
        if rate_per_s < capacity_per_s { 1.0 / (capacity_per_s - rate_per_s) } else { 1.0 };
    run_with_p99(rate_per_s, 100f64.ln() * mean_s.min(1.0) * 1e9)
}

fn found(options: &SearchOptions, mut run: impl FnMut(f64) -> Report) -> Found {
    let found = find_max(options, |rate| Ok::<_, Infallible>(run(rate))).unwrap();
    assert!(found.search.steps.len() <= options.runs_max);
    found
}

#[test]
fn a_queue_is_found_at_the_rate_of_the_formula() {
    // ln(100) / (50,000 - rate) < 1 ms: rate < 45,395.
    let found = found(&options("p99<1ms"), |rate| queue(50_000.0, rate));
    let rate = found.search.found_per_s.unwrap();
    assert!((45_395.0 / 1.021..45_395.0).contains(&rate), "{rate}");
    assert_eq!(found.end, SearchEnd::Limits);
    let confirmations: Vec<_> =
        found.search.steps.iter().filter(|step| step.confirmation).collect();
    assert_eq!(confirmations.len(), 3);
    assert!(confirmations.iter().all(|step| step.met && step.target_per_s == rate));
    assert_eq!(found.report.unwrap().client.achieved_per_s, rate);
    // The curve bends upwards well before its end and well after its middle.
    let knee = found.search.knee_per_s.unwrap();
    assert!((30_000.0..50_000.0).contains(&knee), "{knee}");
}

#[test]
fn a_cliff_is_found_from_below_and_from_above() {
    for start_per_s in [1_000.0, 90_000.0, 10_000_000.0] {
        let options = SearchOptions { start_per_s, ..options("p99<5ms") };
        let found =
            found(&options, |rate| run_with_p99(rate, if rate <= 77_777.0 { 1e6 } else { 900e6 }));
        let rate = found.search.found_per_s.unwrap();
        assert!((77_777.0 / 1.021..=77_777.0).contains(&rate), "{start_per_s}: {rate}");
        assert_eq!(found.end, SearchEnd::Limits);
    }
}

#[test]
fn a_server_that_takes_less_than_it_is_sent_fails_without_a_limit() {
    let mut runs = Vec::new();
    let options = SearchOptions::new(Vec::new());
    let found = found(&options, |rate| {
        runs.push(rate);
        let mut report = run_with_p99(rate, 1e6);
        report.client.achieved_per_s = rate.min(20_000.0);
        report
    });
    let rate = found.search.found_per_s.unwrap();
    // 99 % of it is enough.
    assert!((20_000.0 / 1.021..=20_000.0 / 0.99).contains(&rate), "{rate}");
    assert_eq!(runs.iter().filter(|rate| **rate == 32_000.0).count(), 1, "hopeless: not again");
}

#[test]
fn noise_is_tried_again_and_what_is_not_certain_is_not_found() {
    // Every seventh run is hit by something else; near the edge every second one.
    let mut n = 0;
    let search = found(&options("p99<5ms"), |rate| {
        n += 1;
        let hit = n % 7 == 0 || rate > 60_000.0 || (rate > 50_000.0 && n % 2 == 0);
        run_with_p99(rate, if hit { 50e6 } else { 1e6 })
    });
    let rate = search.search.found_per_s.unwrap();
    assert!((45_000.0..=50_000.0 * 1.02).contains(&rate), "{rate}");
    let last: Vec<_> = search.search.steps.iter().rev().take(3).collect();
    assert!(last.iter().all(|step| step.met && step.confirmation && step.target_per_s == rate));
}

#[test]
fn a_server_that_always_fails_has_no_rate_and_few_runs() {
    let found = found(&options("p99<5ms"), |rate| run_with_p99(rate, 50e6));
    assert_eq!((found.search.found_per_s, found.end), (None, SearchEnd::Nothing));
    assert_eq!(found.search.steps.len(), 22, "eleven rates, each twice");
    assert!(found.report.is_some(), "what was measured is kept");
}

#[test]
fn a_server_that_never_fails_is_found_at_the_cap() {
    let options = SearchOptions { cap_per_s: 300_000.0, ..options("p99<5ms") };
    let found = found(&options, |rate| run_with_p99(rate, 1e6));
    assert_eq!(found.search.found_per_s, Some(300_000.0));
    assert_eq!(found.end, SearchEnd::Cap);
    assert_eq!(found.search.knee_per_s, None, "the curve is flat");
    assert!(found.search.steps.iter().all(|step| step.target_per_s <= 300_000.0));
}

#[test]
fn a_client_that_cannot_keep_up_is_said_to_be_the_limit() {
    let found = found(&options("p99<5ms"), |rate| {
        if rate > 40_000.0 { late(rate, 50e6) } else { run_with_p99(rate, 1e6) }
    });
    assert_eq!(found.search.found_per_s, Some(32_000.0));
    assert_eq!(found.end, SearchEnd::Client { rate_per_s: 64_000.0 });
    assert!(found.end.sentence().contains("64,000/s the client was the limit"));
    let invalid = found.search.steps.iter().filter(|step| !step.valid && !step.met);
    assert_eq!(invalid.count(), 2);
    let report = found.into_report().unwrap();
    assert_eq!(report.verdict.outcome, Outcome::Ok);
    assert!(!report.is_found_by_late_client());
}

/// A run in which the client was late.
fn late(rate_per_s: f64, p99_ns: f64) -> Report {
    let mut report = run_with_p99(rate_per_s, p99_ns);
    report.verdict.outcome = Outcome::Invalid;
    report.verdict.reasons = vec!["the client itself was late".into()];
    report
}

#[test]
fn limits_that_a_late_client_keeps_are_kept_by_the_server() {
    // Late from 10,000 on; on time or not, the server is at its end from 50,000 on.
    let run = |rate: f64| match rate {
        ..10_000.0 => run_with_p99(rate, 1e6),
        ..50_000.0 => late(rate, 4e6),
        _ => late(rate, 50e6),
    };
    let found = found(&options("p99<5ms"), run);
    // What broke at 64,000 proves nothing, so nothing between is looked at.
    assert_eq!(found.search.found_per_s, Some(32_000.0));
    assert_eq!(found.end, SearchEnd::Client { rate_per_s: 64_000.0 });
    let of = |rate| move |step: &&SearchStep| step.target_per_s == rate;
    let steps = &found.search.steps;
    assert!(steps.iter().filter(of(32_000.0)).all(|step| step.met && !step.valid));
    assert_eq!(steps.iter().filter(of(16_000.0)).count(), 1, "a success is not tried again");
    assert!(steps.iter().filter(of(64_000.0)).all(|step| !step.met && !step.valid));
    assert_eq!(found.search.knee_per_s, None, "late times are no curve of the server's");

    let report = found.into_report().unwrap();
    assert!(report.is_found_by_late_client());
    let verdict = &report.verdict;
    assert_eq!(verdict.outcome, Outcome::Ok);
    assert!(verdict.reasons[0].contains("no longer than these"), "{verdict:?}");
    assert!(verdict.reasons[2].contains("64,000/s the client was the limit"), "{verdict:?}");
}

#[test]
fn a_limit_that_breaks_on_time_is_the_servers_even_if_lower_rates_were_late() {
    let found = found(&options("p99<5ms"), |rate| match rate {
        ..40_000.0 => late(rate, 4e6),
        _ => run_with_p99(rate, 50e6),
    });
    let rate = found.search.found_per_s.unwrap();
    assert!((40_000.0 / 1.021..40_000.0).contains(&rate), "{rate}");
    assert_eq!(found.end, SearchEnd::Limits);
}

#[test]
fn a_late_client_proves_nothing_by_what_lateness_may_improve() {
    type Spoil = fn(&mut Report);
    let cases: [(&str, Spoil); 5] = [
        // Times from when a message was sent: those that were due together came apart.
        ("p99(service)<5ms", |report| report.latency.service = report.latency.response.clone()),
        ("p99<5ms", |report| report.client.achieved_per_s *= 0.98),
        ("p99<5ms", |report| report.client.rate_ratio = Some(0.98)),
        ("p99<5ms", |report| report.totals.unanswered = 1),
        ("p99(lag)<1ms", |_| {}),
    ];
    for (slo, spoil) in cases {
        let search = found(&options(slo), |rate| {
            let mut report = if rate > 4_000.0 { late(rate, 1e6) } else { run_with_p99(rate, 1e6) };
            report.latency.service = report.latency.response.clone();
            report.latency.lag = report.latency.response.clone();
            if slo.contains("lag") && rate > 4_000.0 {
                report.latency.lag = run_with_p99(rate, 2e6).latency.response;
            } else if slo.contains("lag") {
                report.latency.lag = run_with_p99(rate, 1e3).latency.response;
            }
            if rate > 4_000.0 {
                spoil(&mut report);
            }
            report
        });
        assert_eq!(search.search.found_per_s, Some(4_000.0), "{slo}");
        assert_eq!(search.end, SearchEnd::Client { rate_per_s: 8_000.0 }, "{slo}");
    }
    // Lower bounds are judged as they are: the server was sent as much as that.
    let both = SearchOptions {
        cap_per_s: 8_000.0,
        ..SearchOptions::new(
            ["p99<5ms", "rate>=900", "errors<1%"].map(|it| it.parse().unwrap()).into(),
        )
    };
    let search = found(&both, |rate| late(rate, 1e6));
    assert_eq!((search.search.found_per_s, search.end), (Some(8_000.0), SearchEnd::Cap));
}

#[test]
fn a_confirmation_that_the_client_spoils_is_the_clients_limit() {
    let mut runs = 0;
    let options = SearchOptions { cap_per_s: 4_000.0, ..options("p99<5ms") };
    let found = found(&options, |rate| {
        runs += 1;
        if runs > 3 && rate >= 4_000.0 { late(rate, 50e6) } else { run_with_p99(rate, 1e6) }
    });
    assert_eq!(found.search.found_per_s, Some(4_000.0 / 1.02));
    assert_eq!(found.end, SearchEnd::Client { rate_per_s: 4_000.0 });
}

#[test]
fn what_was_not_found_is_no_success() {
    let search =
        found(&SearchOptions { runs_max: 1, ..options("p99<5ms") }, |rate| run_with_p99(rate, 1e6));
    assert_eq!(search.end, SearchEnd::Runs);
    assert_eq!(search.into_report().unwrap().verdict.outcome, Outcome::SloBreached);
}

#[test]
fn runs_are_limited_and_errors_and_signals_end_it() {
    // Kept when tried, never when confirmed.
    let mut seen = std::collections::HashSet::new();
    let limited = SearchOptions { runs_max: 12, cap_per_s: 4_000.0, ..options("p99<5ms") };
    let search = found(&limited, |rate| {
        run_with_p99(rate, if seen.insert(rate as u64) && rate >= 1_000.0 { 1e6 } else { 50e6 })
    });
    assert_eq!(search.search.found_per_s, None);
    assert!(matches!(search.end, SearchEnd::Runs), "{:?}", search.end);

    let (error, search) = find_max(&options("p99<5ms"), |rate| {
        if rate < 4_000.0 { Ok(run_with_p99(rate, 1e6)) } else { Err("refused") }
    })
    .unwrap_err();
    assert_eq!((error, search.steps.len()), ("refused", 2));

    let stopped = found(&options("p99<5ms"), |rate| {
        let mut report = run_with_p99(rate, 1e6);
        report.verdict.outcome = Outcome::Interrupted;
        report
    });
    assert_eq!((stopped.end, stopped.search.steps.len()), (SearchEnd::Interrupted, 1));
}

#[test]
fn wrong_answers_are_no_success() {
    let found = found(&options("p99<5ms"), |rate| {
        let mut report = run_with_p99(rate, 1e6);
        if rate > 10_000.0 {
            report.verdict.outcome = Outcome::Failed;
        }
        report
    });
    let rate = found.search.found_per_s.unwrap();
    assert!((9_790.0..=10_000.0).contains(&rate), "{rate}");
}

#[test]
fn the_knee_is_where_the_curve_leaves_its_chord() {
    let step = |target_per_s: f64, p99_ns: u64| SearchStep {
        target_per_s,
        achieved_per_s: target_per_s,
        p50_ns: 0,
        p99_ns,
        p99_9_ns: 0,
        max_ns: 0,
        met: true,
        valid: true,
        confirmation: false,
    };
    // In logarithms 1, 1, 1, 2, 3: deepest at 3, where the chord is at 2.
    let bent = [step(1.0, 10), step(2.0, 10), step(3.0, 10), step(4.0, 100), step(5.0, 1_000)];
    assert_eq!(knee_per_s(&bent), Some(3.0));
    let line = [step(1.0, 10), step(2.0, 100), step(3.0, 1_000), step(4.0, 10_000)];
    assert_eq!(knee_per_s(&line), None);
    assert_eq!(knee_per_s(&bent[..3]), None);
    assert_eq!(knee_per_s(&[]), None);
}
