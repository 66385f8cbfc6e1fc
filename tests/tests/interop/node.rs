//! `ws`, the WebSocket library of Node, as a client against our server: `ws_client.mjs` does the
//! talking, this starts it.

use std::path::PathBuf;
use std::process::Command;

use sockeye::{Closed, DeflateConfig};
use sockeye_codec::{Event, Limits};
use sockeye_tests::client::Client;
use sockeye_tests::node::{Packages, Server};

use crate::engine::Engine;

const PACKAGE: &str = include_str!("package.json");
const PACKAGE_LOCK: &str = include_str!("package-lock.json");
const SCRIPT: &str = include_str!("ws_client.mjs");
const DEFLATE_SCRIPT: &str = include_str!("ws_deflate.mjs");

/// The connections that the script breaks off without a word.
const TERMINATED: usize = 4;

/// The folder; `None` where there is no Node and none is required.
fn installed() -> Option<PathBuf> {
    let packages = Packages {
        folder: "interop-ws",
        manifest: PACKAGE,
        lock: PACKAGE_LOCK,
        scripts: &[("ws_client.mjs", SCRIPT), ("ws_deflate.mjs", DEFLATE_SCRIPT)],
    };
    packages.installed(env!("CARGO_TARGET_TMPDIR"))
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
    let server = Server::start(&folder, &["ws_deflate.mjs", "server"]);
    let address = server.address();
    for config in configs() {
        for path in PATHS {
            let url = format!("ws://{address}/{path}");
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
