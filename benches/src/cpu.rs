//! Processors: who runs where, and how long each process has run.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// CPU time of all threads of a process so far, user and system, in nanoseconds, those that have
/// ended included.
///
/// # Errors
/// The process is gone.
pub fn process_ns(process: u32) -> io::Result<u64> {
    let process = i32::try_from(process).map_err(io::Error::other)?;
    let clock = clock_getcpuclockid(Pid::from_raw(process))?;
    Ok(u64::try_from(Duration::from(clock.now()?).as_nanos()).unwrap_or(u64::MAX))
}

/// Memory of a process that is its own and backed by no file, in bytes.
///
/// # Errors
/// The process is gone.
pub fn anonymous_bytes(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    Ok(1024 * first_number(line.unwrap_or_default())?)
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number in {text:?}")))
}

/// Keeps this thread, and all it starts from now on, on one processor.
///
/// # Errors
/// There is no such processor.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// Allows as many open files as there may be; returns how many.
///
/// # Errors
/// The system's.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// One line on the machine, for the report. TCP's congestion control is in it because one that
/// paces, as bbr does, has sends wait for timers, on loopback too.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let processors = info.lines().filter(|line| line.starts_with("processor")).count();
    let vectors = if info.contains(" avx512bw") { ", AVX-512" } else { "" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let control = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    let control = control.unwrap_or_else(|_| "unknown".into());
    let control = control.trim();
    format!("{processors} processors of {model}{vectors}, Linux {kernel}, loopback, TCP {control}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_run_and_has_memory() {
        let own = std::process::id();
        assert!(process_ns(own).unwrap() > 0);
        assert!(anonymous_bytes(own).unwrap() > 0);
        assert!(process_ns(u32::MAX).is_err());
        let beyond_all = 1 << 23;
        assert!(process_ns(beyond_all).is_err());
    }

    #[test]
    fn a_thread_that_has_ended_has_run() {
        let own = std::process::id();
        let before = process_ns(own).unwrap();
        let thread =
            std::thread::spawn(|| (0..3_000_000_u64).map(std::hint::black_box).sum::<u64>());
        thread.join().unwrap();
        let work_ns_min = 100_000;
        assert!(process_ns(own).unwrap() > before + work_ns_min);
    }

    #[test]
    fn numbers_stand_first() {
        assert_eq!(first_number("123 456 7\n").unwrap(), 123);
        assert!(first_number("kB").is_err());
    }
}
