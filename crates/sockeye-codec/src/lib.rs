//! A WebSocket codec (RFC 6455) without IO: no socket, no thread, no clock. Bytes in, messages out.
//!
//! ```text
//!   from the wire                                             to the application
//!  ┌───────────────┐  &mut [u8]  ┌────────────┐   Event<'_>   ┌─────────────────┐
//!  │ read, recv,   │ ──────────► │ Connection │ ────────────► │ Message::Text   │
//!  │ a TLS record  │             │            │  borrowed:    │ Message::Binary │
//!  └───────────────┘             │   Codec    │  unmasked     │ Close, Ping ..  │
//!  ┌───────────────┐  Vec<u8>    │ (one for   │  in place     └─────────────────┘
//!  │ write, send   │ ◄────────── │  the loop) │ ◄──────────── send, close, ping
//!  └───────────────┘  appended   └────────────┘
//!   to the wire
//! ```
//!
//! - [`Connection`] is one connection: 16 bytes while nothing is under way.
//! - [`Codec`] is what all connections of a loop share: [`Limits`], masking keys, spare buffers.
//! - [`handshake`] turns HTTP/1.1 into a connection, on either side.
//! - [`deflate`] is permessage-deflate (RFC 7692), for connections that have agreed on it.
//!
//! # What costs what
//!
//! | | time | memory |
//! |---|---|---|
//! | a connection with nothing under way | | 16 bytes |
//! | a masked text of 32 bytes: parsed, unmasked, validated, handed out | 7 ns | borrowed |
//! | 64 of them in one read | 4 ns each | borrowed |
//! | 64 KiB of ASCII / of Chinese with emoji, the same | 0.43 / 1.6 us | borrowed |
//! | a message that comes in pieces | the same, and a copy as it lands | a spare buffer |
//! | a server's frame of 32 bytes written / its header alone | 2 / 1 ns | |
//! | a client's frame of 4 KiB, masked while copying | 40 ns | |
//! | a browser's handshake: parsed, checked, answered | 0.5 us | on the stack |
//!
//! On one core with AVX-512; `docs/BENCHMARKING.md` in the repository has the report, with floors
//! and peers. Every loop, buffer and count that a peer can drive has its limit in [`Limits`] or
//! [`handshake::HandshakeLimits`].
//!
//! # How to use it
//!
//! A message that arrives whole is a slice of the bytes you passed in. One that arrives in pieces
//! is put together as the pieces come, unmasked and checked on the way: no byte is walked twice.
//!
//! ```
//! use sockeye_codec::{Codec, Connection, Event, Limits};
//!
//! # fn main() -> Result<(), sockeye_codec::ProtocolError> {
//! let mut codec = Codec::server(Limits::default());
//! let mut connection = Connection::new();
//! let mut to_wire = Vec::new();
//!
//! // "Hello", masked, as in RFC 6455 section 5.7; it came in two reads.
//! let reads: [&[u8]; 2] =
//!     [&[0x81, 0x85, 0x37, 0xfa, 0x21], &[0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]];
//! for read in reads {
//!     let mut bytes = read.to_vec();
//!     let mut input = &mut bytes[..];
//!     while let Some(event) = connection.receive(&mut codec, &mut input, &mut to_wire)? {
//!         match event {
//!             Event::Message(message) => {
//!                 assert_eq!(message.as_text(), Some("Hello"));
//!                 sockeye_codec::encode::message(&mut to_wire, message, None);
//!             }
//!             Event::Close(why) => println!("the peer closes: {why:?}"),
//!             _ => {} // pings are answered
//!         }
//!     }
//! }
//! assert_eq!(to_wire, b"\x81\x05Hello");
//! # Ok(()) }
//! ```

mod arch;
mod close;
mod codec;
mod connection;
mod decode;
pub mod deflate;
pub mod encode;
mod error;
mod frame;
pub mod handshake;
pub mod mask;
mod message;
mod partial;
mod utf8;

// The oracle names the crate as its other users do.
#[cfg(test)]
extern crate self as sockeye_codec;
#[cfg(test)]
mod tests;

pub use close::{CloseCode, CloseFrame};
pub use codec::{Codec, Limits};
pub use connection::{Connection, Event};
pub use error::{ProtocolError, SendError};
pub use frame::{
    CONTROL_PAYLOAD_BYTES_MAX, EncodedHeader, FrameHeader, HEADER_BYTES_MAX, OpCode, Role,
};
pub use message::{Chunk, DataKind, Message, PreparedMessage};
