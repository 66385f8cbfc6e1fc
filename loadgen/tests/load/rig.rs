//! Servers to load, runs of the tool, and what tests say of their reports.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Ended, Process, Server};

/// A server on one shard.
pub(crate) fn serve(arguments: &[&str]) -> (Server, String) {
    let server = Server::start(&[&["--shards", "1"], arguments].concat());
    let url = format!("ws://{}/", server.address);
    (server, url)
}

/// A short run that says nothing but JSON. Returns that and the exit code.
pub(crate) fn load(url: &str, arguments: &str) -> (Value, i32) {
    let (report, ended) = load_all(url, arguments);
    (report, ended.status.code().expect("it was not killed"))
}

pub(crate) fn load_all(url: &str, arguments: &str) -> (Value, Ended) {
    load_with(url, arguments, &[])
}

/// And `more` arguments, in which spaces are.
pub(crate) fn load_with(url: &str, arguments: &str, more: &[&str]) -> (Value, Ended) {
    let mut all = vec!["load", url, "--quiet", "--json", "-"];
    all.extend(words(arguments));
    all.extend(more);
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

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

pub(crate) fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).unwrap_or_else(|| panic!("{path} in {report}"));
    value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
}

/// All that was sent came back, and nothing went wrong. Whether the client kept up is another
/// question, on a machine that runs other tests too.
pub(crate) fn assert_clean(report: &Value, what: &str) {
    assert_eq!(report["errors"], serde_json::json!([]), "{what}");
    for zero in ["unanswered", "mismatches", "connections_failed", "connections_lost"] {
        assert_eq!(number(report, &format!("/totals/{zero}")), 0.0, "{what}: {zero}");
    }
    let outcome = report["verdict"]["outcome"].as_str();
    assert!(matches!(outcome, Some("ok" | "invalid")), "{what}: {outcome:?}");
}

/// A folder of its own, gone with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
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

/// A run of a minute that reports to stdout, after its first window: the test ends it sooner.
pub(crate) fn long_run(url: &str, more: &[&str]) -> Process {
    let usual = "--rate 500 --connections 10 --duration 60s --warm-up 0 --json - --plain \
                 --window 200ms";
    let arguments: Vec<_> = ["load", url].into_iter().chain(words(usual)).collect();
    let run = Process::start(&[&arguments, more].concat());
    run.wait_for_error_line("received");
    run
}

/// What such a run has reported.
pub(crate) fn report_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout.join("\n")).expect("a report")
}
