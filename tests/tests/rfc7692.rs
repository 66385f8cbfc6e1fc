//! RFC 7692 by the sentence, as `rfc6455.rs` is for RFC 6455; the list is `docs/RFC7692.md`.

#[path = "rfc6455/list.rs"]
mod list;
#[path = "rfc7692/messages.rs"]
mod messages;
#[path = "rfc7692/negotiation.rs"]
mod negotiation;

use sockeye::DeflateConfig;
use sockeye_tests::peer::{Peer, REQUEST};
use sockeye_tests::rig::{Rig, Setup};

#[test]
fn the_list_and_the_tests_agree() {
    list::check("rfc7692", "RFC7692.md", 5);
}

/// An echo server that keeps every context it may.
fn willing() -> Rig {
    let deflate = DeflateConfig {
        server_context_takeover: true,
        client_context_takeover: true,
        compress_bytes_min: 0,
        ..DeflateConfig::default()
    };
    Setup::new().config(|config| config.deflate = Some(deflate)).start()
}

/// Opens a connection with these offers; the value of the header in the answer, if it is there.
fn offer(rig: &Rig, offers: &str) -> (Peer, Option<String>) {
    let line = format!("Sec-WebSocket-Extensions: {offers}\r\nUpgrade: ");
    let mut peer = Peer::tcp(rig.address);
    peer.send(REQUEST.replacen("Upgrade: ", &line, 1).as_bytes());
    let head = peer.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let value = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let value = value.map(ToOwned::to_owned);
    (peer, value)
}
