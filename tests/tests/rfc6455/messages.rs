//! Sections 5.6 to 6.2: data, extensions, sending and receiving; 8 and 10: what is checked.

use sockeye::{Closed, Sent};
use sockeye_codec::{Limits, ProtocolError};
use sockeye_tests::peer::{BINARY, Frame, TEXT, masked, unmasked};
use sockeye_tests::rig::{Rig, Seen, Setup};

use crate::{both_fail, client_fails, refused, server_fails, texts_of_client};

/// Section 5.6: "Note that a particular text frame might include a partial UTF-8 sequence; however,
/// the whole message MUST contain valid UTF-8."
#[test]
fn a_frame_may_end_inside_a_character_but_no_message() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    let fish = "\u{1f41f}".as_bytes();
    for byte in 0..3 {
        peer.send_frame(if byte == 0 { 0x01 } else { 0x00 }, &fish[byte..=byte]);
    }
    peer.send_frame(0x80, &fish[3..]);
    assert_eq!(peer.read_text(), "\u{1f41f}");
    for end in 1..4 {
        both_fail(TEXT, &fish[..end], ProtocolError::InvalidUtf8);
        server_fails(&[&masked(0x01, &fish[..end]), &masked(0x80, b"")], &[], 1007);
    }
}

/// Section 5.8: "The endpoints of a connection MUST negotiate the use of any extensions during the
/// opening handshake."
#[test]
fn no_extension_without_negotiation() {
    // RSV1 is what permessage-deflate would use.
    both_fail(0xC1, b"", ProtocolError::ReservedBits);
    both_fail(0xC2, b"", ProtocolError::ReservedBits);
}

/// Section 6.1: "To _Send a WebSocket Message_ comprising of /data/ over a WebSocket connection, an
/// endpoint MUST perform the following steps."
/// Section 6.1: "An endpoint MUST encapsulate the /data/ in a WebSocket frame as defined in Section
/// 5.2."
/// Section 6.1: "The opcode (frame-opcode) of the first frame containing the data MUST be set to
/// the appropriate value from Section 5.2 for data that is to be interpreted by the recipient as
/// text or binary data."
/// Section 6.1: "The FIN bit (frame-fin) of the last frame containing the data MUST be set to 1 as
/// defined in Section 5.2."
/// Section 6.1: "The frame(s) that have been formed MUST be transmitted over the underlying network
/// connection."
#[test]
fn a_message_leaves_as_a_frame() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for (first, payload) in [(TEXT, &b"text"[..]), (BINARY, &[0xFF, 0]), (BINARY, &[7; 70_000])] {
        peer.send_frame(first, payload);
        let frame = Frame { first, masking_key: None, payload: payload.into() };
        assert_eq!(peer.read_frame(), frame, "FIN and opcode, one frame");
    }
}

/// Section 6.1: "The endpoint MUST ensure the WebSocket connection is in the OPEN state (cf."
/// Section 6.1: "Sections 4.1 and 4.2.2.) If at any point the state of the WebSocket connection
/// changes, the endpoint MUST abort the following steps."
#[test]
fn only_an_open_connection_sends() {
    let rig = Setup::new()
        .message(|ctx, message| {
            assert!(ctx.send(message).is_queued());
            ctx.close(sockeye::CloseCode::NORMAL, "").expect("open");
            assert_eq!(ctx.send(message), Sent::Closed);
        })
        .start();
    let (mut peer, remote) = rig.peer_and_remote();
    peer.send_frame(TEXT, b"once");
    assert_eq!(peer.read_text(), "once");
    assert_eq!(peer.read_close().0, 1000);
    assert!(remote.send("closing").is_err());
    drop(peer);
    assert!(matches!(rig.next_closed(), Closed::ByHandler { .. }));
    assert!(remote.send("closed").is_err());
}

/// Section 6.2: "Incoming data MUST be parsed as WebSocket frames as defined in Section 5.2."
/// Section 6.2: "If a control frame (Section 5.5) is received, the frame MUST be handled as defined
/// by Section 5.5."
/// Section 6.2: "A server MUST remove masking for data frames received from a client as described
/// in Section 5.3."
#[test]
fn what_comes_in_is_parsed_unmasked_and_handled() {
    let rig = Rig::echo();
    let (mut peer, _) = rig.peer_and_remote();
    let mut frames = masked(TEXT, "\u{fc}n\u{ef}".as_bytes());
    frames.extend(masked(0x89, b"!"));
    frames.extend([0x82, 0x83, 1, 2, 3, 4, 0x41 ^ 1, 0x42 ^ 2, 0x43 ^ 3]);
    peer.send(&frames);
    assert_eq!(peer.read_text(), "\u{fc}n\u{ef}");
    assert_eq!(peer.read_frame().first, 0x8A);
    assert_eq!(peer.read_frame().payload, b"ABC");
    assert!(matches!(rig.next(), Seen::Text(text) if text == "\u{fc}n\u{ef}"));
    assert!(matches!(rig.next(), Seen::Binary(bytes) if bytes == b"ABC"));
}

