//! Messages in and out: their answers, and the order of what a callback sends.

use std::io::Read;
use std::sync::{Arc, Mutex};

use sockeye::{CloseCode, Message, PreparedMessage, Sent, Upgrade};
use sockeye_tests::peer::{
    BINARY, CLOSE, PING, PONG, Peer, REQUEST, TEXT, bytes_of, close_payload, masked, unmasked,
};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// First bytes of fragments.
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

/// Closes, and with that shows that nothing else was on its way.
fn finish(peer: Peer) {
    peer.close(1000);
}

/// Promise 1: the answers to frames that arrive together wait for each other, as the growing number
/// of waiting bytes shows, and one `read` finds all of them.
#[test]
fn frames_that_arrive_together_are_answered_in_one_send() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, message| {
            note(format!("{} {:?}", ctx.backlog_bytes(), ctx.send(message)));
        })
        .start();
    let (mut peer, _) = rig.peer_and_remote();
    let texts: Vec<_> = (0..100).map(|n| format!("message {n:02}")).collect();
    let sent: Vec<_> = texts.iter().flat_map(|text| masked(TEXT, text.as_bytes())).collect();
    let answers: Vec<_> = texts.iter().flat_map(|text| unmasked(TEXT, text.as_bytes())).collect();
    peer.send(&sent);
    let mut received = vec![0; 64 << 10];
    let len = peer.stream().read(&mut received).unwrap();
    assert_eq!(received[..len], answers);
    for n in 0..100 {
        let (before, after) = (12 * n, 12 * (n + 1));
        assert_eq!(rig.next_note(), format!("{before} Queued {{ backlog_bytes: {after} }}"));
    }
    finish(peer);
}

/// Frames that come in one write with the request are answered in one send with the request's
/// answer, and in order.
#[test]
fn frames_behind_the_request_are_answered_with_it() {
    let rig = Setup::new().open(|ctx| assert!(ctx.send("welcome").is_queued())).start();
    let mut peer = Peer::tcp(rig.address);
    let frames = [masked(TEXT, b"one"), masked(PING, b"two"), masked(BINARY, b"three")].concat();
    peer.send(&[REQUEST.as_bytes(), &frames].concat());
    let mut received = vec![0; 64 << 10];
    let len = peer.stream().read(&mut received).unwrap();
    let text = String::from_utf8_lossy(&received[..len]).into_owned();
    let head_len = text.find("\r\n\r\n").expect("a head") + 4;
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    let expected = [
        unmasked(TEXT, b"welcome"),
        unmasked(TEXT, b"one"),
        unmasked(PONG, b"two"),
        unmasked(BINARY, b"three"),
    ];
    assert_eq!(received[head_len..len], expected.concat());
    finish(peer);
}

/// Pings between the fragments of a message are answered in their place: before the message, in the
/// order of their arrival (RFC 6455 section 5.4: control frames may be injected).
#[test]
fn pings_between_fragments_are_answered_before_the_message() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    let sent = [
        masked(TEXT, b"before"),
        masked(TEXT_BEGINS, b"Hel"),
        masked(PING, b"a"),
        masked(GOES_ON, b"lo, "),
        masked(PING, b"b"),
        masked(PING, b""),
        masked(ENDS, b"world"),
        masked(PING, b"c"),
        masked(TEXT, b"after"),
    ];
    let answers = [
        unmasked(TEXT, b"before"),
        unmasked(PONG, b"a"),
        unmasked(PONG, b"b"),
        unmasked(PONG, b""),
        unmasked(TEXT, b"Hello, world"),
        unmasked(PONG, b"c"),
        unmasked(TEXT, b"after"),
    ]
    .concat();
    peer.send(&sent.concat());
    assert_eq!(peer.read_bytes(answers.len()), answers);
    finish(peer);
}

/// RFC 6455 section 5.5.3: a pong has "identical Application data", whatever the bytes.
#[test]
fn a_pong_has_the_bytes_of_its_ping() {
    let rig = Rig::echo();
    let (mut peer, _) = rig.peer_and_remote();
    for len in [0, 1, 2, 124, 125] {
        let payload = bytes_of(len, 7);
        peer.send_frame(PING, &payload);
        let answer = unmasked(PONG, &payload);
        assert_eq!(peer.read_bytes(answer.len()), answer);
    }
    finish(peer);
    let record = rig.stop();
    assert!(matches!(&record[..], [Seen::Closed(..)]), "pings are no messages: {record:?}");
}

