//! How a run ends, and what it says then.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use rustix::process::Signal;

use crate::process::Process;
use crate::rig::{load, long_run, number, report_of, serve, words};

#[test]
fn limits_decide_over_the_exit_code() {
    let (_server, url) = serve(&[]);
    let arguments = "--rate 200 --connections 5 --duration 500ms";
    let (report, code) = load(&url, &format!("{arguments} --slo max<1ns"));
    assert_eq!(report["slo"][0]["met"], false);
    assert!(matches!(code, 3 | 4), "{code}");
    let (report, code) = load(&url, &format!("{arguments} --slo p99<60s --slo errors<1%"));
    assert_eq!((&report["slo"][0]["met"], &report["slo"][1]["met"]), (&true.into(), &true.into()));
    assert!(matches!(code, 0 | 4), "{code}");
}

#[test]
fn a_client_that_cannot_keep_up_says_that_its_figures_are_worth_nothing() {
    let (_server, url) = serve(&[]);
    let (report, code) = load(&url, "--rate 50M --connections 2 --duration 500ms --drain 0");
    assert_eq!((code, &report["verdict"]["outcome"]), (4, &"invalid".into()));
    assert!(number(&report, "/client/rate_ratio") < 0.9);
}

#[test]
fn the_highest_rate_is_searched_for() {
    let (_server, url) = serve(&[]);
    let arguments = "--find-max --find-max-cap 400 --find-max-confirmations 1 --rate 100 \
                     --slo p50<10s --duration 300ms --connections 5";
    let (report, _) = load(&url, arguments);
    let steps = report["search"]["steps"].as_array().expect("steps");
    assert!(steps.len() > 1, "{report}");
    assert!(steps.iter().all(|step| number(step, "/target_per_s") <= 400.0));
}

/// One that answers every connection with these bytes, and reads until the client is gone.
fn odd_server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut request = [0; 4096];
                // Whatever comes of it, the client has an end of its own.
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer);
                let _ = stream.read(&mut request);
            });
        }
    });
    address
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = odd_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let http = odd_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let ssh = odd_server(b"SSH-2.0-OpenSSH_9.2\r\n");
    let cases = [
        (format!("ws://{free}/"), "refuse"),
        (format!("ws://{refusing}/"), "403"),
        (format!("ws://{http}/"), "200"),
        (format!("ws://{ssh}/"), "HTTP"),
    ];
    for (url, expected) in cases {
        let arguments = ["load", &url, "--duration", "500ms", "--connections", "3", "--plain"];
        let ended = Process::run(&arguments);
        assert_eq!(ended.status.code(), Some(1), "{url}: {:?}", ended.stderr);
        let all = [ended.stdout, ended.stderr].concat();
        let found = all.iter().any(|line| line.contains(expected));
        assert!(found, "{url}: no {expected:?} in {all:#?}");
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line_too() {
    let cases = [
        "load",
        "load http://127.0.0.1/",
        "load ws://127.0.0.1:1/ --rate fast",
        "load ws://127.0.0.1:1/ --closed --rate 5",
        "load ws://127.0.0.1:1/ --scenario idle --rate 5",
        "load ws://127.0.0.1:1/ --scenario fanout --closed",
        "load ws://127.0.0.1:1/ --slow 5%",
        "load ws://127.0.0.1:1/ --slo p99",
        "load ws://127.0.0.1:1/ --duration 0",
        "load ws://127.0.0.1:1/ --header nonsense",
        "load ws://127.0.0.1:1/ --header Upgrade:h2c",
        "load ws://127.0.0.1:1/ --find-max",
        "load ws://127.0.0.1:1/ --message {{nothing}}",
    ];
    for case in cases.into_iter().skip(1) {
        let ended = Process::run(&words(case).collect::<Vec<_>>());
        assert_eq!(ended.status.code(), Some(2), "{case}: {:?}", ended.stderr);
        assert_eq!(ended.stderr.len(), 1, "{case}: {:?}", ended.stderr);
    }
}

#[test]
fn a_server_that_does_not_echo_is_found_out() {
    let (_server, url) = serve(&["--app", "broadcast"]);
    let (report, code) = load(&url, "--rate 100 --connections 5 --duration 500ms");
    assert!(matches!(code, 1 | 4), "{code}");
    assert_ne!(report["errors"], serde_json::json!([]));
}

#[test]
fn a_server_that_dies_leaves_partial_results() {
    let (server, url) = serve(&[]);
    let run = long_run(&url, &[]);
    server.process.signal(Signal::KILL);
    let ended = run.wait();
    let report = report_of(&ended);
    // On a busy machine the client may have been late besides.
    assert!(matches!(ended.status.code(), Some(1 | 4)), "{:?}", ended.status);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("10 connections were lost"), "{reasons}");
    assert_eq!(number(&report, "/totals/connections_lost"), 10.0);
    assert!(number(&report, "/totals/messages_received") > 0.0);
    assert!(number(&report, "/measured_s") < 59.0, "it does not go on with nobody");
}

#[test]
fn a_signal_ends_a_run_with_what_there_is() {
    let (_server, url) = serve(&[]);
    for (signal, expected) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let run = long_run(&url, &["--slo", "p99<1ns"]);
        run.signal(signal);
        let ended = run.wait();
        assert_eq!(ended.status.code(), Some(expected));
        let report = report_of(&ended);
        assert_eq!(report["verdict"]["outcome"], "interrupted");
        assert_eq!(report["slo"], serde_json::json!([]), "gates are not looked at");
        assert!(number(&report, "/totals/messages_received") > 0.0);
    }
}
