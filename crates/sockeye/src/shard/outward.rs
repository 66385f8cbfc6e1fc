//! What a turn has besides its own connections' answers: commands from other threads in, and
//! publications and targeted sends out.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use sockeye_codec::CloseCode;
use sockeye_driver::{ConnId, SideTable, Tx};

use super::Engine;
use super::core::Core;
use crate::compress::Compressing;
use crate::deliveries::{Deliver, Piece};
use crate::error::Refused;
use crate::handler::Handler;
use crate::mailbox::Mail;
use crate::session::{Cause, Link, Session, Stage, flag};

impl<H: Handler> Engine<H> {
    pub(super) fn read_mail<T: Tx>(&mut self, tx: &mut T) {
        let mut mails = mem::take(&mut self.mails);
        self.mailbox.collect(&mut mails);
        for mail in mails.drain(..) {
            match mail {
                Mail::Send { id, frame } => {
                    self.hand_on(tx, |core| core.send_frame(id, &frame));
                }
                Mail::Publish(batch) => {
                    for (topic, frame) in batch.iter() {
                        self.hand_on(tx, |core| core.publish_frame(topic, frame));
                    }
                }
                Mail::Close { id, code, reason } => {
                    self.deliver(tx);
                    self.close(tx, id, Cause::Handler(code), code, &reason);
                }
                Mail::Shutdown => self.shut_down(tx),
            }
        }
        self.mails = mails;
    }

    /// Writes a delivery down; where the turn's limit is reached, what there is goes out first.
    fn hand_on<T: Tx>(
        &mut self,
        tx: &mut T,
        write_down: impl Fn(&mut Core) -> Result<(), Refused>,
    ) {
        if write_down(&mut self.core).is_ok() {
            return;
        }
        self.deliver(tx);
        if let Err(error) = write_down(&mut self.core) {
            self.core.stats.publications_refused += 1;
            tracing::warn!(%error, "a message from another thread is too large to deliver");
        }
    }

    fn shut_down<T: Tx>(&mut self, tx: &mut T) {
        self.stopping = true;
        tx.stop_listening();
        self.deliver(tx);
        let ids: Vec<_> = self.sessions.ids().collect();
        for id in ids {
            match self.sessions.get(id).map(|session| session.link.stage) {
                Some(Stage::Handshake) => self.abort(tx, id),
                _ => {
                    let code = CloseCode::GOING_AWAY;
                    self.close(tx, id, Cause::Shutdown, code, "the server shuts down");
                }
            }
        }
    }

    /// Sends what the turn has for connections other than the one in hand.
    pub(super) fn deliver<T: Tx>(&mut self, tx: &mut T) {
        self.core.post_outgoing();
        self.core.outgoing_bytes = 0;
        if self.core.deliveries.is_empty() {
            return;
        }
        let Core { deliveries, topics, stats, config, compressing, .. } = &mut self.core;
        let mut outlet = Outlet {
            tx,
            sessions: &mut self.sessions,
            compressing,
            overflowed: &mut self.overflowed,
            backlog_bytes_max: config.backlog_bytes_max,
        };
        stats.messages_sent += deliveries.deliver(topics, &mut outlet) as u64;
        self.core.compressing.forget();
        self.core.trim();
        let mut overflowed = mem::take(&mut self.overflowed);
        for id in overflowed.drain(..) {
            self.overflow(tx, id);
        }
        self.overflowed = overflowed;
    }
}

impl Core {
    /// One letter to each other shard with all that this turn published so far.
    pub(crate) fn post_outgoing(&mut self) {
        if self.outgoing.ends.is_empty() {
            return;
        }
        let count = self.outgoing.ends.len() as u64;
        let batch = Arc::new(mem::take(&mut self.outgoing));
        for (number, shard) in self.handle.shards.iter().enumerate() {
            if number != usize::from(self.shard)
                && let Err(error) = shard.post(Mail::Publish(Arc::clone(&batch)))
            {
                self.stats.publications_refused += count;
                tracing::warn!(shard = number, %error, "publications lost");
            }
        }
    }
}

/// Where deliveries go.
struct Outlet<'a, T, S> {
    tx: &'a mut T,
    sessions: &'a mut SideTable<Session<S>>,
    compressing: &'a mut Compressing,
    overflowed: &'a mut Vec<ConnId>,
    backlog_bytes_max: usize,
}

impl<T: Tx, S> Outlet<'_, T, S> {
    /// The connection, if it is open, or its close frame stands among what it gets.
    #[inline]
    fn link(&mut self, id: ConnId, last: bool) -> Option<&mut Link> {
        let link = &mut self.sessions.get_mut(id)?.link;
        (last || link.connection.is_open()).then_some(link)
    }

    #[inline]
    fn check(&mut self, id: ConnId, waiting: usize) {
        if waiting > self.backlog_bytes_max {
            self.overflowed.push(id);
        }
    }
}

impl<T: Tx, S> Deliver for Outlet<'_, T, S> {
    #[inline]
    fn expect(&self, id: ConnId) {
        self.tx.expect(id);
        self.sessions.expect(id);
    }

    #[inline]
    fn shared(&mut self, id: ConnId, frames: &Bytes) -> bool {
        let Some(link) = self.link(id, false) else { return false };
        let waiting = if link.is(flag::DEFLATE) {
            self.shared_compressed(id, frames)
        } else {
            self.tx.send_shared(id, frames)
        };
        self.check(id, waiting);
        true
    }

    fn gathered<'b>(
        &mut self,
        id: ConnId,
        pieces: impl Iterator<Item = Piece<'b>>,
        last: bool,
    ) -> bool {
        let Some(link) = self.link(id, last) else { return false };
        let is_plain = !link.is(flag::DEFLATE);
        let mut block = self.tx.out(id);
        for piece in pieces {
            if is_plain || piece.as_it_is {
                block.extend_from_slice(piece.frames);
            } else {
                self.append_compressed(id, piece.frames, &mut block);
            }
        }
        let waiting = self.tx.flush(id, block);
        self.check(id, waiting);
        true
    }
}

impl<T: Tx, S> Outlet<'_, T, S> {
    /// The same bytes for all of a class, others for each that has a context.
    #[inline(never)]
    fn shared_compressed(&mut self, id: ConnId, frames: &Bytes) -> usize {
        let Some(session) = self.sessions.get_mut(id) else { return 0 };
        if let Some(compressed) = self.compressing.shared(&mut session.link, frames) {
            return self.tx.send_shared(id, &compressed);
        }
        let mut block = self.tx.out(id);
        self.compressing.frames(id, &mut session.link, frames, &mut block);
        self.tx.flush(id, block)
    }

    #[inline(never)]
    fn append_compressed(&mut self, id: ConnId, frames: &[u8], block: &mut Vec<u8>) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        match self.compressing.shared(&mut session.link, frames) {
            Some(compressed) => block.extend_from_slice(&compressed),
            None => self.compressing.frames(id, &mut session.link, frames, block),
        }
    }
}
