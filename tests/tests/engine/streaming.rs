//! Messages in chunks: all the bytes, where they begin and end, and the limits all the same.

use sockeye::{Closed, Config, DataKind, ProtocolError, Upgrade};
use sockeye_tests::peer::{
    BINARY, CLOSE, PING, PONG, Peer, TEXT, bytes_of, close_payload, masked, text_of, unmasked,
};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// First bytes of fragments.
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

fn streaming() -> Setup {
    Setup::new().upgrade(|_| Upgrade::accept(Session::default()).streaming())
}

/// One chunk: payload, first, last.
fn next_chunk(rig: &Rig) -> (Vec<u8>, bool, bool) {
    match rig.next() {
        Seen::Chunk(payload, first, last) => (payload, first, last),
        other => panic!("not a chunk: {other:?}"),
    }
}

/// The chunks of one message, put together. Only the first is first, only the last is last.
fn next_message(rig: &Rig) -> Vec<u8> {
    let (mut message, first, mut last) = next_chunk(rig);
    assert!(first, "the first chunk says so");
    while !last {
        let (payload, first, is_last) = next_chunk(rig);
        assert!(!first, "only the first chunk says so");
        message.extend(payload);
        last = is_last;
    }
    message
}

/// A connection that was closed for the peer's fault: this close frame, FIN, this error.
fn expect_failure(rig: &Rig, peer: &mut Peer, code: u16, error: ProtocolError) {
    let expected = unmasked(CLOSE, &close_payload(code, error.reason()));
    assert_eq!(peer.read_bytes(expected.len()), expected);
    peer.expect_end();
    match rig.next() {
        Seen::Closed(_, Closed::Protocol(why)) => assert_eq!(why, error),
        other => panic!("not {error}: {other:?}"),
    }
}

/// The chunks of a message have its bytes, in one frame or in several, whatever its length; and
/// `message` is never called.
#[test]
fn chunks_are_the_message() {
    let rig = streaming().start();
    let (mut peer, _) = rig.peer_and_remote();
    for (seed, len) in (1..).zip([1, 125, 126, 65_535, 65_536, 1_000_000]) {
        let binary = bytes_of(len, seed);
        peer.send_frame(BINARY, &binary);
        assert!(next_message(&rig) == binary, "{len}");
        let text = text_of(len, seed);
        let pieces = text.as_bytes().split_at(len / 3);
        peer.send(&[masked(TEXT_BEGINS, pieces.0), masked(ENDS, pieces.1)].concat());
        assert!(next_message(&rig) == text.as_bytes(), "{len}");
    }
    peer.close(1000);
}

/// A chunk says whether it is of a text or of a binary message, the later ones too.
#[test]
fn a_chunk_knows_its_kind() {
    let setup = streaming();
    let note = setup.notes();
    let rig = setup
        .chunk(move |_, chunk| {
            let kind = if chunk.kind == DataKind::Text { "text" } else { "binary" };
            note(format!("{kind} {} {} {}", chunk.payload.len(), chunk.first, chunk.last));
        })
        .start();
    let mut peer = rig.peer();
    let sent = [
        masked(TEXT_BEGINS, b"ab"),
        masked(ENDS, b"c"),
        masked(BINARY_BEGINS, b"abcd"),
        masked(GOES_ON, b"e"),
        masked(ENDS, b"fg"),
    ];
    peer.send(&sent.concat());
    let expected = [
        "text 2 true false",
        "text 1 false true",
        "binary 4 true false",
        "binary 1 false false",
        "binary 2 false true",
    ];
    assert_eq!(expected.map(|_| rig.next_note()), expected);
}

/// What has arrived of a frame is handed out, byte by byte if need be, without waiting for more.
#[test]
fn a_chunk_does_not_wait_for_the_next() {
    let rig = streaming().start();
    let (mut peer, _) = rig.peer_and_remote();
    let payload = b"0123456789";
    let frame = masked(BINARY, payload);
    let header_len = frame.len() - payload.len();
    peer.send(&frame[..header_len]);
    for (n, byte) in payload.iter().enumerate() {
        peer.send(&frame[header_len + n..][..1]);
        assert_eq!(next_chunk(&rig), (vec![*byte], n == 0, n == 9));
    }
    peer.close(1000);
}

/// A character may be split between two chunks; the message is checked as a whole.
#[test]
fn a_character_may_be_split_between_chunks() {
    let rig = streaming().start();
    let (mut peer, _) = rig.peer_and_remote();
    let text = "€😀é";
    let frame = masked(TEXT, text.as_bytes());
    let header_len = frame.len() - text.len();
    for cut in 1..text.len() {
        peer.send(&frame[..header_len + cut]);
        assert_eq!(next_chunk(&rig), (text.as_bytes()[..cut].into(), true, false), "{cut}");
        peer.send(&frame[header_len + cut..]);
        assert_eq!(next_chunk(&rig), (text.as_bytes()[cut..].into(), false, true), "{cut}");
    }
    peer.close(1000);
}

