//! A message that is inflated and handed out while it arrives (streaming mode). Messages of other
//! connections may come between its pieces, so it has an inflater of its own.

use std::sync::Arc;

use zlib_rs::Inflate;

use super::Counts;
use super::inflater::{Step, end, restart_behind, step};
use super::window::Window;
use crate::error::ProtocolError;
use crate::message::{Chunk, DataKind};
use crate::utf8::Utf8Stream;

/// The most that is handed out at a time.
const PIECE_BYTES: usize = 16 << 10;
const STREAMS_MAX: usize = 1_024;

/// What all of a loop's streams share.
pub(super) struct Streaming {
    piece: Vec<u8>,
    message_bytes_max: u64,
    /// Each stream holds one clone: so many are under way.
    pub(super) out: Arc<()>,
    pub(super) streams_max: usize,
    pub(super) counts: Counts,
}

impl Streaming {
    pub(super) fn new(message_bytes_max: u64) -> Self {
        Self {
            piece: Vec::new(),
            message_bytes_max,
            out: Arc::default(),
            streams_max: STREAMS_MAX,
            counts: Counts::default(),
        }
    }
}

/// One message under way.
pub(super) struct Stream {
    zlib: Inflate,
    kind: DataKind,
    utf8: Utf8Stream,
    bytes_in: usize,
    bytes_out: u64,
    final_blocks: u32,
    /// A piece was handed out.
    begun: bool,
    /// The last thing that came out was the end of a block with BFINAL.
    ended: bool,
    /// There may be more to come out than there was room for.
    full: bool,
    _out: Arc<()>,
}

impl Stream {
    pub(super) fn new(zlib: Inflate, kind: DataKind, out: Arc<()>) -> Self {
        Self {
            zlib,
            kind,
            utf8: Utf8Stream::default(),
            bytes_in: 0,
            bytes_out: 0,
            final_blocks: 0,
            begun: false,
            ended: false,
            full: false,
            _out: out,
        }
    }

    /// The next piece; `None`: the chunk is used up.
    pub(super) fn next<'s>(
        &mut self,
        shared: &'s mut Streaming,
        window: &mut Window,
        chunk: &mut Chunk<'_>,
    ) -> Result<Option<Chunk<'s>>, ProtocolError> {
        shared.piece.resize(PIECE_BYTES, 0);
        let mut len = 0;
        while len < PIECE_BYTES && (self.full || !chunk.payload.is_empty()) {
            len += self.step(shared, len, window, chunk)?;
        }
        let is_used_up = !self.full && chunk.payload.is_empty();
        let last = is_used_up && chunk.last;
        if last && !self.ended {
            end(&mut self.zlib).ok_or(ProtocolError::InvalidDeflate)?;
        }
        let payload = &shared.piece[..len];
        if self.kind == DataKind::Text {
            self.utf8.push(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
            if last {
                self.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
            }
        }
        if last {
            let Counts { messages, bytes_in, bytes_out } = &mut shared.counts;
            *messages += 1;
            *bytes_in += self.bytes_in as u64;
            *bytes_out += self.bytes_out;
        } else if len == 0 {
            return Ok(None);
        }
        let first = !std::mem::replace(&mut self.begun, true);
        Ok(Some(Chunk { kind: self.kind, payload, first, last }))
    }

    /// Inflates into the piece, behind what is there.
    fn step(
        &mut self,
        shared: &mut Streaming,
        from: usize,
        window: &mut Window,
        chunk: &mut Chunk<'_>,
    ) -> Result<usize, ProtocolError> {
        if self.ended {
            restart_behind(&mut self.zlib, window, &[], self.final_blocks)?;
            self.ended = false;
        }
        let left = shared.message_bytes_max - self.bytes_out;
        let to = (from as u64).saturating_add(left).min(PIECE_BYTES as u64) as usize;
        let mut beyond = [0];
        let room = if left == 0 { &mut beyond[..] } else { &mut shared.piece[from..to] };
        let before = chunk.payload.len();
        let (step, written) = step(&mut self.zlib, &mut chunk.payload, room)?;
        if left == 0 && written > 0 {
            return Err(ProtocolError::MessageTooLarge);
        }
        self.bytes_in += before - chunk.payload.len();
        self.bytes_out += written as u64;
        window.push(&shared.piece[from..from + written]);
        self.full = step == Step::Full;
        self.ended = step == Step::FinalBlock;
        self.final_blocks += u32::from(self.ended);
        Ok(written)
    }
}
