//! `--server-pid`: what the server uses while it is loaded.

use std::time::Instant;

use super::report::{ServerUsage, Window};
use super::server_process::{ServerProcess, Usage};

/// CPU time at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu_ns: u64,
}

/// A process that is watched through a run.
#[derive(Debug)]
pub(crate) struct ServerWatch {
    process: ServerProcess,
    before: Usage,
    rss_peak_bytes: u64,
    bytes_per_connection: Option<f64>,
    /// That were open when nothing had been sent yet.
    connections: u64,
    last: Sample,
    /// When the measurement began, and ended.
    from: Option<Sample>,
    until: Option<Sample>,
}

impl ServerWatch {
    /// Begins, before the first connection.
    pub(crate) fn new(pid: u32) -> Result<Self, String> {
        let process = ServerProcess::new(pid)?;
        let before = process.usage()?;
        Ok(Self {
            process,
            rss_peak_bytes: before.rss_bytes,
            bytes_per_connection: None,
            connections: 0,
            last: Sample { at: Instant::now(), cpu_ns: before.cpu_ns },
            from: None,
            until: None,
            before,
        })
    }

    /// What it uses now; `None`: it is gone, which its connections tell as well.
    fn look(&mut self) -> Option<(Sample, Usage)> {
        let usage = self.process.usage().ok()?;
        self.rss_peak_bytes = self.rss_peak_bytes.max(usage.rss_bytes);
        Some((Sample { at: Instant::now(), cpu_ns: usage.cpu_ns }, usage))
    }

    /// So many connections are open, and nothing was sent yet.
    pub(crate) fn all_open(&mut self, connections: u64) {
        self.connections = connections;
        if let Some((_, usage)) = self.look()
            && connections > 0
        {
            let grown = usage.anonymous_bytes as f64 - self.before.anonymous_bytes as f64;
            self.bytes_per_connection = Some(grown / connections as f64);
        }
    }

    /// The measurement begins.
    pub(crate) fn begin(&mut self) {
        self.from = self.look().map(|(sample, _)| sample);
    }

    /// It ends.
    pub(crate) fn end(&mut self) {
        self.until = self.look().map(|(sample, _)| sample);
    }

    /// A window is over.
    pub(crate) fn window(&mut self, window: &mut Window) {
        if let Some((sample, usage)) = self.look() {
            window.server_cpu_share = Some(share(self.last, sample));
            window.server_rss_bytes = Some(usage.rss_bytes);
            self.last = sample;
        }
    }

    /// What it has used in the measurement, of so many messages.
    pub(crate) fn usage(&self, messages: u64) -> ServerUsage {
        let from = self.from.unwrap_or(self.last);
        let until = self.until.unwrap_or(self.last);
        let cpu_ns = until.cpu_ns.saturating_sub(from.cpu_ns) as f64;
        let cpu_share = share(from, until);
        let is_idle = messages == 0 && self.connections > 0;
        ServerUsage {
            pid: self.process.pid(),
            name: self.process.name().to_owned(),
            cpu_share,
            cpu_ns_per_message: if messages > 0 { cpu_ns / messages as f64 } else { 0.0 },
            cpu_ns_per_connection_second: is_idle
                .then(|| cpu_share * 1e9 / self.connections as f64),
            rss_before_bytes: self.before.rss_bytes,
            rss_peak_bytes: self.rss_peak_bytes,
            bytes_per_connection: self.bytes_per_connection,
        }
    }
}

/// Processors kept busy from one moment to another.
fn share(from: Sample, until: Sample) -> f64 {
    let elapsed_ns = until.at.saturating_duration_since(from.at).as_nanos() as f64;
    let cpu_ns = until.cpu_ns.saturating_sub(from.cpu_ns) as f64;
    if elapsed_ns > 0.0 { cpu_ns / elapsed_ns } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_watched_from_beginning_to_end() {
        let mut watch = ServerWatch::new(std::process::id()).unwrap();
        watch.all_open(10);
        watch.begin();
        let before = watch.from.unwrap().cpu_ns;
        while watch.process.usage().unwrap().cpu_ns < before + 5_000_000 {
            std::hint::black_box((0..10_000).sum::<u64>());
        }
        let mut window = Window::default();
        watch.window(&mut window);
        watch.end();
        let idle = watch.usage(0);
        assert_eq!(idle.cpu_ns_per_message, 0.0, "of no messages");
        let per_connection = idle.cpu_ns_per_connection_second.unwrap();
        assert!((per_connection - idle.cpu_share * 1e8).abs() < 1.0, "{idle:?}");
        let usage = watch.usage(5);
        assert_eq!(usage.cpu_ns_per_connection_second, None);
        assert!(usage.cpu_ns_per_message >= 1_000_000.0, "{usage:?}");
        assert!(usage.cpu_share > 0.0 && usage.bytes_per_connection.is_some());
        assert!(window.server_rss_bytes.is_some_and(|bytes| bytes <= usage.rss_peak_bytes));
    }
}
