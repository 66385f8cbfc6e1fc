//! Many connections: at once, and one after the other in the same places.

use std::sync::{Mutex, PoisonError};

use sockeye::Upgrade;
use sockeye_tests::rig::{Seen, Session};

use crate::stage::Place;
use crate::world::{Id, World, close, frame, quiet, text};

/// Two such crowds of sockets at once would be over the limit of file descriptors.
static CROWD: Mutex<()> = Mutex::new(());

pub(crate) fn five_thousand_at_once(place: &Place) {
    const COUNT: usize = 5_000;
    const WAVE: usize = 500;
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = quiet().open(|ctx| assert!(ctx.subscribe("all").expect("room")));
    let mut world = World::new(place, setup);
    world.stage().hurry();
    let mut peers = Vec::new();
    for _ in 0..COUNT / WAVE {
        let wave: Vec<_> = (0..WAVE).map(|_| world.ask("/")).collect();
        for id in &wave {
            world.expect_open(*id);
        }
        peers.extend(wave);
    }
    assert_eq!(world.stats().open, COUNT as u64);
    for (n, id) in peers.iter().enumerate() {
        world.send(*id, &text(&format!("number {n}")));
    }
    for (n, id) in peers.iter().enumerate() {
        assert_eq!(world.read_text(*id), format!("number {n}"));
    }
    for publication in ["one", "two"] {
        world.handle().publish("all", publication).expect("room");
    }
    for id in &peers {
        assert_eq!([world.read_text(*id), world.read_text(*id)], ["one", "two"]);
        world.send(*id, &close(1000, ""));
    }
    // Once: the answer to the close frame comes next.
    for id in &peers {
        assert_eq!(world.read_close(*id).0, 1000);
        world.expect_end(*id);
    }
    let closed = world.take_record();
    let closed =
        closed.iter().filter(|seen| matches!(seen, Seen::Closed(_, why) if why.code().0 == 1000));
    assert_eq!(closed.count(), COUNT);
    assert_eq!(world.stats().open, 0);
}

/// What becomes of one of the many that come and go.
fn come_and_go(world: &mut World, id: Id, n: usize) {
    match n % 5 {
        // Before it has been accepted, most likely; or in its handshake.
        0 => world.abort(id),
        1 => world.leave(id),
        // Open, and with an answer on its way.
        2 | 3 => {
            world.expect_open(id);
            world.send(id, &text("not read"));
            if n % 5 == 2 {
                world.abort(id);
            } else {
                world.leave(id);
            }
        }
        // With half a message in the engine.
        _ => {
            world.expect_open(id);
            world.send(id, &frame(false, sockeye_codec::OpCode::Text, b"half a message"));
            world.flush(id);
            world.abort(id);
        }
    }
}

/// Each answer begins with the name that its connection has asked for; what is sent to connections
/// that are gone comes to nobody.
pub(crate) fn slots_are_used_again_and_nobody_gets_another_s(place: &Place) {
    const WAVES: usize = 30;
    const WAVE: usize = 100;
    const TALKERS: usize = 8;
    let setup = quiet()
        .upgrade(|request| {
            Upgrade::accept(Session { name: request.path().into(), ..Session::default() })
        })
        .message(|ctx, message| {
            let answer = format!("{} {}", ctx.session().name, message.as_text().expect("text"));
            ctx.send(answer.as_str());
        });
    let mut world = World::new(place, setup);
    world.stage().hurry();
    let mut talkers = Vec::new();
    for n in 0..TALKERS {
        let name = format!("/talker/{n}");
        let id = world.ask(&name);
        world.expect_open(id);
        talkers.push((id, name));
    }
    world.take_record();
    for wave in 0..WAVES {
        let crowd: Vec<_> = (0..WAVE).map(|n| world.ask(&format!("/{wave}/{n}"))).collect();
        for (id, _) in &talkers {
            world.send(*id, &text(&format!("in wave {wave}")));
        }
        for (n, id) in crowd.into_iter().enumerate() {
            come_and_go(&mut world, id, n);
        }
        // These take the places of those.
        let heirs: Vec<_> = (0..10).map(|n| world.ask(&format!("/heir/{wave}/{n}"))).collect();
        for seen in world.take_record() {
            if let Seen::Open(remote) = seen {
                world.handle().send_to(remote.id(), "for one that is gone").expect("room");
            }
        }
        for (n, id) in heirs.iter().enumerate() {
            world.expect_open(*id);
            world.send(*id, &text("?"));
            assert_eq!(world.read_text(*id), format!("/heir/{wave}/{n} ?"));
        }
        for (id, name) in &talkers {
            assert_eq!(world.read_text(*id), format!("{name} in wave {wave}"));
        }
        for id in heirs {
            world.close(id, 1000);
        }
    }
    world.wait_for_stats("the talkers are left", |stats| stats.connections == TALKERS as u64);
    assert!(world.stats().opened >= (WAVES * WAVE * 3 / 5) as u64);
    for (id, _) in talkers {
        world.close(id, 1000);
    }
}
