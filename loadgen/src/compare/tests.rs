use clap::Parser;

use super::analysis::Sample;
use super::{Change, Comparison, FailOn, Format, Metric, Options, Side, analysis, run, show};
use crate::load::example::report;
use crate::load::report::{Phase, Report, Window};
use crate::stats::Statistic;
use std::process::ExitCode;

/// Numbers that vary by up to `spread` either way, the same each time.
fn varied(count: u64, spread: f64, seed: u64) -> impl Iterator<Item = f64> {
    (0..count).map(move |n| {
        let scattered = (n + 1 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        1.0 + spread * (scattered as f64 / f64::from(1 << 23) - 1.0)
    })
}

fn run_of(p99_ns: f64) -> Report {
    report(1_000.0, &[p99_ns as u64; 100])
}

fn runs(name: &str, middle_ns: f64, count: u64, seed: u64) -> Side {
    let reports = varied(count, 0.02, seed).map(|factor| run_of(middle_ns * factor)).collect();
    Side { name: name.into(), reports }
}

/// One run, in whose windows p99 is about this.
fn windows(name: &str, p99_ns: f64, seed: u64) -> Side {
    let mut report = run_of(p99_ns);
    report.series = varied(40, 0.1, seed)
        .zip(0..)
        .map(|(factor, at)| Window {
            at_s: f64::from(at),
            seconds: 1.0,
            phase: if at < 2 { Phase::WarmUp } else { Phase::Measuring },
            sent: 1_000,
            received: 1_000,
            p50_ns: 1_000,
            // Warming up is far off, and must not count.
            p99_ns: if at < 2 { 1 } else { (p99_ns * factor) as u64 },
            max_ns: 10_000_000,
            ..Window::default()
        })
        .collect();
    Side { name: name.into(), reports: vec![report] }
}

fn compare(baseline: &Side, candidate: &Side) -> Comparison {
    super::compare(baseline, candidate, Statistic::Mean)
}

fn p99(comparison: &Comparison) -> &analysis::Row {
    comparison.rows.iter().find(|row| row.metric == Metric::P99).unwrap()
}

#[test]
fn runs_that_differ_are_told_from_runs_that_do_not() {
    let baseline = runs("a", 1e6, 5, 0);
    let slower = compare(&baseline, &runs("b", 1.2e6, 5, 9));
    assert_eq!((slower.sample, slower.counts), (Sample::Run, [5, 5]));
    let row = p99(&slower);
    assert_eq!((row.change, row.verdict()), (Change::Worse, "slower"));
    let interval = row.interval.unwrap();
    assert!((1.15..1.25).contains(&interval.ratio) && interval.low > 1.1, "{interval:?}");
    assert!((row.p_value.unwrap() - 2.0 / 252.0).abs() < 1e-9);
    assert!((0.005..0.05).contains(&row.detectable.unwrap()));
    let faster = compare(&runs("b", 1.2e6, 5, 9), &baseline);
    assert_eq!(p99(&faster).verdict(), "faster");
    let medians = super::compare(&baseline, &runs("b", 1.2e6, 5, 9), Statistic::Median);
    assert_eq!(p99(&medians).verdict(), "slower");
    let same = compare(&baseline, &runs("b", 1e6, 5, 9));
    assert_eq!(p99(&same).verdict(), "not significant");
    // No row says more than there is: no server was looked at.
    assert!(same.rows.iter().all(|row| !matches!(row.metric, Metric::Cpu | Metric::Rss)));
    let rate = same.rows.iter().find(|row| row.metric == Metric::Rate).unwrap();
    assert_eq!((rate.change, rate.ratio()), (Change::NotSignificant, Some(1.0)));
}

#[test]
fn two_runs_are_compared_by_their_windows() {
    let (baseline, candidate) = (windows("a", 1e6, 0), windows("b", 1.1e6, 500));
    let comparison = compare(&baseline, &candidate);
    assert_eq!((comparison.sample, comparison.counts), (Sample::Window, [38, 38]));
    let row = p99(&comparison);
    assert_eq!((row.change, row.p_value), (Change::Worse, None));
    assert!((1.05..1.15).contains(&row.ratio().unwrap()), "{row:?}");
    assert!(comparison.notes[0].contains("run to run"));
    let same = compare(&baseline, &windows("b", 1.004e6, 0));
    assert_eq!(p99(&same).change, Change::NotSignificant, "under 1 %");
    // Memory has no windows, and what was not tested passes for nothing.
    let with_server = |mut side: Side| {
        let server = crate::load::report::ServerUsage::default();
        side.reports[0].server = Some(server);
        side
    };
    let watched = compare(&with_server(baseline), &with_server(candidate));
    let rss = watched.rows.iter().find(|row| row.metric == Metric::Rss).unwrap();
    assert_eq!((rss.verdict(), rss.interval), ("too few samples", None));
    assert!(watched.notes.iter().any(|note| note.contains("server RSS is one figure")));
    let fail_on: FailOn = "rss>5%".parse().unwrap();
    assert_eq!(
        fail_on.untested(&watched).unwrap(),
        "b: rss was not judged: there are too few samples"
    );
    assert!(fail_on.untested(&comparison).unwrap().ends_with("a side has no such figure"));
    assert_eq!("p99>5%".parse::<FailOn>().unwrap().untested(&watched), None);
    // Three runs each are no samples either, and without windows there is no interval.
    let three = compare(&runs("a", 1e6, 3, 0), &runs("b", 2e6, 3, 0));
    let row = p99(&three);
    assert_eq!((row.interval, row.change), (None, Change::NotSignificant));
    assert_eq!(row.verdict(), "too few samples");
    assert!(three.notes.iter().any(|note| note.contains("too few")));
}

#[test]
fn errors_out_of_nothing_are_more() {
    let baseline = runs("a", 1e6, 5, 0);
    let mut candidate = runs("b", 1e6, 5, 0);
    for (report, wrong) in candidate.reports.iter_mut().zip(1..) {
        report.totals.mismatches = wrong;
    }
    let comparison = compare(&baseline, &candidate);
    let errors = comparison.rows.iter().find(|row| row.metric == Metric::Errors).unwrap();
    assert_eq!((errors.change, errors.ratio(), errors.verdict()), (Change::Worse, None, "more"));
    let fail_on: FailOn = "errors>50%".parse().unwrap();
    assert!(fail_on.breach(&comparison).is_some());
}

#[test]
fn a_regression_is_one_that_is_sure_and_large_enough() {
    let (a, b) = (runs("a", 1e6, 5, 0), runs("b", 1.2e6, 5, 9));
    let fail_on = |text: &str| text.parse::<FailOn>().unwrap();
    let slower = compare(&a, &b);
    let why = fail_on("p99>5%").breach(&slower).unwrap();
    assert!(why.starts_with("b: p99 is worse by ") && why.ends_with("more than 5 %"), "{why}");
    assert_eq!(fail_on("p99>50%").breach(&slower), None);
    assert_eq!(fail_on("rate>0%").breach(&slower), None);
    assert_eq!(fail_on("cpu>0%").breach(&slower), None);
    assert_eq!(fail_on("p99 > 5 %").breach(&compare(&b, &a)), None);
    for text in ["p99", "p98>5%", "p99>5", "p99<5%", "p99>-5%", "p99>inf%", "p99>NaN%"] {
        let error = text.parse::<FailOn>().unwrap_err();
        assert!(error.contains("as in p99>5%") && error.contains("p99.9, rate"), "{error}");
    }
}

#[test]
fn every_format_has_every_metric_and_the_verdict() {
    let comparisons = [compare(&runs("a|b", 1e6, 5, 0), &runs("c", 1.2e6, 5, 9))];
    let text = show::text(&comparisons, Format::Text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["baseline   a|b", "candidate  c"]);
    assert!(lines[2].contains("5 and 5 runs") && lines[2].contains("Mann-Whitney"));
    let row = lines.iter().find(|line| line.starts_with("response p99 ")).unwrap();
    assert!(row.ends_with("slower") && row.contains(" to "), "{row}");
    // A figure looks as in the report that it is from.
    for (metric, value, shown) in [
        (Metric::P99, 1_234_567.0, "1.23 ms"),
        (Metric::Cpu, 987.0, "987 ns"),
        (Metric::Rate, 12_345.4, "12,345/s"),
        (Metric::Rss, 67_108_864.0, "67.1 MB"),
        (Metric::Errors, 0.000_05, "0.005 %"),
    ] {
        assert_eq!(metric.show(value), shown);
    }
    let markdown = show::text(&comparisons, Format::Markdown).unwrap();
    assert!(markdown.starts_with("**c** beside **a\\|b** (baseline)"), "{markdown}");
    let columns = |line: &&str| line.starts_with('|');
    assert!(markdown.lines().filter(columns).all(|line| line.matches('|').count() == 8));
    let json = show::text(&comparisons, Format::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let metrics = json["comparisons"][0]["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), comparisons[0].rows.len());
    assert_eq!((&metrics[2]["metric"], &metrics[2]["verdict"]), (&"p99".into(), &"slower".into()));
    assert!(metrics[2]["ratio_low"].as_f64().unwrap() > 1.1);
}

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[test]
fn files_are_read_compared_and_judged() {
    let folder = std::env::temp_dir().join(format!("sockeye-compare-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, report: &Report| {
        let path = folder.join(name);
        std::fs::write(&path, serde_json::to_vec(report).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let a = write("a.json", &windows("", 1e6, 0).reports[0]);
    let b = write("b.json", &windows("", 1.2e6, 500).reports[0]);
    let mut other = run_of(1e6);
    other.plan.scenario = "push".into();
    let other = write("other.json", &other);
    let mut bad = run_of(1e6);
    bad.verdict.outcome = crate::load::report::Outcome::Invalid;
    let bad = write("bad.json", &bad);
    let code = |arguments: &[&str]| {
        let cli = Cli::try_parse_from([&["compare"], arguments].concat()).unwrap();
        run(&cli.options).map_err(|error| error.to_string())
    };
    assert_eq!(code(&[&a, &b]), Ok(ExitCode::SUCCESS));
    assert_eq!(code(&[&a, &b, "--fail-on", "p99>5%"]), Ok(ExitCode::from(5)));
    assert_eq!(code(&[&b, &a, "--fail-on", "p99>5%", "--json"]), Ok(ExitCode::SUCCESS));
    let several = format!("{a},{a}");
    assert_eq!(
        code(&["--baseline", &several, &b, &a, "--markdown", "--medians"]),
        Ok(ExitCode::SUCCESS)
    );
    assert_eq!(code(&[&a, &bad]), Ok(ExitCode::from(4)));
    assert_eq!(code(&[&a, &other, "--force"]), Ok(ExitCode::SUCCESS));
    let refused = code(&[&a, &other]).unwrap_err();
    assert!(refused.contains("scenario echo and push"), "{refused}");
    assert_eq!(code(&[&a]), Ok(ExitCode::from(2)));
    assert!(code(&[&a, ","]).unwrap_err().contains("names no file"));
    assert!(Cli::try_parse_from(["compare", &a, &b, "--json", "--markdown"]).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
