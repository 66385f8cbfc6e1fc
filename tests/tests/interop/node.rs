//! `ws`, the WebSocket library of Node, as a client against our server: `ws_client.mjs` does the
//! talking, this starts it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye::Closed;

use crate::engine::Engine;

const PACKAGE: &str = include_str!("package.json");
const PACKAGE_LOCK: &str = include_str!("package-lock.json");
const SCRIPT: &str = include_str!("ws_client.mjs");

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
        .and_then(|()| write("ws_client.mjs", SCRIPT));
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

#[test]
fn ws_of_node_understands_us() {
    let folder = match install() {
        Ok(folder) => folder,
        Err(why) => {
            let required = std::env::var_os("SOCKEYE_REQUIRE_NODE").is_some_and(|it| it == "1");
            assert!(!required, "{why}");
            println!("not run: {why}");
            return;
        }
    };
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
