//! The opening handshake (RFC 6455 section 4), for both roles, without IO.
//!
//! A server: collect the head with [`HeadBuffer`], read it with [`Request::parse`], check it with
//! [`Request::websocket`], answer with [`write_accept`] or with a [`Response`].
//!
//! ```
//! use sockeye_codec::handshake::{
//!     HandshakeError, HandshakeLimits, HeadBuffer, HeaderLines, NO_HEADERS, Request, Response,
//!     choose_subprotocol, write_accept,
//! };
//!
//! /// `true` once the connection speaks WebSocket; what is left of `input` are its first frames.
//! fn received(
//!     head: &mut HeadBuffer,
//!     input: &mut &mut [u8],
//!     out: &mut Vec<u8>,
//! ) -> Result<bool, HandshakeError> {
//!     let limits = HandshakeLimits::default();
//!     let Some(head) = head.read(input, &limits)? else { return Ok(false) };
//!     let mut lines = HeaderLines::new();
//!     let request = Request::parse(head, &mut lines, &limits)?;
//!     let key = request.websocket()?;
//!     let subprotocol = choose_subprotocol(&request, &["chat"]);
//!     write_accept(out, &request, &key, subprotocol, None, NO_HEADERS).expect("it was offered");
//!     Ok(true)
//! }
//!
//! let mut bytes = *b"GET /room HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
//!     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80\0\0\0\0";
//! let (mut input, mut out) = (&mut bytes[..], Vec::new());
//! match received(&mut HeadBuffer::default(), &mut input, &mut out) {
//!     Ok(upgraded) => assert!(upgraded),
//!     Err(error) => Response::from(&error).write(&mut out, false).expect("a valid status"),
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! assert_eq!(input, b"\x81\x80\0\0\0\0");
//! ```
//!
//! A client: write a [`ClientRequest`] with a fresh [`Key`], then feed [`ClientHandshake::read`].
//!
//! Everything here is strict, on purpose: the head stands between this endpoint and whatever
//! proxies are on the way, and each leniency is a way for the two to read the same bytes
//! differently. The work is linear in the bytes that arrive, however they are cut, and
//! [`HandshakeLimits`] bounds it.

mod client;
mod error;
pub(crate) mod extensions;
mod fields;
mod head;
mod headers;
mod key;
mod request;
mod response;
mod server;
#[cfg(test)]
mod tests;
mod url;

pub use client::{Accepted, ClientHandshake, ClientRequest, RequestError};
pub use error::{HandshakeError, HeaderError};
pub use head::{HandshakeLimits, Head, HeadBuffer};
pub use headers::{HEADERS_MAX, HeaderLines, Headers, is_token};
pub use key::{AcceptKey, Key, accept_key};
pub use request::Request;
pub use response::{Response, ResponseError};
pub use server::{NO_HEADERS, choose_subprotocol, write_accept};
pub use url::{UrlError, WsUrl};
