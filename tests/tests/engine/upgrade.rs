//! The opening handshake: what the hook sees, what it may answer, and what is refused.

use sockeye::{Message, Upgrade};
use sockeye_tests::peer::{ACCEPT, BINARY, CLOSE, Peer, REQUEST, TEXT, close_payload, masked};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// What an upgrade hook that cannot be helped is answered with.
const INTERNAL_ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\
    Content-Length: 15\r\nContent-Type: text/plain\r\n\r\ninternal error\n";

/// [`REQUEST`] for another target and with more header lines.
fn request(target: &str, lines: &[&str]) -> String {
    let head = REQUEST.strip_suffix("\r\n").unwrap().replacen("/ ", &format!("{target} "), 1);
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{head}{lines}\r\n")
}

/// All that is answered to these bytes, up to the server's FIN. A reset is a failure.
fn exchange(rig: &Rig, bytes: impl AsRef<[u8]>) -> String {
    let mut peer = Peer::tcp(rig.address);
    peer.send(bytes.as_ref());
    String::from_utf8(peer.read_to_end()).expect("text")
}

/// The server's answer to a handshake that is refused by RFC 6455 or by a limit.
fn refusal(status: &str, lines: &str, reason: &str) -> String {
    let connection = if lines.contains("Upgrade:") { "Upgrade, close" } else { "close" };
    let content_length = reason.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: {content_length}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n{lines}\r\n{reason}\n"
    )
}

/// Once this is back, the shard has received all that was sent to it before.
fn barrier(peer: &mut Peer) {
    peer.send_frame(TEXT, b"barrier");
    assert_eq!(peer.read_text(), "barrier");
}

/// The hook is given method, path, query, headers, origin, subprotocols and the peer's address.
#[test]
fn the_hook_sees_the_request() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .upgrade(move |request| {
            let protocols: Vec<_> = request.protocols().collect();
            note(format!(
                "{} {} {} {:?} {:?} {:?} {:?} {:?} {} {}",
                request.method(),
                request.target(),
                request.path(),
                request.query(),
                request.host(),
                request.origin(),
                request.headers().get_str("x-token"),
                protocols,
                request.is_upgrade(),
                request.peer(),
            ));
            Upgrade::accept(Session::default())
        })
        .start();
    let request = request(
        "/chat/a%20room?user=a&x=%20?",
        &[
            "Origin: https://example.com",
            "Sec-WebSocket-Protocol: chat.v2, chat.v1",
            "Sec-WebSocket-Protocol: superchat",
            "X-Token:   secret  ",
        ],
    );
    let (peer, _) = Peer::open_with(rig.address, &request);
    let expected = format!(
        "GET /chat/a%20room?user=a&x=%20? /chat/a%20room {:?} {:?} {:?} {:?} {:?} true {}",
        Some("user=a&x=%20?"),
        Some("example.com"),
        Some("https://example.com"),
        Some("secret"),
        ["chat.v2", "chat.v1", "superchat"],
        peer.stream().local_addr().unwrap(),
    );
    assert_eq!(rig.next_note(), expected);
    peer.close(1000);
}

/// What a plain request does not have is not there.
#[test]
fn the_hook_sees_what_is_missing() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .upgrade(move |request| {
            let (query, origin) = (request.query(), request.origin());
            let protocols = request.protocols().count();
            note(format!("{} {query:?} {origin:?} {protocols}", request.path()));
            Upgrade::accept(Session::default())
        })
        .start();
    rig.peer().close(1000);
    assert_eq!(rig.next_note(), "/ None None 0");
}

/// An acceptance has the key's answer, the subprotocol and the hook's header lines, and no more.
#[test]
fn accepts_with_subprotocol_and_headers() {
    let rig = Setup::new()
        .upgrade(|request| {
            let chosen = sockeye::choose_subprotocol(request, &["chat.v1", "chat.v2"]).unwrap();
            Upgrade::accept(Session::default())
                .subprotocol(chosen)
                .header("Set-Cookie", "a=b; HttpOnly")
                .header("X-Empty", "")
        })
        .start();
    let request = request("/", &["Sec-WebSocket-Protocol: other, chat.v2, chat.v1"]);
    let (mut peer, head) = Peer::open_with(rig.address, &request);
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: chat.v2\r\n\
         Set-Cookie: a=b; HttpOnly\r\nX-Empty: \r\n\r\n"
    );
    assert_eq!(head, expected);
    barrier(&mut peer);
    let stats = rig.handle().stats();
    assert_eq!((stats.accepted, stats.opened, stats.rejected), (1, 1, 0));
}

