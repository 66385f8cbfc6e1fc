//! Sections 5.1 to 5.4: frames, masks, fragments.

use sockeye_codec::{Codec, Limits, ProtocolError, encode};
use sockeye_tests::peer::{Frame, TEXT, masked, unmasked};
use sockeye_tests::rig::Rig;

use crate::{both_fail, client_fails, server_fails, texts_of_client};

/// Section 5.1: "To avoid confusing network intermediaries (such as intercepting proxies) and for
/// security reasons that are further discussed in Section 10.3, a client MUST mask all frames that
/// it sends to the server (see Section 5.3 for further details)."
/// Section 5.3: "A masked frame MUST have the field frame-masked set to 1, as defined in Section
/// 5.2."
/// Section 6.1: "If the data is being sent by the client, the frame(s) MUST be masked as defined in
/// Section 5.3."
#[test]
fn a_client_masks() {
    let (mut connection, mut codec) = crate::client();
    let mut out = Vec::new();
    let key = codec.next_masking_key();
    connection.send("Hello", key, &mut out).expect("open");
    let key = codec.next_masking_key();
    connection.ping(b"Hello", key, &mut out).expect("open");
    for (frame, first) in out.chunks(11).zip([0x81, 0x89]) {
        assert_eq!(frame[..2], [first, 0x80 | 5]);
        let payload: Vec<_> =
            frame[6..].iter().zip(&frame[2..6].repeat(2)).map(|(a, b)| a ^ b).collect();
        assert_eq!(payload, b"Hello");
    }
}

/// Section 5.1: "(Note that masking is done whether or not the WebSocket Protocol is running over
/// TLS.) The server MUST close the connection upon receiving a frame that is not masked."
#[test]
fn a_server_fails_on_a_frame_that_is_not_masked() {
    for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] {
        server_fails(&[&unmasked(first, b"")], &[], 1002);
    }
    server_fails(&[&masked(TEXT, b"well"), &unmasked(TEXT, b"not")], &["well"], 1002);
}

/// Section 5.1: "A server MUST NOT mask any frames that it sends to the client."
#[test]
fn a_server_does_not_mask() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for (first, payload) in
        [(0x81, &b"text"[..]), (0x82, &[1; 70_000]), (0x89, b"ping"), (0x88, b"\x03\xe8")]
    {
        peer.send_frame(first, payload);
        assert_eq!(peer.read_frame().masking_key, None);
    }
}

/// Section 5.1: "A client MUST close a connection if it detects a masked frame."
#[test]
fn a_client_fails_on_a_masked_frame() {
    for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] {
        client_fails(&[&masked(first, b"")], ProtocolError::Masked);
    }
}

/// Section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero
/// values."
/// Section 5.2: "frame-rsv1 = %x0 / %x1 ; 1 bit in length, MUST be 0 unless ; negotiated otherwise"
/// Section 5.2: "frame-rsv2 = %x0 / %x1 ; 1 bit in length, MUST be 0 unless ; negotiated otherwise"
/// Section 5.2: "frame-rsv3 = %x0 / %x1 ; 1 bit in length, MUST be 0 unless ; negotiated otherwise"
#[test]
fn reserved_bits_are_sent_as_0() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for (first, payload) in [(0x81, &b"x"[..]), (0x82, &[0; 200]), (0x89, b""), (0x88, b"")] {
        peer.send_frame(first, payload);
        assert_eq!(peer.read_frame().first & 0x70, 0);
    }
}

/// Section 5.2: "If a nonzero value is received and none of the negotiated extensions defines the
/// meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
#[test]
fn reserved_bits_fail() {
    for bits in 1..8 {
        for first in [0x81, 0x02, 0x89, 0x88] {
            both_fail(first | (bits << 4), b"", ProtocolError::ReservedBits);
        }
    }
}

/// Section 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
/// Connection_."
#[test]
fn unknown_opcodes_fail() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        both_fail(0x80 | opcode, b"", ProtocolError::ReservedOpcode(opcode));
    }
}

/// A client's frame whose length is in eight bytes.
fn with_length(len: u64, mask: u8) -> Vec<u8> {
    [&[0x82, mask | 127], &len.to_be_bytes()[..], &[0; 4]].concat()
}

/// Section 5.2: "If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most
/// significant bit MUST be 0) are the payload length."
#[test]
fn a_length_has_63_bits() {
    for len in [1 << 63, u64::MAX] {
        server_fails(&[&with_length(len, 0x80)], &[], 1002);
        client_fails(&[&with_length(len, 0)], ProtocolError::LengthBeyond63Bits);
    }
}

/// Section 5.2: "Note that in all cases, the minimal number of bytes MUST be used to encode the
/// length, for example, the length of a 124-byte-long string can't be encoded as the sequence 126,
/// 0, 124."
#[test]
fn a_length_is_in_its_shortest_form() {
    for len in [0, 124, 125] {
        server_fails(&[&[0x82, 0x80 | 126, 0, len, 0, 0, 0, 0]], &[], 1002);
        client_fails(&[&[0x82, 126, 0, len]], ProtocolError::LengthNotMinimal);
    }
    for len in [0, 126, 65_535] {
        server_fails(&[&with_length(len, 0x80)], &[], 1002);
        client_fails(&[&with_length(len, 0)], ProtocolError::LengthNotMinimal);
    }
    // `read_frame` insists on it for what we send.
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for len in [0, 125, 126, 65_535, 65_536] {
        peer.send_frame(0x82, &vec![1; len]);
        assert_eq!(peer.read_frame().payload.len(), len);
    }
}

