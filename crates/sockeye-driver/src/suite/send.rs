//! Bytes out.

use std::io::IoSlice;

use bytes::Bytes;

use super::rig::{Peer, Random, Rig, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, ConnId, Tx};

fn config() -> Config {
    Config { backlog_low_bytes: 64 << 10, ..Config::default() }
}

/// Sends by one of the ways there are; the bytes go to `expected` as well.
fn send_somehow<T: Tx>(tx: &mut T, id: ConnId, random: &mut Random, expected: &mut Vec<u8>) {
    let len = match random.below(4) {
        0 => random.below(200),
        1 => random.below(10_000),
        _ => random.below(100_000),
    };
    let bytes = pattern(random.next(), len);
    let waiting = match random.below(3) {
        0 => {
            let mut block = tx.out(id);
            assert!(block.is_empty(), "lent empty");
            block.extend_from_slice(&bytes);
            tx.flush(id, block)
        }
        1 => {
            let (head, rest) = bytes.split_at(random.below(len + 1));
            let (body, tail) = rest.split_at(random.below(rest.len() + 1));
            let parts = [b"", head, b"", b"", body, tail, b""].map(IoSlice::new);
            tx.write(id, &parts)
        }
        _ => tx.send_shared(id, &Bytes::from(bytes.clone())),
    };
    assert_eq!(waiting, tx.backlog_bytes(id));
    expected.extend_from_slice(&bytes);
}

/// Promise 4, where the kernel takes everything at once.
pub(crate) fn sends_of_all_kinds_leave_in_order<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let (id, mut peer) = rig.join();
    let mut random = Random(1);
    for _ in 0..100 {
        let mut expected = Vec::new();
        send_somehow(rig.tx(), id, &mut random, &mut expected);
        assert_same(&rig.read(&mut peer, expected.len()), &expected);
        assert_eq!(rig.tx().backlog_bytes(id), 0);
    }
}

/// Promises 4 and 7, where bytes wait: none is lost and none overtakes another, also not those that
/// are sent while the peer reads.
pub(crate) fn sends_of_all_kinds_wait_in_order<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let (id, mut peer) = rig.join();
    let mut random = Random(2);
    let mut expected = rig.fill(id, 1);
    for _ in 0..100 {
        send_somehow(rig.tx(), id, &mut random, &mut expected);
    }
    assert!(rig.tx().backlog_bytes(id) > 1 << 20);
    let mut got = Vec::new();
    for _ in 0..200 {
        let some = random.below(100_000).min(expected.len() - got.len());
        got.extend_from_slice(&rig.read(&mut peer, some));
        send_somehow(rig.tx(), id, &mut random, &mut expected);
        if random.below(4) == 0 {
            rig.turn();
        }
    }
    got.extend_from_slice(&rig.read(&mut peer, expected.len() - got.len()));
    assert_same(&got, &expected);
    assert_eq!(rig.tx().backlog_bytes(id), 0);
}

/// Promise 7: once bytes wait, whatever is sent waits as well, and each method says how many do.
pub(crate) fn the_backlog_is_what_the_kernel_left<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let (id, mut peer) = rig.join();
    assert_eq!(rig.tx().backlog_bytes(id), 0);
    let mut expected = rig.fill(id, 1);
    let mut waiting = rig.tx().backlog_bytes(id);
    assert!(waiting <= 512 << 10, "no more than the last send, and one that was deferred");
    for len in [1, 1_000, 100_000] {
        let bytes = pattern(len as u64, len);
        let tx = rig.tx();
        assert_eq!(tx.send_shared(id, &Bytes::from(bytes.clone())), waiting + len);
        let parts = [IoSlice::new(b"part"), IoSlice::new(b""), IoSlice::new(&bytes)];
        assert_eq!(tx.write(id, &parts), waiting + len + 4 + len);
        let mut block = tx.out(id);
        block.extend_from_slice(b"block");
        assert_eq!(tx.flush(id, block), waiting + len + 4 + len + 5);
        let block = tx.out(id);
        waiting += len + 4 + len + 5;
        assert_eq!((tx.flush(id, block), tx.backlog_bytes(id)), (waiting, waiting));
        for part in [&bytes[..], b"part", &bytes, b"block"] {
            expected.extend_from_slice(part);
        }
    }
    assert_same(&rig.read(&mut peer, expected.len()), &expected);
    assert_eq!(rig.tx().backlog_bytes(id), 0);
    // And the next one does not wait.
    rig.exchange(id, &mut peer);
}

