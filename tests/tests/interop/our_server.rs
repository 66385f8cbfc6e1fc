//! `tungstenite` as a client against our server.

use std::net::TcpStream;

use sockeye::{CloseCode, Closed};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::engine::Engine;
use sockeye_tests::PATIENCE;

use crate::{SIZES, bytes_of, fragments, text_of};

type Client = WebSocket<TcpStream>;

fn connect(engine: &Engine) -> Client {
    connect_with(engine, &[]).0
}

fn connect_with(engine: &Engine, subprotocols: &[&str]) -> (Client, Response) {
    let mut request = ClientRequestBuilder::new(engine.url().parse().expect("a URL"));
    for &name in subprotocols {
        request = request.with_sub_protocol(name);
    }
    let stream = TcpStream::connect(engine.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    tungstenite::client(request, stream).expect("accepted")
}

fn read(client: &mut Client) -> Message {
    client.read().expect("it is open")
}

fn assert_ended(client: &mut Client) {
    match client.read() {
        Err(Error::ConnectionClosed) => {}
        other => panic!("{other:?} instead of the end"),
    }
}

#[test]
fn text_and_binary_of_every_size() {
    let engine = Engine::start();
    let mut client = connect(&engine);
    for size in SIZES {
        for message in [Message::text(text_of(size)), Message::binary(bytes_of(size))] {
            client.send(message.clone()).expect("it is open");
            assert!(read(&mut client) == message, "not the same {size} bytes");
        }
    }
}

#[test]
fn fragmented_with_a_ping_between() {
    let engine = Engine::start();
    let mut client = connect(&engine);
    let (frames, whole) = fragments();
    for _ in 0..3 {
        for frame in &frames {
            client.send(frame.clone()).expect("it is open");
        }
        assert_eq!(read(&mut client), Message::Pong(b"between".as_slice().into()));
        assert_eq!(read(&mut client), Message::text(whole));
    }
}

#[test]
fn pings_are_answered_with_their_payload() {
    let engine = Engine::start();
    let mut client = connect(&engine);
    for size in [0, 1, 124, 125] {
        client.send(Message::Ping(bytes_of(size).into())).expect("it is open");
        assert_eq!(read(&mut client), Message::Pong(bytes_of(size).into()));
    }
    // A pong that nobody asked for is none of anybody's business (RFC 6455 section 5.5.3).
    client.send(Message::Pong(b"heartbeat".as_slice().into())).expect("it is open");
    client.send(Message::text("still open")).expect("it is open");
    assert_eq!(read(&mut client), Message::text("still open"));
}

#[test]
fn client_closes_with_code_and_reason() {
    let engine = Engine::start();
    let longest = "r".repeat(123);
    let codes = [(1000, "done"), (1001, ""), (1011, "ü"), (3000, "library"), (4999, &longest)];
    for (code, reason) in codes {
        let mut client = connect(&engine);
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        client.close(Some(frame)).expect("it is open");
        match read(&mut client) {
            Message::Close(Some(answer)) => assert_eq!(u16::from(answer.code), code),
            other => panic!("{other:?} instead of a close frame"),
        }
        assert_ended(&mut client);
        match engine.next_closed() {
            Closed::ByPeer { code: seen, reason: because } => {
                assert_eq!((seen, &*because), (CloseCode(code), reason));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn client_closes_without_a_code() {
    let engine = Engine::start();
    let mut client = connect(&engine);
    client.close(None).expect("it is open");
    assert_eq!(read(&mut client), Message::Close(None));
    assert_ended(&mut client);
    match engine.next_closed() {
        Closed::ByPeer { code: CloseCode::NO_STATUS, reason } => assert_eq!(&*reason, ""),
        other => panic!("{other:?}"),
    }
}

#[test]
fn server_closes_with_code_and_reason() {
    let engine = Engine::start();
    for (code, reason) in [(1000, ""), (1008, "house rules 🐟"), (4321, "yours")] {
        let mut client = connect(&engine);
        client.send(Message::text("before")).expect("it is open");
        client.send(Message::text(format!("close {code} {reason}"))).expect("it is open");
        assert_eq!(read(&mut client), Message::text("before"));
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        assert_eq!(read(&mut client), Message::Close(Some(frame)));
        assert_ended(&mut client);
        match engine.next_closed() {
            Closed::ByHandler { code: seen } => assert_eq!(seen, CloseCode(code)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn connection_that_is_dropped_is_lost() {
    let engine = Engine::start();
    let mut other = connect(&engine);
    drop(connect(&engine));
    match engine.next_closed() {
        Closed::Lost(_) => {}
        other => panic!("{other:?}"),
    }
    other.send(Message::text("unharmed")).expect("it is open");
    assert_eq!(read(&mut other), Message::text("unharmed"));
}

#[test]
fn subprotocol_is_the_first_offer_that_the_server_knows() {
    let engine = Engine::start();
    for (offered, expected) in [
        (&["v1.echo", "v2.echo"][..], Some("v1.echo")),
        (&["v2.echo", "v1.echo"], Some("v2.echo")),
        (&["v9.echo", "v1.echo"], Some("v1.echo")),
        (&[], None),
    ] {
        let (mut client, response) = connect_with(&engine, offered);
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(chosen.map(|name| name.to_str().expect("ASCII")), expected);
        client.send(Message::text("agreed")).expect("it is open");
        assert_eq!(read(&mut client), Message::text("agreed"));
    }
}

#[test]
fn hundred_messages_at_once_come_back_in_order() {
    let engine = Engine::start();
    let mut client = connect(&engine);
    let messages: Vec<Message> = (0..100)
        .map(|index| match index % 2 {
            0 => Message::text(format!("{index} {}", text_of(index * 10))),
            _ => Message::binary(bytes_of(index * 10)),
        })
        .collect();
    for message in &messages {
        client.write(message.clone()).expect("it is open");
    }
    client.flush().expect("it is open");
    for message in &messages {
        assert_eq!(read(&mut client), *message);
    }
}
