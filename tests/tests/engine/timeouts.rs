//! Pings, idle peers, and peers that do not finish what they began. Times are counted in pings and
//! closings, never measured.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sockeye::{CloseCode, Closed, Upgrade};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{
    BINARY, CLOSE, Frame, PING, PONG, Peer, REQUEST, TEXT, close_payload, masked, unmasked,
};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// An echo server with these times for silence.
fn heartbeat(ping_interval_ms: u32, idle_timeout_ms: u32) -> Setup {
    Setup::new().config(|config| {
        config.ping_interval_ms = ping_interval_ms;
        config.idle_timeout_ms = idle_timeout_ms;
    })
}

/// A server that closes when it is told anything, and soon gives up on the peer.
fn closes() -> Setup {
    Setup::new()
        .config(|config| config.close_timeout_ms = 250)
        .message(|ctx, _| ctx.close(CloseCode(4000), "enough").unwrap())
}

fn assert_echoes(peer: &mut Peer) {
    peer.send_frame(TEXT, b"still there?");
    assert_eq!(peer.read_text(), "still there?");
}

/// A ping as the heartbeat sends it: empty.
fn assert_is_ping(frame: &Frame) {
    assert_eq!(*frame, Frame { first: PING, masking_key: None, payload: Vec::new() });
}

/// All that is answered to a peer that sends this and nothing more.
fn silent(rig: &Rig, sent: &str) -> String {
    let mut peer = Peer::tcp(rig.address);
    peer.send(sent.as_bytes());
    String::from_utf8(peer.read_to_end()).expect("text")
}

/// A silent peer is pinged again and again; without an idle timeout nothing else happens to it.
#[test]
fn a_silent_peer_is_pinged() {
    let rig = heartbeat(125, 0).start();
    let mut peer = rig.peer();
    for _ in 0..6 {
        assert_is_ping(&peer.read_frame());
    }
    assert_echoes(&mut peer);
    assert_is_ping(&peer.read_frame());
}

/// A peer that answers its pings stays, far beyond the idle timeout: this many pings take longer.
#[test]
fn a_peer_that_answers_stays() {
    const PING_INTERVAL_MS: u32 = 125;
    const IDLE_TIMEOUT_MS: u32 = 3_000;
    let rig = heartbeat(PING_INTERVAL_MS, IDLE_TIMEOUT_MS).start();
    let mut peer = rig.peer();
    for _ in 0..=IDLE_TIMEOUT_MS / PING_INTERVAL_MS {
        assert_is_ping(&peer.read_frame());
        peer.send_frame(PONG, b"");
    }
    assert_echoes(&mut peer);
}

/// Every byte is a sign of life: one of a long frame for each ping will do.
#[test]
fn a_peer_that_sends_anything_stays() {
    let rig = heartbeat(125, 3_000).start();
    let mut peer = rig.peer();
    let frame = masked(BINARY, &[7; 20]);
    for byte in &frame {
        assert_is_ping(&peer.read_frame());
        peer.send(&[*byte]);
    }
    let echo = peer.read_frame();
    assert_eq!((echo.first, echo.payload), (BINARY, vec![7; 20]));
}

/// A peer whose TCP is well but which answers no ping is closed with 1001.
#[test]
fn a_peer_that_answers_no_ping_is_closed() {
    let rig = heartbeat(125, 2_000).start();
    let mut peer = rig.peer();
    let mut pings = 0;
    let close = loop {
        let frame = peer.read_frame();
        if frame.first == CLOSE {
            break frame;
        }
        assert_is_ping(&frame);
        pings += 1;
    };
    assert_eq!(close.close(), (1001, "idle timeout"));
    assert!((1..=16).contains(&pings), "{pings} pings in a time for 16 at most");
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
    let why = rig.next_closed();
    assert!(matches!(why, Closed::Idle), "{why:?}");
    assert_eq!(why.code(), CloseCode::GOING_AWAY);
}

/// A ping leaves as soon as a shorter interval asks for it, not when the handshake's time is over.
#[test]
fn pings_do_not_wait_for_other_timers() {
    let rig = heartbeat(125, 0)
        .config(|config| config.handshake_timeout_ms = 2 * PATIENCE.as_millis() as u32)
        .start();
    assert_is_ping(&rig.peer().read_frame());
}

/// With both off the shard has no time to wake at: once the handshake's is over, nothing is due.
#[test]
fn without_pings_and_idle_timeout_nothing_is_ever_due() {
    let mut server = heartbeat(0, 0).config(|config| config.handshake_timeout_ms = 125).by_hand();
    let mut peer = server.peer();
    server.turn_until(|server| server.shard.next_deadline().is_none());
    assert!(!peer.has_input(), "neither ping nor close");
    peer.send_frame(TEXT, b"hello");
    server.turn_until(|_| peer.has_input());
    assert_eq!(peer.read_text(), "hello");
    assert!(server.shard.next_deadline().is_none());
}

/// The idle timeout goes on while a connection is paused, whatever waits in its socket; then the
/// peer's answer is received.
#[test]
fn a_paused_connection_is_idle() {
    let rig = heartbeat(0, 250)
        .config(|config| config.close_timeout_ms = 2 * PATIENCE.as_millis() as u32)
        .open(|ctx| ctx.pause())
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"not received yet");
    assert_eq!(peer.read_close(), (1001, "idle timeout".into()));
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    rig.next_open();
    let why = rig.next_closed();
    assert!(matches!(why, Closed::Idle), "{why:?}");
    assert_eq!(rig.handle().stats().messages_received, 0);
}

