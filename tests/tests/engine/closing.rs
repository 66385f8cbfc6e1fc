//! How connections end: each cause with its code, `closed` once for each `open`, and no reset where
//! a FIN is due.

use std::io::ErrorKind;
use std::net::TcpStream;

use sockeye::{CloseCode, Closed, ProtocolError, Refused, Sent};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{
    BINARY, CLOSE, PING, PONG, Peer, REQUEST, TEXT, close_payload, masked, unmasked,
};
use sockeye_tests::rig::{Rig, Seen, Setup};

/// A timeout that a test must not need, and that ends a server all the same where it fails.
const LATER_THAN_PATIENCE_MS: u32 = 2 * PATIENCE.as_millis() as u32;

/// Why the rig's only connection ended; and it did so once, with nothing behind it on the record.
fn only_closed(rig: Rig) -> Closed {
    let why = rig.next_closed();
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.opened, stats.open), (1, 0));
    let rest = rig.stop();
    assert!(rest.is_empty(), "behind its end: {rest:?}");
    why
}

/// Asserts that the rig's only connection was closed by its peer.
fn assert_closed_by_peer(rig: Rig, expected_code: u16, expected_reason: &str) {
    match only_closed(rig) {
        Closed::ByPeer { code: CloseCode(code), reason } => {
            assert_eq!((code, &*reason), (expected_code, expected_reason));
        }
        other => panic!("{other:?}"),
    }
}

/// A server that closes with 4000 and "enough" when it is told anything.
fn closes() -> Setup {
    Setup::new().message(|ctx, _| ctx.close(CloseCode(4000), "enough").unwrap())
}

/// The peer has read the close frame of [`closes`], answers it, and that is the end.
fn answer_the_handlers_close(rig: Rig, mut peer: Peer) {
    peer.send_frame(CLOSE, &close_payload(4000, ""));
    peer.expect_end();
    drop(peer);
    assert_closed_by_handler(rig);
}

/// Asserts that the rig's only connection was closed by [`closes`].
fn assert_closed_by_handler(rig: Rig) {
    let why = only_closed(rig);
    assert!(matches!(why, Closed::ByHandler { code: CloseCode(4000) }), "{why:?}");
    assert_eq!(why.code(), CloseCode(4000));
}

/// What the peer sent before its close frame is answered before the answer to that; what it sends
/// behind it is thrown away.
#[test]
fn by_the_peer_between_messages() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    let close = masked(CLOSE, &close_payload(1000, ""));
    let later = masked(BINARY, &[7; 1 << 20]);
    peer.send(&[masked(TEXT, b"last"), masked(PING, b"p"), close, later].concat());
    let expected =
        [unmasked(TEXT, b"last"), unmasked(PONG, b"p"), unmasked(CLOSE, &close_payload(1000, ""))];
    assert_eq!(peer.read_to_end(), expected.concat());
    drop(peer);
    let seen = [rig.next(), rig.next()];
    assert!(matches!(&seen, [Seen::Open(_), Seen::Text(text)] if text == "last"), "{seen:?}");
    assert_closed_by_peer(rig, 1000, "");
}

/// The handler closes, in `message` and in `open`: what it sent before arrives before the close
/// frame.
#[test]
fn by_the_handler() {
    let in_message = Setup::new().message(|ctx, message| {
        ctx.send(message);
        ctx.send(&*vec![7; 100_000]);
        ctx.close(CloseCode(4000), "enough").unwrap();
    });
    let in_open = Setup::new().open(|ctx| {
        ctx.send("text");
        ctx.send(&*vec![7; 100_000]);
        ctx.close(CloseCode(4000), "enough").unwrap();
    });
    for setup in [in_message, in_open] {
        let rig = setup.start();
        let mut peer = rig.peer();
        peer.send_frame(TEXT, b"text");
        assert_eq!(peer.read_text(), "text");
        assert_eq!(peer.read_frame().payload, [7; 100_000]);
        assert_eq!(peer.read_close(), (4000, "enough".into()));
        answer_the_handlers_close(rig, peer);
    }
}

/// After `close` nothing leaves: `send` says so, in that callback and later; a second close and a
/// ping are refused.
#[test]
fn nothing_follows_the_handlers_close() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, message| {
            assert_eq!(ctx.close(CloseCode::NORMAL, "first"), Ok(()));
            assert_eq!(ctx.send(message), Sent::Closed);
            assert_eq!(ctx.send_prepared(&sockeye::PreparedMessage::new(message)), Sent::Closed);
            assert_eq!(ctx.ping(b""), Err(Refused::Closed));
            assert_eq!(ctx.close(CloseCode::NORMAL, "second"), Err(Refused::Closed));
            assert_eq!(ctx.subscribe("topic"), Err(Refused::Closed));
            assert!(!ctx.remote().is_open());
            assert_eq!(ctx.remote().send(message), Err(Refused::Closed));
            note("all refused".into());
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"");
    assert_eq!(peer.read_close(), (1000, "first".into()));
    assert_eq!(rig.next_note(), "all refused");
    peer.send_frame(CLOSE, &close_payload(1000, ""));
    peer.expect_end();
    drop(peer);
    let why = only_closed(rig);
    assert!(matches!(why, Closed::ByHandler { code: CloseCode::NORMAL }), "{why:?}");
}

