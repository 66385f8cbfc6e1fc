//! What can go wrong in a handshake by the peer's fault, and what each fault is answered with.

use std::fmt;

/// The peer's part of the handshake is not acceptable. The connection is of no further use: a
/// server answers with [`Response::from`](super::Response) and closes, a client closes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte cannot begin an HTTP head: a TLS client on a plain port, for one.
    NotHttp,
    /// More bytes than [`HandshakeLimits::head_bytes_max`](super::HandshakeLimits).
    HeadTooLarge,
    /// More header lines than [`HandshakeLimits::headers_max`](super::HandshakeLimits).
    TooManyHeaders,
    /// A line that does not end in CRLF, or a head that does not end in its empty line.
    MalformedHead,
    /// A request line or a status line that is none.
    MalformedStartLine,
    /// A header line with a name that is not a token, with control characters in its value, without
    /// a colon, or folded.
    MalformedHeader,
    /// A request target that is not ASCII, has a fragment, or has no path.
    InvalidTarget,
    /// HTTP/1.0: it knows no upgrade.
    HttpVersionTooOld,
    /// A version of HTTP other than 1.0 and 1.1.
    HttpVersionUnsupported,

    /// A method other than GET.
    MethodNotAllowed,
    /// No `Host`.
    HostMissing,
    /// More than one `Host`, or one that is not an authority.
    HostInvalid,
    /// No `Upgrade` with the token `websocket`: an ordinary HTTP request.
    UpgradeMissing,
    /// No `Connection` with the token `Upgrade`.
    ConnectionUpgradeMissing,
    /// No `Sec-WebSocket-Version`.
    VersionMissing,
    /// More than one `Sec-WebSocket-Version`.
    VersionRepeated,
    /// A `Sec-WebSocket-Version` other than 13.
    VersionUnsupported,
    /// No `Sec-WebSocket-Key` (also the drafts that came before RFC 6455).
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    KeyRepeated,
    /// A `Sec-WebSocket-Key` that does not stand for 16 bytes.
    KeyInvalid,
    /// A body is announced (`Content-Length` or `Transfer-Encoding`): its bytes would be read as
    /// frames here and as something else by a proxy.
    BodyNotAcceptable,
    /// More than one `Origin`, or one that is not visible ASCII.
    OriginInvalid,
    /// An element of `Sec-WebSocket-Protocol` that is not a token.
    SubprotocolInvalid,
    /// `Sec-WebSocket-Extensions` is not a list of extensions (section 9.1).
    ExtensionsInvalid,

    /// The server answered with another status than 101.
    Refused {
        /// The status.
        status: u16,
        /// The reason phrase, at most 64 bytes of it; empty if it is not ASCII.
        reason: String,
    },
    /// The answer's `Upgrade` is missing, repeated, or not `websocket`.
    AnswerUpgradeInvalid,
    /// The answer's `Connection` lacks the token `Upgrade`.
    AnswerConnectionInvalid,
    /// The answer's `Sec-WebSocket-Accept` is missing, repeated, or does not belong to the key.
    AcceptInvalid,
    /// The answer names an extension that was not offered.
    ExtensionNotOffered,
    /// The answer's `Sec-WebSocket-Extensions` is repeated, or its permessage-deflate does not
    /// belong to the offer (RFC 7692 section 7.1).
    DeflateNotAcceptable,
    /// The answer names a subprotocol that was not offered, or more than one.
    SubprotocolNotOffered,
}

