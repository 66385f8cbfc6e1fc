//! What two ends agree on (RFC 7692 sections 5 and 7.1).

use std::fmt;

use super::config::DeflateConfig;
use crate::frame::Role;
use crate::handshake::extensions::{Extension, Value, extensions};

const NAME: &str = "permessage-deflate";
const WINDOW_BITS_MAX: u8 = 15;

/// What both ends have agreed on. Its text is the value of the answer's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    server: Direction,
    client: Direction,
    /// An offer with `server_max_window_bits` is accepted by an answer with it (section 7.1.2.1).
    says_server_window: bool,
}

/// What one end may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) takeover: bool,
    pub(super) window_bits: u8,
}

/// The parameters of one offer or answer, each well-formed and there once.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)`: without a value, which an offer may have.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None`: something that makes the offer one to decline, or the answer one to fail on.
    fn read(extension: Extension<'_>) -> Option<Self> {
        let mut parameters = Self::default();
        for parameter in extension.parameters() {
            //= rfc7692#section-7
            //# A server MUST decline an extension negotiation offer for this extension if any of
            //# the following conditions are met:
            let is_new = match (parameter.name, parameter.value) {
                (b"server_no_context_takeover", None) => {
                    !std::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                (b"client_no_context_takeover", None) => {
                    !std::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                (b"server_max_window_bits", Some(value)) => {
                    parameters.server_max_window_bits.replace(window_bits(value)?).is_none()
                }
                (b"client_max_window_bits", value) => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    parameters.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !is_new {
                return None;
            }
        }
        Some(parameters)
    }
}

/// "A decimal integer value without leading zeroes between 8 to 15, inclusive" (section 7.1.2.1).
fn window_bits(value: Value<'_>) -> Option<u8> {
    let mut digits = value.bytes();
    let bits = match (digits.next()?, digits.next(), digits.next()) {
        (digit @ b'8'..=b'9', None, None) => digit - b'0',
        (b'1', Some(digit @ b'0'..=b'5'), None) => 10 + digit - b'0',
        _ => return None,
    };
    Some(bits)
}

/// A server's answer to the offers of a client, which are the values of all its header lines
/// `Sec-WebSocket-Extensions`: the first offer that can be accepted is. `None`: there is none, and
/// the connection goes without compression.
pub fn negotiate<'a>(
    offers: impl IntoIterator<Item = &'a [u8]>,
    config: &DeflateConfig,
) -> Option<Params> {
    let config = config.clamped();
    let offers = offers.into_iter().flat_map(extensions).map_while(|extension| extension);
    let mut offers = offers.filter(|extension| extension.name == NAME.as_bytes());
    offers.find_map(|offer| Parameters::read(offer)).map(|offer| accept(&offer, &config))
}

/// Every well-formed offer can be accepted: what it asks of us we can do, all of it.
fn accept(offer: &Parameters, config: &DeflateConfig) -> Params {
    let server_bits = offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    let client_bits = match offer.client_max_window_bits {
        Some(bits) => bits.unwrap_or(WINDOW_BITS_MAX).min(config.client_max_window_bits),
        //= rfc7692#section-7.1.2.2
        //# If a received extension negotiation offer doesn't have the
        //# "client_max_window_bits" extension parameter, the corresponding
        //# extension negotiation response to the offer MUST NOT include the
        //# "client_max_window_bits" extension parameter.
        None => WINDOW_BITS_MAX,
    };
    // Without a context a window costs nothing, however large.
    let client_takeover = config.client_context_takeover
        && !offer.client_no_context_takeover
        && client_bits <= config.client_max_window_bits;
    Params {
        server: Direction {
            takeover: config.server_context_takeover && !offer.server_no_context_takeover,
            window_bits: server_bits.min(config.server_max_window_bits),
        },
        client: Direction { takeover: client_takeover, window_bits: client_bits },
        says_server_window: offer.server_max_window_bits.is_some(),
    }
}

/// Writes a client's offer: what it asks the server to do, and that it can be told a window.
pub(crate) fn offer(config: &DeflateConfig) -> String {
    let config = config.clamped();
    let mut offer = String::from(NAME);
    if !config.server_context_takeover {
        offer.push_str("; server_no_context_takeover");
    }
    if !config.client_context_takeover {
        offer.push_str("; client_no_context_takeover");
    }
    if config.server_max_window_bits < WINDOW_BITS_MAX {
        offer.push_str(&format!("; server_max_window_bits={}", config.server_max_window_bits));
    }
    offer.push_str("; client_max_window_bits");
    if config.client_max_window_bits < WINDOW_BITS_MAX {
        offer.push_str(&format!("={}", config.client_max_window_bits));
    }
    offer
}

/// The answer is not one to what was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// Another extension.
    NotOffered,
    /// This one, with parameters that it must not have, or twice.
    Parameters,
}

