//! `serve --app chat`: a page to talk on, and the socket behind it.
//!
//! `/` is the page, `/ws` its socket; [`protocol`] says what passes over it. A room is a topic, so
//! the engine carries what is said to every shard. Who is where, and what was said last, is
//! [`rooms`]: one list for all shards, behind one lock that is held for a look-up and no longer.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sockeye::{Closed, Config, ConnectionId, Ctx, Handler, Message, Request, ShardCtx, Upgrade};

mod allowance;
mod assets;
mod picture;
mod protocol;
mod rooms;
#[cfg(test)]
mod tests;

use allowance::Allowance;
use protocol::{Command, Event, PictureFrame, Refusal};
use rooms::{Entered, Frame, Membership, RoomCount, RoomId, Ticket};

/// The topic of those who want to know how many are in which room.
const ROOMS_TOPIC: &str = "rooms";

/// The settings of a chat's server: nothing longer than a picture is ever of use.
pub(crate) fn config() -> Config {
    let message_bytes_max = protocol::PICTURE_BYTES_MAX + (64 << 10);
    Config { message_bytes_max, frame_bytes_max: message_bytes_max, ..Config::default() }
}

/// What all shards share.
pub(crate) type Shared = rooms::Shared<ConnectionId>;

/// The chat on one shard.
#[derive(Debug)]
pub(crate) struct Chat {
    shared: Arc<Shared>,
}

/// What the chat knows of a connection.
#[derive(Debug, Default)]
pub(crate) struct ChatSession {
    membership: Option<Membership>,
    allowance: Allowance,
}

impl Chat {
    /// The chat of one shard of those that share `shared`.
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn command(&self, ctx: &mut Ctx<'_, Self>, text: &str) -> Result<(), Refusal> {
        match protocol::parse(text)? {
            Command::Join { name, room, token } => {
                spend(ctx, allowance::JOIN_COST)?;
                self.join(ctx, &name, &room, token.as_deref())
            }
            Command::Leave => {
                spend(ctx, allowance::MESSAGE_COST)?;
                self.leave(ctx);
                Ok(())
            }
            Command::Say { text, tag } => {
                let tag = protocol::check_tag(tag.as_deref())?;
                self.say(ctx, &text, tag).map_err(|refusal| refusal.about(tag))
            }
            Command::Typing { on } => self.typing(ctx, on),
        }
    }

    fn join(
        &self,
        ctx: &mut Ctx<'_, Self>,
        name: &str,
        room: &str,
        token: Option<&str>,
    ) -> Result<(), Refusal> {
        let name = protocol::check_name(name)?;
        let room = protocol::check_room(room)?;
        let token = protocol::check_tag(token)?;
        self.leave(ctx);
        let author = self.shared.author(token);
        let entered = self.shared.rooms().enter(ctx.id(), room, name, author)?;
        // Counted in the room from here on, so that it stays; subscribed before the list and the
        // history are taken, so that nothing falls between them and what comes after.
        if ctx.subscribe(&topic(entered.membership.room)).is_err() {
            self.shared.rooms().leave(entered.membership);
            return Err(Refusal::busy());
        }
        ctx.session().membership = Some(entered.membership);
        self.welcome(ctx, &entered, room);
        self.announce(ctx, entered);
        Ok(())
    }

    /// Tells the newcomer who is there and what was said.
    fn welcome(&self, ctx: &mut Ctx<'_, Self>, entered: &Entered<ConnectionId>, room: &str) {
        let (members, history) = self.shared.rooms().snapshot(entered.membership.room);
        let joined = Event::Joined {
            room,
            member: entered.membership.member,
            name: &entered.name,
            author: &protocol::author_text(entered.author),
            members: &members,
            history: history.len(),
        };
        ctx.send(&joined.to_json());
        for frame in &history {
            match frame {
                Frame::Text(text) => ctx.send(&**text),
                Frame::Binary(bytes) => ctx.send(&**bytes),
            };
        }
    }

    /// Tells everybody else.
    fn announce(&self, ctx: &mut Ctx<'_, Self>, entered: Entered<ConnectionId>) {
        let topic = topic(entered.membership.room);
        if let Some((member, connection)) = entered.replaced {
            report(ctx.send_to(connection, &Event::Replaced.to_json()));
            report(ctx.publish_to_others(&topic, &Event::Left { member }.to_json()));
        }
        let member = entered.membership.member;
        let event = Event::Entered { member, name: &entered.name };
        report(ctx.publish_to_others(&topic, &event.to_json()));
        report(ctx.publish(ROOMS_TOPIC, &room_event(&entered.count)));
    }

    fn leave(&self, ctx: &mut Ctx<'_, Self>) {
        let Some(membership) = ctx.session().membership.take() else { return };
        ctx.unsubscribe(&topic(membership.room));
        let Some(count) = self.shared.rooms().leave(membership) else { return };
        let left = Event::Left { member: membership.member }.to_json();
        report(ctx.publish(&topic(membership.room), &left));
        report(ctx.publish(ROOMS_TOPIC, &room_event(&count)));
    }

    fn say(&self, ctx: &mut Ctx<'_, Self>, text: &str, tag: Option<&str>) -> Result<(), Refusal> {
        spend(ctx, allowance::MESSAGE_COST)?;
        let membership = ctx.session().membership.ok_or(Refusal::not_joined())?;
        let text = protocol::check_text(text)?;
        let Some(ticket) = self.ticket(ctx, membership, tag)? else { return Ok(()) };
        let event = Event::Message {
            id: ticket.id,
            member: membership.member,
            name: &ticket.name,
            author: &protocol::author_text(ticket.author),
            at: ticket.at_ms,
            text,
            tag,
        };
        self.post(ctx, membership, &ticket, tag, Frame::Text(event.to_json().into()))
    }

