//! `sockeye load`: honest load on any WebSocket server.

mod distribution;
mod payload;
mod report;
mod script;