/// `drained`: once each time that the backlog was above the mark and has fallen to it, not earlier
/// and not again when it falls to nothing.
pub(crate) fn drained_is_told_once_each_time<W: World>(world: &W) {
    // Much more than the kernel takes at a time, both above the mark and below it.
    const LOW_BYTES: usize = 8 << 20;
    let mut rig = Rig::new(world, Config { backlog_low_bytes: LOW_BYTES, ..Config::default() });
    let (id, mut peer) = rig.join();
    rig.react(|tx, event| {
        if let Event::Drained(id) = event {
            let waiting = tx.backlog_bytes(*id);
            assert!(waiting <= LOW_BYTES, "{waiting} bytes wait");
        }
        None
    });
    for times in 1..=3 {
        let sent = rig.fill(id, 3 * LOW_BYTES);
        rig.fence();
        assert_eq!(rig.seen.drained(id), times - 1, "nobody has read yet");
        assert_same(&rig.read(&mut peer, sent.len()), &sent);
        rig.turn_until("drained", |seen| seen.drained(id) == times);
        rig.fence();
        assert_eq!(rig.seen.drained(id), times);
    }
}

/// `drained`: a backlog that was never above the mark is nothing to speak of.
pub(crate) fn a_backlog_that_stayed_low_does_not_drain<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config { backlog_low_bytes: 64 << 20, ..Config::default() });
    let (id, mut peer) = rig.join();
    let sent = rig.fill(id, 1 << 20);
    assert!(rig.tx().backlog_bytes(id) <= 64 << 20);
    assert_same(&rig.read(&mut peer, sent.len()), &sent);
    rig.fence();
    assert_eq!((rig.seen.drained(id), rig.tx().backlog_bytes(id)), (0, 0));
}

/// `drained`: a backlog of just the mark is not above it, one byte more is.
pub(crate) fn the_mark_itself_is_not_above_it<W: World>(world: &W) {
    const LOW_BYTES: usize = 1 << 20;
    for more in [0, 1] {
        let config = Config { backlog_low_bytes: LOW_BYTES, ..Config::default() };
        let mut rig = Rig::new(world, config);
        let (id, mut peer) = rig.join();
        let mut sent = rig.fill(id, 1);
        // Once something waits, all that comes waits behind it.
        let rest = pattern(1, LOW_BYTES + more - rig.tx().backlog_bytes(id));
        assert_eq!(rig.tx().write(id, &[IoSlice::new(&rest)]), LOW_BYTES + more);
        sent.extend_from_slice(&rest);
        assert_same(&rig.read(&mut peer, sent.len()), &sent);
        rig.fence();
        assert_eq!(rig.seen.drained(id), more);
    }
}

/// `write`: more parts than one call of the kernel takes; nothing else wakes what was left.
pub(crate) fn any_number_of_parts_leaves<W: World>(world: &W) {
    for count in [1, 2, 1_023, 1_024, 1_025, 5_000] {
        let mut rig = Rig::new(world, config());
        let (id, mut peer) = rig.join();
        let bytes = pattern(count as u64, 3 * count);
        let parts: Vec<_> = bytes.chunks(3).map(IoSlice::new).collect();
        assert_eq!(parts.len(), count);
        // That there is room has been said, and is not said again.
        rig.fence();
        rig.tx().write(id, &parts);
        assert_same(&rig.read(&mut peer, bytes.len()), &bytes);
        assert_eq!(rig.tx().backlog_bytes(id), 0);
    }
}

/// All methods, with nothing to send.
pub(crate) fn nothing_is_no_send<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let (id, mut peer) = rig.join();
    let tx = rig.tx();
    let block = tx.out(id);
    assert_eq!(tx.flush(id, block), 0);
    assert_eq!(tx.write(id, &[]), 0);
    assert_eq!(tx.write(id, &[IoSlice::new(b""), IoSlice::new(b"")]), 0);
    assert_eq!(tx.send_shared(id, &Bytes::new()), 0);
    assert_eq!(tx.backlog_bytes(id), 0);
    rig.exchange(id, &mut peer);
    rig.close(id, Close::Graceful);
    assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof));
}

