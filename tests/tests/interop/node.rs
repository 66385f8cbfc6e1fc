//! `ws`, the WebSocket library of Node, as a client against our server: `ws_client.mjs` does the
//! talking, this starts it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use sockeye::{Closed, DeflateConfig};
use sockeye_codec::{Event, Limits};
use sockeye_tests::client::Client;

use crate::engine::Engine;

const PACKAGE: &str = include_str!("package.json");
const PACKAGE_LOCK: &str = include_str!("package-lock.json");
const SCRIPT: &str = include_str!("ws_client.mjs");
const DEFLATE_SCRIPT: &str = include_str!("ws_deflate.mjs");

/// The connections that the script breaks off without a word.
const TERMINATED: usize = 4;

/// Makes a folder with `ws` and the script in it, once for each version of the lock file.
fn install() -> Result<PathBuf, String> {
    for program in ["node", "npm"] {
        if let Err(error) = Command::new(program).arg("--version").output() {
            return Err(format!("`{program}` does not run ({error}): install Node.js 20 or later"));
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-ws");
    let done = folder.join("installed-package-lock.json");
    let write = |name, content| fs::write(folder.join(name), content);
    let prepared = fs::create_dir_all(&folder)
        .and_then(|()| write("package.json", PACKAGE))
        .and_then(|()| write("package-lock.json", PACKAGE_LOCK))
        .and_then(|()| write("ws_client.mjs", SCRIPT))
        .and_then(|()| write("ws_deflate.mjs", DEFLATE_SCRIPT));
    prepared.map_err(|error: io::Error| format!("{}: {error}", folder.display()))?;
    if fs::read_to_string(&done).is_ok_and(|installed| installed == PACKAGE_LOCK) {
        return Ok(folder);
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.args(["--fetch-timeout=30000", "--fetch-retries=1"]);
    let output = npm.current_dir(&folder).output().map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`npm ci` cannot install `ws`, is there a network? {stderr}"));
    }
    fs::write(&done, PACKAGE_LOCK).map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(folder)
}

/// The folder; `None` where there is no Node and none is required.
fn installed() -> Option<PathBuf> {
    // The tests of this file share it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match install() {
        Ok(folder) => Some(folder),
        Err(why) => {
            let required = std::env::var_os("SOCKEYE_REQUIRE_NODE").is_some_and(|it| it == "1");
            assert!(!required, "{why}");
            println!("not run: {why}");
            None
        }
    }
}

/// What a server may allow.
fn configs() -> impl Iterator<Item = DeflateConfig> {
    [(false, 15, 15), (true, 15, 15), (true, 9, 10), (true, 12, 9), (false, 9, 9)]
        .map(|(takeover, server_bits, client_bits)| DeflateConfig {
            server_context_takeover: takeover,
            client_context_takeover: takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
            compress_bytes_min: 0,
            ..DeflateConfig::default()
        })
        .into_iter()
}

#[test]
fn ws_of_node_understands_our_compression() {
    let Some(folder) = installed() else { return };
    for config in configs() {
        let engine = Engine::start_with(Some(config));
        let output = Command::new("node")
            .args(["ws_deflate.mjs", "client", &engine.url()])
            .current_dir(&folder)
            .output()
            .expect("node runs");
        println!("{}", String::from_utf8_lossy(&output.stdout));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{config:?}: {stderr}");
    }
}

/// A process of the test's, which ends with it.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn our_client_understands_the_compression_of_ws() {
    const PATHS: [&str; 6] = [
        "default",
        "no-context",
        "no-server-context",
        "no-client-context",
        "small-windows",
        "different-windows",
    ];
    let Some(folder) = installed() else { return };
    let child = Command::new("node")
        .args(["ws_deflate.mjs", "server"])
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut node = Node(child);
    let mut line = String::new();
    let stdout = node.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("its first line");
    let port = line.trim().strip_prefix("port ").expect("the port").to_owned();
    for config in configs() {
        for path in PATHS {
            let url = format!("ws://127.0.0.1:{port}/{path}");
            let limits = Limits::default();
            let client = Client::connect_with(&url, &[], limits, Some(config));
            let narrow = config.server_max_window_bits < 10 || config.client_max_window_bits < 13;
            if path == "different-windows" && narrow {
                // It wants windows of 10 and 13 bits, and has no other answer to who forbids that.
                let refused = client.err().expect("an offer that it cannot accept").to_string();
                assert!(refused.contains("400"), "{refused}");
                continue;
            }
            let mut client = client.expect(path);
            let agreed = client.deflate().expect("it is agreed on");
            println!("{path}: {agreed}");
            for n in 0..60 {
                let text = format!("{n} tin fish {}", "\u{1f41f} again ".repeat(n * n * 3));
                client.send(&text).expect("open");
                let answer = client.receive(|event, _| match event {
                    Event::Message(message) => message.as_text().map(ToOwned::to_owned),
                    _ => None,
                });
                assert!(answer.expect("open").as_deref() == Some(&*text), "{path} {n}");
            }
        }
    }
}

#[test]
fn ws_of_node_understands_us() {
    let Some(folder) = installed() else { return };
    let engine = Engine::start();
    // It ends by itself: no step of the script waits without a limit.
    let output = Command::new("node")
        .args(["ws_client.mjs", &engine.url()])
        .current_dir(&folder)
        .output()
        .expect("node runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");

    let mut lost = 0;
    while lost < TERMINATED {
        if matches!(engine.next_closed(), Closed::Lost(_)) {
            lost += 1;
        }
    }
}