/// The data given at the acceptance is what the callbacks of that connection get, and no other's.
#[test]
fn the_session_given_is_the_session_got() {
    let rig = Setup::new()
        .upgrade(|request| {
            Upgrade::accept(Session { name: request.path().into(), ..Session::default() })
        })
        .message(|ctx, _| {
            ctx.session().count += 1;
            let Session { name, count } = ctx.session().clone();
            ctx.send(&*format!("{name} {count}"));
        })
        .start();
    let mut peers =
        ["/a", "/b", "/c"].map(|path| Peer::open_with(rig.address, &request(path, &[])).0);
    for round in 1..=3 {
        for (peer, name) in peers.iter_mut().zip(["/a", "/b", "/c"]) {
            peer.send_frame(TEXT, b"");
            assert_eq!(peer.read_text(), format!("{name} {round}"));
        }
    }
    for (peer, name) in peers.into_iter().zip(["/a", "/b", "/c"]) {
        peer.close(1000);
        let session = rig.skip_to(|seen| match seen {
            Seen::Closed(session, _) => Some(session),
            _ => None,
        });
        assert_eq!(session, Session { name: name.into(), count: 3 });
    }
}

/// A rejection has the hook's status, header lines and body; then the server sends its FIN.
#[test]
fn rejects_with_status_headers_and_body() {
    let rig = Setup::new()
        .upgrade(|request| match request.path() {
            "/404" => Upgrade::reject(404).header("X-Why", "none").body("not here"),
            "/302" => Upgrade::reject(302).header("Location", "/elsewhere"),
            "/204" => Upgrade::reject(204),
            "/599" => Upgrade::reject(599).body(vec![b'x'; 300_000]),
            other => panic!("{other}"),
        })
        .start();
    let answers = [
        (
            "/404",
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 8\r\n\
             X-Why: none\r\n\r\nnot here"
                .to_owned(),
        ),
        (
            "/302",
            "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\
             Location: /elsewhere\r\n\r\n"
                .to_owned(),
        ),
        ("/204", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()),
        (
            "/599",
            format!(
                "HTTP/1.1 599 \r\nConnection: close\r\nContent-Length: 300000\r\n\r\n{}",
                "x".repeat(300_000)
            ),
        ),
    ];
    for (path, answer) in &answers {
        // Bytes behind the request are thrown away, and no reset overtakes the answer.
        let sent = request(path, &[]) + &"more that nobody reads".repeat(10_000);
        assert!(exchange(&rig, sent) == *answer, "{path}");
    }
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.accepted, stats.opened, stats.rejected), (4, 0, 4));
    assert!(rig.stop().is_empty(), "what never opened is on no record");
}

/// A GET that asks for no upgrade can be answered with a page, a HEAD with the page's head.
#[test]
fn serves_a_page() {
    let rig = Setup::new()
        .upgrade(|request| {
            assert!(!request.is_upgrade());
            Upgrade::reject(200).header("Content-Type", "text/html").body("<p>hello")
        })
        .start();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\
                Content-Type: text/html\r\n\r\n";
    let get = "GET /index.html HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(exchange(&rig, get), format!("{head}<p>hello"));
    assert_eq!(exchange(&rig, get.replacen("GET", "HEAD", 1)), head);
    assert_eq!(exchange(&rig, get.replacen("1.1", "1.0", 1)), format!("{head}<p>hello"));
}

