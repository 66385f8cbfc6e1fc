//! Both roles against implementations of other people: `tungstenite` (Rust) on either side, `ws`
//! (Node) as a client.

#[path = "interop/engine.rs"]
mod engine;
#[path = "interop/node.rs"]
mod node;
#[path = "interop/our_client.rs"]
mod our_client;
#[path = "interop/our_server.rs"]
mod our_server;

use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Payload sizes: around each form of the length field, and a large one.
const SIZES: [usize; 12] = [0, 1, 2, 124, 125, 126, 127, 65_535, 65_536, 65_537, 300_000, 1 << 20];

/// So many bytes of text, of characters of one to four bytes.
fn text_of(bytes: usize) -> String {
    let mut text: String = "aä€🐟".chars().cycle().take(bytes / 10 * 4).collect();
    text.extend(std::iter::repeat_n('.', bytes - text.len()));
    text
}

/// So many bytes, no two neighbours the same.
fn bytes_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// A text message in four frames with a ping between two of them; it is cut inside the fish.
fn fragments() -> (Vec<Message>, &'static str) {
    let whole = "one 🐟 in four";
    let bytes = whole.as_bytes();
    let data = |data, payload: &[u8], is_final| {
        let payload = payload.to_vec();
        Message::Frame(Frame::message(payload, OpCode::Data(data), is_final))
    };
    let frames = vec![
        data(Data::Text, &bytes[..6], false),
        data(Data::Continue, b"", false),
        Message::Ping(b"between".as_slice().into()),
        data(Data::Continue, &bytes[6..7], false),
        data(Data::Continue, &bytes[7..], true),
    ];
    (frames, whole)
}

#[test]
fn texts_have_their_size() {
    for size in SIZES {
        assert_eq!(text_of(size).len(), size);
    }
}
