//! `sockeye load`, from outside: what it reports, of servers of all kinds.

#[path = "load/connections.rs"]
mod connections;
#[path = "load/endings.rs"]
mod endings;
#[path = "load/peers.rs"]
mod peers;
#[allow(dead_code, reason = "other tests need other parts of it")]
#[path = "serve/process.rs"]
mod process;
#[path = "load/reports.rs"]
mod reports;
#[path = "load/rig.rs"]
mod rig;
#[path = "load/scenarios.rs"]
mod scenarios;
#[path = "load/tungstenite_client.rs"]
mod tungstenite_client;