/// Accepting what is not a handshake of RFC 6455 answers the error of section 4.2.1.
#[test]
fn an_accepted_request_must_be_websocket() {
    let rig = Rig::echo();
    let without = |start: &str| -> String {
        REQUEST.split_inclusive("\r\n").filter(|line| !line.starts_with(start)).collect()
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let (bad, upgrade) = ("400 Bad Request", "426 Upgrade Required");
    let cases = [
        (
            REQUEST.replacen("GET", "POST", 1),
            refusal("405 Method Not Allowed", "Allow: GET\r\n", "the method must be GET"),
        ),
        (REQUEST.replacen("1.1", "1.0", 1), refusal(bad, "", "HTTP/1.1 is required")),
        (without("Host:"), refusal(bad, "", "Host is missing")),
        (request("/", &["Host: b"]), refusal(bad, "", "Host is repeated or invalid")),
        (
            without("Upgrade:"),
            refusal(upgrade, "Upgrade: websocket\r\n", "an upgrade to websocket is required"),
        ),
        (without("Connection:"), refusal(bad, "", "Connection lacks the token Upgrade")),
        (without("Sec-WebSocket-Version:"), refusal(bad, "", "Sec-WebSocket-Version is missing")),
        (
            REQUEST.replacen("Version: 13", "Version: 12", 1),
            refusal(
                upgrade,
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "Sec-WebSocket-Version must be 13",
            ),
        ),
        (without("Sec-WebSocket-Key:"), refusal(bad, "", "Sec-WebSocket-Key is missing")),
        (request("/", &[key]), refusal(bad, "", "Sec-WebSocket-Key is repeated")),
        (
            REQUEST.replacen("dGhl", "", 1),
            refusal(bad, "", "Sec-WebSocket-Key is not 16 bytes in base64"),
        ),
        (
            request("/", &["Content-Length: 5"]),
            refusal(bad, "", "a request body is not acceptable"),
        ),
        (
            request("/", &["Origin: a", "Origin: b"]),
            refusal(bad, "", "Origin is repeated or invalid"),
        ),
        (
            request("/", &["Sec-WebSocket-Protocol: a b"]),
            refusal(bad, "", "Sec-WebSocket-Protocol is not a list of tokens"),
        ),
    ];
    for (request, answer) in &cases {
        assert_eq!(exchange(&rig, request), *answer, "{request}");
    }
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.opened, stats.rejected), (0, cases.len() as u64));
    assert!(rig.stop().is_empty(), "what never opened is on no record");
}

/// RFC 9110 section 9.3.2: "the server MUST NOT send content in the response" to a HEAD, not even
/// where the hook accepts it.
#[test]
fn an_accepted_head_request_gets_no_body() {
    let rig = Rig::echo();
    let answer = refusal("405 Method Not Allowed", "Allow: GET\r\n", "the method must be GET");
    let head = answer.strip_suffix("the method must be GET\n").unwrap();
    assert_eq!(exchange(&rig, REQUEST.replacen("GET", "HEAD", 1)), head);
}

/// What is not well-formed HTTP/1.1 is refused, and the hook is not asked.
#[test]
fn a_malformed_request_is_refused_without_the_hook() {
    let rig = Setup::new().upgrade(|request| panic!("{request:?}")).start();
    let bad = "400 Bad Request";
    let malformed_head = "a line does not end in CRLF, or the head is not whole";
    let cases: [(&[u8], _); 9] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refusal(bad, "", "not HTTP")),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", refusal(bad, "", "not HTTP")),
        (b"GET / HTTP/1.1\nHost: a\n\n", refusal(bad, "", malformed_head)),
        (b"GET\r\n\r\n", refusal(bad, "", "malformed start line")),
        (b"GET / HTTP/1.1\r\nHost a\r\n\r\n", refusal(bad, "", "malformed header line")),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", refusal(bad, "", "malformed header line")),
        (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", refusal(bad, "", "malformed header line")),
        (b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", refusal(bad, "", "invalid request target")),
        (
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            refusal("505 HTTP Version Not Supported", "", "unsupported version of HTTP"),
        ),
    ];
    for (request, answer) in &cases {
        assert_eq!(exchange(&rig, request), *answer, "{}", request.escape_ascii());
    }
    rig.wait_for(|stats| stats.rejected == cases.len() as u64);
    assert_eq!(rig.handle().stats().panics, 0);
}

