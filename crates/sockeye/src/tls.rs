//! TLS, between a driver and the engine: what comes in is decrypted on its way up, what goes out is
//! encrypted on its way down, and neither knows. docs/decisions/0014-tls.md.
//!
//! ```text
//!   engine ── out, flush, write, close ──► TlsTx ──► the driver's Tx
//!      ▲                                     │
//!      └──── received(plaintext) ── Inward ◄─┴── received(records)
//! ```

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sockeye_driver::{Closed, ConnId, Driver, SideTable, Sink, Tx};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::mailbox::Handle;
use crate::shard::{Engine, earlier};
use crate::stats::Stats;
use crate::transport::Transport;

mod certificates;
mod ciphers;
mod config;
mod endings;
mod link;
mod tx;

pub(crate) use config::Current;
pub use config::{ClientAuth, TlsConfig};
use link::{Fault, Link, Sealed};
use tx::TlsTx;

/// Memory that all connections share is given back beyond this.
const SHARED_BYTES_KEPT: usize = 512 << 10;

/// A connection, by where it is in the life that TLS gives it.
enum Stage {
    /// Nothing has come.
    Silent,
    Speaking(Box<Link>),
    /// The engine has closed it.
    Closing,
    /// The engine has been told that it is gone; its last bytes, an alert, are on their way.
    Lingering,
}

/// What TLS counts.
#[derive(Debug, Default)]
struct Counts {
    handshakes: u64,
    resumed: u64,
    failed: u64,
    truncated: u64,
    lingering: u64,
}

/// All of it but the driver.
struct State {
    current: Arc<Current>,
    connections: SideTable<Stage>,
    /// How long a peer has time to read what its fault was.
    linger: Duration,
    /// Those that do, by the time at which they are cut.
    lingering: VecDeque<(Instant, ConnId)>,
    /// Those that broke while something was sent to them; the engine hears of it within the turn.
    broken: Vec<(Instant, ConnId, Fault)>,
    /// The block that the engine writes to.
    block: Vec<u8>,
    /// What was decrypted, for as long as the engine has it.
    plain: Vec<u8>,
    /// A record of bytes from more than one place.
    gathered: Vec<u8>,
    sealed: Sealed,
    counts: Counts,
}

/// A driver with TLS on top.
pub(crate) struct Tls<D> {
    driver: D,
    state: State,
}

/// Where the driver's news come in.
struct Inward<'t, S> {
    tls: &'t mut State,
    sink: &'t mut S,
}

impl<D> Tls<D> {
    /// TLS on a driver without connections.
    ///
    /// # Errors
    /// The server was set up without.
    pub(crate) fn of(driver: D, handle: &Handle, config: &Config) -> Result<Self> {
        let Some(current) = handle.tls.clone() else {
            return Err(Error::Tls("the server speaks no TLS".into()));
        };
        let linger = Duration::from_millis(config.close_timeout_ms.into());
        let state = State {
            current,
            connections: SideTable::default(),
            linger,
            lingering: VecDeque::new(),
            broken: Vec::new(),
            block: Vec::new(),
            plain: Vec::new(),
            gathered: Vec::new(),
            sealed: Sealed::default(),
            counts: Counts::default(),
        };
        Ok(Self { driver, state })
    }

    /// The driver below.
    #[cfg(feature = "sim")]
    pub(crate) const fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// How many connections TLS knows of.
    #[cfg(feature = "sim")]
    pub(crate) const fn connections(&self) -> usize {
        self.state.connections.len()
    }
}

impl<D: Driver> Transport for Tls<D> {
    type Listener = D::Listener;

    fn begin(&mut self, listener: D::Listener) -> io::Result<()> {
        self.driver.listen(listener)
    }

    fn time(&mut self) -> Instant {
        self.driver.tx().now()
    }

    fn drive<H: Handler>(
        &mut self,
        until: Option<Instant>,
        engine: &mut Engine<H>,
    ) -> io::Result<()> {
        let until = earlier(until, self.state.due_at());
        let mut inward = Inward { tls: &mut self.state, sink: engine };
        self.driver.turn(until, &mut inward)?;
        inward.finish_turn(self.driver.tx());
        Ok(())
    }

