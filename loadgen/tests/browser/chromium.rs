//! A headless Chromium, and just enough of its DevTools protocol.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::process::{PATIENCE, Process};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The tests' own certificates, which nobody has signed.
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
    "about:blank",
];

/// A browser with a profile of its own. It ends with this value.
pub(crate) struct Chromium {
    devtools: WebSocket<TcpStream>,
    calls: u64,
    exceptions: Vec<String>,
    // In this order: the profile can be removed when the browser has ended.
    _process: Process,
    _profile: Profile,
}

struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        // What cannot be removed goes with the build's directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Chromium {
    /// Starts the one that is installed; `None` if there is none and none is required.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find() else {
            let hint = "no Chromium found: install it (`apt-get install chromium`), or name it in \
                        $CHROMIUM";
            let required = env::var_os("SOCKEYE_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "{hint}");
            eprintln!("test of the page left out: {hint}");
            return None;
        };
        let profile = env!("CARGO_TARGET_TMPDIR");
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("chromium-{}-{number}", process::id());
        let profile = PathBuf::from(profile).join(name);
        fs::create_dir_all(&profile).expect("the build's directory can be written");
        let mut user_data_dir = std::ffi::OsString::from("--user-data-dir=");
        user_data_dir.push(&profile);
        let profile = Profile(profile);
        let mut child = Command::new(&program)
            .arg(user_data_dir)
            .args(ARGUMENTS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let process = Process::new(child, stderr);
        let url = process.wait_for_line("DevTools listening on ");
        let devtools = connect(&url);
        let exceptions = Vec::new();
        Some(Self { devtools, calls: 0, exceptions, _process: process, _profile: profile })
    }

    /// Calls a method and waits for its result. What the pages throw meanwhile is kept.
    pub(crate) fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.devtools.send(Message::text(call.to_string())).expect("Chromium is there");
        loop {
            let message = self.devtools.read().unwrap_or_else(|error| {
                panic!("{method}: no answer from Chromium: {error}");
            });
            let Message::Text(text) = message else { continue };
            let mut answer: Value = serde_json::from_str(&text).expect("Chromium speaks JSON");
            if answer["method"] == "Runtime.exceptionThrown" {
                self.exceptions.push(answer["params"]["exceptionDetails"].to_string());
            }
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }

    /// Fails if a script of a page threw something that nobody caught.
    pub(crate) fn assert_no_exceptions(&self) {
        assert!(self.exceptions.is_empty(), "{:#?}", self.exceptions);
    }
}

fn find() -> Option<PathBuf> {
    if let Some(program) = env::var_os("CHROMIUM") {
        return Some(program.into());
    }
    let path = env::var_os("PATH")?;
    let candidates = NAMES
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |directory| directory.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn connect(url: &str) -> WebSocket<TcpStream> {
    let authority = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
    let stream = TcpStream::connect(authority.expect("a ws URL")).expect("Chromium listens");
    // Longer than any wait inside a page, so that the page's own reason comes first.
    stream.set_read_timeout(Some(PATIENCE * 2)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("an option can be set");
    tungstenite::client(url, stream).expect("Chromium speaks WebSocket").0
}
