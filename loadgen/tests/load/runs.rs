//! Whole runs: every scenario, every way a run ends, and what it says then.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::peers::peers;
use crate::process::{Ended, Process, Server};

/// A server on one shard.
fn serve(arguments: &[&str]) -> (Server, String) {
    let server = Server::start(&[&["--shards", "1"], arguments].concat());
    let url = format!("ws://{}/", server.address);
    (server, url)
}

/// A short run that says nothing but JSON. Returns that and the exit code.
fn load(url: &str, arguments: &str) -> (Value, i32) {
    let (report, ended) = load_all(url, arguments);
    (report, ended.status.code().expect("it was not killed"))
}

fn load_all(url: &str, arguments: &str) -> (Value, Ended) {
    let mut all = vec!["load", url, "--quiet", "--json", "-"];
    all.extend(words(arguments));
    for [option, usual] in [["--drain", "10s"], ["--warm-up", "0"]] {
        if !arguments.contains(option) {
            all.extend([option, usual]);
        }
    }
    let ended = Process::run(&all);
    let text = ended.stdout.join("\n");
    let report = serde_json::from_str(&text);
    (report.unwrap_or_else(|error| panic!("{error}: {text:?} {:?}", ended.stderr)), ended)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).unwrap_or_else(|| panic!("{path} in {report}"));
    value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
}

/// All that was sent came back, and nothing went wrong. Whether the client kept up is another
/// question, on a machine that runs other tests too.
fn assert_clean(report: &Value, what: &str) {
    assert_eq!(report["errors"], serde_json::json!([]), "{what}");
    for zero in ["unanswered", "mismatches", "connections_failed", "connections_lost"] {
        assert_eq!(number(report, &format!("/totals/{zero}")), 0.0, "{what}: {zero}");
    }
    let outcome = report["verdict"]["outcome"].as_str();
    assert!(matches!(outcome, Some("ok" | "invalid")), "{what}: {outcome:?}");
}

#[test]
fn every_message_is_sent_and_comes_back() {
    let (_server, url) = serve(&[]);
    let cases = [
        ("--rate 2k", 2000.0),
        ("--rate 2k --poisson --seed 3", 2000.0),
        ("--ramp 1k:3k", 2000.0),
        ("--steps 1k,2k,3k", 2000.0),
        ("--rate 2k --burst 10", 2000.0),
        ("--rate 2k --threads 2 --connections 7", 2000.0),
        ("--rate 2k --no-spin", 2000.0),
        ("--rate 200 --text --bytes 20kB", 200.0),
        ("--rate 200 --size uniform:0..3000 --mix 50:50", 200.0),
        ("--rate 200 --bytes 1000 --fragment 100", 200.0),
        ("--rate 20 --bytes 1MB", 20.0),
        ("--rate 500 --message {{seq}}-{{uuid}}-{{conn}}", 500.0),
        ("--rate 500 --no-verify", 500.0),
        ("--rate 1k --lifetime 300ms", 1000.0),
    ];
    for (arguments, expected) in cases {
        let (report, _) = load(&url, &format!("{arguments} --duration 1s"));
        assert_clean(&report, arguments);
        let [sent, received] =
            ["sent", "received"].map(|n| number(&report, &format!("/totals/messages_{n}")));
        assert_eq!(sent, received, "{arguments}");
        // A machine that is busy may leave no time for the last ones; chance has a deviation.
        assert!(sent <= expected * 1.1 && sent >= expected * 0.5, "{arguments}: {sent}");
        for histogram in ["response", "service", "lag"] {
            let count = number(&report, &format!("/latency/{histogram}/count"));
            assert_eq!(count, sent, "{arguments}: {histogram}");
        }
        assert!(number(&report, "/phases/upgrade/count") >= 7.0, "{arguments}");
        assert!(number(&report, "/totals/bytes_received") > 0.0, "{arguments}");
    }
}

