//! A server's view of a request: what the application may look at, and the rules of section 4.2.1.

use std::fmt;

use super::error::HandshakeError;
use super::fields::{Fields, Single};
use super::head::{HandshakeLimits, Head};
use super::headers::{HeaderLines, Headers, is_authority, is_target, is_token, list_elements};
use super::key::Key;

/// An HTTP request, borrowed from its head.
///
/// It is parsed but not yet found to be a handshake: [`Request::websocket`] says that, and an
/// application that also answers ordinary requests asks [`Request::is_upgrade`] first.
#[derive(Clone)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    http_minor: u8,
    headers: Headers<'a>,
}

impl<'a> Request<'a> {
    /// Reads a head; its header lines are kept in `lines`.
    ///
    /// # Errors
    /// What is not a well-formed HTTP/1 request, or has more header lines than allowed.
    pub fn parse<'h: 'a>(
        head: Head<'h>,
        lines: &'a mut HeaderLines<'h>,
        limits: &HandshakeLimits,
    ) -> Result<Self, HandshakeError> {
        let head = head.as_bytes();
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, lines.up_to(limits.headers_max)) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(HandshakeError::MalformedHead),
            Err(error) => return Err(parse_error(error, head)),
        }
        let httparse::Request { method, path, version, headers } = request;
        let (Some(method), Some(target), Some(http_minor)) = (method, path, version) else {
            return Err(HandshakeError::MalformedStartLine);
        };
        if !is_target(target.as_bytes()) {
            return Err(HandshakeError::InvalidTarget);
        }
        Ok(Self { method, target, http_minor, headers: Headers(headers) })
    }

    /// Checks that the request is a handshake of RFC 6455 (section 4.2.1) and gives its key.
    ///
    /// # Errors
    /// The first rule that it breaks; [`HandshakeError::status`] is the answer to it.
    pub fn websocket(&self) -> Result<Key, HandshakeError> {
        let fields = Fields::gather(&self.headers);
        self.check_http(&fields)?;
        check_upgrade(&fields)?;
        //= rfc6455#section-11.3.1
        //# The |Sec-WebSocket-Key| header field MUST NOT appear more than once
        //# in an HTTP request.
        let key = match fields.key {
            Single::One(key) => Key::parse(key).ok_or(HandshakeError::KeyInvalid)?,
            Single::Missing => return Err(HandshakeError::KeyMissing),
            Single::Repeated => return Err(HandshakeError::KeyRepeated),
        };
        if fields.has_body {
            return Err(HandshakeError::BodyNotAcceptable);
        }
        match fields.origin {
            Single::Missing => {}
            // One that is there but cannot be read must not pass for none, which is what clients
            // that are not browsers send.
            Single::One(origin) if is_visible(origin) => {}
            Single::One(_) | Single::Repeated => return Err(HandshakeError::OriginInvalid),
        }
        if fields.protocol_invalid {
            return Err(HandshakeError::SubprotocolInvalid);
        }
        //= rfc6455#section-9.1
        //# If a value is received by either the client or the
        //# server during negotiation that does not conform to the ABNF below,
        //# the recipient of such malformed data MUST immediately _Fail the
        //# WebSocket Connection_.
        if fields.extensions_invalid {
            return Err(HandshakeError::ExtensionsInvalid);
        }
        Ok(key)
    }

    /// Whether the request asks to be upgraded to WebSocket at all, rightly or not.
    pub fn is_upgrade(&self) -> bool {
        self.headers.has_token("Upgrade", "websocket")
    }

    /// The method, as sent: it distinguishes case.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target, as sent: visible ASCII without a fragment.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path of the target, not decoded. Where the target has none (`*`, or the authority of a
    /// CONNECT) it is the target itself; that is never the case in a handshake.
    pub fn path(&self) -> &'a str {
        let resource = split_target(self.target).map_or(self.target, |(_, resource)| resource);
        match resource.split_once('?').map_or(resource, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?` of the target, not decoded.
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The header lines.
    pub fn headers(&self) -> &Headers<'a> {
        &self.headers
    }

    /// Host and port that the client wants: those of an absolute target, else `Host`
    /// (RFC 9112 section 3.2.2).
    pub fn host(&self) -> Option<&'a str> {
        match split_target(self.target) {
            Some((Some(authority), _)) => Some(authority),
            _ => self.headers.get_str("Host"),
        }
    }

    /// The origin of the page whose script connects. Browsers always send it, so a server that
    /// lets browsers in by cookie has to compare it. Never absent because it was malformed, once
    /// [`Request::websocket`] has passed.
    pub fn origin(&self) -> Option<&'a str> {
        self.headers.get_str("Origin")
    }

    /// The subprotocols that the client offers, the ones it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.protocol_elements()
            .filter(|element| is_token(element))
            .filter_map(|element| str::from_utf8(element).ok())
    }

    /// The values of `Sec-WebSocket-Extensions`, as sent.
    pub fn extensions(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.headers.get_all("Sec-WebSocket-Extensions")
    }

    fn check_http(&self, fields: &Fields<'_>) -> Result<(), HandshakeError> {
        //= rfc6455#section-4.2.1
        //# An HTTP/1.1 or higher GET request, including a "Request-URI"
        //# [RFC2616] that should be interpreted as a /resource name/
        //# defined in Section 3 (or an absolute HTTP/HTTPS URI containing
        //# the /resource name/).
        if self.method != "GET" {
            return Err(HandshakeError::MethodNotAllowed);
        }
        if self.http_minor != 1 {
            return Err(HandshakeError::HttpVersionTooOld);
        }
        match split_target(self.target) {
            None => return Err(HandshakeError::InvalidTarget),
            Some((Some(authority), _)) if !is_authority(authority.as_bytes()) => {
                return Err(HandshakeError::InvalidTarget);
            }
            Some(_) => {}
        }
        //= rfc6455#section-4.2.1
        //# A |Host| header field containing the server's authority.
        match fields.host {
            Single::One(host) if is_authority(host) => Ok(()),
            Single::Missing => Err(HandshakeError::HostMissing),
            Single::One(_) | Single::Repeated => Err(HandshakeError::HostInvalid),
        }
    }

    fn protocol_elements(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.headers.get_all("Sec-WebSocket-Protocol").flat_map(list_elements)
    }
}

fn check_upgrade(fields: &Fields<'_>) -> Result<(), HandshakeError> {
    //= rfc6455#section-4.2.1
    //# An |Upgrade| header field containing the value "websocket",
    //# treated as an ASCII case-insensitive value.
    if !fields.upgrade {
        return Err(HandshakeError::UpgradeMissing);
    }
    //= rfc6455#section-4.2.1
    //# A |Connection| header field that includes the token "Upgrade",
    //# treated as an ASCII case-insensitive value.
    if !fields.connection {
        return Err(HandshakeError::ConnectionUpgradeMissing);
    }
    //= rfc6455#section-4.2.1
    //# A |Sec-WebSocket-Version| header field, with a value of 13.
    match fields.version {
        Single::One(b"13") => Ok(()),
        Single::One(_) => Err(HandshakeError::VersionUnsupported),
        Single::Missing => Err(HandshakeError::VersionMissing),
        Single::Repeated => Err(HandshakeError::VersionRepeated),
    }
}

fn is_visible(origin: &[u8]) -> bool {
    !origin.is_empty() && origin.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Header values are left out: they may be cookies and tokens.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Authority and resource name of a target; `None` if it has no resource name. An absolute target
/// may have an empty one, which stands for `/`.
fn split_target(target: &str) -> Option<(Option<&str>, &str)> {
    if target.starts_with('/') {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((Some(authority), resource))
}

fn parse_error(error: httparse::Error, head: &[u8]) -> HandshakeError {
    match error {
        httparse::Error::Version => {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            version_error(line.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default())
        }
        other => line_error(other),
    }
}

/// The fault of a version that is neither HTTP/1.0 nor HTTP/1.1.
pub(super) fn version_error(version: &[u8]) -> HandshakeError {
    match version.strip_prefix(b"HTTP/") {
        Some([major] | [major, b'.', _]) if major.is_ascii_digit() => {
            HandshakeError::HttpVersionUnsupported
        }
        _ => HandshakeError::MalformedStartLine,
    }
}

/// The fault that the parser has found, of any but the version.
pub(super) fn line_error(error: httparse::Error) -> HandshakeError {
    match error {
        httparse::Error::TooManyHeaders => HandshakeError::TooManyHeaders,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            HandshakeError::MalformedHeader
        }
        _ => HandshakeError::MalformedStartLine,
    }
}
