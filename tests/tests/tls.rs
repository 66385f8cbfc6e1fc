//! TLS, where it is more than a way for bytes: who is who, what goes wrong, what a reload changes.
//! That the engine behaves under it as it does without is in `equality`.

#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/reload.rs"]
mod reload;
