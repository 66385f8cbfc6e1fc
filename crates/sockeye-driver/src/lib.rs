//! How the bytes move. This crate knows sockets and nothing of WebSocket; the engine above knows
//! WebSocket and nothing of sockets. Between them is the seam: [`Driver`], [`Tx`] and [`Sink`].
//!
//! ```text
//!             turn(until, sink)
//!   engine ────────────────────► Driver        waits, receives, accepts
//!      ▲                            │
//!      │  received(tx, id, bytes)   │          the bytes are lent for the call
//!      └──────────── Sink ◄─────────┘
//!      │
//!      └─ out, flush, write, send_shared, close ──► Tx        sends, or keeps what the kernel
//!                                                             does not take yet (the backlog)
//! ```
//!
//! What every driver promises:
//! 1. **Completion-shaped.** [`Sink::received`] lends bytes that have landed; a driver that is told
//!    only of readiness does the read itself.
//! 2. **No re-entrance.** A [`Tx`] method never calls the [`Sink`]; what it finds out (a reset,
//!    say) is reported within the next [`Driver::turn`].
//! 3. **Ids do not lie.** A [`ConnId`] has a generation: one that was closed is dead for ever, and
//!    every method takes a dead one and does nothing.
//! 4. **Order.** Bytes for one connection leave in the order in which they were given, whichever
//!    method they were given to.
//! 5. **Bounded turns.** A turn reads at most [`Config::receive_budget_bytes`] from one connection
//!    and accepts at most [`Config::accept_budget`] new ones.
//! 6. [`Sink::closed`] comes exactly once for each id that was accepted, adopted, connected or
//!    connecting, unless the sink aborted it: after [`Close::Abort`] the id is dead at once,
//!    without a call.
//! 7. A driver never drops bytes. How long a backlog may grow is for the engine to say: each method
//!    that sends returns the bytes that now wait.

mod epoll;
mod net;
mod outbuf;
mod prefetch;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod slots;
mod sockets;
#[cfg(test)]
mod suite;
mod tls_info;
mod uring;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use epoll::{Epoll, EpollTx};
pub use net::Bound;
pub use slots::{ConnId, SideTable};
pub use tls_info::{TlsInfo, TlsVersion};
pub use uring::{Unavailable, Uring, UringBuilder, UringTx};

/// A backend: waits for the kernel, moves the bytes.
///
/// One that waits on a descriptor is [`AsFd`](std::os::fd::AsFd) too: the descriptor becomes
/// readable when a turn would find work, so that the driver can sit in another loop; for work that
/// no descriptor tells of there is [`next_deadline`](Self::next_deadline).
pub trait Driver {
    /// Its sending half.
    type Tx: Tx;

    /// What it accepts from: a socket, unless the network is not the system's.
    type Listener;

    /// Waits until something happens or `until` has passed (`None`: for as long as it takes), then
    /// tells the sink all that has happened.
    ///
    /// # Errors
    /// The kernel's, where the whole driver is broken; a connection's errors go to the sink.
    fn turn<S: Sink<Self::Tx>>(&mut self, until: Option<Instant>, sink: &mut S) -> io::Result<()>;

    /// The sending half, for what does not come out of a callback: timers, mail, broadcasts.
    fn tx(&mut self) -> &mut Self::Tx;

    /// Accepts from this listener until [`Tx::stop_listening`].
    ///
    /// # Errors
    /// The kernel's refusal to watch it.
    fn listen(&mut self, listener: Self::Listener) -> io::Result<()>;

    /// Ends a [`turn`](Self::turn) that waits, from any thread.
    fn waker(&self) -> Waker;

    /// When a turn would find work although the descriptor stays silent: at once where the last
    /// turn has left some for others' sake, later where the listener is left alone for a while.
    fn next_deadline(&self) -> Option<Instant>;

    /// What it has counted since it began.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// What a driver counts, for those who watch it. A backend that has no such thing leaves it at 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Times that the kernel had more to tell than the completion ring has room for. Nothing is
    /// lost, but receives end and have to be begun anew: 0 where all is well.
    pub completion_overflows: u64,
    /// Receives that found no buffer in the driver's ring and were begun anew. Now and then is
    /// fine; many mean that handlers or connections over their budget hold the buffers.
    pub receives_without_buffer: u64,
    /// Times that the listener was left alone for [`Config::accept_backoff`] because there was no
    /// file descriptor or memory for a new connection.
    pub accept_backoffs: u64,
    /// Sends that were to leave without a copy ([`UringConfig::zero_copy_bytes_min`]),
    pub zero_copy_sends: u64,
    /// and those of them that the kernel copied all the same.
    pub zero_copy_copied: u64,
}

