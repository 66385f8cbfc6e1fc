//! Times. Where the world's time is the test's own, what a time brings about happens at its very
//! instant; elsewhere no clock is asked whether it was right.

use std::time::Duration;

use sockeye::{CloseCode, Closed};
use sockeye_codec::OpCode;
use sockeye_tests::peer::{REQUEST, close_payload};
use sockeye_tests::rig::Setup;

use crate::orders::{ENOUGH, obedient};
use crate::stage::Place;
use crate::world::{Id, World, close, frame, quiet, text};

/// How fine the engine's time is.
const TICK_MS: u32 = 125;

/// Something happened just now that was due at this time.
fn assert_on_time(world: &mut World, due_ms: u32) {
    let now = world.elapsed();
    if world.stage().is_virtual() {
        assert_eq!(now, Duration::from_millis(due_ms.into()));
    }
}

/// An obedient server that soon gives up on who does not answer a close frame.
fn impatient() -> Setup {
    obedient().config(|config| config.close_timeout_ms = 4 * TICK_MS)
}

pub(crate) fn a_request_that_does_not_come_is_a_408(place: &Place) {
    let setup = quiet().config(|config| config.handshake_timeout_ms = 4 * TICK_MS);
    let mut world = World::new(place, setup);
    let open = world.open();
    let [silent, half] = [world.connect(), world.connect()];
    world.send(half, &REQUEST.as_bytes()[..REQUEST.len() - 1]);
    world.wait_for_stats("two are refused", |stats| stats.rejected == 2);
    assert_on_time(&mut world, 4 * TICK_MS);
    for id in [silent, half] {
        assert!(world.read_head(id).starts_with("HTTP/1.1 408 "));
        assert_eq!(world.read_bytes(id, 24), b"no request came in time\n");
        world.expect_end(id);
    }
    // Whose handshake was in time is not concerned.
    world.fence(open);
    world.next_open();
    assert_eq!(world.take_record().len(), 2, "the two messages of the fence and nothing else");
}

/// The next frame, which must be a ping as the engine sends it.
fn expect_ping(world: &mut World, id: Id) {
    assert_eq!(world.read_message(id, OpCode::Ping), b"");
}

pub(crate) fn a_silent_peer_is_pinged_and_in_the_end_closed(place: &Place) {
    const ANSWERED: u32 = 8;
    let setup = quiet().config(|config| {
        config.ping_interval_ms = TICK_MS;
        config.idle_timeout_ms = 4 * TICK_MS;
    });
    let mut world = World::new(place, setup);
    let (peer, remote) = world.open_with_remote();
    // A peer that answers stays beyond the idle timeout.
    for n in 1..=ANSWERED {
        expect_ping(&mut world, peer);
        if world.stage().is_virtual() {
            let ticks = world.elapsed().as_millis() / u128::from(TICK_MS);
            assert_eq!(ticks, u128::from(n), "the ping left in time");
        }
        world.send(peer, &frame(true, OpCode::Pong, b""));
    }
    // From here on it is silent.
    world.turn_until("the idle timeout", |_| !remote.is_open());
    assert_on_time(&mut world, (ANSWERED + 4) * TICK_MS);
    let mut pings = 0;
    let last = loop {
        let frame = world.read_frame(peer);
        if frame.opcode != OpCode::Ping {
            break frame;
        }
        pings += 1;
    };
    let expected = close_payload(1001, "idle timeout");
    assert_eq!((last.opcode, last.payload), (OpCode::Close, expected));
    assert!((1..=3).contains(&pings), "{pings} pings in a time for three");
    world.send(peer, &close(1001, ""));
    world.expect_end(peer);
    let why = world.next_closed();
    assert!(matches!(why, Closed::Idle), "{why:?}");
}

pub(crate) fn a_peer_that_is_dead_is_cut(place: &Place) {
    let setup = quiet().config(|config| {
        config.idle_timeout_ms = 4 * TICK_MS;
        config.close_timeout_ms = 4 * TICK_MS;
    });
    let mut world = World::new(place, setup);
    let (_peer, remote) = world.open_with_remote();
    world.turn_until("the idle timeout", |_| !remote.is_open());
    assert_on_time(&mut world, 4 * TICK_MS);
    world.wait_for_stats("it is cut", |stats| stats.connections == 0);
    assert_on_time(&mut world, 8 * TICK_MS);
    let why = world.next_closed();
    assert!(matches!(why, Closed::Idle), "{why:?}");
}

fn expect_closed_by_handler(world: &mut World) {
    assert_eq!(world.next_text(), "close");
    let why = world.next_closed();
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(ENOUGH) }), "{why:?}");
}

pub(crate) fn a_peer_that_does_not_answer_a_close_is_cut(place: &Place) {
    let mut world = World::new(place, impatient());
    let (peer, _) = world.open_with_remote();
    world.send(peer, &[text("close"), text("instead of an answer")].concat());
    assert_eq!(world.read_close(peer).0, ENOUGH);
    world.wait_for_stats("it is cut", |stats| stats.connections == 0);
    assert_on_time(&mut world, 4 * TICK_MS);
    expect_closed_by_handler(&mut world);
    assert!(world.read_to_end(peer).0.is_empty());
}

/// `closed` is told at once, and TCP is cut later.
pub(crate) fn a_peer_that_does_not_send_its_fin_is_cut(place: &Place) {
    let mut world = World::new(place, impatient());
    let (peer, _) = world.open_with_remote();
    world.send(peer, &text("close"));
    assert_eq!(world.read_close(peer).0, ENOUGH);
    world.send(peer, &close(ENOUGH, ""));
    world.expect_end(peer);
    expect_closed_by_handler(&mut world);
    world.wait_for_stats("it is cut", |stats| stats.connections == 0);
    assert_on_time(&mut world, 4 * TICK_MS);
}
