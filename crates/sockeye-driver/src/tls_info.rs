//! What a layer of TLS on top of a driver has to tell of a connection, in plain types.

use std::fmt;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// What a TLS handshake has brought to light.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version that is spoken.
    pub version: TlsVersion,
    /// The cipher suite that both agreed on, by the name that IANA registered:
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The protocol that both agreed on (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The client's certificate, and those that lead from it to an authority, as DER; empty where
    /// it was not asked, or showed none. What is here has been verified.
    pub peer_certificates: Vec<Vec<u8>>,
    /// The session of an earlier connection goes on. The certificates are those of that one.
    pub is_resumed: bool,
}

impl TlsInfo {
    /// A handshake that has brought nothing to light but the version and the cipher suite.
    pub const fn new(version: TlsVersion, cipher_suite: String) -> Self {
        Self {
            version,
            cipher_suite,
            server_name: None,
            alpn: None,
            peer_certificates: Vec::new(),
            is_resumed: false,
        }
    }
}
