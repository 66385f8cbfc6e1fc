//! The bytes of the workloads, made once: the client must not be busy with them.

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ASCII with some Chinese and emoji.
    Text,
    /// Bytes.
    Binary,
}

/// A fixed masking key: the server unmasks it like any other, and the client saves the work.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What Chromium sends, by its size and number of lines.
pub const REQUEST_OF_A_BROWSER: &str = "GET /socket?room=1 HTTP/1.1\r\n\
    Host: server.example.com:9001\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://server.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A payload of exactly `len` bytes.
pub fn payload(kind: Kind, len: usize) -> Vec<u8> {
    let sample = "The quick brown fox jumps over the lazy dog; 敏捷的棕色狐狸 🦊 jumps again. ";
    match kind {
        Kind::Binary => (0..len).map(|n| n as u8).collect(),
        Kind::Text => {
            let mut text = String::with_capacity(len);
            for character in sample.chars().cycle() {
                if text.len() + character.len_utf8() > len {
                    break;
                }
                text.push(character);
            }
            // What no whole character fits into.
            text.extend(std::iter::repeat_n('.', len - text.len()));
            text.into_bytes()
        }
    }
}

fn header(kind: Kind, len: usize, masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut header = vec![if kind == Kind::Text { 0x81 } else { 0x82 }];
    match len {
        0..=125 => header.push(mask | len as u8),
        126..=0xFFFF => {
            header.push(mask | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}

/// A frame as a client sends it.
pub fn client_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(kind, payload.len(), true);
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The same message as a server sends it: four bytes less.
pub fn server_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(kind, payload.len(), false);
    frame.extend(payload);
    frame
}

/// The request that opens a connection.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The answer to [`REQUEST`], as short as it can be.
pub const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Where a head ends.
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_length_and_texts_are_utf8() {
        for len in [0, 1, 2, 31, 32, 70, 71, 1_000, 65_536] {
            assert_eq!(payload(Kind::Binary, len).len(), len);
            let text = payload(Kind::Text, len);
            assert_eq!(text.len(), len);
            assert!(std::str::from_utf8(&text).is_ok());
        }
        assert!(!payload(Kind::Text, 200).is_ascii());
    }

    #[test]
    fn a_frame_unmasks_to_its_answer() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let payload = payload(Kind::Binary, len);
            let (asked, answer) =
                (client_frame(Kind::Binary, &payload), server_frame(Kind::Binary, &payload));
            assert_eq!(asked.len(), answer.len() + 4);
            let head = answer.len() - len;
            assert_eq!(asked[head..head + 4], KEY);
            let unmasked = asked[head + 4..].iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k);
            assert!(unmasked.eq(answer[head..].iter().copied()));
        }
    }

    #[test]
    fn heads_end_at_the_empty_line() {
        assert_eq!(head_len(REQUEST), Some(REQUEST.len()));
        assert_eq!(head_len(&REQUEST[..REQUEST.len() - 1]), None);
    }
}
