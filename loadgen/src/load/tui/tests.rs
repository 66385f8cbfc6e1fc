use std::sync::atomic::AtomicBool;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::distribution::Distribution;
use super::super::example::report;
use super::super::report::*;
use super::*;

/// Thirty seconds of a run, ten of them over.
fn example() -> Report {
    let mut times: Vec<u64> = vec![45_600; 9_900];
    times.extend([1_230_000; 95]);
    times.extend([12_300_000; 5]);
    let mut report = report(10_000.0, &times);
    report.plan.connections = 100;
    report.plan.duration_s = 30.0;
    let mut lag = Distribution::default();
    lag.record(1_500);
    report.latency.lag = Some(lag);
    report.totals.connections_peak = 100;
    report.totals.messages_sent = 100_000;
    report.totals.messages_received = 100_000;
    report.errors =
        vec![ErrorCount { what: "connection reset".into(), count: 1_234, first_at_s: 1.0 }];
    report.closes = vec![CloseCount { code: 1001, count: 3 }];
    report.server = Some(ServerUsage {
        cpu_share: 0.42,
        cpu_ns_per_message: 4_200.0,
        cpu_ns_per_connection_second: None,
        rss_peak_bytes: 35 << 20,
        ..ServerUsage::default()
    });
    report.series = (0..10u32)
        .map(|at| Window {
            at_s: f64::from(at),
            seconds: 1.0,
            phase: Phase::Measuring,
            target_per_s: Some(10_000.0),
            sent: 10_000,
            received: 9_000 + 100 * u64::from(at),
            open: 100,
            p50_ns: 45_600,
            p90_ns: 60_000,
            p99_ns: 1_230_000,
            p99_9_ns: 2_000_000,
            max_ns: 12_300_000,
            lag_p99_ns: 1_500,
            busy_share: 0.2,
            ..Window::default()
        })
        .collect();
    report
}

fn screen(report: &Report, phase: Phase, (columns, rows): (u16, u16)) -> Vec<String> {
    let live = Live {
        plan: &report.plan,
        phase,
        elapsed_s: 10.0,
        series: &report.series,
        totals: &report.totals,
        latency: &report.latency,
        errors: &report.errors,
        closes: &report.closes,
        server: report.server.as_ref(),
        open: 0,
        tally: None,
    };
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &live)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row| (0..columns).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..rows).map(|row| line(row).trim_end().to_owned()).collect()
}

/// As a file in this folder has it.
fn assert_looks_like(lines: &[String], expected: &str) {
    let screen = lines.join("\n") + "\n";
    assert!(screen == expected, "the screen is\n{screen}and should be\n{expected}");
}

#[test]
fn a_customary_terminal_has_it_all() {
    let lines = screen(&example(), Phase::Measuring, (80, 24));
    assert_looks_like(&lines, include_str!("screen-80x24.txt"));
}

#[test]
fn a_large_terminal_has_larger_charts() {
    let lines = screen(&example(), Phase::Measuring, (120, 40));
    assert_looks_like(&lines, include_str!("screen-120x40.txt"));
}

#[test]
fn no_size_is_too_small_and_nothing_too_early() {
    let whole = example();
    let mut empty = report(0.0, &[]);
    empty.plan.stages.clear();
    for (columns, rows) in (1..=48).map(|n| (n * 4, n)).chain((1..=40).map(|n| (n, n))) {
        for phase in [Phase::Connecting, Phase::WarmUp, Phase::Measuring, Phase::Closing] {
            assert_eq!(screen(&whole, phase, (columns, rows)).len(), usize::from(rows));
            assert_eq!(screen(&empty, phase, (columns, rows)).len(), usize::from(rows));
        }
    }
    assert!(screen(&whole, Phase::Measuring, (80, 3))[2].contains("p99.9"));
    assert!(screen(&whole, Phase::Measuring, (200, 60))[59].contains("Ctrl-C"));
}

#[test]
fn a_client_that_is_late_or_busy_is_warned_of() {
    let mut report = example();
    let title = |report: &Report| screen(report, Phase::Measuring, (80, 24)).swap_remove(0);
    assert!(!title(&report).contains("INVALID"));
    report.series.last_mut().unwrap().lag_p99_ns = 200_000;
    assert!(title(&report).ends_with("INVALID? client late: 200 µs"), "{}", title(&report));
    report.series.last_mut().unwrap().busy_share = 0.97;
    assert!(title(&report).ends_with("INVALID? client 97 % busy"), "{}", title(&report));
}

#[test]
fn keys_mean_what_they_should() {
    let key = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
    assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
    let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    released.kind = KeyEventKind::Release;
    assert_eq!(meaning(released), None);
    // Nobody holds the terminal of a test: nothing is written to it.
    restore();
    assert!(!AtomicBool::load(&HELD, Ordering::SeqCst));
}
