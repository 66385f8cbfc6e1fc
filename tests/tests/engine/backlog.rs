//! Peers that do not read: what `send` says, what is kept, what is cut off, and how a sender or a
//! receiver that held back goes on.

use sockeye::{CloseCode, Closed, Config, Ctx, PreparedMessage, Sent};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{BINARY, CLOSE, PING, Peer, TEXT, bytes_of, close_payload, masked};
use sockeye_tests::rig::{Rig, Script, Seen, Setup};

const MAX: usize = 1 << 20;
const LOW: usize = 16 << 10;
/// The close code of a peer that reads too slowly, and the reason.
const TOO_SLOW: (u16, &str) = (1013, "reads too slowly");

/// Little may wait, and a peer that does not answer a close frame is not cut while all goes well.
fn limits(config: &mut Config) {
    config.backlog_bytes_max = MAX;
    config.backlog_low_bytes = LOW;
    config.close_timeout_ms = 2 * PATIENCE.as_millis() as u32;
}

/// The messages of a flood: each has its number's bytes.
fn flood(n: usize, len: usize) -> Vec<u8> {
    bytes_of(len, n as u64 + 1)
}

/// Sends messages of 64 KiB until far more than the low mark waits for the connection (the kernel
/// finds some room for what it refused, and more of it when asked later); how many.
fn send_until_above_low_mark(ctx: &mut Ctx<'_, Script>) -> usize {
    let mut n = 0;
    while ctx.backlog_bytes() <= MAX / 2 {
        assert!(ctx.send(&flood(n, 64 << 10)).is_queued());
        n += 1;
    }
    n
}

fn expect_flood(peer: &mut Peer, count: usize, len: usize) {
    for n in 0..count {
        let frame = peer.read_frame();
        assert_eq!(frame.first, BINARY);
        assert!(frame.payload == flood(n, len), "message {n} of {count}");
    }
}

/// The end of a connection that was closed for its backlog.
fn expect_too_slow(rig: &Rig, peer: &mut Peer) {
    let (code, reason) = peer.read_close();
    assert_eq!((code, reason.as_str()), TOO_SLOW);
    peer.send_frame(CLOSE, &close_payload(code, ""));
    peer.expect_end();
    let why = rig.next_closed();
    assert!(matches!(why, Closed::Backlog), "{why:?}");
}

/// Has a handler send messages of `len` bytes by `send` to a peer that does not read, until it is
/// refused.
fn overflow(
    len: usize,
    send: impl Fn(&mut Ctx<'_, Script>, &[u8]) -> Sent + Send + Sync + 'static,
) {
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            let mut sizes = Vec::new();
            let refused = loop {
                match send(ctx, &flood(sizes.len(), len)) {
                    Sent::Queued { backlog_bytes } => sizes.push(backlog_bytes),
                    refused => break refused,
                }
            };
            let sizes: Vec<_> = sizes.iter().map(usize::to_string).collect();
            note(sizes.join(" "));
            note(format!("{refused:?} {:?} {:?}", send(ctx, b""), ctx.send("late")));
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"go");
    let sizes: Vec<usize> = rig.next_note().split(' ').map(|size| size.parse().unwrap()).collect();
    assert_eq!(rig.next_note(), "Overflow Closed Closed");

    let frame_len = len + if len > 0xFFFF { 10 } else { 4 };
    let waiting: Vec<_> = sizes.iter().copied().skip_while(|size| *size < MAX / 4).collect();
    let last = waiting.last().expect("it grew");
    assert!(waiting.windows(2).all(|pair| pair[0] + frame_len == pair[1]), "{sizes:?}");
    assert!(waiting.len() > 1, "it grew: {sizes:?}");
    assert!(*last <= MAX && last + frame_len > MAX, "the limit is exact: {last}");

    expect_flood(&mut peer, sizes.len(), len);
    expect_too_slow(&rig, &mut peer);
    rig.wait_for(|stats| stats.backlog_overflows == 1 && stats.open == 0);
    assert_eq!(rig.handle().stats().messages_sent, sizes.len() as u64);
    drop(peer);
    let rest = rig.stop();
    assert!(!rest.iter().any(|seen| matches!(seen, Seen::Closed(..))), "closed once: {rest:?}");
}

/// To a peer that does not read: queued with a growing backlog, then `Overflow` and then `Closed`.
/// When it does read it gets all that was queued, close code 1013 and a FIN.
#[test]
fn small_messages_overflow_at_the_limit() {
    overflow(1_000, |ctx, payload| ctx.send(payload));
}

/// The same with messages that are written through.
#[test]
fn large_messages_overflow_at_the_limit() {
    overflow(100_000, |ctx, payload| ctx.send(payload));
}

/// The same with messages that were prepared.
#[test]
fn prepared_messages_overflow_at_the_limit() {
    overflow(100_000, |ctx, payload| ctx.send_prepared(&PreparedMessage::new(payload)));
}

/// A message that meets an empty backlog is offered to the kernel first and judged by what is left
/// (decision 0004): it arrives whole, and is the last.
#[test]
fn one_message_over_the_limit_arrives_and_is_the_last() {
    const LEN: usize = 64 << 20;
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            note(format!("{:?} {:?}", ctx.send(&flood(0, LEN)), ctx.send("late")));
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"go");
    assert_eq!(rig.next_note(), "Overflow Closed");
    expect_flood(&mut peer, 1, LEN);
    expect_too_slow(&rig, &mut peer);
    rig.wait_for(|stats| stats.backlog_overflows == 1);
}

