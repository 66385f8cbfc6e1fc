//! The server's handler: does as the clients order, and writes down what it was told and has sent.

use std::cell::{RefCell, RefMut};
use std::panic;
use std::rc::Rc;

use sockeye::{
    Chunk, CloseCode, Closed, Ctx, Handler, Message, Refused, Request, Sent, ShardCtx, Upgrade,
};

use crate::ledger::{Ledger, NOBODY, Serial, Stream, Topic};
use crate::payload;

/// What a turn's pongs to one connection come to at most.
const PONG_BYTES_MAX: usize = 17 << 10;

/// One shard's.
pub(crate) struct Keeper {
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    pub(crate) shard: usize,
    pub(crate) backlog_bytes_max: usize,
    pub(crate) backlog_low_bytes: usize,
    pub(crate) message_bytes_max: usize,
    /// A turn has room for all publications: an overflow is one of the backlog.
    pub(crate) has_roomy_turns: bool,
    /// What the driver may have taken over earlier, and count only now.
    pub(crate) deferred_bytes_max: usize,
}

/// The data of a connection.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    serial: Serial,
    /// In streaming mode: what has come of the message.
    parts: Vec<u8>,
}

impl Handler for Keeper {
    type Session = Visitor;

    /// `/c/serial`: connect, `/s/serial`: in streaming mode, all else is refused.
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Visitor> {
        let mut parts = request.path().splitn(3, '/').skip(1);
        let (how, serial) = (parts.next(), parts.next().and_then(|serial| serial.parse().ok()));
        match (how, serial) {
            (Some("c"), Some(serial)) => Upgrade::accept(Visitor { serial, ..Visitor::default() }),
            (Some("s"), Some(serial)) => {
                Upgrade::accept(Visitor { serial, ..Visitor::default() }).streaming()
            }
            _ => Upgrade::reject(403).body("no"),
        }
    }

    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        let serial = ctx.session().serial;
        let remote = ctx.remote();
        self.book().handle_open(serial, self.shard, remote);
        if serial.is_multiple_of(2) {
            self.send(ctx, "H", 0, 60);
        }
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        let max = self.message_bytes_max;
        self.book().check(message.len() <= max, || "a message over the limit".into());
        match std::str::from_utf8(message.as_bytes()) {
            Ok(text) => self.obey(ctx, text),
            Err(_) => self.book().fail("a message that is not text".into()),
        }
    }

    fn chunk(&mut self, ctx: &mut Ctx<'_, Self>, chunk: Chunk<'_>) {
        let parts = &mut ctx.session().parts;
        let in_order = chunk.first == parts.is_empty();
        parts.extend_from_slice(chunk.payload);
        let (len, max) = (parts.len(), self.message_bytes_max);
        let whole = chunk.last.then(|| std::mem::take(parts));
        // A first chunk may be empty, and so may a message's beginning be.
        self.book().check(in_order || len == chunk.payload.len(), || "chunks out of order".into());
        self.book().check(len <= max, || "chunks over the limit".into());
        match whole.map(String::from_utf8) {
            Some(Ok(text)) => self.obey(ctx, &text),
            Some(Err(_)) => self.book().fail("chunks that are not text".into()),
            None => {}
        }
    }

    fn drained(&mut self, ctx: &mut Ctx<'_, Self>) {
        let serial = ctx.session().serial;
        self.book().note(1, || format!("server: drained {serial}"));
        self.book().count("drained");
        if serial.is_multiple_of(3) {
            self.send(ctx, "H", 0, 100);
        }
        ctx.resume();
    }

    fn closed(&mut self, shard: &mut ShardCtx<'_>, session: Visitor, why: Closed) {
        self.book().handle_closed(session.serial, &why);
        if session.serial.is_multiple_of(4) {
            let topic = session.serial as Topic % 3;
            self.publish_by(topic, NOBODY, 80, |name, text| shard.publish(name, text));
        }
    }
}

pub(crate) fn topic_name(topic: Topic) -> String {
    format!("topic {topic}")
}

