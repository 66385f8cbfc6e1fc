//! Messages of every size class.

use sockeye::Message;
use sockeye_codec::OpCode;
use sockeye_tests::peer::{bytes_of, text_of};
use sockeye_tests::rig::Seen;

use crate::stage::Place;
use crate::world::{World, frame, quiet};

/// A client's header with its masking key: a frame that fills a buffer to the byte has a payload
/// that is shorter by this.
const HEADERS: [usize; 3] = [6, 8, 14];
/// A server's.
const SERVER_HEADERS: [usize; 3] = [2, 4, 10];

/// Around each form of the length, and around each size at which somebody changes his mind.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 2, 124, 125, 126, 127, 65_535, 1 << 20, 16 << 20];
    for size in [16 << 10, 64 << 10, 256 << 10] {
        sizes.extend([size - 1, size, size + 1]);
        for header in HEADERS.into_iter().chain(SERVER_HEADERS) {
            sizes.extend([size - header - 1, size - header, size + header]);
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn payload_of(opcode: OpCode, size: usize) -> Vec<u8> {
    match opcode {
        OpCode::Text => text_of(size, size as u64 + 1).into_bytes(),
        _ => bytes_of(size, size as u64 + 2),
    }
}

pub(crate) fn every_size_comes_back_as_it_was(place: &Place) {
    let mut world = World::new(place, quiet());
    let (peer, _) = world.open_with_remote();
    for size in sizes() {
        for opcode in [OpCode::Text, OpCode::Binary] {
            let payload = payload_of(opcode, size);
            world.send(peer, &frame(true, opcode, &payload));
            assert!(world.read_message(peer, opcode) == payload, "{opcode:?} of {size} bytes");
            let handled = world.take_record().into_iter().find_map(|seen| match seen {
                Seen::Text(text) if opcode == OpCode::Text => Some(text.into_bytes()),
                Seen::Binary(bytes) if opcode == OpCode::Binary => Some(bytes),
                _ => None,
            });
            assert!(handled == Some(payload), "{opcode:?} of {size} bytes, as the handler saw it");
        }
    }
    assert_eq!(world.stats().messages_received, 2 * sizes().len() as u64);
    world.close(peer, 1000);
}

/// One that is sent on as it came leaves from where it landed, and anything else does not.
pub(crate) fn a_long_message_is_sent_as_it_was_told(place: &Place) {
    const SIZE: usize = 20_000;
    let setup = quiet().message(|ctx, message| {
        let bytes = message.as_bytes();
        ctx.send(message);
        ctx.send(message);
        ctx.send("between");
        ctx.send(message);
        match message {
            Message::Text(text) => ctx.send(text.as_bytes()),
            Message::Binary(_) => ctx.send("no text"),
        };
        ctx.send(&bytes[1..]);
        ctx.send(&bytes[..SIZE - 1]);
        ctx.send(&bytes.to_vec());
    });
    let mut world = World::new(place, setup);
    let peer = world.open();
    for opcode in [OpCode::Text, OpCode::Binary] {
        let payload = payload_of(opcode, SIZE);
        // The second one lands behind the first.
        world.send(peer, &[frame(true, opcode, &payload), frame(true, opcode, &payload)].concat());
        for _ in 0..2 {
            for _ in 0..2 {
                assert!(world.read_message(peer, opcode) == payload, "as it came");
            }
            assert_eq!(world.read_message(peer, OpCode::Text), b"between");
            assert!(world.read_message(peer, opcode) == payload, "behind something");
            match opcode {
                OpCode::Text => {
                    let binary = world.read_message(peer, OpCode::Binary);
                    assert!(binary == payload, "as another kind");
                }
                _ => assert_eq!(world.read_message(peer, OpCode::Text), b"no text"),
            }
            for part in [&payload[1..], &payload[..SIZE - 1], &payload] {
                assert!(world.read_message(peer, OpCode::Binary) == part, "a part, or a copy");
            }
        }
    }
    world.close(peer, 1000);
}

pub(crate) fn sixty_four_mebibytes_come_back(place: &Place) {
    const SIZE: usize = 64 << 20;
    let echo_bytes = place.wire_bytes(SIZE + 10);
    let setup = quiet().config(|config| {
        config.message_bytes_max = SIZE;
        config.frame_bytes_max = SIZE;
        config.backlog_bytes_max = echo_bytes;
    });
    let mut world = World::new(place, setup);
    let peer = world.open();
    let payload = payload_of(OpCode::Text, SIZE);
    world.send(peer, &frame(true, OpCode::Text, &payload));
    assert!(world.read_message(peer, OpCode::Text) == payload);
    world.close(peer, 1000);
}

pub(crate) fn messages_under_way_together_are_answered_in_order(place: &Place) {
    let mut world = World::new(place, quiet());
    let peers = [world.open(), world.open()];
    let sizes: Vec<_> = sizes().into_iter().filter(|size| *size <= 256 << 10).collect();
    // Large and small ones by turns.
    let sizes: Vec<_> = sizes.iter().zip(sizes.iter().rev()).flat_map(|(a, b)| [*a, *b]).collect();
    for peer in peers {
        for size in &sizes {
            world.send(peer, &frame(true, OpCode::Binary, &payload_of(OpCode::Binary, *size)));
        }
    }
    for size in &sizes {
        for peer in peers {
            let echo = world.read_message(peer, OpCode::Binary);
            assert!(echo == payload_of(OpCode::Binary, *size), "{size} bytes");
        }
    }
    for peer in peers {
        world.close(peer, 1000);
    }
}
