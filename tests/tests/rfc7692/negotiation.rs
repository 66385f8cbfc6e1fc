//! Sections 5 and 7: offers and answers.

use sockeye::DeflateConfig;
use sockeye_codec::handshake::{
    ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, Key,
};

use crate::{offer, willing};

/// Section 7: "A server MUST decline an extension negotiation offer for this extension if any of
/// the following conditions are met: The negotiation offer contains an extension parameter not
/// defined for use in an offer. The negotiation offer contains an extension parameter with an
/// invalid value. The negotiation offer contains multiple extension parameters with the same
/// name. The server doesn't support the offered configuration."
#[test]
fn offers_that_are_not_right_are_declined() {
    let rig = willing();
    for bad in [
        "unknown",
        "server_max_window_bits",
        "server_max_window_bits=16",
        "client_max_window_bits=08",
        "server_no_context_takeover=1",
        "client_no_context_takeover; client_no_context_takeover",
    ] {
        assert_eq!(offer(&rig, &format!("permessage-deflate; {bad}")).1, None, "{bad}");
        let second = format!("permessage-deflate; {bad}, permessage-deflate");
        assert_eq!(offer(&rig, &second).1.as_deref(), Some("permessage-deflate"), "{bad}");
    }
}

/// Section 7.1.2.2: "If a received extension negotiation offer doesn't have the
/// "client_max_window_bits" extension parameter, the corresponding extension negotiation response
/// to the offer MUST NOT include the "client_max_window_bits" extension parameter."
#[test]
fn a_client_that_did_not_offer_it_is_not_told_a_window() {
    let deflate = DeflateConfig { client_max_window_bits: 9, ..DeflateConfig::default() };
    let rig = sockeye_tests::rig::Setup::new().config(|it| it.deflate = Some(deflate)).start();
    let answer = offer(&rig, "permessage-deflate; server_max_window_bits=10").1.expect("agreed");
    assert!(!answer.contains("client_max_window_bits"), "{answer}");
    let answer = offer(&rig, "permessage-deflate; client_max_window_bits").1.expect("agreed");
    assert!(answer.ends_with("; client_max_window_bits=9"), "{answer}");
}

/// Section 7: "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an
/// extension negotiation offer for this extension with an extension negotiation response meeting
/// any of the following conditions:"
#[test]
fn a_client_fails_on_an_answer_that_is_not_right() {
    let request = ClientRequest::new("example.com", "/").deflate(DeflateConfig {
        server_context_takeover: true,
        client_context_takeover: true,
        server_max_window_bits: 12,
        ..DeflateConfig::default()
    });
    let answered = |answer: &str| {
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Extensions: permessage-deflate{answer}\r\n\r\n"
        )
        .into_bytes();
        let key = Key::new(*b"the sample nonce");
        let mut handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
        let accepted = handshake.read(&mut &mut bytes[..])?.expect("a whole head");
        Ok(accepted.deflate.expect("it was agreed on"))
    };
    let params = answered("; server_max_window_bits=11; client_max_window_bits=10").expect("right");
    assert_eq!((params.server_window_bits(), params.client_window_bits()), (11, 10));
    for bad in [
        "",
        "; server_max_window_bits=13",
        "; server_max_window_bits=12; unknown",
        "; server_max_window_bits=012",
        "; server_max_window_bits=12; server_max_window_bits=12",
        "; server_max_window_bits=12; client_max_window_bits",
        "; server_max_window_bits=12, permessage-deflate; server_max_window_bits=12",
    ] {
        assert_eq!(answered(bad), Err(HandshakeError::DeflateNotAcceptable), "{bad}");
    }
}
