//! Closing handshakes in every order. That `closed` is told once for each `open` is checked at the
//! end of each world.

use sockeye::{CloseCode, Closed, ProtocolError};
use sockeye_codec::OpCode;
use sockeye_tests::peer::unmasked;
use sockeye_tests::rig::Seen;

use crate::orders::{ENOUGH, expect_flood, obedient};
use crate::stage::Place;
use crate::world::{Id, World, close, frame, quiet, text};

pub(crate) fn the_peer_closes_first(place: &Place) {
    let long = "x".repeat(123);
    let mut world = World::new(place, quiet());
    for (frame, answer, code, reason) in [
        (close(1000, ""), &[3, 232][..], 1000, ""),
        (close(3000, "h\u{e9}"), &[11, 184], 3000, "h\u{e9}"),
        (close(4999, &long), &[19, 135], 4999, &*long),
        (frame(true, OpCode::Close, b""), &[], 1005, ""),
    ] {
        let (peer, remote) = world.open_with_remote();
        world.send(peer, &frame);
        assert_eq!(world.read_message(peer, OpCode::Close), answer);
        world.expect_end(peer);
        assert!(!remote.is_open());
        match world.next_closed() {
            Closed::ByPeer { code: got, reason: because } => {
                assert_eq!((got.0, &*because), (code, reason));
            }
            why => panic!("{why:?}"),
        }
    }
}

/// The handler's close frame has come; the peer answers, and that is the end.
fn answer_the_handler(world: &mut World, peer: Id) {
    assert_eq!(world.read_close(peer), (ENOUGH, "enough".into()));
    world.send(peer, &close(ENOUGH, ""));
    world.expect_end(peer);
    expect_closed_by_handler(world);
}

fn expect_closed_by_handler(world: &mut World) {
    let why = world.next_closed();
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(ENOUGH) }), "{why:?}");
}

pub(crate) fn the_server_closes_first(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, remote) = world.open_with_remote();
    world.send(peer, &[text("first"), text("close"), text("not handled")].concat());
    assert_eq!(world.read_text(peer), "first");
    for expected in ["first", "close"] {
        assert_eq!(world.next_text(), expected);
    }
    assert!(!remote.is_open());
    world.send(peer, &text("nor this"));
    answer_the_handler(&mut world, peer);
}

/// The peer's close frame is not the answer to the handler's, and yet it will do: one leaves, and
/// its code is the handler's.
pub(crate) fn both_close_at_once(place: &Place) {
    let mut world = World::new(place, obedient());
    let peer = world.open();
    world.send(peer, &[text("close"), close(3000, "mine")].concat());
    assert_eq!(world.read_close(peer), (ENOUGH, "enough".into()));
    world.expect_end(peer);
    world.next_open();
    assert_eq!(world.next_text(), "close");
    expect_closed_by_handler(&mut world);
}

/// Who is first depends on the way that the peer's frame takes; the peer and the handler are told
/// the same.
pub(crate) fn another_thread_and_the_peer_close_at_once(place: &Place) {
    let mut world = World::new(place, quiet());
    for _ in 0..20 {
        let (peer, remote) = world.open_with_remote();
        world.send(peer, &close(3000, "mine"));
        std::thread::scope(|scope| {
            let close = || remote.close(CloseCode(ENOUGH), "enough");
            scope.spawn(close).join().expect("no panic").expect("it is open");
        });
        let (code, reason) = world.read_close(peer);
        world.expect_end(peer);
        match world.next_closed() {
            Closed::ByPeer { .. } => assert_eq!((code, reason.as_str()), (3000, "")),
            Closed::ByHandler { .. } => assert_eq!((code, reason.as_str()), (ENOUGH, "enough")),
            why => panic!("{why:?}"),
        }
    }
}

