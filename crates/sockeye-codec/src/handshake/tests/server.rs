//! The server's rules (section 4.2), one bent handshake each.

use super::super::{
    AcceptKey, HEADERS_MAX, HandshakeError, HandshakeLimits, HeaderError, HeaderLines, Key,
    NO_HEADERS, ResponseError, accept_key, choose_subprotocol, write_accept,
};
use super::{HEADERS, RFC_ACCEPT, RFC_KEY, RFC_NONCE, START_LINE, and, head, limits, parse, with};

fn websocket(head: &[u8]) -> Result<Key, HandshakeError> {
    parse(head, &mut HeaderLines::new(), &limits())?.websocket()
}

#[track_caller]
fn refused<'a>(
    start_line: &str,
    lines: impl IntoIterator<Item = &'a str>,
    expected: HandshakeError,
    status: u16,
) {
    let head = head(start_line, lines);
    let text = String::from_utf8_lossy(&head);
    assert_eq!(websocket(&head), Err(expected.clone()), "{text}");
    assert_eq!(expected.status(), status);
}

#[track_caller]
fn passes<'a>(start_line: &str, lines: impl IntoIterator<Item = &'a str>) {
    let head = head(start_line, lines);
    let text = String::from_utf8_lossy(&head);
    assert_eq!(websocket(&head).map(|key| key.accept()), Ok(accept_key(RFC_KEY)), "{text}");
}

#[test]
fn the_key_of_the_rfc_gives_its_answer() {
    let accept: AcceptKey = accept_key(RFC_KEY);
    assert_eq!(accept.as_str(), RFC_ACCEPT);
    assert_eq!(&*accept, RFC_ACCEPT);
    let key = Key::new(RFC_NONCE);
    assert_eq!(key.as_str(), RFC_KEY);
    assert_eq!(key.accept(), accept);
    assert_eq!(Key::parse(RFC_KEY.as_bytes()), Some(key));
    assert_eq!(Key::new([0xff; 16]).as_str(), "/////////////////////w==");
    // The example of section 4.1, with a bit set beyond the 16th byte.
    let key = Key::parse(b"AQIDBAUGBwgJCgsMDQ4PEC==").expect("the RFC's own example");
    assert_eq!(key.as_str(), "AQIDBAUGBwgJCgsMDQ4PEC==");
}

#[test]
fn a_request_shows_its_parts() {
    let lines = and(
        &HEADERS,
        &[
            "Origin: https://example.com",
            "sec-websocket-protocol: chat ,\tsuperchat,,",
            "Sec-WebSocket-Protocol: third",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "SEC-WEBSOCKET-EXTENSIONS: x-other",
            "Cookie: secret=1",
            "X-Bytes: \u{e9}",
            "X-Empty:",
        ],
    );
    let head = head(START_LINE, lines.iter().copied());
    let mut room = HeaderLines::new();
    let request = parse(&head, &mut room, &limits()).unwrap();
    assert_eq!(request.websocket().map(|key| key.as_str().to_owned()), Ok(RFC_KEY.to_owned()));
    assert!(request.is_upgrade());
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), "/chat?room=1");
    assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
    assert_eq!(request.host(), Some("server.example.com"));
    assert_eq!(request.origin(), Some("https://example.com"));
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["chat", "superchat", "third"]);
    assert_eq!(
        request.extensions().collect::<Vec<_>>(),
        [&b"permessage-deflate; client_max_window_bits"[..], b"x-other"]
    );
    let headers = request.headers();
    assert_eq!(headers.len(), lines.len());
    assert!(!headers.is_empty());
    assert_eq!(headers.get("X-BYTES"), Some("\u{e9}".as_bytes()));
    assert_eq!(headers.get_str("x-bytes"), Some("\u{e9}"));
    assert_eq!(headers.get("X-Empty"), Some(&b""[..]));
    assert_eq!(headers.get("X-Missing"), None);
    assert_eq!(headers.get_all("sec-websocket-protocol").count(), 2);
    assert_eq!(headers.iter().next(), Some(("Host", &b"server.example.com"[..])));
    let debug = format!("{request:?}");
    assert!(debug.contains("Cookie") && !debug.contains("secret"), "{debug}");
}

