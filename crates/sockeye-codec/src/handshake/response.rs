//! An ordinary HTTP answer: a refusal, or a page beside the WebSocket.

use std::fmt;

use super::error::{HandshakeError, HeaderError};
use super::headers::{check_line, is_framing_name, write_line};

/// An HTTP answer after which the connection closes.
///
/// `Content-Length` and `Connection` are written by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// An answer without body and headers. A final status, 200 to 599; checked by
    /// [`Response::write`].
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header line; checked by [`Response::write`].
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body. Its `Content-Type` is the caller's to add.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Appends the answer; without its body, but with the length of it, if it is `head_only`: the
    /// answer to a HEAD.
    ///
    /// # Errors
    /// A status that does not end an exchange (1xx; 101 is [`write_accept`](super::write_accept)'s)
    /// or is none, a body where the status has none, a header that cannot be written. Nothing has
    /// been appended then.
    pub fn write(&self, out: &mut Vec<u8>, head_only: bool) -> Result<(), ResponseError> {
        if !(200..=599).contains(&self.status) {
            return Err(ResponseError::InvalidStatus(self.status));
        }
        // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
        if matches!(self.status, 204 | 205 | 304) && !self.body.is_empty() {
            return Err(ResponseError::BodyNotAllowed(self.status));
        }
        for (name, value) in &self.headers {
            check_line(name, value, is_framing_name)?;
        }
        self.write_head(out);
        if !head_only {
            out.extend_from_slice(&self.body);
        }
        Ok(())
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        let status_line = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        out.extend_from_slice(status_line.as_bytes());
        // RFC 9110 section 7.8: who sends Upgrade also names it in Connection.
        let upgrade = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Upgrade"));
        write_line(out, "Connection", if upgrade { "Upgrade, close" } else { "close" });
        // RFC 9110 section 8.6: none in a 204; in a 304 it would be the length of another answer.
        if !matches!(self.status, 204 | 304) {
            write_line(out, "Content-Length", &self.body.len().to_string());
        }
        for (name, value) in &self.headers {
            write_line(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What a server answers to a fault: its status, its header lines, its reason as text.
impl From<&HandshakeError> for Response {
    fn from(error: &HandshakeError) -> Self {
        let mut response = Self::new(error.status())
            .header("Content-Type", "text/plain; charset=utf-8")
            .body(format!("{error}\n"));
        for &(name, value) in error.headers() {
            response = response.header(name, value);
        }
        response
    }
}

/// The caller asked for an answer that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not a final status.
    InvalidStatus(u16),
    /// A body with a status that has none.
    BodyNotAllowed(u16),
    /// A header line that cannot be written.
    Header(HeaderError),
    /// A subprotocol that the client did not offer.
    SubprotocolNotOffered,
}

impl From<HeaderError> for ResponseError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidStatus(status) => write!(f, "{status} is not a final HTTP status"),
            Self::BodyNotAllowed(status) => write!(f, "a {status} has no body"),
            Self::Header(error) => error.fmt(f),
            Self::SubprotocolNotOffered => f.write_str("the client did not offer the subprotocol"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// The reason phrase of the IANA registry; empty for a status that is not in it, as RFC 9112
/// section 4 allows.
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}
