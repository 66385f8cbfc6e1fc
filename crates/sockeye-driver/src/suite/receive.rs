//! Bytes in.

use std::cell::Cell;
use std::rc::Rc;

use super::rig::{KERNEL_BYTES_MAX, Rig, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Config, ConnId, Tx as _};

/// A small buffer, so that few bytes make many reads.
fn small() -> Config {
    Config { receive_buffer_bytes: 1 << 10, receive_budget_bytes: 4 << 10, ..Config::default() }
}

fn received_bytes(events: &[Event], of: ConnId) -> usize {
    let received = events.iter().map(|event| match event {
        Event::Received(id, bytes) if *id == of => bytes.len(),
        _ => 0,
    });
    received.sum()
}

/// Promise 1, and the order of what one connection receives: all that a peer sends is lent, in its
/// order, whatever its size is to the buffer's and the budget's.
pub(crate) fn all_bytes_arrive_in_order<W: World>(world: &W) {
    for config in [small(), Config::default()] {
        let mut rig = Rig::new(world, config);
        let (id, mut peer) = rig.join();
        let mut expected = Vec::new();
        for len in [1, 2, 100, 1023, 1024, 1025, 4095, 4096, 4097, 300_000, 5 << 20] {
            let bytes = pattern(len as u64, len);
            rig.feed(&mut peer, &bytes);
            expected.extend_from_slice(&bytes);
            rig.turn_until("all of it", |seen| received_bytes(seen.events(), id) == expected.len());
        }
        assert_same(&rig.seen.received(id), &expected);
        assert_eq!(rig.seen.end(id), None);
    }
}

/// Promises 1 and 6: FIN is `closed(Eof)`, once, behind the last byte, also where both came in one
/// piece and where the bytes end with the buffer or the budget.
pub(crate) fn fin_is_told_after_the_last_byte<W: World>(world: &W) {
    for len in [0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 100_000] {
        let mut rig = Rig::new(world, small());
        let (id, mut peer) = rig.join();
        let bytes = pattern(7, len);
        let mut sent = 0;
        while sent < len {
            sent += peer.send_some(&bytes[sent..]);
            if sent < len {
                rig.turn();
            }
        }
        peer.finish();
        rig.turn_until("the end", |seen| seen.end(id).is_some());
        assert_same(&rig.seen.received(id), &bytes);
        assert_eq!(rig.seen.events().last(), Some(&Event::Closed(id, End::Eof)));
        assert_eq!(rig.tx().peer_addr(id), None, "the id is dead");
        assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof));
        rig.fence();
    }
}

/// Promise 6: a reset is `closed(Error)`, once.
pub(crate) fn a_reset_is_an_error<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    rig.exchange(id, &mut peer);
    rig.send(id, b"never read");
    peer.reset();
    rig.turn_until("the reset", |seen| seen.end(id).is_some());
    assert!(matches!(rig.seen.end(id), Some(End::Error(_))), "{:?}", rig.seen.end(id));
    assert_eq!(rig.tx().peer_addr(id), None, "the id is dead");
    rig.fence();
}

/// Promise 5: no turn reads more than the budget from one connection: not if it is a fraction of
/// the buffer, not while new bytes are announced in each turn, and not by pausing and resuming.
pub(crate) fn a_turn_reads_the_budget_at_most<W: World>(world: &W) {
    const SENT_BYTES: usize = 2 << 20;
    for (buffer, budget, toggled) in [
        (1_000, 2_500, false),
        (1_000, 2_500, true),
        (4_096, 4_096, false),
        (8_192, 100, false),
        (4_096, 16_384, true),
    ] {
        let config = Config {
            receive_buffer_bytes: buffer,
            receive_budget_bytes: budget,
            ..Config::default()
        };
        let mut rig = Rig::new(world, config);
        let (id, mut peer) = rig.join();
        if toggled {
            rig.react(|tx, event| {
                tx.set_recv(event.id(), false);
                tx.set_recv(event.id(), true);
                None
            });
        }
        // No more of it than takes some hundred turns.
        let bytes = pattern(9, SENT_BYTES.min(budget * 500));
        let (mut sent, mut received) = (0, 0);
        let patience = rig.patience();
        while received < bytes.len() {
            patience.check("all of it");
            let some = (sent + 3 * budget).min(bytes.len());
            sent += peer.send_some(&bytes[sent..some]);
            let count = received_bytes(rig.turn(), id);
            assert!(count <= budget, "{count} of {budget} bytes in one turn");
            received += count;
        }
        assert_same(&rig.seen.received(id), &bytes);
    }
}