pub(crate) fn what_follows_a_close_frame_is_not_handled(place: &Place) {
    let mut world = World::new(place, quiet());
    let (peer, _) = world.open_with_remote();
    let behind = frame(true, OpCode::Binary, &[7; 100_000]);
    world.send(peer, &[text("before"), close(1000, ""), text("behind"), behind].concat());
    assert_eq!(world.read_text(peer), "before");
    assert_eq!(world.read_close(peer).0, 1000);
    world.send(peer, &text("later"));
    world.expect_end(peer);
    assert_eq!(world.next_text(), "before");
    assert_eq!(world.next_closed().code().0, 1000);
    world.leave(peer);
    world.wait_for_stats("it is gone", |stats| stats.connections == 0);
    assert!(world.take_record().is_empty());
}

pub(crate) fn a_protocol_error_closes_without_a_reset(place: &Place) {
    let mut world = World::new(place, quiet());
    let cases = [
        (unmasked(0x81, b"not masked"), 1002, ProtocolError::Unmasked),
        (frame(true, OpCode::Continuation, b""), 1002, ProtocolError::ContinuationWithoutStart),
        (frame(true, OpCode::Text, b"\xFF"), 1007, ProtocolError::InvalidUtf8),
        (vec![0x82, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0], 1009, ProtocolError::FrameTooLarge),
    ];
    for (wrong, code, error) in cases {
        let (peer, _) = world.open_with_remote();
        let more = frame(true, OpCode::Binary, &[7; 300_000]);
        world.send(peer, &[text("before"), wrong, more].concat());
        assert_eq!(world.read_text(peer), "before");
        assert_eq!(world.read_close(peer).0, code);
        world.expect_end(peer);
        assert_eq!(world.next_text(), "before");
        match world.next_closed() {
            Closed::Protocol(got) => assert_eq!(got, error),
            why => panic!("{why:?}"),
        }
    }
    assert_eq!(world.stats().protocol_errors, 4);
}

pub(crate) fn a_close_frame_waits_behind_the_backlog(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.set_reading(peer, false);
    let count = world.order(peer, "flood and close");
    world.set_reading(peer, true);
    expect_flood(&mut world, peer, 0..count);
    answer_the_handler(&mut world, peer);
}

pub(crate) fn the_answer_to_a_close_frame_waits_behind_the_backlog(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.set_reading(peer, false);
    world.send(peer, &[text("flood"), close(3000, "bye")].concat());
    assert_eq!(world.next_text(), "flood");
    let count: usize = world.next_note().parse().expect("a number");
    assert_eq!(world.next_closed().code().0, 3000, "told at once");
    world.set_reading(peer, true);
    expect_flood(&mut world, peer, 0..count);
    assert_eq!(world.read_close(peer).0, 3000);
    world.expect_end(peer);
}

pub(crate) fn a_close_within_a_fragmented_message(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.send(peer, &[frame(false, OpCode::Text, b"half"), close(1000, "")].concat());
    assert_eq!(world.read_close(peer).0, 1000);
    world.expect_end(peer);
    assert_eq!(world.next_closed().code().0, 1000, "and no message");

    let (peer, _) = world.open_with_remote();
    world.send(peer, &[text("close"), frame(false, OpCode::Text, b"half")].concat());
    assert_eq!(world.next_text(), "close");
    answer_the_handler(&mut world, peer);
}

pub(crate) fn a_shutdown_closes_everybody(place: &Place) {
    let mut world = World::new(place, quiet());
    let (peer, _) = world.open_with_remote();
    let (slow, _) = world.open_with_remote();
    let half = world.connect();
    world.send(half, b"GET / HTTP/1.1\r\n");
    world.wait_for_stats("three", |stats| stats.connections == 3);
    world.handle().shutdown();
    for id in [peer, slow] {
        assert_eq!(world.read_close(id), (1001, "the server shuts down".into()));
    }
    world.read_to_end(half);
    for id in [peer, slow] {
        world.wait_for_stats("the others are gone", |stats| stats.connections <= 2);
        assert!(!world.stage().is_done(), "one has not answered");
        world.send(id, &close(1001, ""));
        world.expect_end(id);
        world.leave(id);
        let why = world.next();
        assert!(matches!(why, Seen::Closed(_, Closed::Shutdown)), "{why:?}");
    }
    world.turn_until("the end", |world| world.stage().is_done());
}
