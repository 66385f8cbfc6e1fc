//! What connections do, and what comes of it.

use std::path::Path;

use rustix::process::Signal;

use crate::peers::peers;
use crate::process::Process;
use crate::rig::{Folder, assert_clean, load, number, serve};

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
