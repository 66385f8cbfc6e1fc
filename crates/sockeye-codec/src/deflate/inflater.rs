//! Messages in. One inflater serves all connections of a loop: what one of them may refer to is
//! set before its message, unless the inflater still has it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zlib_rs::{Inflate, InflateFlush, Status};

use super::Counts;
use super::stream::{Stream, Streaming};
use super::window::Window;
use crate::arch::{Growing, Text};
use crate::codec::Limits;
use crate::error::ProtocolError;
use crate::mask::MaskingKey;
use crate::message::{DataKind, Message};

/// What is made room for at first, at least.
const ROOM_BYTES_MIN: usize = 4 << 10;
/// Blocks with BFINAL in one message. Each makes us set the window anew, which is 32 KiB to copy
/// for as little as two bytes of input.
const FINAL_BLOCKS_MAX: u32 = 256;
/// Larger windows than were agreed on do no harm, and `Inflate::reset` makes one of this size.
const WINDOW_BITS: u8 = 15;
/// What is exclusive-ored with it stays as it is.
const NO_KEY: MaskingKey = [0; 4];

/// When an inflater was used; no two are the same, whichever inflater it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn {
    inflater: u64,
    count: u64,
}

/// What all connections of a loop inflate with. Its memory, 48 KiB and the largest message of late,
/// is allocated when the first compressed message comes.
pub struct Inflater {
    zlib: Option<Box<Inflate>>,
    /// Whose window it has: of the connection that was told so.
    turn: Turn,
    message_bytes_max: usize,
    spare_bytes_max: usize,
    text: Text,
    binary: Growing,
    streaming: Streaming,
    counts: Counts,
}

impl Inflater {
    /// With these limits.
    pub fn new(limits: &Limits) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let message_bytes_max = usize::try_from(limits.message_bytes_max).unwrap_or(usize::MAX);
        Self {
            zlib: None,
            turn: Turn { inflater: NUMBER.fetch_add(1, Ordering::Relaxed), count: 0 },
            message_bytes_max,
            spare_bytes_max: limits.spare_bytes_max,
            text: Text::default(),
            binary: Growing::default(),
            streaming: Streaming::new(limits.message_bytes_max),
            counts: Counts::default(),
        }
    }

    /// How many messages may be under way at once in streaming mode, each with an inflater of its
    /// own of 48 KiB (default 1,024).
    #[must_use]
    pub const fn streams_max(mut self, streams_max: usize) -> Self {
        self.streaming.streams_max = streams_max;
        self
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        let streamed = &self.streaming.counts;
        Counts {
            messages: self.counts.messages + streamed.messages,
            bytes_in: self.counts.bytes_in + streamed.bytes_in,
            bytes_out: self.counts.bytes_out + streamed.bytes_out,
        }
    }

    /// Bytes of its buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.text.buffer().capacity() + self.binary.capacity()
    }

    /// Frees buffers that have grown beyond
    /// [`spare_bytes_max`](crate::Limits::spare_bytes_max): for when nothing goes on.
    pub fn trim(&mut self) {
        if self.buffer_bytes() > self.spare_bytes_max {
            (self.text, self.binary) = (Text::default(), Growing::default());
        }
    }

    pub(super) fn message(
        &mut self,
        window: Option<(&mut Window, &mut Turn)>,
        kind: DataKind,
        payload: &[u8],
    ) -> Result<Message<'_>, ProtocolError> {
        self.trim();
        self.text.clear();
        self.binary.clear();
        let mut zlib = self.zlib.take().unwrap_or_else(|| Box::new(new_zlib()));
        let kept = match &window {
            Some((window, turn)) if **turn != self.turn => Some(&**window),
            Some(_) => None,
            None => Some(&const { Window::new(0) }),
        };
        // Until all has gone well nobody's window is in it.
        self.turn.count += 1;
        let ready = kept.is_none_or(|window| restart(&mut zlib, window, &[]).is_some());
        let end = match ready {
            true => {
                let empty = &const { Window::new(0) };
                let window = window.as_ref().map_or(empty, |(window, _)| window);
                self.inflate(&mut zlib, window, kind, payload)
            }
            false => Err(ProtocolError::InvalidDeflate),
        };
        self.zlib = Some(zlib);
        let end = end?;
        let message = match kind {
            DataKind::Text => {
                Message::Text(self.text.finish().map_err(|_| ProtocolError::InvalidUtf8)?)
            }
            DataKind::Binary => Message::Binary(self.binary.as_bytes()),
        };
        if let Some((window, turn)) = window {
            window.push(message.as_bytes());
            if end == End::Boundary {
                *turn = self.turn;
            }
        }
        self.counts.add(payload.len(), message.len());
        Ok(message)
    }

    fn inflate(
        &mut self,
        zlib: &mut Inflate,
        window: &Window,
        kind: DataKind,
        mut payload: &[u8],
    ) -> Result<End, ProtocolError> {
        let room_bytes_min = ROOM_BYTES_MIN.max(payload.len().saturating_mul(2));
        let mut final_blocks = 0;
        loop {
            let step = self.step(zlib, kind, &mut payload, room_bytes_min)?;
            match step {
                Step::Full => {}
                Step::Drained => return end(zlib).ok_or(ProtocolError::InvalidDeflate),
                Step::FinalBlock => {
                    final_blocks += 1;
                    if payload.is_empty() {
                        return Ok(End::FinalBlock);
                    }
                    let output = match kind {
                        DataKind::Text => self.text.buffer(),
                        DataKind::Binary => &self.binary,
                    };
                    restart_behind(zlib, window, output.as_bytes(), final_blocks)?;
                }
            }
        }
    }

    /// Inflates as much as there is room for, and makes room only for what may come.
    fn step(
        &mut self,
        zlib: &mut Inflate,
        kind: DataKind,
        payload: &mut &[u8],
        room_bytes_min: usize,
    ) -> Result<Step, ProtocolError> {
        let buffer = match kind {
            DataKind::Text => self.text.buffer(),
            DataKind::Binary => &self.binary,
        };
        let (len, spare) = (buffer.len(), buffer.capacity() - buffer.len());
        let left = self.message_bytes_max - len;
        if left == 0 {
            // It must end here: a byte that comes is one too many.
            return match step(zlib, payload, &mut [0])? {
                (_, 1) => Err(ProtocolError::MessageTooLarge),
                (step, _) => Ok(step),
            };
        }
        let most = if spare > 0 { spare } else { len.max(room_bytes_min) };
        let room_len = most.min(left);
        match kind {
            DataKind::Text => {
                let (step, written) = step(zlib, payload, self.text.room(room_len))?;
                let landed = self.text.push_room(written, NO_KEY);
                landed.map_err(|_| ProtocolError::InvalidUtf8)?;
                Ok(step)
            }
            DataKind::Binary => {
                let (step, written) = step(zlib, payload, self.binary.room(room_len))?;
                self.binary.keep_room(written);
                Ok(step)
            }
        }
    }

    /// A message comes that is handed out in pieces.
    pub(super) fn begin_stream(
        &self,
        kind: DataKind,
        window: &Window,
    ) -> Result<Box<Stream>, ProtocolError> {
        // One more than are out: the inflater's own.
        if Arc::strong_count(&self.streaming.out) > self.streaming.streams_max {
            return Err(ProtocolError::TooManyInflaters);
        }
        let mut zlib = new_zlib();
        window.lend_to(&mut zlib).ok_or(ProtocolError::InvalidDeflate)?;
        Ok(Box::new(Stream::new(zlib, kind, Arc::clone(&self.streaming.out))))
    }

    pub(super) const fn streaming(&mut self) -> &mut Streaming {
        &mut self.streaming
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("buffer_bytes", &self.buffer_bytes())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

fn new_zlib() -> Inflate {
    Inflate::new(false, WINDOW_BITS)
}

/// Why an inflater came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The room is full.
    Full,
    /// The input is used up and all that it holds has come out.
    Drained,
    /// A block with BFINAL has ended.
    FinalBlock,
}