    fn settle<H: Handler>(&mut self, engine: &mut Engine<H>) {
        engine.finish_turn(&mut TlsTx { inner: self.driver.tx(), tls: &mut self.state });
    }

    fn due_at(&self) -> Option<Instant> {
        earlier(self.driver.next_deadline(), self.state.due_at())
    }

    fn count(&self, stats: &mut Stats) {
        stats.set_driver(&self.driver.counters());
        let Counts { handshakes, resumed, failed, truncated, lingering } = self.state.counts;
        stats.tls_handshakes = handshakes;
        stats.tls_resumed = resumed;
        stats.tls_failed = failed;
        stats.tls_truncated = truncated;
        stats.tls_lingering = lingering;
    }
}

impl<D: AsFd> AsFd for Tls<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

impl State {
    /// When there is something to do although nothing happens.
    fn due_at(&self) -> Option<Instant> {
        let broken_at = self.broken.first().map(|(at, ..)| *at);
        earlier(broken_at, self.lingering.front().map(|(at, _)| *at))
    }

    #[inline]
    fn link(&mut self, id: ConnId) -> Option<&mut Link> {
        match self.connections.get_mut(id) {
            Some(Stage::Speaking(link)) => Some(link),
            _ => None,
        }
    }

    fn is_open(&self, id: ConnId) -> bool {
        matches!(self.connections.get(id), Some(Stage::Silent | Stage::Speaking(_)))
    }
}

impl<T: Tx, S> Sink<T> for Inward<'_, S>
where
    S: for<'t> Sink<TlsTx<'t, T>>,
{
    fn accepted(&mut self, tx: &mut T, id: ConnId) {
        self.tls.connections.insert(id, Stage::Silent);
        self.sink.accepted(&mut TlsTx { inner: tx, tls: self.tls }, id);
    }

    fn connected(&mut self, tx: &mut T, id: ConnId) {
        self.sink.connected(&mut TlsTx { inner: tx, tls: self.tls }, id);
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        if let Some(Stage::Silent) = self.tls.connections.get(id)
            && !self.begin(tx, id, bytes)
        {
            return;
        }
        let State { connections, plain, .. } = &mut *self.tls;
        let Some(Stage::Speaking(link)) = connections.get_mut(id) else { return };
        let was_established = link.is_established();
        let result = link.receive(bytes, plain);
        let (has_unsent, has_ended) = (!link.unsent.is_empty(), link.has_ended);
        if !was_established && link.is_established() {
            let is_resumed = link.is_resumed();
            self.tls.counts.handshakes += 1;
            self.tls.counts.resumed += u64::from(is_resumed);
        }
        if !self.tls.plain.is_empty() {
            let mut plain = mem::take(&mut self.tls.plain);
            self.sink.received(&mut TlsTx { inner: tx, tls: self.tls }, id, &mut plain);
            plain.clear();
            if plain.capacity() <= SHARED_BYTES_KEPT {
                self.tls.plain = plain;
            }
        }
        match result {
            Err(fault) => self.fail(tx, id, &fault),
            Ok(()) if has_ended => self.end(tx, id),
            // Unless an answer has taken it along.
            Ok(()) if has_unsent => TlsTx { inner: tx, tls: self.tls }.send_unsent(id),
            Ok(()) => {}
        }
    }

    fn drained(&mut self, tx: &mut T, id: ConnId) {
        if self.tls.is_open(id) {
            self.sink.drained(&mut TlsTx { inner: tx, tls: self.tls }, id);
        }
    }

    fn closed(&mut self, tx: &mut T, id: ConnId, why: Closed) {
        match self.tls.connections.remove(id) {
            None => return,
            // The engine has been told.
            Some(Stage::Lingering) => {
                self.tls.counts.lingering -= 1;
                return;
            }
            Some(Stage::Silent | Stage::Closing) => {}
            Some(Stage::Speaking(link)) if !link.is_established() => {
                self.tls.counts.failed += 1;
                tracing::debug!(?why, "the peer left within the TLS handshake");
            }
            Some(Stage::Speaking(_)) => {
                if matches!(why, Closed::Eof) {
                    self.tls.counts.truncated += 1;
                    tracing::debug!("the peer left without close_notify: something may be cut off");
                }
            }
        }
        self.sink.closed(&mut TlsTx { inner: tx, tls: self.tls }, id, why);
    }
}
