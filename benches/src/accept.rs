//! What a server does with a handshake, to be measured in more than one way.

use sockeye_codec::handshake::{
    HandshakeLimits, HeadBuffer, HeaderLines, NO_HEADERS, Request, write_accept,
};

/// Collects a head, reads it, checks it and writes the answer.
///
/// # Panics
/// The request is not a good one.
pub fn accept(mut request: &mut [u8], out: &mut Vec<u8>) {
    let limits = HandshakeLimits::default();
    let mut buffer = HeadBuffer::default();
    let head = buffer.read(&mut request, &limits).expect("good").expect("whole");
    let mut lines = HeaderLines::new();
    let request = Request::parse(head, &mut lines, &limits).expect("good");
    let key = request.websocket().expect("good");
    out.clear();
    write_accept(out, &request, &key, None, None, NO_HEADERS).expect("good");
}
