//! How other threads reach a shard: commands in, in order. [`Handle`] is the server, [`Remote`] one
//! connection; both can be cloned and sent anywhere.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sockeye_codec::{CloseCode, Message, PreparedMessage};
use sockeye_driver::{ConnId, Waker};

use crate::backend::ChosenBackend;
use crate::config::Config;
use crate::error::Refused;
use crate::stats::{ShardStats, Stats};

/// One connection of the server, whichever shard it is on. It names that connection only, also
/// after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) shard: u16,
    pub(crate) id: ConnId,
}

/// What one shard published, for another one: topics and frames, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) topics: String,
    pub(crate) frames: Vec<u8>,
    /// Where each one's topic and frame end.
    pub(crate) ends: Vec<(usize, usize)>,
}

impl Batch {
    pub(crate) fn push(&mut self, topic: &str, frame: &[u8]) {
        self.topics.push_str(topic);
        self.frames.extend_from_slice(frame);
        self.ends.push((self.topics.len(), self.frames.len()));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let begins = std::iter::once((0, 0)).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(from, to)| (&self.topics[from.0..to.0], &self.frames[from.1..to.1]))
    }
}

/// A command.
#[derive(Debug)]
pub(crate) enum Mail {
    Send { id: ConnId, frame: Bytes },
    Close { id: ConnId, code: CloseCode, reason: Box<str> },
    Publish(Arc<Batch>),
    Shutdown,
}

/// One shard's letter-box.
#[derive(Debug)]
pub(crate) struct Mailbox {
    mails: Mutex<Vec<Mail>>,
    /// Whether to look: the shard asks every turn.
    filled: AtomicBool,
    stopped: AtomicBool,
    waker: Waker,
    config: Arc<Config>,
    pub(crate) stats: ShardStats,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker, config: Arc<Config>) -> Self {
        Self {
            mails: Mutex::default(),
            filled: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waker,
            config,
            stats: ShardStats::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mail>> {
        // A list of commands is whole whatever happened to a thread that held it.
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, mail: Mail) -> Result<(), Refused> {
        let mut mails = self.lock();
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Refused::Closed);
        }
        if mails.len() >= self.config.mailbox_max && !matches!(mail, Mail::Shutdown) {
            return Err(Refused::Mailbox);
        }
        mails.push(mail);
        let first = !self.filled.swap(true, Ordering::Release);
        drop(mails);
        if first && let Err(error) = self.waker.wake() {
            // The mail is there all the same, and the shard finds it in its next turn.
            tracing::warn!(%error, "a shard cannot be woken");
        }
        Ok(())
    }

    /// Takes all there is into an empty list, whose memory is used for the next ones.
    #[inline]
    pub(crate) fn collect(&self, into: &mut Vec<Mail>) {
        if self.filled.load(Ordering::Acquire) {
            let mut mails = self.lock();
            self.filled.store(false, Ordering::Relaxed);
            mem::swap(&mut *mails, into);
        }
    }

    /// Nothing is taken any more.
    pub(crate) fn stop(&self) {
        let mut mails = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        mails.clear();
    }
}

/// The server, from any thread and any runtime. Nothing here waits.
///
/// What one thread sends to one connection arrives in that order. A command that was taken is
/// carried out in the shard's next turn.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shards: Arc<[Arc<Mailbox>]>,
    pub(crate) backend: ChosenBackend,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<crate::tls::Current>>,
}

impl Handle {
    /// Sends a message to every subscriber of a topic, on every shard.
    ///
    /// # Errors
    /// The name, a shard's mailbox is full (the others have got it), or the server has stopped.
    pub fn publish<'m>(&self, topic: &str, message: impl Into<Message<'m>>) -> Result<(), Refused> {
        // Every shard has the same configuration.
        if self.shards.iter().any(|shard| !shard.config.is_topic(topic)) {
            return Err(Refused::TopicName);
        }
        let mut batch = Batch::default();
        batch.push(topic, PreparedMessage::new(message).frame());
        let batch = Arc::new(batch);
        let mut result = Ok(());
        for shard in self.shards.iter() {
            result = result.and(shard.post(Mail::Publish(Arc::clone(&batch))));
        }
        result
    }

    /// Sends a message to one connection. Whether it is still there is found out by its shard; a
    /// [`Remote`] can tell.
    ///
    /// # Errors
    /// The shard's mailbox is full, or the server has stopped.
    pub fn send_to<'m>(
        &self,
        to: ConnectionId,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        let frame = PreparedMessage::new(message).frame().clone();
        self.post(to, Mail::Send { id: to.id, frame })
    }

    /// Closes one connection.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to), or the code or reason must not be sent.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<(), Refused> {
        if !code.may_be_sent() || reason.len() > sockeye_codec::CONTROL_PAYLOAD_BYTES_MAX - 2 {
            return Err(Refused::ControlFrame);
        }
        self.post(id, Mail::Close { id: id.id, code, reason: reason.into() })
    }

    fn post(&self, to: ConnectionId, mail: Mail) -> Result<(), Refused> {
        self.shards.get(usize::from(to.shard)).ok_or(Refused::Closed)?.post(mail)
    }

    /// Stops accepting, closes every connection with 1001 and then ends the server's threads; the
    /// peers have [`close_timeout_ms`](crate::Config::close_timeout_ms) to answer.
    pub fn shutdown(&self) {
        for shard in self.shards.iter() {
            // A shard that has stopped needs no telling.
            let _ = shard.post(Mail::Shutdown);
        }
    }

    /// Which backend the server has, and why: `epoll` may be here for want of io_uring.
    pub const fn backend(&self) -> &ChosenBackend {
        &self.backend
    }

    /// Certificates and settings of TLS for connections that come from now on. Those that there
    /// are stay as they are; sessions of earlier connections do not go on.
    ///
    /// # Errors
    /// The configuration cannot be used, and nothing has changed; or the server speaks no TLS.
    #[cfg(feature = "tls")]
    pub fn reload_tls(&self, config: &crate::TlsConfig) -> crate::Result<()> {
        match &self.tls {
            Some(current) => current.replace(config),
            None => Err(crate::Error::Tls("the server speaks no TLS".into())),
        }
    }

    /// What the server has counted, up to the last turn of each shard.
    pub fn stats(&self) -> Stats {
        self.shards.iter().map(|shard| shard.stats.read()).sum()
    }
}

/// One connection, from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) handle: Handle,
    pub(crate) id: ConnectionId,
    pub(crate) alive: Arc<AtomicBool>,
}

impl Remote {
    /// Which connection it is.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether the connection has neither ended nor begun to close, as far as its shard has told.
    pub fn is_open(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), Refused> {
        if self.is_open() { Ok(()) } else { Err(Refused::Closed) }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is gone or closing, or its shard's mailbox is full.
    pub fn send<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), Refused> {
        self.check()?;
        self.handle.send_to(self.id, message)
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// As [`send`](Self::send), or the code or reason must not be sent.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Refused> {
        self.check()?;
        self.handle.close(self.id, code, reason)
    }
}
