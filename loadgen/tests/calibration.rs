//! The load tool on a server whose response times are known beforehand. A program of its own, so
//! that no other test runs beside it.

#[allow(dead_code, reason = "other tests need other parts of it")]
#[path = "serve/process.rs"]
mod process;
#[path = "calibration/runs.rs"]
mod runs;
#[path = "calibration/theory.rs"]
mod theory;
#[path = "load/tungstenite_client.rs"]
mod tungstenite_client;
