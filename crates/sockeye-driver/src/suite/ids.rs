//! Ids that outlive their connections.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::IoSlice;
use std::net::TcpListener;
use std::rc::Rc;

use bytes::Bytes;

use super::rig::{ANY, Driver, End, Event, Make, Patience, Random, Rig};
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
pub(crate) fn an_old_id_touches_nothing_of_the_new_connection<D: Driver>(make: Make<D>) {
    for abort in [false, true] {
        let mut rig = Rig::new(make, Config::default());
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
pub(crate) fn the_id_is_dead_when_closed_is_called<D: Driver>(make: Make<D>) {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    for reset in [false, true] {
        let mut rig = Rig::new(make, Config::default());
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
            peer.reset(&mut rig);
        } else {
            drop(peer);
        }
        let patience = Patience::new();
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
pub(crate) fn no_id_comes_twice<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
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
