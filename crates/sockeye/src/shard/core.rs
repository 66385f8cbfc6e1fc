//! What a shard has besides its handler and its connections: topics, what is to be delivered, and
//! what goes to other shards.

use std::sync::Arc;

use sockeye_codec::{Message, encode};
use sockeye_driver::ConnId;

use crate::compress::Compressing;
use crate::config::Config;
use crate::deliveries::Deliveries;
use crate::error::Refused;
use crate::mailbox::{Batch, ConnectionId, Handle};
use crate::session::{Link, flag};
use crate::stats::Stats;
use crate::topics::Topics;

/// The scratch space of a larger frame is not kept.
const FRAME_BYTES_KEPT: usize = 1 << 20;

/// All of it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) handle: Handle,
    pub(crate) shard: u16,
    pub(crate) topics: Topics,
    pub(crate) deliveries: Deliveries,
    /// What this turn published, for the other shards.
    pub(crate) outgoing: Batch,
    /// Bytes of that, with what had to be posted earlier in the turn.
    pub(crate) outgoing_bytes: usize,
    pub(crate) stats: Stats,
    pub(crate) compressing: Compressing,
    /// Where one frame is put together.
    pub(crate) frame: Vec<u8>,
}

impl Core {
    pub(crate) fn new(config: Arc<Config>, handle: Handle, shard: u16) -> Self {
        let deliveries = Deliveries::new(config.publish_bytes_per_turn_max);
        let compressing = Compressing::new(&config);
        Self {
            config,
            handle,
            shard,
            topics: Topics::default(),
            deliveries,
            outgoing: Batch::default(),
            outgoing_bytes: 0,
            stats: Stats::default(),
            compressing,
            frame: Vec::new(),
        }
    }

    pub(crate) fn check_topic(&self, topic: &str) -> Result<(), Refused> {
        if self.config.is_topic(topic) { Ok(()) } else { Err(Refused::TopicName) }
    }

    pub(crate) fn publish(
        &mut self,
        topic: &str,
        message: Message<'_>,
        except: Option<ConnId>,
    ) -> Result<(), Refused> {
        self.check_topic(topic)?;
        let alone = self.handle.shards.len() == 1;
        if alone && self.topics.find(topic).is_none() {
            return Ok(());
        }
        self.frame.clear();
        encode::message(&mut self.frame, message, None);
        if !alone {
            // All or nothing: what there is no room for here does not go to other shards either.
            let bytes = self.outgoing_bytes + self.frame.len();
            let fits = bytes <= self.config.publish_bytes_per_turn_max;
            if !fits || !self.deliveries.has_room(self.frame.len()) {
                return Err(Refused::Publications);
            }
            self.outgoing_bytes = bytes;
            self.outgoing.push(topic, &self.frame);
        }
        self.publish_here(topic, except)
    }

    fn publish_here(&mut self, topic: &str, except: Option<ConnId>) -> Result<(), Refused> {
        match self.topics.find(topic) {
            Some(topic) => self.deliveries.publish(topic, except, &self.frame),
            None => Ok(()),
        }
    }

    /// What another shard or thread published.
    pub(crate) fn publish_frame(&mut self, topic: &str, frame: &[u8]) -> Result<(), Refused> {
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        self.publish_here(topic, None)
    }

    pub(crate) fn send_frame(&mut self, id: ConnId, frame: &[u8]) -> Result<(), Refused> {
        self.deliveries.send_to(id, frame)
    }

    pub(crate) fn send_to(
        &mut self,
        to: ConnectionId,
        message: Message<'_>,
    ) -> Result<(), Refused> {
        if to.shard != self.shard {
            // What was published before goes before.
            self.post_outgoing();
            return self.handle.send_to(to, message);
        }
        self.frame.clear();
        encode::message(&mut self.frame, message, None);
        self.deliveries.send_to(to.id, &self.frame)
    }

    /// Whether something that was published or sent in this turn may be for this connection.
    #[inline]
    pub(crate) fn has_deliveries_for(&self, link: &Link) -> bool {
        !self.deliveries.is_empty()
            && (link.is(flag::HAS_SUBSCRIBED) || self.deliveries.has_targeted())
    }

    /// After a turn: one large message must not be held for ever.
    pub(crate) fn trim(&mut self) {
        if self.frame.capacity() > FRAME_BYTES_KEPT {
            self.frame = Vec::new();
        }
    }

    /// A connection goes away: its topics are told.
    pub(crate) fn forget(&mut self, id: ConnId) {
        while let Some(topic) = self.topics.any_of(id) {
            self.deliveries.settle(topic, &self.topics);
            self.topics.unsubscribe(topic, id);
        }
    }
}