/// What a driver tells; implemented by the engine.
pub trait Sink<T: Tx> {
    /// A peer connected to the listener: [`Tx::peer_addr`] says who, unless it is gone already.
    fn accepted(&mut self, tx: &mut T, id: ConnId);

    /// A [`Tx::connect`] succeeded, or one that was [adopted](Tx::adopt) on its way.
    fn connected(&mut self, tx: &mut T, id: ConnId);

    /// Bytes came in. They are the sink's to change, until it returns.
    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]);

    /// Where the next bytes of a connection can land without a copy, if there is such a place; at
    /// least `bytes_min`, or another system call is not worth it, and at most `bytes_max`. The
    /// driver receives there, or does not.
    fn room(&mut self, id: ConnId, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        let _ = (id, bytes_min, bytes_max);
        None
    }

    /// So many bytes came in and are in the [`room`](Self::room) that was asked for last.
    fn received_in_room(&mut self, tx: &mut T, id: ConnId, len: usize) {
        let _ = (tx, id, len);
    }

    /// The backlog was above [`Config::backlog_low_bytes`] and has fallen to it or below.
    fn drained(&mut self, tx: &mut T, id: ConnId);

    /// The connection is gone and the id is dead.
    fn closed(&mut self, tx: &mut T, id: ConnId, why: Closed);
}

/// The sending half of a [`Driver`].
pub trait Tx {
    /// The time, read once a turn.
    fn now(&self) -> Instant;

    /// After the one in hand this connection will be sent to: a hint, for whoever sends to many in
    /// a row, to bring what is known of it into cache meanwhile.
    #[inline]
    fn expect(&self, id: ConnId) {
        let _ = id;
    }

    /// Begins to connect: [`Sink::connected`] or [`Sink::closed`] follows.
    ///
    /// # Errors
    /// What can be told at once, such as an unreachable network or no file descriptors.
    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnId>;

    /// Takes over a stream socket that was made elsewhere: one that is bound to an address of its
    /// own, a Unix socket, one end of a pair, or what another protocol has begun on. It need not be
    /// non-blocking; from here on it is. What has come in already is told like all that follows.
    ///
    /// The driver sets `TCP_NODELAY` on what [connects](Adopted::Connecting), as after
    /// [`connect`](Self::connect); of what is [connected](Adopted::Connected), which may be no TCP
    /// at all, no other option is touched. A Unix socket has no [`peer_addr`](Self::peer_addr).
    ///
    /// # Errors
    /// The kernel's refusal to watch it, which closes it. `Unsupported` where there are no sockets
    /// of the system's below, or where TLS is: its handshake would be the one of a server.
    fn adopt(&mut self, socket: OwnedFd, adopted: Adopted) -> io::Result<ConnId>;

    /// Lends an empty block to append to; it goes back by [`flush`](Self::flush). One block is out
    /// at a time.
    fn out(&mut self, id: ConnId) -> Vec<u8>;

    /// Takes the block of [`out`](Self::out) back and sends what is in it, in one send. Returns the
    /// bytes that wait, for this connection, for the kernel to take them: 0 if all is gone.
    fn flush(&mut self, id: ConnId, block: Vec<u8>) -> usize;

    /// Sends the parts in one call without copying what the kernel takes. Returns the bytes that
    /// wait.
    fn write(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize;

    /// Sends bytes that many connections share; what must wait shares them too. Returns the bytes
    /// that wait.
    fn send_shared(&mut self, id: ConnId, bytes: &Bytes) -> usize;

    /// The bytes that wait.
    fn backlog_bytes(&self, id: ConnId) -> usize;

    /// The peer's address; asks the kernel each time.
    fn peer_addr(&self, id: ConnId) -> Option<SocketAddr>;

    /// What TLS has brought to light of this connection's peer; `None` where there is no TLS below,
    /// or its handshake is not through.
    fn tls_info(&self, id: ConnId) -> Option<TlsInfo> {
        let _ = id;
        None
    }

    /// Inbound pause: with `false` nothing more is received from this connection, and the peer is
    /// held up by TCP, until it is `true` again. A peer that goes away meanwhile is noticed then.
    fn set_recv(&mut self, id: ConnId, on: bool);

    /// Closes a connection.
    fn close(&mut self, id: ConnId, how: Close);

    /// Stops accepting and closes the listener.
    fn stop_listening(&mut self);
}

/// How far a socket is that [`Tx::adopt`] takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// A connect of TCP is under way, or through: [`Sink::connected`] or [`Sink::closed`] follows.
    /// (A Unix socket connects at once or not at all.)
    Connecting,
    /// It is connected, and [`Sink::connected`] does not follow.
    Connected,
}

