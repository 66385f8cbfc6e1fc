//! Messages out. Connections for which no context is kept share one compressor for each size of
//! window, and what is compressed for one of them is good for all of the same size.

use std::fmt;

use zlib_rs::{Deflate as Zlib, DeflateConfig as ZlibConfig, DeflateFlush, Status, Strategy};

use super::{Counts, DeflateConfig, each_frame};
use crate::encode;
use crate::mask::MaskingKey;
use crate::message::{DataKind, Message};

/// A flush ends with these, which the sender takes off and the receiver puts back (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
const WINDOW_BITS_MIN: u8 = 8;
const WINDOW_SIZES: usize = 8;
/// The scratch space of a larger message is not kept.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;
const SCRATCH_BYTES_MIN: usize = 4 << 10;

/// The context of one connection: what it was sent.
pub(super) type Context = Box<Zlib>;

/// Connections that can be sent the same compressed bytes: those for which no context is kept and
/// whose windows have the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(u8);

impl Class {
    pub(super) const fn new(window_bits: u8) -> Self {
        Self(window_bits)
    }

    /// From 0, below [`Class::COUNT`].
    pub const fn index(self) -> usize {
        (self.0 - WINDOW_BITS_MIN) as usize
    }

    /// How many there are.
    pub const COUNT: usize = WINDOW_SIZES;
}

/// What all connections of a loop compress with. A compressor's memory, up to 270 KiB, is allocated
/// when the first message of its class leaves.
pub struct Compressor {
    config: DeflateConfig,
    bytes_min: usize,
    shared: [Option<Box<Zlib>>; WINDOW_SIZES],
    /// `scratch[..]` is written before it is read.
    scratch: Vec<u8>,
    counts: Counts,
}

impl Compressor {
    /// With the levels of these settings; numbers that are not allowed are moved to the nearest
    /// that is.
    pub fn new(config: &DeflateConfig) -> Self {
        Self {
            config: config.clamped(),
            bytes_min: config.compress_bytes_min.max(1),
            shared: Default::default(),
            scratch: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What it has done: messages that left as they were, for being too short, are not counted,
    /// those that it could not make smaller are.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Appends a message for the connections of a class; one that does not get smaller, or is too
    /// short, as it is.
    pub fn encode(
        &mut self,
        class: Class,
        message: Message<'_>,
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) {
        self.payload(class, message.kind(), message.as_bytes(), masking_key, out);
    }

    /// Appends frames that a server has encoded before, one behind the other, for the connections
    /// of a class: messages as [`encode`](Self::encode) does, all others as they are.
    pub fn encode_frames(&mut self, class: Class, frames: &[u8], out: &mut Vec<u8>) {
        each_frame(frames, out, |kind, payload, out| self.payload(class, kind, payload, None, out));
    }

    fn payload(
        &mut self,
        class: Class,
        kind: DataKind,
        payload: &[u8],
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) {
        if self.is_worth_it(payload) {
            let shared = &mut self.shared[class.index()];
            let zlib = shared.get_or_insert_with(|| new_zlib(&self.config, class.0));
            zlib.reset();
            match deflate(zlib, payload, &mut self.scratch) {
                Some(len) if len < payload.len() => {
                    encode::compressed(out, kind, &self.scratch[..len], masking_key);
                    return self.count(payload.len(), len);
                }
                Some(_) => self.count(payload.len(), payload.len()),
                None => *shared = None,
            }
        }
        encode::frame(out, true, kind.opcode(), payload, masking_key);
    }

    /// Appends a message behind those that this context has seen. What the context has seen must
    /// leave compressed: the peer's window would else be another.
    pub(super) fn payload_in_context(
        &mut self,
        context: &mut Option<Context>,
        window_bits: u8,
        kind: DataKind,
        payload: &[u8],
        masking_key: Option<MaskingKey>,
        out: &mut Vec<u8>,
    ) {
        if self.is_worth_it(payload) {
            let zlib = context.get_or_insert_with(|| new_zlib(&self.config, window_bits));
            if let Some(len) = deflate(zlib, payload, &mut self.scratch) {
                encode::compressed(out, kind, &self.scratch[..len], masking_key);
                return self.count(payload.len(), len);
            }
            *context = None;
        }
        encode::frame(out, true, kind.opcode(), payload, masking_key);
    }

    /// An empty message never is: compressed it has a byte.
    const fn is_worth_it(&self, payload: &[u8]) -> bool {
        payload.len() >= self.bytes_min
    }

    fn count(&mut self, bytes_in: usize, bytes_out: usize) {
        self.counts.add(bytes_in, bytes_out);
        if self.scratch.len() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("config", &self.config)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn new_zlib(config: &DeflateConfig, window_bits: u8) -> Box<Zlib> {
    // zlib makes no raw compressor with a window of 256 bytes. One that looks back no further than
    // one byte can be followed with every window.
    let strategy = if window_bits == 8 { Strategy::Rle } else { Strategy::Default };
    Box::new(Zlib::new_with_config(ZlibConfig {
        level: config.level.into(),
        window_bits: -i32::from(window_bits.max(9)),
        mem_level: config.memory_level.into(),
        strategy,
        ..ZlibConfig::default()
    }))
}

/// Compresses and flushes into the scratch space: how many bytes it is without the tail. `None`
/// would be a fault of the compressor, which must not be used any more.
fn deflate(zlib: &mut Zlib, mut payload: &[u8], scratch: &mut Vec<u8>) -> Option<usize> {
    let mut len = 0;
    loop {
        // Room for the end of the flush, or it would be begun a second time.
        if scratch.len() - len < 16 {
            let more = scratch.len().max(payload.len() / 2).max(SCRATCH_BYTES_MIN);
            scratch.resize(scratch.len() + more, 0);
        }
        let before = (zlib.total_in(), zlib.total_out());
        let room = &mut scratch[len..];
        let room_len = room.len();
        let status = zlib.compress(payload, room, DeflateFlush::SyncFlush).ok()?;
        let taken = (zlib.total_in() - before.0) as usize;
        let written = (zlib.total_out() - before.1) as usize;
        payload = &payload[taken..];
        len += written;
        if payload.is_empty() && written < room_len {
            return scratch[..len].ends_with(&TAIL).then(|| len - TAIL.len());
        }
        if status != Status::Ok || taken + written == 0 {
            return None;
        }
    }
}
