//! Section 4.2, the server's side of the opening handshake.

use sockeye::{Upgrade, choose_subprotocol};
use sockeye_tests::peer::{ACCEPT, Peer, REQUEST};
use sockeye_tests::rig::{Rig, Session, Setup};

use crate::refused;

/// The request with one line changed, or without it.
fn request_with(line: &str, instead: &str) -> String {
    let request = REQUEST.replace(&format!("{line}\r\n"), instead);
    assert_ne!(request, REQUEST, "no such line: {line}");
    request
}

const KEY_LINE: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION_LINE: &str = "Sec-WebSocket-Version: 13";

/// The value of a header of an answer.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| {
        line.split_once(": ")
            .filter(|field| field.0.eq_ignore_ascii_case(name))
            .map(|field| field.1)
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

/// Section 4.2.1: "If the server, while reading the handshake, finds that the client did not send a
/// handshake that matches the description below (note that as per [RFC2616], the order of the
/// header fields is not important), including but not limited to any violations of the ABNF grammar
/// specified for the components of the handshake, the server MUST stop processing the client's
/// handshake and return an HTTP response with an appropriate error code (such as 400 Bad Request)."
#[test]
fn a_handshake_that_is_not_one_is_answered_with_an_error() {
    let twice = |line: &str| request_with(line, &format!("{line}\r\n{line}\r\n"));
    for (request, status) in [
        (REQUEST.replace("GET ", "POST "), 405),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), 400),
        (request_with("Host: example.com", ""), 400),
        (twice("Host: example.com"), 400),
        (request_with("Upgrade: websocket", ""), 426),
        (request_with("Upgrade: websocket", "Upgrade: h2c\r\n"), 426),
        (request_with("Connection: Upgrade", ""), 400),
        (request_with("Connection: Upgrade", "Connection: keep-alive\r\n"), 400),
        (request_with(KEY_LINE, ""), 400),
        (request_with(KEY_LINE, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        (twice(KEY_LINE), 400),
        (request_with(VERSION_LINE, ""), 400),
        (twice(VERSION_LINE), 400),
        (request_with("Host: example.com", "Host : example.com\r\n"), 400),
        (request_with("Host: example.com", "Host: example.com\r\n folded\r\n"), 400),
        (request_with("Host: example.com", "Host: example.com\r\nno colon\r\n"), 400),
        (REQUEST.replace("\r\n", "\n"), 400),
    ] {
        let head = refused(&request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{head}");
    }
    // The order is not important.
    let (first, rest) = REQUEST.split_once("\r\n").expect("lines");
    let mut lines: Vec<_> = rest.trim_end().split("\r\n").collect();
    lines.reverse();
    let rig = Rig::echo();
    Peer::open_with(rig.address, &format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n")));
}

/// Section 4.2.2: "When a client establishes a WebSocket connection to a server, the server MUST
/// complete the following steps to accept the connection and send the server's opening handshake."
#[test]
fn the_answer_of_the_rfc() {
    let rig = Rig::echo();
    let (mut peer, head) = Peer::open_with(rig.address, REQUEST);
    assert_eq!(head.lines().next(), Some("HTTP/1.1 101 Switching Protocols"));
    assert_eq!(value(&head, "Upgrade"), Some("websocket"));
    assert_eq!(value(&head, "Connection"), Some("Upgrade"));
    assert_eq!(value(&head, "Sec-WebSocket-Accept"), Some(ACCEPT));
    peer.send_frame(0x81, b"open");
    assert_eq!(peer.read_text(), "open");
}

/// Section 4.2.2: "If the server does not wish to accept this connection, it MUST return an
/// appropriate HTTP error code (e.g., 403 Forbidden) and abort the WebSocket handshake described in
/// this section."
/// Section 4.2.2: "If the requested service is not available, the server MUST send an appropriate
/// HTTP error code (such as 404 Not Found) and abort the WebSocket handshake."
#[test]
fn a_server_can_refuse() {
    let rig = Setup::new()
        .upgrade(|request| match (request.path(), request.origin()) {
            ("/", Some("http://example.com")) => Upgrade::accept(Session::default()),
            ("/", _) => Upgrade::reject(403),
            _ => Upgrade::reject(404),
        })
        .start();
    for (request, status) in [
        (request_with(KEY_LINE, &format!("{KEY_LINE}\r\nOrigin: http://evil.example\r\n")), 403),
        (REQUEST.replace("GET / ", "GET /nothing "), 404),
    ] {
        let mut peer = Peer::tcp(rig.address);
        peer.send(request.as_bytes());
        assert!(peer.read_head().starts_with(&format!("HTTP/1.1 {status} ")));
        peer.read_to_end();
    }
    let fine = request_with(KEY_LINE, &format!("{KEY_LINE}\r\nOrigin: http://example.com\r\n"));
    Peer::open_with(rig.address, &fine).0.close(1000);
}

/// Section 4.2.2: "If this version does not match a version understood by the server, the server
/// MUST abort the WebSocket handshake described in this section and instead send an appropriate
/// HTTP error code (such as 426 Upgrade Required) and a |Sec-WebSocket-Version| header field
/// indicating the version(s) the server is capable of understanding."
/// Section 4.4: "If the server doesn't support the requested version, it MUST respond with a
/// |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields)
/// containing all versions it is willing to use."
#[test]
fn another_version_is_told_ours() {
    for version in ["8", "12", "14", "25", "013", "0", "-1", "x"] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        let head = refused(&request_with(VERSION_LINE, &line));
        assert!(head.starts_with("HTTP/1.1 426 "), "{version}: {head}");
        assert_eq!(value(&head, "Sec-WebSocket-Version"), Some("13"));
    }
}

fn choosing() -> Rig {
    Setup::new()
        .upgrade(|request| {
            let upgrade = Upgrade::accept(Session::default());
            match choose_subprotocol(request, &["v2.chat", "v1.chat"]) {
                Some(name) => upgrade.subprotocol(name),
                None => upgrade,
            }
        })
        .start()
}

/// Section 4.2.2: "The value chosen MUST be derived from the client's handshake, specifically by
/// selecting one of the values from the |Sec-WebSocket-Protocol| field that the server is willing
/// to use for this connection (if any)."
#[test]
fn the_subprotocol_is_one_of_the_client_s() {
    let rig = choosing();
    let offer = |names: &str| {
        let line = format!("{KEY_LINE}\r\nSec-WebSocket-Protocol: {names}\r\n");
        Peer::open_with(rig.address, &request_with(KEY_LINE, &line)).1
    };
    assert_eq!(value(&offer("v1.chat, v2.chat"), "Sec-WebSocket-Protocol"), Some("v1.chat"));
    assert_eq!(value(&offer("x, v2.chat"), "Sec-WebSocket-Protocol"), Some("v2.chat"));
    // A hook that answers with another one answers 500.
    let rig =
        Setup::new().upgrade(|_| Upgrade::accept(Session::default()).subprotocol("mine")).start();
    let mut peer = Peer::tcp(rig.address);
    peer.send(REQUEST.as_bytes());
    assert!(peer.read_head().starts_with("HTTP/1.1 500 "));
}

/// Section 4.2.2: "The absence of such a field is equivalent to the null value (meaning that if the
/// server does not wish to agree to one of the suggested subprotocols, it MUST NOT send back a
/// |Sec-WebSocket-Protocol| header field in its response)."
#[test]
fn no_subprotocol_no_header() {
    let rig = choosing();
    let offer = format!("{KEY_LINE}\r\nSec-WebSocket-Protocol: v9, v8\r\n");
    for request in [REQUEST, &request_with(KEY_LINE, &offer)] {
        let (_, head) = Peer::open_with(rig.address, request);
        assert_eq!(value(&head, "Sec-WebSocket-Protocol"), None);
    }
}

/// Section 4.2.2: "If the server supports multiple extensions, then the value MUST be derived from
/// the client's handshake, specifically by selecting one or more of the values from the
/// |Sec-WebSocket-Extensions| field."
/// Section 4.2.2: "Extensions not listed by the client MUST NOT be listed."
/// Section 9: "A server MUST NOT respond with any extension not requested by the client."
/// Section 11.3.2: "However, the |Sec-WebSocket-Extensions| header field MUST NOT appear more than
/// once in an HTTP response."
#[test]
fn no_extension_that_was_not_asked_for() {
    let rig = Rig::echo();
    let offer = format!("{KEY_LINE}\r\nSec-WebSocket-Extensions: foo; bar=1, x-other\r\n");
    for request in [REQUEST, &request_with(KEY_LINE, &offer)] {
        let (_, head) = Peer::open_with(rig.address, request);
        assert_eq!(value(&head, "Sec-WebSocket-Extensions"), None);
    }
    // Not even a hook can add one.
    let rig = Setup::new()
        .upgrade(|_| Upgrade::accept(Session::default()).header("Sec-WebSocket-Extensions", "foo"))
        .start();
    let mut peer = Peer::tcp(rig.address);
    peer.send(REQUEST.as_bytes());
    assert!(peer.read_head().starts_with("HTTP/1.1 500 "));
}