/// How [`Tx::close`] ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Sends what waits, then FIN; discards what comes until the peer's FIN, then closes, so that
    /// no reset overtakes the last bytes. [`Sink::closed`] follows. The peer may never send its
    /// FIN: the engine bounds the wait and then aborts.
    Graceful,
    /// Closes at once. The id is dead, and no call follows.
    Abort,
}

/// Why a connection is gone.
#[derive(Debug)]
pub enum Closed {
    /// The peer sent its FIN. What waited for it is dropped, but for a graceful close, which sends
    /// it all.
    Eof,
    /// It could not be reached, or was reset.
    Error(io::Error),
}

/// What a driver may hold and do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The one buffer that all connections of the driver receive into.
    pub receive_buffer_bytes: usize,
    /// What is received into the sink's [room](Sink::room), if it has at least so much: fewer bytes
    /// are copied for less than one more system call.
    pub room_bytes_min: usize,
    /// How much one connection may deliver in one turn; then others have theirs.
    pub receive_budget_bytes: usize,
    /// New connections in one turn.
    pub accept_budget: usize,
    /// Connections at a time; more wait in the listener's queue.
    pub connections_max: usize,
    /// How long to leave the listener alone when there is no file descriptor or memory for a new
    /// connection.
    pub accept_backoff: Duration,
    /// The mark for [`Sink::drained`].
    pub backlog_low_bytes: usize,
    /// What only the io_uring backend has.
    pub uring: UringConfig,
}

/// The sizes of a driver's ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UringConfig {
    /// Requests that one system call hands over, a power of two.
    pub submissions: u32,
    /// What the kernel tells between two turns, a power of two; beyond it requests that go on by
    /// themselves end, and are begun anew.
    pub completions: u32,
    /// Receive buffers, a power of two, at most 32,768. Those that no traffic needs cost nothing;
    /// with fewer than messages arrive in a turn each costs up to 2.5 times as much.
    pub buffers: u16,
    /// The size of each.
    pub buffer_bytes: usize,
    /// Blocks and [shared](Tx::send_shared) bytes from this length on leave without a copy. For
    /// network cards that can do it and messages of 16 KiB and more; a connection for which the
    /// kernel copies all the same, as on loopback, goes back to ordinary sends. `None`: never.
    pub zero_copy_bytes_min: Option<usize>,
}

impl UringConfig {
    /// Whether the kernel can be asked for it.
    ///
    /// # Errors
    /// The setting, and what it must be.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_size = |size: u32, max| size.is_power_of_two() && size <= max;
        if !is_size(self.submissions, 1 << 15) {
            return Err("submissions must be a power of two up to 32,768");
        }
        if !is_size(self.completions, 1 << 16) || self.completions < self.submissions {
            return Err("completions must be a power of two from submissions to 65,536");
        }
        if !is_size(self.buffers.into(), 1 << 15) {
            return Err("buffers must be a power of two up to 32,768");
        }
        if !(256..=1 << 30).contains(&self.buffer_bytes) {
            return Err("buffer_bytes must be from 256 to 1,073,741,824");
        }
        if self.zero_copy_bytes_min == Some(0) {
            return Err("zero_copy_bytes_min must be at least 1; `None` turns it off");
        }
        Ok(())
    }
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            submissions: 1024,
            completions: 16 << 10,
            buffers: 1024,
            // A little more than a power of two: frames have headers.
            buffer_bytes: (16 + 4) << 10,
            zero_copy_bytes_min: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // A little more than powers of two: frames have headers.
            receive_buffer_bytes: (256 + 4) << 10,
            room_bytes_min: 64 << 10,
            receive_budget_bytes: 2 << 20,
            accept_budget: 64,
            connections_max: 4_000_000,
            accept_backoff: Duration::from_millis(100),
            backlog_low_bytes: 16 << 10,
            uring: UringConfig::default(),
        }
    }
}

/// Ends the turn of a driver that waits; usable from any thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl Waker {
    pub(crate) fn new(wake: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the driver; once is enough for any number of calls.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wake(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}
