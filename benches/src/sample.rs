//! What a client has done and what it has cost, between two points of time.

use std::io;
use std::time::Instant;

use crate::cpu;

/// The state at one of them.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    time: Instant,
    server_ns: u64,
    client_ns: u64,
    messages: u64,
}

impl Sample {
    /// Now, in the client's process, which has had so many answers.
    ///
    /// # Errors
    /// The server is gone.
    pub fn take(server: u32, messages: u64) -> io::Result<Self> {
        Ok(Self {
            server_ns: cpu::process_ns(server)?,
            client_ns: cpu::process_ns(std::process::id())?,
            time: Instant::now(),
            messages,
        })
    }

    /// Answers from then to another point.
    pub const fn messages_until(&self, end: &Self) -> u64 {
        end.messages - self.messages
    }

    /// From then to another point: what clients print.
    pub fn until(&self, end: &Self) -> serde_json::Value {
        serde_json::json!({
            "messages": self.messages_until(end),
            "elapsed_ns": (end.time - self.time).as_nanos() as u64,
            "server_cpu_ns": end.server_ns - self.server_ns,
            "client_cpu_ns": end.client_ns - self.client_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_printed() {
        let own = std::process::id();
        let begin = Sample::take(own, 3).unwrap();
        let end = Sample::take(own, 10).unwrap();
        assert_eq!(begin.messages_until(&end), 7);
        let line = begin.until(&end);
        assert_eq!(line["messages"], 7);
        for name in ["elapsed_ns", "server_cpu_ns", "client_cpu_ns"] {
            assert!(line[name].is_u64(), "{name}");
        }
        assert!(Sample::take(u32::MAX, 0).is_err());
    }
}