/// Section 6.2: "Upon receiving a data frame (Section 5.6), the endpoint MUST note the /type/ of
/// the data as defined by the opcode (frame-opcode) from Section 5.2."
/// Section 6.2: "Subsequent data frames MUST be interpreted as belonging to a new WebSocket
/// message."
#[test]
fn each_message_has_the_type_of_its_first_frame() {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    for (first, payload) in
        [(0x02, b"a"), (0x80, b"b"), (0x01, b"c"), (0x00, b"d"), (0x80, b"e"), (0x82, b"f")]
    {
        peer.send_frame(first, payload);
    }
    for (first, payload) in [(BINARY, &b"ab"[..]), (TEXT, b"cde"), (BINARY, b"f")] {
        assert_eq!(peer.read_frame(), Frame { first, masking_key: None, payload: payload.into() });
    }
}

/// Section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
/// stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
/// Connection_."
#[test]
fn text_that_is_not_utf8_fails() {
    for text in [&b"\xff"[..], b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"] {
        both_fail(TEXT, text, ProtocolError::InvalidUtf8);
        // As soon as it can be seen: the message has not ended.
        server_fails(&[&masked(0x01, text)], &[], 1007);
        client_fails(&[&unmasked(0x01, text)], ProtocolError::InvalidUtf8);
    }
    // A close frame's reason is UTF-8, too (section 5.5.1).
    both_fail(0x88, b"\x03\xe8\xff", ProtocolError::InvalidUtf8);
    assert_eq!(texts_of_client(unmasked(TEXT, "\u{10ffff}".as_bytes())), ["\u{10ffff}"]);
}

/// Section 4.3: "extension-param = token [ "=" (token | quoted-string) ] ; When using the
/// quoted-string syntax variant, the value ; after quoted-string unescaping MUST conform to the ;
/// 'token' ABNF."
/// Section 9.1: "If a value is received by either the client or the server during negotiation that
/// does not conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail
/// the WebSocket Connection_."
/// Section 9.1: "Sec-WebSocket-Extensions = extension-list extension-list = 1#extension extension =
/// extension-token *( ";" extension-param ) extension-token = registered-token registered-token =
/// token extension-param = token [ "=" (token | quoted-string) ] ;When using the quoted-string
/// syntax variant, the value ;after quoted-string unescaping MUST conform to the ;'token' ABNF."
#[test]
fn extensions_that_are_not_a_list_fail() {
    for value in ["", "a b", "a; b=\"two words\"", "a; b=\"open", "a;", "a; =b", "(a)"] {
        let line = format!("Sec-WebSocket-Extensions: {value}\r\nUpgrade:");
        let head = refused(&sockeye_tests::peer::REQUEST.replace("Upgrade:", &line));
        assert!(head.starts_with("HTTP/1.1 400 "), "{value}: {head}");
    }
}

/// Section 10.4: "Implementations that have implementation- and/or platform-specific limitations
/// regarding the frame size or total message size after reassembly from multiple frames MUST
/// protect themselves against exceeding those limits."
#[test]
fn too_large_fails_before_it_is_there() {
    let rig = Setup::new().config(|config| config.message_bytes_max = 1_000).start();
    let mut peer = rig.peer();
    // A length of 2^62 bytes, of which none comes.
    peer.send(&[&[0x82, 0x80 | 127], &(1_u64 << 62).to_be_bytes()[..], &[0; 4]].concat());
    assert_eq!(peer.read_close().0, 1009);
    peer.expect_end();
    let mut peer = rig.peer();
    peer.send_frame(0x02, &[0; 900]);
    peer.send_frame(0x80, &[0; 101]);
    assert_eq!(peer.read_close().0, 1009);
    peer.expect_end();
    let longest = Limits::default().message_bytes_max + 1;
    let frame = [&[0x82, 127], &longest.to_be_bytes()[..]].concat();
    client_fails(&[&frame], ProtocolError::FrameTooLarge);
}

/// Section 10.7: "Incoming data MUST always be validated by both clients and servers."
#[test]
fn noise_is_not_believed() {
    // A server that gets HTTP, TLS or plain noise where frames should be.
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b"\x00\x00", &[0xFF; 64]]
    {
        server_fails(&[noise], &[], 1002);
    }
    client_fails(&[b"HTTP/1.1 200 OK\r\n\r\n"], ProtocolError::ReservedBits);
    client_fails(&[&[0xFF; 64]], ProtocolError::ReservedOpcode(15));
}
