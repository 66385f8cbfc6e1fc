//! What a turn has for connections other than the one in hand: publications and targeted sends.
//!
//! They are written down in order while the turn lasts and delivered at its end, so that no
//! callback is entered twice and each connection gets all of it in one send. The frames stand one
//! behind the other in one block: where every subscriber gets the same, that block itself is sent.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use sockeye_driver::ConnId;

use crate::error::Refused;
use crate::topics::{TopicId, Topics};

/// The block of a turn that had more than this is not kept for the next one.
const FRAMES_BYTES_KEPT: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// All subscribers at the end of the turn.
    Topic {
        topic: TopicId,
        except: Option<ConnId>,
    },
    One(ConnId),
    /// The last frame of a connection: its close frame.
    OneLast(ConnId),
    /// Its receivers stand in `receivers` already.
    Settled,
}

#[derive(Debug)]
struct Entry {
    to: To,
    frames: Range<usize>,
    /// Not to be compressed.
    as_it_is: bool,
}

/// One piece of what a connection gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) frames: &'a [u8],
    /// Not to be compressed.
    pub(crate) as_it_is: bool,
}

/// One connection's share of the deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Receiver {
    id: ConnId,
    entry: u32,
}

#[derive(Debug)]
pub(crate) struct Deliveries {
    frames: BytesMut,
    entries: Vec<Entry>,
    receivers: Vec<Receiver>,
    /// Something is for one connection alone.
    targeted: bool,
    bytes_max: usize,
}

/// Bytes for one connection, in the order in which they were produced. The methods that send return
/// whether the connection is there and open.
pub(crate) trait Deliver {
    /// After the one in hand comes this one.
    fn expect(&self, id: ConnId);
    /// One send of bytes that others may get too.
    fn shared(&mut self, id: ConnId, frames: &Bytes) -> bool;
    /// One send of several pieces. `last`: a close frame stands at the end.
    fn gathered<'b>(
        &mut self,
        id: ConnId,
        pieces: impl Iterator<Item = Piece<'b>>,
        last: bool,
    ) -> bool;
}

impl Deliveries {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            frames: BytesMut::new(),
            entries: Vec::new(),
            receivers: Vec::new(),
            targeted: false,
            bytes_max,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether something may be waiting for a connection that never subscribed to anything.
    pub(crate) const fn has_targeted(&self) -> bool {
        self.targeted
    }