/// Inflates into the room, which is not empty: why it stopped, and how much has come out.
pub(super) fn step(
    zlib: &mut Inflate,
    payload: &mut &[u8],
    room: &mut [u8],
) -> Result<(Step, usize), ProtocolError> {
    let before = (zlib.total_in(), zlib.total_out());
    let status = zlib.decompress(payload, room, InflateFlush::NoFlush);
    let status = status.map_err(|_| ProtocolError::InvalidDeflate)?;
    let taken = (zlib.total_in() - before.0) as usize;
    let written = (zlib.total_out() - before.1) as usize;
    *payload = &payload[taken..];
    match status {
        Status::StreamEnd => Ok((Step::FinalBlock, written)),
        _ if written == room.len() => Ok((Step::Full, written)),
        _ if payload.is_empty() => Ok((Step::Drained, written)),
        // With input and room there is no reason to stop.
        _ => Err(ProtocolError::InvalidDeflate),
    }
}

/// How a message has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The inflater can go on with the next message.
    Boundary,
    /// It has to be restarted.
    FinalBlock,
}

/// Puts back the four bytes that the sender has taken off the end (section 7.2.2) and checks that
/// the message ends with them: a payload that was cut off, or that goes on, would else pass.
///
/// An empty block stands behind them here. With `InflateFlush::Block` an inflater stops behind each
/// block, so that one that has taken just so much is between two blocks, and between two bytes.
pub(super) fn end(zlib: &mut Inflate) -> Option<End> {
    const EMPTY_BLOCKS: [u8; 10] = [0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00];
    let (mut at, mut none) = (0, [0]);
    for len in [4, 5] {
        let before = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress(&EMPTY_BLOCKS[at..], &mut none, InflateFlush::Block).ok()?;
        let taken = zlib.total_in() - before.0;
        if zlib.total_out() != before.1 {
            return None;
        }
        match status {
            // The empty block that the sender has cut was itself one with BFINAL.
            Status::StreamEnd if at == 4 && taken == 0 => return Some(End::FinalBlock),
            Status::Ok if taken == len => at += taken as usize,
            _ => return None,
        }
    }
    Some(End::Boundary)
}

/// Section 7.2.3.4: blocks may follow one with BFINAL, and refer to what stands before it.
pub(super) fn restart_behind(
    zlib: &mut Inflate,
    window: &Window,
    output: &[u8],
    final_blocks: u32,
) -> Result<(), ProtocolError> {
    if final_blocks > FINAL_BLOCKS_MAX {
        return Err(ProtocolError::TooManyFinalBlocks);
    }
    restart(zlib, window, output).ok_or(ProtocolError::InvalidDeflate)
}

fn restart(zlib: &mut Inflate, window: &Window, output: &[u8]) -> Option<()> {
    const WINDOW_BYTES: usize = 1 << WINDOW_BITS;
    zlib.reset(false);
    if output.len() < WINDOW_BYTES {
        window.lend_to(zlib)?;
    }
    let output = &output[output.len().saturating_sub(WINDOW_BYTES)..];
    if !output.is_empty() {
        zlib.set_dictionary(output).ok()?;
    }
    Some(())
}
