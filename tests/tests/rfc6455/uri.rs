//! Section 3, WebSocket URIs.

use sockeye_codec::handshake::{UrlError, WsUrl};

/// Section 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT
/// be used on these URIs."
#[test]
fn no_fragment_identifiers() {
    for url in ["ws://example.com/#part", "ws://example.com/path?query#", "wss://example.com#x"] {
        assert_eq!(WsUrl::parse(url), Err(UrlError::Fragment), "{url}");
    }
}

/// Section 3: "As with any URI scheme, the character "#", when not indicating the start of a
/// fragment, MUST be escaped as %23."
#[test]
fn a_number_sign_is_escaped() {
    let url = WsUrl::parse("ws://example.com/room%23one?tag=%23rust").expect("escaped");
    assert_eq!(url.target(), "/room%23one?tag=%23rust");
}

/// Section 4.1: "The components of the WebSocket URI passed into this algorithm (/host/, /port/,
/// /resource name/, and /secure/ flag) MUST be valid according to the specification of WebSocket
/// URIs specified in Section 3."
/// Section 4.1: "If any of the components are invalid, the client MUST _Fail the WebSocket
/// Connection_ and abort these steps."
#[test]
fn only_valid_uris_are_taken() {
    for (url, error) in [
        ("http://example.com/", UrlError::Scheme),
        ("ws:/example.com/", UrlError::Scheme),
        ("ws:///path", UrlError::Host),
        ("ws://exa mple.com/", UrlError::Character),
        ("ws://example.com:port/", UrlError::Port),
        ("ws://example.com:65536/", UrlError::Port),
        ("ws://user@example.com/", UrlError::UserInfo),
        ("ws://[::1/", UrlError::Host),
    ] {
        assert_eq!(WsUrl::parse(url), Err(error), "{url}");
    }
    let url = WsUrl::parse("wss://example.com/chat?room=1").expect("valid");
    assert_eq!((url.host(), url.port(), url.is_secure()), ("example.com", 443, true));
}

/// Section 11.1.1: "Characters in the host component that are excluded by the syntax defined above
/// MUST be converted from Unicode to ASCII as specified in [RFC3987] or its replacement."
/// Section 11.1.1: "Characters in other components that are excluded by the syntax defined above
/// MUST be converted from Unicode to ASCII by first encoding the characters as UTF-8 and then
/// replacing the corresponding bytes using their percent-encoded form as defined in the URI
/// [RFC3986] and Internationalized Resource Identifier (IRI) [RFC3987] specifications."
#[test]
fn a_uri_is_ascii_when_it_comes_here() {
    // The conversion is the caller's; what was not converted is refused, not guessed at.
    for url in
        ["ws://b\u{fc}cher.example/", "ws://example.com/\u{1f41f}", "wss://example.com/?\u{e4}"]
    {
        assert_eq!(WsUrl::parse(url), Err(UrlError::Character), "{url}");
    }
    let url = WsUrl::parse("ws://xn--bcher-kva.example/%F0%9F%90%9F").expect("converted");
    assert_eq!((url.host(), url.target()), ("xn--bcher-kva.example", "/%F0%9F%90%9F"));
}