impl HandshakeError {
    /// The HTTP status that the fault is answered with; this is the one place where it is decided.
    ///
    /// A client answers nothing: the faults that only an answer can have are 502 here, which is
    /// what a gateway says of them.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotHttp
            | Self::MalformedHead
            | Self::MalformedStartLine
            | Self::MalformedHeader
            | Self::InvalidTarget
            | Self::HttpVersionTooOld
            | Self::HostMissing
            | Self::HostInvalid
            | Self::ConnectionUpgradeMissing
            | Self::VersionMissing
            | Self::VersionRepeated
            | Self::KeyMissing
            | Self::KeyRepeated
            | Self::KeyInvalid
            | Self::BodyNotAcceptable
            | Self::OriginInvalid
            | Self::SubprotocolInvalid
            | Self::ExtensionsInvalid => 400,
            Self::MethodNotAllowed => 405,
            Self::UpgradeMissing | Self::VersionUnsupported => 426,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Refused { .. }
            | Self::AnswerUpgradeInvalid
            | Self::AnswerConnectionInvalid
            | Self::AcceptInvalid
            | Self::ExtensionNotOffered
            | Self::DeflateNotAcceptable
            | Self::SubprotocolNotOffered => 502,
            Self::HttpVersionUnsupported => 505,
        }
    }

    /// The header lines that the answer has for this fault.
    pub const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            // RFC 9110 section 15.5.6: a 405 has an Allow.
            Self::MethodNotAllowed => &[("Allow", "GET")],
            // RFC 9110 section 15.5.22: a 426 has an Upgrade.
            Self::UpgradeMissing => &[("Upgrade", "websocket")],
            //= rfc6455#section-4.4
            //# If the server doesn't support the requested version, it MUST respond with a
            //# |Sec-WebSocket-Version| header field (or multiple
            //# |Sec-WebSocket-Version| header fields) containing all versions it is
            //# willing to use.
            Self::VersionUnsupported => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            }
            _ => &[],
        }
    }

    /// One short line.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotHttp => "not HTTP",
            Self::HeadTooLarge => "head too large",
            Self::TooManyHeaders => "too many header lines",
            Self::MalformedHead => "a line does not end in CRLF, or the head is not whole",
            Self::MalformedStartLine => "malformed start line",
            Self::MalformedHeader => "malformed header line",
            Self::InvalidTarget => "invalid request target",
            Self::HttpVersionTooOld => "HTTP/1.1 is required",
            Self::HttpVersionUnsupported => "unsupported version of HTTP",
            Self::MethodNotAllowed => "the method must be GET",
            Self::HostMissing => "Host is missing",
            Self::HostInvalid => "Host is repeated or invalid",
            Self::UpgradeMissing => "an upgrade to websocket is required",
            Self::ConnectionUpgradeMissing => "Connection lacks the token Upgrade",
            Self::VersionMissing => "Sec-WebSocket-Version is missing",
            Self::VersionRepeated => "Sec-WebSocket-Version is repeated",
            Self::VersionUnsupported => "Sec-WebSocket-Version must be 13",
            Self::KeyMissing => "Sec-WebSocket-Key is missing",
            Self::KeyRepeated => "Sec-WebSocket-Key is repeated",
            Self::KeyInvalid => "Sec-WebSocket-Key is not 16 bytes in base64",
            Self::BodyNotAcceptable => "a request body is not acceptable",
            Self::OriginInvalid => "Origin is repeated or invalid",
            Self::SubprotocolInvalid => "Sec-WebSocket-Protocol is not a list of tokens",
            Self::ExtensionsInvalid => "Sec-WebSocket-Extensions is not a list of extensions",
            Self::Refused { .. } => "the server refused the upgrade",
            Self::AnswerUpgradeInvalid => "the answer's Upgrade is not websocket",
            Self::AnswerConnectionInvalid => "the answer's Connection lacks the token Upgrade",
            Self::AcceptInvalid => "the answer's Sec-WebSocket-Accept does not fit the key",
            Self::ExtensionNotOffered => "the answer has an extension that was not offered",
            Self::DeflateNotAcceptable => {
                "the answer's permessage-deflate does not belong to the offer"
            }
            Self::SubprotocolNotOffered => "the answer has a subprotocol that was not offered",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::Refused { status, reason } if reason.is_empty() => write!(f, ": {status}"),
            Self::Refused { status, reason } => write!(f, ": {status} {reason}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// The caller's header line cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not a token (RFC 9110 section 5.6.2).
    Name,
    /// The value has a control character, such as the CR LF that would begin another line.
    Value,
    /// A name that is written by the handshake itself.
    Reserved,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a header name is not a token",
            Self::Value => "a header value has a control character",
            Self::Reserved => "a header is one that the handshake writes itself",
        })
    }
}

impl std::error::Error for HeaderError {}
