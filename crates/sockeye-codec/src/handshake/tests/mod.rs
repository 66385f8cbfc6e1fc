//! Shared by the tests of both roles: a good handshake, and ways to bend it.

mod advisories;
mod client;
mod head;
#[cfg(not(miri))]
mod properties;
mod response;
mod server;
mod url;

use super::{HandshakeError, HandshakeLimits, Head, HeaderLines, Request};

/// The key and the answer to it of RFC 6455 section 1.3.
const RFC_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const RFC_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const RFC_NONCE: [u8; 16] = *b"the sample nonce";

const START_LINE: &str = "GET /chat?room=1 HTTP/1.1";
const HEADERS: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const ANSWER_LINE: &str = "HTTP/1.1 101 Switching Protocols";
const ANSWER: [&str; 3] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

fn limits() -> HandshakeLimits {
    HandshakeLimits::default()
}

/// A request in bytes that are no known head.
fn parse<'a, 'h: 'a>(
    bytes: &'h [u8],
    lines: &'a mut HeaderLines<'h>,
    limits: &HandshakeLimits,
) -> Result<Request<'a>, HandshakeError> {
    Request::parse(Head::check(bytes, limits)?, lines, limits)
}

/// A head of these lines.
fn head<'a>(start_line: &str, lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut head = format!("{start_line}\r\n");
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// `lines` without those of the name that `line` has, and with `line` in their place; an empty
/// value only removes.
fn with<'a>(lines: &[&'a str], line: &'a str) -> Vec<&'a str> {
    let (name, value) = line.split_once(':').expect("a header line");
    let mut lines: Vec<_> = lines
        .iter()
        .copied()
        .filter(|line| !line.split(':').next().unwrap_or_default().eq_ignore_ascii_case(name))
        .collect();
    if !value.is_empty() {
        lines.push(line);
    }
    lines
}

/// `lines` and `more` after them.
fn and<'a>(lines: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [lines, more].concat()
}
