//! `sockeye load`, from outside: what it reports, of servers of all kinds.

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
#[path = "load/runs.rs"]
mod runs;
#[path = "load/scrape.rs"]
mod scrape;
#[path = "load/tungstenite_client.rs"]
mod tungstenite_client;
