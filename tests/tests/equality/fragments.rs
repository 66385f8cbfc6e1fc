//! Messages in many pieces.

use sockeye_codec::OpCode;
use sockeye_tests::peer::text_of;
use sockeye_tests::rig::Seen;

use crate::stage::Place;
use crate::world::{World, close, frame, quiet, text};

/// The frames of a message, one for each of these payloads.
fn fragments<'a>(opcode: OpCode, payloads: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payloads = payloads.enumerate().peekable();
    let mut frames = Vec::new();
    while let Some((n, payload)) = payloads.next() {
        let opcode = if n == 0 { opcode } else { OpCode::Continuation };
        frames.extend(frame(payloads.peek().is_none(), opcode, payload));
    }
    frames
}

/// A byte each, so that characters are divided too.
pub(crate) fn ten_thousand_fragments_are_a_message_and_one_more_is_too_many(place: &Place) {
    const COUNT: usize = 10_000;
    let setup = quiet().config(|config| config.fragments_per_message_max = COUNT as u32);
    let mut world = World::new(place, setup);
    let message = text_of(COUNT, 1);
    let peer = world.open();
    world.send(peer, &fragments(OpCode::Text, message.as_bytes().chunks(1)));
    assert!(world.read_text(peer) == message);

    world.send(peer, &fragments(OpCode::Text, b"x".repeat(COUNT + 1).chunks(1)));
    assert_eq!(world.read_close(peer).0, 1009);
    world.expect_end(peer);
    world.next_open();
    assert!(world.next_text() == message);
    assert_eq!(world.next_closed().code().0, 1009);
}

pub(crate) fn empty_fragments_are_fragments(place: &Place) {
    let mut world = World::new(place, quiet());
    let peer = world.open();
    let cases: [&[&[u8]]; 4] =
        [&[b""], &[b"", b""], &[b"", b"a", b"", b"", b"bc", b""], &[&b""[..]; 1_000]];
    for payloads in cases {
        world.send(peer, &fragments(OpCode::Text, payloads.iter().copied()));
        assert_eq!(world.read_text(peer).as_bytes(), payloads.concat());
    }
    world.close(peer, 1000);
}

pub(crate) fn control_frames_between_fragments_are_answered_in_their_place(place: &Place) {
    const COUNT: usize = 100;
    let mut world = World::new(place, quiet());
    let peer = world.open();
    world.send(peer, &text("before"));
    for n in 0..COUNT {
        let opcode = if n == 0 { OpCode::Binary } else { OpCode::Continuation };
        world.send(peer, &frame(n + 1 == COUNT, opcode, &[n as u8]));
        world.send(peer, &frame(true, OpCode::Ping, format!("ping {n}").as_bytes()));
        world.send(peer, &frame(true, OpCode::Pong, b"nobody asked"));
    }
    world.send(peer, &close(1000, ""));
    assert_eq!(world.read_text(peer), "before");
    for n in 0..COUNT {
        if n + 1 == COUNT {
            let message = world.read_message(peer, OpCode::Binary);
            assert!(message.iter().copied().eq(0..COUNT as u8));
        }
        let pong = world.read_message(peer, OpCode::Pong);
        assert_eq!(pong, format!("ping {n}").as_bytes());
    }
    assert_eq!(world.read_close(peer).0, 1000);
    world.expect_end(peer);
    world.next_open();
    assert_eq!(world.next_text(), "before");
    assert!(matches!(world.next(), Seen::Binary(bytes) if bytes.len() == COUNT));
    assert_eq!(world.next_closed().code().0, 1000);
}