/// `send_shared`: the same bytes to several connections, of which some have bytes that wait.
pub(crate) fn shared_bytes_reach_fast_and_slow<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let mut all: Vec<(ConnId, Peer<W>, Vec<u8>)> = Vec::new();
    for n in 0..6 {
        let (id, peer) = rig.join();
        let expected = if n % 2 == 0 { rig.fill(id, 1) } else { Vec::new() };
        all.push((id, peer, expected));
    }
    for n in 0..50 {
        let shared = Bytes::from(pattern(n, 100 * n as usize));
        for (id, _, expected) in &mut all {
            rig.tx().send_shared(*id, &shared);
            expected.extend_from_slice(&shared);
        }
    }
    for (_, peer, expected) in &mut all {
        assert_same(&rig.read(peer, expected.len()), expected);
    }
}

/// Promise 7: the bytes for a peer that never reads wait, and the others' do not.
pub(crate) fn a_peer_that_never_reads_holds_up_nobody<W: World>(world: &W) {
    let mut rig = Rig::new(world, config());
    let (stuck, mut stuck_peer) = rig.join();
    let mut sent = rig.fill(stuck, 4 << 20);
    let mut others: Vec<_> = (0..5).map(|_| rig.join()).collect();
    for n in 0..10 {
        let shared = Bytes::from(pattern(n, 10_000));
        sent.extend_from_slice(&shared);
        assert!(rig.tx().send_shared(stuck, &shared) > 1 << 20);
        for (id, peer) in &mut others {
            rig.tx().send_shared(*id, &shared);
            assert_same(&rig.read(peer, shared.len()), &shared);
            rig.exchange(*id, peer);
        }
    }
    assert_eq!((rig.seen.drained(stuck), rig.seen.end(stuck)), (0, None));
    rig.close(stuck, Close::Abort);
    for (id, peer) in &mut others {
        rig.exchange(*id, peer);
    }
    let (got, _) = rig.read_to_end(&mut stuck_peer);
    assert_same(&got, &sent[..got.len()]);
    assert!(got.len() + (1 << 20) < sent.len(), "what waited is gone");
}

/// Promises 2 and 6: a send that finds the connection broken says nothing; the turn does, once, and
/// sends in between do nothing.
pub(crate) fn a_connection_that_breaks_under_a_send_is_told_once<W: World>(world: &W) {
    for waiting in [0, 1 << 20] {
        let mut rig = Rig::new(world, config());
        let (id, peer) = rig.join();
        rig.tx().write(id, &[IoSlice::new(b"never read")]);
        rig.fill(id, waiting);
        peer.reset();
        let patience = rig.patience();
        while rig.seen.end(id).is_none() {
            patience.check("the end");
            for _ in 0..3 {
                rig.tx().write(id, &[IoSlice::new(b"in vain")]);
                rig.tx().send_shared(id, &Bytes::from_static(b"in vain"));
            }
            rig.turn();
        }
        assert!(matches!(rig.seen.end(id), Some(End::Error(_))), "{:?}", rig.seen.end(id));
        assert_eq!((rig.tx().backlog_bytes(id), rig.tx().peer_addr(id)), (0, None));
        rig.fence();
    }
}

/// Promise 6: a send has found the connection broken, and before that could be told it is aborted:
/// then it is not told at all.
pub(crate) fn a_connection_that_broke_and_is_aborted_is_not_heard_of<W: World>(world: &W) {
    for len in [10, 100_000] {
        let mut rig = Rig::new(world, config());
        let (id, peer) = rig.join();
        peer.reset();
        world.settle();
        rig.tx().write(id, &[IoSlice::new(&vec![0; len])]);
        rig.close(id, Close::Abort);
        // The sink objects to any event of it.
        rig.fence();
        assert_eq!((rig.seen.end(id), rig.tx().peer_addr(id)), (None, None));
    }
}
