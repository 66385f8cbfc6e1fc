//! `sockeye load`, from outside: what it reports, of servers of all kinds.

#[path = "load/connections.rs"]
mod connections;
#[path = "load/endings.rs"]
mod endings;
#[path = "load/inside.rs"]
mod inside;
#[path = "load/peers.rs"]
mod peers;
#[path = "load/presets.rs"]
mod presets;
#[allow(dead_code, reason = "other tests need other parts of it")]
#[path = "serve/process.rs"]
mod process;
#[path = "load/remote_write.rs"]
mod remote_write;
#[path = "load/reports.rs"]
mod reports;
#[path = "load/rig.rs"]
mod rig;
#[path = "load/scenarios.rs"]
mod scenarios;
#[path = "load/scrape.rs"]
mod scrape;
#[path = "load/tungstenite_client.rs"]
mod tungstenite_client;
#[path = "load/write_request.rs"]
mod write_request;
