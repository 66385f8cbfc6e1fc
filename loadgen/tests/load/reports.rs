//! What a run leaves behind, and what is done with that.

use crate::process::Process;
use crate::rig::{Folder, load, number, serve};

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