impl Keeper {
    fn book(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// `verb serial a b order-number`.
    fn obey(&mut self, ctx: &mut Ctx<'_, Self>, text: &str) {
        let (verb, numbers) = match payload::read(text) {
            Ok(read) => read,
            Err(what) => return self.book().fail(format!("server: {what}")),
        };
        let [of, a, b, number] = numbers[..] else {
            return self.book().fail(format!("server: {verb} {numbers:?}"));
        };
        let serial = ctx.session().serial;
        self.book().handle_order(serial, of, number);
        match verb {
            "echo" => self.send(ctx, "E", 0, text.len()),
            "flood" => (0..a).for_each(|_| self.send(ctx, "E", 0, b as usize)),
            "brim" => self.fill_to_the_brim(ctx, a as usize),
            "subscribe" => self.subscribe(ctx, a),
            "unsubscribe" => self.unsubscribe(ctx, a),
            "publish" => self.publish_by(a, NOBODY, b, |name, text| ctx.publish(name, text)),
            "publish_to_others" => {
                self.publish_by(a, of, b, |name, text| ctx.publish_to_others(name, text));
            }
            "send_to" => self.send_to(ctx, a as Serial, b as usize),
            "ping" => drop(ctx.ping(b"are you there?")),
            // Where so much waits that `drained` will come, and with it the end of the pause.
            "pause" if self.refused_bytes(ctx) > self.backlog_low_bytes => ctx.pause(),
            "pause" => {
                ctx.pause();
                ctx.resume();
            }
            "close" => {
                if ctx.close(CloseCode(a as u16), "as was ordered").is_ok() {
                    self.book().close(serial);
                }
            }
            "panic" => {
                self.book().panics += 1;
                // Without the hook, which would print it.
                panic::resume_unwind(Box::new("as was ordered"));
            }
            _ => self.book().fail(format!("server: no such order: {verb}")),
        }
    }

    /// Sends a message to this connection, and checks what is said to have become of it.
    fn send(&self, ctx: &mut Ctx<'_, Self>, verb: &str, topic: Topic, len: usize) {
        let serial = ctx.session().serial;
        let line = self.book().direct(verb, self.shard, serial, topic);
        let (before, refused) = (ctx.backlog_bytes(), self.refused_bytes(ctx));
        let is_open = ctx.remote().is_open();
        let text = payload::write(&line, last_number(&line), len);
        let sent = ctx.send(&text);
        let after = before + frame_bytes(text.len());
        let is_over = after > self.backlog_bytes_max;
        let mut book = self.book();
        match sent {
            Sent::Queued { backlog_bytes } => {
                book.take_direct(self.shard, serial);
                book.count_sent(serial, frame_bytes(text.len()));
                if after == self.backlog_bytes_max {
                    book.count("backlogs full to the byte");
                }
                let counted_max = after + self.deferred_bytes_max;
                let rightly = backlog_bytes <= counted_max && !(refused > 0 && is_over);
                book.check(rightly, || format!("{after} bytes wait for {serial}: {sent:?}"));
            }
            Sent::Overflow => {
                let rightly = is_open && (is_over || !self.has_roomy_turns);
                book.check(rightly, || format!("{after} bytes wait for {serial}: {sent:?}"));
                if refused == 0 {
                    book.take_one_too_much(serial);
                }
                if after == self.backlog_bytes_max + 1 {
                    book.count("overflows by one byte");
                }
                book.close(serial);
            }
            _ => book.check(!is_open, || format!("{serial} is open, but {sent:?}")),
        }
    }

    /// Of what waits, what the driver has certainly refused: where it is more than nothing, the
    /// limit is exact. The rest may be of this turn, and may not have been offered yet.
    fn refused_bytes(&self, ctx: &mut Ctx<'_, Self>) -> usize {
        let of_this_turn = self.book().sent_bytes(ctx.session().serial) + PONG_BYTES_MAX;
        ctx.backlog_bytes().saturating_sub(of_this_turn)
    }

    /// A message with which as much waits as may, or one byte more, if so much waits that the limit
    /// is exact.
    fn fill_to_the_brim(&self, ctx: &mut Ctx<'_, Self>, more: usize) {
        let room = (self.backlog_bytes_max + more).saturating_sub(ctx.backlog_bytes());
        let header = if room < 65_540 { 4 } else { 10 };
        if self.refused_bytes(ctx) > 0 && (200..200_000).contains(&room) {
            self.book().note(2, || format!("server: to the brim, and {more}"));
            self.send(ctx, "E", 0, room - header);
        }
    }

    fn subscribe(&self, ctx: &mut Ctx<'_, Self>, topic: Topic) {
        let serial = ctx.session().serial;
        match ctx.subscribe(&topic_name(topic)) {
            Ok(true) => {
                self.book().subscribe(serial, topic);
                self.send(ctx, "S", topic, 0);
            }
            Ok(false) | Err(Refused::Subscriptions | Refused::Closed) => {}
            Err(error) => self.book().fail(format!("cannot subscribe: {error}")),
        }
    }

    fn unsubscribe(&self, ctx: &mut Ctx<'_, Self>, topic: Topic) {
        let serial = ctx.session().serial;
        if ctx.unsubscribe(&topic_name(topic)) {
            self.book().unsubscribe(serial, topic);
            self.send(ctx, "U", topic, 0);
        }
    }

    fn publish_by(
        &self,
        topic: Topic,
        except: u64,
        len: u64,
        publish: impl FnOnce(&str, &str) -> Result<(), Refused>,
    ) {
        let stream = Stream { topic, source: self.shard, except };
        let line = self.book().publication(stream);
        let text = payload::write(&line, last_number(&line), len as usize);
        match publish(&topic_name(topic), &text) {
            Ok(()) => self.book().take_publication(stream),
            Err(Refused::Publications) => {}
            Err(error) => self.book().fail(format!("cannot publish: {error}")),
        }
    }

    fn send_to(&self, ctx: &mut Ctx<'_, Self>, to: Serial, len: usize) {
        let Some(person) = self.book().people.get(to).map(|person| person.remote.clone()) else {
            return;
        };
        let Some(remote) = person else { return };
        let is_open = remote.is_open();
        let line = self.book().direct("T", self.shard, to, 0);
        let text = payload::write(&line, last_number(&line), len);
        match ctx.send_to(remote.id(), &text) {
            // Whether it is there is for its shard to find out.
            Ok(()) if is_open => self.book().take_direct(self.shard, to),
            Ok(()) | Err(Refused::Publications | Refused::Mailbox | Refused::Closed) => {}
            Err(error) => self.book().fail(format!("cannot send: {error}")),
        }
    }
}

pub(crate) fn last_number(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A server's frame.
const fn frame_bytes(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=65_535 => 4,
            _ => 10,
        }
}
