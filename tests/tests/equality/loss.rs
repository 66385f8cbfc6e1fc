//! Connections that end without a closing handshake, anywhere.

use std::io::ErrorKind;

use sockeye::{CloseCode, Closed};
use sockeye_codec::OpCode;
use sockeye_tests::peer::{REQUEST, unmasked};

use crate::orders::{FLOOD_BACKLOG_BYTES, flood_message, obedient};
use crate::stage::Place;
use crate::world::{World, close, frame, quiet, text};

fn assert_lost_by_fin(why: &Closed) {
    assert!(matches!(why, Closed::Lost(None)), "{why:?}");
    assert_eq!(why.code(), CloseCode::ABNORMAL);
}

pub(crate) fn a_fin_without_a_close_frame(place: &Place) {
    let mut world = World::new(place, quiet());
    let (peer, remote) = world.open_with_remote();
    world.finish(peer);
    world.expect_end(peer);
    assert_lost_by_fin(&world.next_closed());
    assert!(!remote.is_open());
}

pub(crate) fn a_fin_within_a_frame_or_a_request(place: &Place) {
    let mut world = World::new(place, quiet());
    let whole = [frame(false, OpCode::Text, b"hello"), frame(true, OpCode::Continuation, b"!")];
    let whole = whole.concat();
    for cut in 1..whole.len() {
        let (peer, _) = world.open_with_remote();
        world.send(peer, &whole[..cut]);
        world.finish(peer);
        world.expect_end(peer);
        assert_lost_by_fin(&world.next_closed());
        world.leave(peer);
    }
    let opened = world.stats().opened;
    for cut in (0..REQUEST.len()).step_by(10) {
        let peer = world.connect();
        world.send(peer, &REQUEST.as_bytes()[..cut]);
        world.finish(peer);
        world.expect_end(peer);
        world.leave(peer);
    }
    assert_eq!(world.stats().opened, opened);
    assert!(world.take_record().is_empty(), "what never opened is on no record");
}

pub(crate) fn a_fin_instead_of_the_answer(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.send(peer, &text("close"));
    assert_eq!(world.read_close(peer).0, 4000);
    world.finish(peer);
    world.expect_end(peer);
    assert_eq!(world.next_text(), "close");
    let why = world.next_closed();
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(4000) }), "{why:?}");
}

/// Messages and the FIN leave at once: all of them are handled, and what of their answers the
/// network had not taken when the FIN came is forfeit (decision 0004).
pub(crate) fn what_came_before_the_fin_is_handled(place: &Place) {
    const COUNT: usize = 200;
    let mut world = World::new(place, quiet());
    let (peer, _) = world.open_with_remote();
    let mut answers = Vec::new();
    for n in 0..COUNT {
        let message = format!("{n} {}", "x".repeat(n % 50));
        world.send(peer, &text(&message));
        answers.extend(unmasked(0x81, message.as_bytes()));
    }
    world.finish(peer);
    let (got, _) = world.read_to_end(peer);
    assert!(answers.starts_with(&got), "{} bytes of {}", got.len(), answers.len());
    for n in 0..COUNT {
        let message = world.next_text();
        assert!(message.starts_with(&format!("{n} ")) && message.ends_with('x') == (n % 50 > 0));
    }
    assert_lost_by_fin(&world.next_closed());
}

/// Decision 0004: "A peer that sends FIN without a close frame forfeits what waits for it".
pub(crate) fn a_fin_forfeits_the_backlog(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.set_reading(peer, false);
    let count = world.order(peer, "flood");
    world.finish(peer);
    assert_lost_by_fin(&world.next_closed());
    world.wait_for_stats("nothing is held", |stats| stats.connections == 0);
    world.set_reading(peer, true);
    let (got, _) = world.read_to_end(peer);
    let sent: Vec<_> = (0..count).flat_map(|n| unmasked(0x82, &flood_message(n))).collect();
    assert!(sent.starts_with(&got));
    assert!(got.len() + FLOOD_BACKLOG_BYTES / 2 < sent.len(), "{} of {}", got.len(), sent.len());
}

pub(crate) fn a_reset(place: &Place) {
    let mut world = World::new(place, quiet());
    let (peer, remote) = world.open_with_remote();
    world.abort(peer);
    let why = world.next_closed();
    match &why {
        Closed::Lost(Some(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    assert_eq!(why.code(), CloseCode::ABNORMAL);
    assert!(!remote.is_open());
}

pub(crate) fn a_reset_instead_of_the_answer(place: &Place) {
    let mut world = World::new(place, obedient());
    let (peer, _) = world.open_with_remote();
    world.send(peer, &text("close"));
    assert_eq!(world.read_close(peer).0, 4000);
    world.abort(peer);
    assert_eq!(world.next_text(), "close");
    let why = world.next_closed();
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(4000) }), "{why:?}");
}

/// At each byte of a conversation, request and all: in flight, and after it has been handled.
pub(crate) fn resets_at_every_stage_of_a_conversation(place: &Place) {
    let mut world = World::new(place, quiet());
    let other = world.open();
    let conversation = [
        REQUEST.as_bytes().to_vec(),
        text("hello"),
        frame(true, OpCode::Ping, b"ping"),
        frame(false, OpCode::Binary, &[7; 200]),
        frame(true, OpCode::Continuation, b""),
        close(1000, ""),
    ];
    let conversation = conversation.concat();
    for cut in 0..=conversation.len() {
        for handled in [false, true] {
            let peer = world.connect();
            world.send(peer, &conversation[..cut]);
            world.flush(peer);
            if handled {
                world.fence(other);
            }
            world.abort(peer);
        }
    }
    world.fence(other);
    world.wait_for_stats("one is left", |stats| stats.connections == 1);
    assert_eq!(world.stats().protocol_errors, 0);
    world.close(other, 1000);
}
