//! What callbacks act through: [`Ctx`] on a connection, [`ShardCtx`] where there is none any more.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::ptr;

use sockeye_codec::{CloseCode, Message, PreparedMessage, encode};
use sockeye_driver::{ConnId, Tx};

use crate::deliveries::Deliveries;
use crate::error::{Refused, Sent};
use crate::handler::Handler;
use crate::mailbox::{ConnectionId, Handle, Remote};
use crate::session::{Cause, Cork, Link, flag};
use crate::shard::Core;

/// A payload from this size on leaves without being copied behind the other bytes of the turn.
pub(crate) const WRITE_THROUGH_BYTES: usize = 16 << 10;
/// The bytes of a turn leave early when they have grown to this.
const CORK_BYTES: usize = 64 << 10;
/// A message up to this size has a header of two bytes, and is sent without detours.
const SHORT_BYTES_MAX: usize = 125;
pub(crate) const BACKLOG_REASON: &str = "reads too slowly";

/// How something is written down for a connection.
type WriteDown = fn(&mut Deliveries, ConnId, &[u8]) -> Result<(), Refused>;

/// One connection, in a callback. Everything that is sent while the callback lasts leaves in one
/// send when its input is used up; nothing here waits, and nothing calls back.
pub struct Ctx<'a, H: Handler> {
    pub(crate) tx: &'a mut dyn Tx,
    pub(crate) cork: &'a mut Cork,
    pub(crate) core: &'a mut Core,
    pub(crate) link: &'a mut Link,
    pub(crate) session: &'a mut H::Session,
    pub(crate) id: ConnId,
    /// The message that is being delivered, as we would send it, if it is long and in one piece.
    pub(crate) frame: &'a [u8],
}

