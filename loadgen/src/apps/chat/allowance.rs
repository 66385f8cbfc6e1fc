//! How much one connection may ask for: a bucket that fills with time.

use std::time::Instant;

/// What a connection can spend at once.
const TOKENS_MAX: u32 = 30;
/// What it gets back.
const TOKENS_PER_SECOND: f64 = 5.0;

/// The cost of a line of text.
pub(crate) const MESSAGE_COST: u32 = 1;
/// The cost of joining, of which the whole room and everybody's list of rooms is told.
pub(crate) const JOIN_COST: u32 = 2;
/// The cost of a picture.
pub(crate) const PICTURE_COST: u32 = 2;
/// The cost of "is typing".
pub(crate) const TYPING_COST: u32 = 1;

/// The bucket.
#[derive(Debug)]
pub(crate) struct Allowance {
    tokens: f64,
    since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { tokens: f64::from(TOKENS_MAX), since: None }
    }
}

impl Allowance {
    /// Takes `cost` if it is there.
    pub(crate) fn spend(&mut self, cost: u32, now: Instant) -> bool {
        if let Some(since) = self.since {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            self.tokens =
                seconds.mul_add(TOKENS_PER_SECOND, self.tokens).min(f64::from(TOKENS_MAX));
        }
        self.since = Some(now);
        let cost = f64::from(cost);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}
