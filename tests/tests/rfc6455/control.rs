//! Section 5.5: close, ping and pong.

use sockeye_codec::ProtocolError;
use sockeye_tests::peer::{CLOSE, Frame, PING, PONG, Peer, close_payload};
use sockeye_tests::rig::{Rig, Setup};

use crate::both_fail;

/// Section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
/// fragmented."
#[test]
fn control_frames_have_at_most_125_bytes() {
    for first in [CLOSE, PING, PONG] {
        both_fail(first, &[b'x'; 126], ProtocolError::ControlTooLong);
        both_fail(first & 0x7F, b"", ProtocolError::ControlFragmented);
    }
    let rig = Rig::echo();
    let mut peer = rig.peer();
    peer.send_frame(PING, &[b'x'; 125]);
    assert_eq!(peer.read_frame().payload, [b'x'; 125]);
    // Nor do we send one that is longer.
    let rig = Setup::new()
        .message(|ctx, _| {
            assert!(ctx.ping(&[0; 126]).is_err());
            ctx.ping(&[0; 125]).expect("short enough");
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(0x81, b"ping me");
    let ping = peer.read_frame();
    assert_eq!((ping.first, ping.payload.len()), (PING, 125));
}

/// Section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned
/// integer (in network byte order) representing a status code with value /code/ defined in Section
/// 7.4."
#[test]
fn a_close_body_begins_with_a_code() {
    both_fail(CLOSE, &[3], ProtocolError::ClosePayloadTruncated);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        both_fail(CLOSE, &close_payload(code, ""), ProtocolError::InvalidCloseCode(code));
    }
    let rig = Rig::echo();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        rig.peer().close(code);
    }
}

/// Section 5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
#[test]
fn nothing_is_sent_after_a_close_frame() {
    let rig = Setup::new()
        .message(|ctx, message| {
            ctx.close(sockeye::CloseCode::NORMAL, "").expect("open");
            assert_eq!(ctx.send(message), sockeye::Sent::Closed);
            assert!(ctx.ping(b"").is_err());
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(0x81, b"close");
    assert_eq!(peer.read_close().0, 1000);
    // Neither answers to what was on its way.
    peer.send_frame(0x81, b"late");
    peer.send_frame(PING, b"late");
    peer.send_frame(CLOSE, &close_payload(1000, ""));
    peer.expect_end();
}

/// Section 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame,
/// the endpoint MUST send a Close frame in response."
#[test]
fn a_close_frame_is_answered() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    peer.send_frame(CLOSE, &close_payload(4000, "reason"));
    assert_eq!(peer.read_close().0, 4000);
    let mut peer = rig.peer();
    peer.send_frame(CLOSE, b"");
    assert_eq!(peer.read_frame(), Frame { first: CLOSE, masking_key: None, payload: vec![] });

    let (mut connection, mut codec) = crate::client();
    let (mut bytes, mut out) = (b"\x88\x02\x0f\xa0".to_vec(), Vec::new());
    let event = connection.receive(&mut codec, &mut &mut bytes[..], &mut out);
    assert!(matches!(event, Ok(Some(_))));
    let [0x88, 0x82, a, b, _, _, x, y] = out[..] else { panic!("{out:02x?}") };
    assert_eq!([a ^ x, b ^ y], [0x0f, 0xa0]);
}

/// Section 5.5.1: "After both sending and receiving a Close message, an endpoint considers the
/// WebSocket connection closed and MUST close the underlying TCP connection."
/// Section 5.5.1: "The server MUST close the underlying TCP connection immediately; the client
/// SHOULD wait for the server to close the connection but MAY close the connection at any time
/// after sending and receiving a Close message, e.g., if it has not received a TCP Close from the
/// server in a reasonable time period."
#[test]
fn the_server_closes_tcp_after_both_close_frames() {
    let ends = |mut peer: Peer| {
        // The peer's side is still open: the FIN is the server's own doing.
        peer.expect_end();
        assert!(peer.stream().peer_addr().is_ok());
    };
    let rig = Setup::new()
        .message(|ctx, _| ctx.close(sockeye::CloseCode::GOING_AWAY, "").expect("open"))
        .start();
    let mut peer = rig.peer();
    peer.send_frame(CLOSE, &close_payload(1000, ""));
    assert_eq!(peer.read_close().0, 1000);
    ends(peer);
    let mut peer = rig.peer();
    peer.send_frame(0x81, b"you close");
    assert_eq!(peer.read_close().0, 1001);
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    ends(peer);
}

/// Section 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response,
/// unless it already received a Close frame."
#[test]
fn a_ping_is_answered() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for payload in [&b""[..], b"ping", &[0xFF; 125]] {
        peer.send_frame(PING, payload);
        let pong = Frame { first: PONG, masking_key: None, payload: payload.into() };
        assert_eq!(peer.read_frame(), pong);
    }
    peer.send_frame(CLOSE, b"");
    peer.send_frame(PING, b"too late");
    assert_eq!(peer.read_frame().first, CLOSE);
    peer.expect_end();

    let (mut connection, mut codec) = crate::client();
    let (mut bytes, mut out) = (b"\x89\x01x".to_vec(), Vec::new());
    let event = connection.receive(&mut codec, &mut &mut bytes[..], &mut out);
    assert!(matches!(event, Ok(Some(_))));
    let [0x8A, 0x81, key, _, _, _, x] = out[..] else { panic!("{out:02x?}") };
    assert_eq!(key ^ x, b'x');
}
