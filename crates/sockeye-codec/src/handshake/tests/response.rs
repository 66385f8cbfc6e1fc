//! Ordinary answers.

use super::super::{HandshakeError, HeaderError, Response, ResponseError};

fn written(response: &Response, head_only: bool) -> Result<String, ResponseError> {
    let mut out = b"before ".to_vec();
    let result = response.write(&mut out, head_only);
    let out = String::from_utf8(out).unwrap();
    let answer = out.strip_prefix("before ").expect("what was there is kept");
    assert!(result.is_ok() || answer.is_empty(), "{answer}");
    result.map(|()| answer.to_owned())
}

#[test]
fn an_answer_has_its_length_and_closes() {
    let response = Response::new(200).header("Content-Type", "text/plain").body("healthy");
    assert_eq!(response.status(), 200);
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\
                Content-Type: text/plain\r\n\r\n";
    assert_eq!(written(&response, false), Ok(format!("{head}healthy")));
    assert_eq!(written(&response, true), Ok(head.to_owned()));
    assert_eq!(
        written(&Response::new(503), false).unwrap(),
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_status_without_a_name_has_an_empty_phrase() {
    assert!(written(&Response::new(599), false).unwrap().starts_with("HTTP/1.1 599 \r\n"));
}

#[test]
fn only_final_statuses_are_written() {
    for status in [0, 99, 100, 101, 103, 199, 600, 999, u16::MAX] {
        let result = written(&Response::new(status), false);
        assert_eq!(result, Err(ResponseError::InvalidStatus(status)));
    }
    for status in 200..=599 {
        assert!(written(&Response::new(status), false).is_ok(), "{status}");
    }
}

#[test]
fn statuses_without_a_body() {
    for status in [204, 205, 304] {
        let result = written(&Response::new(status).body("x"), false);
        assert_eq!(result, Err(ResponseError::BodyNotAllowed(status)));
    }
    for status in [204, 304] {
        let answer = written(&Response::new(status), false).unwrap();
        assert!(!answer.contains("Content-Length"), "{answer}");
    }
    assert!(written(&Response::new(205), false).unwrap().contains("Content-Length: 0\r\n"));
}

#[test]
fn headers_stay_in_their_line() {
    for (name, value, expected) in [
        ("X", "a\r\n\r\n<script>", HeaderError::Value),
        ("X\r\nY", "a", HeaderError::Name),
        ("content-length", "1", HeaderError::Reserved),
        ("Connection", "keep-alive", HeaderError::Reserved),
        ("Transfer-Encoding", "chunked", HeaderError::Reserved),
    ] {
        let result = written(&Response::new(400).header(name, value), false);
        assert_eq!(result, Err(ResponseError::Header(expected)), "{name:?}: {value:?}");
    }
}

#[test]
fn every_fault_is_answered_with_its_status_and_reason() {
    let refused = HandshakeError::Refused { status: 403, reason: "Forbidden".to_owned() };
    for (error, start, headers) in [
        (HandshakeError::NotHttp, "400 Bad Request", ""),
        (HandshakeError::KeyInvalid, "400 Bad Request", ""),
        (HandshakeError::MethodNotAllowed, "405 Method Not Allowed", "Allow: GET\r\n"),
        (HandshakeError::UpgradeMissing, "426 Upgrade Required", "Upgrade: websocket\r\n"),
        (
            HandshakeError::VersionUnsupported,
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (HandshakeError::HeadTooLarge, "431 Request Header Fields Too Large", ""),
        (HandshakeError::HttpVersionUnsupported, "505 HTTP Version Not Supported", ""),
        (refused, "502 Bad Gateway", ""),
    ] {
        let body = format!("{error}\n");
        let connection = if error.status() == 426 { "Upgrade, close" } else { "close" };
        assert_eq!(
            written(&Response::from(&error), false).unwrap(),
            format!(
                "HTTP/1.1 {start}\r\nConnection: {connection}\r\nContent-Length: {}\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n{headers}\r\n{body}",
                body.len()
            )
        );
    }
}
