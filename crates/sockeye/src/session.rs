//! One connection on its shard: the codec's state, where it is in its life, the author's data.
//! Bytes in, callbacks, bytes out.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_codec::deflate::Inflater;
use sockeye_codec::handshake::HeadBuffer;
use sockeye_codec::{
    CloseCode, CloseFrame, Codec, Connection, Event, Message, ProtocolError, SendError,
};
use sockeye_driver::{ConnId, Tx};

use crate::compress::Compression;
use crate::ctx::Ctx;
use crate::error::Closed;
use crate::handler::Handler;
use crate::shard::Core;
use crate::timers::Tick;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request has not come whole.
    Handshake,
    Open,
    /// Our close frame has left, the peer's has not come.
    Closing,
    /// The author has been told that it is over; the last bytes are on their way.
    Ending,
}

/// Why we closed it, where we were the first to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    None,
    Handler(CloseCode),
    Idle,
    Backlog,
    Panic,
    Shutdown,
}

/// Facts about a connection.
pub(crate) mod flag {
    /// It has subscribed to a topic, now or before.
    pub(crate) const HAS_SUBSCRIBED: u8 = 1;
    /// It has agreed on compression.
    pub(crate) const DEFLATE: u8 = 2;
}

/// A connection, but for the author's data.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) stage: Stage,
    flags: u8,
    pub(crate) cause: Cause,
    /// When bytes came last: all that the hot path writes down.
    pub(crate) received_tick: Tick,
    /// When the stage began, or while it is open: when the last ping left.
    pub(crate) stage_tick: Tick,
    /// The one entry in the wheel that counts.
    pub(crate) timer_tick: Tick,
    pub(crate) aside: Option<Box<Aside>>,
}

/// What a connection has for a while, or only some have: so an idle one fits a line of the cache.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// The part of the request that has come; nothing after the handshake.
    pub(crate) head: HeadBuffer,
    /// In a box of its own: a connection with a `Remote` is to cost little.
    pub(crate) compression: Option<Box<Compression>>,
    /// Shared with the [`Remote`](crate::Remote)s that were asked for.
    alive: Option<Arc<AtomicBool>>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session<S> {
    pub(crate) link: Link,
    /// From open to closed.
    pub(crate) data: Option<S>,
}

/// What a callback has for its own connection: it leaves in one send.
#[derive(Debug)]
pub(crate) struct Cork {
    pub(crate) block: Vec<u8>,
    /// What the kernel has refused so far.
    pub(crate) backlog_bytes: usize,
    /// What was sent behind the turn's deliveries, and leaves with them.
    pub(crate) behind_bytes: usize,
    /// Where the codec's close frame begins in the block, once the connection is over.
    pub(crate) close_at: usize,
}

impl Cork {
    pub(crate) fn of(tx: &mut impl Tx, id: ConnId) -> Self {
        Self::with(tx.out(id), tx, id)
    }

    pub(crate) fn with(block: Vec<u8>, tx: &impl Tx, id: ConnId) -> Self {
        Self { block, backlog_bytes: tx.backlog_bytes(id), behind_bytes: 0, close_at: 0 }
    }

    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.backlog_bytes + self.block.len() + self.behind_bytes
    }
}

impl<S> Session<S> {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            link: Link {
                connection: Connection::new(),
                stage: Stage::Handshake,
                flags: 0,
                cause: Cause::None,
                received_tick: now,
                stage_tick: now,
                timer_tick: now,
                aside: None,
            },
            data: None,
        }
    }
}

