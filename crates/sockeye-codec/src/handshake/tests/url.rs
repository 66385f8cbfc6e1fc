//! URLs (section 3).

use super::super::{UrlError, WsUrl};

#[test]
fn the_parts_of_a_url() {
    for (url, secure, host, port, host_header, target) in [
        ("ws://a", false, "a", 80, "a", "/"),
        ("wss://a", true, "a", 443, "a", "/"),
        ("WS://a/", false, "a", 80, "a", "/"),
        ("Wss://A.b-c_d/x/y?z=1&w", true, "A.b-c_d", 443, "A.b-c_d", "/x/y?z=1&w"),
        ("ws://a:80/x", false, "a", 80, "a", "/x"),
        ("ws://a:443/x", false, "a", 443, "a:443", "/x"),
        ("wss://a:443/x", true, "a", 443, "a", "/x"),
        ("wss://a:80", true, "a", 80, "a:80", "/"),
        ("ws://a?q=/", false, "a", 80, "a", "/?q=/"),
        ("ws://a:9001?q://@", false, "a", 9001, "a:9001", "/?q://@"),
        ("ws://127.0.0.1:65535", false, "127.0.0.1", 65535, "127.0.0.1:65535", "/"),
        ("ws://[::1]", false, "::1", 80, "[::1]", "/"),
        ("ws://[fe80::1]:81/x", false, "fe80::1", 81, "[fe80::1]:81", "/x"),
        ("ws://[::ffff:1.2.3.4]/", false, "::ffff:1.2.3.4", 80, "[::ffff:1.2.3.4]", "/"),
        ("ws://a//x", false, "a", 80, "a", "//x"),
        ("ws://a/%20@:", false, "a", 80, "a", "/%20@:"),
    ] {
        let parsed = WsUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let parts = (parsed.is_secure(), parsed.host(), parsed.port());
        assert_eq!(parts, (secure, host, port), "{url}");
        assert_eq!((parsed.host_header(), parsed.target()), (host_header, target), "{url}");
    }
}

#[test]
fn what_is_wrong_with_a_url() {
    for (url, expected) in [
        ("", UrlError::Scheme),
        ("a", UrlError::Scheme),
        ("http://a", UrlError::Scheme),
        ("ws:/a", UrlError::Scheme),
        ("ws:a", UrlError::Scheme),
        ("://a", UrlError::Scheme),
        ("ws://a/#", UrlError::Fragment),
        ("ws://a#x", UrlError::Fragment),
        ("ws://a/ b", UrlError::Character),
        (" ws://a", UrlError::Character),
        ("ws://a/\r\nX: y", UrlError::Character),
        ("ws://a/\0", UrlError::Character),
        ("ws://\u{e9}/", UrlError::Character),
        ("ws://user@a", UrlError::UserInfo),
        ("ws://user:password@a:80/", UrlError::UserInfo),
        ("ws://", UrlError::Host),
        ("ws:///x", UrlError::Host),
        ("ws://:80", UrlError::Host),
        ("ws://?x", UrlError::Host),
        ("ws://a\\b", UrlError::Host),
        ("ws://a,b", UrlError::Host),
        ("ws://a%20b", UrlError::Host),
        ("ws://[]", UrlError::Host),
        ("ws://[", UrlError::Host),
        ("ws://]", UrlError::Host),
        ("ws://[::1", UrlError::Host),
        ("ws://[::1]x", UrlError::Host),
        ("ws://[127.0.0.1]", UrlError::Host),
        ("ws://[fe80::1%25eth0]", UrlError::Host),
        ("ws://::1", UrlError::Host),
        ("ws://a]b", UrlError::Host),
        ("ws://a:", UrlError::Port),
        ("ws://a:0", UrlError::Port),
        ("ws://a:65536", UrlError::Port),
        ("ws://a:+80", UrlError::Port),
        ("ws://a:8x", UrlError::Port),
        ("ws://a:80:81", UrlError::Port),
        ("ws://a::1", UrlError::Port),
    ] {
        assert_eq!(WsUrl::parse(url), Err(expected), "{url:?}");
    }
}
