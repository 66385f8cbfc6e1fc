//! One shard: a driver, a handler and their connections, on one thread.
//!
//! A turn: the driver's events, then mail from other threads, then timers, then what all of these
//! have for other connections.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use sockeye_codec::deflate::Inflater;
use sockeye_codec::{CloseCode, Codec, Connection};
use sockeye_driver::{Close, ConnId, SideTable, Sink, Tx};

use crate::compress;
use crate::config::Config;
use crate::ctx::{BACKLOG_REASON, ShardCtx, WRITE_THROUGH_BYTES};
use crate::error::Closed;
use crate::handler::Handler;
use crate::mailbox::{Handle, Mail, Mailbox};
use crate::session::{Call, Cause, Cork, Decoding, Session, Stage, log_panic};
use crate::timers::{Tick, Wheel};
use crate::transport::Transport;
use crate::upgrade::{self, Progress};

#[cfg(feature = "sim")]
mod census;
mod core;
mod deadlines;
mod outward;

pub(crate) use self::core::Core;
use deadlines::Times;

/// A driver and the engine on top of it.
pub(crate) struct Shard<D, H: Handler> {
    driver: D,
    engine: Engine<H>,
}

/// All of a shard but its driver.
pub(crate) struct Engine<H: Handler> {
    handler: H,
    sessions: SideTable<Session<H::Session>>,
    codec: Codec,
    inflater: Inflater,
    core: Core,
    wheel: Wheel,
    times: Times,
    mailbox: Arc<Mailbox>,
    mails: Vec<Mail>,
    due: Vec<(Tick, ConnId)>,
    overflowed: Vec<ConnId>,
    stopping: bool,
}

impl<D: Transport, H: Handler> Shard<D, H> {
    pub(crate) fn new(
        mut driver: D,
        listener: D::Listener,
        handler: H,
        config: Arc<Config>,
        handle: Handle,
        number: u16,
    ) -> io::Result<Self> {
        driver.begin(listener)?;
        let now = driver.time();
        let engine = Engine {
            handler,
            sessions: SideTable::default(),
            codec: Codec::server(config.limits()).lend_frames_from(WRITE_THROUGH_BYTES),
            inflater: compress::inflater(&config),
            wheel: Wheel::new(now),
            times: Times::new(&config, now),
            mailbox: Arc::clone(&handle.shards[usize::from(number)]),
            core: Core::new(config, handle, number),
            mails: Vec::new(),
            due: Vec::new(),
            overflowed: Vec::new(),
            stopping: false,
        };
        Ok(Self { driver, engine })
    }

    pub(crate) fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.driver.drive(earlier(until, self.engine.next_deadline()), &mut self.engine)?;
        self.driver.count(&mut self.engine.core.stats);
        self.driver.settle(&mut self.engine);
        Ok(())
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        earlier(self.engine.next_deadline(), self.driver.due_at())
    }

    /// Shut down, and the last connection is gone.
    pub(crate) fn is_done(&self) -> bool {
        self.engine.stopping && self.engine.sessions.is_empty()
    }
}

impl<D: AsFd, H: Handler> AsFd for Shard<D, H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

/// The earlier of two times, of which either may be never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl<D, H: Handler> Drop for Shard<D, H> {
    fn drop(&mut self) {
        self.engine.mailbox.stop();
    }
}

impl<T: Tx, H: Handler> Sink<T> for Engine<H> {
    fn accepted(&mut self, tx: &mut T, id: ConnId) {
        self.update_time(tx);
        self.core.stats.accepted += 1;
        self.sessions.insert(id, Session::new(self.times.now));
        self.arm(id, self.times.now + self.times.handshake);
    }

    fn connected(&mut self, _tx: &mut T, _id: ConnId) {
        // A server's shard connects to nobody.
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        self.update_time(tx);
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.link.received_tick = self.times.now;
        match session.link.stage {
            Stage::Open | Stage::Closing => self.receive_frames(tx, id, 0, bytes),
            Stage::Handshake => self.receive_request(tx, id, bytes),
            Stage::Ending => {}
        }
    }

    #[inline]
    fn room(&mut self, id: ConnId, bytes_min: usize, bytes_max: usize) -> Option<&mut [u8]> {
        let link = &mut self.sessions.get_mut(id)?.link;
        link.connection.room(bytes_min, bytes_max)
    }

    fn received_in_room(&mut self, tx: &mut T, id: ConnId, len: usize) {
        self.update_time(tx);
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.link.received_tick = self.times.now;
        self.receive_frames(tx, id, len, &mut []);
    }

