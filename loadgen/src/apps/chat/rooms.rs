//! Who is in which room, and what was said there last. No IO; every call is short, because all
//! shards share one lock.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};

use super::protocol::{NAME_CHARS_MAX, Refusal};

pub(crate) const ROOMS_MAX: usize = 128;
pub(crate) const MEMBERS_MAX: usize = 256;
pub(crate) const HISTORY_FRAMES_MAX: usize = 50;
/// With pictures; more than the largest of them.
pub(crate) const HISTORY_BYTES_MAX: usize = 1 << 20;

pub(crate) type RoomId = u64;
pub(crate) type MemberId = u64;

/// The rooms of all shards. `C` names a connection.
#[derive(Debug)]
pub(crate) struct Shared<C> {
    rooms: Mutex<Rooms<C>>,
    /// Makes authors out of tokens: the same one from the same token, and no way back.
    authors: RandomState,
}

impl<C> Default for Shared<C> {
    fn default() -> Self {
        Self { rooms: Mutex::new(Rooms::new()), authors: RandomState::new() }
    }
}

impl<C> Shared<C> {
    pub(crate) fn rooms(&self) -> MutexGuard<'_, Rooms<C>> {
        // No call leaves the rooms half changed, so a panic elsewhere is no reason to stop.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The author that a token stands for; without one, an author of this call alone.
    pub(crate) fn author(&self, token: Option<&str>) -> u64 {
        match token {
            Some(token) => self.authors.hash_one(token),
            None => RandomState::new().hash_one(()),
        }
    }
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) room: RoomId,
    pub(crate) member: MemberId,
}

/// A member, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MemberName {
    pub(crate) member: MemberId,
    #[serde(serialize_with = "serialize_name")]
    pub(crate) name: Arc<str>,
}

/// How many are in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RoomCount {
    #[serde(serialize_with = "serialize_name")]
    pub(crate) name: Arc<str>,
    pub(crate) members: usize,
    /// Grows with each change of any room.
    pub(crate) version: u64,
}

fn serialize_name<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

/// What was sent to a room, ready to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(Arc<str>),
    Binary(Arc<[u8]>),
}

impl Frame {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// What came of entering.
#[derive(Debug)]
pub(crate) struct Entered<C> {
    pub(crate) membership: Membership,
    pub(crate) name: Arc<str>,
    pub(crate) author: u64,
    /// Who had to go, because it was the same author under the same name.
    pub(crate) replaced: Option<(MemberId, C)>,
    pub(crate) count: RoomCount,
}

/// The right to post one thing.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) at_ms: u64,
    pub(crate) name: Arc<str>,
    pub(crate) author: u64,
    /// It was posted before: this is how it went out.
    pub(crate) posted: Option<Frame>,
}

/// The rooms.
#[derive(Debug)]
pub(crate) struct Rooms<C> {
    rooms: BTreeMap<RoomId, Room<C>>,
    rooms_made: u64,
    members_made: u64,
    changes: u64,
    last_post: u64,
}

#[derive(Debug)]
struct Room<C> {
    name: Arc<str>,
    members: BTreeMap<MemberId, Member<C>>,
    history: History,
    /// When its members changed last; of empty rooms, the one with the lowest goes first.
    version: u64,
}

#[derive(Debug)]
struct Member<C> {
    connection: C,
    name: Arc<str>,
    author: u64,
}

impl<C> Rooms<C> {
    fn new() -> Self {
        Self { rooms: BTreeMap::new(), rooms_made: 0, members_made: 0, changes: 0, last_post: 0 }
    }
}

impl<C: Copy> Rooms<C> {
    /// The rooms that have somebody in them.
    pub(crate) fn occupied(&self) -> Vec<RoomCount> {
        self.rooms.values().filter(|room| !room.members.is_empty()).map(Room::count).collect()
    }

    /// Puts a connection into a room, which is made if there is none of that name.
    pub(crate) fn enter(
        &mut self,
        connection: C,
        room: &str,
        name: &str,
        author: u64,
    ) -> Result<Entered<C>, Refusal> {
        let id = self.find_or_make(room)?;
        let room = self.rooms.get_mut(&id).ok_or_else(Refusal::busy)?;
        let replaced = room.remove_same(name, author);
        if room.members.len() >= MEMBERS_MAX {
            return Err(Refusal::room_full());
        }
        self.members_made += 1;
        self.changes += 1;
        room.version = self.changes;
        let member = self.members_made;
        let name: Arc<str> = room.free_name(name).into();
        room.members.insert(member, Member { connection, name: Arc::clone(&name), author });
        let membership = Membership { room: id, member };
        Ok(Entered { membership, name, author, replaced, count: room.count() })
    }

