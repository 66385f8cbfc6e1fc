//! What the suites share: peers of our own making, and an engine under test.

pub mod client;
pub mod peer;
pub mod rig;

use std::time::Duration;

/// When to give up waiting. No verdict depends on it but the one that something never happened.
pub const PATIENCE: Duration = Duration::from_secs(60);
