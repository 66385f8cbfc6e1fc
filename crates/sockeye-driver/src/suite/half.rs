//! Half-closed connections: the peer has sent all it will send, and reads on.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use super::rig::{Rig, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, ConnId, Tx};

const SENT_BYTES: usize = 50_000;

/// `Closed::Eof`: all of the peer's bytes are told first, and what the sink answers meanwhile goes
/// out as far as it is taken; only what waits is dropped.
pub(crate) fn answers_of_the_last_turn_reach_who_has_sent_all<W: World>(world: &W) {
    for receive_buffer_bytes in [1 << 10, 1 << 20] {
        let mut rig = Rig::new(world, Config { receive_buffer_bytes, ..Config::default() });
        rig.react(|tx, event| {
            if let Event::Received(id, bytes) = event {
                let mut block = tx.out(*id);
                block.extend_from_slice(bytes);
                tx.flush(*id, block);
            }
            None
        });
        let (id, mut peer) = rig.join();
        let bytes = pattern(1, SENT_BYTES);
        peer.send(&bytes);
        peer.finish();
        // With all of it there, one turn tells it and the end.
        world.settle();
        rig.turn_until("the end", |seen| seen.end(id).is_some());
        assert_eq!(rig.seen.end(id), Some(End::Eof));
        assert_same(&rig.seen.received(id), &bytes);
        let (got, end) = rig.read_to_end(&mut peer);
        assert_eq!(end, End::Eof, "no reset");
        if world.takes_at_once() {
            assert_same(&got, &bytes);
        } else {
            assert_same(&got, &bytes[..got.len()]);
        }
        rig.react(|_, _| None);
        rig.fence();
    }
}

/// Sends as much as makes a backlog, and says how much that was.
fn flood<T: Tx>(tx: &mut T, id: ConnId) -> usize {
    let bytes = Bytes::from(vec![7; 256 << 10]);
    (1..).find(|_| tx.send_shared(id, &bytes) >= 1 << 20).unwrap() * bytes.len()
}

/// `Closed::Eof`: what waits when the peer's FIN comes is dropped; `Close::Graceful`: and then it
/// is not.
pub(crate) fn what_waits_is_dropped_at_fin_unless_closed_gracefully<W: World>(world: &W) {
    for how in [None, Some(Close::Graceful)] {
        let mut rig = Rig::new(world, Config::default());
        let flooded = Rc::new(Cell::new(0));
        let flooding = Rc::clone(&flooded);
        rig.react(move |tx, event| {
            let Event::Received(id, _) = event else { return None };
            if flooding.get() > 0 {
                return None;
            }
            flooding.set(flood(tx, *id));
            how
        });
        let (id, mut peer) = rig.join();
        peer.send(b"?");
        peer.finish();
        world.settle();
        rig.turn_until("the flood", |_| flooded.get() > 0);
        if how.is_none() {
            rig.turn_until("the end", |seen| seen.end(id).is_some());
        }
        let (got, end) = rig.read_to_end(&mut peer);
        assert!(end == End::Eof && got.iter().all(|byte| *byte == 7));
        assert_eq!(got.len() == flooded.get(), how.is_some(), "{} of {flooded:?}", got.len());
        rig.turn_until("the end", |seen| seen.end(id).is_some());
        assert_eq!((rig.seen.end(id), rig.seen.received(id).len()), (Some(End::Eof), 1));
        rig.fence();
    }
}
