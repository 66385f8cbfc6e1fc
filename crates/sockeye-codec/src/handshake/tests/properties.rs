//! What holds for any bytes, however they are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{
    ClientHandshake, ClientRequest, HandshakeLimits, HeaderLines, Key, NO_HEADERS, Response, WsUrl,
    choose_subprotocol, write_accept,
};
use super::head::feed;
use super::{ANSWER, ANSWER_LINE, HEADERS, RFC_NONCE, START_LINE, head, parse};

const LIMITS: HandshakeLimits = HandshakeLimits { head_bytes_max: 600, headers_max: 8 };

/// Bytes that come near to a head: pieces of one in any order, and a good one that is bent.
fn near_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "\r\n", "\r\n\r\n", "\n", "\r", ":", " ", ",", "\0", "GET / HTTP/1.1\r\n",
            "HTTP/1.1 101 x\r\n", "Host: a\r\n", "Upgrade: websocket\r\n",
            "Connection: Upgrade\r\n", "Sec-WebSocket-Key: ", "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: a,b\r\n", "http://", "?", "#", "Origin: x\r\n",
            "Content-Length: 0\r\n",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    let bent = (any::<bool>(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(server, changes)| {
            let mut bytes =
                if server { head(START_LINE, HEADERS) } else { head(ANSWER_LINE, ANSWER) };
            bytes.extend_from_slice(b"\x81\x00after");
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            bytes
        },
    );
    prop_oneof![
        vec(piece, 0..30).prop_map(|pieces| pieces.concat()),
        bent,
        vec(any::<u8>(), 0..800)
    ]
}

fn server(head: &[u8]) {
    let mut lines = HeaderLines::new();
    let Ok(request) = parse(head, &mut lines, &LIMITS) else { return };
    let _ = (request.path(), request.query(), request.host(), request.origin());
    let mut out = Vec::new();
    match request.websocket() {
        Ok(key) => {
            let chosen = choose_subprotocol(&request, &["b"]);
            assert_eq!(write_accept(&mut out, &request, &key, chosen, None, NO_HEADERS), Ok(()));
        }
        Err(error) => assert_eq!(Response::from(&error).write(&mut out, false), Ok(())),
    }
    assert!(out.starts_with(b"HTTP/1.1 "));
}

proptest! {
    #[test]
    fn a_server_survives_any_bytes(bytes in near_head()) {
        server(&bytes);
        if let Ok(Some((head, _))) = feed(&bytes, [], &LIMITS) {
            server(&head);
        }
    }

    #[test]
    fn a_client_survives_any_bytes(bytes in near_head(), step in 1_usize..50) {
        let request = ClientRequest::new("a", "/").subprotocol("b");
        let mut handshake = ClientHandshake::new(&request, &Key::new(RFC_NONCE), LIMITS);
        for piece in bytes.clone().chunks_mut(step) {
            match handshake.read(&mut &mut *piece) {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }

    #[test]
    fn cuts_make_no_difference(
        bytes in near_head(),
        cuts in vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(feed(&bytes, cuts, &LIMITS), feed(&bytes, [], &LIMITS));
    }

    #[test]
    fn the_end_of_a_head_is_where_the_plain_search_finds_it(bytes in near_head()) {
        let found = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Ok(read) = feed(&bytes, [], &LIMITS) {
            prop_assert_eq!(read.map(|(head, _)| head.len()), found.map(|start| start + 4));
        }
    }

    #[test]
    fn a_url_survives_any_text(url in "(wss?://)?\\PC{0,40}") {
        if let Ok(url) = WsUrl::parse(&url) {
            let mut out = Vec::new();
            let request = ClientRequest::for_url(&url);
            prop_assert_eq!(request.write(&mut out, &Key::new(RFC_NONCE)), Ok(()));
            let mut lines = HeaderLines::new();
            let received = parse(&out, &mut lines, &HandshakeLimits::default());
            prop_assert!(received.is_ok_and(|received| received.websocket().is_ok()));
        }
    }

    #[test]
    fn any_nonce_gives_a_key_that_reads_back(nonce: [u8; 16]) {
        let key = Key::new(nonce);
        prop_assert_eq!(Key::parse(key.as_str().as_bytes()), Some(key));
    }
}
