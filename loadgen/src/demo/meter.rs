//! What the system says of this process.

use std::fs;
use std::io;

/// CPU time of the engine's threads so far, user and system, in nanoseconds.
pub(super) fn server_cpu_ns() -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread may end between the listing and the reading; the engine's do not.
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        if name.starts_with("sockeye-") {
            total += first_number(&fs::read_to_string(path.join("schedstat"))?)?;
        }
    }
    Ok(total)
}

/// CPU time of this thread.
pub(super) fn thread_cpu_ns() -> io::Result<u64> {
    first_number(&fs::read_to_string("/proc/thread-self/schedstat")?)
}

/// Resident memory of the process that is backed by no file.
pub(super) fn anonymous_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    Ok(1024 * first_number(line.unwrap_or_default())?)
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number in {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        assert_eq!(first_number("  123 kB\n").unwrap(), 123);
        assert!(first_number("").is_err());
        let before = thread_cpu_ns().unwrap();
        while thread_cpu_ns().unwrap() == before {
            std::hint::black_box(fs::read_to_string("/proc/self/comm").unwrap());
        }
        let before = anonymous_bytes().unwrap();
        let memory = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(anonymous_bytes().unwrap() >= before + (24 << 20));
        drop(memory);
    }
}
