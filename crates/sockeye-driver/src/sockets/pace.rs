//! How long sends may wait to leave together: not behind much work for others.

use std::time::Instant;

/// What leaves together leaves within this time, as far as single events allow. An answer costs
/// some microseconds, and then nothing is cut short; a TLS handshake costs 100, and its peer has to
/// do as much before it can go on, so that both would wait for each other in turn.
const WAIT_MAX_NS: u64 = 200_000;
/// Events between two looks at the clock, at most: one costs some 25 ns.
const STRIDE_MAX: u64 = 16;
/// Events before the first look of a turn.
const FIRST_STRIDE_MAX: u64 = 4;

/// Says when the sends that a turn has deferred are to leave.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Events that fit the time, going by the last ones.
    stride: u64,
    /// Since the turn began, or sends left for having waited,
    since: Instant,
    /// so many events have been handled,
    events: u64,
    /// and after so many the clock is looked at.
    next_look: u64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let since = Instant::now();
        Self { stride: STRIDE_MAX, since, events: 0, next_look: FIRST_STRIDE_MAX }
    }

    /// A turn begins to handle events: nothing is deferred yet.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since = now;
        self.events = 0;
        self.next_look = self.stride.min(FIRST_STRIDE_MAX);
    }

    /// An event has been handled. Returns whether what is deferred is to leave now.
    #[inline]
    pub(crate) fn step(&mut self) -> bool {
        self.events += 1;
        self.events >= self.next_look && self.look(Instant::now())
    }

    #[inline(never)]
    fn look(&mut self, now: Instant) -> bool {
        let waited_ns = now.saturating_duration_since(self.since).as_nanos() as u64;
        let each_ns = (waited_ns / self.events).max(1);
        self.stride = (WAIT_MAX_NS / each_ns).clamp(1, STRIDE_MAX);
        let leaves = waited_ns + each_ns * self.stride > WAIT_MAX_NS;
        if leaves {
            self.since = now;
            self.events = 0;
        }
        self.next_look = self.events + self.stride;
        leaves
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// After how many events the clock is looked at, and whether sends leave then, with events that
    /// take so long each.
    fn looks(pace: &mut Pace, each: Duration, events: u64) -> Vec<(u64, bool)> {
        let mut now = Instant::now();
        let mut looks = Vec::new();
        pace.begin(now);
        for event in 1..=events {
            now += each;
            pace.events += 1;
            if pace.events >= pace.next_look {
                looks.push((event, pace.look(now)));
            }
        }
        looks
    }

    #[test]
    fn cheap_events_leave_together() {
        let looks = looks(&mut Pace::new(), Duration::from_micros(2), 100);
        assert_eq!(looks[..4], [(4, false), (20, false), (36, false), (52, false)]);
        // 200 us are 100 events: at 84 the next 16 just fit.
        let left: Vec<_> = looks.iter().filter(|(_, leaves)| *leaves).map(|(at, _)| *at).collect();
        assert_eq!(left, [100]);
    }

    #[test]
    fn dear_events_leave_one_by_one_and_the_next_turn_knows() {
        let mut pace = Pace::new();
        let dear = Duration::from_micros(130);
        assert_eq!(looks(&mut pace, dear, 6), [(4, true), (5, true), (6, true)]);
        assert_eq!(looks(&mut pace, dear, 2), [(1, true), (2, true)]);
        // Once they are cheap again, a few looks are enough to find out.
        let cheap = Duration::from_micros(1);
        assert_eq!(looks(&mut pace, cheap, 40), [(1, false), (17, false), (33, false)]);
    }

    #[test]
    fn events_that_take_no_time_are_as_cheap_as_can_be() {
        assert_eq!(looks(&mut Pace::new(), Duration::ZERO, 20), [(4, false), (20, false)]);
    }

    #[test]
    fn between_the_two_a_few_leave_together() {
        let looks = looks(&mut Pace::new(), Duration::from_micros(60), 12);
        assert_eq!(looks, [(4, true), (7, true), (10, true)]);
    }
}
