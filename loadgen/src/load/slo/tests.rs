use super::super::example::report;
use super::*;

fn slo(text: &str) -> Slo {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn evaluate(text: &str, report: &Report) -> SloResult {
    slo(text).evaluate(report)
}

#[test]
fn every_form_is_understood() {
    let mut report = report(1_000.0, &[1_000_000; 100]);
    report.latency.service = Some(Distribution::default());
    let kept = [
        "p50<1.1ms",
        "p99.9 <= 1001us",
        "p99(response)<2ms",
        "response.p99.9<2ms",
        "max<1s",
        "min>999000ns",
        "mean>=0.999ms",
        "rate>=990",
        "rate>0.9k",
        "rate<1M/s",
        "errors<0.1%",
        "errors<=0%",
    ];
    for text in kept {
        let result = evaluate(text, &report);
        assert!(result.met, "{result:?}");
        assert_eq!(result.text, text);
    }
    for text in ["p50<0.9ms", "p100<=900µs", "rate>1000", "errors<0%", "max<1us", "mean>2ms"] {
        assert!(!evaluate(text, &report).met, "{text}");
        assert!(slo(text).breach(&report).is_some_and(|why| why.starts_with(text)), "{text}");
    }
    assert_eq!(evaluate("p99<5ms", &report).limit, 5e6);
    assert_eq!(evaluate("errors<0.1%", &report).limit, 0.001);
    assert_eq!(evaluate("rate>9_900", &report).limit, 9_900.0);
}

#[test]
fn what_was_not_measured_is_not_kept() {
    let mut report = report(1_000.0, &[1_000_000; 100]);
    report.latency.service = Some(Distribution::default());
    let missing = [
        "p99(service)<1s",
        "lag.max<1s",
        "connect.p99<1s",
        "reach>1%",
        "skew.p50<1s",
        "slow.p99<1s",
    ];
    for text in missing {
        let result = evaluate(text, &report);
        assert_eq!((result.met, result.measured), (false, 0.0), "{text}");
        assert!(slo(text).breach(&report).is_some_and(|why| why.contains("nothing")), "{text}");
    }
    report.latency.response = Some(Distribution::default());
    report.totals = Default::default();
    for text in ["p99<1s", "rate>=0", "errors<100%"] {
        assert!(!evaluate(text, &report).met, "{text}");
    }
}

#[test]
fn other_times_and_shares_are_found() {
    let mut report = report(1_000.0, &[1_000_000; 100]);
    let mut times = Distribution::default();
    times.record(2_000_000);
    report.phases.connect = Some(times.clone());
    report.latency.service = Some(times);
    report.totals.messages_sent = 990;
    report.totals.connections_opened = 10;
    report.totals.mismatches = 3;
    report.totals.unanswered = 2;
    assert!((evaluate("errors<1%", &report).measured - 0.005).abs() < 1e-12);
    assert!(evaluate("connect.p99>1.9ms", &report).met);
    assert!(evaluate("p50(service)<1.9ms", &report).measured > 1.9e6);
    let why = slo("errors<0.1%").breach(&report).unwrap();
    assert_eq!(why, "errors<0.1% is not kept: 0.50 %");
    report.plan.load = LoadKind::Receive;
    report.totals.messages_received = 500;
    report.measured_s = 2.0;
    assert_eq!(evaluate("rate>1", &report).measured, 250.0);
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_what_is_allowed() {
    let wrong = [
        ("", "there is no < or >"),
        ("p99", "there is no < or >"),
        ("p99=5ms", "there is no < or >"),
        ("p101<5ms", "\"p101\" is nothing that is measured"),
        ("pinf<5ms", "\"pinf\" is nothing"),
        ("p99(disk)<5ms", "is nothing that is measured"),
        ("disk.p99<5ms", "is nothing that is measured"),
        ("p99<5", "\"5\" is no time for p99"),
        ("p99<5min", "\"5min\" is no time"),
        ("p99<-5ms", "\"-5ms\" is no time"),
        ("p99<<5ms", "\"<5ms\" is no time"),
        ("p99<infs", "is no time"),
        ("errors<1", "\"1\" is no share for errors"),
        ("reach>99,9%", "is no share"),
        ("rate>=fast", "\"fast\" is no rate"),
        ("rate>=1e400", "is no rate"),
    ];
    for (text, what) in wrong {
        let error = text.parse::<Slo>().unwrap_err();
        assert!(error.contains(what) && error.contains("p99(service)"), "{text}: {error}");
        assert!(!error.contains('\n') && !error.contains("  "), "{error}");
    }
}
