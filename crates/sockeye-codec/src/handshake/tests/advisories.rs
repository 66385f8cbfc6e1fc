//! What has gone wrong in other implementations' handshakes, tried on this one. Those that concern
//! frames are in `tests/advisories.rs`.

use super::super::{
    ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, HeaderLines, Key,
    ResponseError, write_accept,
};
use super::head::feed;
use super::{ANSWER, ANSWER_LINE, HEADERS, RFC_NONCE, START_LINE, and, head, limits, parse, with};

fn websocket(head: &[u8]) -> Result<Key, HandshakeError> {
    parse(head, &mut HeaderLines::new(), &limits())?.websocket()
}

/// CVE-2023-43669 (RUSTSEC-2023-0065), tungstenite: a head without an end was collected without a
/// limit, and parsed from its beginning on each read. Here only what has just come is searched for
/// the end, and nothing is parsed before it is there; the limit holds.
#[test]
fn a_head_without_an_end_in_pieces_of_one_byte() {
    let endless = [START_LINE.as_bytes(), b"\r\nX: ", &[b'y'; 20_000]].concat();
    let limits = HandshakeLimits { head_bytes_max: 10_000, ..limits() };
    let cuts = 1..endless.len();
    assert_eq!(feed(&endless, cuts, &limits), Err(HandshakeError::HeadTooLarge));
}

/// CVE-2026-54466, websocket-driver: the drafts before the RFC, with keys that are numbers and
/// frames whose length ends at the first byte without its high bit.
#[test]
fn the_drafts_before_the_rfc_are_refused() {
    let lines = with(&with(&HEADERS, "Sec-WebSocket-Key:"), "Sec-WebSocket-Version:");
    let draft_76 = and(
        &lines,
        &["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00"],
    );
    for lines in [&lines, &draft_76] {
        let head = head(START_LINE, lines.iter().copied());
        assert_eq!(websocket(&head), Err(HandshakeError::VersionMissing));
    }
    // "Sec-WebSocket-Draft" was never a version; 0 to 12 were.
    for version in 0..13 {
        let line = format!("Sec-WebSocket-Version: {version}");
        let head = head(START_LINE, with(&HEADERS, &line));
        assert_eq!(websocket(&head), Err(HandshakeError::VersionUnsupported));
    }
}

/// CVE-2021-32640, ws: splitting Sec-WebSocket-Protocol took quadratic time. The shapes that did
/// it, at the longest that a head may be; what they cost here the instruction counts would show.
#[test]
fn lists_of_white_space_and_commas() {
    let limits = HandshakeLimits { head_bytes_max: 1 << 20, ..limits() };
    let long = if cfg!(miri) { 500 } else { 500_000 };
    for (value, offered) in [
        (format!("b{}x", " ".repeat(long)), None),
        (format!("b{}, x", " ".repeat(long)), Some(2)),
        (format!("b{}x", ",".repeat(long)), Some(2)),
        (format!("b{}x", ", ".repeat(long)), Some(2)),
        ("\t".repeat(long) + "b", Some(1)),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {value}");
        let head = head(START_LINE, and(&HEADERS, &[&line]));
        let mut lines = HeaderLines::new();
        let request = parse(&head, &mut lines, &limits).unwrap();
        match offered {
            Some(offered) => {
                assert!(request.websocket().is_ok());
                assert_eq!(request.protocols().count(), offered);
            }
            None => assert_eq!(request.websocket(), Err(HandshakeError::SubprotocolInvalid)),
        }
    }
}

/// ws, 2017: an extension with the name of a property that every object has ended the server.
#[test]
fn extensions_with_names_that_mean_something_to_the_language() {
    for name in ["constructor", "__proto__", "toString", "hasOwnProperty", "self", "drop"] {
        let line = format!("Sec-WebSocket-Extensions: {name}; {name}=1; {name}");
        let head = head(START_LINE, and(&HEADERS, &[&line]));
        let mut lines = HeaderLines::new();
        let request = parse(&head, &mut lines, &limits()).unwrap();
        let key = request.websocket().unwrap();
        let mut answer = Vec::new();
        write_accept(&mut answer, &request, &key, None, None, super::super::NO_HEADERS).unwrap();
        assert!(!String::from_utf8(answer).unwrap().contains(name));
        // Nor does a client take it from a server.
        let head = super::head(ANSWER_LINE, and(&ANSWER, &[&line]));
        let request = ClientRequest::new("a", "/");
        let mut handshake = ClientHandshake::new(&request, &Key::new(RFC_NONCE), limits());
        let error = handshake.read(&mut &mut head.clone()[..]).unwrap_err();
        assert_eq!(error, HandshakeError::ExtensionNotOffered);
    }
}

