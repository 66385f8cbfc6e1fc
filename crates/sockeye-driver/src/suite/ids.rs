//! Ids that outlive their connections.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::IoSlice;
use std::rc::Rc;

use bytes::Bytes;

use super::rig::{Listener, Random, Rig};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, ConnId, Tx};

/// All that can be done with an id; each call says that there is nothing.
fn try_everything<T: Tx>(tx: &mut T, id: ConnId) {
    // First: a send may break what is still there, and then it looks dead.
    assert_eq!((tx.backlog_bytes(id), tx.peer_addr(id)), (0, None));
    let mut block = tx.out(id);
    block.extend_from_slice(b"for nobody");
    assert_eq!(tx.flush(id, block), 0);
    assert_eq!(tx.write(id, &[IoSlice::new(b"for"), IoSlice::new(b"nobody")]), 0);
    assert_eq!(tx.send_shared(id, &Bytes::from(vec![0; 10_000])), 0);
    assert_eq!((tx.backlog_bytes(id), tx.peer_addr(id)), (0, None));
    tx.set_recv(id, true);
    tx.set_recv(id, false);
    tx.close(id, Close::Graceful);
    tx.close(id, Close::Abort);
}

/// The part of an id that is used again.
const fn number(id: ConnId) -> u32 {
    id.to_bits() as u32
}

/// Promise 3: an old id is no way to the connection that has its number now, however the old
/// connection ended.
pub(crate) fn an_old_id_touches_nothing_of_the_new_connection<W: World>(world: &W) {
    for abort in [false, true] {
        let mut rig = Rig::new(world, Config::default());
        let (old, peer) = rig.join();
        if abort {
            rig.close(old, Close::Abort);
        } else {
            drop(peer);
            rig.turn_until("the end", |seen| seen.end(old) == Some(End::Eof));
        }
        try_everything(rig.tx(), old);
        let (new, mut peer) = rig.join();
        assert_ne!(old, new);
        assert_eq!(number(old), number(new), "else this proves nothing");
        try_everything(rig.tx(), old);
        rig.exchange(new, &mut peer);
        let waiting = rig.fill(new, 1 << 20).len();
        let backlog = rig.tx().backlog_bytes(new);
        try_everything(rig.tx(), old);
        assert_eq!(rig.tx().backlog_bytes(new), backlog);
        rig.read(&mut peer, waiting);
        rig.exchange(new, &mut peer);
        rig.close(new, Close::Graceful);
        try_everything(rig.tx(), old);
        assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof));
    }
}

/// Promise 3: when `closed` is called the id is dead already, and its number may be given away in
/// that very call.
pub(crate) fn the_id_is_dead_when_closed_is_called<W: World>(world: &W) {
    let listener = Listener::new(world);
    let address = listener.address();
    for reset in [false, true] {
        let mut rig = Rig::new(world, Config::default());
        let (id, peer) = rig.join();
        let next = Rc::new(Cell::new(None));
        let given = Rc::clone(&next);
        rig.react(move |tx, event| {
            if matches!(event, Event::Closed(of, _) if *of == id) {
                try_everything(tx, id);
                given.set(Some(tx.connect(address).unwrap()));
                try_everything(tx, id);
            }
            None
        });
        if reset {
            rig.tx().write(id, &[IoSlice::new(b"never read")]);
            peer.reset();
        } else {
            drop(peer);
        }
        let patience = rig.patience();
        while next.get().is_none() {
            patience.check("the end");
            rig.turn();
        }
        let next = next.get().unwrap();
        assert_eq!(number(next), number(id), "else this proves nothing");
        rig.expect_connect(next);
        rig.turn_until("the next", |seen| seen.connected(next));
    }
}

/// Promise 3: however often connections come and go, no id is used again; the sink objects to one.
pub(crate) fn no_id_comes_twice<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let mut random = Random(5);
    let mut inside = Vec::new();
    for _ in 0..300 {
        inside.push(rig.join());
        if inside.len() > 10 {
            let (id, peer) = inside.swap_remove(random.below(inside.len()));
            if random.below(2) == 0 {
                rig.close(id, Close::Abort);
            } else {
                drop(peer);
                rig.turn_until("the end", |seen| seen.end(id).is_some());
            }
        }
    }
    let ids: HashSet<_> = rig.seen.accepted().into_iter().map(|(id, _)| id).collect();
    let numbers: HashSet<_> = ids.iter().map(|id| number(*id)).collect();
    assert_eq!(ids.len(), 300);
    assert!(numbers.len() <= 11, "numbers are used again");
    for (id, mut peer) in inside {
        rig.exchange(id, &mut peer);
    }
}

/// Promise 3: many connections are aborted, and others take their numbers in the same moment, while
/// there is still news of the old ones; and all ids that are old are used all the time.
pub(crate) fn in_a_storm_old_ids_touch_nothing_new<W: World>(world: &W) {
    const COUNT: usize = 30;
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    let mut old: Vec<ConnId> = Vec::new();
    let try_all = |rig: &mut Rig<W>, ids: &[ConnId]| {
        ids.iter().for_each(|id| try_everything(rig.tx(), *id));
    };
    for _ in 0..4 {
        let mut inside: Vec<_> = (0..COUNT).map(|_| rig.join()).collect();
        try_all(&mut rig, &old);
        for (n, (id, peer)) in inside.iter_mut().enumerate() {
            peer.send(b"news for the old one");
            if n % 3 == 0 {
                rig.tx().write(*id, &[IoSlice::new(b"bytes of the old one")]);
            } else if n % 3 == 1 {
                rig.fill(*id, 1);
            }
        }
        let mut new = HashMap::new();
        for (n, (id, _)) in inside.iter().enumerate() {
            rig.close(*id, Close::Abort);
            let next = rig.connect(listener.address());
            assert_eq!(number(next), number(*id), "else this proves nothing");
            try_everything(rig.tx(), *id);
            old.push(*id);
            let word = format!("{n:08}").into_bytes();
            rig.tx().write(next, &[IoSlice::new(&word)]);
            new.insert(word, next);
        }
        try_all(&mut rig, &old);
        // Each says its word, and it is said back to each.
        let mut peers = Vec::new();
        for _ in 0..COUNT {
            let mut peer = listener.accept();
            let word = rig.read(&mut peer, 8);
            peer.send(&word);
            try_all(&mut rig, &old);
            let id = new.remove(&word).unwrap();
            rig.turn_until("the word", |seen| seen.received(id) == word);
            peers.push((id, peer));
        }
        drop(inside);
        for (id, peer) in peers {
            rig.close(id, Close::Graceful);
            drop(peer);
            rig.turn_until("the end", |seen| seen.end(id).is_some());
            old.push(id);
        }
    }
    rig.fence();
}