    fn find_or_make(&mut self, name: &str) -> Result<RoomId, Refusal> {
        if let Some((&id, _)) = self.rooms.iter().find(|(_, room)| &*room.name == name) {
            return Ok(id);
        }
        if self.rooms.len() >= ROOMS_MAX {
            let empty = self.rooms.iter().filter(|(_, room)| room.members.is_empty());
            let oldest = empty.min_by_key(|(_, room)| room.version).map(|(&id, _)| id);
            self.rooms.remove(&oldest.ok_or_else(Refusal::rooms_full)?);
        }
        self.rooms_made += 1;
        self.rooms.insert(self.rooms_made, Room::new(name));
        Ok(self.rooms_made)
    }

    /// Takes a member out; `None` if it was out already. The room stays, for those who come back.
    pub(crate) fn leave(&mut self, membership: Membership) -> Option<RoomCount> {
        let room = self.rooms.get_mut(&membership.room)?;
        room.members.remove(&membership.member)?;
        self.changes += 1;
        room.version = self.changes;
        Some(room.count())
    }

    /// Who is in a room, and what was said there last.
    pub(crate) fn snapshot(&self, room: RoomId) -> (Vec<MemberName>, Vec<Frame>) {
        let Some(room) = self.rooms.get(&room) else { return (Vec::new(), Vec::new()) };
        let members = room.members.iter();
        let members = members
            .map(|(&member, who)| MemberName { member, name: Arc::clone(&who.name) })
            .collect();
        (members, room.history.frames())
    }

    /// Gives the right to post, or what was posted under that tag before.
    pub(crate) fn ticket(
        &mut self,
        membership: Membership,
        tag: Option<&str>,
        now_ms: u64,
    ) -> Result<Ticket, Refusal> {
        let room = self.rooms.get(&membership.room).ok_or_else(Refusal::not_joined)?;
        let member = room.members.get(&membership.member).ok_or_else(Refusal::not_joined)?;
        let posted = tag.and_then(|tag| room.history.find(member.author, tag));
        // By the clock, so that they go on growing when the server is started again; in
        // microseconds they stay below the 2^53 that JavaScript counts to.
        self.last_post = now_ms.saturating_mul(1_000).max(self.last_post + 1);
        let (name, author) = (Arc::clone(&member.name), member.author);
        Ok(Ticket { id: self.last_post, at_ms: now_ms, name, author, posted })
    }

    /// Keeps what was posted, for those who come later.
    pub(crate) fn record(
        &mut self,
        room: RoomId,
        ticket: &Ticket,
        tag: Option<&str>,
        frame: Frame,
    ) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.history.push(Posted { author: ticket.author, tag: tag.map(Into::into), frame });
        }
    }
}

impl<C: Copy> Room<C> {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: BTreeMap::new(),
            history: History::default(),
            version: 0,
        }
    }

    fn count(&self) -> RoomCount {
        RoomCount {
            name: Arc::clone(&self.name),
            members: self.members.len(),
            version: self.version,
        }
    }

    fn remove_same(&mut self, name: &str, author: u64) -> Option<(MemberId, C)> {
        let is_same = |who: &Member<C>| who.author == author && is_same_name(&who.name, name);
        let member = self.members.iter().find(|(_, who)| is_same(who)).map(|(&id, _)| id)?;
        let who = self.members.remove(&member)?;
        Some((member, who.connection))
    }

    /// The name, or the first of "name (2)", "name (3)" … that nobody has.
    fn free_name(&self, name: &str) -> String {
        let is_free = |name: &str| !self.members.values().any(|who| is_same_name(&who.name, name));
        if is_free(name) {
            return name.to_owned();
        }
        let numbered = |number: usize| {
            let suffix = format!(" ({number})");
            let kept = NAME_CHARS_MAX.saturating_sub(suffix.len());
            let name: String = name.chars().take(kept).collect();
            format!("{}{suffix}", name.trim_end())
        };
        // One of one more than there are members must be free.
        (2..=self.members.len() + 2).map(numbered).find(|name| is_free(name)).unwrap_or_default()
    }
}

/// Names that differ in case alone are too easily taken for one another.
fn is_same_name(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

/// What was posted last, bounded in number and bytes.
#[derive(Debug, Default)]
struct History {
    posted: VecDeque<Posted>,
    bytes: usize,
}

#[derive(Debug)]
struct Posted {
    author: u64,
    tag: Option<Box<str>>,
    frame: Frame,
}

impl History {
    fn push(&mut self, posted: Posted) {
        self.bytes += posted.frame.len();
        self.posted.push_back(posted);
        while self.posted.len() > HISTORY_FRAMES_MAX || self.bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = self.posted.pop_front() else { return };
            self.bytes -= oldest.frame.len();
        }
    }

    fn find(&self, author: u64, tag: &str) -> Option<Frame> {
        let is_it =
            |posted: &&Posted| posted.author == author && posted.tag.as_deref() == Some(tag);
        self.posted.iter().find(is_it).map(|posted| posted.frame.clone())
    }

    fn frames(&self) -> Vec<Frame> {
        self.posted.iter().map(|posted| posted.frame.clone()).collect()
    }
}
