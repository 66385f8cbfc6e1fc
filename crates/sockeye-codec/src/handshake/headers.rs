//! The header lines of a head, and the small grammar of names, values and lists.

use std::fmt;
use std::mem::MaybeUninit;

use super::error::HeaderError;

/// The most header lines that a head can have here, whatever its limits say: they are kept in an
/// array of this length, so that reading a head does not allocate.
pub const HEADERS_MAX: usize = 128;

/// Room for the header lines of one head. It is not filled in before they are there, so that an
/// array of this size on the stack costs nothing.
pub struct HeaderLines<'a>([MaybeUninit<httparse::Header<'a>>; HEADERS_MAX]);

impl<'a> HeaderLines<'a> {
    /// Empty room.
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }

    /// The first `headers_max` of it.
    pub(super) fn up_to(&mut self, headers_max: usize) -> &mut [MaybeUninit<httparse::Header<'a>>] {
        &mut self.0[..headers_max.min(HEADERS_MAX)]
    }
}

impl Default for HeaderLines<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeaderLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderLines").finish_non_exhaustive()
    }
}

/// The header lines of a head, in the order in which they came.
///
/// Names compare without regard to ASCII case. Values are bytes, without the white space around
/// them; they hold no control character other than the tab.
#[derive(Clone, Copy)]
pub struct Headers<'a>(pub(super) &'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// The number of lines.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no line.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every line: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
        self.0.iter().map(|line| (line.name, line.value))
    }

    /// The values of all lines of that name.
    pub fn get_all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + Clone + 's {
        self.iter().filter(move |(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first line of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The value of the first line of that name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Whether `token` is an element, without regard to ASCII case, of the comma-separated lists
    /// of that name.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(list_elements)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The value of the only line of that name; `None` if there is none, or more than one.
    pub(super) fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.get_all(name);
        values.next().filter(|_| values.next().is_none())
    }
}

/// Names alone: values may be cookies and tokens, which do not belong in a log.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// The elements of a comma-separated list; empty ones are passed over (RFC 9110 section 5.6.1.2).
pub(super) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without the optional white space before it.
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether this is a token, as the name of a header or of a subprotocol has to be (RFC 9110
/// section 5.6.2): at least one byte, each an ASCII letter, a digit or one of ``!#$%&'*+-.^_`|~``.
///
/// ```
/// use sockeye_codec::handshake::is_token;
///
/// assert!(is_token(b"Sec-WebSocket-Key"));
/// assert!(!is_token(b"chat room"));
/// assert!(!is_token(b""));
/// ```
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Host and port: every character that they can have (RFC 3986 section 3.2), except the comma,
/// at which a list of two would be joined.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte))
}

/// A target of a request: visible ASCII without a fragment.
pub(super) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Checks a header line that the caller wants to write, lest it breaks out of its line
/// (CVE-2026-1527).
pub(super) fn check_line(
    name: &str,
    value: &str,
    is_reserved: fn(&str) -> bool,
) -> Result<(), HeaderError> {
    if !is_token(name.as_bytes()) {
        return Err(HeaderError::Name);
    }
    if is_reserved(name) {
        return Err(HeaderError::Reserved);
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(HeaderError::Value);
    }
    Ok(())
}

/// Appends a header line.
pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Header names that the handshake writes itself, in a request and in the answer to it.
pub(super) fn is_handshake_name(name: &str) -> bool {
    const PREFIX: &str = "Sec-WebSocket-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        || name.eq_ignore_ascii_case("Upgrade")
        || is_framing_name(name)
}

/// Header names that say where a message ends and whether another follows.
pub(super) fn is_framing_name(name: &str) -> bool {
    ["Connection", "Content-Length", "Transfer-Encoding"]
        .iter()
        .any(|framing| name.eq_ignore_ascii_case(framing))
}