/// `backlog_bytes` counts what the callback has sent, and what waits from before.
#[test]
fn backlog_bytes_counts_all_that_waits() {
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            let mut sizes = vec![ctx.backlog_bytes()];
            for payload in [&b""[..], b"abc", &[0; 125], &[0; 126]] {
                ctx.send(payload);
                sizes.push(ctx.backlog_bytes());
            }
            ctx.ping(b"abc").unwrap();
            sizes.push(ctx.backlog_bytes());
            note(format!("{sizes:?}"));
            send_until_above_low_mark(ctx);
            let before = ctx.backlog_bytes();
            ctx.send("x");
            note(format!("{}", ctx.backlog_bytes() - before));
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"go");
    assert_eq!(rig.next_note(), "[0, 2, 7, 134, 264, 269]");
    assert_eq!(rig.next_note(), "3");
    for (first, len) in [(BINARY, 0), (BINARY, 3), (BINARY, 125), (BINARY, 126), (PING, 3)] {
        let frame = peer.read_frame();
        assert_eq!((frame.first, frame.payload.len()), (first, len));
    }
}

/// So it is where what the callback sends has to wait behind the turn's deliveries: a sender that
/// goes on up to a mark finds its mark.
#[test]
fn backlog_bytes_counts_what_waits_behind_deliveries() {
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            ctx.send_to(ctx.id(), "first").unwrap();
            let mut sizes = vec![ctx.backlog_bytes()];
            for payload in [&b"abc"[..], &[0; 125], &[0; 126]] {
                let sent = ctx.send(payload);
                sizes.push(ctx.backlog_bytes());
                assert_eq!(sent, Sent::Queued { backlog_bytes: ctx.backlog_bytes() });
            }
            note(format!("{sizes:?}"));
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"go");
    assert_eq!(rig.next_note(), "[0, 5, 132, 262]");
    assert_eq!(peer.read_text(), "first");
    for len in [3, 125, 126] {
        let frame = peer.read_frame();
        assert_eq!((frame.first, frame.payload.len()), (BINARY, len));
    }
}

/// A server that pauses a connection at its first message and resumes it when it has drained.
fn pausing() -> Setup {
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    setup
        .message(move |ctx, message| match message.as_text() {
            Some("pause") => {
                ctx.pause();
                note(send_until_above_low_mark(ctx).to_string());
            }
            _ => assert!(ctx.send(message).is_queued()),
        })
        .drained(|ctx| ctx.resume())
}

/// While a connection is paused its messages stay away, but for those that had arrived; after
/// `resume` all of them come, in order, and the end of the stream behind them.
#[test]
fn a_paused_connection_s_messages_wait() {
    let rig = pausing().start();
    let ((mut peer, _), (mut other, _)) = (rig.peer_and_remote(), rig.peer_and_remote());
    let expect_text = |expected: &str| match rig.next() {
        Seen::Text(text) => assert_eq!(text, expected),
        seen => panic!("not {expected}: {seen:?}"),
    };
    peer.send(&[masked(TEXT, b"pause"), masked(TEXT, b"had arrived")].concat());
    expect_text("pause");
    let Seen::Note(count) = rig.next() else { panic!("paused") };
    expect_text("had arrived");
    for n in 0..10 {
        peer.send_frame(TEXT, format!("message {n}").as_bytes());
        other.send_frame(TEXT, b"other");
        assert_eq!(other.read_text(), "other");
        expect_text("other");
    }
    peer.shutdown_write();
    other.send_frame(TEXT, b"other");
    assert_eq!(other.read_text(), "other");
    expect_text("other");
    expect_flood(&mut peer, count.parse().unwrap(), 64 << 10);
    assert_eq!(peer.read_text(), "had arrived");
    assert!(matches!(rig.next(), Seen::Drained), "nothing came before");
    for n in 0..10 {
        let text = format!("message {n}");
        expect_text(&text);
        assert_eq!(peer.read_text(), text);
    }
    assert!(matches!(rig.next(), Seen::Closed(_, Closed::Lost(None))));
}

/// `pause` and `resume` in one callback: nothing is lost.
#[test]
fn a_pause_may_end_in_the_same_callback() {
    let rig = Setup::new()
        .message(|ctx, message| {
            ctx.pause();
            ctx.send(message);
            ctx.resume();
        })
        .start();
    let mut peer = rig.peer();
    let payload = bytes_of(600_000, 1);
    for n in 0..20_usize {
        let len = if n % 2 == 0 { 10 } else { payload.len() };
        peer.send_frame(BINARY, &payload[..len]);
        assert!(peer.read_frame().payload == payload[..len]);
    }
    peer.close(1000);
}

/// A paused connection that is closed, by its handler or from another thread, still gets a clean
/// end: the peer's answer is received, and messages before it are thrown away.
#[test]
fn a_paused_connection_can_be_closed() {
    let setup = Setup::new().config(limits);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, message| {
            ctx.pause();
            if message.as_text() == Some("close") {
                ctx.close(CloseCode(4000), "").unwrap();
            }
            note("paused".into());
        })
        .start();
    for by_handler in [true, false] {
        let (mut peer, remote) = rig.peer_and_remote();
        peer.send_frame(TEXT, if by_handler { b"close" } else { b"pause" });
        assert_eq!(rig.next_note(), "paused");
        peer.send_frame(TEXT, b"thrown away");
        if !by_handler {
            remote.close(CloseCode(4000), "").unwrap();
        }
        assert_eq!(peer.read_close().0, 4000);
        peer.send_frame(CLOSE, &close_payload(4000, ""));
        peer.expect_end();
        match rig.next() {
            Seen::Closed(_, Closed::ByHandler { code }) => assert_eq!(code, CloseCode(4000)),
            seen => panic!("not closed by the handler: {seen:?}"),
        }
    }
}
