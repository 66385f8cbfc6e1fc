//! A coarse wheel: one entry for each connection, looked at when its time may have come.
//!
//! Nothing is moved when bytes arrive; that only writes down the tick. When the entry's time comes,
//! the connection is asked when it is really due, and enters the wheel again.

use std::time::{Duration, Instant};

use sockeye_driver::ConnId;

/// How fine time is.
pub(crate) const TICK_MS: u32 = 125;
const SLOTS: usize = 512;
/// Entries that a slot makes room for at a time.
const CHUNK: usize = 128;

/// A point in time, in ticks since the shard began. 17 years.
pub(crate) type Tick = u32;

/// The least number of ticks that lasts `ms`, at least one.
pub(crate) const fn ticks(ms: u32) -> Tick {
    let ticks = ms.div_ceil(TICK_MS);
    if ticks == 0 { 1 } else { ticks }
}

#[derive(Debug)]
pub(crate) struct Wheel {
    begun: Instant,
    /// Up to here entries have been handed out.
    now: Tick,
    /// In chunks of a fixed size: doubling would leave as much again in freed memory.
    slots: Vec<Vec<Vec<(Tick, ConnId)>>>,
    /// Bit n: slot n has entries.
    filled: [u64; SLOTS / 64],
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: now, now: 0, slots: vec![Vec::new(); SLOTS], filled: [0; SLOTS / 64] }
    }

    pub(crate) fn tick_at(&self, time: Instant) -> Tick {
        (time.saturating_duration_since(self.begun).as_millis() / u128::from(TICK_MS)) as Tick
    }

    /// Has `id` handed out at `tick` or soon after; one that is further away than the wheel is
    /// round comes early, to be asked again.
    pub(crate) fn insert(&mut self, id: ConnId, tick: Tick) -> Tick {
        let tick = tick.clamp(self.now + 1, self.now + SLOTS as Tick - 1);
        let slot = tick as usize % SLOTS;
        let chunks = &mut self.slots[slot];
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push((tick, id)),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push((tick, id));
                chunks.push(chunk);
            }
        }
        self.filled[slot / 64] |= 1 << (slot % 64);
        tick
    }

    /// When the next entry comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        let from = (self.now as usize + 1) % SLOTS;
        let words = self.filled.len();
        (0..=words).find_map(|n| {
            let word = (from / 64 + n) % words;
            // The first word counts from `from` on; it comes again last, for what lies before.
            let mask = if n == 0 { u64::MAX << (from % 64) } else { u64::MAX };
            let bits = self.filled[word] & mask;
            (bits != 0).then(|| {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (slot + SLOTS - from) % SLOTS + 1;
                let tick = u64::from(self.now) + ahead as u64;
                self.begun + Duration::from_millis(tick * u64::from(TICK_MS))
            })
        })
    }

    #[cfg(feature = "sim")]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().map(Vec::len).sum()
    }

    /// Moves the time on and hands out what is due, with the tick that [`insert`](Self::insert)
    /// returned for it.
    pub(crate) fn advance(&mut self, now: Tick, due: &mut Vec<(Tick, ConnId)>) {
        // After a long sleep once round is enough: every slot is passed.
        let steps = now.saturating_sub(self.now).min(SLOTS as Tick);
        for step in 1..=steps {
            let slot = (self.now + step) as usize % SLOTS;
            if self.filled[slot / 64] & 1 << (slot % 64) != 0 {
                self.filled[slot / 64] &= !(1 << (slot % 64));
                // The memory goes back: a burst of connections must not leave 512 large slots.
                due.extend(std::mem::take(&mut self.slots[slot]).into_iter().flatten());
            }
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> ConnId {
        ConnId::from_bits(n)
    }

    fn at(wheel: &Wheel, tick: Tick) -> Instant {
        wheel.begun + Duration::from_millis(u64::from(tick * TICK_MS))
    }

    #[test]
    fn entries_come_when_due_and_once() {
        for start in [0, 1, 62, 63, 64, 511, 512, 700, 5_000] {
            for ahead in [1, 2, 63, 64, 65, 200, 510, 511] {
                let mut wheel = Wheel::new(Instant::now());
                let mut due = Vec::new();
                wheel.advance(start, &mut due);
                assert_eq!(wheel.next(), None);
                let tick = wheel.insert(id(7), start + ahead);
                assert_eq!(tick, start + ahead);
                assert_eq!(wheel.next(), Some(at(&wheel, tick)), "{start} {ahead}");
                wheel.advance(tick - 1, &mut due);
                assert_eq!(due, []);
                wheel.advance(tick, &mut due);
                assert_eq!(due, [(tick, id(7))]);
                wheel.advance(tick + 2_000, &mut due);
                assert_eq!(due.len(), 1);
            }
        }
    }

    #[test]
    fn the_earliest_entry_is_the_next() {
        let mut wheel = Wheel::new(Instant::now());
        wheel.advance(500, &mut Vec::new());
        for ahead in [300, 40, 505, 41] {
            wheel.insert(id(1), 500 + ahead);
        }
        assert_eq!(wheel.next(), Some(at(&wheel, 540)));
    }

    #[test]
    fn far_entries_come_early_and_past_ones_at_once() {
        let mut wheel = Wheel::new(Instant::now());
        assert_eq!(wheel.insert(id(1), 1_000_000), 511);
        assert_eq!(wheel.insert(id(2), 0), 1);
    }

    #[test]
    fn a_long_sleep_hands_out_everything() {
        let mut wheel = Wheel::new(Instant::now());
        for n in 1..512 {
            wheel.insert(id(u64::from(n)), n);
        }
        let mut due = Vec::new();
        wheel.advance(100_000, &mut due);
        assert_eq!(due.len(), 511);
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.insert(id(3), 100_010), 100_010);
        wheel.advance(100_010, &mut due);
        assert_eq!(due.len(), 512);
    }

    #[test]
    fn times_round_up() {
        assert_eq!((ticks(0), ticks(1), ticks(125), ticks(126), ticks(10_000)), (1, 1, 1, 2, 80));
    }
}