/// CVE-2024-37890, ws: a request with more header lines than the limit, so that Upgrade was not
/// among those that were read, ended the server. fastwebsockets#75: one without Upgrade did.
#[test]
fn a_request_whose_upgrade_is_beyond_the_limit_or_absent() {
    let filling = vec!["X: y"; 2_000];
    for lines in [and(&filling, &HEADERS), and(&HEADERS[..1], &and(&filling, &HEADERS[1..]))] {
        let head = head(START_LINE, lines);
        let limits = HandshakeLimits { head_bytes_max: 1 << 20, ..limits() };
        let error = parse(&head, &mut HeaderLines::new(), &limits).unwrap_err();
        assert_eq!(error, HandshakeError::TooManyHeaders);
    }
    for absent in ["Upgrade:", "Connection:", "Host:", "Sec-WebSocket-Key:"] {
        let head = head(START_LINE, with(&HEADERS, absent));
        assert!(matches!(websocket(&head).unwrap_err().status(), 400 | 426), "{absent}");
    }
}

/// CVE-2026-1527, undici: a value with a line break in it became header lines of its own.
#[test]
fn no_part_of_a_request_or_an_answer_breaks_out_of_its_line() {
    let new = || ClientRequest::new("a", "/");
    for bad in ["x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1", "\r\n\r\nGET / HTTP/1.1", "x\0"] {
        for request in [
            ClientRequest::new(bad, "/"),
            ClientRequest::new("a", format!("/{bad}")),
            new().origin(bad),
            new().subprotocol(bad),
            new().header(bad, "x"),
            new().header("X", bad),
        ] {
            let mut out = Vec::new();
            assert!(request.write(&mut out, &Key::new(RFC_NONCE)).is_err(), "{request:?}");
            assert!(out.is_empty());
        }
        let line = "Sec-WebSocket-Protocol: x";
        let head = head(START_LINE, and(&HEADERS, &[line]));
        let mut lines = HeaderLines::new();
        let request = parse(&head, &mut lines, &limits()).unwrap();
        let key = request.websocket().unwrap();
        let mut out = Vec::new();
        let chosen =
            write_accept(&mut out, &request, &key, Some(bad), None, super::super::NO_HEADERS);
        assert_eq!(chosen, Err(ResponseError::SubprotocolNotOffered));
        assert!(write_accept(&mut out, &request, &key, None, None, &[("X", bad)]).is_err());
        assert!(write_accept(&mut out, &request, &key, None, None, &[(bad, "x")]).is_err());
        assert!(out.is_empty());
    }
}

/// RUSTSEC-2021-0078, RUSTSEC-2021-0079 and RUSTSEC-2021-0020, hyper: lengths that parsers read
/// differently, so that one's body is another's next request. A handshake has no body: whatever
/// speaks of one is refused, and what follows is never taken for a second request.
#[test]
fn a_request_with_a_body_smuggles_nothing() {
    for more in [
        &["Content-Length: +5"][..],
        &["Content-Length: 5", "Content-Length: 6"],
        &["Content-Length: 0", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: identity, chunked"],
        &["Transfer-Encoding: chunked, cow"],
        &["Transfer-Encoding: \x0bchunked"],
        &["Content-Length: 99999999999999999999999999999999"],
        &["Content-Length : 5"],
        &["Content-Length:5\r\n 6"],
    ] {
        let error = websocket(&head(START_LINE, and(&HEADERS, more))).unwrap_err();
        assert_eq!(error.status(), 400, "{more:?}");
    }
}
