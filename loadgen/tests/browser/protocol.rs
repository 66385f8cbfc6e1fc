//! What no browser sends: the server's own checks, over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::process::PATIENCE;
use crate::server::Server;

struct Person(WebSocket<TcpStream>);

impl Person {
    fn connect(server: &Server) -> Self {
        let url = format!("ws://{}/ws", server.address());
        let (socket, _) = tungstenite::client(url, stream(server)).expect("an open door");
        let mut person = Self(socket);
        assert_eq!(person.next()["type"], "welcome");
        person
    }

    fn say(&mut self, command: &Value) {
        self.send(Message::text(command.to_string()));
    }

    fn send(&mut self, message: Message) {
        self.0.send(message).expect("the connection is open");
    }

    fn next(&mut self) -> Value {
        match self.0.read().expect("an event comes") {
            Message::Text(text) => serde_json::from_str(&text).expect("events are JSON"),
            Message::Binary(bytes) => {
                let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                serde_json::from_slice(&bytes[2..2 + length]).expect("heads are JSON")
            }
            other => panic!("neither text nor binary: {other:?}"),
        }
    }

    fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["type"] == kind {
                return event;
            }
        }
    }

    fn join(&mut self, name: &str, room: &str) -> Value {
        self.say(&json!({ "type": "join", "name": name, "room": room, "token": name }));
        self.until("joined")
    }
}

#[test]
fn a_newcomer_gets_what_was_said() {
    let server = Server::start("127.0.0.1:0");
    let mut ada = Person::connect(&server);
    ada.join("Ada", "lobby");
    for number in 0..3 {
        ada.say(&json!({ "type": "say", "text": format!("line {number}"), "tag": "t" }));
    }
    // The tag was the same, so that it was said once, and came back three times.
    let ids: Vec<_> = (0..3).map(|_| ada.until("message")["id"].clone()).collect();
    assert_eq!(ids, [ids[0].clone(), ids[0].clone(), ids[0].clone()]);

    let mut bo = Person::connect(&server);
    let joined = bo.join("ada", "lobby");
    assert_eq!(joined["name"], "ada (2)");
    assert_eq!(joined["history"], 1);
    assert_eq!(bo.until("message")["text"], "line 0");
    assert_eq!(ada.until("entered")["name"], "ada (2)");
    drop(bo);
    assert_eq!(ada.until("left")["member"], joined["member"]);
}

#[test]
fn the_same_page_takes_its_place_again() {
    let server = Server::start("127.0.0.1:0");
    let mut old = Person::connect(&server);
    let before = old.join("Ada", "lobby");
    let mut new = Person::connect(&server);
    let after = new.join("Ada", "lobby");
    assert_eq!(after["name"], "Ada");
    assert_eq!(after["author"], before["author"]);
    assert_eq!(after["members"].as_array().map(Vec::len), Some(1));
    old.until("replaced");
}

#[test]
fn errors_go_to_the_sender_alone() {
    let server = Server::start("127.0.0.1:0");
    let (mut ada, mut bo) = (Person::connect(&server), Person::connect(&server));
    ada.say(&json!({ "type": "say", "text": "too early", "tag": "1" }));
    let error = ada.until("error");
    assert_eq!((&error["code"], &error["tag"]), (&"not-joined".into(), &"1".into()));

    bo.join("Bo", "lobby");
    ada.join("Ada", "lobby");
    bo.until("entered");
    let long = "x".repeat(4_001);
    for (message, code) in [
        (Message::text("{"), "malformed"),
        (Message::text(r#"{"type":"dance"}"#), "malformed"),
        (Message::text("[".repeat(100_000)), "malformed"),
        (Message::text(json!({ "type": "say", "text": long }).to_string()), "text"),
        (Message::binary(vec![]), "malformed"),
        (Message::binary(vec![0xff; 100]), "malformed"),
        (Message::binary(&b"\0\x02{}<svg onload=alert(1)>"[..]), "picture-format"),
        (Message::binary([&b"\0\x02{}"[..], &vec![0x89; 513 << 10]].concat()), "picture-size"),
    ] {
        ada.send(message);
        assert_eq!(ada.until("error")["code"], code);
    }
    ada.say(&json!({ "type": "say", "text": "still here" }));
    // The first that Bo hears after all that.
    let heard = loop {
        let event = bo.next();
        if event["type"] != "room" {
            break event;
        }
    };
    assert_eq!(heard["text"], "still here");
}

#[test]
fn pages_of_other_sites_stay_out() {
    let server = Server::start("127.0.0.1:0");
    for (origin, status) in [
        (format!("http://{}", server.address()), 101),
        ("https://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("http://{}.evil.example", server.address()), 403),
    ] {
        let url = format!("ws://{}/ws", server.address());
        let mut request = url.into_client_request().expect("a request");
        let value = HeaderValue::from_str(&origin).expect("a header");
        request.headers_mut().insert("Origin", value);
        let answer = match tungstenite::client(request, stream(&server)) {
            Ok((_, response)) => response.status(),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                response.status()
            }
            Err(error) => panic!("{origin}: {error}"),
        };
        assert_eq!(answer, status, "{origin}");
    }
}

#[test]
fn the_page_is_served_with_a_policy() {
    let server = Server::start("127.0.0.1:0");
    let page = request(&server, "GET", "/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("\r\nContent-Security-Policy: default-src 'none'; script-src 'self';"));
    assert!(page.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
    assert!(page.ends_with("</html>\n"), "{page}");

    let head = request(&server, "HEAD", "/");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(request(&server, "GET", "/chat.js").contains("Content-Type: text/javascript"));
    assert!(request(&server, "GET", "/nothing").starts_with("HTTP/1.1 404 "));
    assert!(request(&server, "DELETE", "/").starts_with("HTTP/1.1 405 "));
}

fn request(server: &Server, method: &str, path: &str) -> String {
    let mut stream = stream(server);
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    stream.write_all(head.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    answer
}

fn stream(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}
