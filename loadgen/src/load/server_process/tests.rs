use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::time::ClockId;

use super::*;

/// A child that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_cpu_ns() -> u64 {
    Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap()).as_nanos() as u64
}

#[test]
fn this_process_is_seen_as_it_sees_itself() {
    let process = ServerProcess::new(std::process::id()).unwrap();
    assert_eq!(process.pid(), std::process::id());
    assert!(!process.name().is_empty());
    let before = own_cpu_ns();
    let usage = process.usage().unwrap();
    let after = own_cpu_ns();
    assert!((before..=after).contains(&usage.cpu_ns), "{before} {usage:?} {after}");
    assert!(usage.rss_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
    assert!(usage.threads >= 1);
}

#[test]
fn what_a_thread_has_done_counts_when_it_has_ended() {
    let process = ServerProcess::new(std::process::id()).unwrap();
    let before = process.usage().unwrap();
    let burnt_ns = std::thread::spawn(|| {
        let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
        let burnt = || Duration::from(clock.now().unwrap()).as_nanos() as u64;
        while burnt() < 20_000_000 {
            black_box(0);
        }
        burnt()
    });
    let burnt_ns = burnt_ns.join().unwrap();
    let after = process.usage().unwrap();
    assert!(after.cpu_ns - before.cpu_ns >= burnt_ns);
}

#[test]
fn memory_that_is_touched_is_seen() {
    let process = ServerProcess::new(std::process::id()).unwrap();
    let before = process.usage().unwrap();
    let memory = black_box(vec![1_u8; 64 << 20]);
    let after = process.usage().unwrap();
    // Other tests free some meanwhile, but not so much.
    assert!(after.anonymous_bytes > before.anonymous_bytes + (32 << 20));
    drop(memory);
}

#[test]
fn a_child_is_watched_until_it_is_gone() {
    // It says what it has used by its own account, and waits.
    let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; times; read end";
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Ended(child.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let process = ServerProcess::new(child.0.id()).unwrap();
    // `0m0.012s 0m0.003s`: user and system time, rounded down.
    let seconds = line.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    });
    let used_ns = (seconds.sum::<f64>() * 1e9) as u64;
    let usage = process.usage().unwrap();
    // The shell counts whole ticks of the kernel, some of which it had begun: two of 10 ms.
    assert!(usage.cpu_ns > 0 && usage.cpu_ns + 20_000_000 >= used_ns, "{usage:?} {line}");
    assert_eq!((process.name(), usage.threads), ("sh", 1));
    child.0.kill().unwrap();
    // Before and after it was waited for.
    let mut last = process.usage();
    for _ in 0..2 {
        if let Err(line) = &last {
            assert!(line.contains("no such process"), "{line}");
        }
        child.0.wait().unwrap();
        last = process.usage();
    }
    assert!(last.unwrap_err().contains("no such process"));
    let again = ServerProcess::new(child.0.id());
    assert!(again.is_err_and(|line| line.contains("no such process")));
}

#[test]
fn numbers_of_no_process_are_one_line() {
    for pid in [0, u32::MAX, 1 << 23] {
        let line = ServerProcess::new(pid).unwrap_err();
        assert!(line.starts_with("--server-pid") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_thread_is_not_taken_for_a_process() {
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let _ = ended.recv();
    });
    let thread_id = told.recv().unwrap();
    let line = ServerProcess::new(thread_id as u32).unwrap_err();
    assert!(line.contains(&format!("use --server-pid {}", std::process::id())), "{line}");
    drop(end);
    thread.join().unwrap();
}
