//! One direction of a connection: bytes on their way, and bytes that have landed.

use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// `landed` bytes that can be read, then those of the segments.
    bytes: VecDeque<u8>,
    landed: usize,
    /// When they land, and how many; in order of time.
    segments: VecDeque<(Instant, usize)>,
    /// What it holds, on the way and landed.
    capacity: usize,
    /// When the FIN lands, which is behind all bytes.
    fin: Option<Instant>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn has_fin(&self) -> bool {
        self.fin.is_some()
    }

    /// Nothing overtakes what is on its way already.
    fn behind(&self, at: Instant) -> Instant {
        self.segments.back().map_or(at, |(last, _)| at.max(*last))
    }

    pub(super) fn push(&mut self, bytes: &[u8], at: Instant) {
        let at = self.behind(at);
        self.bytes.extend(bytes);
        self.segments.push_back((at, bytes.len()));
    }

    pub(super) fn push_fin(&mut self, at: Instant) {
        let at = self.behind(at);
        self.fin.get_or_insert(at);
    }

    pub(super) fn land(&mut self, now: Instant) {
        while let Some((at, len)) = self.segments.front()
            && *at <= now
        {
            self.landed += len;
            self.segments.pop_front();
        }
    }

    /// When there is, or was, something to read: bytes, or the FIN.
    pub(super) fn readable_at(&self, now: Instant) -> Option<Instant> {
        if self.landed > 0 {
            return Some(now);
        }
        self.segments.front().map(|(at, _)| *at).or(self.fin)
    }

    /// Bytes that have landed; `Some(0)` is the FIN, `None` says that there is nothing yet.
    pub(super) fn read(&mut self, into: &mut [u8], now: Instant) -> Option<usize> {
        self.land(now);
        if self.landed == 0 {
            let ended = self.segments.is_empty() && self.fin.is_some_and(|at| at <= now);
            return ended.then_some(0);
        }
        let len = into.len().min(self.landed);
        let (first, second) = self.bytes.as_slices();
        let from_first = len.min(first.len());
        into[..from_first].copy_from_slice(&first[..from_first]);
        into[from_first..len].copy_from_slice(&second[..len - from_first]);
        self.bytes.drain(..len);
        self.landed -= len;
        Some(len)
    }
}
