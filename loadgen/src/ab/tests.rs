use clap::Parser;

use super::*;
use crate::load::example::report;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Cli::try_parse_from([&["ab"], arguments].concat()).unwrap().options
}

const TWO: [&str; 4] = ["--server", "A=ws://a/", "--server", "B=ws://b/"];

/// All runs by name, and the exit code or the error.
fn measured(
    options: &Options,
    mut report_of: impl FnMut(&Target, usize) -> Result<Report, String>,
) -> (String, Result<ExitCode, String>) {
    let (mut order, mut n) = (String::new(), 0);
    let signals = Signals::of_one_with_servers().unwrap();
    let result = run(options, &contenders(options).unwrap(), &signals, |target| {
        order += &target.name;
        n += 1;
        report_of(target, n)
    });
    (order, result.map_err(|error| error.to_string()))
}

/// A run in which p99 is about this.
fn about(p99_ns: u64, n: usize) -> Report {
    report(1_000.0, &[p99_ns + 1_000 * n as u64; 100])
}

#[test]
fn neither_is_always_first() {
    let (order, code) = measured(&options(&TWO), |target, n| {
        assert_eq!(target.server_pid, None);
        assert_eq!(target.url, format!("ws://{}/", target.name.to_lowercase()));
        Ok(about(1_000_000, n))
    });
    assert_eq!((order.as_str(), code), ("ABBAABBAAB", Ok(ExitCode::SUCCESS)));
    let (order, _) = measured(&options(&[&TWO[..], &["--repeats", "2"]].concat()), |_, n| {
        Ok(about(1_000_000, n))
    });
    assert_eq!(order, "ABBA");
}

#[test]
fn the_exit_code_says_what_happened() {
    let judged = options(&[&TWO[..], &["--fail-on", "p99>5%"]].concat());
    let by_name = |slow: &'static str| {
        move |target: &Target, n| {
            Ok(about(if target.name == slow { 1_200_000 } else { 1_000_000 }, n))
        }
    };
    assert_eq!(measured(&judged, by_name("B")).1, Ok(ExitCode::from(5)));
    assert_eq!(measured(&judged, by_name("A")).1, Ok(ExitCode::SUCCESS));
    assert_eq!(measured(&options(&TWO), by_name("B")).1, Ok(ExitCode::SUCCESS));
    let with = |outcome, at| {
        measured(&judged, move |_, n| {
            let mut report = about(1_000_000, n);
            if n == at {
                report.verdict.outcome = outcome;
            }
            Ok(report)
        })
    };
    assert_eq!(with(Outcome::Failed, 2), ("ABBAABBAAB".into(), Ok(ExitCode::FAILURE)));
    assert_eq!(with(Outcome::Invalid, 3), ("ABB".into(), Ok(ExitCode::from(4))));
    assert_eq!(with(Outcome::Interrupted, 4), ("ABBA".into(), Ok(ExitCode::from(130))));
    let (order, error) = measured(&judged, |_, n| {
        if n == 2 { Err("connection refused".into()) } else { Ok(about(1_000_000, n)) }
    });
    assert_eq!(order, "AB");
    assert_eq!(error.unwrap_err(), "run 2 of 10, B: connection refused");
}

#[test]
fn a_command_is_started_for_each_run() {
    let command = format!("A={}", server::tests::listening_command());
    let arguments = ["--server-command", &command, "--server", "B=ws://b/", "--repeats", "1"];
    let mut pid = None;
    let (order, code) = measured(&options(&arguments), |target, n| {
        if target.name == "A" {
            assert!(target.url.starts_with("ws://127.0.0.1:") && !target.url.contains('{'));
            let address = target.url.trim_start_matches("ws://").trim_end_matches('/');
            assert!(std::net::TcpStream::connect(address).is_ok());
            pid = target.server_pid;
        }
        Ok(about(1_000_000, n))
    });
    // The first --server is the baseline.
    assert_eq!((order.as_str(), code), ("BA", Ok(ExitCode::SUCCESS)));
    let pid = pid.unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it was ended");
    let failing =
        ["--server-command", "A=echo bad port {port} >&2 && false", "--server", "B=ws://b/"];
    let (order, error) = measured(&options(&failing), |_, n| Ok(about(1_000_000, n)));
    let error = error.unwrap_err();
    assert!(order == "B" && error.starts_with("run 2 of 10, A: echo bad port "), "{error}");
}

#[test]
fn two_servers_are_needed() {
    let wrong: [(&[&str], &str); 4] = [
        (&[], "two servers, not 0"),
        (&["--server", "A=ws://a/"], "two servers, not 1"),
        (&["--server", "A=ws://a/", "--server", "A=ws://b/"], "are called A"),
        (&["--server", "A=ws://a:{port}/", "--server", "B=ws://b/"], "needs --server-command A"),
    ];
    for (arguments, what) in wrong {
        let error = contenders(&options(arguments)).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let with_path = ["--server", "A=wss://[::1]:{port}/x", "--server-command", "A=a {port}"];
    let both = contenders(&options(&[&with_path[..], &["--server-command", "B=b"]].concat()));
    let [a, b] = both.unwrap();
    assert_eq!((a.url.as_str(), a.command.as_deref()), ("wss://[::1]:{port}/x", Some("a {port}")));
    assert_eq!((b.url.as_str(), b.command.as_deref()), ("ws://127.0.0.1:{port}/", Some("b")));
    for text in ["A", "=ws://a/", "A="] {
        assert!(text.parse::<Named>().unwrap_err().contains("give a name"));
    }
}
