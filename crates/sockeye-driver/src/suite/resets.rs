//! Ends at any point of a conversation.

use std::io::IoSlice;
use std::time::Duration;

use super::rig::{Listener, Peer, Rig};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, ConnId, Tx as _};

/// A step of a conversation between the driver and a peer.
type Step<W> = fn(&mut Rig<W>, ConnId, &mut Peer<W>);

/// One in which all that can be under way is under way after some step.
fn conversation<W: World>() -> Vec<Step<W>> {
    let turn: Step<W> = |rig, _, _| {
        rig.turn();
    };
    vec![
        |_, _, peer| peer.send(b"words"),
        turn,
        |rig, id, _| {
            rig.tx().write(id, &[IoSlice::new(b"words")]);
        },
        turn,
        |_, _, peer| peer.send(&[1; 20_000]),
        turn,
        |rig, id, _| rig.tx().set_recv(id, false),
        |_, _, peer| peer.send(&[2; 20_000]),
        turn,
        |rig, id, _| rig.tx().set_recv(id, true),
        turn,
        |rig, id, _| drop(rig.fill(id, 1 << 20)),
        turn,
        |_, _, peer| drop(peer.receive_some(&mut [0; 10_000])),
        turn,
        |rig, id, _| rig.close(id, Close::Graceful),
        turn,
        |_, _, peer| peer.send(b"last words"),
        turn,
    ]
}

/// There is place for one: one that was left over would keep out all who come later.
fn config() -> Config {
    Config {
        connections_max: 1,
        accept_backoff: Duration::from_millis(1),
        receive_buffer_bytes: 1 << 10,
        receive_budget_bytes: 4 << 10,
        ..Config::default()
    }
}

/// Has a conversation up to each of its points, with peers that came and with peers that were
/// connected to, and ends it there.
fn at_any_point<W: World>(world: &W, end: impl Fn(&mut Rig<W>, ConnId, Peer<W>)) {
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, config());
    let steps = conversation();
    for connects in [false, true] {
        for point in 0..=steps.len() {
            let (id, mut peer) = if connects {
                let id = rig.connect(listener.address());
                let peer = listener.accept();
                rig.turn_until("the connection", |seen| seen.connected(id));
                (id, peer)
            } else {
                rig.join()
            };
            for step in &steps[..point] {
                step(&mut rig, id, &mut peer);
            }
            end(&mut rig, id, peer);
            assert_eq!((rig.tx().backlog_bytes(id), rig.tx().peer_addr(id)), (0, None));
        }
    }
    let (id, mut peer) = rig.join();
    rig.exchange(id, &mut peer);
}

/// Promise 6: a peer resets, at any point: that is told once, as an error, and nothing is left.
pub(crate) fn a_reset_at_any_point_is_told_once<W: World>(world: &W) {
    for sends in [false, true] {
        at_any_point(world, |rig, id, peer| {
            peer.reset();
            if sends {
                rig.tx().write(id, &[IoSlice::new(b"in vain")]);
            }
            // A pause would keep it from being noticed.
            rig.tx().set_recv(id, true);
            rig.turn_until("the reset", |seen| seen.end(id).is_some());
            assert!(matches!(rig.seen.end(id), Some(End::Error(_))), "{:?}", rig.seen.end(id));
        });
    }
}

/// Promise 6: the driver aborts, at any point: nothing is told, the peer sees an end, and nothing
/// is left.
pub(crate) fn an_abort_at_any_point_is_seen_by_the_peer<W: World>(world: &W) {
    at_any_point(world, |rig, id, mut peer| {
        rig.close(id, Close::Abort);
        rig.read_to_end(&mut peer);
        assert_eq!(rig.seen.end(id), None);
    });
}

/// Promise 6: peers that reset before they were accepted come and go.
pub(crate) fn a_reset_in_the_queue_is_told_once<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let count = 10;
    rig.crowd(count).into_iter().for_each(Peer::reset);
    let closed = |event: &Event| matches!(event, Event::Closed(_, End::Error(_)));
    rig.turn_until("all of them", |seen| seen.count(closed) == count);
    assert_eq!(rig.seen.accepted().len(), count);
    let (id, mut peer) = rig.join();
    rig.exchange(id, &mut peer);
}
