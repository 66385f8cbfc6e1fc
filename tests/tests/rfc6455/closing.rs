//! Section 7: closing and failing a connection.

use sockeye::{CloseCode, Closed, Refused};
use sockeye_codec::{Connection, SendError};
use sockeye_tests::peer::{CLOSE, TEXT, close_payload, masked};
use sockeye_tests::rig::{Rig, Seen, Setup};

/// Section 7.1.2: "To _Start the WebSocket Closing Handshake_ with a status code (Section 7.4)
/// /code/ and an optional close reason (Section 7.1.6) /reason/, an endpoint MUST send a Close
/// control frame, as described in Section 5.5.1, whose status code is set to /code/ and whose close
/// reason is set to /reason/."
#[test]
fn a_close_has_its_code_and_reason() {
    let rig = Setup::new()
        .message(|ctx, _| ctx.close(CloseCode(4321), "gr\u{fc}\u{df}e").expect("open"))
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"close");
    assert_eq!(peer.read_close(), (4321, "gr\u{fc}\u{df}e".into()));
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    connection.close(CloseCode::NORMAL, "bye", Some([0; 4]), &mut out).expect("open");
    assert_eq!(out, b"\x88\x85\0\0\0\0\x03\xe8bye");
}

/// Section 7.1.7: "Similarly, to do so, the server MUST _Close the WebSocket Connection_, and
/// SHOULD log the problem."
#[test]
fn a_server_that_fails_a_connection_closes_it() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    peer.send_frame(0x83, b"");
    assert_eq!(peer.read_close().0, 1002);
    peer.expect_end();
    assert!(matches!(rig.next_closed(), Closed::Protocol(_)));
}

/// Section 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding
/// Close frame) from the remote endpoint after being instructed to _Fail the WebSocket
/// Connection_."
#[test]
fn after_a_failure_nothing_is_processed() {
    let rig = Rig::echo();
    let (mut peer, _) = rig.peer_and_remote();
    let stream = [
        masked(TEXT, b"before"),
        masked(0x83, b""),
        masked(TEXT, b"after"),
        masked(0x89, b"after"),
        masked(CLOSE, &close_payload(1000, "")),
    ];
    peer.send(&stream.concat());
    assert_eq!(peer.read_text(), "before");
    assert_eq!(peer.read_close().0, 1002);
    peer.expect_end();
    drop(peer);
    let seen = rig.stop();
    let [Seen::Text(text), Seen::Closed(_, Closed::Protocol(_))] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(text, "before");
}

/// Section 7.2.2: "To do so, the server MUST simply _Close the WebSocket Connection_ (Section
/// 7.1.1)."
#[test]
fn a_server_can_close_at_any_time() {
    let rig = Rig::echo();
    let (mut peer, remote) = rig.peer_and_remote();
    remote.close(CloseCode::POLICY_VIOLATION, "not today").expect("open");
    assert_eq!(peer.read_close(), (1008, "not today".into()));
    peer.send_frame(CLOSE, &close_payload(1008, ""));
    peer.expect_end();
    assert!(matches!(rig.next_closed(), Closed::ByHandler { code: CloseCode::POLICY_VIOLATION }));
}

/// Section 7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control
/// frame by an endpoint."
/// Section 7.4.1: "1006 is a reserved value and MUST NOT be set as a status code in a Close control
/// frame by an endpoint."
/// Section 7.4.1: "1015 is a reserved value and MUST NOT be set as a status code in a Close control
/// frame by an endpoint."
#[test]
fn reserved_codes_are_not_sent() {
    for code in [1005, 1006, 1015] {
        let result = Connection::new().close(CloseCode(code), "", None, &mut Vec::new());
        assert_eq!(result, Err(SendError::InvalidClose));
    }
    let rig = Setup::new()
        .message(|ctx, _| {
            for code in [1005, 1006, 1015] {
                assert_eq!(ctx.close(CloseCode(code), ""), Err(Refused::ControlFrame));
            }
            ctx.send("refused");
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(TEXT, b"close");
    assert_eq!(peer.read_text(), "refused");
    // An empty close, which is reported as 1005, is answered by an empty one.
    peer.send_frame(CLOSE, b"");
    assert_eq!(peer.read_frame().payload, b"");
    assert!(matches!(rig.next_closed(), Closed::ByPeer { code: CloseCode::NO_STATUS, .. }));
}
