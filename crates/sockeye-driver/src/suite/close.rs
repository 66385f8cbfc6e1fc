//! The end of connections.

use std::io::IoSlice;

use bytes::Bytes;

use super::rig::{Listener, Random, Rig, TxOf, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Close, Config, ConnId, Tx as _};

/// Promises 6 and 7: what waits is sent, then FIN; `closed` comes when the peer's FIN has come and
/// not before. That the backlog drains is not told any more.
pub(crate) fn a_graceful_close_sends_all_that_waits_and_then_fin<W: World>(world: &W) {
    for waiting in [0, 1, 24 << 20] {
        let mut rig = Rig::new(world, Config { backlog_low_bytes: 8 << 20, ..Config::default() });
        let (id, mut peer) = rig.join();
        let sent = rig.fill(id, waiting);
        rig.close(id, Close::Graceful);
        let (got, end) = rig.read_to_end(&mut peer);
        assert_same(&got, &sent);
        assert_eq!(end, End::Eof);
        rig.fence();
        assert_eq!(rig.seen.end(id), None, "the peer is still there");
        peer.finish();
        rig.turn_until("closed", |seen| seen.end(id).is_some());
        assert_eq!(rig.seen.end(id), Some(End::Eof));
        assert_eq!(rig.tx().peer_addr(id), None, "the id is dead");
        rig.fence();
    }
}

/// `Close::Graceful`: bytes that nobody has read are discarded, and so are those that come later.
/// None of them is a reason to reset the connection, which would cost the peer our last bytes.
pub(crate) fn a_graceful_close_resets_nothing_that_was_not_read<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    rig.tx().set_recv(id, false);
    peer.send(&pattern(1, 30_000));
    rig.fence();
    rig.tx().write(id, &[IoSlice::new(b"last words")]);
    rig.close(id, Close::Graceful);
    rig.fence();
    rig.feed(&mut peer, &pattern(2, 3 << 20));
    rig.fence();
    assert_eq!(rig.read_to_end(&mut peer), (b"last words".to_vec(), End::Eof));
    rig.feed(&mut peer, b"goodbye");
    peer.finish();
    rig.turn_until("closed", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Eof));
    assert_eq!(rig.seen.received(id), b"", "discarded");
    assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof), "no reset");
}

/// Promise 7: the peer's FIN may come while bytes wait; it may still read them.
pub(crate) fn a_fin_during_a_graceful_close_costs_no_bytes<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    let sent = rig.fill(id, 4 << 20);
    rig.close(id, Close::Graceful);
    peer.finish();
    rig.fence();
    assert_eq!(rig.seen.end(id), None, "bytes wait");
    let (got, end) = rig.read_to_end(&mut peer);
    assert_same(&got, &sent);
    assert_eq!(end, End::Eof);
    rig.turn_until("closed", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Eof));
    rig.fence();
}

/// Promise 6: `closed`, once, also where the peer resets what was being closed.
pub(crate) fn a_reset_during_a_graceful_close_ends_it<W: World>(world: &W) {
    for waiting in [0, 4 << 20] {
        let mut rig = Rig::new(world, Config::default());
        let (id, peer) = rig.join();
        rig.tx().write(id, &[IoSlice::new(b"never read")]);
        rig.fill(id, waiting);
        rig.close(id, Close::Graceful);
        rig.fence();
        peer.reset();
        rig.turn_until("closed", |seen| seen.end(id).is_some());
        assert!(matches!(rig.seen.end(id), Some(End::Error(_))), "{:?}", rig.seen.end(id));
        rig.fence();
    }
}

/// `Close::Graceful`: the bytes given before it are the last, and a second one changes nothing.
pub(crate) fn after_a_graceful_close_nothing_more_is_sent<W: World>(world: &W) {
    for waiting in [0, 1 << 20] {
        let mut rig = Rig::new(world, Config::default());
        let (id, mut peer) = rig.join();
        let sent = rig.fill(id, waiting);
        rig.close(id, Close::Graceful);
        let send_all = |tx: &mut TxOf<W>| {
            tx.write(id, &[IoSlice::new(b"too"), IoSlice::new(b"late")]);
            tx.send_shared(id, &Bytes::from(vec![0; 10_000]));
            let mut block = tx.out(id);
            block.extend_from_slice(b"too late");
            tx.flush(id, block);
            tx.close(id, Close::Graceful);
        };
        send_all(rig.tx());
        rig.fence();
        send_all(rig.tx());
        let (got, end) = rig.read_to_end(&mut peer);
        assert_same(&got, &sent);
        assert_eq!(end, End::Eof);
        send_all(rig.tx());
        peer.finish();
        rig.turn_until("closed", |seen| seen.end(id).is_some());
        assert_eq!(rig.seen.end(id), Some(End::Eof));
    }
}

