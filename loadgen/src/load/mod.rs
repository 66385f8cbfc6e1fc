//! `sockeye load`: honest load on any WebSocket server.

mod distribution;
mod output;
mod report;
mod units;