#[test]
fn other_peoples_servers_are_loaded_too() {
    for (name, peer) in peers() {
        let url = format!("ws://{}/", peer.address());
        let (report, _) = load(&url, "--rate 500 --connections 20 --duration 1s --text");
        assert_clean(&report, name);
        assert!(number(&report, "/totals/messages_received") > 250.0, "{name}");
    }
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let (_server, url) = serve(&[]);
    let (report, _) = load(&url, "--closed --in-flight 3 --connections 5 --duration 1s");
    assert_clean(&report, "closed");
    assert_eq!(report["plan"]["load"], "closed");
    assert!(report["latency"].get("response").is_none(), "nothing was due");
    assert!(number(&report, "/latency/service/count") > 15.0);
}

#[test]
fn what_is_published_reaches_everybody() {
    let (_server, url) = serve(&["--app", "broadcast"]);
    let arguments = "--scenario fanout --publishers 2 --connections 30 --rate 50 --duration 1s";
    for more in ["", " --text --bytes 100", " --threads 2"] {
        let (report, _) = load(&url, &format!("{arguments}{more}"));
        assert_clean(&report, more);
        let fanout = &report["fanout"];
        let published = number(fanout, "/published");
        assert!(published >= 25.0, "{fanout}");
        assert_eq!(number(fanout, "/delivered"), 30.0 * published, "{fanout}");
        assert_eq!(number(fanout, "/reach"), 1.0);
        for zero in ["gaps", "duplicates", "reordered"] {
            assert_eq!(number(fanout, &format!("/{zero}")), 0.0, "{zero}");
        }
        assert_eq!(number(fanout, "/skew/count"), published);
    }
}

#[test]
fn what_the_server_sends_by_itself_is_counted() {
    let (_server, url) = serve(&["--app", "broadcast"]);
    let publisher = Process::start(&[
        "load",
        &url,
        "--scenario",
        "fanout",
        "--connections",
        "1",
        "--rate",
        "100",
        "--duration",
        "30s",
        "--quiet",
    ]);
    let (report, _) = load(&url, "--scenario push --connections 10 --duration 1s");
    publisher.signal(Signal::INT);
    assert_eq!(report["plan"]["load"], "receive");
    assert!(number(&report, "/totals/messages_received") > 0.0, "{report}");
    // The stamps of another process on this machine are understood.
    assert!(number(&report, "/latency/response/count") > 0.0);
    assert_eq!(publisher.wait().status.code(), Some(130));
}

#[test]
fn idle_connections_answer_pings() {
    let (_server, url) = serve(&[]);
    let arguments = "--scenario idle --connections 200 --ping-every 300ms --duration 1s";
    let (report, _) = load(&url, arguments);
    assert_clean(&report, "idle");
    assert!(number(&report, "/totals/pongs_received") >= 200.0);
    assert_eq!(number(&report, "/totals/connections_peak"), 200.0);
}

#[test]
fn slow_consumers_are_reported_apart() {
    let (_server, url) = serve(&["--app", "broadcast"]);
    let arguments = "--scenario fanout --connections 20 --rate 50 --bytes 10kB --slow 10%:10kB/s \
                     --receive-buffer 4096 --duration 2s --drain 1s";
    let (report, _) = load(&url, arguments);
    assert_eq!(number(&report, "/slow/connections"), 2.0);
    assert_eq!(number(&report, "/fanout/subscribers"), 18.0);
    assert_eq!(number(&report, "/fanout/reach"), 1.0, "the others have all");
    let [published, slow] =
        ["/fanout/published", "/slow/messages_received"].map(|path| number(&report, path));
    assert!(slow < 2.0 * published, "{slow} of {}: they read slowly", 2.0 * published);
}

#[test]
fn a_storm_opens_connections_and_closes_them() {
    let (_server, url) = serve(&[]);
    let (report, _) = load(&url, "--scenario storm --rate 200 --duration 1s");
    assert_clean(&report, "storm");
    let opened = number(&report, "/totals/connections_opened");
    assert!((100.0..=200.0).contains(&opened), "{opened}");
    assert_eq!(number(&report, "/latency/response/count"), opened);
}