/// A pong that nobody asked for is neither answered nor handed on ("A response to an unsolicited
/// Pong frame is not expected", section 5.5.3).
#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let rig = Rig::echo();
    let (mut peer, _) = rig.peer_and_remote();
    peer.send(&[masked(PONG, b""), masked(PONG, &[0xFF; 125]), masked(TEXT, b"x")].concat());
    assert_eq!(peer.read_text(), "x");
    finish(peer);
    let record = rig.stop();
    assert!(matches!(&record[..], [Seen::Text(_), Seen::Closed(..)]), "{record:?}");
}

/// A character may be divided among fragments, in any place and into single bytes.
#[test]
fn a_character_may_be_divided_among_fragments() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    let text = "a😀é€👩‍👩‍👧z";
    let bytes = text.as_bytes();
    for cut in 0..=bytes.len() {
        peer.send(&[masked(TEXT_BEGINS, &bytes[..cut]), masked(ENDS, &bytes[cut..])].concat());
        assert_eq!(peer.read_text(), text, "cut at {cut}");
    }
    let mut sent = masked(TEXT_BEGINS, b"");
    bytes.iter().for_each(|byte| sent.extend(masked(GOES_ON, &[*byte])));
    sent.extend(masked(ENDS, b""));
    peer.send(&sent);
    assert_eq!(peer.read_text(), text);
    finish(peer);
}

/// Whatever way a callback sends (copied, written through, prepared, a ping, the close frame), the
/// wire has the order of the calls; and what comes after the close is refused and does not go.
#[test]
fn a_callback_s_order_is_the_wire_s_order() {
    let setup = Setup::new();
    let note = setup.notes();
    let large = bytes_of(200_000, 2);
    let at_the_limit = [bytes_of((16 << 10) - 1, 3), bytes_of(16 << 10, 4)];
    let payloads = (large.clone(), at_the_limit.clone());
    let rig = setup
        .message(move |ctx, _| {
            let (large, at_the_limit) = &payloads;
            let mut sent = vec![ctx.send("small")];
            sent.push(ctx.send(large));
            sent.push(ctx.send("between"));
            sent.push(ctx.send_prepared(&PreparedMessage::new("prepared")));
            sent.push(ctx.send_prepared(&PreparedMessage::new(large)));
            ctx.ping(b"ping").unwrap();
            sent.push(ctx.send(&at_the_limit[0]));
            sent.push(ctx.send(&at_the_limit[1]));
            sent.push(ctx.send(b""));
            assert!(sent.into_iter().all(Sent::is_queued));
            ctx.close(CloseCode(4000), "enough").unwrap();
            let refused = [ctx.send("late"), ctx.send_prepared(&PreparedMessage::new("late"))];
            note(format!("{refused:?} {:?} {:?}", ctx.ping(b""), ctx.close(CloseCode::NORMAL, "")));
        })
        .start();
    let mut peer = rig.peer();
    peer.send(&[masked(TEXT, b"go"), masked(TEXT, b"not handed on"), masked(PING, b"")].concat());
    let expected = [
        unmasked(TEXT, b"small"),
        unmasked(BINARY, &large),
        unmasked(TEXT, b"between"),
        unmasked(TEXT, b"prepared"),
        unmasked(BINARY, &large),
        unmasked(PING, b"ping"),
        unmasked(BINARY, &at_the_limit[0]),
        unmasked(BINARY, &at_the_limit[1]),
        unmasked(BINARY, b""),
        unmasked(CLOSE, &close_payload(4000, "enough")),
    ]
    .concat();
    assert!(peer.read_bytes(expected.len()) == expected);
    assert_eq!(rig.next_note(), "[Closed, Closed] Err(Closed) Err(Closed)");
    peer.send_frame(CLOSE, &close_payload(4000, ""));
    peer.expect_end();
    drop(peer);
    let record = rig.stop();
    assert!(matches!(&record[..], [Seen::Closed(..)]), "no message after the close: {record:?}");
}