    /// Whether a frame of so many bytes can still be written down in this turn.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.frames.len() + len <= self.bytes_max
    }

    fn push(&mut self, to: To, frame: &[u8], as_it_is: bool) -> Result<(), Refused> {
        if !self.has_room(frame.len()) {
            return Err(Refused::Publications);
        }
        let begin = self.frames.len();
        self.frames.extend_from_slice(frame);
        self.entries.push(Entry { to, frames: begin..self.frames.len(), as_it_is });
        Ok(())
    }

    pub(crate) fn publish(
        &mut self,
        topic: TopicId,
        except: Option<ConnId>,
        frame: &[u8],
    ) -> Result<(), Refused> {
        self.push(To::Topic { topic, except }, frame, false)
    }

    pub(crate) fn send_to(&mut self, id: ConnId, frame: &[u8]) -> Result<(), Refused> {
        self.targeted = true;
        self.push(To::One(id), frame, false)
    }

    /// [`send_to`](Self::send_to), and not compressed whatever the connection has agreed on.
    pub(crate) fn send_as_it_is(&mut self, id: ConnId, frame: &[u8]) -> Result<(), Refused> {
        self.targeted = true;
        self.push(To::One(id), frame, true)
    }

    /// A close frame is not refused for want of room: it is small and the last.
    pub(crate) fn close(&mut self, id: ConnId, frame: &[u8]) {
        self.targeted = true;
        let begin = self.frames.len();
        self.frames.extend_from_slice(frame);
        let frames = begin..self.frames.len();
        self.entries.push(Entry { to: To::OneLast(id), frames, as_it_is: true });
    }

    /// The subscribers of a topic are about to change: what was published to it is for those of
    /// before.
    pub(crate) fn settle(&mut self, topic: TopicId, topics: &Topics) {
        for (n, entry) in self.entries.iter_mut().enumerate() {
            if let To::Topic { topic: of, except } = entry.to
                && of == topic
            {
                entry.to = To::Settled;
                let receivers = topics.subscribers(topic).iter().filter(|id| Some(**id) != except);
                self.receivers.extend(receivers.map(|id| Receiver { id: *id, entry: n as u32 }));
            }
        }
    }

    /// Delivers everything. Returns how many messages went to how many connections, multiplied.
    pub(crate) fn deliver(&mut self, topics: &Topics, to: &mut impl Deliver) -> usize {
        let Some(first) = self.entries.first() else { return 0 };
        let count = self.entries.len();
        let mut sent = 0;
        let frames = self.frames.split().freeze();
        if frames.len() > FRAMES_BYTES_KEPT {
            self.frames = BytesMut::new();
        }
        if let To::Topic { topic, except: None } = first.to
            && self.entries.iter().all(|entry| entry.to == first.to)
        {
            let subscribers = topics.subscribers(topic);
            for (at, id) in subscribers.iter().enumerate() {
                if let Some(next) = subscribers.get(at + 1) {
                    to.expect(*next);
                }
                sent += count * usize::from(to.shared(*id, &frames));
            }
        } else {
            sent = self.deliver_each(&frames, topics, to);
        }
        self.entries.clear();
        self.receivers.clear();
        self.targeted = false;
        sent
    }

    /// The general case: who gets what is sorted by connection, each one's in order.
    fn deliver_each(&mut self, frames: &Bytes, topics: &Topics, to: &mut impl Deliver) -> usize {
        for (n, entry) in self.entries.iter().enumerate() {
            let entry_number = n as u32;
            match entry.to {
                To::Topic { topic, except } => {
                    let receivers = topics.subscribers(topic).iter();
                    let receivers = receivers.filter(|id| Some(**id) != except);
                    self.receivers
                        .extend(receivers.map(|id| Receiver { id: *id, entry: entry_number }));
                }
                To::One(id) | To::OneLast(id) => {
                    self.receivers.push(Receiver { id, entry: entry_number });
                }
                To::Settled => {}
            }
        }
        self.receivers.sort_unstable();
        let mut sent = 0;
        let mut shares = self.receivers.chunk_by(|a, b| a.id == b.id).peekable();
        while let Some(share) = shares.next() {
            if let Some(next) = shares.peek() {
                to.expect(next[0].id);
            }
            let id = share[0].id;
            let entries = share.iter().map(|receiver| &self.entries[receiver.entry as usize]);
            let last = entries.clone().position(|entry| entry.to == To::OneLast(id));
            match share {
                [one] if !self.entries[one.entry as usize].as_it_is => {
                    for entry in entries {
                        sent += usize::from(to.shared(id, &frames.slice(entry.frames.clone())));
                    }
                }
                _ => {
                    let entries = entries.take(last.map_or(usize::MAX, |last| last + 1));
                    let pieces = entries.map(|entry| Piece {
                        frames: &frames[entry.frames.clone()],
                        as_it_is: entry.as_it_is,
                    });
                    let messages = last.unwrap_or(share.len());
                    sent += messages * usize::from(to.gathered(id, pieces, last.is_some()));
                }
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<(u64, String, bool)>);

    impl Deliver for Log {
        fn expect(&self, _id: ConnId) {}
        fn shared(&mut self, id: ConnId, frames: &Bytes) -> bool {
            let text = String::from_utf8(frames.to_vec()).unwrap();
            self.0.push((id.to_bits(), text, false));
            true
        }
        fn gathered<'b>(
            &mut self,
            id: ConnId,
            pieces: impl Iterator<Item = Piece<'b>>,
            last: bool,
        ) -> bool {
            let bytes = pieces.flat_map(|piece| piece.frames).copied().collect();
            let text = String::from_utf8(bytes).unwrap();
            self.0.push((id.to_bits(), text, last));
            true
        }
    }

    fn id(n: u64) -> ConnId {
        ConnId::from_bits(n)
    }

    fn delivered(deliveries: &mut Deliveries, topics: &Topics) -> Vec<(u64, String, bool)> {
        let mut log = Log::default();
        let sent = deliveries.deliver(topics, &mut log);
        // Each test's frame of a message is one byte.
        let bytes = log.0.iter().map(|row| row.1.trim_end_matches("CLOSE").len());
        assert_eq!(sent, bytes.sum(), "messages are counted, close frames are not");
        assert!(deliveries.is_empty());
        log.0.sort();
        log.0
    }

    fn row(id: u64, text: &str) -> (u64, String, bool) {
        (id, text.into(), false)
    }

    #[test]
    fn one_topic_is_one_block_for_all() {
        let (mut deliveries, mut topics) = (Deliveries::new(100), Topics::default());
        topics.subscribe("t", id(1));
        topics.subscribe("t", id(2));
        let topic = topics.find("t").unwrap();
        for frame in [b"a", b"b", b"c"] {
            deliveries.publish(topic, None, frame).unwrap();
        }
        assert_eq!(delivered(&mut deliveries, &topics), [row(1, "abc"), row(2, "abc")]);
        assert_eq!(delivered(&mut deliveries, &topics), []);
    }

    #[test]
    fn several_topics_keep_their_order() {
        let (mut deliveries, mut topics) = (Deliveries::new(100), Topics::default());
        for (name, n) in [("t", 1), ("t", 2), ("u", 2), ("u", 3)] {
            topics.subscribe(name, id(n));
        }
        let (t, u) = (topics.find("t").unwrap(), topics.find("u").unwrap());
        deliveries.publish(t, None, b"a").unwrap();
        deliveries.publish(u, None, b"b").unwrap();
        deliveries.send_to(id(2), b"c").unwrap();
        deliveries.publish(t, Some(id(1)), b"d").unwrap();
        assert!(deliveries.has_targeted());
        let expected = [row(1, "a"), row(2, "abcd"), row(3, "b")];
        assert_eq!(delivered(&mut deliveries, &topics), expected);
    }

    #[test]
    fn who_subscribes_after_a_publication_does_not_get_it() {
        let (mut deliveries, mut topics) = (Deliveries::new(100), Topics::default());
        topics.subscribe("t", id(1));
        let topic = topics.find("t").unwrap();
        deliveries.publish(topic, None, b"a").unwrap();
        deliveries.settle(topic, &topics);
        topics.subscribe("t", id(2));
        deliveries.publish(topic, None, b"b").unwrap();
        deliveries.settle(topic, &topics);
        topics.unsubscribe(topic, id(1));
        deliveries.publish(topic, None, b"c").unwrap();
        let expected = [row(1, "ab"), row(2, "bc")];
        assert_eq!(delivered(&mut deliveries, &topics), expected);
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let (mut deliveries, mut topics) = (Deliveries::new(2), Topics::default());
        topics.subscribe("t", id(1));
        let topic = topics.find("t").unwrap();
        deliveries.publish(topic, None, b"a").unwrap();
        deliveries.close(id(1), b"CLOSE");
        assert_eq!(deliveries.publish(topic, None, b"b"), Err(Refused::Publications));
        let expected = [(1, "aCLOSE".into(), true)];
        assert_eq!(delivered(&mut deliveries, &topics), expected);
        deliveries.close(id(1), b"CLOSE");
        let expected = [(1, "CLOSE".into(), true)];
        assert_eq!(delivered(&mut deliveries, &topics), expected);
    }
}
