//! RFC 6455 by the sentence: one test for each MUST that is ours to keep. `docs/RFC.md` lists them
//! all, with the reason where one has no test; `list.rs` keeps the two together.
//!
//! What a server must do is asked of the engine through a socket, what a client must do of the
//! codec's client role.

#[path = "rfc6455/client_handshake.rs"]
mod client_handshake;
#[path = "rfc6455/closing.rs"]
mod closing;
#[path = "rfc6455/control.rs"]
mod control;
#[path = "rfc6455/framing.rs"]
mod framing;
#[path = "rfc6455/list.rs"]
mod list;
#[path = "rfc6455/messages.rs"]
mod messages;
#[path = "rfc6455/server_handshake.rs"]
mod server_handshake;
#[path = "rfc6455/uri.rs"]
mod uri;

use sockeye_codec::{Codec, Connection, Event, Limits, ProtocolError};
use sockeye_tests::peer::{Peer, masked, unmasked};
use sockeye_tests::rig::Rig;

#[test]
fn the_list_and_the_tests_agree() {
    list::check("rfc6455", "RFC.md", 130);
}

/// Opens a connection to an echo server and sends these frames; the server must fail the
/// connection with this code, after these echoes: close frame, then the end of TCP without a reset.
fn server_fails(frames: &[&[u8]], echoes: &[&str], code: u16) {
    let rig = Rig::echo();
    let mut peer = rig.peer();
    peer.send(&frames.concat());
    for echo in echoes {
        assert_eq!(peer.read_text(), *echo);
    }
    assert_eq!(peer.read_close().0, code);
    peer.expect_end();
}

/// Gives these frames to a client; it must fail the connection with this error, and say so to the
/// server in a close frame.
fn client_fails(frames: &[&[u8]], error: ProtocolError) {
    let (mut connection, mut codec) = client();
    let mut out = Vec::new();
    let mut bytes = frames.concat();
    let mut input = &mut bytes[..];
    let failed = loop {
        match connection.receive(&mut codec, &mut input, &mut out) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it did not fail: {frames:02x?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(failed, error);
    assert!(connection.is_closed());
    let [0x88, second, key @ ..] = &out[..] else { panic!("no close frame: {out:02x?}") };
    let code = [key[4] ^ key[0], key[5] ^ key[1]];
    assert_eq!(second & 0x80, 0x80, "a client masks");
    assert_eq!(u16::from_be_bytes(code), error.close_code().0);
}

/// Both ends fail on this frame. The error's code is what the peer is told.
fn both_fail(first: u8, payload: &[u8], error: ProtocolError) {
    server_fails(&[&masked(first, payload)], &[], error.close_code().0);
    client_fails(&[&unmasked(first, payload)], error);
}

/// A client, past its handshake.
fn client() -> (Connection, Codec) {
    (Connection::new(), Codec::client(Limits::default(), [5; 32]))
}

/// The texts that a client gets from these bytes.
fn texts_of_client(mut bytes: Vec<u8>) -> Vec<String> {
    let (mut connection, mut codec) = client();
    let (mut input, mut out, mut texts) = (&mut bytes[..], Vec::new(), Vec::new());
    while let Some(event) =
        connection.receive(&mut codec, &mut input, &mut out).expect("nothing is wrong")
    {
        if let Event::Message(message) = event {
            texts.push(message.as_text().expect("text").to_owned());
        }
    }
    texts
}

/// Sends a request to a server; the head of an answer that is not 101, after which the server
/// closes.
fn refused(request: &str) -> String {
    let rig = Rig::echo();
    let mut peer = Peer::tcp(rig.address);
    peer.send(request.as_bytes());
    let head = peer.read_head();
    assert!(!head.starts_with("HTTP/1.1 101"), "accepted: {request}");
    peer.read_to_end();
    head
}