/// An empty message is one chunk without a byte; empty fragments before the last are none.
#[test]
fn an_empty_message_is_one_empty_chunk() {
    let rig = streaming().start();
    let (mut peer, _) = rig.peer_and_remote();
    peer.send(&[masked(TEXT, b""), masked(BINARY, b"")].concat());
    peer.send(&[masked(TEXT_BEGINS, b""), masked(GOES_ON, b""), masked(ENDS, b"")].concat());
    for _ in 0..3 {
        assert_eq!(next_chunk(&rig), (vec![], true, true));
    }
    let sent = [
        masked(BINARY_BEGINS, b""),
        masked(GOES_ON, b"a"),
        masked(GOES_ON, b""),
        masked(ENDS, b""),
    ];
    peer.send(&sent.concat());
    assert_eq!(next_chunk(&rig), (vec![b'a'], true, false));
    assert_eq!(next_chunk(&rig), (vec![], false, true));
    peer.close(1000);
}

/// Pings between the fragments, and so between the chunks, are answered at once and are no chunks.
#[test]
fn pings_between_chunks_are_answered() {
    let rig = streaming().chunk(|ctx, chunk| assert!(ctx.send(chunk.payload).is_queued())).start();
    let (mut peer, _) = rig.peer_and_remote();
    let sent = [
        masked(TEXT_BEGINS, b"one"),
        masked(PING, b"p"),
        masked(GOES_ON, b"two"),
        masked(PING, b"q"),
        masked(ENDS, b"three"),
    ];
    let answers = [
        unmasked(BINARY, b"one"),
        unmasked(PONG, b"p"),
        unmasked(BINARY, b"two"),
        unmasked(PONG, b"q"),
        unmasked(BINARY, b"three"),
    ]
    .concat();
    peer.send(&sent.concat());
    assert_eq!(peer.read_bytes(answers.len()), answers);
    let chunks = [("one", true, false), ("two", false, false), ("three", false, true)];
    for (payload, first, last) in chunks {
        assert_eq!(next_chunk(&rig), (payload.into(), first, last));
    }
    peer.close(1000);
}

/// A message larger than any receive buffer comes in chunks that fit into one.
#[test]
fn a_message_larger_than_every_buffer_comes_in_chunks() {
    const LEN: usize = 32 << 20;
    let limits = |config: &mut Config| {
        config.message_bytes_max = LEN;
        config.frame_bytes_max = LEN;
    };
    let rig = streaming().config(limits).start();
    let (mut peer, _) = rig.peer_and_remote();
    let message = bytes_of(LEN, 1);
    peer.send_frame(BINARY, &message);
    let (mut at, mut is_last) = (0, false);
    while !is_last {
        let (payload, first, last) = next_chunk(&rig);
        assert_eq!(first, at == 0);
        assert!(payload.len() <= Config::default().receive_buffer_bytes);
        assert!(message[at..].starts_with(&payload), "the bytes from {at} on");
        at += payload.len();
        is_last = last;
    }
    assert_eq!(at, LEN);
    peer.close(1000);
}

/// `message_bytes_max` and `frame_bytes_max` hold although nothing is kept: what is allowed comes,
/// what is not is refused by its header, before its bytes.
#[test]
fn the_limits_hold() {
    let limits = |config: &mut Config| {
        config.message_bytes_max = 1_000;
        config.frame_bytes_max = 600;
    };
    let rig = streaming().config(limits).start();
    let (mut peer, _) = rig.peer_and_remote();
    let payload = bytes_of(1_000, 1);
    peer.send(&[masked(BINARY_BEGINS, &payload[..600]), masked(ENDS, &payload[600..])].concat());
    assert!(next_message(&rig) == payload, "just allowed");
    let too_much = masked(ENDS, &payload[..401]);
    peer.send(&[&masked(BINARY_BEGINS, &payload[..600])[..], &too_much[..8]].concat());
    assert_eq!(next_chunk(&rig), (payload[..600].into(), true, false));
    expect_failure(&rig, &mut peer, 1009, ProtocolError::MessageTooLarge);

    let (mut peer, _) = rig.peer_and_remote();
    peer.send(&masked(BINARY, &payload[..601])[..8]);
    expect_failure(&rig, &mut peer, 1009, ProtocolError::FrameTooLarge);
}

/// Text that is not UTF-8 fails as soon as that is certain, long before the message is whole; the
/// chunks before had nothing wrong in them.
#[test]
fn invalid_text_fails_at_once() {
    let rig = streaming().start();
    for bad in [&b"\xFF"[..], b"\xC0", b"\xED\xA0", b"\xF4\x90", b"\xE2\x82\x41"] {
        let (mut peer, _) = rig.peer_and_remote();
        let mut payload = b"good".to_vec();
        payload.extend_from_slice(bad);
        payload.resize(1 << 20, b'x');
        let frame = masked(TEXT, &payload);
        let header_len = frame.len() - payload.len();
        peer.send(&frame[..header_len + 4]);
        assert_eq!(next_chunk(&rig), (b"good".into(), true, false));
        peer.send(&frame[header_len + 4..][..bad.len()]);
        expect_failure(&rig, &mut peer, 1007, ProtocolError::InvalidUtf8);
    }
}

/// A text message whose last chunk ends inside a character is not UTF-8; that chunk is not handed
/// out.
#[test]
fn text_may_not_end_inside_a_character() {
    let rig = streaming().start();
    let (mut peer, _) = rig.peer_and_remote();
    peer.send_frame(TEXT_BEGINS, b"a\xE2\x82");
    assert_eq!(next_chunk(&rig), (b"a\xE2\x82".into(), true, false));
    peer.send_frame(ENDS, b"");
    expect_failure(&rig, &mut peer, 1007, ProtocolError::InvalidUtf8);
}
