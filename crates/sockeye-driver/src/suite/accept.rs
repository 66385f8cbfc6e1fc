//! Connections in.

use std::collections::HashSet;
use std::time::Duration;

use super::rig::{Peer, Rig};
use super::seen::Event;
use super::world::{Stream as _, World};
use crate::{Config, Driver as _, Tx as _};

/// `accepted`: with the peer's address, once for each peer.
pub(crate) fn the_peer_is_named<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let peers = rig.crowd(20);
    rig.turn_until("all of them", |seen| seen.accepted().len() == peers.len());
    for (id, address) in rig.seen.accepted() {
        assert_eq!(rig.tx().peer_addr(id), Some(address));
    }
    let told: HashSet<_> = rig.seen.accepted().into_iter().map(|(_, address)| address).collect();
    assert_eq!(told, peers.iter().map(Peer::addr).collect());
}

/// Promise 5: no more than the budget in one turn; the others come without a further event.
pub(crate) fn a_turn_accepts_its_budget_and_the_next_ones_the_rest<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config { accept_budget: 3, ..Config::default() });
    let peers = rig.crowd(20);
    let patience = rig.patience();
    let mut accepted = 0;
    while accepted < peers.len() {
        patience.check("all of them");
        let count = rig.turn_to(patience.until()).len();
        assert!(count <= 3, "{count} in one turn");
        accepted += count;
    }
}

/// `connections_max`: who comes then waits in the kernel's queue, and comes in when one leaves.
pub(crate) fn above_the_maximum_peers_wait_until_one_leaves<W: World>(world: &W) {
    let config = Config {
        connections_max: 2,
        accept_backoff: Duration::from_millis(1),
        ..Config::default()
    };
    let mut rig = Rig::new(world, config);
    let mut waiting = rig.crowd(6);
    let mut inside = Vec::new();
    while !waiting.is_empty() || !inside.is_empty() {
        let left = 6 - waiting.len() - inside.len();
        let accepted = 6.min(left + 2);
        rig.turn_until("a place", |seen| seen.accepted().len() == accepted);
        for (id, address) in rig.seen.accepted() {
            if let Some(at) = waiting.iter().position(|peer| peer.addr() == address) {
                inside.extend(waiting.remove(at).map(|peer| (id, peer)));
            }
        }
        for _ in 0..5 {
            for (id, peer) in &mut inside {
                rig.exchange(*id, peer);
            }
        }
        assert_eq!(rig.seen.accepted().len(), accepted, "no more than two at a time");
        let (id, peer) = inside.remove(0);
        drop(peer);
        rig.turn_until("it to leave", |seen| seen.end(id).is_some());
    }
}

/// `stop_listening`: the address refuses, who is inside stays.
pub(crate) fn after_stop_listening_nobody_comes_in<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    rig.exchange(id, &mut peer);
    rig.tx().stop_listening();
    // The connection inside keeps the system from giving the port to anybody else.
    assert!(rig.try_peer().is_err());
    rig.exchange(id, &mut peer);
    rig.tx().stop_listening();
    rig.exchange(id, &mut peer);
    assert_eq!(rig.seen.accepted().len(), 1);
}

/// `stop_listening` within `accepted`: the one accepted was the last.
pub(crate) fn stop_listening_counts_within_the_turn<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    rig.react(|tx, event| {
        if matches!(event, Event::Accepted(..)) {
            tx.stop_listening();
        }
        None
    });
    let mut peers = rig.crowd(10);
    rig.turn_until("the first", |seen| !seen.accepted().is_empty());
    let (id, address) = rig.seen.accepted()[0];
    let inside = peers.iter().position(|peer| peer.addr() == address).unwrap();
    let mut peer = peers.remove(inside).unwrap();
    for _ in 0..5 {
        rig.exchange(id, &mut peer);
    }
    assert_eq!(rig.seen.accepted().len(), 1);
}

/// `listen`: a listener that would block is as good as another, and takes the place of the first.
pub(crate) fn any_listener_will_do<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    let (listener, address) = world.bind_otherwise();
    rig.driver.listen(listener).unwrap();
    let other = world.connect(address).unwrap();
    rig.turn_until("the other", |seen| seen.accepted().len() == 2);
    assert_eq!(rig.seen.accepted()[1].1, other.addr());
    rig.turn();
    rig.exchange(id, &mut peer);
}
