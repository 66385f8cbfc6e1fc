//! A WebSocket codec without IO.
