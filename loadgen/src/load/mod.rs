//! `sockeye load`: honest load on any WebSocket server.

pub(crate) mod distribution;
#[cfg(test)]
pub(crate) mod example;
mod output;
mod payload;
pub(crate) mod report;
mod search;
pub(crate) mod slo;
mod units;
mod report;
mod script;
