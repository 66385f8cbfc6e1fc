//! `ws:` and `wss:` URLs (section 3).

use core::net::Ipv6Addr;
use std::fmt;

/// The parts of a `ws:` or `wss:` URL that a client needs.
///
/// ```
/// # use sockeye_codec::handshake::WsUrl;
/// let url = WsUrl::parse("ws://example.com:9001/chat?room=1")?;
/// assert_eq!((url.host(), url.port(), url.is_secure()), ("example.com", 9001, false));
/// assert_eq!((url.host_header(), url.target()), ("example.com:9001", "/chat?room=1"));
/// # Ok::<(), sockeye_codec::handshake::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsUrl {
    secure: bool,
    host: String,
    port: u16,
    host_header: String,
    target: String,
}

impl WsUrl {
    /// Reads a URL: `ws://host[:port][/path][?query]`, or the same with `wss`.
    ///
    /// Nothing is encoded or decoded: a name that is not ASCII has to come in its A-label form,
    /// other characters percent-encoded.
    ///
    /// # Errors
    /// The part that is not as described.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        //= rfc6455#section-3
        //# Fragment identifiers are meaningless in the context of WebSocket URIs
        //# and MUST NOT be used on these URIs.
        if url.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let secure = match scheme {
            scheme if scheme.eq_ignore_ascii_case("ws") => false,
            scheme if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UrlError::Scheme),
        };
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (bracketed, port) = split_port(authority)?;
        let host = parse_host(bracketed)?;
        let port_default = if secure { 443 } else { 80 };
        let port = port.map_or(Ok(port_default), parse_port)?;
        let host_header = match port {
            port if port == port_default => bracketed.to_owned(),
            port => format!("{bracketed}:{port}"),
        };
        let slash = if resource.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{resource}");
        Ok(Self { secure, host: host.to_owned(), port, host_header, target })
    }

    /// Whether it is `wss`: the connection runs over TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name or address to connect to; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`: with brackets, and without the port if it is the scheme's own.
    pub fn host_header(&self) -> &str {
        &self.host_header
    }

    /// The resource name: path and query.
    pub fn target(&self) -> &str {
        &self.target
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    // The colons of an IPv6 address are none of the port's.
    let host_end = match authority.find(']') {
        Some(bracket) if authority.starts_with('[') => bracket + 1,
        Some(_) => return Err(UrlError::Host),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    match authority.split_at(host_end) {
        (host, "") => Ok((host, None)),
        (host, port) => Ok((host, Some(port.strip_prefix(':').ok_or(UrlError::Host)?))),
    }
}

fn parse_host(bracketed: &str) -> Result<&str, UrlError> {
    if let Some(address) = bracketed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(address),
            Err(_) => Err(UrlError::Host),
        };
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !bracketed.is_empty() && bracketed.bytes().all(is_name) {
        Ok(bracketed)
    } else {
        Err(UrlError::Host)
    }
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    // `u16::from_str` takes a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    digits.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)
}

/// The part of a URL that is not as section 3 wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// A space, a control character, or one that is not ASCII.
    Character,
    /// A scheme other than `ws` and `wss`.
    Scheme,
    /// A user name or password, which section 3 knows nothing of.
    UserInfo,
    /// No host, or one that is neither a name nor an address.
    Host,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// A fragment.
    Fragment,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => "a URL has a space, a control character or one beyond ASCII",
            Self::Scheme => "the scheme of a URL is neither ws nor wss",
            Self::UserInfo => "a WebSocket URL has a user name",
            Self::Host => "the host of a URL is missing or invalid",
            Self::Port => "the port of a URL is not a number from 1 to 65535",
            Self::Fragment => "a WebSocket URL has a fragment",
        })
    }
}

impl std::error::Error for UrlError {}