impl<H: Handler> Ctx<'_, H> {
    /// Sends a message to this connection.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let message = message.into();
        if message.len() > SHORT_BYTES_MAX || !self.may_append() {
            return self.send_any(message);
        }
        encode::message(&mut self.cork.block, message, None);
        self.core.stats.messages_sent += 1;
        Sent::Queued { backlog_bytes: self.cork.waiting() }
    }

    /// There is nothing to be thought of: a short message goes behind the other bytes of the turn.
    #[inline]
    fn may_append(&self) -> bool {
        self.link.connection.is_open()
            && !self.link.is(flag::DEFLATE)
            && self.cork.backlog_bytes == 0
            && self.cork.block.len() < CORK_BYTES - 2 * SHORT_BYTES_MAX
            && !self.is_behind_deliveries()
    }

    #[inline(never)]
    fn send_any(&mut self, message: Message<'_>) -> Sent {
        if self.link.is(flag::DEFLATE) {
            return self.send_compressed(message);
        }
        self.send_as_it_is(message)
    }

    /// Sends a message as it is, also where compression was agreed on: for what is compressed
    /// already, such as pictures.
    pub fn send_uncompressed<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        self.send_as_it_is(message.into())
    }

    fn send_as_it_is(&mut self, message: Message<'_>) -> Sent {
        let frame_len = || encode::header(message).as_ref().len() + message.len();
        if let Some(sent) = self.divert(frame_len) {
            return sent;
        }
        if self.is_behind_deliveries() {
            return self.send_behind(message, Deliveries::send_as_it_is);
        }
        if message.len() < WRITE_THROUGH_BYTES {
            encode::message(&mut self.cork.block, message, None);
        } else {
            self.write_through(message);
        }
        self.queued()
    }

    /// Sends a message that was encoded before, to this connection. Where compression was agreed on
    /// it is compressed for each connection; [`publish`](Self::publish) does that once for many.
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Sent {
        let frame = message.frame();
        let is_behind = self.is_behind_deliveries();
        if !is_behind && self.link.is(flag::DEFLATE) {
            return self.send_prepared_compressed(frame);
        }
        if let Some(sent) = self.divert(|| frame.len()) {
            return sent;
        }
        if is_behind {
            self.core.frame.clear();
            self.core.frame.extend_from_slice(frame);
            return self.send_frame_behind(Deliveries::send_to);
        }
        if frame.len() < WRITE_THROUGH_BYTES {
            self.cork.block.extend_from_slice(frame);
        } else {
            self.flush();
            self.cork.backlog_bytes = self.tx.send_shared(self.id, frame);
        }
        self.queued()
    }

    /// What is to be said of a message that cannot go at all.
    #[inline]
    pub(crate) fn divert(&mut self, frame_len: impl FnOnce() -> usize) -> Option<Sent> {
        if !self.link.connection.is_open() {
            return Some(Sent::Closed);
        }
        // Only where the kernel has refused bytes: else what is here has not been offered yet.
        let over = self.cork.backlog_bytes > 0
            && self.cork.waiting() + frame_len() > self.core.config.backlog_bytes_max;
        over.then(|| self.overflow())
    }

    /// What was published or sent before in this turn is first.
    #[inline]
    pub(crate) fn is_behind_deliveries(&self) -> bool {
        self.core.has_deliveries_for(self.link)
    }

    #[inline(never)]
    pub(crate) fn send_behind(&mut self, message: Message<'_>, write_down: WriteDown) -> Sent {
        self.core.frame.clear();
        encode::message(&mut self.core.frame, message, None);
        self.send_frame_behind(write_down)
    }

    /// [`send_behind`](Self::send_behind) of what stands in the frame already.
    fn send_frame_behind(&mut self, write_down: WriteDown) -> Sent {
        match write_down(&mut self.core.deliveries, self.id, &self.core.frame) {
            Ok(()) => {
                self.cork.behind_bytes += self.core.frame.len();
                Sent::Queued { backlog_bytes: self.cork.waiting() }
            }
            Err(_) => self.overflow(),
        }
    }

    #[inline]
    pub(crate) fn queued(&mut self) -> Sent {
        self.core.stats.messages_sent += 1;
        if self.cork.block.len() >= CORK_BYTES {
            self.flush();
        }
        if self.cork.backlog_bytes > self.core.config.backlog_bytes_max {
            return self.overflow();
        }
        Sent::Queued { backlog_bytes: self.cork.waiting() }
    }

    /// A payload too large to copy goes to the kernel from where it is.
    #[inline(never)]
    fn write_through(&mut self, message: Message<'_>) {
        let header = encode::header(message);
        let (header, payload) = (header.as_ref(), message.as_bytes());
        if self.cork.block.is_empty() && self.came_as(header, payload) {
            // One part goes the kernel's shorter way.
            self.cork.backlog_bytes = self.tx.write(self.id, &[IoSlice::new(self.frame)]);
            return;
        }
        let block = &mut self.cork.block;
        block.extend_from_slice(header);
        let parts = [IoSlice::new(block), IoSlice::new(payload)];
        self.cork.backlog_bytes = self.tx.write(self.id, &parts);
        self.cork.block.clear();
    }

    /// Whether this is the frame that was lent, in the same place. Where its end and its length are
    /// the payload's, so is the length in its header; its first byte is looked at.
    #[inline]
    fn came_as(&self, header: &[u8], payload: &[u8]) -> bool {
        let came = self.frame.get(header.len()..).is_some_and(|came| ptr::eq(came, payload));
        came && self.frame[0] == header[0]
    }

    #[inline(never)]
    fn flush(&mut self) {
        if !self.cork.block.is_empty() {
            let parts = [IoSlice::new(&self.cork.block)];
            self.cork.backlog_bytes = self.tx.write(self.id, &parts);
            self.cork.block.clear();
        }
    }

    #[inline(never)]
    pub(crate) fn overflow(&mut self) -> Sent {
        self.core.stats.backlog_overflows += 1;
        // Open, as was checked, and with a code and reason that may be sent.
        let _ = self.close_because(Cause::Backlog, CloseCode::TRY_AGAIN_LATER, BACKLOG_REASON);
        Sent::Overflow
    }

    /// Sends a ping with at most 125 bytes.
    ///
    /// # Errors
    /// The connection is closing, or the payload is too long.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Refused> {
        Ok(self.link.connection.ping(payload, None, &mut self.cork.block)?)
    }

    /// Begins the closing handshake, after all that was sent so far. The reason has at most 123
    /// bytes. No further message comes; [`Handler::closed`] does, when the peer has answered or
    /// [`close_timeout_ms`](crate::Config::close_timeout_ms) has passed.
    ///
    /// # Errors
    /// The connection is closing already, or the code or the reason must not be sent.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Refused> {
        self.close_because(Cause::Handler(code), code, reason)
    }

    pub(crate) fn close_because(
        &mut self,
        cause: Cause,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), Refused> {
        if self.is_behind_deliveries() {
            self.core.frame.clear();
            self.link.close(cause, code, reason, &mut self.core.frame)?;
            self.core.deliveries.close(self.id, &self.core.frame);
        } else {
            self.link.close(cause, code, reason, &mut self.cork.block)?;
        }
        Ok(())
    }

    /// Subscribes this connection to a topic. Returns whether it was not yet. A topic is there as
    /// long as somebody subscribes to it. What was published before this call does not come.
    ///
    /// # Errors
    /// The name, or too many subscriptions.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, Refused> {
        self.core.check_topic(topic)?;
        if !self.link.connection.is_open() {
            return Err(Refused::Closed);
        }
        let topics = &mut self.core.topics;
        if let Some(known) = topics.find(topic) {
            if topics.is_subscribed(known, self.id) {
                return Ok(false);
            }
            self.core.deliveries.settle(known, topics);
        }
        if topics.count_of(self.id) >= self.core.config.subscriptions_per_connection_max {
            return Err(Refused::Subscriptions);
        }
        topics.subscribe(topic, self.id);
        self.link.set(flag::HAS_SUBSCRIBED);
        Ok(true)
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let Some(topic) = self.core.topics.find(topic) else { return false };
        self.core.deliveries.settle(topic, &self.core.topics);
        self.core.topics.unsubscribe(topic, self.id)
    }

    /// Sends a message to every subscriber of a topic, on every shard, this connection too if it
    /// subscribes. It is encoded once.
    ///
    /// # Errors
    /// The name, or too much was published in this turn.
    pub fn publish<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        self.core.publish(topic, message.into(), None)
    }

    /// [`publish`](Self::publish) to every subscriber but this connection.
    ///
    /// # Errors
    /// As `publish`.
    pub fn publish_to_others<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        self.core.publish(topic, message.into(), Some(self.id))
    }

    /// Sends a message to one other connection (or this one), whichever shard it is on. One that is
    /// gone is passed over.
    ///
    /// # Errors
    /// Too much was sent in this turn, or the other shard's mailbox is full.
    pub fn send_to<'m>(
        &mut self,
        to: ConnectionId,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        self.core.send_to(to, message.into())
    }

    /// This connection's data.
    pub fn session(&mut self) -> &mut H::Session {
        self.session
    }

    /// Names this connection, for [`send_to`](Self::send_to).
    pub fn id(&self) -> ConnectionId {
        ConnectionId { shard: self.core.shard, id: self.id }
    }

    /// The address at the other end; `None` if the connection is broken. Asks the kernel.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tx.peer_addr(self.id)
    }

    /// Bytes that wait for this connection, those of this callback too.
    pub fn backlog_bytes(&self) -> usize {
        self.cork.waiting()
    }

    /// Receives nothing more from this connection until [`resume`](Self::resume), after the bytes
    /// that have arrived already. TCP holds the peer up. The idle timeout goes on: who pauses for
    /// long turns it off. A pause ends where the connection closes: the peer's answer must get in.
    pub fn pause(&mut self) {
        if self.link.connection.is_open() {
            self.tx.set_recv(self.id, false);
        }
    }

    /// Receives again.
    pub fn resume(&mut self) {
        self.tx.set_recv(self.id, true);
    }

    /// This connection, for other threads.
    pub fn remote(&mut self) -> Remote {
        let id = self.id();
        Remote { handle: self.core.handle.clone(), id, alive: self.link.alive() }
    }

    /// The server, for other threads. What is sent through it here may overtake what this callback
    /// has published; the methods of `Ctx` keep their order.
    pub fn handle(&self) -> &Handle {
        &self.core.handle
    }
}

/// The shard, in a callback whose connection is gone.
pub struct ShardCtx<'a> {
    pub(crate) core: &'a mut Core,
}

impl ShardCtx<'_> {
    /// Sends a message to every subscriber of a topic, on every shard.
    ///
    /// # Errors
    /// The name, or too much was published in this turn.
    pub fn publish<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        self.core.publish(topic, message.into(), None)
    }

    /// Sends a message to one connection, whichever shard it is on.
    ///
    /// # Errors
    /// Too much was sent in this turn, or the other shard's mailbox is full.
    pub fn send_to<'m>(
        &mut self,
        to: ConnectionId,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Refused> {
        self.core.send_to(to, message.into())
    }

    /// The server, for other threads.
    pub fn handle(&self) -> &Handle {
        &self.core.handle
    }
}
