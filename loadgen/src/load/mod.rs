//! `sockeye load`: honest load on any WebSocket server.

pub(crate) mod distribution;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod report;
mod search;
pub(crate) mod slo;
pub(crate) mod tui;