#[test]
fn an_ordinary_request_can_be_read_too() {
    let head = head("HEAD /health HTTP/1.0", []);
    let mut lines = HeaderLines::new();
    let request = parse(&head, &mut lines, &limits()).unwrap();
    assert!(!request.is_upgrade());
    assert!(request.headers().is_empty());
    assert_eq!((request.method(), request.path(), request.query()), ("HEAD", "/health", None));
    assert_eq!((request.host(), request.origin()), (None, None));
}

#[test]
fn targets() {
    for (target, path, query, host) in [
        ("/", "/", None, "server.example.com"),
        ("/a/b?", "/a/b", Some(""), "server.example.com"),
        ("/?a?b=/c", "/", Some("a?b=/c"), "server.example.com"),
        ("//double", "//double", None, "server.example.com"),
        ("http://other:81/a?b", "/a", Some("b"), "other:81"),
        ("HTTPS://other", "/", None, "other"),
        ("https://other?b", "/", Some("b"), "other"),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        passes(&line, HEADERS);
        let head = head(&line, HEADERS);
        let mut lines = HeaderLines::new();
        let request = parse(&head, &mut lines, &limits()).unwrap();
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
        assert_eq!(request.host(), Some(host), "{target}");
    }
    for target in ["*", "chat", "ftp://host/", "http://", "http://user@host/", "host:80"] {
        let line = format!("GET {target} HTTP/1.1");
        refused(&line, HEADERS, HandshakeError::InvalidTarget, 400);
    }
    for target in ["/#fragment", "/caf\u{e9}", "/\u{7f}"] {
        let head = head(&format!("GET {target} HTTP/1.1"), HEADERS);
        let error = parse(&head, &mut HeaderLines::new(), &limits()).unwrap_err();
        assert_eq!(error.status(), 400, "{target:?}: {error:?}");
    }
    let asterisk = head("OPTIONS * HTTP/1.1", []);
    assert_eq!(parse(&asterisk, &mut HeaderLines::new(), &limits()).unwrap().path(), "*");
}

#[test]
fn lists_of_tokens_are_read_in_any_spelling() {
    for line in [
        "Connection: keep-alive, Upgrade",
        "connection: Upgrade,keep-alive",
        "CONNECTION:upgrade",
        "Connection: \t UPGRADE \t ",
        "Connection: ,, ,uPgRaDe,",
        "Connection: keep-alive\t,\tUpgrade\t,\tTE",
    ] {
        passes(START_LINE, with(&HEADERS, line));
    }
    passes(START_LINE, and(&with(&HEADERS, "Connection: keep-alive"), &["Connection: Upgrade"]));
    for line in ["Upgrade: WebSocket", "Upgrade: h2c, websocket", "upgrade:WEBSOCKET"] {
        passes(START_LINE, with(&HEADERS, line));
    }
    passes(START_LINE, and(&with(&HEADERS, "Upgrade: h2c"), &["Upgrade: websocket"]));
    for line in ["Connection: Upgrades", "Connection: Up grade", "Connection: keep-alive; Upgrade"]
    {
        let lines = with(&HEADERS, line);
        refused(START_LINE, lines, HandshakeError::ConnectionUpgradeMissing, 400);
    }
    for line in ["Upgrade: websockets", "Upgrade: websocket/13", "Upgrade: \"websocket\""] {
        refused(START_LINE, with(&HEADERS, line), HandshakeError::UpgradeMissing, 426);
    }
}

#[test]
fn the_start_line() {
    for method in ["POST", "HEAD", "get", "Get", "GETS", "CONNECT"] {
        let head = head(&format!("{method} / HTTP/1.1"), HEADERS);
        let expected = if method == "get" {
            HandshakeError::NotHttp
        } else {
            HandshakeError::MethodNotAllowed
        };
        assert_eq!(websocket(&head), Err(expected), "{method}");
    }
    refused("POST / HTTP/1.1", HEADERS, HandshakeError::MethodNotAllowed, 405);
    refused("GET / HTTP/1.0", HEADERS, HandshakeError::HttpVersionTooOld, 400);
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/3", "HTTP/0.9"] {
        let line = format!("GET / {version}");
        refused(&line, HEADERS, HandshakeError::HttpVersionUnsupported, 505);
    }
    refused("PRI * HTTP/2.0", [], HandshakeError::HttpVersionUnsupported, 505);
    for line in [
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET / FTP/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "G\0T / HTTP/1.1",
        "G",
    ] {
        refused(line, HEADERS, HandshakeError::MalformedStartLine, 400);
    }
}

