//! `--remote-write`, to a receiver of the test's.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use prost::Message;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::process::{Ended, PATIENCE, Process, Server};
use crate::write_request::{Sample, WriteRequest};

/// The NaN that ends a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A request that came.
struct Came {
    head: Vec<String>,
    request: WriteRequest,
    /// As it came.
    body: Vec<u8>,
}

/// Answers each request with the next of these, and then with the last for ever.
fn receiver(answers: &'static [&'static str]) -> (SocketAddr, Receiver<Came>) {
    receiver_by(answers, |stream| stream)
}

/// The same, after something was done to each connection.
fn receiver_by<S: Read + Write>(
    answers: &'static [&'static str],
    wrap: impl Fn(TcpStream) -> S + Send + 'static,
) -> (SocketAddr, Receiver<Came>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let (tx, came) = mpsc::channel();
    thread::spawn(move || {
        let answers = answers.iter().chain(std::iter::repeat(answers.last().expect("one")));
        for (stream, answer) in listener.incoming().zip(answers) {
            let stream = stream.expect("a sender comes");
            stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
            let mut stream = wrap(stream);
            // First this: who has the answer may look whether it came.
            if tx.send(read(&mut stream)).is_err() {
                return; // the test is over
            }
            let answer = format!("HTTP/1.1 {answer}");
            stream.write_all(answer.as_bytes()).expect("the sender waits");
            stream.flush().expect("the sender waits");
        }
    });
    (address, came)
}

fn read(stream: &mut impl Read) -> Came {
    let mut reader = BufReader::new(stream);
    let lines = reader.by_ref().lines().map(|line| line.expect("a line"));
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
    assert!(length < 1 << 20, "{length}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("all of it");
    let plain = snap::raw::Decoder::new().decompress_vec(&body).expect("it is snappy");
    let request = WriteRequest::decode(&*plain).expect("it is a WriteRequest");
    Came { head, request, body }
}

/// A run of half a second that sends there. Returns its report and how it ended.
fn run(receiver: SocketAddr, more: &[&str]) -> (Value, Ended) {
    let to = format!("http://{receiver}/api/v1/write?tenant=1");
    run_with(("LANG", "C"), &[&["--remote-write", &to], more].concat())
}

fn run_with(variable: (&str, &str), more: &[&str]) -> (Value, Ended) {
    let server = Server::start(&["--shards", "1"]);
    let url = format!("ws://{}/", server.address);
    let fixed = ["load", &url, "--quiet", "--json", "-", "--warm-up", "0", "--drain", "10s"];
    let load = [
        "--window",
        "100ms",
        "--duration",
        "500ms",
        "--rate",
        "400",
        "--connections",
        "4",
        "--threads",
        "2",
    ];
    let ended = Process::run_with(variable, &[&fixed[..], &load, more].concat());
    let text = ended.stdout.join("\n");
    let report = serde_json::from_str(&text);
    (report.unwrap_or_else(|error| panic!("{error}: {text:?} {:?}", ended.stderr)), ended)
}

/// What it has said besides the report.
fn said(ended: &Ended) -> Vec<&String> {
    ended.stderr.iter().filter(|line| line.starts_with("sockeye: ")).collect()
}

/// By name and labels, as the text format has them.
fn series(came: &Came) -> HashMap<String, (f64, i64)> {
    let series = came.request.timeseries.iter().map(|series| {
        assert!(series.labels.is_sorted_by(|a, b| a.name < b.name), "{:?}", series.labels);
        assert!(series.labels.iter().all(|label| !label.value.is_empty()), "{:?}", series.labels);
        let [Sample { value, timestamp }] = series.samples[..] else { panic!("one sample") };
        let labels: Vec<_> =
            series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        (labels.join(" "), (value, timestamp))
    });
    let all: HashMap<_, _> = series.collect();
    assert_eq!(all.len(), came.request.timeseries.len(), "no series comes twice");
    all
}

fn find<'a>(
    series: &'a HashMap<String, (f64, i64)>,
    name: &str,
    more: &str,
) -> Option<&'a (f64, i64)> {
    let name = format!("__name__=sockeye_load_{name} ");
    series
        .iter()
        .find(|(labels, _)| labels.starts_with(&name) && labels.contains(more))
        .map(|(_, sample)| sample)
}

fn value(series: &HashMap<String, (f64, i64)>, name: &str, more: &str) -> f64 {
    find(series, name, more).unwrap_or_else(|| panic!("{name} {more} in {series:?}")).0
}