    fn drained(&mut self, tx: &mut T, id: ConnId) {
        self.update_time(tx);
        self.call(tx, id, H::drained);
    }

    fn closed(&mut self, tx: &mut T, id: ConnId, why: sockeye_driver::Closed) {
        self.update_time(tx);
        let lost = match why {
            sockeye_driver::Closed::Eof => None,
            sockeye_driver::Closed::Error(error) => Some(error),
        };
        self.end(id, |session| session.link.closed_by_us().unwrap_or(Closed::Lost(lost)));
        self.sessions.remove(id);
    }
}

impl<H: Handler> Engine<H> {
    /// When there is something to do even if nothing comes in.
    fn next_deadline(&self) -> Option<Instant> {
        // What a turn's last callbacks have published goes out at once.
        if self.core.deliveries.is_empty() { self.wheel.next() } else { Some(self.times.turn) }
    }

    #[inline]
    fn update_time(&mut self, tx: &impl Tx) {
        let now = tx.now();
        if now != self.times.turn {
            self.times.turn = now;
            self.times.now = self.wheel.tick_at(now);
            self.core.compressing.now = self.times.now;
        }
    }

    /// Bytes of an open connection: so many in its room, or those.
    fn receive_frames<T: Tx>(
        &mut self,
        tx: &mut T,
        id: ConnId,
        in_room: usize,
        mut bytes: &mut [u8],
    ) {
        let mut cork = Cork::of(tx, id);
        let over = self
            .calling(tx, id, &mut cork)
            .and_then(|(mut call, decoding)| call.receive(decoding, in_room, &mut bytes));
        self.finish_callback(tx, id, cork, over);
    }

    /// A callback that no bytes of the connection bring about.
    fn call<T: Tx>(
        &mut self,
        tx: &mut T,
        id: ConnId,
        callback: impl FnOnce(&mut H, &mut crate::Ctx<'_, H>),
    ) {
        let mut cork = Cork::of(tx, id);
        if let Some((mut call, _)) = self.calling(tx, id, &mut cork) {
            call.call(callback);
        }
        self.finish_callback(tx, id, cork, None);
    }

    #[inline]
    fn calling<'a, T: Tx>(
        &'a mut self,
        tx: &'a mut T,
        id: ConnId,
        cork: &'a mut Cork,
    ) -> Option<(Call<'a, T, H>, Decoding<'a>)> {
        let session = self.sessions.get_mut(id)?;
        let call = Call {
            tx,
            cork,
            handler: &mut self.handler,
            core: &mut self.core,
            link: &mut session.link,
            session: session.data.as_mut()?,
            id,
        };
        Some((call, Decoding { codec: &mut self.codec, inflater: &mut self.inflater }))
    }

    /// After a callback: what it sent leaves, and what it did to the connection takes effect.
    #[inline]
    fn finish_callback<T: Tx>(&mut self, tx: &mut T, id: ConnId, cork: Cork, over: Option<Closed>) {
        if let Some(why) = over {
            return self.finish_last_callback(tx, id, cork, why);
        }
        let waiting = tx.flush(id, cork.block);
        let Some(session) = self.sessions.get(id) else { return };
        if session.link.stage == Stage::Open {
            if !session.link.connection.is_open() {
                self.await_close(tx, id);
            } else if waiting > self.core.config.backlog_bytes_max {
                self.overflow(tx, id);
            }
        }
    }

    /// [`finish_callback`](Self::finish_callback) where the connection is over. What it still has
    /// to get of this turn's deliveries, answers that wait behind them too, goes before its close
    /// frame: there is no later.
    #[cold]
    fn finish_last_callback<T: Tx>(&mut self, tx: &mut T, id: ConnId, cork: Cork, why: Closed) {
        let Cork { mut block, close_at, .. } = cork;
        let session = self.sessions.get(id);
        if session.is_some_and(|session| self.core.has_deliveries_for(&session.link)) {
            let close = block.split_off(close_at);
            tx.flush(id, block);
            if !close.is_empty() {
                self.core.deliveries.close(id, &close);
            }
            self.deliver(tx);
        } else {
            tx.flush(id, block);
        }
        self.end_gracefully(tx, id, why);
    }