/// Promise 5: who sends little is served while there is still much to read from another.
pub(crate) fn a_fat_sender_keeps_nobody_waiting<W: World>(world: &W) {
    let mut rig = Rig::new(world, small());
    let (fat, mut fat_peer) = rig.join();
    let (thin, mut thin_peer) = rig.join();
    let bytes = pattern(3, 4 << 20);
    // With nobody reading: the socket is full, and is kept so.
    let mut sent = fat_peer.send_some(&bytes);
    rig.turn_until("the fat one's first", |seen| !seen.received(fat).is_empty());
    for n in 1..=10 {
        let before = received_bytes(rig.seen.events(), fat);
        thin_peer.send(b"?");
        world.settle();
        let patience = rig.patience();
        while rig.seen.received(thin).len() < n {
            patience.check("the thin one's byte");
            sent += fat_peer.send_some(&bytes[sent..]);
            rig.turn();
        }
        // A turn is 4 KiB of it; a few of them are left to the kernel, to move one byte.
        let meanwhile = received_bytes(rig.seen.events(), fat) - before;
        assert!(meanwhile <= 128 << 10, "{meanwhile} bytes came before one of another");
    }
    rig.feed(&mut fat_peer, &bytes[sent..]);
    rig.turn_until("the rest", |seen| received_bytes(seen.events(), fat) == bytes.len());
    assert_same(&rig.seen.received(fat), &bytes);
}

/// `set_recv`: nothing is received while it is off, and all of it after.
pub(crate) fn nothing_comes_while_paused_and_all_of_it_after<W: World>(world: &W) {
    let mut rig = Rig::new(world, small());
    let (id, mut peer) = rig.join();
    let bytes = pattern(5, 20_000);
    for (n, part) in bytes.chunks(5_000).enumerate() {
        rig.tx().set_recv(id, false);
        peer.send(&part[..2_500]);
        rig.fence();
        peer.send(&part[2_500..]);
        rig.fence();
        assert_eq!(rig.seen.received(id).len(), n * 5_000, "paused");
        // What goes out does not care.
        rig.send(id, b"out");
        assert_eq!(rig.read(&mut peer, 3), b"out");
        rig.tx().set_recv(id, true);
        rig.turn_until("what was held up", |seen| seen.received(id).len() == (n + 1) * 5_000);
    }
    assert_same(&rig.seen.received(id), &bytes);
}

/// `set_recv` within `received`: that call was the last, also where more bytes are at hand.
pub(crate) fn a_pause_within_received_holds_from_then_on<W: World>(world: &W) {
    let mut rig = Rig::new(world, small());
    let (id, mut peer) = rig.join();
    let pausing = Rc::new(Cell::new(true));
    let pauses = Rc::clone(&pausing);
    rig.react(move |tx, event| {
        if event.id() == id && pauses.get() {
            tx.set_recv(id, false);
        }
        None
    });
    let bytes = pattern(6, 20_000);
    peer.send(&bytes);
    for calls in 1..=3 {
        rig.turn_until("a first call", |seen| !seen.received(id).is_empty());
        rig.fence();
        let count = rig.seen.count(|event| matches!(event, Event::Received(of, _) if *of == id));
        assert_eq!(count, calls);
        rig.tx().set_recv(id, true);
        rig.turn();
    }
    pausing.set(false);
    rig.tx().set_recv(id, true);
    rig.turn_until("the rest", |seen| seen.received(id).len() == bytes.len());
    assert_same(&rig.seen.received(id), &bytes);
}

/// `set_recv`: the kernel's buffers fill, and then the peer cannot send.
pub(crate) fn a_paused_peer_is_held_up_by_tcp<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    rig.tx().set_recv(id, false);
    let bytes = pattern(8, 1 << 20);
    let mut expected = Vec::new();
    loop {
        let sent = peer.send_some(&bytes);
        expected.extend_from_slice(&bytes[..sent]);
        assert!(expected.len() < KERNEL_BYTES_MAX, "somebody reads");
        if sent == 0 {
            rig.fence();
            let sent = peer.send_some(&bytes);
            expected.extend_from_slice(&bytes[..sent]);
            if sent == 0 {
                break;
            }
        }
    }
    assert_eq!(rig.seen.received(id), b"");
    rig.tx().set_recv(id, true);
    rig.turn_until("all of it", |seen| received_bytes(seen.events(), id) == expected.len());
    assert_same(&rig.seen.received(id), &expected);
    rig.exchange(id, &mut peer);
}

/// `set_recv`: bytes and FIN that came during a pause are told after it, in this order.
pub(crate) fn an_end_during_a_pause_is_noticed_after_it<W: World>(world: &W) {
    for len in [0, 10, 1024, 10_000] {
        let mut rig = Rig::new(world, small());
        let (id, mut peer) = rig.join();
        rig.tx().set_recv(id, false);
        let bytes = pattern(4, len);
        peer.send(&bytes);
        peer.finish();
        rig.fence();
        assert_eq!((rig.seen.received(id).len(), rig.seen.end(id)), (0, None), "paused");
        rig.tx().set_recv(id, true);
        rig.turn_until("the end", |seen| seen.end(id).is_some());
        assert_same(&rig.seen.received(id), &bytes);
        assert_eq!(rig.seen.end(id), Some(End::Eof));
    }
}