impl Link {
    #[inline]
    pub(crate) const fn is(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    pub(crate) const fn set(&mut self, flags: u8) {
        self.flags |= flags;
    }

    /// Writes our close frame, and remembers why.
    pub(crate) fn close(
        &mut self,
        cause: Cause,
        code: CloseCode,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.connection.close(code, reason, None, out)?;
        self.cause = cause;
        self.is_not_alive();
        Ok(())
    }

    /// Whether it has neither ended nor begun to close, for other threads.
    pub(crate) fn alive(&mut self) -> Arc<AtomicBool> {
        let is_open = self.connection.is_open();
        let alive = &mut self.aside.get_or_insert_default().alive;
        Arc::clone(alive.get_or_insert_with(|| Arc::new(AtomicBool::new(is_open))))
    }

    pub(crate) fn is_not_alive(&self) {
        if let Some(alive) = self.aside.as_ref().and_then(|aside| aside.alive.as_ref()) {
            alive.store(false, Ordering::Release);
        }
    }

    /// What the author is told, where we closed first.
    pub(crate) const fn closed_by_us(&self) -> Option<Closed> {
        Some(match self.cause {
            Cause::None => return None,
            Cause::Handler(code) => Closed::ByHandler { code },
            Cause::Idle => Closed::Idle,
            Cause::Backlog => Closed::Backlog,
            Cause::Panic => Closed::Panicked,
            Cause::Shutdown => Closed::Shutdown,
        })
    }

    #[cold]
    fn closed_by_peer(&self, frame: Option<CloseFrame<'_>>) -> Closed {
        self.closed_by_us().unwrap_or_else(|| {
            let (code, reason) =
                frame.map_or((CloseCode::NO_STATUS, ""), |frame| (frame.code, frame.reason));
            Closed::ByPeer { code, reason: reason.into() }
        })
    }
}

/// What makes messages of bytes, for all connections of the shard.
pub(crate) struct Decoding<'a> {
    pub(crate) codec: &'a mut Codec,
    pub(crate) inflater: &'a mut Inflater,
}

/// All that a callback needs, apart from the bytes it is about.
pub(crate) struct Call<'a, T, H: Handler> {
    pub(crate) tx: &'a mut T,
    pub(crate) cork: &'a mut Cork,
    pub(crate) handler: &'a mut H,
    pub(crate) core: &'a mut Core,
    pub(crate) link: &'a mut Link,
    pub(crate) session: &'a mut H::Session,
    pub(crate) id: ConnId,
}