/// `Close::Graceful`: it discards, so there is nothing to pause, and the peer's FIN is not missed.
pub(crate) fn a_graceful_close_cannot_be_paused<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let (id, mut peer) = rig.join();
    rig.close(id, Close::Graceful);
    rig.tx().set_recv(id, false);
    rig.feed(&mut peer, &pattern(1, 1 << 20));
    peer.finish();
    rig.turn_until("closed", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Eof));
    assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof));
}

/// Promise 6: after an abort no call follows, and what waited is not sent. It also ends a graceful
/// close that takes too long.
pub(crate) fn an_abort_ends_all_at_once<W: World>(world: &W) {
    for graceful_first in [false, true] {
        let mut rig = Rig::new(world, Config::default());
        let (id, mut peer) = rig.join();
        peer.send(b"never told");
        let sent = rig.fill(id, 4 << 20);
        if graceful_first {
            rig.close(id, Close::Graceful);
            rig.fence();
        }
        rig.close(id, Close::Abort);
        assert_eq!((rig.tx().backlog_bytes(id), rig.tx().peer_addr(id)), (0, None));
        let (got, _) = rig.read_to_end(&mut peer);
        assert!(got.len() < sent.len(), "what waited is gone");
        assert_same(&got, &sent[..got.len()]);
        // The sink objects to any event of it.
        rig.fence();
        assert_eq!(rig.seen.end(id), None);
    }
}

/// Promises 3 and 6: an abort within a call about that connection; more was to come, and the sink
/// objects to it.
pub(crate) fn an_abort_within_a_call_is_the_last_call<W: World>(world: &W) {
    type Is = fn(&Event) -> bool;
    let kinds: [Is; 3] = [
        |event| matches!(event, Event::Accepted(..)),
        |event| matches!(event, Event::Received(..)),
        |event| matches!(event, Event::Drained(_)),
    ];
    for (n, is) in kinds.into_iter().enumerate() {
        let mut rig = Rig::new(world, Config { receive_buffer_bytes: 16, ..Config::default() });
        let mut done = false;
        rig.react(move |_, event| {
            let now = is(event) && !done;
            done |= now;
            now.then_some(Close::Abort)
        });
        let (id, mut peer) = rig.join();
        if n < 2 {
            peer.send_some(&[1; 100]);
        } else {
            rig.fill(id, 1 << 20);
            peer.send(&[1; 100]);
        }
        rig.read_to_end(&mut peer);
        drop(peer);
        rig.fence();
        assert_eq!((rig.seen.end(id), rig.tx().peer_addr(id)), (None, None));
    }
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    rig.react(|_, event| matches!(event, Event::Connected(_)).then_some(Close::Abort));
    let id = rig.connect(listener.address());
    rig.tx().write(id, &[IoSlice::new(b"never sent")]);
    let mut peer = listener.accept();
    peer.send(b"never told");
    rig.turn_until("the connection", |seen| seen.connected(id));
    assert_eq!(rig.read_to_end(&mut peer).0, b"");
    rig.fence();
    assert_eq!(rig.seen.end(id), None);
}

/// Promise 6: of many connections that end in all the ways there are, at the same time, each is
/// told closed once, but for those aborted.
pub(crate) fn every_connection_ends_once<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config { receive_budget_bytes: 64, ..Config::default() });
    let mut random = Random(11);
    let mut told: Vec<ConnId> = Vec::new();
    let mut aborted: Vec<ConnId> = Vec::new();
    for _ in 0..20 {
        let mut still_there = Vec::new();
        for _ in 0..20 {
            let (id, mut peer) = rig.join();
            peer.send(&pattern(1, random.below(300)));
            rig.tx().write(id, &[IoSlice::new(b"bytes")]);
            match random.below(6) {
                0 => peer.finish(),
                1 => peer.reset(),
                2 => {
                    peer.finish();
                    rig.close(id, Close::Graceful);
                }
                3 => {
                    rig.close(id, Close::Graceful);
                    peer.reset();
                }
                4 => {
                    peer.reset();
                    rig.tx().write(id, &[IoSlice::new(b"in vain")]);
                }
                _ => {
                    peer.finish();
                    rig.close(id, Close::Abort);
                    aborted.push(id);
                    continue;
                }
            }
            told.push(id);
            still_there.push(id);
        }
        rig.turn_until("all of them", |seen| still_there.iter().all(|id| seen.end(*id).is_some()));
    }
    rig.fence();
    let fences = rig.seen.accepted().len() - told.len() - aborted.len();
    let closed = rig.seen.count(|event| matches!(event, Event::Closed(..)));
    assert_eq!(closed, told.len() + fences);
    assert!(aborted.len() > 20 && aborted.iter().all(|id| rig.seen.end(*id).is_none()));
}
