//! Servers measured against a floor: a server that moves the same bytes and does no WebSocket.
//!
//! - `floor` is that server, `floor-uring` the same on io_uring, `floor-tls` under TLS; `load` is
//!   the client; `versus-floor` runs both beside the servers to be compared, in turn, and makes the
//!   table. `versus-deflate` compares servers that compress. `docs/BENCHMARKING.md` says how and
//!   why.
//! - `floor-client` is a client that does no WebSocket; `versus-client` compares clients with it.
//! - `benches/codec.rs` measures the codec alone.

mod accept;
pub mod certificate;
pub mod corpus;
pub mod cpu;
pub mod floors;
pub mod frames;
pub mod kept;
pub mod rows;
pub mod sample;
pub mod servers;
pub mod summary;
pub mod texts;
pub mod tls;
pub mod traffic;

pub use accept::accept;
