//! What machine this is.

use std::fs;
use std::num::NonZeroUsize;
use std::thread;

use super::report::Machine;

/// As far as the system tells.
pub(crate) fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let total = value(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    Machine {
        processors: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        processor: value(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
        kernel: format!("Linux {}", kernel.trim()),
        memory_bytes: 1024 * total.unwrap_or(0_u64),
    }
}

/// What stands behind a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        let machine = machine();
        assert!(machine.processors > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.kernel.len() > "Linux ".len());
        assert_eq!(value("a : 1\nmodel name\t: X 3000\n", "model name"), Some("X 3000"));
    }
}
