//! Our client role against `tungstenite` as a server, and against servers that err.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use sockeye_codec::handshake::HandshakeError;
use sockeye_codec::{CloseCode, Event, Limits, Message, OpCode, encode};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message as TheirMessage, WebSocket};

use sockeye_tests::PATIENCE;
use sockeye_tests::client::{Client, ClientError};

use crate::{SIZES, bytes_of, fragments, text_of};

/// A server for one connection, on a thread.
struct Server<T> {
    url: String,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    fn start(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client comes");
            stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
            serve(stream)
        });
        Self { url, thread }
    }

    fn connect(&self) -> Client {
        Client::connect(&self.url, &[], Limits::default()).expect("accepted")
    }

    fn join(self) -> T {
        self.thread.join().expect("the server is content")
    }
}

/// Everything but the requests below is echoed.
const FRAGMENTS_PLEASE: &str = "fragments, please";
const CLOSE_PLEASE: &str = "close, please";

/// What the client has said in control frames.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    pings: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    close: Option<(u16, String)>,
}

fn echo_server() -> Server<Seen> {
    Server::start(|stream| serve_echo(tungstenite::accept(stream).expect("a good request")))
}

fn serve_echo(mut server: WebSocket<TcpStream>) -> Seen {
    let mut seen = Seen::default();
    // Ends with the closing handshake; what else could end it is seen by the client.
    while let Ok(message) = server.read() {
        match message {
            TheirMessage::Text(text) if text == FRAGMENTS_PLEASE => {
                for frame in fragments().0 {
                    server.send(frame).expect("it is open");
                }
            }
            TheirMessage::Text(text) if text == CLOSE_PLEASE => {
                let frame = CloseFrame { code: 4001.into(), reason: "as you wish 🐟".into() };
                server.close(Some(frame)).expect("it is open");
            }
            TheirMessage::Ping(payload) => seen.pings.push(payload.to_vec()),
            TheirMessage::Pong(payload) => seen.pongs.push(payload.to_vec()),
            TheirMessage::Close(frame) => {
                seen.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
            message => server.send(message).expect("it is open"),
        }
    }
    seen
}

/// What comes next: a message as its kind and bytes, or a control frame.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
}

/// `None`: the connection has ended as it should.
fn next(client: &mut Client) -> Option<Got> {
    client
        .receive(|event, _| {
            Some(match event {
                Event::Message(Message::Text(text)) => Got::Text(text.to_owned()),
                Event::Message(Message::Binary(bytes)) => Got::Binary(bytes.to_vec()),
                Event::Ping(payload) => Got::Ping(payload.to_vec()),
                Event::Pong(payload) => Got::Pong(payload.to_vec()),
                Event::Close(why) => Got::Close(why.map(|why| (why.code, why.reason.to_owned()))),
                other => panic!("{other:?} was not asked for"),
            })
        })
        .expect("the server keeps to the protocol")
}

/// Begins the closing handshake and sees it through.
fn close(client: &mut Client, code: CloseCode, reason: &str) {
    client.close(code, reason).expect("it is open");
    assert!(matches!(next(client), Some(Got::Close(Some((answer, _)))) if answer == code));
    assert_eq!(next(client), None);
}

#[test]
fn text_and_binary_of_every_size() {
    let server = echo_server();
    let mut client = server.connect();
    for size in SIZES {
        let (text, bytes) = (text_of(size), bytes_of(size));
        client.send(&text).expect("it is open");
        assert!(next(&mut client) == Some(Got::Text(text)), "not the same {size} bytes");
        client.send(&bytes).expect("it is open");
        assert!(next(&mut client) == Some(Got::Binary(bytes)), "not the same {size} bytes");
    }
    close(&mut client, CloseCode::NORMAL, "");
    assert_eq!(server.join().close, Some((1000, String::new())));
}

#[test]
fn fragmented_by_the_client() {
    let server = echo_server();
    let mut client = server.connect();
    let whole = "one 🐟 in three".as_bytes();
    client
        .send_frames(|out, codec| {
            let frames = [
                (false, OpCode::Text, &whole[..5]),
                (true, OpCode::Ping, b"between"),
                (false, OpCode::Continuation, &whole[5..7]),
                (true, OpCode::Continuation, &whole[7..]),
            ];
            for (fin, opcode, payload) in frames {
                encode::frame(out, fin, opcode, payload, codec.next_masking_key());
            }
        })
        .expect("it is open");
    assert_eq!(next(&mut client), Some(Got::Pong(b"between".to_vec())));
    assert_eq!(next(&mut client), Some(Got::Text("one 🐟 in three".into())));
    close(&mut client, CloseCode::NORMAL, "");
    assert_eq!(server.join().pings, [b"between"]);
}

#[test]
fn fragmented_by_the_server() {
    let server = echo_server();
    let mut client = server.connect();
    client.send(FRAGMENTS_PLEASE).expect("it is open");
    assert_eq!(next(&mut client), Some(Got::Ping(b"between".to_vec())));
    assert_eq!(next(&mut client), Some(Got::Text(fragments().1.into())));
    close(&mut client, CloseCode::NORMAL, "");
    // The client has answered the ping by itself.
    assert_eq!(server.join().pongs, [b"between"]);
}

