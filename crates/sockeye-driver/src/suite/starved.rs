//! Accepting when there are no descriptors.

use std::time::Duration;

use super::rig::Rig;
use super::world::World;
use crate::{Config, Driver as _, Tx as _};

const BACKOFF: Duration = Duration::from_millis(50);

/// `accept_backoff`: who cannot be accepted stays in the queue, the listener is left alone for the
/// time, the others are served meanwhile; and in the end all are accepted and served.
pub(crate) fn peers_wait_for_descriptors_and_are_then_served<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config { accept_backoff: BACKOFF, ..Config::default() });
    let (inside, mut peer) = rig.join();
    rig.exchange(inside, &mut peer);
    let mut waiting = rig.crowd(5);
    let starved = world.starve();
    for _ in 0..3 {
        // Left alone from the turn on in which it failed.
        let patience = rig.patience();
        let last = rig.tx().now();
        while {
            let left_alone_until = rig.tx().now() + BACKOFF;
            rig.tx().now() == last || rig.driver.next_deadline() != Some(left_alone_until)
        } {
            patience.check("an accept that fails");
            rig.turn();
        }
        rig.exchange(inside, &mut peer);
    }
    assert_eq!(rig.seen.accepted().len(), 1);
    drop(starved);
    rig.turn_until("all of them", |seen| seen.accepted().len() == 1 + waiting.len());
    for (id, address) in rig.seen.accepted().split_off(1) {
        let at = waiting.iter().position(|peer| peer.addr() == address).unwrap();
        let mut peer = waiting.remove(at).unwrap();
        rig.exchange(id, &mut peer);
    }
    assert!(waiting.is_empty());
    rig.exchange(inside, &mut peer);
}