#[test]
fn a_receiver_gets_each_window_and_the_end() {
    let (address, came) = receiver(&["204 No Content\r\n\r\n"]);
    let labels = ["--metric-label", "zone=eu", "--metric-label", "instance=tester"];
    let secret = ["--remote-write-header", "Authorization: Bearer 123"];
    let (report, ended) = run(address, &[&labels[..], &secret].concat());
    assert!(said(&ended).is_empty(), "{:?}", ended.stderr);
    assert!(!report["command"].to_string().contains("Bearer"), "{}", report["command"]);
    let all: Vec<_> = came.try_iter().collect();
    // The beginning, five windows, the end, and that the series end; machines may be slow.
    assert!(all.len() >= 5, "{}", all.len());
    for line in [
        "POST /api/v1/write?tenant=1 HTTP/1.1",
        "Content-Encoding: snappy",
        "Content-Type: application/x-protobuf",
        "X-Prometheus-Remote-Write-Version: 0.1.0",
        &format!("Host: {address}"),
        "Authorization: Bearer 123",
    ] {
        assert!(all.iter().all(|came| came.head.iter().any(|there| there == line)), "{line}");
    }
    assert!(all[0].head.iter().any(|line| line.starts_with("User-Agent: sockeye/")));
    let pages: Vec<_> = all.iter().map(series).collect();
    let mut last_ms = 0;
    for page in &pages {
        let (_, at_ms) = find(page, "messages_sent_total", "").expect("it is always there");
        assert!(*at_ms > last_ms, "{at_ms} after {last_ms}");
        last_ms = *at_ms;
        assert!(page.values().all(|(_, same_ms)| same_ms == at_ms));
        for label in ["job=sockeye", "instance=tester", "zone=eu"] {
            assert!(page.keys().all(|labels| labels.contains(label)), "{label}");
        }
    }
    let (stale, pages) = pages.split_last().expect("there are some");
    assert!(stale.values().all(|(value, _)| value.to_bits() == STALE));
    let last = pages.last().expect("there are some");
    assert_eq!(stale.len(), last.len(), "all series end");
    let sent = |page| value(page, "messages_sent_total", "");
    assert_eq!(sent(&pages[0]), 0.0, "it begins before the first message");
    assert!(pages.is_sorted_by(|a, b| sent(a) <= sent(b)), "it only grows");
    for (name, path) in [
        ("messages_sent_total", "/totals/messages_sent"),
        ("messages_received_total", "/totals/messages_received"),
        ("payload_sent_bytes_total", "/totals/bytes_sent"),
        ("payload_received_bytes_total", "/totals/bytes_received"),
        ("messages_unanswered_total", "/totals/unanswered"),
        ("connections_opened_total", "/totals/connections_opened"),
        ("response_seconds_count", "/latency/response/count"),
        ("service_seconds_count", "/latency/service/count"),
        ("lag_seconds_count", "/latency/lag/count"),
    ] {
        let reported = report.pointer(path).and_then(Value::as_f64);
        assert_eq!(Some(value(last, name, "")), reported, "{name}");
    }
    assert!(sent(last) > 0.0);
    assert_eq!(value(last, "response_seconds_bucket", "le=+Inf"), sent(last));
    let outcome = report["verdict"]["outcome"].as_str().expect("it is a word");
    assert_eq!(value(last, "outcome", &format!("outcome={outcome} ")), 1.0);
    assert_eq!(value(last, "connections_open", ""), 0.0, "all are closed");
}

#[test]
fn what_is_not_taken_at_once_comes_again() {
    const LATER: &str = "503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let (address, came) = receiver(&[LATER, LATER, "204 No Content\r\n\r\n"]);
    let (_, ended) = run(address, &[]);
    assert!(said(&ended).is_empty(), "{:?}", ended.stderr);
    let all: Vec<_> = came.try_iter().collect();
    assert!(all.len() >= 7, "{}", all.len());
    assert!(all[0].body == all[1].body && all[1].body == all[2].body, "the same once more");
    assert!(all[2].body != all[3].body, "and then the next");
}

#[test]
fn what_is_refused_is_said_once_and_the_run_does_not_care() {
    const REFUSED: &str = "400 Bad Request\r\nContent-Length: 20\r\n\r\nout of order\nsample\n";
    let (address, came) = receiver(&[REFUSED]);
    let (report, ended) = run(address, &[]);
    let all: Vec<_> = came.try_iter().collect();
    let bodies: Vec<_> = all.iter().map(|came| &came.body).collect();
    assert!(bodies.windows(2).all(|pair| pair[0] != pair[1]), "none is tried again");
    let said = said(&ended);
    assert_eq!(said.len(), 1, "{:?}", ended.stderr);
    let count = all.len();
    let expected = format!(
        "sockeye: --remote-write: {count} of {count} requests were not taken: \
         HTTP 400 Bad Request: out of order"
    );
    assert_eq!(*said[0], expected);
    assert_not_failed(&report, &ended);
}

#[test]
fn a_receiver_that_is_not_there_is_told_of_at_the_end() {
    // Bound and not listening: nobody else gets the port, and nobody answers.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("loopback");
    let bound = socket.local_addr().expect("it is bound");
    let address = bound.as_socket().expect("of the internet");
    let (report, ended) = run(address, &[]);
    let said = said(&ended);
    assert_eq!(said.len(), 1, "{:?}", ended.stderr);
    let line = said[0];
    assert!(line.starts_with("sockeye: --remote-write: "), "{line}");
    assert!(line.contains(&format!("{address}: ")) && line.contains("refused"), "{line}");
    assert_not_failed(&report, &ended);
}

#[test]
fn a_receiver_of_https_is_known_to_the_systems_authorities() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the default")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into());
    let config = Arc::new(config.expect("a certificate and its key"));
    let (address, came) = receiver_by(&["204 No Content\r\n\r\n"], move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
        StreamOwned::new(connection, stream)
    });
    let trusted = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let trusted = trusted.join(format!("remote-write-{}.pem", std::process::id()));
    std::fs::write(&trusted, made.cert.pem()).expect("a file");
    let to = format!("https://{address}/write");
    let file = trusted.display().to_string();
    let (report, ended) = run_with(("SSL_CERT_FILE", &file), &["--remote-write", &to]);
    std::fs::remove_file(&trusted).expect("it is there");
    assert!(said(&ended).is_empty(), "{:?}", ended.stderr);
    assert!(came.try_iter().count() >= 5);
    assert_not_failed(&report, &ended);
}

/// What receivers do is not the run's fault. That the client kept up is another question.
fn assert_not_failed(report: &Value, ended: &Ended) {
    let outcome = report["verdict"]["outcome"].as_str();
    assert!(matches!(outcome, Some("ok" | "invalid")), "{}", report["verdict"]);
    assert!(matches!(ended.status.code(), Some(0 | 4)), "{:?}", ended.status);
    assert!(!report.to_string().contains("remote-write:"), "{report}");
}
