//! What goes wrong with a connection, in words that say whose fault it is and what to do.

use std::borrow::Cow;
use std::io;

use sockeye_codec::handshake::HandshakeError;
use sockeye_codec::{ProtocolError, SendError};

use super::proxy::ProxyError;
use super::tls::TlsError;

/// Why a connection is given up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not reached, or it was lost.
    Io(io::Error),
    /// The server's answer is not one that opens a connection.
    Handshake(HandshakeError),
    /// The server broke the protocol.
    Protocol(ProtocolError),
    Tls(TlsError),
    Proxy(ProxyError),
    /// Nothing of ours may be sent any more.
    Send(SendError),
    /// A script has waited for something else.
    Script(String),
    /// In a sentence.
    Other(Cow<'static, str>),
}

impl Failure {
    /// The same words for all of a kind, so that they can be counted.
    pub(crate) fn what(&self) -> Cow<'static, str> {
        match self {
            Self::Io(error) => of_io(error).into(),
            Self::Handshake(error) => format!("upgrade: {error}").into(),
            Self::Protocol(error) => format!("the server broke the protocol: {error}").into(),
            Self::Tls(error) => format!("TLS: {error}").into(),
            Self::Proxy(error) => error.to_string().into(),
            Self::Send(error) => format!("cannot send: {error}").into(),
            Self::Script(what) => what.clone().into(),
            Self::Other(what) => what.clone(),
        }
    }
}

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the server has reset a connection".into()
        }
        _ => format!("a connection was lost: {error}"),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}
