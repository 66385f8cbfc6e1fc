//! The suite's sink: it writes down what it is told and objects to what may not be.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{Close, Closed, ConnId, Sink, Tx};

/// The address of one who was gone before it could be asked.
const GONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What a sink was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Accepted(ConnId, SocketAddr),
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    Drained(ConnId),
    Closed(ConnId, End),
}

impl Event {
    pub(super) const fn id(&self) -> ConnId {
        match self {
            Self::Accepted(id, _)
            | Self::Connected(id)
            | Self::Received(id, _)
            | Self::Drained(id)
            | Self::Closed(id, _) => *id,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Error(ErrorKind),
}

/// A connection, as its sink knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    /// Closed gracefully: only its end is to be told.
    Closing,
    Dead,
}

/// What a sink does about an event, within the call; the answer is how to close that connection.
type Reaction<T> = Box<dyn FnMut(&mut T, &Event) -> Option<Close>>;

/// The sink: keeps all events and sees to it that each of them is in order.
pub(super) struct Seen<T> {
    events: Vec<Event>,
    stages: HashMap<ConnId, Stage>,
    reaction: Option<Reaction<T>>,
}

impl<T: Tx> Seen<T> {
    /// Promises 3 and 6, and the order of one connection's events, for every test.
    fn note(&mut self, tx: &mut T, event: Event) {
        let id = event.id();
        let stage = self.stages.get(&id).copied();
        let next = match (stage, &event) {
            (None, Event::Accepted(..)) | (Some(Stage::Connecting), Event::Connected(_)) => {
                Stage::Open
            }
            (Some(Stage::Open), Event::Received(_, bytes)) if !bytes.is_empty() => Stage::Open,
            (Some(Stage::Open), Event::Drained(_)) => Stage::Open,
            (Some(Stage::Connecting | Stage::Open | Stage::Closing), Event::Closed(..)) => {
                Stage::Dead
            }
            _ => panic!("{event:?} of a connection that is {stage:?}"),
        };
        self.stages.insert(id, next);
        if let Some(reaction) = &mut self.reaction
            && let Some(how) = reaction(tx, &event)
        {
            self.close(tx, id, how);
        }
        self.events.push(event);
    }

    pub(super) fn close(&mut self, tx: &mut T, id: ConnId, how: Close) {
        let stage = if how == Close::Abort { Stage::Dead } else { Stage::Closing };
        if self.stages.get(&id).is_some_and(|stage| *stage != Stage::Dead) {
            self.stages.insert(id, stage);
        }
        tx.close(id, how);
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { events: Vec::new(), stages: HashMap::new(), reaction: None }
    }
}

impl<T> Seen<T> {
    /// From here on, this is done about each event.
    pub(super) fn react(
        &mut self,
        reaction: impl FnMut(&mut T, &Event) -> Option<Close> + 'static,
    ) {
        self.reaction = Some(Box::new(reaction));
    }

    /// This one has begun to connect.
    pub(super) fn expect_connect(&mut self, id: ConnId) {
        self.stages.insert(id, Stage::Connecting);
    }

    /// This one was connected when it was adopted.
    pub(super) fn expect_open(&mut self, id: ConnId) {
        self.stages.insert(id, Stage::Open);
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(super) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is(event)).count()
    }

    pub(super) fn accepted(&self) -> Vec<(ConnId, SocketAddr)> {
        let accepted = self.events.iter().filter_map(|event| match event {
            Event::Accepted(id, peer) => Some((*id, *peer)),
            _ => None,
        });
        accepted.collect()
    }

    /// All bytes of one connection.
    pub(super) fn received(&self, of: ConnId) -> Vec<u8> {
        let received = self.events.iter().filter_map(|event| match event {
            Event::Received(id, bytes) if *id == of => Some(bytes.as_slice()),
            _ => None,
        });
        received.collect::<Vec<_>>().concat()
    }

    pub(super) fn drained(&self, of: ConnId) -> usize {
        self.count(|event| *event == Event::Drained(of))
    }

    pub(super) fn connected(&self, of: ConnId) -> bool {
        self.events.contains(&Event::Connected(of))
    }

    /// The end of one connection, if it was told.
    pub(super) fn end(&self, of: ConnId) -> Option<End> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(id, end) if *id == of => Some(*end),
            _ => None,
        })
    }
}

impl<T: Tx> Sink<T> for Seen<T> {
    fn accepted(&mut self, tx: &mut T, id: ConnId) {
        let peer = tx.peer_addr(id).unwrap_or(GONE);
        self.note(tx, Event::Accepted(id, peer));
    }

    fn connected(&mut self, tx: &mut T, id: ConnId) {
        self.note(tx, Event::Connected(id));
    }

    fn received(&mut self, tx: &mut T, id: ConnId, bytes: &mut [u8]) {
        let event = Event::Received(id, bytes.to_vec());
        // They are the sink's to change: no driver may look at them again.
        bytes.fill(0xA5);
        self.note(tx, event);
    }

    fn drained(&mut self, tx: &mut T, id: ConnId) {
        self.note(tx, Event::Drained(id));
    }

    fn closed(&mut self, tx: &mut T, id: ConnId, why: Closed) {
        let end = match why {
            Closed::Eof => End::Eof,
            Closed::Error(error) => End::Error(error.kind()),
        };
        self.note(tx, Event::Closed(id, end));
    }
}
