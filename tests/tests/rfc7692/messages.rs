//! Section 6: which frames say that they are compressed.

use sockeye_tests::peer::masked;

use crate::{offer, willing};

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// Section 6: "An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
#[test]
fn the_bit_on_any_other_frame_fails() {
    let rig = willing();
    for (frames, what) in [
        (vec![masked(0xc9, b"")], "a ping"),
        (vec![masked(0xca, b"")], "a pong"),
        (vec![masked(0xc8, b"")], "a close frame"),
        (vec![masked(0x41, &HELLO[..3]), masked(0xc0, &HELLO[3..])], "a later fragment"),
        (vec![masked(0x01, b"Hello"), masked(0xc0, b"")], "a later fragment of a plain message"),
    ] {
        let (mut peer, answer) = offer(&rig, "permessage-deflate");
        assert_eq!(answer.as_deref(), Some("permessage-deflate"));
        peer.send(&frames.concat());
        assert_eq!(peer.read_close().0, 1002, "{what}");
        peer.expect_end();
    }
}

/// Section 6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and
/// non-first fragments of a data message."
#[test]
fn we_set_the_bit_on_messages_only() {
    let rig = willing();
    let (mut peer, _) = offer(&rig, "permessage-deflate");
    // Two compressed fragments come back as one compressed frame; ping and close as they are.
    peer.send(&masked(0x41, &HELLO[..3]));
    peer.send(&masked(0x89, b"ping"));
    peer.send(&masked(0x80, &HELLO[3..]));
    for (first, payload) in [(0x8a, &b"ping"[..]), (0xc1, &HELLO)] {
        let frame = peer.read_frame();
        assert_eq!((frame.first, &frame.payload[..]), (first, payload));
    }
    peer.send(&masked(0x88, &[0x03, 0xe8]));
    assert_eq!(peer.read_frame().first, 0x88);
    peer.expect_end();
}
