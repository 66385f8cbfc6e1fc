//! The client's rules (section 4.1), one bent answer each.

use super::super::{
    Accepted, ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, HeaderError,
    HeaderLines, Key, RequestError, WsUrl, choose_subprotocol, write_accept,
};
use super::{ANSWER, ANSWER_LINE, RFC_KEY, RFC_NONCE, and, head, limits, parse, with};

fn request() -> ClientRequest {
    ClientRequest::new("server.example.com", "/chat").subprotocol("chat").subprotocol("superchat")
}

fn handshake() -> ClientHandshake {
    ClientHandshake::new(&request(), &Key::new(RFC_NONCE), limits())
}

fn answered(bytes: &[u8]) -> Result<Option<Accepted>, HandshakeError> {
    handshake().read(&mut &mut bytes.to_vec()[..])
}

#[track_caller]
fn fails<'a>(
    start_line: &str,
    lines: impl IntoIterator<Item = &'a str>,
    expected: HandshakeError,
    status: u16,
) {
    let head = head(start_line, lines);
    assert_eq!(answered(&head), Err(expected.clone()), "{}", String::from_utf8_lossy(&head));
    assert_eq!(expected.status(), status);
}

#[track_caller]
fn passes<'a>(lines: impl IntoIterator<Item = &'a str>) -> Accepted {
    let head = head(ANSWER_LINE, lines);
    match answered(&head) {
        Ok(Some(accepted)) => accepted,
        other => panic!("{other:?} to {}", String::from_utf8_lossy(&head)),
    }
}

#[test]
fn the_request_as_written() {
    let request = request().origin("https://example.com").header("Cookie", "a=b");
    let mut out = b"before ".to_vec();
    assert_eq!(request.write(&mut out, &Key::new(RFC_NONCE)), Ok(()));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "before GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {RFC_KEY}\r\nOrigin: https://example.com\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\
             Cookie: a=b\r\n\r\n"
        )
    );
}

#[test]
fn the_request_of_a_url() {
    let url = WsUrl::parse("ws://[::1]:9001?x").unwrap();
    let mut out = Vec::new();
    ClientRequest::for_url(&url).write(&mut out, &Key::new(RFC_NONCE)).unwrap();
    assert!(out.starts_with(b"GET /?x HTTP/1.1\r\nHost: [::1]:9001\r\n"));
}