#[test]
fn compression_is_agreed_on_and_counted() {
    let (_server, url) = serve(&["--deflate"]);
    for arguments in ["", "--deflate-no-takeover"] {
        let arguments =
            format!("--deflate {arguments} --text --bytes 2000 --rate 200 --duration 1s");
        let (report, _) = load(&url, &arguments);
        assert_clean(&report, &arguments);
        let compression = &report["compression"];
        let [plain, wire] =
            ["plain", "wire"].map(|n| number(compression, &format!("/sent_{n}_bytes")));
        assert!(wire > 0.0 && wire < plain, "{compression}");
        assert!(compression["agreed"].as_str().is_some_and(|it| it.contains("permessage-deflate")));
    }
    // What warms up counts on neither side, and headers are no payload: what is too short to be
    // compressed is as long on the wire as it was before.
    let arguments = "--deflate --deflate-min 1000 --bytes 100 --rate 500 --duration 500ms \
                     --warm-up 500ms";
    let (report, _) = load(&url, arguments);
    for way in ["sent", "received"] {
        let [plain, wire] =
            ["plain", "wire"].map(|n| number(&report, &format!("/compression/{way}_{n}_bytes")));
        assert!(plain > 0.0 && wire == plain, "{way}: {}", report["compression"]);
        assert_eq!(plain, number(&report, &format!("/totals/bytes_{way}")), "{way}");
    }
    // So the ratio is the same however long it warms up.
    let ratios = ["0", "1s"].map(|warm_up| {
        let arguments = "--deflate --deflate-no-takeover --text --bytes 2000 --rate 200 \
                         --duration 1s --warm-up";
        let (report, _) = load(&url, &format!("{arguments} {warm_up}"));
        ["sent", "received"].map(|way| {
            let [plain, wire] = ["plain", "wire"]
                .map(|n| number(&report, &format!("/compression/{way}_{n}_bytes")));
            wire / plain
        })
    });
    for (without, with) in ratios[0].iter().zip(ratios[1]) {
        assert!((with / without - 1.0).abs() < 0.05, "{ratios:?}");
    }
    // A server that declines is loaded without.
    let (_server, url) = serve(&[]);
    let (report, _) = load(&url, "--deflate --rate 100 --duration 500ms");
    assert_clean(&report, "declined");
    assert_eq!(report["compression"]["agreed"], Value::Null);
}

#[test]
fn the_ring_loads_as_well() {
    let (_server, url) = serve(&[]);
    let arguments = ["load", &url, "--backend", "io-uring", "--duration", "500ms", "-q"];
    let ended = Process::run(&arguments);
    let code = ended.status.code();
    let required = std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_some();
    if !required && ended.stderr.iter().any(|line| line.contains("io_uring")) {
        return;
    }
    assert!(matches!(code, Some(0 | 4)), "{code:?} {:?}", ended.stderr);
}

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
    let arguments = [
        "load",
        &url,
        "--rate",
        "500",
        "--connections",
        "10",
        "--duration",
        "30s",
        "--warm-up",
        "0",
        "--json",
        "-",
        "--plain",
        "--window",
        "200ms",
    ];
    let run = Process::start(&arguments);
    run.wait_for_error_line("received");
    server.process.signal(Signal::KILL);
    let ended = run.wait();
    let report: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("a report");
    // On a busy machine the client may have been late besides.
    assert!(matches!(ended.status.code(), Some(1 | 4)), "{:?}", ended.status);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("10 connections were lost"), "{reasons}");
    assert_eq!(number(&report, "/totals/connections_lost"), 10.0);
    assert!(number(&report, "/totals/messages_received") > 0.0);
    assert!(number(&report, "/measured_s") < 29.0, "it does not go on with nobody");
}

