//! Topics and who subscribes to them, on one shard. No IO here; encoded messages meet subscribers
//! in `deliveries.rs`.

use std::collections::HashMap;

use sockeye_driver::ConnId;

/// A topic that has subscribers on this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicId(u32);

/// One connection's place in one topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    topic: TopicId,
    /// Where the connection stands among the subscribers.
    place: u32,
}

#[derive(Debug, Default)]
struct Topic {
    name: Box<str>,
    subscribers: Vec<ConnId>,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    ids: HashMap<Box<str>, TopicId>,
    topics: Vec<Topic>,
    free: Vec<TopicId>,
    /// Only connections that subscribe to something are here: the others cost nothing.
    subscriptions: HashMap<ConnId, Vec<Subscription>>,
}

impl Topics {
    pub(crate) fn find(&self, name: &str) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn subscribers(&self, topic: TopicId) -> &[ConnId] {
        self.topics.get(topic.0 as usize).map_or(&[], |topic| &topic.subscribers)
    }

    /// How many topics a connection subscribes to.
    pub(crate) fn count_of(&self, id: ConnId) -> usize {
        self.subscriptions.get(&id).map_or(0, Vec::len)
    }

    /// One topic of a connection, if it has any.
    pub(crate) fn any_of(&self, id: ConnId) -> Option<TopicId> {
        self.subscriptions.get(&id)?.last().map(|subscription| subscription.topic)
    }

    pub(crate) fn is_subscribed(&self, topic: TopicId, id: ConnId) -> bool {
        self.position(topic, id).is_some()
    }

    fn position(&self, topic: TopicId, id: ConnId) -> Option<usize> {
        let list = self.subscriptions.get(&id)?;
        list.iter().position(|subscription| subscription.topic == topic)
    }

    /// How many topics there are, and how many subscriptions by either list of them.
    #[cfg(feature = "sim")]
    pub(crate) fn len(&self) -> (usize, usize, usize) {
        let by_topic = self.topics.iter().map(|topic| topic.subscribers.len()).sum();
        let by_connection = self.subscriptions.values().map(Vec::len).sum();
        (self.ids.len(), by_topic, by_connection)
    }

    /// The connection must not subscribe to it yet.
    pub(crate) fn subscribe(&mut self, name: &str, id: ConnId) {
        let topic = self.find(name).unwrap_or_else(|| self.create(name));
        let subscribers = &mut self.topics[topic.0 as usize].subscribers;
        let place = subscribers.len() as u32;
        subscribers.push(id);
        self.subscriptions.entry(id).or_default().push(Subscription { topic, place });
    }

    fn create(&mut self, name: &str) -> TopicId {
        let topic = self.free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            TopicId(self.topics.len() as u32 - 1)
        });
        self.topics[topic.0 as usize].name = name.into();
        self.ids.insert(name.into(), topic);
        topic
    }

    /// Returns whether the connection had subscribed.
    pub(crate) fn unsubscribe(&mut self, topic: TopicId, id: ConnId) -> bool {
        let Some(position) = self.position(topic, id) else { return false };
        let Some(list) = self.subscriptions.get_mut(&id) else { return false };
        let place = list.swap_remove(position).place;
        if list.is_empty() {
            self.subscriptions.remove(&id);
        }
        let entry = &mut self.topics[topic.0 as usize];
        entry.subscribers.swap_remove(place as usize);
        if let Some(moved) = entry.subscribers.get(place as usize)
            && let Some(list) = self.subscriptions.get_mut(moved)
            && let Some(theirs) = list.iter_mut().find(|theirs| theirs.topic == topic)
        {
            theirs.place = place;
        }
        if entry.subscribers.is_empty() {
            let entry = std::mem::take(entry);
            self.ids.remove(&entry.name);
            self.free.push(topic);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> ConnId {
        ConnId::from_bits(n)
    }

    #[test]
    fn subscribers_come_and_go() {
        let mut topics = Topics::default();
        for n in 0..10 {
            topics.subscribe("a", id(n));
            if n % 2 == 0 {
                topics.subscribe("b", id(n));
            }
        }
        let (a, b) = (topics.find("a").unwrap(), topics.find("b").unwrap());
        assert_eq!(topics.subscribers(b), [id(0), id(2), id(4), id(6), id(8)]);
        assert!(topics.unsubscribe(b, id(0)), "the last one takes its place");
        assert!(topics.unsubscribe(b, id(8)), "and is found there");
        assert!(!topics.unsubscribe(b, id(8)));
        assert_eq!(topics.subscribers(b), [id(6), id(2), id(4)]);
        assert_eq!((topics.count_of(id(0)), topics.count_of(id(2))), (1, 2));
        assert!(topics.is_subscribed(a, id(0)) && !topics.is_subscribed(b, id(0)));
    }

    #[test]
    fn an_empty_topic_leaves_nothing() {
        let mut topics = Topics::default();
        for round in 0..100 {
            let name = format!("room {round}");
            topics.subscribe(&name, id(1));
            while let Some(topic) = topics.any_of(id(1)) {
                assert!(topics.unsubscribe(topic, id(1)));
            }
            assert_eq!(topics.find(&name), None);
        }
        assert_eq!((topics.topics.len(), topics.subscriptions.len(), topics.ids.len()), (1, 0, 0));
    }

    /// Random comings and goings against a set of pairs.
    #[test]
    fn agrees_with_a_set_of_pairs() {
        let mut topics = Topics::default();
        let mut pairs = std::collections::BTreeSet::new();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (name, n) = (["x", "y", "z"][(state >> 40) as usize % 3], (state >> 50) % 40);
            let topic = topics.find(name);
            if pairs.insert((name, n)) {
                assert!(!topic.is_some_and(|topic| topics.is_subscribed(topic, id(n))));
                topics.subscribe(name, id(n));
            } else {
                pairs.remove(&(name, n));
                assert!(topics.unsubscribe(topic.unwrap(), id(n)));
            }
        }
        for name in ["x", "y", "z"] {
            let subscribers = topics.find(name).map_or(&[][..], |topic| topics.subscribers(topic));
            let mut ours: Vec<_> = subscribers.iter().map(|id| id.to_bits()).collect();
            ours.sort_unstable();
            let theirs: Vec<_> = pairs.iter().filter(|pair| pair.0 == name).map(|p| p.1).collect();
            assert_eq!(ours, theirs);
        }
    }
}
