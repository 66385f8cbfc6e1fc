//! The client's nonce and the server's proof that it has read it (RFC 6455 section 1.3).

use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

/// Concatenated to the key before it is hashed (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Padding is required, but the four bits of the last character that stand for nothing may have any
/// value: the example of section 4.1 itself, `AQIDBAUGBwgJCgsMDQ4PEC==`, has one of them set.
const KEY_DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
const NONCE_BYTES: usize = 16;
const KEY_CHARS: usize = 24;
const ACCEPT_CHARS: usize = 28;

/// The value of `Sec-WebSocket-Key`: 16 bytes in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; KEY_CHARS]);

impl Key {
    /// A client's key, from 16 bytes that it picked at random for this connection alone.
    pub fn new(nonce: [u8; NONCE_BYTES]) -> Self {
        let mut chars = [0; KEY_CHARS];
        let written = STANDARD.encode_slice(nonce, &mut chars);
        assert_eq!(written, Ok(KEY_CHARS), "16 bytes are 24 characters of base64");
        Self(chars)
    }

    /// Reads the value of the header field; `None` unless it is 24 characters of base64 that
    /// stand for 16 bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        //= rfc6455#section-4.2.1
        //# A |Sec-WebSocket-Key| header field with a base64-encoded (see
        //# Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in
        //# length.
        let chars: [u8; KEY_CHARS] = value.try_into().ok()?;
        let mut decoded = [0; KEY_CHARS / 4 * 3];
        let length = KEY_DECODER.decode_slice(chars, &mut decoded).ok()?;
        (length == NONCE_BYTES).then_some(Self(chars))
    }

    /// The 24 characters.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }

    /// What a server answers to this key.
    pub fn accept(&self) -> AcceptKey {
        accept_key(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}

/// The value of `Sec-WebSocket-Accept`: 28 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; ACCEPT_CHARS]);

impl AcceptKey {
    /// The 28 characters.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl Deref for AcceptKey {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for AcceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AcceptKey").field(&self.as_str()).finish()
    }
}

/// What a server answers to `key`, the value of `Sec-WebSocket-Key` as it stands in the request
/// (section 4.2.2): the base64 of the SHA-1 of the key and a fixed GUID. Does not allocate.
///
/// SHA-1 is no weakness here: it proves only that the server has understood the request.
pub fn accept_key(key: &str) -> AcceptKey {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut chars = [0; ACCEPT_CHARS];
    let written = STANDARD.encode_slice(hash, &mut chars);
    assert_eq!(written, Ok(ACCEPT_CHARS), "20 bytes are 28 characters of base64");
    AcceptKey(chars)
}

fn ascii(chars: &[u8]) -> &str {
    str::from_utf8(chars).expect("base64 is ASCII")
}
