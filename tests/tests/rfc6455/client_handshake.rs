//! Section 4.1, the client's side of the opening handshake.

use sockeye_codec::handshake::{
    Accepted, ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, Key, RequestError,
    WsUrl,
};
use sockeye_tests::peer::{ACCEPT, KEY};

/// The nonce of section 1.3.
const NONCE: [u8; 16] = *b"the sample nonce";

fn request() -> ClientRequest {
    let url = WsUrl::parse("ws://example.com:8080/chat?room=1").expect("a URL");
    ClientRequest::for_url(&url)
}

/// The lines of a request.
fn lines(request: &ClientRequest) -> Vec<String> {
    let mut out = Vec::new();
    request.write(&mut out, &Key::new(NONCE)).expect("a request that may leave");
    let text = String::from_utf8(out).expect("ASCII");
    let head = text.strip_suffix("\r\n\r\n").expect("a head and nothing more");
    head.split("\r\n").map(str::to_owned).collect()
}

/// The values of a header.
fn values(request: &ClientRequest, name: &str) -> Vec<String> {
    let lines = lines(request);
    let fields = lines[1..].iter().map(|line| line.split_once(": ").expect("a header line"));
    fields.filter(|field| field.0 == name).map(|field| field.1.to_owned()).collect()
}

/// What a client makes of an answer.
fn answered(request: &ClientRequest, lines: &[&str]) -> Result<Accepted, HandshakeError> {
    let mut bytes = format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes();
    let mut handshake = ClientHandshake::new(request, &Key::new(NONCE), HandshakeLimits::default());
    handshake.read(&mut &mut bytes[..]).map(|accepted| accepted.expect("a whole head"))
}

const STATUS: &str = "HTTP/1.1 101 Switching Protocols";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const ACCEPT_LINE: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Section 4.1: "When the client is to _Establish a WebSocket Connection_ given a set of (/host/,
/// /port/, /resource name/, and /secure/ flag), along with a list of /protocols/ and /extensions/
/// to be used, and an /origin/ in the case of web browsers, it MUST open a connection, send an
/// opening handshake, and read the server's handshake in response."
/// Section 4.1: "Once a connection to the server has been established (including a connection via a
/// proxy or over a TLS-encrypted tunnel), the client MUST send an opening handshake to the server."
/// Section 4.1: "The handshake MUST be a valid HTTP request as specified by [RFC2616]."
#[test]
fn the_handshake_is_a_valid_request() {
    let request = request().subprotocol("chat").origin("http://example.com");
    assert_eq!(
        lines(&request),
        [
            "GET /chat?room=1 HTTP/1.1",
            "Host: example.com:8080",
            "Upgrade: websocket",
            "Connection: Upgrade",
            &format!("Sec-WebSocket-Key: {KEY}"),
            "Origin: http://example.com",
            "Sec-WebSocket-Protocol: chat",
            "Sec-WebSocket-Version: 13",
        ]
    );
    // What would make another request of it is refused.
    for (name, value) in [("X", "a\r\nHost: other"), ("X\r\nY", "z"), ("Host", "other")] {
        let error = request.clone().header(name, value).write(&mut Vec::new(), &Key::new(NONCE));
        assert!(matches!(error, Err(RequestError::Header(_))), "{name}: {value}");
    }
}

/// Section 4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
#[test]
fn the_method_and_version() {
    let lines = lines(&request());
    assert!(lines[0].starts_with("GET ") && lines[0].ends_with(" HTTP/1.1"), "{}", lines[0]);
}

/// Section 4.1: "The "Request-URI" part of the request MUST match the /resource name/ defined in
/// Section 3 (a relative URI) or be an absolute http/https URI that, when parsed, has a /resource
/// name/, /host/, and /port/ that match the corresponding ws/wss URI."
#[test]
fn the_request_uri_is_the_resource_name() {
    for (url, target) in [
        ("ws://example.com", "/"),
        ("ws://example.com?a=b", "/?a=b"),
        ("ws://example.com/a/b?c=d&e", "/a/b?c=d&e"),
    ] {
        let request = ClientRequest::for_url(&WsUrl::parse(url).expect("a URL"));
        assert_eq!(lines(&request)[0], format!("GET {target} HTTP/1.1"));
    }
}

