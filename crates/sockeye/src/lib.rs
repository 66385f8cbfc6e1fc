//! A WebSocket engine to build servers on: one shard for each core, no locks between them, messages
//! borrowed from the bytes that were received.
//!
//! ```no_run
//! use sockeye::{Ctx, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Session = (); // your data, one for each connection
//!
//!     fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
//!         ctx.send(message);
//!     }
//! }
//!
//! fn main() -> sockeye::Result<()> {
//!     Server::bind("127.0.0.1:9001")?.run(|_shard| Echo)
//! }
//! ```
//!
//! - Write a [`Handler`]; its callbacks act through [`Ctx`].
//! - [`Config`] has every limit and time, with defaults for the open internet.
//! - [`Handle`] and [`Remote`] reach the server and its connections from other threads.
//! - [`Server::run`] makes the threads; [`Server::build`] leaves them, and the loops, to you.
//!
//! # What you can rely on
//!
//! 1. Nothing to cork: what a callback sends to its connection leaves in one send, and what a turn
//!    has for a connection from elsewhere in one more at most.
//! 2. [`Ctx::send`] says what happened to the message ([`Sent`]); it neither waits nor calls back.
//! 3. Messages are borrowed; [`Message::into_bytes`] makes one yours and says what that costs.
//! 4. What one thread sends to one connection arrives in that order. A stale [`Remote`] is an error
//!    value.
//! 5. A panic in a handler closes that connection with 1011 and nothing else.
//! 6. No threads but the shards, and no allocation for a message once the buffers have grown.
//! 7. A [`Shard`] can sit in a loop of yours.

#![forbid(unsafe_code)]

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod backend;
mod config;
mod ctx;
mod deliveries;
mod error;
mod handler;
mod mailbox;
mod server;
mod session;
mod shard;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod transport;
mod upgrade;

pub use backend::{Backend, ChosenBackend};
pub use config::Config;
pub use ctx::{Ctx, ShardCtx};
pub use error::{Closed, Error, Refused, Result, Sent};
pub use handler::{Handler, Request, Upgrade};
pub use mailbox::{ConnectionId, Handle, Remote};
pub use server::{Running, Server, Shard, ShardBuilder};
pub use sockeye_codec::handshake::choose_subprotocol;
pub use sockeye_codec::{Chunk, CloseCode, DataKind, Message, PreparedMessage, ProtocolError};
pub use sockeye_driver::{TlsInfo, TlsVersion, UringConfig};
pub use stats::Stats;
#[cfg(feature = "tls")]
pub use tls::{ClientAuth, TlsConfig};
