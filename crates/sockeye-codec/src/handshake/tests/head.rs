//! Where a head ends, however it is cut, and where it is given up.

use super::super::{HandshakeError, HandshakeLimits, Head, HeadBuffer};
use super::{HEADERS, START_LINE, head, limits};

/// A head, and the bytes after it.
pub(super) type Split = (Vec<u8>, Vec<u8>);

/// Feeds `bytes` in pieces that end at `cuts`; the head and what was left of its last piece and of
/// the pieces after it.
pub(super) fn feed(
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    limits: &HandshakeLimits,
) -> Result<Option<Split>, HandshakeError> {
    let mut buffer = HeadBuffer::default();
    let mut start = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        let mut piece = bytes[start..end].to_vec();
        let mut input = &mut piece[..];
        if let Some(head) = buffer.read(&mut input, limits)? {
            let head = head.as_bytes().to_vec();
            return Ok(Some((head, [&*input, &bytes[end..]].concat())));
        }
        assert!(input.is_empty(), "an unfinished head takes all of its input");
        start = end;
    }
    Ok(None)
}

#[test]
fn every_cut_gives_the_same_head_and_leaves_what_follows() {
    let head = head(START_LINE, HEADERS);
    let follows = b"\x81\x85\r\n\r\nhello\r\n\r\n";
    let bytes = [&head[..], follows].concat();
    let expected = Ok(Some((head.clone(), follows.to_vec())));
    for cut in 0..=bytes.len() {
        assert_eq!(feed(&bytes, [cut], &limits()), expected, "cut at {cut}");
    }
    assert_eq!(feed(&bytes, 1..bytes.len(), &limits()), expected);
    for first in head.len() - 6..head.len() {
        for second in first..=bytes.len() {
            assert_eq!(feed(&bytes, [first, second], &limits()), expected, "{first}, {second}");
        }
    }
    for end in 0..head.len() {
        assert_eq!(feed(&head[..end], [], &limits()), Ok(None), "whole at {end}");
    }
}

#[test]
fn a_whole_head_is_borrowed_from_its_input() {
    let mut bytes = head(START_LINE, HEADERS);
    let range = bytes.as_ptr_range();
    let mut buffer = HeadBuffer::default();
    let mut input = &mut bytes[..];
    let head = buffer.read(&mut input, &limits()).unwrap().unwrap();
    assert!(range.contains(&head.as_bytes().as_ptr()));
    assert!(input.is_empty());
    assert!(buffer.is_empty());
}

#[test]
fn a_buffer_begins_anew_after_a_head() {
    let mut buffer = HeadBuffer::default();
    for target in ["/first", "/second"] {
        let head = head(&format!("GET {target} HTTP/1.1"), HEADERS);
        let (mut start, mut end) = (head[..20].to_vec(), head[20..].to_vec());
        assert_eq!(buffer.read(&mut &mut start[..], &limits()), Ok(None));
        assert!(!buffer.is_empty());
        let read = buffer.read(&mut &mut end[..], &limits()).unwrap();
        assert_eq!(read.map(Head::as_bytes), Some(&head[..]));
        assert!(buffer.is_empty());
    }
}

#[test]
fn the_limit_is_exact_in_chunks_of_any_size() {
    let head = head(START_LINE, HEADERS);
    let bytes = [&head[..], b"frames"].concat();
    let exact = HandshakeLimits { head_bytes_max: head.len(), ..limits() };
    let short = HandshakeLimits { head_bytes_max: head.len() - 1, ..limits() };
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        let cuts = || (step..bytes.len()).step_by(step);
        let expected = Ok(Some((head.clone(), b"frames".to_vec())));
        assert_eq!(feed(&bytes, cuts(), &exact), expected, "steps of {step}");
        assert_eq!(feed(&bytes, cuts(), &short), Err(HandshakeError::HeadTooLarge), "of {step}");
    }
    // At the limit without an end there is none to come.
    let full = HandshakeLimits { head_bytes_max: 20, ..limits() };
    assert_eq!(feed(&bytes[..19], [10], &full), Ok(None));
    assert_eq!(feed(&bytes[..20], [10], &full), Err(HandshakeError::HeadTooLarge));
    assert_eq!(HandshakeError::HeadTooLarge.status(), 431);
}

#[test]
fn an_endless_head_stops_at_the_limit_and_keeps_no_more_than_that() {
    const BYTES: usize = 10 << 20;
    let limits = HandshakeLimits { head_bytes_max: 20_000, ..limits() };
    for chunk_bytes in [1, 2, 1000, 4096, 65536] {
        let mut buffer = HeadBuffer::default();
        let mut chunk: Vec<u8> = b"Xx: yyyyyyyyyy\r\n".repeat(chunk_bytes / 16 + 1);
        // A line as long as the stream where the chunks are short.
        let chunk = if chunk_bytes < 16 { &mut [b'X'; 16][..chunk_bytes] } else { &mut chunk[..] };
        let mut fed = 0;
        let error = loop {
            assert!(fed < BYTES, "a head of {fed} bytes is still collected");
            let mut input = &mut *chunk;
            match buffer.read(&mut input, &limits) {
                Ok(head) => assert_eq!(head, None),
                Err(error) => break error,
            }
            fed += chunk.len();
        };
        assert_eq!(error, HandshakeError::HeadTooLarge);
        assert!(fed <= limits.head_bytes_max, "{fed} bytes were taken");
        assert!(buffer.bytes.capacity() <= limits.head_bytes_max);
        // Nor does it grow for a caller who goes on.
        assert_eq!(buffer.read(&mut &mut *chunk, &limits), Err(HandshakeError::HeadTooLarge));
    }
}

#[test]
fn what_is_not_http_fails_at_its_first_byte() {
    for first in 0..=u8::MAX {
        let result = HeadBuffer::default().read(&mut &mut [first][..], &limits()).map(|_| ());
        let expected =
            if first.is_ascii_uppercase() { Ok(()) } else { Err(HandshakeError::NotHttp) };
        assert_eq!(result, expected, "{first:#x}");
    }
    let mut client_hello = *b"\x16\x03\x01\x02\x00\x01";
    assert_eq!(
        HeadBuffer::default().read(&mut &mut client_hello[..], &limits()),
        Err(HandshakeError::NotHttp)
    );
    assert_eq!(HandshakeError::NotHttp.status(), 400);
}

#[test]
fn bare_line_feeds_fail_where_they_stand() {
    for bytes in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\n\n",
        "G\n\r\n\r\n",
    ] {
        for cut in 0..=bytes.len() {
            assert_eq!(
                feed(bytes.as_bytes(), [cut], &limits()),
                Err(HandshakeError::MalformedHead),
                "{bytes:?} cut at {cut}"
            );
        }
    }
    assert_eq!(HandshakeError::MalformedHead.status(), 400);
}

#[test]
fn nothing_is_asked_of_empty_input() {
    let mut buffer = HeadBuffer::default();
    assert_eq!(buffer.read(&mut &mut [][..], &limits()), Ok(None));
    assert_eq!(buffer.read(&mut &mut *b"GET".to_vec(), &limits()), Ok(None));
    assert_eq!(buffer.read(&mut &mut [][..], &limits()), Ok(None));
}