    fn picture(&self, ctx: &mut Ctx<'_, Self>, bytes: &[u8]) -> Result<(), Refusal> {
        let PictureFrame { head, picture } = protocol::parse_picture(bytes)?;
        let tag = protocol::check_tag(head.tag.as_deref())?;
        self.show(ctx, picture, tag).map_err(|refusal| refusal.about(tag))
    }

    fn show(
        &self,
        ctx: &mut Ctx<'_, Self>,
        picture: &[u8],
        tag: Option<&str>,
    ) -> Result<(), Refusal> {
        spend(ctx, allowance::PICTURE_COST)?;
        let membership = ctx.session().membership.ok_or(Refusal::not_joined())?;
        let facts = protocol::check_picture(picture)?;
        let Some(ticket) = self.ticket(ctx, membership, tag)? else { return Ok(()) };
        let event = Event::Picture {
            id: ticket.id,
            member: membership.member,
            name: &ticket.name,
            author: &protocol::author_text(ticket.author),
            at: ticket.at_ms,
            media: facts.media.name(),
            width: facts.width,
            height: facts.height,
            tag,
        };
        let frame = protocol::picture_frame(&event, picture);
        self.post(ctx, membership, &ticket, tag, Frame::Binary(frame.into()))
    }

    /// The right to post; `None` if it was posted before, which is what happens when a page could
    /// not know whether its message arrived, and says it again.
    fn ticket(
        &self,
        ctx: &mut Ctx<'_, Self>,
        membership: Membership,
        tag: Option<&str>,
    ) -> Result<Option<Ticket>, Refusal> {
        let ticket = self.shared.rooms().ticket(membership, tag, unix_ms())?;
        if let Some(frame) = &ticket.posted {
            match frame {
                Frame::Text(text) => ctx.send(&**text),
                Frame::Binary(bytes) => ctx.send(&**bytes),
            };
            return Ok(None);
        }
        Ok(Some(ticket))
    }

    fn post(
        &self,
        ctx: &mut Ctx<'_, Self>,
        membership: Membership,
        ticket: &Ticket,
        tag: Option<&str>,
        frame: Frame,
    ) -> Result<(), Refusal> {
        self.shared.rooms().record(membership.room, ticket, tag, frame.clone());
        let topic = topic(membership.room);
        let published = match &frame {
            Frame::Text(text) => ctx.publish(&topic, &**text),
            Frame::Binary(bytes) => ctx.publish(&topic, &**bytes),
        };
        published.map_err(|_| Refusal::busy())
    }

    fn typing(&self, ctx: &mut Ctx<'_, Self>, on: bool) -> Result<(), Refusal> {
        // Only a hint: where there are too many, nobody misses one.
        if spend(ctx, allowance::TYPING_COST).is_err() {
            return Ok(());
        }
        let membership = ctx.session().membership.ok_or(Refusal::not_joined())?;
        let event = Event::Typing { member: membership.member, on };
        report(ctx.publish_to_others(&topic(membership.room), &event.to_json()));
        Ok(())
    }
}

impl Handler for Chat {
    type Session = ChatSession;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<ChatSession> {
        if request.path() != "/ws" {
            return assets::answer(request.method(), request.path(), request.host());
        }
        // A page of another site must not talk in its visitor's name.
        if !assets::is_same_origin(request.origin(), request.host()) {
            return assets::text(403, "The page comes from another site than this socket.\n");
        }
        Upgrade::accept(ChatSession::default())
    }

    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        report(ctx.subscribe(ROOMS_TOPIC));
        let rooms = self.shared.rooms().occupied();
        ctx.send(&Event::Welcome { rooms: &rooms }.to_json());
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        let result = match message {
            Message::Text(text) => self.command(ctx, text),
            Message::Binary(bytes) => self.picture(ctx, bytes),
        };
        if let Err(refusal) = result {
            ctx.send(&refusal.to_json());
        }
    }

    fn closed(&mut self, shard: &mut ShardCtx<'_>, session: ChatSession, why: Closed) {
        let Some(membership) = session.membership else { return };
        let Some(count) = self.shared.rooms().leave(membership) else { return };
        // Where all leave at once, there is nobody left to be told.
        if !matches!(why, Closed::Shutdown) {
            let left = Event::Left { member: membership.member }.to_json();
            report(shard.publish(&topic(membership.room), &left));
            report(shard.publish(ROOMS_TOPIC, &room_event(&count)));
        }
    }
}

/// The name of a room can be longer than that of a topic, and another room may bear it later.
fn topic(room: RoomId) -> String {
    format!("room/{room}")
}

fn room_event(count: &RoomCount) -> String {
    Event::Room(count).to_json()
}

fn spend(ctx: &mut Ctx<'_, Chat>, cost: u32) -> Result<(), Refusal> {
    if ctx.session().allowance.spend(cost, Instant::now()) {
        Ok(())
    } else {
        Err(Refusal::too_fast())
    }
}

/// Notices about who is where may be lost when the server is overloaded; the chat goes on.
fn report<T>(result: Result<T, sockeye::Refused>) {
    if let Err(refused) = result {
        tracing::warn!(%refused, "a notice was not sent");
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