#[test]
fn malformed_header_lines() {
    for line in [
        "No colon",
        "Space before : colon",
        ": no name",
        " Leading: space",
        "Na(me: delimiter",
        "N\u{e4}me: not ASCII",
        "Name: nul \0",
        "Name: escape \x1b",
        "Name: delete \x7f",
        "Name: return \r in it",
        "Name: folded\r\n line",
        "Name: folded\r\n\tline",
    ] {
        let lines = and(&HEADERS, &[line]);
        refused(START_LINE, lines, HandshakeError::MalformedHeader, 400);
    }
}

#[test]
fn a_head_is_exactly_one_head() {
    let whole = head(START_LINE, HEADERS);
    let bare: Vec<u8> = whole.iter().copied().filter(|&byte| byte != b'\r').collect();
    for bytes in [
        &whole[..whole.len() - 2],
        &whole[..whole.len() - 1],
        &[&whole[..], b"G"].concat(),
        &[&whole[..], &whole[..]].concat(),
        &bare,
        b"",
    ] {
        let error = parse(bytes, &mut HeaderLines::new(), &limits()).unwrap_err();
        assert_eq!(error, HandshakeError::MalformedHead, "{}", String::from_utf8_lossy(bytes));
    }
    let after_empty_line = [b"\r\n", &whole[..]].concat();
    let error = parse(&after_empty_line, &mut HeaderLines::new(), &limits()).unwrap_err();
    assert_eq!(error, HandshakeError::NotHttp);
    let limits = HandshakeLimits { head_bytes_max: whole.len() - 1, ..limits() };
    assert_eq!(
        parse(&whole, &mut HeaderLines::new(), &limits).unwrap_err(),
        HandshakeError::HeadTooLarge
    );
}

#[test]
fn the_number_of_header_lines_is_limited() {
    let many = |count: usize| head("GET / HTTP/1.1", vec!["X: y"; count]);
    for (headers_max, most) in [(0, 0), (1, 1), (64, 64), (128, 128), (1 << 20, HEADERS_MAX)] {
        let limits = HandshakeLimits { headers_max, ..limits() };
        assert_eq!(
            parse(&many(most), &mut HeaderLines::new(), &limits).unwrap().headers().len(),
            most
        );
        let error = parse(&many(most + 1), &mut HeaderLines::new(), &limits).unwrap_err();
        assert_eq!(error, HandshakeError::TooManyHeaders, "{headers_max}");
    }
    assert_eq!(HandshakeError::TooManyHeaders.status(), 431);
}

#[test]
fn host() {
    refused(START_LINE, with(&HEADERS, "Host:"), HandshakeError::HostMissing, 400);
    let twice = and(&HEADERS, &["host: server.example.com"]);
    refused(START_LINE, twice, HandshakeError::HostInvalid, 400);
    for line in ["Host: ", "Host: a, b", "Host: a b", "Host: a/b", "Host: u@a", "Host: \u{e9}"] {
        refused(START_LINE, with(&HEADERS, line), HandshakeError::HostInvalid, 400);
    }
    for line in ["Host: localhost:9001", "Host: [::1]:80", "Host: 127.0.0.1", "Host: a_b.c"] {
        passes(START_LINE, with(&HEADERS, line));
    }
}

#[test]
fn upgrade_and_connection() {
    refused(START_LINE, with(&HEADERS, "Upgrade:"), HandshakeError::UpgradeMissing, 426);
    let lines = with(&HEADERS, "Connection:");
    refused(START_LINE, lines, HandshakeError::ConnectionUpgradeMissing, 400);
}

#[test]
fn version() {
    let none = with(&HEADERS, "Sec-WebSocket-Version:");
    refused(START_LINE, none, HandshakeError::VersionMissing, 400);
    let twice = and(&HEADERS, &["Sec-WebSocket-Version: 13"]);
    refused(START_LINE, twice, HandshakeError::VersionRepeated, 400);
    for version in ["8", "14", "013", "13, 8", "+13", "13a", "0", " "] {
        let line = format!("Sec-WebSocket-Version: {version}");
        refused(START_LINE, with(&HEADERS, &line), HandshakeError::VersionUnsupported, 426);
    }
}