/// Messages that arrive between the handler's close and the peer's answer are not delivered,
/// neither those of the same read nor later ones, nor is a ping answered.
#[test]
fn nothing_is_delivered_after_the_handlers_close() {
    let rig = closes().start();
    let mut peer = rig.peer();
    peer.send(
        &[masked(TEXT, b"close!"), masked(TEXT, b"same read"), masked(0x01, b"half")].concat(),
    );
    assert_eq!(peer.read_close(), (4000, "enough".into()));
    peer.send(
        &[masked(0x80, b" later"), masked(BINARY, &[1; 70_000]), masked(PING, b"?")].concat(),
    );
    // The peer's own code does not count: it was not the first.
    peer.send_frame(CLOSE, &close_payload(1001, "late"));
    peer.expect_end();
    drop(peer);
    let seen = [rig.next(), rig.next()];
    assert!(matches!(&seen, [Seen::Open(_), Seen::Text(text)] if text == "close!"), "{seen:?}");
    // The next thing on the record is its end.
    let seen = rig.next();
    assert!(
        matches!(seen, Seen::Closed(_, Closed::ByHandler { code: CloseCode(4000) })),
        "{seen:?}"
    );
    assert_eq!(rig.handle().stats().messages_received, 1);
}

/// A connection that is paused closes as any other: the peer's answer is received.
#[test]
fn by_the_handler_while_paused() {
    let rig = Setup::new()
        .config(|config| config.close_timeout_ms = LATER_THAN_PATIENCE_MS)
        .open(|ctx| ctx.pause())
        .start();
    let (mut peer, remote) = rig.peer_and_remote();
    peer.send_frame(TEXT, b"not looked at yet");
    remote.close(CloseCode(4000), "enough").unwrap();
    assert_eq!(peer.read_close(), (4000, "enough".into()));
    answer_the_handlers_close(rig, peer);
}

/// Whoever breaks the protocol is told how, then gets a FIN, and no reset although what it had sent
/// besides was never read.
#[test]
fn by_a_protocol_error() {
    use ProtocolError as E;
    let cases: [(Vec<u8>, E, u16); 15] = [
        (masked(0xC1, b""), E::ReservedBits, 1002),
        (masked(0x83, b""), E::ReservedOpcode(3), 1002),
        (unmasked(TEXT, b"text"), E::Unmasked, 1002),
        (vec![BINARY, 0xFE, 0, 125, 0, 0, 0, 0], E::LengthNotMinimal, 1002),
        (vec![BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], E::LengthBeyond63Bits, 1002),
        (masked(PING, &[0; 126]), E::ControlTooLong, 1002),
        (masked(0x09, b""), E::ControlFragmented, 1002),
        (masked(0x80, b""), E::ContinuationWithoutStart, 1002),
        ([masked(0x01, b""), masked(TEXT, b"")].concat(), E::MessageInterleaved, 1002),
        (masked(CLOSE, b"\x03"), E::ClosePayloadTruncated, 1002),
        (masked(CLOSE, &close_payload(1005, "")), E::InvalidCloseCode(1005), 1002),
        (masked(TEXT, b"caf\xC3"), E::InvalidUtf8, 1007),
        (masked(CLOSE, b"\x03\xE8caf\xC3"), E::InvalidUtf8, 1007),
        (vec![BINARY, 0xFF, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], E::FrameTooLarge, 1009),
        (
            [masked(0x02, &[1]), vec![0x80, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat(),
            E::MessageTooLarge,
            1009,
        ),
    ];
    for (frames, error, code) in cases {
        let rig = Rig::echo();
        let mut peer = rig.peer();
        peer.send(&[masked(TEXT, b"before"), frames, vec![0xAA; 1 << 20]].concat());
        assert_eq!(peer.read_text(), "before");
        assert_eq!(peer.read_close(), (code, error.reason().into()), "{error:?}");
        peer.expect_end();
        drop(peer);
        rig.wait_for(|stats| stats.protocol_errors == 1);
        let why = only_closed(rig);
        assert!(matches!(&why, Closed::Protocol(told) if *told == error), "{why:?}");
        assert_eq!(why.code(), CloseCode(code));
    }
}

/// A peer that breaks the protocol after the handler's close has been closed by the handler.
#[test]
fn by_the_handler_before_a_protocol_error() {
    let rig = closes().start();
    let mut peer = rig.peer();
    peer.send(&[masked(TEXT, b""), masked(0x83, b"")].concat());
    assert_eq!(peer.read_to_end(), unmasked(CLOSE, &close_payload(4000, "enough")));
    drop(peer);
    assert_closed_by_handler(rig);
}

/// Another thread closes: through the connection's [`Remote`](sockeye::Remote), and through the
/// server's handle.
#[test]
fn by_another_thread() {
    for through_handle in [false, true] {
        let rig = Rig::echo();
        let (mut peer, remote) = rig.peer_and_remote();
        if through_handle {
            rig.handle().close(remote.id(), CloseCode(4000), "enough").unwrap();
        } else {
            remote.close(CloseCode(4000), "enough").unwrap();
        }
        assert_eq!(peer.read_close(), (4000, "enough".into()));
        assert!(!remote.is_open());
        assert_eq!(remote.close(CloseCode(4000), "again"), Err(Refused::Closed));
        answer_the_handlers_close(rig, peer);
    }
}

/// A code that must not stand in a close frame, or a reason that does not fit, is refused, and the
/// connection stays open.
#[test]
fn a_close_frame_that_must_not_be_sent_is_refused() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            let long = "x".repeat(124);
            for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
                assert_eq!(ctx.close(CloseCode(code), ""), Err(Refused::ControlFrame), "{code}");
            }
            assert_eq!(ctx.close(CloseCode::NORMAL, &long), Err(Refused::ControlFrame));
            let (id, remote) = (ctx.id(), ctx.remote());
            let handle = ctx.handle().clone();
            let bad = CloseCode::NO_STATUS;
            assert_eq!(remote.close(bad, ""), Err(Refused::ControlFrame));
            assert_eq!(remote.close(CloseCode::NORMAL, &long), Err(Refused::ControlFrame));
            assert_eq!(handle.close(id, bad, ""), Err(Refused::ControlFrame));
            assert!(ctx.send("still open").is_queued());
            note("all refused".into());
            ctx.close(CloseCode::NORMAL, &long[..123]).unwrap();
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"");
    assert_eq!(peer.read_text(), "still open");
    assert_eq!(peer.read_close(), (1000, "x".repeat(123)));
    assert_eq!(rig.next_note(), "all refused");
    peer.send_frame(CLOSE, &close_payload(1000, ""));
    peer.expect_end();
}

