//! What inflates to more than it should: judged exactly, and before it takes memory.

use super::{Deflate, DeflateConfig, End, Inflater, agreed, no_takeover, takeover};
use crate::{DataKind, Limits, Message, ProtocolError, Role};

const LIMIT: usize = 100_000;

fn limits() -> Limits {
    Limits { message_bytes_max: LIMIT as u64, ..Limits::default() }
}

/// A payload that inflates to so many equal bytes.
fn bomb(config: &DeflateConfig, len: usize) -> Vec<u8> {
    let mut client = End::new(Role::Client, config, Limits::default());
    let frame = client.encode(Message::Binary(&vec![b'x'; len]));
    super::payload(&frame, Role::Server).1
}

#[test]
fn the_limit_is_exact() {
    for config in [takeover(), no_takeover()] {
        for kind in [DataKind::Text, DataKind::Binary] {
            for before in [0, 1, 70_000, LIMIT] {
                let mut inflater = Inflater::new(&limits());
                let mut deflate = Deflate::new(&agreed(&config), Role::Server);
                if before > 0 {
                    let payload = bomb(&config, before);
                    deflate.inflate(&mut inflater, kind, &payload).unwrap();
                }
                let at = bomb(&config, LIMIT);
                assert_eq!(deflate.inflate(&mut inflater, kind, &at).unwrap().len(), LIMIT);
                assert!(inflater.buffer_bytes() <= LIMIT, "{}", inflater.buffer_bytes());
                for beyond in [LIMIT + 1, LIMIT + 2, 50_000_000] {
                    let payload = bomb(&config, beyond);
                    let error = deflate.inflate(&mut inflater, kind, &payload).unwrap_err();
                    assert_eq!(error, ProtocolError::MessageTooLarge);
                    assert!(inflater.buffer_bytes() <= LIMIT, "{}", inflater.buffer_bytes());
                }
            }
        }
    }
}

/// The limit is the message's, however it is cut into frames and reads.
#[test]
fn fragments_are_one_message() {
    for beyond in [0, 1] {
        let payload = bomb(&no_takeover(), LIMIT + beyond);
        let mut bytes = Vec::new();
        for (n, byte) in payload.iter().enumerate() {
            let fin = if n + 1 == payload.len() { 0x80 } else { 0 };
            let opcode = if n == 0 { 0x42 } else { 0x00 };
            bytes.extend([fin | opcode, 0x81, 0, 0, 0, 0, *byte]);
        }
        let mut server = End::new(Role::Server, &no_takeover(), limits());
        let (messages, error) = server.receive(&bytes);
        if beyond == 0 {
            assert_eq!((messages.len(), messages[0].1.len(), error), (1, LIMIT, None));
        } else {
            assert_eq!((messages.len(), error), (0, Some(ProtocolError::MessageTooLarge)));
        }
    }
}

/// A limit of any size, also of a few bytes, is where it ends.
#[test]
fn small_limits() {
    for limit in [0, 1, 2, 100, 4_095, 4_096, 4_097, 8_192] {
        let limits = Limits { message_bytes_max: limit, ..Limits::default() };
        for len in [limit, limit + 1] {
            let mut inflater = Inflater::new(&limits);
            let mut deflate = Deflate::new(&agreed(&takeover()), Role::Server);
            let payload = if len == 0 { vec![0] } else { bomb(&takeover(), len as usize) };
            let result = deflate.inflate(&mut inflater, DataKind::Text, &payload);
            assert_eq!(result.is_ok(), len <= limit, "{len} of {limit}");
            assert!(inflater.buffer_bytes() as u64 <= limit);
        }
    }
}

/// Large messages do not leave their buffers behind for ever, small ones keep theirs.
#[test]
fn buffers_are_given_back() {
    let limits = Limits { spare_bytes_max: 10_000, ..Limits::default() };
    let mut inflater = Inflater::new(&limits);
    let mut deflate = Deflate::new(&agreed(&no_takeover()), Role::Server);
    let large = bomb(&no_takeover(), 1_000_000);
    deflate.inflate(&mut inflater, DataKind::Binary, &large).unwrap();
    assert!(inflater.buffer_bytes() >= 1_000_000);
    inflater.trim();
    assert_eq!(inflater.buffer_bytes(), 0);
    let small = bomb(&no_takeover(), 1_000);
    deflate.inflate(&mut inflater, DataKind::Binary, &small).unwrap();
    let kept = inflater.buffer_bytes();
    inflater.trim();
    assert!((1_000..=10_000).contains(&kept) && inflater.buffer_bytes() == kept);
    assert_eq!(deflate.window_bytes(), 0, "no context is kept");
}