impl<T: Tx, H: Handler> Call<'_, T, H> {
    /// Turns the bytes, so many in the message's room or else those, into callbacks. Returns why
    /// the connection is over, if it is.
    pub(crate) fn receive(
        &mut self,
        mut decoding: Decoding<'_>,
        in_room: usize,
        input: &mut &mut [u8],
    ) -> Option<Closed> {
        let decoding = &mut decoding;
        // One for all that came in: a panic ends the connection anyway.
        let received = panic::catch_unwind(AssertUnwindSafe(|| {
            if in_room > 0 {
                self.event_in_room(decoding, in_room)
            } else {
                self.events(decoding, input)
            }
        }));
        received.unwrap_or_else(|panic| {
            self.handle_panic(&*panic);
            self.receive_after_panic(decoding, input)
        })
    }

    /// The rest of what came in: no message is delivered any more, but the peer's close frame may
    /// be there, or the beginning of a frame.
    #[cold]
    fn receive_after_panic(
        &mut self,
        decoding: &mut Decoding<'_>,
        input: &mut &mut [u8],
    ) -> Option<Closed> {
        let rest = panic::catch_unwind(AssertUnwindSafe(|| self.events(decoding, input)));
        rest.unwrap_or_else(|panic| {
            self.handle_panic(&*panic);
            None
        })
    }

    fn events(&mut self, decoding: &mut Decoding<'_>, input: &mut &mut [u8]) -> Option<Closed> {
        loop {
            if let Err((error, close_at)) = self.short_messages(decoding.codec, input) {
                return Some(self.failed(error, close_at));
            }
            let answer_at = self.cork.block.len();
            let out = &mut self.cork.block;
            let event = self.link.connection.receive_any(decoding.codec, input, out);
            if matches!(event, Ok(None)) {
                return None;
            }
            if let Some(over) = self.handle(event, decoding.inflater, answer_at) {
                return Some(over);
            }
        }
    }

    /// All short messages up to something else: one context for the lot of them. An error comes
    /// with the place of the close frame that says so.
    #[inline]
    fn short_messages(
        &mut self,
        codec: &mut Codec,
        input: &mut &mut [u8],
    ) -> Result<(), (ProtocolError, usize)> {
        let (handler, mut ctx) = self.ctx();
        loop {
            let close_at = ctx.cork.block.len();
            let out = &mut ctx.cork.block;
            match ctx.link.connection.receive_short(codec, input, out) {
                Ok(Some(message)) if ctx.link.connection.is_open() => {
                    ctx.core.stats.messages_received += 1;
                    handler.message(&mut ctx, message);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err((error, close_at)),
            }
        }
    }

    #[inline(never)]
    fn event_in_room(&mut self, decoding: &mut Decoding<'_>, len: usize) -> Option<Closed> {
        let answer_at = self.cork.block.len();
        let out = &mut self.cork.block;
        let event = self.link.connection.receive_in_room(decoding.codec, len, out);
        self.handle(event, decoding.inflater, answer_at)
    }

    /// Tells the author. `answer_at` is where the codec's own answer begins, if it wrote one.
    #[inline]
    fn handle(
        &mut self,
        event: Result<Option<Event<'_>>, ProtocolError>,
        inflater: &mut Inflater,
        answer_at: usize,
    ) -> Option<Closed> {
        match event {
            Ok(Some(Event::Message(message))) => {
                self.deliver(message, &[]);
            }
            Ok(Some(Event::Framed(message, frame))) => self.deliver(message, frame),
            Ok(Some(Event::Chunk(chunk))) => {
                if self.link.connection.is_open() {
                    self.core.stats.messages_received += 1;
                    let (handler, mut ctx) = self.ctx();
                    handler.chunk(&mut ctx, chunk);
                }
            }
            Ok(Some(Event::Extension(kind, payload))) => {
                return self.inflate(inflater, kind, payload);
            }
            Ok(Some(Event::ExtensionChunk(chunk))) => return self.inflate_chunk(inflater, chunk),
            Ok(Some(Event::Close(frame))) => {
                self.cork.close_at = answer_at;
                return Some(self.link.closed_by_peer(frame));
            }
            Ok(_) => {} // pings are answered by the codec, pongs are signs of life
            Err(error) => return Some(self.failed(error, answer_at)),
        }
        None
    }

    #[inline]
    fn deliver(&mut self, message: Message<'_>, frame: &[u8]) {
        if self.link.connection.is_open() {
            self.core.stats.messages_received += 1;
            let (handler, mut ctx) = self.ctx();
            ctx.frame = frame;
            handler.message(&mut ctx, message);
        }
    }

    /// The peer's violation; the close frame that says so begins at `close_at`.
    #[cold]
    pub(crate) fn failed(&mut self, error: ProtocolError, close_at: usize) -> Closed {
        self.cork.close_at = close_at;
        self.core.stats.protocol_errors += 1;
        self.link.closed_by_us().unwrap_or(Closed::Protocol(error))
    }

    /// A callback without bytes. Returns whether the handler came back from it.
    pub(crate) fn call(&mut self, callback: impl FnOnce(&mut H, &mut Ctx<'_, H>)) -> bool {
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let (handler, mut ctx) = self.ctx();
            callback(handler, &mut ctx);
        }));
        if let Err(panic) = &result {
            self.handle_panic(&**panic);
        }
        result.is_ok()
    }

    #[inline]
    pub(crate) fn ctx(&mut self) -> (&mut H, Ctx<'_, H>) {
        let ctx = Ctx {
            tx: &mut *self.tx,
            cork: self.cork,
            core: self.core,
            link: self.link,
            session: self.session,
            id: self.id,
            frame: &[],
        };
        (self.handler, ctx)
    }

    /// One panic, one connection: it closes with 1011.
    #[cold]
    fn handle_panic(&mut self, panic: &(dyn std::any::Any + Send)) {
        log_panic(panic);
        self.core.stats.panics += 1;
        let code = CloseCode::INTERNAL_ERROR;
        // An error says that a close frame is on its way already.
        let _ = self.ctx().1.close_because(Cause::Panic, code, "internal error");
    }
}

/// Panics are logged and counted; the hook that the program set has had them before.
#[cold]
pub(crate) fn log_panic(panic: &(dyn std::any::Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of another type"), "the handler panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With 24 bytes in the driver and 12 in the wheel this keeps an idle connection far below the
    /// promised 128 bytes.
    #[test]
    fn an_idle_session_is_small() {
        assert_eq!(size_of::<Session<()>>(), 56);
        assert_eq!(size_of::<Option<(u32, Session<()>)>>(), 64, "a line of the cache");
        assert_eq!(size_of::<Connection>(), 16);
    }
}
