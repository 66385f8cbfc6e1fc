//! `sockeye load`: honest load on any WebSocket server.

mod answers;
mod buckets;
mod client;
mod clock;
mod command;
mod connector;
pub(crate) mod distribution;
#[cfg(test)]
pub(crate) mod example;
mod failure;
mod fleet;
mod flights;
mod inside;
mod json;
mod judge;
mod machine;
mod options;
mod output;
mod pace;
mod payload;
mod plan;
mod preflight;
mod proxy;
mod push_time;
mod record;
pub(crate) mod report;
mod rfc3339;
mod run;
mod script;
mod scripted;
mod search;
mod series;
mod server_process;
mod server_watch;
pub(crate) mod signals;
pub(crate) mod slo;
mod stamp;
mod tally;
mod target;
mod tls;
mod tui;
pub(crate) mod units;
mod worker;

pub(crate) use command::{AbOptions, Options, run, run_ab};
