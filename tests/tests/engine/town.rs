//! A server for tests of who gets what: its connections do as they are told.

use std::sync::{Arc, Mutex};
use std::thread;

use sockeye::{CloseCode, ConnectionId, Ctx, Upgrade};
use sockeye_tests::peer::{Peer, REQUEST, TEXT};
use sockeye_tests::rig::{Rig, Script, Seen, Session, Setup, shard};

/// All connections subscribe to it. What is published to it last shows that nothing else came.
pub(crate) const END: &str = "end";

/// A connection, and which shard has it.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    pub(crate) shard: usize,
    /// Its place in the server's list.
    pub(crate) number: usize,
}

/// A server whose connections do as they are told: each text message is a list of orders, one a
/// line, carried out in one callback.
pub(crate) struct Town {
    pub(crate) rig: Rig,
    shards: usize,
    ids: Arc<Mutex<Vec<ConnectionId>>>,
}

impl Town {
    pub(crate) fn new(shards: usize) -> Self {
        Self::with(shards, Setup::new())
    }

    pub(crate) fn with(shards: usize, setup: Setup) -> Self {
        let note = setup.notes();
        let ids = Arc::new(Mutex::new(Vec::new()));
        let (list, all) = (Arc::clone(&ids), Arc::clone(&ids));
        let setup = setup
            .shards(shards)
            .upgrade(|_| Upgrade::accept(Session::default()).header("shard", shard().to_string()))
            .open(move |ctx| {
                ctx.subscribe(END).unwrap();
                list.lock().unwrap().push(ctx.id());
            })
            .message(move |ctx, message| {
                let orders = message.as_text().unwrap().lines();
                let results: Vec<_> = orders.map(|order| carry_out(ctx, order, &all)).collect();
                note(results.join(" "));
            });
        Self { rig: setup.start(), shards, ids }
    }

    /// A new connection, on whichever shard the kernel chooses.
    pub(crate) fn member(&self) -> Member {
        let (peer, head) = Peer::open_with(self.rig.address, REQUEST);
        let (_, shard) = head.split_once("shard: ").expect("the shard's number");
        let shard = shard.split_once('\r').unwrap().0.parse().unwrap();
        let remote = self.rig.skip_to(|seen| match seen {
            Seen::Open(remote) => Some(remote),
            _ => None,
        });
        // It is put on the record before the hook puts it on the list.
        let number = loop {
            let ids = self.ids.lock().unwrap();
            if let Some(number) = ids.iter().position(|id| *id == remote.id()) {
                break number;
            }
            drop(ids);
            thread::yield_now();
        };
        Member { peer, shard, number }
    }

    /// So many connections on each shard, the first shard's first. The kernel spreads connections
    /// as it likes, so it is asked until each shard has enough.
    pub(crate) fn members(&self, per_shard: usize) -> Vec<Member> {
        let mut members: Vec<Vec<Member>> = (0..self.shards).map(|_| Vec::new()).collect();
        for _ in 0..1_000 {
            let member = self.member();
            let group = &mut members[member.shard];
            if group.len() < per_shard {
                group.push(member);
            } else {
                member.peer.close(1000);
            }
            if members.iter().all(|group| group.len() == per_shard) {
                return members.into_iter().flatten().collect();
            }
        }
        panic!("a shard got no connection");
    }

    /// Has a member carry out orders in one callback; what came of each.
    pub(crate) fn tell(&self, member: &mut Member, orders: &str) -> String {
        member.peer.send_frame(TEXT, orders.as_bytes());
        self.rig.next_note()
    }

    /// Has all that was published by `last` delivered everywhere; what each member has got.
    pub(crate) fn harvest(&self, last: usize, members: &mut [Member]) -> Vec<Vec<String>> {
        assert_eq!(self.tell(&mut members[last], &format!("publish {END} {END}")), "Ok(())");
        members.iter_mut().map(|member| texts_to_end(&mut member.peer)).collect()
    }
}

fn carry_out(ctx: &mut Ctx<'_, Script>, order: &str, ids: &Mutex<Vec<ConnectionId>>) -> String {
    let (verb, rest) = order.split_once(' ').unwrap();
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "subscribe" => format!("{:?}", ctx.subscribe(word)),
        "unsubscribe" => format!("{:?}", ctx.unsubscribe(word)),
        "publish" => format!("{:?}", ctx.publish(word, text)),
        "publish_to_others" => format!("{:?}", ctx.publish_to_others(word, text)),
        "send" => format!("{:?}", ctx.send(rest).is_queued()),
        "send_to" => {
            let id = ids.lock().unwrap()[word.parse::<usize>().unwrap()];
            format!("{:?}", ctx.send_to(id, text))
        }
        "close" => format!("{:?}", ctx.close(CloseCode(word.parse().unwrap()), text)),
        "panic" => panic!("as was ordered"),
        other => panic!("no such order: {other}"),
    }
}

pub(crate) fn texts_to_end(peer: &mut Peer) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match peer.read_text() {
            text if text == END => return texts,
            text => texts.push(text),
        }
    }
}
