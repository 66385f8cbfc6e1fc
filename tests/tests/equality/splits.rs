//! A conversation cut anywhere.

use sockeye_codec::OpCode;
use sockeye_tests::peer::{bytes_of, close_payload, unmasked};
use sockeye_tests::rig::Seen;

use crate::stage::Place;
use crate::world::{End, Id, World, close, frame, quiet, text};

/// A bit of everything, and all that an echo server answers.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let (long, emoji) = (bytes_of(130, 1), "é€😀".as_bytes());
    let said = [
        text("é€😀"),
        frame(true, OpCode::Ping, b"there?"),
        frame(true, OpCode::Binary, &long),
        // Cut within a character.
        frame(false, OpCode::Text, &emoji[..4]),
        frame(true, OpCode::Ping, b""),
        frame(false, OpCode::Continuation, b""),
        frame(true, OpCode::Continuation, &emoji[4..]),
        frame(true, OpCode::Pong, b"nobody asked"),
        text(""),
        close(3001, "bye"),
    ];
    let answered = [
        unmasked(0x81, emoji),
        unmasked(0x8A, b"there?"),
        unmasked(0x82, &long),
        unmasked(0x8A, b""),
        unmasked(0x81, emoji),
        unmasked(0x81, b""),
        unmasked(0x88, &close_payload(3001, "")),
    ];
    (said.concat(), answered.concat())
}

fn expect_answers(world: &mut World, peer: Id, answers: &[u8], how: &str) {
    let (got, end) = world.read_to_end(peer);
    assert_eq!((got.as_slice(), end), (answers, End::Fin), "{how}");
    world.leave(peer);
}

pub(crate) fn a_conversation_may_be_cut_at_every_byte(place: &Place) {
    let (said, answers) = conversation();
    let mut world = World::new(place, quiet());
    let other = world.open();
    for cut in 0..=said.len() {
        let peer = world.open();
        world.send(peer, &said[..cut]);
        world.fence(other);
        world.send(peer, &said[cut..]);
        expect_answers(&mut world, peer, &answers, &format!("cut at {cut}"));
    }
    let record = world.take_record();
    let count = |is: fn(&Seen) -> bool| record.iter().filter(|seen| is(seen)).count();
    assert_eq!(count(|seen| matches!(seen, Seen::Binary(_))), said.len() + 1);
    let closed = count(|seen| matches!(seen, Seen::Closed(_, why) if why.code().0 == 3001));
    assert_eq!(closed, said.len() + 1);
}

pub(crate) fn a_conversation_may_come_byte_by_byte(place: &Place) {
    let (said, answers) = conversation();
    let mut world = World::new(place, quiet());
    let (peer, other) = (world.open(), world.open());
    for byte in said {
        world.send(peer, &[byte]);
        world.fence(other);
    }
    expect_answers(&mut world, peer, &answers, "byte by byte");
}
