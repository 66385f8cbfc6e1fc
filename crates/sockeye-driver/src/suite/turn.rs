//! Waiting: deadlines and wakers.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::rig::{Patience, Rig};
use super::seen::{Event, Seen};
use super::world::World;
use crate::{Config, Driver as _, Tx as _};

/// A time far enough away to see whether somebody waits for it.
const SOON: Duration = Duration::from_millis(20);

/// `turn`: with nothing to do it ends when the deadline has passed, not before, and a deadline that
/// has passed does not keep it from telling what there is.
pub(crate) fn a_turn_ends_at_its_deadline<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    rig.fence();
    rig.turn_to(world.now());
    for _ in 0..3 {
        let until = rig.now() + SOON;
        assert!(rig.turn_to(until).is_empty());
        assert!(rig.tx().now() >= until, "nothing had happened");
    }
    let past = rig.now();
    let peer = rig.peer();
    let patience = rig.patience();
    while rig.turn_to(past).is_empty() {
        patience.check("the peer");
    }
    drop(peer);
}

/// `now`: one time for all that a turn tells, and never an earlier one.
pub(crate) fn a_turn_has_one_time<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let turn = Rc::new(Cell::new(0));
    let current = Rc::clone(&turn);
    let (mut last_turn, mut last_time) = (0, rig.tx().now());
    rig.react(move |tx, _| {
        assert!(tx.now() >= last_time);
        assert!(tx.now() == last_time || current.get() != last_turn, "within a turn");
        (last_turn, last_time) = (current.get(), tx.now());
        None
    });
    let mut peers: Vec<_> = (0..10).map(|_| rig.peer()).collect();
    let begin = rig.tx().now();
    for n in 1..100 {
        for peer in &mut peers {
            peer.send(b"?");
        }
        turn.set(n);
        rig.turn();
    }
    rig.turn_until("all of them", |seen| seen.accepted().len() == peers.len());
    assert!(rig.tx().now() > begin);
}

/// `Waker`: ends a turn that waits, from another thread, whether it waits already or is about to.
pub(crate) fn a_waker_ends_a_turn_from_another_thread<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    rig.fence();
    for _ in 0..50 {
        let waker = rig.driver.waker();
        let thread = std::thread::spawn(move || waker.wake());
        world.let_run(&thread);
        let patience = rig.patience();
        assert!(rig.turn_to(patience.until()).is_empty());
        patience.check("to be woken");
        thread.join().unwrap().unwrap();
    }
}

/// `Waker::wake`: any number of calls ends one turn, and the next one waits again.
pub(crate) fn many_wakes_are_one<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    rig.fence();
    let waker = rig.driver.waker();
    for count in [1, 2, 1_000] {
        for _ in 0..count {
            waker.clone().wake().unwrap();
        }
        let patience = rig.patience();
        rig.turn_to(patience.until());
        patience.check("to be woken");
        let until = rig.now() + SOON;
        rig.turn_to(until);
        assert!(rig.tx().now() >= until, "woken twice");
    }
    // It may outlive the driver.
    drop(rig);
    waker.wake().unwrap();
}

/// Sends leave together, but not behind much work: an answer is there while the turn goes on.
pub(crate) fn answers_leave_while_a_long_turn_goes_on<W: World + 'static>(world: &W) {
    const PEERS: usize = 12;
    let mut rig = Rig::new(world, Config::default());
    let mut peers: HashMap<_, _> = (0..PEERS).map(|_| rig.join()).collect();
    peers.values_mut().for_each(|peer| peer.send(b"?"));
    world.settle();
    let (mut answered, patience) = (Vec::new(), Patience::new(world));
    rig.react(move |tx, event| {
        let Event::Received(id, _) = event else { return None };
        tx.write(*id, &[IoSlice::new(b"!")]);
        answered.push(*id);
        if answered.len() < PEERS {
            // Work, long enough that others need not wait for its end.
            thread::sleep(Duration::from_millis(1));
        } else {
            let first = peers.get_mut(&answered[0]).unwrap();
            while first.receive_some(&mut [0]).unwrap().is_none() {
                patience.check("the first answer, before the last callback returns");
            }
        }
        None
    });
    let all = |seen: &Seen<_>| {
        let received = |event: &&Event| matches!(event, Event::Received(..));
        seen.events().iter().filter(received).count() == PEERS
    };
    rig.turn_until("all questions", all);
}
