//! The scenario files that come with the tool, against the servers that they are for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::peers::{Peer as _, Tungstenite, start_node};
use crate::process::{PATIENCE, Process};

/// Runs a file. Returns the report.
fn follow(url: &str, file: &Path) -> Value {
    let file = file.display().to_string();
    let arguments = ["load", url, "--file", &file, "--connections", "5", "--duration", "2s"];
    let quiet = ["--quiet", "--json", "-", "--warm-up", "0", "--drain", "10s"];
    let ended = Process::run(&[&arguments[..], &quiet].concat());
    serde_json::from_str(&ended.stdout.join("\n"))
        .unwrap_or_else(|error| panic!("{error}: {:?}", ended.stderr))
}

/// The same, and asserts that nothing went wrong.
fn clean(url: &str, file: &Path) -> Value {
    let report = follow(url, file);
    assert_eq!(report["errors"], json!([]), "{}", file.display());
    assert_eq!(report["totals"]["mismatches"], json!(0), "{}", file.display());
    report
}

fn preset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name)
}

/// How often a class was measured.
fn count(report: &Value, class: &str) -> u64 {
    let classes = report["classes"].as_array().expect("classes");
    let times = classes.iter().find(|it| it["name"] == class);
    let times = times.unwrap_or_else(|| panic!("{class} in {classes:?}"));
    times["times"]["count"].as_u64().expect("a count")
}

/// The preset for graphql-ws with another query, as a file of its own.
fn graphql_with(name: &str, query: &str, timeout: &str) -> PathBuf {
    let text = fs::read_to_string(preset("graphql-ws.toml")).expect("the preset");
    let other = text.replace("{ __typename }", query).replace("5s", timeout);
    assert!(other.contains(query) && other.contains(timeout), "{text}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, other).expect("a file");
    path
}

#[test]
fn graphql_ws_is_followed_as_its_preset_says() {
    let Some(server) = start_node(&["graphql_ws.mjs"]) else { return };
    let url = format!("ws://{}/graphql", server.address());
    for file in [
        preset("graphql-ws.toml"),
        graphql_with("load-graphql-hello.toml", "{ hello }", "5s"),
        graphql_with("load-graphql-subscription.toml", "subscription { number }", "5s"),
    ] {
        let report = clean(&url, &file);
        assert!(count(&report, "init") >= 1, "{}", report["classes"]);
        assert!(count(&report, "query") >= 5, "{}", report["classes"]);
    }
    // What the schema does not know is an error, as the preset says.
    let wrong = graphql_with("load-graphql-wrong.toml", "{ nonsense }", "1s");
    let report = follow(&url, &wrong);
    assert!(report["totals"]["mismatches"].as_u64().is_some_and(|it| it >= 5), "{report}");
    assert!(count(&report, "init") >= 1 && !report["classes"].to_string().contains("query"));
}

#[test]
fn socket_io_is_followed_as_its_preset_says() {
    let Some(server) = start_node(&["socket_io.mjs"]) else { return };
    let url = format!("ws://{}/", server.address());
    let report = clean(&url, &preset("socket-io.toml"));
    assert!(count(&report, "join") >= 5, "each joins while it is measured: {report}");
    assert!(count(&report, "emit") >= 5, "{}", report["classes"]);
    // Its heartbeat was answered.
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let beats = answer.rsplit(' ').next().and_then(|beats| beats.parse::<u64>().ok());
    assert!(beats.is_some_and(|beats| beats >= 5), "{answer}");
}

#[test]
fn a_server_may_speak_first() {
    let server = Tungstenite::serving(|mut server| {
        let greeted = server.send(Message::text("welcome"));
        let mut is_open = greeted.is_ok();
        while is_open {
            is_open = server.read().is_ok_and(|message| server.send(message).is_ok());
        }
    });
    let text = r#"
name = "greeted"

[[step]]
expect_exact = "welcome"

[[step]]
send = "hello"

[[step]]
expect_exact = "hello"
measure = "hello"

[[step]]
think = "1h"
"#;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load-greeted.toml");
    fs::write(&path, text).expect("a file");
    let report = clean(&format!("ws://{}/", server.address()), &path);
    assert_eq!(count(&report, "hello"), 5, "each says it once, while it is measured");
}
