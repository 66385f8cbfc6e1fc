//! `sockeye load`: honest load on any WebSocket server.

mod distribution;
mod output;
mod report;
mod units;
pub(crate) mod distribution;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod report;
mod search;
pub(crate) mod slo;
