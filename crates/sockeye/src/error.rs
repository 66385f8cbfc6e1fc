//! What can go wrong, by whose fault.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use sockeye_codec::{CloseCode, ProtocolError};

/// Why a server cannot start or go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller's: a setting that makes no sense.
    Config(String),
    /// The caller's: an address that is none.
    Address(String),
    /// The address cannot be listened on.
    Listen {
        /// Which one.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The caller's: a backend that this build or machine does not have.
    Backend(String),
    /// The caller's: certificates, keys or settings of TLS that cannot be used.
    Tls(String),
    /// The system's.
    Io(io::Error),
}

/// The result of what a server does.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) | Self::Address(what) | Self::Backend(what) | Self::Tls(what) => {
                f.write_str(what)
            }
            Self::Listen { address, cause } => match cause.kind() {
                io::ErrorKind::AddrInUse => {
                    write!(
                        f,
                        "{address} is in use by another process: stop it or choose another port"
                    )
                }
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "{address} is not an address of this machine")
                }
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "no permission to listen on {address}: ports below 1024 need a privilege"
                ),
                _ => write!(f, "cannot listen on {address}: {cause}"),
            },
            Self::Io(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { cause, .. } | Self::Io(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Why a connection ended, by whose doing or fault. [`Handler::closed`](crate::Handler::closed)
/// gets it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Closed {
    /// The peer asked for it. [`CloseCode::NO_STATUS`] if it gave no code.
    ByPeer {
        /// The peer's code.
        code: CloseCode,
        /// The peer's reason; empty if it gave none.
        reason: Box<str>,
    },
    /// The handler asked for it.
    ByHandler {
        /// The handler's code.
        code: CloseCode,
    },
    /// The server shut down (1001).
    Shutdown,
    /// The peer's fault: it broke the protocol or went over a limit.
    Protocol(ProtocolError),
    /// The peer's fault: nothing came from it for
    /// [`idle_timeout_ms`](crate::Config::idle_timeout_ms) (1001).
    Idle,
    /// The peer's fault: it reads too slowly, and more than
    /// [`backlog_bytes_max`](crate::Config::backlog_bytes_max) waited for it (1013).
    Backlog,
    /// The handler's fault: it panicked (1011).
    Panicked,
    /// The TCP connection ended without a closing handshake. `None`: the peer's FIN; else the
    /// system's word for it, such as a reset.
    Lost(Option<io::Error>),
}

impl Closed {
    /// The close code of the connection: what was sent or received first, or
    /// [`CloseCode::ABNORMAL`] where no close frame was.
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::ByPeer { code, .. } | Self::ByHandler { code } => *code,
            Self::Shutdown | Self::Idle => CloseCode::GOING_AWAY,
            Self::Protocol(error) => error.close_code(),
            Self::Backlog => CloseCode::TRY_AGAIN_LATER,
            Self::Panicked => CloseCode::INTERNAL_ERROR,
            Self::Lost(_) => CloseCode::ABNORMAL,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer { code, reason } if reason.is_empty() => {
                write!(f, "closed by the peer ({code})")
            }
            Self::ByPeer { code, reason } => write!(f, "closed by the peer ({code}: {reason})"),
            Self::ByHandler { code } => write!(f, "closed by the handler ({code})"),
            Self::Shutdown => f.write_str("the server shut down (1001)"),
            Self::Protocol(error) => write!(f, "{error} ({})", error.close_code()),
            Self::Idle => f.write_str("nothing came from the peer for too long (1001)"),
            Self::Backlog => f.write_str("the peer reads too slowly (1013)"),
            Self::Panicked => f.write_str("the handler panicked (1011)"),
            Self::Lost(None) => f.write_str("the peer left without a close frame (1006)"),
            Self::Lost(Some(error)) => write!(f, "connection lost: {error} (1006)"),
        }
    }
}

/// What became of a message that was given to `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It leaves, with everything else of this turn.
    Queued {
        /// The bytes, it included, that wait for this connection now. What the kernel takes at the
        /// end of the turn counts until then; up to 16 KiB of an earlier callback's that are to
        /// leave within the turn do not.
        backlog_bytes: usize,
    },
    /// With it the connection's backlog would be over
    /// [`backlog_bytes_max`](crate::Config::backlog_bytes_max), and the connection closes with
    /// 1013. It did not go; but where nothing waited before it, and it is more than the limit and
    /// the kernel take together, it does, and is the last.
    Overflow,
    /// It did not go: a close frame has been sent or received.
    Closed,
}

impl Sent {
    /// Whether the message will leave.
    pub const fn is_queued(self) -> bool {
        matches!(self, Self::Queued { .. })
    }
}

/// Why a subscription, a publication or a command was refused: the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The connection is gone, or closing; or the server has stopped.
    Closed,
    /// The topic's name is empty or longer than
    /// [`topic_bytes_max`](crate::Config::topic_bytes_max).
    TopicName,
    /// The connection has [`subscriptions_per_connection_max`] topics already.
    ///
    /// [`subscriptions_per_connection_max`]: crate::Config::subscriptions_per_connection_max
    Subscriptions,
    /// This turn has published
    /// [`publish_bytes_per_turn_max`](crate::Config::publish_bytes_per_turn_max) already.
    Publications,
    /// [`mailbox_max`](crate::Config::mailbox_max) commands wait for the shard already.
    Mailbox,
    /// A close code that must not be sent, or a reason of more than 123 bytes; a ping of more than
    /// 125.
    ControlFrame,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed or closing, or the server has stopped",
            Self::TopicName => "a topic's name must not be empty or over topic_bytes_max",
            Self::Subscriptions => "the connection is at subscriptions_per_connection_max",
            Self::Publications => "this turn has reached publish_bytes_per_turn_max",
            Self::Mailbox => "mailbox_max commands wait for the shard",
            Self::ControlFrame => "not a close code, reason or ping that may be sent",
        })
    }
}

impl std::error::Error for Refused {}

impl From<sockeye_codec::SendError> for Refused {
    fn from(error: sockeye_codec::SendError) -> Self {
        match error {
            sockeye_codec::SendError::Closed => Self::Closed,
            _ => Self::ControlFrame,
        }
    }
}
