//! Which backend: what was asked for, and what it came down to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sockeye_driver::{Uring, UringConfig};

use crate::error::{Error, Result};

/// How the bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// io_uring where a trial shows that it works, else epoll.
    #[default]
    Auto,
    /// epoll.
    Epoll,
    /// io_uring, where the kernel has it (6.0 or newer) and this process may use it.
    IoUring,
}

/// The backend that a server has, and why that one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChosenBackend {
    /// Never [`Backend::Auto`].
    pub backend: Backend,
    /// One line: it was asked for, or what the trial of io_uring came to.
    pub reason: Arc<str>,
}

impl ChosenBackend {
    pub(crate) fn new(backend: Backend, reason: &str) -> Self {
        Self { backend, reason: reason.into() }
    }
}

impl Backend {
    /// The backend that it comes down to for so many shards. io_uring is tried out: rings of these
    /// sizes for all shards at a time, and a receive.
    ///
    /// # Errors
    /// This machine does not have what was asked for by name; the error says why, and what to do.
    pub fn resolve(self, shards: usize, config: &UringConfig) -> Result<ChosenBackend> {
        match self {
            Self::Epoll => Ok(ChosenBackend::new(self, "asked for by name")),
            Self::IoUring => match Uring::probe(shards, config) {
                Ok(()) => Ok(ChosenBackend::new(self, "asked for by name")),
                Err(cause) => Err(Error::Backend(format!("io-uring is not to be had: {cause}"))),
            },
            Self::Auto => Ok(match Uring::probe(shards, config) {
                Ok(()) => {
                    ChosenBackend::new(Self::IoUring, "auto: a trial has shown that it works")
                }
                Err(cause) => {
                    let reason = format!("auto: io-uring is not to be had: {cause}");
                    ChosenBackend::new(Self::Epoll, &reason)
                }
            }),
        }
    }

    /// [`resolve`](Self::resolve), logged.
    pub(crate) fn choose(self, shards: usize, config: &UringConfig) -> Result<ChosenBackend> {
        let chosen = self.resolve(shards, config)?;
        let ChosenBackend { backend, reason } = &chosen;
        if self == Self::Auto && *backend == Self::Epoll {
            tracing::warn!(%backend, reason = &**reason, "io_uring is not used");
        } else {
            tracing::info!(%backend, reason = &**reason, "the backend is chosen");
        }
        Ok(chosen)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Epoll => "epoll",
            Self::IoUring => "io-uring",
        })
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "epoll" => Ok(Self::Epoll),
            "io-uring" => Ok(Self::IoUring),
            _ => Err(Error::Backend(format!("no backend `{name}`: auto, epoll or io-uring"))),
        }
    }
}