/// A head of exactly the limit is accepted, one byte more is not; however it is cut.
#[test]
fn a_head_may_be_as_large_as_the_limit() {
    const HEAD_BYTES_MAX: usize = 400;
    let rig =
        Setup::new().config(|config| config.handshake_head_bytes_max = HEAD_BYTES_MAX).start();
    let mut sync = rig.peer();
    let padded = |len: usize| {
        let pad = format!("X-Pad: {}", "x".repeat(len - request("/", &["X-Pad: "]).len()));
        request("/", &[&pad])
    };
    let too_large = refusal("431 Request Header Fields Too Large", "", "head too large");
    for cut in [0, 1, HEAD_BYTES_MAX - 1] {
        for len in [HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1] {
            let head = padded(len);
            assert_eq!(head.len(), len);
            let mut peer = Peer::tcp(rig.address);
            peer.send(&head.as_bytes()[..cut]);
            barrier(&mut sync);
            barrier(&mut sync);
            peer.send(&head.as_bytes()[cut..]);
            if len == HEAD_BYTES_MAX {
                assert!(peer.read_head().starts_with("HTTP/1.1 101 "), "cut at {cut}");
                peer.close(1000);
            } else {
                let answer = String::from_utf8(peer.read_to_end()).unwrap();
                assert_eq!(answer, too_large, "cut at {cut}");
            }
        }
    }
    // Nothing is collected beyond the limit in the hope of an end.
    assert_eq!(exchange(&rig, "G".repeat(HEAD_BYTES_MAX)), too_large);
}

/// As many header lines as the limit are accepted, one more is not.
#[test]
fn a_head_may_have_as_many_lines_as_the_limit() {
    let lines = REQUEST.matches("\r\n").count() - 2;
    let rig = Setup::new().config(|config| config.handshake_headers_max = lines + 1).start();
    Peer::open_with(rig.address, &request("/", &["A: b"])).0.close(1000);
    assert_eq!(
        exchange(&rig, request("/", &["A: b", "C: d"])),
        refusal("431 Request Header Fields Too Large", "", "too many header lines")
    );
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.opened, stats.rejected), (1, 1));
}

/// What the hook answers is checked: what cannot be sent becomes a 500, and the server lives.
#[test]
fn an_answer_that_cannot_be_sent_is_a_500() {
    let rig = Setup::new()
        .upgrade(|request| {
            let accept = Upgrade::accept(Session::default());
            match request.path() {
                "/not-offered" => accept.subprotocol("chat.v3"),
                "/other-case" => accept.subprotocol("CHAT.v1"),
                "/name" => accept.header("a b", "c"),
                "/split" => accept.header("A", "b\r\nSet-Cookie: c"),
                "/reserved" => accept.header("sec-websocket-accept", "x"),
                "/rejection-split" => Upgrade::reject(404).header("A", "b\nc"),
                "/rejection-length" => Upgrade::reject(404).header("content-length", "0"),
                "/100" => Upgrade::reject(100),
                "/101" => Upgrade::reject(101),
                "/600" => Upgrade::reject(600),
                "/204" => Upgrade::reject(204).body("no content has a body"),
                _ => accept.subprotocol("chat.v1"),
            }
        })
        .start();
    let paths = [
        "/not-offered",
        "/other-case",
        "/name",
        "/split",
        "/reserved",
        "/rejection-split",
        "/rejection-length",
        "/100",
        "/101",
        "/600",
        "/204",
    ];
    let offer = "Sec-WebSocket-Protocol: chat.v1, chat.v2";
    for path in paths {
        assert_eq!(exchange(&rig, request(path, &[offer])), INTERNAL_ERROR, "{path}");
    }
    let (mut peer, head) = Peer::open_with(rig.address, &request("/", &[offer]));
    assert!(head.contains("\r\nSec-WebSocket-Protocol: chat.v1\r\n"), "{head}");
    barrier(&mut peer);
    rig.wait_for(|stats| stats.connections == 1);
    let stats = rig.handle().stats();
    assert_eq!((stats.opened, stats.rejected, stats.panics), (1, paths.len() as u64, 0));
}