/// More small messages than the block of a turn holds, some large ones among them: all of them, in
/// order.
#[test]
fn a_callback_may_send_more_than_a_block() {
    const LENS: [usize; 6] = [1_000, 3, 20_000, 126, 70_000, 0];
    let rig = Setup::new()
        .message(|ctx, _| {
            for n in 0..600 {
                assert!(ctx.send(&bytes_of(LENS[n % LENS.len()], n as u64)).is_queued());
            }
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"go");
    for n in 0..600 {
        let frame = peer.read_frame();
        assert_eq!(frame.first, BINARY);
        assert!(frame.payload == bytes_of(LENS[n % LENS.len()], n as u64), "message {n}");
    }
    finish(peer);
}

/// Each connection has its own data, from the upgrade hook to `closed`.
#[test]
fn a_connection_has_data_of_its_own() {
    let rig = Setup::new()
        .upgrade(|request| {
            let name = request.path().trim_start_matches('/').into();
            Upgrade::accept(Session { name, count: 0 })
        })
        .message(|ctx, _| {
            ctx.session().count += 1;
            let Session { name, count } = ctx.session().clone();
            ctx.send(&format!("{name} {count}"));
        })
        .start();
    let open = |name: &str| {
        let request = REQUEST.replace("GET / ", &format!("GET /{name} "));
        Peer::open_with(rig.address, &request).0
    };
    let (mut anna, mut ben) = (open("anna"), open("ben"));
    for (peer, expected) in [(0, "anna 1"), (0, "anna 2"), (1, "ben 1"), (0, "anna 3")] {
        let peer = if peer == 0 { &mut anna } else { &mut ben };
        peer.send_frame(TEXT, b"");
        assert_eq!(peer.read_text(), expected);
    }
    for (peer, name, count) in [(ben, "ben", 1), (anna, "anna", 3)] {
        finish(peer);
        let session = rig.skip_to(|seen| match seen {
            Seen::Closed(session, _) => Some(session),
            _ => None,
        });
        assert_eq!(session, Session { name: name.into(), count });
    }
}

/// Promise 3: what was made owned stays what it was, while the buffer that it was borrowed from has
/// other messages, of this connection and of others.
#[test]
fn a_message_made_owned_can_be_kept() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    let rig = Setup::new()
        .message(move |ctx, message| {
            keeps.lock().unwrap().push(message.into_bytes());
            ctx.send(message);
        })
        .start();
    let (mut first, mut second) = (rig.peer(), rig.peer());
    let mut expected = Vec::new();
    for n in 0..20 {
        let payload = bytes_of(1 + n * 700, n as u64);
        let halves = payload.split_at(payload.len() / 2);
        first.send_frame(BINARY, &payload);
        assert_eq!(first.read_frame().payload, payload);
        second.send(&[masked(BINARY_BEGINS, halves.0), masked(ENDS, halves.1)].concat());
        assert_eq!(second.read_frame().payload, payload);
        expected.extend([payload.clone(), payload]);
    }
    let kept = kept.lock().unwrap();
    assert!(kept.iter().map(|bytes| &bytes[..]).eq(expected.iter().map(|bytes| &bytes[..])));
    assert_eq!(Message::Binary(b"abc").into_bytes(), b"abc"[..]);
    assert_eq!(Message::Text("é").into_bytes(), "é".as_bytes());
}

/// Two hundred connections whose messages are under way at the same time, in pieces: nobody gets
/// another's.
#[test]
fn connections_do_not_mix() {
    let rig = Rig::echo();
    let mut peers: Vec<_> = (0..200).map(|_| rig.peer()).collect();
    let payload = |n: usize, round: usize| bytes_of((n * 37 + round * 211) % 3_000, n as u64 + 1);
    for round in 0..4 {
        for half in 0..2 {
            for (n, peer) in peers.iter_mut().enumerate() {
                let frame = masked(BINARY, &payload(n, round));
                let cut = 1 + (n + round) % (frame.len() - 1);
                peer.send(if half == 0 { &frame[..cut] } else { &frame[cut..] });
            }
        }
    }
    for (n, peer) in peers.iter_mut().enumerate().rev() {
        for round in 0..4 {
            let frame = peer.read_frame();
            assert_eq!(frame.first, BINARY);
            assert!(frame.payload == payload(n, round), "connection {n}, message {round}");
        }
    }
    peers.into_iter().for_each(finish);
    rig.wait_for(|stats| stats.open == 0 && stats.messages_received == 800);
}