#[test]
fn a_signal_ends_a_run_with_what_there_is() {
    let (_server, url) = serve(&[]);
    for (signal, expected) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let arguments = [
            "load",
            &url,
            "--rate",
            "500",
            "--connections",
            "10",
            "--duration",
            "60s",
            "--warm-up",
            "0",
            "--json",
            "-",
            "--plain",
            "--window",
            "200ms",
            "--slo",
            "p99<1ns",
        ];
        let run = Process::start(&arguments);
        run.wait_for_error_line("received");
        run.signal(signal);
        let ended = run.wait();
        assert_eq!(ended.status.code(), Some(expected));
        let report: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("a report");
        assert_eq!(report["verdict"]["outcome"], "interrupted");
        assert_eq!(report["slo"], serde_json::json!([]), "gates are not looked at");
        assert!(number(&report, "/totals/messages_received") > 0.0);
    }
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What a run that was killed has left.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn all_formats_are_written() {
    let (_server, url) = serve(&[]);
    let folder = Folder::new("load-formats");
    let path = |name: &str| folder.0.join(name).display().to_string();
    let files = [
        ("--json", "r.json", "\"schema_version\": 1"),
        ("--ndjson", "r.ndjson", "\"verdict\""),
        ("--hgrm", "r.hgrm", "#[Mean"),
        ("--html", "r.html", "</html>"),
        ("--markdown", "r.md", "p99"),
        ("--prometheus", "r.prom", "sockeye_load_"),
        ("--csv", "r.csv", ","),
    ];
    let mut arguments: Vec<String> =
        ["load", &url, "--rate", "500", "--duration", "1s", "-q"].map(Into::into).into();
    for (option, name, _) in files {
        arguments.extend([option.to_owned(), path(name)]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ended = Process::run(&arguments);
    assert!(matches!(ended.status.code(), Some(0 | 4)), "{:?}", ended.stderr);
    for (option, name, expected) in files {
        let text = std::fs::read_to_string(path(name)).expect(option);
        assert!(text.contains(expected), "{option}: no {expected:?}");
    }
    // What cannot be written is known before the run.
    let ended = Process::run(&["load", &url, "--json", &path("none/r.json")]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);
}

#[test]
fn a_servers_process_is_watched() {
    let (server, url) = serve(&[]);
    let pid = server.process.id().to_string();
    let arguments = format!("--server-pid {pid} --rate 1k --connections 100 --duration 1s");
    let (report, _) = load(&url, &arguments);
    assert_eq!(number(&report, "/server/pid"), f64::from(server.process.id()));
    assert!(number(&report, "/server/cpu_ns_per_message") > 0.0);
    assert!(number(&report, "/server/rss_peak_bytes") > 0.0);
    let ended = Process::run(&["load", &url, "--server-pid", "4294967294"]);
    assert!(matches!(ended.status.code(), Some(1 | 2)), "{:?}", ended.stderr);
}

fn script(folder: &Folder, text: &str) -> String {
    let path = folder.0.join("scenario.toml");
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_scenario_of_ones_own_is_followed() {
    let (_server, url) = serve(&[]);
    let folder = Folder::new("load-script");
    let text = r#"
name = "ask and be answered"

[[step]]
loop = { times = 3, steps = [
  { send = '{"id":"{{conn}}-{{seq}}"}' },
  { expect = "{{conn}}-{{seq}}", measure = "answer", timeout = "30s" },
  { think = "10ms" },
] }

[[step]]
ping = true

[[step]]
close = { code = 4000, reason = "done" }
"#;
    let path = script(&folder, text);
    let (report, _) = load(&url, &format!("--file {path} --connections 5 --duration 1s"));
    assert_clean(&report, "a script");
    assert_eq!(
        (&report["plan"]["scenario"], &report["plan"]["load"]),
        (&"file".into(), &"closed".into())
    );
    assert_eq!(report["classes"][0]["name"], "answer");
    let answers = number(&report, "/classes/0/times/count");
    assert!(answers >= 15.0, "{answers}");
    assert!(number(&report, "/totals/connections_opened") > 5.0, "they come again");
}

#[test]
fn a_scenario_that_is_not_answered_fails() {
    let (_server, url) = serve(&[]);
    let folder = Folder::new("load-script-wrong");
    let text = r#"
name = "wrong"

[[step]]
send = "ask"

[[step]]
expect = "answer"
timeout = "50ms"
"#;
    let path = script(&folder, text);
    let (report, code) = load(&url, &format!("--file {path} --connections 2 --duration 300ms"));
    assert!(matches!(code, 1 | 4), "{code}");
    assert!(number(&report, "/totals/mismatches") >= 2.0);
    let ended =
        Process::run(&["load", &url, "--file", &folder.0.join("none").display().to_string()]);
    assert_eq!(ended.status.code(), Some(2), "{:?}", ended.stderr);
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);
}

#[test]
fn a_chat_is_followed_as_its_preset_says() {
    let (_server, url) = serve(&["--app", "chat"]);
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/chat.toml");
    let arguments = format!("--file {} --connections 3 --duration 1s", preset.display());
    let (report, _) = load(&format!("{url}ws"), &arguments);
    assert_clean(&report, "the chat");
    assert!(number(&report, "/totals/messages_received") > 0.0);
}

#[test]
fn wss_is_loaded_as_well() {
    let folder = Folder::new("load-wss");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.0.join(name).display().to_string());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let process = Process::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--shards",
        "1",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    let line = process.next_line();
    let port = line.split(' ').nth(2).and_then(|url| url.rsplit(':').next()).expect("a port");
    let url = format!("wss://localhost:{port}/");
    for trust in [format!("--ca {cert}"), "--insecure".to_owned()] {
        let arguments = format!("--resolve localhost:127.0.0.1 --rate 500 --duration 1s {trust}");
        let (report, _) = load(&url, &arguments);
        assert_clean(&report, &trust);
        assert!(report["tls"].as_str().is_some_and(|it| it.starts_with("TLS 1.3")), "{report}");
        assert!(number(&report, "/phases/tls/count") >= 100.0);
    }
    // Nobody has signed it.
    let arguments = "--resolve localhost:127.0.0.1 --connections 2 --duration 300ms";
    let (report, code) = load(&url, arguments);
    assert_eq!(code, 1);
    let what = report["errors"][0]["what"].as_str().expect("an error");
    assert!(what.contains("TLS") && what.contains("--ca"), "{what}");
}

#[test]
fn a_unix_socket_is_loaded_as_well() {
    let folder = Folder::new("load-unix");
    let path = folder.0.join("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || {
                // The attempt that only connects ends here.
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_close() || socket.send(message).is_err() {
                        let _ = socket.flush();
                        return;
                    }
                }
            });
        }
    });
    let arguments =
        format!("--unix {} --connections 5 --rate 100 --duration 500ms", path.display());
    let (report, _) = load("ws://localhost/", &arguments);
    assert_clean(&report, "Unix");
    assert!(number(&report, "/totals/messages_received") > 20.0);
}

