//! The client's request and its check of the server's answer (section 4.1).

use std::fmt;

use super::error::{HandshakeError, HeaderError};
use super::head::{HandshakeLimits, Head, HeadBuffer};
use super::headers::{
    HeaderLines, Headers, check_line, is_authority, is_handshake_name, is_target, is_token,
    write_line,
};
use super::key::{AcceptKey, Key};
use super::request::{line_error, version_error};
use super::url::WsUrl;
use crate::deflate::{self, AnswerError, DeflateConfig, Params};

/// How much of a refusal's reason phrase is kept.
const REASON_BYTES_MAX: usize = 64;

/// A client's request, to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRequest {
    host_header: String,
    target: String,
    origin: Option<String>,
    subprotocols: Vec<String>,
    deflate: Option<DeflateConfig>,
    headers: Vec<(String, String)>,
}

impl ClientRequest {
    /// A request for `target` (path and query) of the server that `Host` names. All that is given
    /// to it is checked by [`ClientRequest::write`].
    pub fn new(host_header: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            host_header: host_header.into(),
            target: target.into(),
            origin: None,
            subprotocols: Vec::new(),
            deflate: None,
            headers: Vec::new(),
        }
    }

    /// A request for what a URL names.
    pub fn for_url(url: &WsUrl) -> Self {
        Self::new(url.host_header(), url.target())
    }

    /// Asks for another path and query than before.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Sends an `Origin`, as browsers do.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Offers a subprotocol; the ones that are liked best first.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Offers permessage-deflate (RFC 7692) as these settings have it. The server may decline.
    #[must_use]
    pub const fn deflate(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Appends the request.
    ///
    /// # Errors
    /// A part that cannot be written, or a header that is the handshake's own (`Host`, `Origin`,
    /// `Upgrade`, `Connection`, `Content-Length`, `Transfer-Encoding`, and all whose names begin
    /// with `Sec-WebSocket-`). Nothing has been appended then.
    pub fn write(&self, out: &mut Vec<u8>, key: &Key) -> Result<(), RequestError> {
        self.check()?;
        for part in ["GET ", &self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_line(out, "Host", &self.host_header);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        write_line(out, "Sec-WebSocket-Key", key.as_str());
        if let Some(origin) = &self.origin {
            write_line(out, "Origin", origin);
        }
        if !self.subprotocols.is_empty() {
            write_line(out, "Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        out.extend_from_slice(b"Sec-WebSocket-Version: 13\r\n");
        if let Some(config) = &self.deflate {
            write_line(out, "Sec-WebSocket-Extensions", &deflate::offer(config));
        }
        for (name, value) in &self.headers {
            write_line(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), RequestError> {
        if !is_authority(self.host_header.as_bytes()) {
            return Err(RequestError::Host);
        }
        if !self.target.starts_with('/') || !is_target(self.target.as_bytes()) {
            return Err(RequestError::Target);
        }
        if let Some(origin) = &self.origin
            && (origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(RequestError::Origin);
        }
        //= rfc6455#section-4.1
        //# The elements that comprise this value MUST be non-empty strings with
        //# characters in the range U+0021 to U+007E not including
        //# separator characters as defined in [RFC2616] and MUST all be
        //# unique strings.
        for (index, name) in self.subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) {
                return Err(RequestError::Subprotocol);
            }
            if self.subprotocols[..index].contains(name) {
                return Err(RequestError::SubprotocolRepeated);
            }
        }
        for (name, value) in &self.headers {
            check_line(name, value, |name| {
                is_handshake_name(name)
                    || name.eq_ignore_ascii_case("Host")
                    || name.eq_ignore_ascii_case("Origin")
            })
            .map_err(RequestError::Header)?;
        }
        Ok(())
    }
}

/// The caller asked for a request that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A host that is not an authority.
    Host,
    /// A target that does not begin with `/`, has a fragment, or is not visible ASCII.
    Target,
    /// An origin that is not visible ASCII.
    Origin,
    /// A subprotocol that is not a token.
    Subprotocol,
    /// A subprotocol that is offered twice.
    SubprotocolRepeated,
    /// A header line that cannot be written.
    Header(HeaderError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host is not an authority"),
            Self::Target => f.write_str("the target is not a path with a query"),
            Self::Origin => f.write_str("the origin is not visible ASCII"),
            Self::Subprotocol => f.write_str("a subprotocol is not a token"),
            Self::SubprotocolRepeated => f.write_str("a subprotocol is offered twice"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

/// A client that waits for the answer to its request.
#[derive(Debug, Clone)]
pub struct ClientHandshake {
    head: HeadBuffer,
    accept: AcceptKey,
    subprotocols: Vec<String>,
    deflate: Option<DeflateConfig>,
    limits: HandshakeLimits,
}

impl ClientHandshake {
    /// Begins to wait for the answer to `request`, which has been written with `key`.
    pub fn new(request: &ClientRequest, key: &Key, limits: HandshakeLimits) -> Self {
        Self {
            head: HeadBuffer::default(),
            accept: key.accept(),
            subprotocols: request.subprotocols.clone(),
            deflate: request.deflate,
            limits,
        }
    }

    /// Takes bytes of the answer; `None` until its head is whole. What follows the head, the
    /// server's first frames, is left in `input`.
    ///
    /// # Errors
    /// The answer is not one that opens the connection; the client closes it.
    pub fn read(&mut self, input: &mut &mut [u8]) -> Result<Option<Accepted>, HandshakeError> {
        // Other protocols greet with a letter, too; none of them with this one.
        if self.head.is_empty() && input.first().is_some_and(|&first| first != b'H') {
            return Err(HandshakeError::NotHttp);
        }
        match self.head.read(input, &self.limits)? {
            Some(head) => {
                let offered = Offered {
                    accept: &self.accept,
                    subprotocols: &self.subprotocols,
                    deflate: self.deflate.as_ref(),
                };
                check_answer(head, &self.limits, &offered).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// What the answer has to go with.
struct Offered<'a> {
    accept: &'a str,
    subprotocols: &'a [String],
    deflate: Option<&'a DeflateConfig>,
}

/// What the server has agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The subprotocol, one of those that were offered.
    pub subprotocol: Option<String>,
    /// What was agreed on for permessage-deflate, if it was.
    pub deflate: Option<Params>,
    /// Every header line of the answer: name and value.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Accepted {
    /// The value of the first header line of that name, without regard to ASCII case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.headers.iter();
        lines.find(|(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }
}

fn check_answer(
    head: Head<'_>,
    limits: &HandshakeLimits,
    offered: &Offered<'_>,
) -> Result<Accepted, HandshakeError> {
    let mut lines = HeaderLines::new();
    let (headers, status_line) = parse_answer(head, &mut lines, limits)?;
    if status_line.http_minor != 1 {
        return Err(HandshakeError::HttpVersionTooOld);
    }
    //= rfc6455#section-4.1
    //# If the status code received from the server is not 101, the
    //# client handles the response per HTTP [RFC2616] procedures.
    if status_line.status != 101 {
        return Err(status_line.refused());
    }
    check_upgraded(&headers, offered.accept)?;
    let deflate = agreed_deflate(&headers, offered.deflate)?;
    let subprotocol = agreed_subprotocol(&headers, offered.subprotocols)?;
    let headers = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Accepted { subprotocol, deflate, headers })
}

struct StatusLine<'a> {
    http_minor: u8,
    status: u16,
    reason: &'a str,
}

impl StatusLine<'_> {
    fn refused(&self) -> HandshakeError {
        // The parser gives only ASCII here, where any byte ends a character.
        let reason = self.reason.get(..REASON_BYTES_MAX).unwrap_or(self.reason);
        HandshakeError::Refused { status: self.status, reason: reason.to_owned() }
    }
}

fn parse_answer<'a, 'h: 'a>(
    head: Head<'h>,
    lines: &'a mut HeaderLines<'h>,
    limits: &HandshakeLimits,
) -> Result<(Headers<'a>, StatusLine<'a>), HandshakeError> {
    let head = head.as_bytes();
    let mut response = httparse::Response::new(&mut []);
    let lines = lines.up_to(limits.headers_max);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, head, lines) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HandshakeError::MalformedHead),
        Err(httparse::Error::Version) => {
            let version = head.split(|&byte| byte == b' ').next().unwrap_or_default();
            return Err(version_error(version));
        }
        Err(error) => return Err(line_error(error)),
    }
    match (response.version, response.code, response.reason) {
        (Some(http_minor), Some(status), Some(reason)) => {
            Ok((Headers(response.headers), StatusLine { http_minor, status, reason }))
        }
        _ => Err(HandshakeError::MalformedStartLine),
    }
}

fn check_upgraded(headers: &Headers<'_>, accept: &str) -> Result<(), HandshakeError> {
    //= rfc6455#section-4.1
    //# If the response lacks an |Upgrade| header field or the |Upgrade|
    //# header field contains a value that is not an ASCII case-
    //# insensitive match for the value "websocket", the client MUST
    //# _Fail the WebSocket Connection_.
    if !headers.only("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::AnswerUpgradeInvalid);
    }
    //= rfc6455#section-4.1
    //# If the response lacks a |Connection| header field or the
    //# |Connection| header field doesn't contain a token that is an
    //# ASCII case-insensitive match for the value "Upgrade", the client
    //# MUST _Fail the WebSocket Connection_.
    if !headers.has_token("Connection", "Upgrade") {
        return Err(HandshakeError::AnswerConnectionInvalid);
    }
    //= rfc6455#section-4.1
    //# If the response lacks a |Sec-WebSocket-Accept| header field or
    //# the |Sec-WebSocket-Accept| contains a value other than the
    //# base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-
    //# Key| (as a string, not base64-decoded) with the string "258EAFA5-
    //# E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and
    //# trailing whitespace, the client MUST _Fail the WebSocket
    //# Connection_.
    if headers.only("Sec-WebSocket-Accept") != Some(accept.as_bytes()) {
        return Err(HandshakeError::AcceptInvalid);
    }
    Ok(())
}

fn agreed_deflate(
    headers: &Headers<'_>,
    offered: Option<&DeflateConfig>,
) -> Result<Option<Params>, HandshakeError> {
    //= rfc6455#section-4.1
    //# If the response includes a |Sec-WebSocket-Extensions| header
    //# field and this header field indicates the use of an extension
    //# that was not present in the client's handshake (the server has
    //# indicated an extension not requested by the client), the client
    //# MUST _Fail the WebSocket Connection_.
    let answer = headers.get_all("Sec-WebSocket-Extensions");
    let agreed = deflate::check_answer(answer, offered).map_err(|error| match error {
        AnswerError::NotOffered => HandshakeError::ExtensionNotOffered,
        AnswerError::Parameters => HandshakeError::DeflateNotAcceptable,
    })?;
    //= rfc6455#section-11.3.2
    //# However, the |Sec-WebSocket-Extensions| header field MUST NOT appear more
    //# than once in an HTTP response.
    if headers.get_all("Sec-WebSocket-Extensions").nth(1).is_some() {
        return Err(HandshakeError::DeflateNotAcceptable);
    }
    Ok(agreed)
}

fn agreed_subprotocol(
    headers: &Headers<'_>,
    offered: &[String],
) -> Result<Option<String>, HandshakeError> {
    //= rfc6455#section-4.1
    //# If the response includes a |Sec-WebSocket-Protocol| header field
    //# and this header field indicates the use of a subprotocol that was
    //# not present in the client's handshake (the server has indicated a
    //# subprotocol not requested by the client), the client MUST _Fail
    //# the WebSocket Connection_.
    if headers.get("Sec-WebSocket-Protocol").is_none() {
        return Ok(None);
    }
    headers
        .only("Sec-WebSocket-Protocol")
        .and_then(|chosen| offered.iter().find(|name| name.as_bytes() == chosen))
        .map(|name| Some(name.clone()))
        .ok_or(HandshakeError::SubprotocolNotOffered)
}