/// A head may come a byte at a time.
#[test]
fn a_head_byte_by_byte() {
    let rig = Rig::echo();
    let mut sync = rig.peer();
    let mut peer = Peer::tcp(rig.address);
    for byte in REQUEST.as_bytes() {
        barrier(&mut sync);
        peer.send(&[*byte]);
    }
    assert!(peer.read_head().contains(&format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n")));
    barrier(&mut peer);
}

/// A head and the frame behind it may be cut anywhere.
#[test]
fn a_head_cut_in_two_anywhere() {
    let rig = Rig::echo();
    let mut sync = rig.peer();
    let bytes = [REQUEST.as_bytes(), &masked(TEXT, "h\u{e9}llo".as_bytes())].concat();
    for cut in 1..bytes.len() {
        let mut peer = Peer::tcp(rig.address);
        // Accepted in the turn of the first one, received from in the turn of the second.
        barrier(&mut sync);
        peer.send(&bytes[..cut]);
        barrier(&mut sync);
        peer.send(&bytes[cut..]);
        assert!(peer.read_head().starts_with("HTTP/1.1 101 "), "cut at {cut}");
        assert_eq!(peer.read_text(), "h\u{e9}llo", "cut at {cut}");
        peer.close(1000);
    }
    rig.wait_for(|stats| stats.connections == 1);
    assert_eq!(rig.handle().stats().opened, bytes.len() as u64);
}

/// Frames in the same write as the request are answered right behind it, in order, after what
/// `open` sends.
#[test]
fn frames_behind_the_head_are_delivered() {
    let rig = Setup::new()
        .open(|ctx| {
            ctx.send("welcome");
        })
        .start();
    let mut peer = Peer::tcp(rig.address);
    let frames = [masked(TEXT, b"one"), masked(BINARY, &[2; 300]), masked(TEXT, b"three")].concat();
    let close = masked(CLOSE, &close_payload(4000, "done"));
    peer.send(&[REQUEST.as_bytes(), &frames, &close].concat());
    assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.read_text(), "welcome");
    assert_eq!(peer.read_text(), "one");
    let second = peer.read_frame();
    assert_eq!((second.first, second.payload), (BINARY, vec![2; 300]));
    assert_eq!(peer.read_text(), "three");
    assert_eq!(peer.read_close(), (4000, String::new()));
    peer.expect_end();
    let seen = [rig.next(), rig.next(), rig.next(), rig.next(), rig.next()];
    assert!(
        matches!(
            &seen,
            [Seen::Open(_), Seen::Text(one), Seen::Binary(two), Seen::Text(three), Seen::Closed(..)]
                if one == "one" && *two == [2; 300] && three == "three"
        ),
        "{seen:?}"
    );
}

/// A peer that leaves before its request is whole has opened nothing.
#[test]
fn a_peer_that_leaves_in_the_handshake() {
    let rig = Rig::echo();
    for sent in ["", "GET / HT", &REQUEST[..REQUEST.len() - 1]] {
        let mut peer = Peer::tcp(rig.address);
        peer.send(sent.as_bytes());
        peer.shutdown_write();
        peer.expect_end();
    }
    rig.wait_for(|stats| stats.accepted == 3 && stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.opened, stats.rejected), (0, 0));
    assert!(rig.stop().is_empty(), "what never opened is on no record");
}

/// A streaming connection gets its messages in chunks, from the frame behind the head on.
#[test]
fn accepts_in_streaming_mode() {
    let rig = Setup::new()
        .upgrade(|_| Upgrade::accept(Session::default()).streaming())
        .chunk(|ctx, chunk| {
            ctx.send(Message::Binary(chunk.payload));
        })
        .start();
    let mut peer = Peer::tcp(rig.address);
    peer.send(&[REQUEST.as_bytes(), &masked(TEXT, b"chunk")].concat());
    assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
    let frame = peer.read_frame();
    assert_eq!((frame.first, frame.payload), (BINARY, b"chunk".to_vec()));
    rig.next_open();
    let seen = rig.next();
    assert!(matches!(&seen, Seen::Chunk(bytes, true, true) if bytes == b"chunk"), "{seen:?}");
}
