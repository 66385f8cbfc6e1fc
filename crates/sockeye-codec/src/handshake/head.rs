//! Where a message head ends: a linear search over reads of any size.

use std::mem;

use memchr::memchr_iter;

use super::error::HandshakeError;

/// Limits of the opening handshake, both roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Bytes of a head, its empty line included.
    pub head_bytes_max: usize,
    /// Header lines; not more than [`HEADERS_MAX`](super::HEADERS_MAX) whatever stands here.
    pub headers_max: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, headers_max: 64 }
    }
}

/// A whole head: lines that end in CRLF, the last of them empty, within a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    /// For a head that does not come out of a [`HeadBuffer`].
    ///
    /// # Errors
    /// Those of [`HeadBuffer::read`], and [`MalformedHead`](HandshakeError::MalformedHead) where it
    /// is not just one whole head.
    pub fn check(bytes: &'a [u8], limits: &HandshakeLimits) -> Result<Self, HandshakeError> {
        check_first(*bytes.first().ok_or(HandshakeError::MalformedHead)?)?;
        if bytes.len() > limits.head_bytes_max {
            return Err(HandshakeError::HeadTooLarge);
        }
        match find_end(&[], bytes)? {
            Some(end) if end == bytes.len() => Ok(Self(bytes)),
            _ => Err(HandshakeError::MalformedHead),
        }
    }

    /// Its bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Collects a message head from reads of any size and looks at each byte once.
///
/// Nothing is parsed before the head is whole, so that a peer who sends it in many small pieces
/// costs no more than one who does not (CVE-2023-43669). It allocates only for a head that comes
/// in more than one piece, and never more than the limit.
///
/// All that has been collected has been searched, so the bytes are the whole state.
#[derive(Debug, Clone, Default)]
pub struct HeadBuffer {
    pub(super) bytes: Vec<u8>,
}

impl HeadBuffer {
    /// Takes bytes of `input` up to and including the empty line that ends a head.
    ///
    /// With `Some(head)` the bytes that follow it are left in `input`. With `None` all of `input`
    /// has been taken. A head that lies whole in `input` is borrowed from there.
    ///
    /// The next call after a head begins another one.
    ///
    /// # Errors
    /// [`NotHttp`](HandshakeError::NotHttp) as soon as the first byte is not an upper-case letter,
    /// [`MalformedHead`](HandshakeError::MalformedHead) at a line feed without its carriage return,
    /// [`HeadTooLarge`](HandshakeError::HeadTooLarge) as soon as the head cannot end within the
    /// limit. The buffer is of no use then.
    pub fn read<'h, 'i: 'h>(
        &'h mut self,
        input: &mut &'i mut [u8],
        limits: &HandshakeLimits,
    ) -> Result<Option<Head<'h>>, HandshakeError> {
        if self.bytes.ends_with(b"\r\n\r\n") {
            self.bytes.clear();
        }
        let Some(&first) = self.bytes.first().or(input.first()) else { return Ok(None) };
        check_first(first)?;
        let room = limits.head_bytes_max.saturating_sub(self.bytes.len());
        let end = find_end(&self.bytes, &input[..input.len().min(room)])?;
        if end.is_none() && input.len() >= room {
            return Err(HandshakeError::HeadTooLarge);
        }
        let taken = mem::take(input);
        let Some(end) = end else {
            self.push(taken, limits.head_bytes_max);
            return Ok(None);
        };
        let (last, rest) = taken.split_at_mut(end);
        *input = rest;
        if self.bytes.is_empty() {
            return Ok(Some(Head(last)));
        }
        self.push(last, limits.head_bytes_max);
        Ok(Some(Head(&self.bytes)))
    }

    /// Whether nothing of a head has been collected.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() || self.bytes.ends_with(b"\r\n\r\n")
    }

    /// Grows as a `Vec` does, but not beyond the limit.
    fn push(&mut self, piece: &[u8], bytes_max: usize) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).max(256).min(bytes_max).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }
}

/// Every method and `HTTP/1.1` begin with an upper-case letter. RFC 9112 section 2.2 would have a
/// server skip an empty line before the request line, for the sake of old clients that sent a line
/// too many after a body; none of them speaks WebSocket.
fn check_first(first: u8) -> Result<(), HandshakeError> {
    if first.is_ascii_uppercase() { Ok(()) } else { Err(HandshakeError::NotHttp) }
}

/// How many bytes of `input` belong to the head whose bytes so far, `before`, have been searched.
fn find_end(before: &[u8], input: &[u8]) -> Result<Option<usize>, HandshakeError> {
    for index in memchr_iter(b'\n', input) {
        let back = |distance: usize| match index.checked_sub(distance) {
            Some(index) => Some(input[index]),
            None => before.len().checked_sub(distance - index).map(|index| before[index]),
        };
        // A bare LF would end a line for some parsers and not for others (RFC 9112 section 2.2).
        if back(1) != Some(b'\r') {
            return Err(HandshakeError::MalformedHead);
        }
        if back(2) == Some(b'\n') {
            return Ok(Some(index + 1));
        }
    }
    Ok(None)
}