#[test]
fn a_request_that_must_not_leave() {
    let new = ClientRequest::new;
    for (request, expected) in [
        (new("", "/"), RequestError::Host),
        (new("a\r\nX: y", "/"), RequestError::Host),
        (new("a/b", "/"), RequestError::Host),
        (new("a", ""), RequestError::Target),
        (new("a", "chat"), RequestError::Target),
        (new("a", "/ HTTP/1.1\r\nX: y\r\n"), RequestError::Target),
        (new("a", "/#x"), RequestError::Target),
        (new("a", "/\u{e9}"), RequestError::Target),
        (request().origin("a\r\nb"), RequestError::Origin),
        (request().origin(""), RequestError::Origin),
        (request().subprotocol(""), RequestError::Subprotocol),
        (request().subprotocol("a, b"), RequestError::Subprotocol),
        (request().subprotocol("a\r\nX: y"), RequestError::Subprotocol),
        (request().subprotocol("chat"), RequestError::SubprotocolRepeated),
        (request().header("X", "a\r\nb"), RequestError::Header(HeaderError::Value)),
        (request().header("X", "a\0"), RequestError::Header(HeaderError::Value)),
        (request().header("X:", "a"), RequestError::Header(HeaderError::Name)),
        (request().header("host", "a"), RequestError::Header(HeaderError::Reserved)),
        (request().header("Origin", "a"), RequestError::Header(HeaderError::Reserved)),
        (request().header("Upgrade", "a"), RequestError::Header(HeaderError::Reserved)),
        (request().header("connection", "a"), RequestError::Header(HeaderError::Reserved)),
        (request().header("Content-Length", "1"), RequestError::Header(HeaderError::Reserved)),
        (request().header("SEC-WEBSOCKET-KEY", "a"), RequestError::Header(HeaderError::Reserved)),
    ] {
        let mut out = Vec::new();
        assert_eq!(request.write(&mut out, &Key::new(RFC_NONCE)), Err(expected), "{request:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn a_good_answer_at_every_cut() {
    let head = head(ANSWER_LINE, and(&ANSWER, &["Sec-WebSocket-Protocol: chat", "X: y"]));
    let bytes = [&head[..], b"\x81\x02hi\r\n\r\n"].concat();
    let expected = passes(and(&ANSWER, &["Sec-WebSocket-Protocol: chat", "X: y"]));
    assert_eq!(expected.subprotocol.as_deref(), Some("chat"));
    assert_eq!(expected.headers.len(), 5);
    assert_eq!(expected.header("x"), Some(&b"y"[..]));
    assert_eq!(expected.header("z"), None);
    for cut in 0..=bytes.len() {
        let (mut first, mut second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let mut handshake = handshake();
        let mut input = &mut first[..];
        let accepted = handshake.read(&mut input).unwrap();
        assert_eq!(accepted.is_some(), cut >= head.len());
        let left = match accepted {
            Some(accepted) => {
                assert_eq!(accepted, expected);
                [&*input, &second].concat()
            }
            None => {
                assert!(input.is_empty());
                let mut input = &mut second[..];
                assert_eq!(handshake.read(&mut input), Ok(Some(expected.clone())));
                input.to_vec()
            }
        };
        assert_eq!(left, b"\x81\x02hi\r\n\r\n", "cut at {cut}");
    }
    let mut handshake = handshake();
    let mut accepted = None;
    for (index, &byte) in head.iter().enumerate() {
        assert_eq!(accepted, None, "whole at {index}");
        accepted = handshake.read(&mut &mut [byte][..]).unwrap();
    }
    assert_eq!(accepted, Some(expected));
}

#[test]
fn an_answer_in_any_spelling() {
    passes(with(&ANSWER, "upgrade: WebSocket"));
    passes(with(&ANSWER, "CONNECTION: keep-alive ,upgrade"));
    passes(with(&ANSWER, "sec-websocket-accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t"));
    passes(and(&ANSWER, &["Sec-WebSocket-Extensions:"]));
    assert_eq!(passes(ANSWER).subprotocol, None);
    for line in ["HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.1 101 Web Socket \u{e9}"] {
        assert!(answered(&head(line, ANSWER)).is_ok(), "{line}");
    }
}

#[test]
fn a_status_other_than_101_is_a_refusal() {
    for (line, status, reason) in [
        ("HTTP/1.1 403 Forbidden", 403, "Forbidden"),
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 100 Continue", 100, "Continue"),
        ("HTTP/1.1 302", 302, ""),
        ("HTTP/1.1 503 caf\u{e9}", 503, ""),
    ] {
        let expected = HandshakeError::Refused { status, reason: reason.to_owned() };
        fails(line, ANSWER, expected.clone(), 502);
        assert!(expected.to_string().contains(&status.to_string()));
    }
    let long = format!("HTTP/1.1 500 {}", "x".repeat(1000));
    let expected = HandshakeError::Refused { status: 500, reason: "x".repeat(64) };
    fails(&long, [], expected, 502);
}

#[test]
fn the_status_line() {
    fails("HTTP/1.0 101 Switching Protocols", ANSWER, HandshakeError::HttpVersionTooOld, 400);
    fails("HTTP/2.0 101 x", ANSWER, HandshakeError::HttpVersionUnsupported, 505);
    fails("HTTP/2 101 x", ANSWER, HandshakeError::HttpVersionUnsupported, 505);
    for line in [
        "HTTP",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 1O1 x",
        "HTTP/1.1 10",
        "HTTP/1.1 1010 x",
        "HTTP/1.1  101 x",
        "HTTP/1.1 101 \0",
        "HTTQ/1.1 101 x",
        "Http/1.1 101 x",
    ] {
        fails(line, ANSWER, HandshakeError::MalformedStartLine, 400);
    }
    for line in ["SSH-2.0-x", "220 mail", "\x15\x03\x03", "+OK", "-ERR"] {
        let first = line.as_bytes()[0];
        assert_eq!(answered(&[first]), Err(HandshakeError::NotHttp), "{line:?}");
    }
}

#[test]
fn the_answer_s_head_is_limited_and_well_formed() {
    let many = vec!["X: y"; 65];
    fails(ANSWER_LINE, many, HandshakeError::TooManyHeaders, 431);
    let large = format!("X: {}", "y".repeat(16 * 1024));
    fails(ANSWER_LINE, [large.as_str()], HandshakeError::HeadTooLarge, 431);
    for line in ["X y", "X : y", "X: a\r\n folded", "X: \0"] {
        fails(ANSWER_LINE, and(&ANSWER, &[line]), HandshakeError::MalformedHeader, 400);
    }
    assert_eq!(answered(b"HTTP/1.1 101 x\n\n"), Err(HandshakeError::MalformedHead));
    let bytes = head(ANSWER_LINE, ANSWER);
    for (head_bytes_max, fits) in [(bytes.len(), true), (bytes.len() - 1, false)] {
        let limits = HandshakeLimits { head_bytes_max, ..limits() };
        let mut handshake = ClientHandshake::new(&request(), &Key::new(RFC_NONCE), limits);
        let result = bytes.iter().try_fold(None, |_, &byte| handshake.read(&mut &mut [byte][..]));
        match result {
            Ok(accepted) => assert!(fits && accepted.is_some()),
            Err(error) => assert!(!fits && error == HandshakeError::HeadTooLarge),
        }
    }
}

#[test]
fn upgrade() {
    for line in ["Upgrade:", "Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: websocket/13"] {
        fails(ANSWER_LINE, with(&ANSWER, line), HandshakeError::AnswerUpgradeInvalid, 502);
    }
    let twice = and(&ANSWER, &["Upgrade: websocket"]);
    fails(ANSWER_LINE, twice, HandshakeError::AnswerUpgradeInvalid, 502);
}

#[test]
fn connection() {
    for line in ["Connection:", "Connection: close", "Connection: Upgraded"] {
        fails(ANSWER_LINE, with(&ANSWER, line), HandshakeError::AnswerConnectionInvalid, 502);
    }
}

#[test]
fn accept() {
    for line in [
        "Sec-WebSocket-Accept:",
        "Sec-WebSocket-Accept: ",
        "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo==",
        "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        fails(ANSWER_LINE, with(&ANSWER, line), HandshakeError::AcceptInvalid, 502);
    }
    let twice = and(&ANSWER, &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    fails(ANSWER_LINE, twice, HandshakeError::AcceptInvalid, 502);
}

#[test]
fn extensions() {
    for line in [
        "Sec-WebSocket-Extensions: permessage-deflate",
        "sec-websocket-extensions: permessage-deflate; server_no_context_takeover",
        "Sec-WebSocket-Extensions: , x",
        "Sec-WebSocket-Extensions: ;",
    ] {
        fails(ANSWER_LINE, and(&ANSWER, &[line]), HandshakeError::ExtensionNotOffered, 502);
    }
}

#[test]
fn subprotocol() {
    for value in [" other", " Chat", " chat, superchat", " ", ""] {
        let line = format!("Sec-WebSocket-Protocol:{value}");
        fails(ANSWER_LINE, and(&ANSWER, &[&line]), HandshakeError::SubprotocolNotOffered, 502);
    }
    let twice = and(&ANSWER, &["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"]);
    fails(ANSWER_LINE, twice, HandshakeError::SubprotocolNotOffered, 502);
}

#[test]
fn the_two_roles_understand_each_other() {
    let key = Key::new(*b"0123456789abcdef");
    let mut sent = Vec::new();
    request().write(&mut sent, &key).unwrap();
    let mut lines = HeaderLines::new();
    let received = parse(&sent, &mut lines, &limits()).unwrap();
    let read = received.websocket().unwrap();
    assert_eq!(read, key);
    let subprotocol = choose_subprotocol(&received, &["superchat"]);
    let mut answer = Vec::new();
    write_accept(&mut answer, &received, &read, subprotocol, None, &[("Server", "sockeye")])
        .unwrap();
    let mut handshake = ClientHandshake::new(&request(), &key, limits());
    let accepted = handshake.read(&mut &mut answer[..]).unwrap().unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("superchat"));
    assert_eq!(accepted.header("server"), Some(&b"sockeye"[..]));
}
