//! The header fields that a handshake is about, gathered in one pass over the lines.

use super::extensions::count_extensions;
use super::headers::{Headers, is_token, list_elements};

/// A field that may stand once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Single<'a> {
    #[default]
    Missing,
    One(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    const fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Missing => Self::One(value),
            Self::One(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// What section 4.2.1 asks for, and what a handshake must not have.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Single<'a>,
    pub(super) version: Single<'a>,
    pub(super) key: Single<'a>,
    pub(super) origin: Single<'a>,
    /// `Upgrade` lists `websocket`.
    pub(super) upgrade: bool,
    /// `Connection` lists `Upgrade`.
    pub(super) connection: bool,
    pub(super) has_body: bool,
    /// An offered subprotocol is no token.
    pub(super) protocol_invalid: bool,
    /// `Sec-WebSocket-Extensions` is there and lists none, or is no list.
    pub(super) extensions_invalid: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn gather(headers: &Headers<'a>) -> Self {
        let mut fields = Self::default();
        let mut extensions = None;
        for (name, value) in headers.iter() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // The length tells most of them apart.
            match name.len() {
                4 if is("Host") => fields.host.add(value),
                6 if is("Origin") => fields.origin.add(value),
                7 if is("Upgrade") => fields.upgrade |= has_token(value, b"websocket"),
                10 if is("Connection") => fields.connection |= has_token(value, b"Upgrade"),
                14 if is("Content-Length") => fields.has_body |= value != b"0",
                17 if is("Transfer-Encoding") => fields.has_body = true,
                17 if is("Sec-WebSocket-Key") => fields.key.add(value),
                21 if is("Sec-WebSocket-Version") => fields.version.add(value),
                22 if is("Sec-WebSocket-Protocol") => {
                    fields.protocol_invalid |= !list_elements(value).all(is_token);
                }
                24 if is("Sec-WebSocket-Extensions") => {
                    let before = extensions.unwrap_or(Some(0));
                    extensions = Some(
                        before.zip(count_extensions(value)).map(|(before, more)| before + more),
                    );
                }
                _ => {}
            }
        }
        fields.extensions_invalid = matches!(extensions, Some(None | Some(0)));
        fields
    }
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list_elements(list).any(|element| element.eq_ignore_ascii_case(token))
}
