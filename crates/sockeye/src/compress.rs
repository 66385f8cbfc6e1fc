//! permessage-deflate on a shard: one compressor and one inflater for all of its connections, and
//! for each connection that has agreed on it what it needs beside its link.
//!
//! What is published, or sent from elsewhere, is written down as it is and compressed when it is
//! delivered: once for all connections of a class (the same window, no context), for each of those
//! that have a context, behind its other bytes.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use sockeye_codec::deflate::{Class, Compressor, Deflate, Inflater, Params};
use sockeye_codec::{Chunk, DataKind, Message, ProtocolError, Role};
use sockeye_driver::{ConnId, Tx};

use crate::config::Config;
use crate::ctx::Ctx;
use crate::deliveries::Deliveries;
use crate::error::{Closed, Sent};
use crate::handler::Handler;
use crate::session::{Call, Link, flag};
use crate::timers::Tick;

/// Compressed bytes that are kept for the other connections of their class while a turn is
/// delivered; one publication may be more.
const SHARED_BYTES_MAX: usize = 16 << 20;
/// The scratch space of larger bytes is not kept.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;

/// permessage-deflate of one connection.
#[derive(Debug)]
pub(crate) struct Compression {
    deflate: Deflate,
    /// When its context was used last.
    used_tick: Tick,
}

impl Link {
    /// The connection has agreed on compression.
    pub(crate) fn start_compression(&mut self, params: &Params) {
        let deflate = Deflate::new(params, Role::Server);
        let compression = Box::new(Compression { deflate, used_tick: 0 });
        self.aside.get_or_insert_default().compression = Some(compression);
        self.set(flag::DEFLATE);
    }

    fn compression(&mut self) -> Option<&mut Compression> {
        self.aside.as_mut()?.compression.as_deref_mut()
    }

    /// Since when its context has not been used, if it has one.
    pub(crate) fn context_tick(&self) -> Option<Tick> {
        let Compression { deflate, used_tick } = self.aside.as_ref()?.compression.as_deref()?;
        deflate.has_context().then_some(*used_tick)
    }

    pub(crate) fn park_context(&mut self) {
        if let Some(compression) = self.compression() {
            compression.deflate.park();
        }
    }
}

/// What compresses for all connections of a shard.
#[derive(Debug)]
pub(crate) struct Compressing {
    compressor: Compressor,
    /// The tick of this turn.
    pub(crate) now: Tick,
    /// Connections that have begun a context in this turn.
    pub(crate) contexts: Vec<ConnId>,
    /// By class, and where the frames stand.
    shared: HashMap<(Class, usize, usize), Bytes>,
    shared_bytes: usize,
    block: BytesMut,
    scratch: Vec<u8>,
}

impl Compressing {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            compressor: Compressor::new(&config.deflate.unwrap_or_default()),
            now: 0,
            contexts: Vec::new(),
            shared: HashMap::new(),
            shared_bytes: 0,
            block: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) const fn compressor(&self) -> &Compressor {
        &self.compressor
    }

    /// Appends a message, for now: what follows it on the wire must be appended after it.
    pub(crate) fn message(
        &mut self,
        id: ConnId,
        link: &mut Link,
        message: Message<'_>,
        out: &mut Vec<u8>,
    ) {
        self.with(id, link, |deflate, compressor| deflate.encode(compressor, message, None, out));
    }

    /// Appends frames that were encoded before.
    pub(crate) fn frames(&mut self, id: ConnId, link: &mut Link, frames: &[u8], out: &mut Vec<u8>) {
        self.with(id, link, |deflate, compressor| deflate.encode_frames(compressor, frames, out));
    }

    fn with(
        &mut self,
        id: ConnId,
        link: &mut Link,
        encode: impl FnOnce(&mut Deflate, &mut Compressor),
    ) {
        // Flagged, so it is there as long as anything is sent.
        let Some(Compression { deflate, used_tick }) = link.compression() else { return };
        let had_context = deflate.has_context();
        encode(deflate, &mut self.compressor);
        *used_tick = self.now;
        if deflate.has_context() && !had_context {
            self.contexts.push(id);
        }
    }

    /// Frames that others get too, compressed once for each class until [`forget`](Self::forget).
    /// `None`: this connection has a context of its own.
    pub(crate) fn shared(&mut self, link: &mut Link, frames: &[u8]) -> Option<Bytes> {
        let class = link.compression()?.deflate.class()?;
        let key = (class, frames.as_ptr().addr(), frames.len());
        if let Some(known) = self.shared.get(&key) {
            return Some(known.clone());
        }
        self.scratch.clear();
        self.compressor.encode_frames(class, frames, &mut self.scratch);
        self.block.extend_from_slice(&self.scratch);
        let compressed = self.block.split().freeze();
        if self.shared_bytes + compressed.len() > SHARED_BYTES_MAX {
            self.forget();
        }
        self.shared_bytes += compressed.len();
        self.shared.insert(key, compressed.clone());
        Some(compressed)
    }

    /// The frames that were delivered are no more: their places will hold others.
    pub(crate) fn forget(&mut self) {
        if self.shared_bytes > 0 {
            self.shared.clear();
            self.shared_bytes = 0;
        }
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            (self.scratch, self.block) = (Vec::new(), BytesMut::new());
        }
    }
}

