//! What the suites share: peers of our own making, and an engine under test.

pub mod client;
pub mod fuzz;
pub mod node;
#[allow(dead_code, reason = "the codec's own tests use the other part")]
#[path = "../../crates/sockeye-codec/src/tests/oracle.rs"]
mod oracle;
pub mod peer;
#[allow(dead_code, reason = "the codec's own tests use the other part")]
#[path = "../../crates/sockeye-codec/src/tests/replay.rs"]
mod replay;
pub mod rig;
pub mod tls;
pub mod wss;

use std::time::Duration;

/// When to give up waiting. No verdict depends on it but the one that something never happened.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The codec's own tests have a list of instruction sets here. From outside there is one.
fn with_each_instruction_set(run: impl Fn(&str)) {
    run("the processor's own");
}
