//! Connections out.

use std::io::{ErrorKind, IoSlice};

use bytes::Bytes;

use super::rig::{Listener, Rig, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, Tx as _};

/// `connect`: `connected`, and only then what the peer sends, who may be quick.
pub(crate) fn connected_comes_first_and_then_the_bytes<W: World>(world: &W) {
    let listener = Listener::new(world);
    let address = listener.address();
    for greeting in [0, 1, 100_000] {
        let mut rig = Rig::new(world, Config::default());
        let id = rig.connect(address);
        let mut peer = listener.accept();
        let bytes = pattern(1, greeting);
        peer.send(&bytes);
        rig.turn_until("all of it", |seen| {
            seen.connected(id) && seen.received(id).len() == greeting
        });
        assert_eq!(rig.seen.events()[0], Event::Connected(id));
        assert_same(&rig.seen.received(id), &bytes);
        assert_eq!(rig.tx().peer_addr(id), Some(address));
        rig.exchange(id, &mut peer);
        peer.finish();
        rig.turn_until("the end", |seen| seen.end(id) == Some(End::Eof));
    }
}

/// Promises 4 and 7: bytes given before the connection is there wait for it, and then go first.
pub(crate) fn what_was_sent_too_early_is_sent_in_time<W: World>(world: &W) {
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    rig.react(|tx, event| {
        if let Event::Connected(id) = event {
            tx.write(*id, &[IoSlice::new(b"third")]);
        }
        None
    });
    let id = rig.connect(listener.address());
    assert_eq!(rig.tx().send_shared(id, &Bytes::from_static(b"first")), 5);
    assert_eq!(rig.tx().write(id, &[IoSlice::new(b"sec"), IoSlice::new(b"ond")]), 11);
    let mut peer = listener.accept();
    assert_eq!(rig.read(&mut peer, 16), b"firstsecondthird");
    assert_eq!(rig.tx().backlog_bytes(id), 0);
    rig.exchange(id, &mut peer);
}

/// `connect`: an address that refuses is told at once or by `closed(Error)`, and not connected.
pub(crate) fn a_refused_connect_is_closed_with_an_error<W: World>(world: &W) {
    let (_reserved, address) = world.reserve();
    let mut rig = Rig::new(world, Config::default());
    let id = rig.connect(address);
    assert!(rig.tx().write(id, &[IoSlice::new(b"in vain")]) <= 7);
    rig.turn_until("the refusal", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Error(ErrorKind::ConnectionRefused)));
    assert_eq!((rig.tx().backlog_bytes(id), rig.tx().peer_addr(id)), (0, None));
    rig.fence();
}

/// Promise 6: of a connect that was aborted nothing is told.
pub(crate) fn an_aborted_connect_is_not_heard_of<W: World>(world: &W) {
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    let id = rig.connect(listener.address());
    rig.tx().write(id, &[IoSlice::new(b"never sent")]);
    rig.close(id, Close::Abort);
    rig.fence();
    assert_eq!(rig.seen.end(id), None);
    // Not even where the number has a new owner, who also connects.
    let next = rig.connect(listener.address());
    rig.turn_until("the next", |seen| seen.connected(next));
    assert_ne!(id, next);
}

/// `Close::Graceful` of a connect under way: what waits is sent, the end is told, `connected` not.
pub(crate) fn a_connect_closed_gracefully_does_not_connect<W: World>(world: &W) {
    let listener = Listener::new(world);
    for words in ["", "last words"] {
        let mut rig = Rig::new(world, Config::default());
        let id = rig.connect(listener.address());
        rig.tx().write(id, &[IoSlice::new(words.as_bytes())]);
        rig.close(id, Close::Graceful);
        let mut peer = listener.accept();
        assert_eq!(rig.read_to_end(&mut peer), (words.as_bytes().to_vec(), End::Eof));
        peer.finish();
        rig.turn_until("the end", |seen| seen.end(id).is_some());
        assert_eq!(rig.seen.end(id), Some(End::Eof));
    }
    let (_reserved, address) = world.reserve();
    let mut rig = Rig::new(world, Config::default());
    let id = rig.connect(address);
    rig.close(id, Close::Graceful);
    rig.turn_until("the refusal", |seen| seen.end(id).is_some());
    assert!(matches!(rig.seen.end(id), Some(End::Error(_))), "{:?}", rig.seen.end(id));
}

/// `set_recv` before the connection is there: it holds, and nothing is received before `connected`.
pub(crate) fn resumed_while_connecting<W: World>(world: &W) {
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    let id = rig.connect(listener.address());
    rig.tx().set_recv(id, false);
    let mut peer = listener.accept();
    peer.send(b"greeting");
    rig.tx().set_recv(id, true);
    rig.turn_until("the greeting", |seen| seen.received(id) == b"greeting");
    assert_eq!(rig.seen.events()[0], Event::Connected(id));

    let id = rig.connect(listener.address());
    rig.tx().set_recv(id, false);
    let mut peer = listener.accept();
    peer.send(b"greeting");
    rig.turn_until("the connection", |seen| seen.connected(id));
    rig.fence();
    assert_eq!(rig.seen.received(id), b"");
    rig.tx().set_recv(id, true);
    rig.turn_until("the greeting", |seen| seen.received(id) == b"greeting");
}
