//! Messages that have left and wait for their answers. A server answers a connection in order, so
//! the next answer is that to the oldest.

use std::collections::VecDeque;

/// A message under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) due_ns: u64,
    pub(crate) sent_ns: u64,
    /// Of its content; 0 where nothing is verified.
    pub(crate) hash: u64,
    pub(crate) len: u32,
    pub(crate) is_text: bool,
}

/// All of a connection, oldest first. The first is kept in place: most connections have no more
/// under way, and idle ones none.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    first: Option<Flight>,
    #[expect(clippy::box_collection, reason = "a pointer for the many that have no more")]
    more: Option<Box<VecDeque<Flight>>>,
}

impl Flights {
    #[inline]
    pub(crate) fn push(&mut self, flight: Flight) {
        if self.first.is_none() {
            self.first = Some(flight);
        } else {
            self.more.get_or_insert_default().push_back(flight);
        }
    }

    /// The oldest.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Flight> {
        let next = self.more.as_mut().and_then(|more| more.pop_front());
        std::mem::replace(&mut self.first, next)
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let flight = |sent_ns| Flight { sent_ns, ..Flight::default() };
        let (mut flights, mut expected) = (Flights::default(), VecDeque::new());
        for n in 0..1000_u64 {
            flights.push(flight(n));
            expected.push_back(n);
            for _ in 0..n % 3 {
                assert_eq!(flights.pop().map(|flight| flight.sent_ns), expected.pop_front());
            }
            assert_eq!(flights.len(), expected.len());
        }
        while let Some(n) = expected.pop_front() {
            assert_eq!(flights.pop(), Some(flight(n)));
        }
        assert_eq!((flights.pop(), flights.len()), (None, 0));
    }

    #[test]
    fn an_idle_connection_has_little() {
        assert!(size_of::<Flights>() <= 40);
    }
}