#[test]
fn two_servers_are_measured_in_turns() {
    let (_one, one) = serve(&[]);
    let (_other, other) = serve(&[]);
    let servers = [format!("A={one}"), format!("B={other}")];
    let arguments = [
        "ab",
        "--server",
        &servers[0],
        "--server",
        &servers[1],
        "--repeats",
        "2",
        "--rate",
        "200",
        "--connections",
        "5",
        "--duration",
        "300ms",
        "--warm-up",
        "0",
    ];
    let ended = Process::run(&arguments);
    assert!(matches!(ended.status.code(), Some(0 | 4)), "{:?} {:?}", ended.status, ended.stderr);
    assert!(ended.stderr.iter().any(|line| line.contains("run 1 of 4")), "{:?}", ended.stderr);
}

#[test]
fn reports_are_compared() {
    let (_server, url) = serve(&[]);
    let folder = Folder::new("load-compare");
    let paths = ["a.json", "b.json"].map(|name| folder.0.join(name).display().to_string());
    for path in &paths {
        let arguments = ["load", &url, "--duration", "500ms", "-q", "--json", path];
        let code = Process::run(&arguments).status.code();
        assert!(matches!(code, Some(0 | 4)), "{code:?}");
    }
    let ended = Process::run(&["compare", &paths[0], &paths[1]]);
    // 4: the client was too busy in one of them.
    assert!(matches!(ended.status.code(), Some(0 | 4)), "{:?}", ended.stderr);
}

