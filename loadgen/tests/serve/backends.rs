//! Which backend `sockeye serve` takes where io_uring is forbidden, by real filters and real
//! limits, and what it says of it. Filters and capabilities are those of a thread and its children.

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{TargetArch, apply_filter, compile_from_json};
use serde_json::{Value, json};
use sockeye::{Backend, Config};
use tungstenite::Message;

use super::process::{Process, Server};
use super::{assert_echoes, assert_one_error_line, connect};

const IO_URING: [&str; 3] = ["io_uring_enter", "io_uring_register", "io_uring_setup"];
const EPERM: u64 = 1;
const ENOSYS: u64 = 38;

/// Puts a filter on this thread: these system calls do the one, all others the other.
fn apply(matching: &Value, other: &Value, calls: &[Value]) {
    let filter = json!({"all": {
        "mismatch_action": other, "match_action": matching, "filter": calls,
    }});
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known one");
    let filters = compile_from_json(filter.to_string().as_bytes(), architecture);
    apply_filter(&filters.expect("a filter")["all"]).expect("the kernel has seccomp");
}

fn forbid_io_uring(errno: u64) {
    let calls = IO_URING.map(|name| json!({"syscall": name}));
    apply(&json!({"errno": errno}), &json!("allow"), &calls);
}

/// Docker's way to write a profile, to as many filters as it has actions.
fn apply_profile(profile: &Value) {
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for group in profile["syscalls"].as_array().expect("groups of system calls") {
        let arches = group["includes"]["arches"].as_array();
        if arches.is_some_and(|arches| !arches.iter().any(|arch| arch == here)) {
            continue;
        }
        for name in group["names"].as_array().expect("names") {
            let mut call = json!({"syscall": name});
            if let Some(arguments) = group["args"].as_array() {
                call["args"] = arguments.iter().map(argument).collect();
            }
            match group["action"].as_str() {
                Some("SCMP_ACT_ALLOW") => allowed.push(call),
                Some("SCMP_ACT_ERRNO") => {
                    // Of two filters the stricter one counts.
                    allowed.push(json!({"syscall": name}));
                    refused.push((group["errnoRet"].clone(), call));
                }
                action => panic!("an action that is not known here: {action:?}"),
            }
        }
    }
    // The call that puts on the next filter is not among those allowed: the longest comes last.
    for (errno, call) in refused {
        apply(&json!({"errno": errno}), &json!("allow"), &[call]);
    }
    apply(&json!("allow"), &json!({"errno": profile["defaultErrnoRet"]}), &allowed);
}

fn argument(argument: &Value) -> Value {
    assert_eq!(argument["op"], "SCMP_CMP_MASKED_EQ");
    json!({
        "index": argument["index"],
        "type": "qword",
        "op": {"masked_eq": argument["value"]},
        "val": argument["valueTwo"],
    })
}

fn profile() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/seccomp/sockeye.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("it is there")).expect("JSON")
}

/// Whether io_uring is here at all. `SOCKEYE_REQUIRE_IO_URING` makes a failure of it if not.
fn io_uring_is_here() -> bool {
    let chosen = Backend::IoUring.resolve(1, &Config::default().io_uring);
    if let Err(why) = &chosen {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    chosen.is_ok()
}

/// Serves on epoll, and says that and why in its first line.
#[track_caller]
fn assert_falls_back(confine: fn(), why: &str) {
    let server = Server::start_confined(confine, &["--backend", "auto", "--shards", "2"]);
    let line = &server.first_line;
    assert!(line.contains("(backend epoll, 2 shards; auto: io-uring is not to be had: "), "{line}");
    assert!(line.contains(why), "{line}");
    server.process.wait_for_error_line("io_uring is not used");
    assert_echoes(&mut connect(server.address), Message::text("by epoll"));
}

/// Ends with one line.
#[track_caller]
fn assert_refuses(confine: fn(), why: &str) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", "io-uring"];
    let ended = Process::start_confined(confine, &arguments).wait();
    let line = assert_one_error_line(&ended);
    assert!(line.starts_with("io-uring is not to be had: ") && line.contains(why), "{line}");
}