/// A client's check of the server's answer, which are the values of all its header lines; `None`:
/// the server has declined.
pub(crate) fn check_answer<'a>(
    answer: impl IntoIterator<Item = &'a [u8]>,
    config: Option<&DeflateConfig>,
) -> Result<Option<Params>, AnswerError> {
    let mut agreed = None;
    for extension in answer.into_iter().flat_map(extensions) {
        let extension = extension.ok_or(AnswerError::NotOffered)?;
        let config = config.filter(|_| extension.name == NAME.as_bytes());
        let config = config.ok_or(AnswerError::NotOffered)?;
        let params = Parameters::read(extension)
            .and_then(|answer| agree(&answer, &config.clamped()))
            .ok_or(AnswerError::Parameters)?;
        // One of our offers is accepted, not two.
        if agreed.replace(params).is_some() {
            return Err(AnswerError::Parameters);
        }
    }
    Ok(agreed)
}

/// `None`: the answer does not give what the offer asked for.
fn agree(answer: &Parameters, config: &DeflateConfig) -> Option<Params> {
    // What we asked the server to do it has accepted only by saying so.
    if !config.server_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    let server_bits = answer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    // Section 7.1.2.1: "with the same or smaller value as the offer".
    if server_bits > config.server_max_window_bits {
        return None;
    }
    let client_bits = match answer.client_max_window_bits {
        None => config.client_max_window_bits,
        Some(Some(bits)) if bits <= config.client_max_window_bits => bits,
        Some(_) => return None,
    };
    Some(Params {
        server: Direction {
            takeover: !answer.server_no_context_takeover,
            window_bits: server_bits,
        },
        client: Direction {
            takeover: config.client_context_takeover && !answer.client_no_context_takeover,
            window_bits: client_bits,
        },
        says_server_window: answer.server_max_window_bits.is_some(),
    })
}

impl Params {
    /// Whether the server may refer to earlier messages.
    pub const fn server_context_takeover(&self) -> bool {
        self.server.takeover
    }

    /// Whether the client may.
    pub const fn client_context_takeover(&self) -> bool {
        self.client.takeover
    }

    /// The server's window has 2 to this power bytes.
    pub const fn server_window_bits(&self) -> u8 {
        self.server.window_bits
    }

    /// The client's window.
    pub const fn client_window_bits(&self) -> u8 {
        self.client.window_bits
    }

    /// What we send, and what the peer sends.
    pub(super) const fn directions(&self, role: Role) -> (Direction, Direction) {
        match role {
            Role::Server => (self.server, self.client),
            Role::Client => (self.client, self.server),
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if !self.server.takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if !self.client.takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.says_server_window || self.server.window_bits < WINDOW_BITS_MAX {
            write!(f, "; server_max_window_bits={}", self.server.window_bits)?;
        }
        // Less than the most only where the client has offered to be told.
        if self.client.window_bits < WINDOW_BITS_MAX {
            write!(f, "; client_max_window_bits={}", self.client.window_bits)?;
        }
        Ok(())
    }
}