/// A server that keeps the first request it gets, and refuses it.
fn listening_server(address: &str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            if let Ok(len @ 1..) = stream.read(&mut request) {
                // The test may have ended.
                let _ = requests.send(String::from_utf8_lossy(&request[..len]).into_owned());
                let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    (address, heard)
}

#[test]
fn the_request_says_what_it_was_told_to() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (address, heard) = listening_server(address);
        let url = format!("ws://{address}/chat?room=1");
        let arguments = [
            "load",
            &url,
            "-q",
            "--connections",
            "1",
            "--duration",
            "200ms",
            "--subprotocol",
            "a.v2",
            "--subprotocol",
            "a.v1",
            "-H",
            "Authorization: Bearer 123",
            "--cookie",
            "s=1",
            "--cookie",
            "t=2",
            "--origin",
            "https://example.com",
            "--deflate",
        ];
        let ended = Process::run(&arguments);
        assert_eq!(ended.status.code(), Some(1));
        let said = ended.stdout.join("\n");
        assert!(said.contains("401") && !said.contains("Bearer"), "{said}");
        let request = heard.recv().expect("a request");
        for line in [
            "GET /chat?room=1 HTTP/1.1\r\n",
            "Sec-WebSocket-Protocol: a.v2, a.v1\r\n",
            "Authorization: Bearer 123\r\n",
            "Cookie: s=1; t=2\r\n",
            "Origin: https://example.com\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate",
        ] {
            assert!(request.contains(line), "{line:?} in {request:?}");
        }
    }
}

#[test]
fn connections_come_from_many_addresses() {
    let (_server, url) = serve(&[]);
    let arguments = "--source 127.0.0.2,127.0.1.0/30 --connections 30 --rate 300 --duration 300ms";
    let (report, _) = load(&url, arguments);
    assert_clean(&report, "sources");
    assert_eq!(number(&report, "/totals/connections_peak"), 30.0);
}

#[test]
fn too_few_files_are_known_before_the_run() {
    let (_server, url) = serve(&[]);
    let arguments = ["load", &url, "--connections", "1000", "--duration", "1s"];
    let ended = Process::start_with_files(100, &arguments).wait();
    assert_eq!(ended.status.code(), Some(2), "{:?}", ended.stderr);
    let line = ended.stderr.iter().find(|line| line.contains("error")).expect("an error");
    assert!(line.contains("ulimit -Hn"), "{line}");
    let ended = Process::run(&["load", &url, "--connections", "10", "--preflight"]);
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.iter().any(|line| line.contains("10 connections can be had")));
}

/// A proxy that knows one user.
fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            // One that only connects, to see whether somebody is there, ends here.
            thread::spawn(move || tunnel(client));
        }
    });
    address
}

fn tunnel(mut client: TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    if !head.contains("Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    let authority = head.split(' ').nth(1).expect("CONNECT AUTHORITY");
    let mut server = TcpStream::connect(authority)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        // Either side may be gone.
        let _ = to_client.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Write)
}

#[test]
fn a_proxy_leads_to_the_server() {
    let (_server, url) = serve(&[]);
    let proxy = format!("--proxy http://{}", proxy());
    let load_it = "--connections 5 --rate 100 --duration 500ms";
    let (report, _) = load(&url, &format!("{proxy} --proxy-auth ada:secret {load_it}"));
    assert_clean(&report, "by a proxy");
    assert!(number(&report, "/totals/messages_received") > 20.0);
    assert!(!report["command"].to_string().contains("secret"));
    let (report, code) = load(&url, &format!("{proxy} {load_it}"));
    assert_eq!(code, 1);
    let what = report["errors"][0]["what"].as_str().expect("an error");
    assert!(what.contains("--proxy-auth"), "{what}");
}