#[test]
fn a_filter_that_forbids_it_is_told_of() {
    for confine in [|| forbid_io_uring(EPERM), (|| forbid_io_uring(ENOSYS)) as fn()] {
        assert_falls_back(confine, "seccomp");
        assert_refuses(confine, "seccomp");
    }
}

#[test]
fn too_little_locked_memory_is_told_of() {
    let confine: fn() = || {
        // An error: who is not root has it neither in that set nor in others.
        let _ = remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK);
    };
    if !io_uring_is_here() {
        return;
    }
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", "io-uring"];
    let ended = Process::start_with_limit("-l 0", confine, &arguments).wait();
    let line = assert_one_error_line(&ended);
    assert!(line.contains("RLIMIT_MEMLOCK"), "{line}");

    let server = Process::start_with_limit("-l 0", confine, &["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::ready(server);
    let line = &server.first_line;
    assert!(line.contains("backend epoll") && line.contains("RLIMIT_MEMLOCK"), "{line}");
    assert_echoes(&mut connect(server.address), Message::text("by epoll"));
}

/// The trial's rings hold locked memory for a while after their end: where there is enough for the
/// server's but not for both, it waits for that. Ten starts, one after the other.
#[test]
fn memory_for_one_server_is_enough() {
    let confine: fn() = || {
        let _ = remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK);
    };
    if !io_uring_is_here() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        // What other tests lock at the same time would count.
        return eprintln!("not tested: for root only");
    }
    for _ in 0..10 {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--shards", "2"];
        let server = Server::ready(Process::start_with_limit("-l 1000", confine, &arguments));
        assert!(server.first_line.contains("(backend io-uring, 2 "), "{}", server.first_line);
        for _ in 0..8 {
            assert_echoes(&mut connect(server.address), Message::text("by io_uring"));
        }
        server.process.signal(rustix::process::Signal::TERM);
        assert_eq!(server.process.wait().status.code(), Some(0));
    }
}

/// However few there are, one line says so; and at some count it is the ring's that is missing.
#[test]
fn too_few_file_descriptors_are_told_of() {
    if !io_uring_is_here() {
        return;
    }
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", "io-uring"];
    let mut lines = (8..14).map(|files| {
        let ended =
            Process::start_with_files(files, &[&arguments[..], &["--shards", "8"]].concat());
        assert_one_error_line(&ended.wait()).to_owned()
    });
    assert!(lines.any(|line| line.contains("no ring") && line.contains("ulimit -n")));
}

/// The profile that is shipped is enough, with nothing else allowed.
#[test]
fn the_profile_is_enough() {
    let confine: fn() = || apply_profile(&profile());
    let backends = if io_uring_is_here() { &["io-uring", "epoll"][..] } else { &["epoll"] };
    for backend in backends {
        for app in ["echo", "chat"] {
            let arguments = ["--backend", backend, "--app", app, "--shards", "2"];
            let server = Server::start_confined(confine, &arguments);
            assert!(server.first_line.contains(backend), "{}", server.first_line);
            if app == "echo" {
                let mut client = connect(server.address);
                assert_echoes(&mut client, Message::text("confined"));
                assert_echoes(&mut client, Message::binary(vec![7; 4 << 20]));
            }
            server.process.signal(rustix::process::Signal::TERM);
            assert_eq!(server.process.wait().status.code(), Some(0));
        }
    }
}

/// It really is a filter: without what it adds for io_uring there is none.
#[test]
fn the_profile_is_what_allows_it() {
    assert_falls_back(
        || {
            let mut profile = profile();
            let groups = profile["syscalls"].as_array_mut().expect("groups of system calls");
            groups.retain(|group| group["names"][0] != "io_uring_enter");
            apply_profile(&profile);
        },
        "seccomp",
    );
}