/// Section 5.3: "When preparing a masked frame, the client MUST pick a fresh masking key from the
/// set of allowed 32-bit values."
/// Section 10.3: "Clients MUST choose a new masking key for each frame, using an algorithm that
/// cannot be predicted by end applications that provide data."
#[test]
fn a_fresh_key_for_each_frame() {
    let mut codec = Codec::client(Limits::default(), [5; 32]);
    let mut keys: Vec<_> = (0..4_096).map(|_| codec.next_masking_key()).collect();
    keys.sort_unstable();
    keys.dedup();
    // Two of 4,096 random ones are the same in one of 500 runs; the seed is fixed.
    assert!(keys.len() >= 4_095 && !keys.contains(&None), "{} keys", keys.len());
}

/// Section 5.3: "The masking key needs to be unpredictable; thus, the masking key MUST be derived
/// from a strong source of entropy, and the masking key for a given frame MUST NOT make it simple
/// for a server/proxy to predict the masking key for a subsequent frame."
#[test]
fn keys_follow_from_the_whole_seed_alone() {
    // The generator is a cryptographic one (`StdRng`); each bit of the seed changes every key.
    let keys = |seed: [u8; 32]| {
        let mut codec = Codec::client(Limits::default(), seed);
        (0..64).map(|_| codec.next_masking_key()).collect::<Vec<_>>()
    };
    let plain = keys([0; 32]);
    for bit in 0..256 {
        let mut seed = [0; 32];
        seed[bit / 8] = 1 << (bit % 8);
        let same = keys(seed).iter().zip(&plain).filter(|(a, b)| a == b).count();
        assert_eq!(same, 0, "bit {bit}");
    }
}

/// Section 5.4: "Control frames themselves MUST NOT be fragmented."
#[test]
fn fragmented_control_frames_fail() {
    for first in [0x08, 0x09, 0x0A] {
        both_fail(first, b"", ProtocolError::ControlFragmented);
    }
}

/// Section 5.4: "o Message fragments MUST be delivered to the recipient in the order sent by the
/// sender."
/// Section 5.4: "o Clients and servers MUST support receiving both fragmented and unfragmented
/// messages."
#[test]
fn fragments_are_put_together_in_order() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    let frames = |frame: fn(u8, &[u8]) -> Vec<u8>| {
        [frame(0x01, b"one "), frame(0x00, b"two "), frame(0x00, b""), frame(0x80, b"three")]
            .into_iter()
            .chain([frame(0x81, b"whole")])
            .collect::<Vec<_>>()
            .concat()
    };
    peer.send(&frames(masked));
    assert_eq!(peer.read_text(), "one two three");
    assert_eq!(peer.read_text(), "whole");
    assert_eq!(texts_of_client(frames(unmasked)), ["one two three", "whole"]);
}

/// Section 5.4: "o The fragments of one message MUST NOT be interleaved between the fragments of
/// another message unless an extension has been negotiated that can interpret the interleaving."
#[test]
fn interleaved_messages_fail() {
    for first in [0x01, 0x81, 0x02, 0x82] {
        server_fails(&[&masked(0x01, b"one"), &masked(first, b"other")], &[], 1002);
        client_fails(
            &[&unmasked(0x01, b"one"), &unmasked(first, b"other")],
            ProtocolError::MessageInterleaved,
        );
    }
}

/// Section 5.4: "o An endpoint MUST be capable of handling control frames in the middle of a
/// fragmented message."
#[test]
fn control_frames_in_the_middle_of_a_message() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    peer.send_frame(0x01, b"one ");
    peer.send_frame(0x89, b"now");
    // Answered before the message has ended.
    let pong = Frame { first: 0x8A, masking_key: None, payload: b"now".into() };
    assert_eq!(peer.read_frame(), pong);
    peer.send_frame(0x8A, b"");
    peer.send_frame(0x80, b"two");
    assert_eq!(peer.read_text(), "one two");
    let frames = [unmasked(0x01, b"one "), unmasked(0x89, b"now"), unmasked(0x80, b"two")];
    assert_eq!(texts_of_client(frames.concat()), ["one two"]);
}

/// Section 5.4: "Since control frames cannot be fragmented, the type for all fragments in a message
/// MUST be either text, binary, or one of the reserved opcodes."
#[test]
fn a_continuation_has_a_message_to_go_on_with() {
    for first in [0x00, 0x80] {
        both_fail(first, b"x", ProtocolError::ContinuationWithoutStart);
        // A control frame does not begin one, and a message that ended does not go on.
        server_fails(&[&masked(0x8A, b""), &masked(first, b"x")], &[], 1002);
        server_fails(&[&masked(0x81, b"end"), &masked(first, b"x")], &["end"], 1002);
    }
    // The type is the first frame's.
    let mut out = Vec::new();
    encode::frame(&mut out, false, sockeye_codec::OpCode::Text, b"a", None);
    encode::frame(&mut out, true, sockeye_codec::OpCode::Continuation, b"b", None);
    assert_eq!(out, b"\x01\x01a\x80\x01b");
}
