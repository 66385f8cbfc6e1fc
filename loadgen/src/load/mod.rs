//! `sockeye load`: honest load on any WebSocket server.

pub(crate) mod distribution;
#[cfg(test)]
pub(crate) mod example;
mod output;
mod payload;
pub(crate) mod report;
mod script;
mod search;
pub(crate) mod slo;
mod units;
