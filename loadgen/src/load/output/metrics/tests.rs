use std::collections::HashSet;

use super::super::samples;
use super::*;

fn tally() -> Tally {
    let mut tally = Tally::default();
    tally.sent(10, Some(3_000));
    tally.received(10, Some(120_000), Some(110_000));
    tally.steps[Step::Upgrade as usize].record(1_000_000);
    tally.closes.insert(1000, 3);
    tally
}

#[test]
fn series_are_named_as_in_the_file() {
    let report = samples::rich();
    let file = prometheus::render(&report);
    let live = exposition(&samples::live(&report, 20), &tally(), &[]).text();
    let families = |text: &str| -> HashSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let (file, live) = (families(&file), families(&live));
    let new: HashSet<_> = live.difference(&file).map(String::as_str).collect();
    assert_eq!(new, ["sockeye_load_phase", "sockeye_load_connections_open"].into());
    assert!(live.len() > 25, "{live:?}");
}

#[test]
fn nobody_may_give_a_label_that_is_ours() {
    let report = samples::rich();
    let mut tally = tally();
    tally.errors.insert("an error".into(), 1);
    let mut live = exposition(&samples::live(&report, 20), &tally, &[]);
    prometheus::outcome(&mut live, Outcome::Ok);
    let labels: HashSet<_> = live
        .families
        .iter()
        .flat_map(|family| &family.samples)
        .flat_map(|sample| sample.labels.iter().map(|(name, _)| name.as_str()))
        .collect();
    assert!(labels.len() > 5 && labels.contains("error"), "{labels:?}");
    assert!(labels.iter().all(|name| LABELS.contains(name)), "{labels:?}");
}

#[test]
fn every_load_shows_what_it_has() {
    for (report, there, missing) in [
        (samples::rich(), vec!["response", "service", "lag"], vec![]),
        (samples::closed(), vec!["service"], vec!["response", "lag", "target_messages"]),
        (samples::idle(), vec!["response"], vec!["service", "lag", "target_messages"]),
    ] {
        let text = exposition(&samples::live(&report, 5), &tally(), &[]).text();
        let has = |name: &str| text.contains(&format!("\n# TYPE sockeye_load_{name}_"));
        assert!(there.into_iter().all(has), "{text}");
        assert!(!missing.into_iter().any(has), "{text}");
        let is_closed = report.plan.load == LoadKind::Closed;
        assert_eq!(text.starts_with("# CAUTION: closed loop"), is_closed, "{text}");
    }
}

#[test]
fn counters_go_on_from_run_to_run_of_a_search() {
    let report = samples::rich();
    let labels = vec![("zone".to_owned(), "eu".to_owned())];
    let (earlier, last) = (Tally::default(), Exposition::default());
    let mut metrics = Metrics { labels, earlier, last, endpoint: None, remote_write: None };
    let tally = tally();
    let mut live = samples::live(&report, 20);
    live.tally = Some(&tally);
    let assert_sent = |metrics: &Metrics, sent: u64| {
        let text = metrics.last.text();
        let line = format!("sockeye_load_messages_sent_total{{zone=\"eu\"}} {sent}\n");
        assert!(text.contains(&line), "{sent}: {text}");
    };
    for run in [1, 2] {
        metrics.window(&live).unwrap();
        assert_sent(&metrics, run);
        metrics.end(&live).unwrap();
        assert_sent(&metrics, run);
    }
}

#[test]
fn labels_and_headers_are_checked() {
    assert_eq!(parse_label("zone=eu=1"), Ok(("zone".into(), "eu=1".into())));
    for wrong in ["zone", "=eu", "1a=b", "a-b=c", "__name__=x", "le=5", "phase=x"] {
        assert!(parse_label(wrong).is_err(), "{wrong}");
    }
    assert_eq!(parse_header("A: b:c "), Ok(("A".into(), "b:c".into())));
    for wrong in ["A", ": b", "A b: c", "A: b\r\nC: d"] {
        assert!(parse_header(wrong).is_err(), "{wrong}");
    }
    let label = |name: &str| (name.to_owned(), "x".to_owned());
    let options = |metric_label| MetricsOptions { metric_label, ..MetricsOptions::default() };
    assert!(options(vec![label("zone")]).check().unwrap_err().contains("--metrics"));
    let mut twice = options(vec![label("zone"), label("zone")]);
    twice.metrics = Some(([127, 0, 0, 1], 0).into());
    assert!(twice.check().unwrap_err().contains("two of zone"));
    let instead = options(vec![label("job")]).target_labels();
    assert!(instead.iter().all(|(name, _)| name != "job"), "{instead:?}");
    assert!(options(Vec::new()).target_labels().contains(&("job".into(), "sockeye".into())));
}