    fn receive_request<T: Tx>(&mut self, tx: &mut T, id: ConnId, mut bytes: &mut [u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        // Gone already, or as good as.
        let Some(peer) = tx.peer_addr(id) else { return self.abort(tx, id) };
        let from = (peer, tx.tls_info(id));
        let mut out = tx.out(id);
        let (handler, core) = (&mut self.handler, &mut self.core);
        match upgrade::receive(handler, session, core, from, &mut bytes, &mut out) {
            Progress::Wait => drop(tx.flush(id, out)),
            Progress::Rejected => {
                tx.flush(id, out);
                self.core.stats.rejected += 1;
                self.enter(id, Stage::Ending);
                tx.close(id, Close::Graceful);
            }
            Progress::Accepted { session: data, streaming, deflate } => {
                session.data = Some(data);
                let mut connection = Connection::new();
                if streaming {
                    connection = connection.streaming();
                }
                if let Some(params) = deflate {
                    connection = connection.allow_rsv1();
                    session.link.start_compression(&params);
                }
                session.link.connection = connection;
                self.core.stats.opened += 1;
                self.core.stats.open += 1;
                self.enter(id, Stage::Open);
                let mut cork = Cork::with(out, tx, id);
                let over = self.calling(tx, id, &mut cork).and_then(|(mut call, decoding)| {
                    call.call(H::open);
                    // Frames that came with the request: all in one send with the answer.
                    if bytes.is_empty() { None } else { call.receive(decoding, 0, &mut bytes) }
                });
                self.finish_callback(tx, id, cork, over);
            }
        }
    }

    /// Begins the closing handshake for a reason of the engine's. Returns whether there was
    /// something to close.
    fn close<T: Tx>(
        &mut self,
        tx: &mut T,
        id: ConnId,
        cause: Cause,
        code: CloseCode,
        why: &str,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        if session.link.stage != Stage::Open {
            return false;
        }
        let mut out = tx.out(id);
        let closed = session.link.close(cause, code, why, &mut out);
        tx.flush(id, out);
        if closed.is_ok() {
            self.await_close(tx, id);
        }
        closed.is_ok()
    }

    /// Our close frame has left: the peer's must get in, also where the handler had paused.
    fn await_close<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        tx.set_recv(id, true);
        self.enter(id, Stage::Closing);
    }

    fn overflow<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        let code = CloseCode::TRY_AGAIN_LATER;
        if self.close(tx, id, Cause::Backlog, code, BACKLOG_REASON) {
            self.core.stats.backlog_overflows += 1;
        }
    }

    /// The WebSocket connection is over; the TCP connection ends once all has been sent. "The
    /// server MUST close the underlying TCP connection immediately" (RFC 6455 section 7.1.1), but
    /// not so that a reset overtakes the close frame.
    fn end_gracefully<T: Tx>(&mut self, tx: &mut T, id: ConnId, why: Closed) {
        self.end(id, |_| why);
        self.enter(id, Stage::Ending);
        tx.close(id, Close::Graceful);
    }

    fn abort<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        tx.close(id, Close::Abort);
        self.end(id, |session| session.link.closed_by_us().unwrap_or(Closed::Lost(None)));
        self.sessions.remove(id);
    }

    /// Tells the author, once, that an open connection is over.
    fn end(&mut self, id: ConnId, why: impl FnOnce(&Session<H::Session>) -> Closed) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.link.is_not_alive();
        session.link.aside = None;
        let Some(data) = session.data.take() else { return };
        let why = why(session);
        self.core.stats.open -= 1;
        self.core.forget(id);
        let (handler, core) = (&mut self.handler, &mut self.core);
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            handler.closed(&mut ShardCtx { core }, data, why);
        }));
        if let Err(panic) = result {
            log_panic(&*panic);
            self.core.stats.panics += 1;
        }
    }

    /// What follows the driver's events.
    pub(crate) fn finish_turn<T: Tx>(&mut self, tx: &mut T) {
        self.update_time(tx);
        self.read_mail(tx);
        self.wheel.advance(self.times.now, &mut self.due);
        let mut due = mem::take(&mut self.due);
        for (tick, id) in due.drain(..) {
            if self.sessions.get(id).is_some_and(|session| session.link.timer_tick == tick) {
                self.handle_timer(tx, id);
            }
        }
        self.due = due;
        self.deliver(tx);
        self.watch_contexts();
        self.core.stats.set_deflate(&self.core.compressing.compressor().counts());
        self.core.stats.set_inflate(&self.inflater.counts());
        self.inflater.trim();
        self.core.stats.connections = self.sessions.len() as u64 + self.core.stats.tls_lingering;
        self.mailbox.stats.write(&self.core.stats);
    }
}