/// A pause does not end by itself: what the peer sends is received after `resume`, in order.
#[test]
fn a_pause_lasts_until_resume() {
    let rig = heartbeat(125, 0)
        .message(|ctx, message| {
            ctx.send(message);
            match message.as_text() {
                Some("pause") => ctx.pause(),
                _ => ctx.resume(),
            }
        })
        .start();
    let mut peer = rig.peer();
    // A pause takes effect behind what has been received already.
    peer.send(&[masked(TEXT, b"pause"), masked(TEXT, b"resume")].concat());
    assert_eq!(peer.read_text(), "pause");
    assert_eq!(peer.read_text(), "resume");
    peer.send_frame(TEXT, b"pause");
    assert_eq!(peer.read_text(), "pause");
    peer.send_frame(TEXT, b"later");
    for _ in 0..3 {
        assert_is_ping(&peer.read_frame());
    }
}

/// A peer that talks on instead of answering is cut, too.
#[test]
fn a_peer_that_talks_on_after_a_close_is_cut() {
    let rig = closes().start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"");
    assert_eq!(peer.read_close(), (4000, "enough".into()));
    let begun = Instant::now();
    let more = masked(BINARY, &[7; 1_000]);
    while peer.stream().write_all(&more).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it may talk for ever");
    }
    let why = rig.next_closed();
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(4000) }), "{why:?}");
    rig.wait_for(|stats| stats.connections == 0);
    assert_eq!(rig.handle().stats().messages_received, 1);
}

/// A peer that answers the close but never sends its FIN: `closed` is told at once, and TCP is cut
/// later.
#[test]
fn a_peer_that_never_sends_its_fin_is_cut() {
    let rig = closes().start();
    let mut closed_by_us = rig.peer();
    closed_by_us.send_frame(TEXT, b"");
    assert_eq!(closed_by_us.read_close(), (4000, "enough".into()));
    closed_by_us.send_frame(CLOSE, &close_payload(4000, ""));
    closed_by_us.expect_end();
    let why = rig.next_closed();
    assert!(matches!(why, Closed::ByHandler { .. }), "{why:?}");

    let mut wrong = rig.peer();
    wrong.send(&unmasked(TEXT, b"not masked"));
    assert_eq!(wrong.read_close(), (1002, "client frame not masked".into()));
    wrong.expect_end();
    let why = rig.next_closed();
    assert!(matches!(why, Closed::Protocol(_)), "{why:?}");

    let mut rejected = Peer::tcp(rig.address);
    rejected.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(rejected.read_to_end().starts_with(b"HTTP/1.1 426 "));

    // All three still hold their side open.
    rig.wait_for(|stats| stats.accepted == 3 && stats.connections == 0);
    let rest = rig.stop();
    assert!(rest.is_empty(), "told twice: {rest:?}");
}

/// A shutdown waits for peers that do not answer no longer than the timeout.
#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let rig = closes().start();
    let mut peers = [rig.peer(), rig.peer()];
    rig.handle().shutdown();
    for peer in &mut peers {
        assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    }
    // Both still hold their side open.
    let record = rig.stop();
    let closed = record.iter().filter(|seen| matches!(seen, Seen::Closed(_, Closed::Shutdown)));
    assert_eq!(closed.count(), 2, "{record:?}");
    peers.iter_mut().for_each(Peer::expect_gone);
}

/// Whoever sends no whole request in time gets a 408 and a FIN, also a peer that never pauses.
#[test]
fn a_handshake_that_takes_too_long_is_a_408() {
    const TIMEOUT: &str = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\
        Content-Length: 24\r\nContent-Type: text/plain\r\n\r\nno request came in time\n";
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let rig = Setup::new()
        .config(|config| {
            config.handshake_timeout_ms = 300;
            config.handshake_head_bytes_max = 1 << 30;
        })
        .upgrade(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Upgrade::accept(Session::default())
        })
        .start();
    assert_eq!(silent(&rig, ""), TIMEOUT);
    assert_eq!(silent(&rig, &REQUEST[..REQUEST.len() - 1]), TIMEOUT);
    let mut slow = Peer::tcp(rig.address);
    slow.send(b"GET / HTTP/1.1\r\nX-Slow: ");
    while !slow.has_input() {
        slow.send(b"x");
    }
    assert_eq!(String::from_utf8(slow.read_to_end()).unwrap(), TIMEOUT);
    drop(slow);
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.accepted, stats.opened, stats.rejected), (3, 0, 3));
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the hook has nothing to judge");
    assert!(rig.stop().is_empty(), "what never opened is on no record");
}

/// The handshake's time is over with the handshake: an open connection outlives it.
#[test]
fn the_handshake_timeout_ends_with_the_handshake() {
    let rig = Setup::new().config(|config| config.handshake_timeout_ms = 125).start();
    let mut peer = rig.peer();
    // Begun after `peer`, so that its time has run out later.
    assert!(silent(&rig, "").starts_with("HTTP/1.1 408 "));
    assert_echoes(&mut peer);
    peer.close(1000);
}