/// `shutdown` closes every connection with 1001 and takes no new one; a peer that answers gets its
/// FIN, one in its handshake is cut; then the server's threads end.
#[test]
fn by_shutdown() {
    const PEERS: usize = 20;
    let rig = Setup::new().shards(2).start();
    let mut peers: Vec<_> = (0..PEERS).map(|_| rig.peer()).collect();
    let mut in_handshake = Peer::tcp(rig.address);
    in_handshake.send(&REQUEST.as_bytes()[..50]);
    rig.wait_for(|stats| stats.accepted == PEERS as u64 + 1);
    rig.handle().shutdown();
    for peer in &mut peers {
        assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    }
    in_handshake.expect_gone();
    let error = TcpStream::connect(rig.address).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    for mut peer in peers {
        peer.send_frame(CLOSE, &close_payload(1001, ""));
        peer.expect_end();
    }
    let handle = rig.handle().clone();
    let record = rig.stop();
    let closed: Vec<_> = record.iter().filter(|seen| matches!(seen, Seen::Closed(..))).collect();
    assert_eq!(closed.len(), PEERS);
    for seen in closed {
        assert!(matches!(seen, Seen::Closed(_, Closed::Shutdown)), "{seen:?}");
    }
    assert_eq!(handle.publish("topic", "too late"), Err(Refused::Closed));
    let stats = handle.stats();
    assert_eq!((stats.opened, stats.open, stats.connections), (PEERS as u64, 0, 0));
}

/// What the peers had sent before the shutdown is answered, also where a message of theirs and
/// their answer to 1001 are all that still comes.
#[test]
fn by_shutdown_from_a_callback() {
    let rig = Setup::new()
        .message(|ctx, message| {
            ctx.handle().shutdown();
            ctx.send(message);
        })
        .start();
    let mut other = rig.peer();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"end");
    assert_eq!(peer.read_text(), "end");
    for peer in [&mut peer, &mut other] {
        assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
        // Not delivered any more: it would be answered.
        peer.send_frame(TEXT, b"late");
        peer.send_frame(CLOSE, &close_payload(1001, ""));
        peer.expect_end();
    }
    drop((peer, other));
    let record = rig.stop();
    let closed = record.iter().filter(|seen| matches!(seen, Seen::Closed(_, Closed::Shutdown)));
    assert_eq!(closed.count(), 2, "{record:?}");
}

/// `closed` comes for what the handler closed before the shutdown, as its own doing.
#[test]
fn by_the_handler_before_shutdown() {
    let rig = closes().start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"");
    assert_eq!(peer.read_close(), (4000, "enough".into()));
    rig.handle().shutdown();
    peer.send_frame(CLOSE, &close_payload(4000, ""));
    peer.expect_end();
    drop(peer);
    let record = rig.stop();
    let closed: Vec<_> = record.iter().filter(|seen| matches!(seen, Seen::Closed(..))).collect();
    assert!(
        matches!(closed[..], [Seen::Closed(_, Closed::ByHandler { code: CloseCode(4000) })]),
        "{closed:?}"
    );
}
