//! The time, in nanoseconds: the same on all threads, and of all processes of the machine.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub(crate) const NS_PER_S: u64 = 1_000_000_000;

/// The monotonic clock. What it tells can stand in a message and be read by another process of the
/// same machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    origin_ns: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let origin = Instant::now();
        let now = clock_gettime(ClockId::Monotonic);
        Self { origin, origin_ns: now.tv_sec as u64 * NS_PER_S + now.tv_nsec as u64 }
    }

    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.ns_of(Instant::now())
    }

    #[inline]
    pub(crate) fn ns_of(&self, instant: Instant) -> u64 {
        self.origin_ns + instant.saturating_duration_since(self.origin).as_nanos() as u64
    }

    pub(crate) fn instant(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns.saturating_sub(self.origin_ns))
    }
}

/// User and system time of this thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * NS_PER_S + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let clock = Clock::new();
        let now = clock.now_ns();
        assert_eq!(clock.ns_of(clock.instant(now)), now);
        // Another one goes on where this one is, but for the time between its two readings.
        assert!(Clock::new().now_ns() + 1_000_000 >= now);
    }
}