#[test]
fn key() {
    let none = with(&HEADERS, "Sec-WebSocket-Key:");
    refused(START_LINE, none.iter().copied(), HandshakeError::KeyMissing, 400);
    // The draft before: two keys, and eight bytes after the head.
    let draft_76 = and(&none, &["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5"]);
    refused(START_LINE, draft_76, HandshakeError::KeyMissing, 400);
    let twice = and(&HEADERS, &["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]);
    refused(START_LINE, twice, HandshakeError::KeyRepeated, 400);
    for key in [
        " ",
        "dGhlIHNhbXBsZSBub25jZQ",       // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",      // half of it
        "dGhlIHNhbXBsZSBub25jZSE=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25jZSEh",     // 18 bytes
        "dGhlIHNhbXBsZSBub25j",         // 15 bytes
        "dGhlIHNhbXBsZSBub25jZ===",     // too much padding
        "dGhlIHNhbXBsZSBub25jZ-==",     // another alphabet
        "dGhlIHNhbXBsZSBub2 jZQ==",     // white space
        "dGhlIHNhbXBsZSBub25jZQ==AAAA", // more after it
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        "dGhl\u{e9}HNhbXBsZSBub25Q==",
    ] {
        let line = format!("Sec-WebSocket-Key: {key}");
        refused(START_LINE, with(&HEADERS, &line), HandshakeError::KeyInvalid, 400);
    }
    passes(START_LINE, with(&HEADERS, "Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t"));
}

#[test]
fn a_body_is_refused() {
    for line in [
        "Content-Length: 1",
        "content-length: 00",
        "Content-Length: 0, 0",
        "Content-Length: -0",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "transfer-encoding: identity",
    ] {
        refused(START_LINE, and(&HEADERS, &[line]), HandshakeError::BodyNotAcceptable, 400);
    }
    let hidden = and(&HEADERS, &["Content-Length: 0", "Content-Length: 5"]);
    refused(START_LINE, hidden, HandshakeError::BodyNotAcceptable, 400);
    passes(START_LINE, and(&HEADERS, &["Content-Length: 0"]));
}

#[test]
fn an_origin_is_readable_or_refused() {
    for lines in [
        &["Origin: https://a", "Origin: https://b"][..],
        &["Origin: "],
        &["Origin: https://\u{e9}"],
        &["Origin: a\tb"],
    ] {
        refused(START_LINE, and(&HEADERS, lines), HandshakeError::OriginInvalid, 400);
    }
    passes(START_LINE, and(&HEADERS, &["Origin: null"]));
}

#[test]
fn subprotocols_are_tokens() {
    for value in ["a b", "chat, super chat", "a/b", "\"chat\"", "ch\u{e4}t"] {
        let line = format!("Sec-WebSocket-Protocol: {value}");
        refused(START_LINE, and(&HEADERS, &[&line]), HandshakeError::SubprotocolInvalid, 400);
    }
    passes(START_LINE, and(&HEADERS, &["Sec-WebSocket-Protocol: v1.chat+json, x"]));
}

#[test]
fn extensions_are_a_list() {
    for value in [
        "foo",
        "foo, bar; baz=2",
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
        "a;b=\"c\";d , ,e",
        "a; b = \"\\c\\d\" ; e",
    ] {
        passes(START_LINE, and(&HEADERS, &[&format!("Sec-WebSocket-Extensions: {value}")]));
    }
    for value in [
        "",
        ",",
        ";",
        "a;",
        "a;;b",
        "a b",
        "a; b c",
        "a; =b",
        "a=b",
        "a; b=",
        "a; b=c=d",
        "a; b=\"",
        "a; b=\"\"",
        "a; b=\"c",
        "a; b=\"c d\"",
        "a; b=\"c\"d",
        "a; b=\"c\\\"",
        "a/b",
        "\"a\"",
        "a; b=(c)",
    ] {
        let line = format!("Sec-WebSocket-Extensions: {value}");
        refused(START_LINE, and(&HEADERS, &[&line]), HandshakeError::ExtensionsInvalid, 400);
    }
    // Several lines are one list.
    let lines = ["Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b; c"];
    passes(START_LINE, and(&HEADERS, &lines));
    let lines = ["Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b;"];
    refused(START_LINE, and(&HEADERS, &lines), HandshakeError::ExtensionsInvalid, 400);
}

#[test]
fn the_first_rule_that_is_broken_is_the_answer() {
    let order = [
        ("POST / HTTP/1.0", vec![], HandshakeError::MethodNotAllowed),
        ("GET / HTTP/1.0", vec![], HandshakeError::HttpVersionTooOld),
        ("GET / HTTP/1.1", vec![], HandshakeError::HostMissing),
        ("GET / HTTP/1.1", vec!["Host: a"], HandshakeError::UpgradeMissing),
        ("GET / HTTP/1.1", HEADERS[..2].to_vec(), HandshakeError::ConnectionUpgradeMissing),
        ("GET / HTTP/1.1", HEADERS[..3].to_vec(), HandshakeError::VersionMissing),
        ("GET / HTTP/1.1", HEADERS[..4].to_vec(), HandshakeError::KeyMissing),
    ];
    for (start_line, mut lines, expected) in order {
        lines.push("Content-Length: 5");
        assert_eq!(websocket(&head(start_line, lines)), Err(expected));
    }
}

fn accept(
    offers: &str,
    subprotocol: Option<&str>,
    headers: &[(&str, &str)],
) -> (Result<(), ResponseError>, String) {
    let line = format!("Sec-WebSocket-Protocol: {offers}");
    let head = head(START_LINE, and(&HEADERS, &[&line]));
    let mut lines = HeaderLines::new();
    let request = parse(&head, &mut lines, &limits()).unwrap();
    let key = request.websocket().unwrap();
    let mut out = b"before ".to_vec();
    let result = write_accept(&mut out, &request, &key, subprotocol, None, headers);
    (result, String::from_utf8(out).unwrap())
}

#[test]
fn the_answer_that_accepts() {
    let (result, answer) = accept("chat, superchat", Some("superchat"), &[("Server", "x y")]);
    assert_eq!(result, Ok(()));
    assert_eq!(
        answer,
        format!(
            "before HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Accept: {RFC_ACCEPT}\r\n\
             Sec-WebSocket-Protocol: superchat\r\nServer: x y\r\n\r\n"
        )
    );
    let (result, answer) = accept("chat", None, NO_HEADERS);
    assert_eq!(result, Ok(()));
    assert!(!answer.contains("Protocol:"), "{answer}");
}

#[test]
fn the_answer_has_nothing_that_was_not_offered_or_breaks_out_of_its_line() {
    for chosen in ["other", "", "Chat", "chat\r\nX: y", "chat, superchat"] {
        let (result, answer) = accept("chat, superchat", Some(chosen), NO_HEADERS);
        assert_eq!(result, Err(ResponseError::SubprotocolNotOffered), "{chosen:?}");
        assert_eq!(answer, "before ");
    }
    for (name, value, expected) in [
        ("X", "a\r\nSet-Cookie: b", HeaderError::Value),
        ("X", "a\nb", HeaderError::Value),
        ("X", "a\rb", HeaderError::Value),
        ("X", "a\0b", HeaderError::Value),
        ("X", "a\x7fb", HeaderError::Value),
        ("X: y\r\nZ", "a", HeaderError::Name),
        ("X ", "a", HeaderError::Name),
        ("", "a", HeaderError::Name),
        ("N\u{e4}me", "a", HeaderError::Name),
        ("upgrade", "h2c", HeaderError::Reserved),
        ("CONNECTION", "close", HeaderError::Reserved),
        ("Sec-WebSocket-Accept", "x", HeaderError::Reserved),
        ("sec-websocket-protocol", "x", HeaderError::Reserved),
        ("Sec-WebSocket-Extensions", "x", HeaderError::Reserved),
        ("Content-Length", "0", HeaderError::Reserved),
        ("transfer-encoding", "chunked", HeaderError::Reserved),
    ] {
        let (result, answer) = accept("chat", Some("chat"), &[("Fine", "1"), (name, value)]);
        assert_eq!(result, Err(ResponseError::Header(expected)), "{name:?}: {value:?}");
        assert_eq!(answer, "before ");
    }
}

#[test]
fn the_client_s_preference_decides_the_subprotocol() {
    let head = head(START_LINE, and(&HEADERS, &["Sec-WebSocket-Protocol: a, b, C"]));
    let mut lines = HeaderLines::new();
    let request = parse(&head, &mut lines, &limits()).unwrap();
    assert_eq!(choose_subprotocol(&request, &["c", "b", "a"]), Some("a"));
    assert_eq!(choose_subprotocol(&request, &["c", "b"]), Some("b"));
    assert_eq!(choose_subprotocol(&request, &["c"]), None);
    assert_eq!(choose_subprotocol(&request, &[]), None);
}