impl<H: Handler> Ctx<'_, H> {
    #[inline(never)]
    pub(crate) fn send_compressed(&mut self, message: Message<'_>) -> Sent {
        if self.is_behind_deliveries() {
            let sent = self.divert(|| message.len());
            return sent.unwrap_or_else(|| self.send_behind(message, Deliveries::send_to));
        }
        self.append_compressed(|compressing, id, link, out| {
            compressing.message(id, link, message, out);
        })
    }

    #[inline(never)]
    pub(crate) fn send_prepared_compressed(&mut self, frame: &[u8]) -> Sent {
        self.append_compressed(|compressing, id, link, out| {
            compressing.frames(id, link, frame, out);
        })
    }

    /// How much a message will be is known once it is compressed.
    fn append_compressed(
        &mut self,
        append: impl FnOnce(&mut Compressing, ConnId, &mut Link, &mut Vec<u8>),
    ) -> Sent {
        if !self.link.connection.is_open() {
            return Sent::Closed;
        }
        let block_len = self.cork.block.len();
        append(&mut self.core.compressing, self.id, self.link, &mut self.cork.block);
        if self.cork.backlog_bytes > 0 && self.cork.waiting() > self.core.config.backlog_bytes_max {
            // Its context has seen what the peer will not: nothing but a close frame follows.
            self.cork.block.truncate(block_len);
            return self.overflow();
        }
        self.queued()
    }
}

impl<T: Tx, H: Handler> Call<'_, T, H> {
    /// A compressed message came in.
    #[inline(never)]
    pub(crate) fn inflate(
        &mut self,
        inflater: &mut Inflater,
        kind: DataKind,
        payload: &[u8],
    ) -> Option<Closed> {
        if !self.link.connection.is_open() {
            return None; // nothing is handed out any more
        }
        let inflated = match self.link.compression() {
            Some(compression) => compression.deflate.inflate(inflater, kind, payload),
            None => Err(ProtocolError::ReservedBits),
        };
        let message = match inflated {
            Ok(message) => message,
            Err(error) => return Some(self.fail(error)),
        };
        self.core.stats.messages_received += 1;
        let (handler, mut ctx) = self.ctx();
        handler.message(&mut ctx, message);
        None
    }

    /// A piece of one, in streaming mode.
    #[inline(never)]
    pub(crate) fn inflate_chunk(
        &mut self,
        inflater: &mut Inflater,
        mut chunk: Chunk<'_>,
    ) -> Option<Closed> {
        while self.link.connection.is_open() {
            let inflated = match self.link.compression() {
                Some(compression) => compression.deflate.inflate_chunk(inflater, &mut chunk),
                None => Err(ProtocolError::ReservedBits),
            };
            let piece = match inflated {
                Ok(Some(piece)) => piece,
                Ok(None) => return None,
                Err(error) => return Some(self.fail(error)),
            };
            self.core.stats.messages_received += 1;
            let (handler, mut ctx) = self.ctx();
            handler.chunk(&mut ctx, piece);
        }
        None
    }

    /// What the handler has answered to earlier pieces goes before the close frame.
    #[cold]
    fn fail(&mut self, error: ProtocolError) -> Closed {
        let close_at = self.cork.block.len();
        let error = self.link.connection.fail(error, None, &mut self.cork.block);
        self.failed(error, close_at)
    }
}

/// An inflater for the connections of a shard.
pub(crate) fn inflater(config: &Config) -> Inflater {
    Inflater::new(&config.limits()).streams_max(config.deflate_streams_max)
}
