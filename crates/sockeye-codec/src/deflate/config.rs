//! What one end is willing to do.

use std::fmt;

/// Settings of permessage-deflate, of either role. Take what you need from the default.
///
/// What they cost: a connection for which a context is kept has a window of its own for each
/// direction, up to 32 KiB of what came in last and a compressor of about 270 KiB for what goes
/// out, each allocated when it is first used. Without, all connections of a loop share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Whether the server may refer to earlier messages in what it sends, where the client allows
    /// it (default: no). Compresses better, costs a server a compressor for each connection.
    pub server_context_takeover: bool,
    /// The same of the client (default: no). Costs a server a window for each connection.
    pub client_context_takeover: bool,
    /// The server's window has at most 2 to this power bytes, 8 to 15 (default 15: 32 KiB).
    pub server_max_window_bits: u8,
    /// The client's window (default 15). Where a client cannot be told a smaller one, it is told to
    /// keep no context.
    pub client_max_window_bits: u8,
    /// 1: fastest, to 9: smallest (default 6).
    pub level: u8,
    /// Memory of a compressor: 1: least, to 9: most (default 8).
    pub memory_level: u8,
    /// A shorter message leaves as it is (default 128 bytes).
    pub compress_bytes_min: usize,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            server_context_takeover: false,
            client_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            level: 6,
            memory_level: 8,
            compress_bytes_min: 128,
        }
    }
}

impl DeflateConfig {
    /// Whether every number is one that is allowed.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), DeflateConfigError> {
        let numbers = [
            ("server_max_window_bits", self.server_max_window_bits, 8, 15),
            ("client_max_window_bits", self.client_max_window_bits, 8, 15),
            ("level", self.level, 1, 9),
            ("memory_level", self.memory_level, 1, 9),
        ];
        for (setting, value, min, max) in numbers {
            if !(min..=max).contains(&value) {
                return Err(DeflateConfigError { setting, min, max });
            }
        }
        Ok(())
    }

    /// The same, each number moved to the nearest that is allowed.
    pub(super) fn clamped(self) -> Self {
        Self {
            server_max_window_bits: self.server_max_window_bits.clamp(8, 15),
            client_max_window_bits: self.client_max_window_bits.clamp(8, 15),
            level: self.level.clamp(1, 9),
            memory_level: self.memory_level.clamp(1, 9),
            ..self
        }
    }
}

/// The caller's number is not one that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfigError {
    setting: &'static str,
    min: u8,
    max: u8,
}

impl fmt::Display for DeflateConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, min, max } = self;
        write!(f, "{setting} must be {min} to {max}")
    }
}

impl std::error::Error for DeflateConfigError {}
