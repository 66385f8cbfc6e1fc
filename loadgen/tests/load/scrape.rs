//! `--metrics`: the page, and those who ask for it in odd ways.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::process::Signal;

use crate::process::{PATIENCE, Process, Server};

/// A run that lasts until it is told to end, and where its page is.
fn start(url: &str, more: &[&str]) -> (Process, SocketAddr) {
    let fixed = ["load", url, "--quiet", "--metrics", "127.0.0.1:0", "--window", "100ms"];
    let fixed = [&fixed[..], &["--warm-up", "0", "--duration", "10m", "--rate", "500"]].concat();
    let run = Process::start(&[&fixed[..], more].concat());
    let line = run.wait_for_error_line("metrics at");
    let address = line.strip_prefix("sockeye: metrics at http://");
    let address = address.and_then(|rest| rest.strip_suffix("/metrics")?.parse().ok());
    (run, address.unwrap_or_else(|| panic!("{line:?} names no address")))
}

/// Sends this, and reads all that comes.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream.write_all(request).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

/// The series of the page, by name and labels.
fn scrape(address: SocketAddr) -> HashMap<String, f64> {
    let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
    let samples = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

/// Scrapes until a series is more than this.
fn scrape_until(address: SocketAddr, series: &str, above: f64) -> HashMap<String, f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = scrape(address);
        if page.get(series).is_some_and(|value| *value > above) {
            return page;
        }
        assert!(Instant::now() < deadline, "{series} does not grow: {page:?}");
    }
}

/// Buckets hold those before them, and the last holds all.
fn assert_cumulative(page: &HashMap<String, f64>, name: &str) {
    let prefix = format!("sockeye_load_{name}_seconds_bucket{{le=\"");
    let mut buckets: Vec<(f64, f64)> = page
        .iter()
        .filter_map(|(series, count)| {
            let bound = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, *count))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(buckets.len(), 22, "{name}");
    assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name}: {buckets:?}");
    assert_eq!(buckets[21].1, page[&format!("sockeye_load_{name}_seconds_count")], "{name}");
    let sum = page[&format!("sockeye_load_{name}_seconds_sum")];
    assert!(sum > 0.0 && sum.is_finite(), "{name}: {sum}");
}

#[test]
fn a_page_shows_the_run_as_it_goes() {
    let server = Server::start(&["--shards", "1"]);
    let url = format!("ws://{}/", server.address);
    let (run, address) = start(&url, &["--connections", "3"]);
    let sent = "sockeye_load_messages_sent_total";
    let first = scrape_until(address, sent, 0.0);
    let second = scrape_until(address, sent, first[sent]);
    for (series, before) in &first {
        let name = series.split('{').next().unwrap();
        if ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)) {
            assert!(second[series] >= *before, "{series}: {before}, then {}", second[series]);
        }
    }
    assert!(second["sockeye_load_payload_sent_bytes_total"] >= 32.0 * first[sent]);
    for (series, expected) in [
        ("sockeye_load_connections_open", 3.0),
        ("sockeye_load_connections_opened_total", 3.0),
        ("sockeye_load_connections_failed_total", 0.0),
        ("sockeye_load_mismatches_total", 0.0),
        ("sockeye_load_messages_unanswered_total", 0.0),
        ("sockeye_load_target_messages_per_second", 500.0),
        ("sockeye_load_phase{phase=\"measuring\"}", 1.0),
        ("sockeye_load_phase{phase=\"connecting\"}", 0.0),
        ("sockeye_load_phase_seconds_count{phase=\"upgrade\"}", 3.0),
    ] {
        assert!((second[series] - expected).abs() < 1e-6, "{series}: {}", second[series]);
    }
    assert!(second["sockeye_load_achieved_messages_per_second"] > 0.0);
    for name in ["response", "service", "lag"] {
        assert_cumulative(&second, name);
    }
    run.signal(Signal::INT);
    assert_eq!(run.wait().status.code(), Some(130));
    assert!(TcpStream::connect(address).is_err(), "it listens no more");
}

#[test]
fn errors_are_shown_by_their_kind() {
    // What is sent comes back as something else.
    let server = Server::start(&["--shards", "1", "--app", "broadcast"]);
    let url = format!("ws://{}/", server.address);
    let (run, address) = start(&url, &["--connections", "2", "--metric-label", "zone=eu"]);
    let mismatches = "sockeye_load_mismatches_total{zone=\"eu\"}";
    let page = scrape_until(address, mismatches, 0.0);
    let kinds: Vec<_> =
        page.iter().filter(|(name, _)| name.starts_with("sockeye_load_errors_total{")).collect();
    assert!(!kinds.is_empty(), "{page:?}");
    assert!(kinds.iter().any(|(name, _)| name.contains("is this an echo server?")), "{kinds:?}");
    assert!(page.keys().all(|series| series.contains("zone=\"eu\"")), "{page:?}");
    drop(run);
}

#[test]
fn odd_requests_are_answered_in_a_line_and_disturb_nobody() {
    let server = Server::start(&["--shards", "1"]);
    let url = format!("ws://{}/", server.address);
    let (run, address) = start(&url, &["--connections", "2"]);
    // Some say nothing, some not all, and hold what they have.
    let half = || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").expect("it is open");
        stream
    };
    let idle: Vec<_> = (0..5).map(|_| half()).collect();
    let large = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 30_000]].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"[..], "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab", "405 Method Not"),
        (b"\x16\x03\x01\x00\xff garbage", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (&large, "431 Request Header Fields Too Large"),
    ] {
        let answer = ask(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let (_, says) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(says.matches('\n').count(), 1, "{answer}");
    }
    let head = ask(address, b"HEAD /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let sent = "sockeye_load_messages_sent_total";
    let before = scrape(address)[sent];
    scrape_until(address, sent, before);
    drop(idle);
    // More than are served at a time: those who wait are served when the others have gone.
    let crowd: Vec<_> = (0..40).map(|_| half()).collect();
    drop(crowd);
    scrape_until(address, sent, before);
    run.signal(Signal::INT);
    assert_eq!(run.wait().status.code(), Some(130));
}

#[test]
fn what_cannot_be_shown_is_known_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("it is bound").to_string();
    let server = Server::start(&["--shards", "1"]);
    let url = format!("ws://{}/", server.address);
    for (arguments, code, expected) in [
        (vec!["--metrics", &address], 1, "another program listens there"),
        (vec!["--metrics", "192.0.2.1:0"], 1, "this machine does not have that address"),
        (vec!["--metrics", "9464"], 2, "--metrics"),
        (vec!["--metric-label", "a=b"], 2, "give --metrics or --remote-write"),
        (vec!["--metrics", "127.0.0.1:0", "--metric-label", "le=b"], 2, "has a meaning already"),
        (vec!["--remote-write", "127.0.0.1:9"], 2, "http://HOST:PORT/PATH"),
        (vec!["--remote-write-header", "A: b"], 2, "--remote-write"),
    ] {
        let ended = Process::run(&[&["load", &url, "--quiet"], &arguments[..]].concat());
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {:?}", ended.stderr);
        assert_eq!(ended.stderr.len(), 1, "{arguments:?}: {:?}", ended.stderr);
        assert!(ended.stderr[0].contains(expected), "{arguments:?}: {:?}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?}: {:?}", ended.stdout);
    }
}