#[test]
fn pings_come_back() {
    let server = echo_server();
    let mut client = server.connect();
    for size in [0, 1, 124, 125] {
        client.ping(&bytes_of(size)).expect("it is open");
        assert_eq!(next(&mut client), Some(Got::Pong(bytes_of(size))));
    }
    close(&mut client, CloseCode::NORMAL, "");
    assert_eq!(server.join().pings.len(), 4);
}

#[test]
fn client_closes_with_code_and_reason() {
    let longest = "r".repeat(123);
    for (code, reason) in [(1000, "done"), (1001, ""), (3999, "ü"), (4999, &longest)] {
        let server = echo_server();
        close(&mut server.connect(), CloseCode(code), reason);
        assert_eq!(server.join().close, Some((code, reason.to_owned())));
    }
}

#[test]
fn server_closes_with_code_and_reason() {
    let server = echo_server();
    let mut client = server.connect();
    client.send(CLOSE_PLEASE).expect("it is open");
    let why = (CloseCode(4001), "as you wish 🐟".to_owned());
    assert_eq!(next(&mut client), Some(Got::Close(Some(why))));
    assert!(client.send("too late").is_err());
    assert_eq!(next(&mut client), None);
    // Our answer has the code ("typically echos the status code", RFC 6455 section 5.5.1).
    assert_eq!(server.join().close, Some((4001, String::new())));
}

#[test]
fn hundred_messages_at_once_come_back_in_order() {
    let server = echo_server();
    let mut client = server.connect();
    let texts: Vec<String> =
        (0..100).map(|index| format!("{index} {}", text_of(index * 10))).collect();
    client
        .send_frames(|out, codec| {
            for text in &texts {
                encode::message(out, text.into(), codec.next_masking_key());
            }
        })
        .expect("it is open");
    for text in &texts {
        assert_eq!(next(&mut client).as_ref(), Some(&Got::Text(text.clone())));
    }
    close(&mut client, CloseCode::NORMAL, "");
    server.join();
}

#[test]
fn subprotocol_is_the_one_that_the_server_chose() {
    let server = Server::start(|stream| {
        #[expect(clippy::result_large_err, reason = "tungstenite's type")]
        let choose = |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["Sec-WebSocket-Protocol"], "v1.echo, v2.echo");
            let chosen = "v2.echo".parse().expect("a header value");
            response.headers_mut().insert("Sec-WebSocket-Protocol", chosen);
            Ok(response)
        };
        serve_echo(tungstenite::accept_hdr(stream, choose).expect("a good request"))
    });
    let offered = ["v1.echo", "v2.echo"];
    let mut client = Client::connect(&server.url, &offered, Limits::default()).expect("accepted");
    assert_eq!(client.subprotocol(), Some("v2.echo"));
    close(&mut client, CloseCode::NORMAL, "");
    server.join();
}

/// A server that reads a request's head and answers what `answer` makes of the accept key.
fn server_that_answers(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> Server<()> {
    Server::start(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("ASCII");
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.expect("a key").as_bytes());
        stream.write_all(&answer(&accept)).expect("the client reads");
        // Until the client has left.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn upgraded(accept: &str, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}

fn refusal(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> HandshakeError {
    let server = server_that_answers(answer);
    let error = match Client::connect(&server.url, &["v1.echo"], Limits::default()) {
        Err(ClientError::Handshake(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    };
    server.join();
    error
}

#[test]
fn status_404_is_told() {
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope\n";
    let error = refusal(|_| answer.to_vec());
    let expected = HandshakeError::Refused { status: 404, reason: "Not Found".into() };
    assert_eq!(error, expected);
}

#[test]
fn wrong_answers_are_refused() {
    // The example of RFC 6455 section 1.3, which is not for this key.
    let error = refusal(|_| upgraded("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ""));
    assert_eq!(error, HandshakeError::AcceptInvalid);
    let error = refusal(|accept| upgraded(&accept.to_lowercase(), ""));
    assert_eq!(error, HandshakeError::AcceptInvalid);
    let error = refusal(|accept| upgraded(accept, "Sec-WebSocket-Protocol: v2.echo\r\n"));
    assert_eq!(error, HandshakeError::SubprotocolNotOffered);
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let error = refusal(|accept| upgraded(accept, deflate));
    assert_eq!(error, HandshakeError::ExtensionNotOffered);
}

#[test]
fn first_frames_may_come_along_with_the_answer() {
    let server = server_that_answers(|accept| {
        let mut answer = upgraded(accept, "");
        answer.extend_from_slice(b"\x81\x05Hello\x82\x01\xff\x88\x02\x03\xe8");
        answer
    });
    let mut client = server.connect();
    assert_eq!(next(&mut client), Some(Got::Text("Hello".into())));
    assert_eq!(next(&mut client), Some(Got::Binary(vec![0xff])));
    let why = (CloseCode::NORMAL, String::new());
    assert_eq!(next(&mut client), Some(Got::Close(Some(why))));
    drop(client);
    server.join();
}

#[test]
fn masked_frame_of_a_server_is_a_violation() {
    let server = server_that_answers(|accept| {
        let mut answer = upgraded(accept, "");
        answer.extend_from_slice(b"\x81\x81\0\0\0\0A");
        answer
    });
    let mut client = server.connect();
    match client.receive(|_, _| Some(())) {
        Err(ClientError::Protocol(error)) => {
            assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR);
        }
        other => panic!("{other:?}"),
    }
    drop(client);
    server.join();
}
