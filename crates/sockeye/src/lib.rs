//! A WebSocket engine.
#![forbid(unsafe_code)]
