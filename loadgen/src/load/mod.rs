//! `sockeye load`: honest load on any WebSocket server.

mod connector;
mod distribution;
mod preflight;
mod report;
mod server_process;
mod target;
mod tls;