/// Section 4.1: "The request MUST contain a |Host| header field whose value contains /host/ plus
/// optionally ":" followed by /port/ (when not using the default port)."
#[test]
fn host_names_host_and_port() {
    for (url, host) in [
        ("ws://example.com/", "example.com"),
        ("ws://example.com:80/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("wss://example.com:443/", "example.com"),
        ("ws://[::1]:9001/", "[::1]:9001"),
    ] {
        let request = ClientRequest::for_url(&WsUrl::parse(url).expect("a URL"));
        assert_eq!(values(&request, "Host"), [host], "{url}");
    }
}

/// Section 4.1: "The request MUST contain an |Upgrade| header field whose value MUST include the
/// "websocket" keyword."
#[test]
fn upgrade_is_websocket() {
    assert_eq!(values(&request(), "Upgrade"), ["websocket"]);
}

/// Section 4.1: "The request MUST contain a |Connection| header field whose value MUST include the
/// "Upgrade" token."
#[test]
fn connection_is_upgrade() {
    assert_eq!(values(&request(), "Connection"), ["Upgrade"]);
}

/// Section 4.1: "The request MUST include a header field with the name |Sec-WebSocket-Key|."
/// Section 11.3.1: "The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP
/// request."
#[test]
fn one_key() {
    assert_eq!(values(&request(), "Sec-WebSocket-Key"), [KEY]);
    let doubled = request().header("Sec-WebSocket-Key", KEY);
    assert!(doubled.write(&mut Vec::new(), &Key::new(NONCE)).is_err());
}

/// Section 4.1: "The value of this header field MUST be a nonce consisting of a randomly selected
/// 16-byte value that has been base64-encoded (see Section 4 of [RFC4648])."
#[test]
fn the_key_is_16_bytes_in_base64() {
    assert_eq!(Key::new(NONCE).as_str(), KEY);
    assert_eq!(Key::new([0; 16]).as_str(), "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(Key::new([0xFF; 16]).as_str(), "/////////////////////w==");
}

/// Section 4.1: "The nonce MUST be selected randomly for each connection."
#[test]
fn the_nonce_is_the_connection_s_own() {
    // A key is made of a nonce that the caller draws and used up by the type: it has no default,
    // and the tests' client draws it from the operating system each time.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = server.local_addr().expect("bound");
    let mut keys = Vec::new();
    for _ in 0..2 {
        let client = std::thread::spawn(move || {
            let url = format!("ws://{address}/");
            sockeye_tests::client::Client::connect(&url, &[], sockeye_codec::Limits::default())
                .is_err()
        });
        let (stream, _) = server.accept().expect("a client");
        let mut peer = sockeye_tests::peer::Peer::from(stream);
        let head = peer.read_head();
        let key = head.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
        keys.push(key.split("\r\n").next().expect("its line").to_owned());
        drop(peer);
        assert!(client.join().expect("no panic"), "nobody answered it");
    }
    assert_ne!(keys[0], keys[1]);
}

/// Section 4.1: "The request MUST include a header field with the name |Sec-WebSocket-Version|."
/// Section 4.1: "The value of this header field MUST be 13."
/// Section 11.3.5: "However, the |Sec-WebSocket-Version| header field MUST NOT appear more than
/// once in an HTTP request."
#[test]
fn one_version_13() {
    assert_eq!(values(&request(), "Sec-WebSocket-Version"), ["13"]);
    let doubled = request().header("Sec-WebSocket-Version", "13");
    assert!(doubled.write(&mut Vec::new(), &Key::new(NONCE)).is_err());
}

/// Section 4.1: "The elements that comprise this value MUST be non-empty strings with characters in
/// the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST
/// all be unique strings."
#[test]
fn subprotocols_are_unique_tokens() {
    let both = request().subprotocol("v2.chat").subprotocol("v1.chat");
    assert_eq!(values(&both, "Sec-WebSocket-Protocol"), ["v2.chat, v1.chat"]);
    for name in ["", "two words", "a,b", "a;b", "\u{e4}", "a/b", "(a)"] {
        let error = request().subprotocol(name).write(&mut Vec::new(), &Key::new(NONCE));
        assert_eq!(error, Err(RequestError::Subprotocol), "{name}");
    }
    let error =
        request().subprotocol("a").subprotocol("a").write(&mut Vec::new(), &Key::new(NONCE));
    assert_eq!(error, Err(RequestError::SubprotocolRepeated));
}

/// Section 4.1: "Once the client's opening handshake has been sent, the client MUST wait for a
/// response from the server before sending any further data."
#[test]
fn nothing_is_sent_before_the_answer() {
    // There is no connection to send with until `ClientHandshake::read` returned `Some`.
    let mut handshake =
        ClientHandshake::new(&request(), &Key::new(NONCE), HandshakeLimits::default());
    let answer = [STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, "", ""].join("\r\n");
    let (last, before) = answer.as_bytes().split_last().expect("an answer");
    assert_eq!(handshake.read(&mut &mut before.to_vec()[..]).map(|done| done.is_some()), Ok(false));
    assert_eq!(handshake.read(&mut &mut [*last][..]).map(|done| done.is_some()), Ok(true));
}

/// Section 4.1: "The client MUST validate the server's response as follows:"
/// Section 4.2.2: "If the server chooses to accept the incoming connection, it MUST reply with a
/// valid HTTP response indicating the following."
#[test]
fn an_answer_that_is_right() {
    let accepted = answered(&request(), &[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE]);
    assert_eq!(accepted.expect("accepted").subprotocol, None);
    let other = answered(&request(), &["HTTP/1.1 200 OK", UPGRADE, CONNECTION, ACCEPT_LINE]);
    assert!(matches!(other, Err(HandshakeError::Refused { status: 200, .. })));
}

/// Section 4.1: "If the response lacks an |Upgrade| header field or the |Upgrade| header field
/// contains a value that is not an ASCII case- insensitive match for the value "websocket", the
/// client MUST _Fail the WebSocket Connection_."
#[test]
fn an_answer_without_upgrade() {
    let fails = |lines: &[&str]| {
        assert_eq!(answered(&request(), lines), Err(HandshakeError::AnswerUpgradeInvalid));
    };
    fails(&[STATUS, CONNECTION, ACCEPT_LINE]);
    fails(&[STATUS, "Upgrade: h2c", CONNECTION, ACCEPT_LINE]);
    fails(&[STATUS, "Upgrade: websockets", CONNECTION, ACCEPT_LINE]);
    assert!(answered(&request(), &[STATUS, "upgrade: WebSocket", CONNECTION, ACCEPT_LINE]).is_ok());
}

/// Section 4.1: "If the response lacks a |Connection| header field or the |Connection| header field
/// doesn't contain a token that is an ASCII case-insensitive match for the value "Upgrade", the
/// client MUST _Fail the WebSocket Connection_."
#[test]
fn an_answer_without_connection() {
    let fails = |lines: &[&str]| {
        assert_eq!(answered(&request(), lines), Err(HandshakeError::AnswerConnectionInvalid));
    };
    fails(&[STATUS, UPGRADE, ACCEPT_LINE]);
    fails(&[STATUS, UPGRADE, "Connection: keep-alive", ACCEPT_LINE]);
    fails(&[STATUS, UPGRADE, "Connection: Upgraded", ACCEPT_LINE]);
    let spelled = "connection: keep-alive, UPGRADE";
    assert!(answered(&request(), &[STATUS, UPGRADE, spelled, ACCEPT_LINE]).is_ok());
}

/// Section 4.1: "If the response lacks a |Sec-WebSocket-Accept| header field or the
/// |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation
/// of the |Sec-WebSocket- Key| (as a string, not base64-decoded) with the string "258EAFA5-
/// E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the client MUST
/// _Fail the WebSocket Connection_."
/// Section 11.3.3: "The |Sec-WebSocket-Accept| header MUST NOT appear more than once in an HTTP
/// response."
#[test]
fn an_answer_without_the_right_accept() {
    let fails = |lines: &[&str]| {
        assert_eq!(answered(&request(), lines), Err(HandshakeError::AcceptInvalid), "{lines:?}");
    };
    fails(&[STATUS, UPGRADE, CONNECTION]);
    fails(&[STATUS, UPGRADE, CONNECTION, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="]);
    fails(&[STATUS, UPGRADE, CONNECTION, &format!("Sec-WebSocket-Accept: {KEY}")]);
    fails(&[STATUS, UPGRADE, CONNECTION, &ACCEPT_LINE.to_uppercase()]);
    fails(&[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, ACCEPT_LINE]);
    let spaced = format!("Sec-WebSocket-Accept: \t {ACCEPT}  ");
    assert!(answered(&request(), &[STATUS, UPGRADE, CONNECTION, &spaced]).is_ok());
}

/// Section 4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and this header
/// field indicates the use of an extension that was not present in the client's handshake (the
/// server has indicated an extension not requested by the client), the client MUST _Fail the
/// WebSocket Connection_."
/// Section 9.1: "Note that the client is only offering to use any advertised extensions and MUST
/// NOT use them unless the server indicates that it wishes to use the extension."
#[test]
fn an_answer_with_an_extension_that_was_not_offered() {
    assert_eq!(values(&request(), "Sec-WebSocket-Extensions"), [""; 0]);
    let line = "Sec-WebSocket-Extensions: permessage-deflate";
    let answer = answered(&request(), &[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, line]);
    assert_eq!(answer, Err(HandshakeError::ExtensionNotOffered));
}

/// Section 4.1: "If the response includes a |Sec-WebSocket-Protocol| header field and this header
/// field indicates the use of a subprotocol that was not present in the client's handshake (the
/// server has indicated a subprotocol not requested by the client), the client MUST _Fail the
/// WebSocket Connection_."
/// Section 11.3.4: "However, the |Sec-WebSocket-Protocol| header field MUST NOT appear more than
/// once in an HTTP response."
#[test]
fn an_answer_with_a_subprotocol_that_was_not_offered() {
    let offer = request().subprotocol("v2").subprotocol("v1");
    let answer = |offer: &ClientRequest, more: &[&str]| {
        answered(offer, &[&[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE], more].concat())
    };
    let (v1, v3) = ("Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: v3");
    assert_eq!(answer(&offer, &[v1]).expect("offered").subprotocol.as_deref(), Some("v1"));
    assert_eq!(answer(&offer, &[v3]), Err(HandshakeError::SubprotocolNotOffered));
    assert_eq!(answer(&request(), &[v1]), Err(HandshakeError::SubprotocolNotOffered));
    assert_eq!(answer(&offer, &[v1, v1]), Err(HandshakeError::SubprotocolNotOffered));
}

/// Section 4.1: "If the server's response does not conform to the requirements for the server's
/// handshake as defined in this section and in Section 4.2.2, the client MUST _Fail the WebSocket
/// Connection_."
#[test]
fn an_answer_that_is_not_one() {
    for lines in [
        &["HTTP/1.0 101 Switching Protocols", UPGRADE, CONNECTION, ACCEPT_LINE][..],
        &["HTTP/2 101 Switching Protocols", UPGRADE, CONNECTION, ACCEPT_LINE],
        &["101 Switching Protocols", UPGRADE, CONNECTION, ACCEPT_LINE],
        &[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, "no colon"],
        &[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, "Space : before"],
        &[STATUS, UPGRADE, CONNECTION, ACCEPT_LINE, " folded"],
    ] {
        assert!(answered(&request(), lines).is_err(), "{lines:?}");
    }
}
