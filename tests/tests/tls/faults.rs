//! What goes wrong: the right alert, an end, and nothing left.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};
use sockeye::Closed;
use sockeye_tests::peer::{REQUEST, TEXT, masked};
use sockeye_tests::rig::Setup;
use sockeye_tests::tls::{self, NAME, authority, config};

use sockeye_tests::wss::{Wss, tcp};

fn client() -> Arc<ClientConfig> {
    Arc::new(authority().client())
}

/// All that comes, until the end.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end, and no reset");
    all
}

/// The first flight of a client.
fn hello() -> Vec<u8> {
    let mut connection = tls::connection(&client());
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a vector");
    hello
}

/// A fatal alert that is not encrypted.
fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

#[test]
fn plain_http_is_told_so() {
    let rig = Setup::new().tls(config()).start();
    for request in [REQUEST, "POST /x HTTP/1.0\r\n\r\n", "G"] {
        let mut stream = tcp(rig.address);
        stream.write_all(request.as_bytes()).expect("it is open");
        let answer = String::from_utf8(read_to_end(&mut stream)).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("Connection: close"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(body, "this port speaks TLS: ask for https:// or wss:\n");
    }
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == 3);
    assert!(rig.stop().is_empty(), "the handler was told nothing");
}

#[test]
fn what_is_not_tls_gets_an_alert() {
    const UNEXPECTED_MESSAGE: u8 = 10;
    const DECODE_ERROR: u8 = 50;
    let rig = Setup::new().tls(config()).start();
    let mut too_long = hello();
    too_long[3..5].copy_from_slice(&[0xFF, 0xFF]);
    let mut scrambled = hello();
    scrambled[9..].fill(0xFF);
    for (bytes, expected) in [
        (&b"hello"[..], DECODE_ERROR),
        (b"\x00\x01\x02\x03\x04\x05", DECODE_ERROR),
        (&too_long, DECODE_ERROR),
        (&scrambled, DECODE_ERROR),
        // Application data before there are keys.
        (b"\x17\x03\x03\x00\x01x", UNEXPECTED_MESSAGE),
        // TLS 1.0, which nobody speaks any more, has no alert of its own: the version is wrong.
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", DECODE_ERROR),
    ] {
        let mut stream = tcp(rig.address);
        stream.write_all(bytes).expect("it is open");
        assert_eq!(read_to_end(&mut stream), alert(expected), "{bytes:02x?}");
    }
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == 6);
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let rig = Setup::new().tls(config()).start();
    let hello = hello();
    let cuts = (0..hello.len()).step_by(97).chain([1, 4, 5, 6, hello.len()]);
    let mut begun = 0;
    for cut in cuts {
        let mut stream = tcp(rig.address);
        stream.write_all(&hello[..cut]).expect("it is open");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let answer = read_to_end(&mut stream);
        // The whole of it is answered: a handshake record, or a request to say it again.
        assert_eq!(answer.is_empty(), cut < hello.len());
        begun += u64::from(cut > 0);
    }
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == begun);
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let setup = Setup::new().config(|config| config.handshake_timeout_ms = 250);
    let rig = setup.tls(config()).start();
    let hello = hello();
    for cut in [0, 1, 100, hello.len()] {
        let mut stream = tcp(rig.address);
        stream.write_all(&hello[..cut]).expect("it is open");
        // Nothing can be said before there are keys: no request timeout in plain text.
        let answer = read_to_end(&mut stream);
        assert!(!answer.windows(4).any(|four| four == b"HTTP"), "{answer:?}");
    }
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == 4);
    // A request that does not come is told so, as it is without TLS.
    let mut wss = Wss::new(rig.address, &client(), NAME);
    wss.0.write_all(b"GET / HTTP/1.1\r\n").expect("it is open");
    let mut answer = String::new();
    wss.0.read_to_string(&mut answer).expect("an end with close_notify");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn an_end_without_close_notify_is_an_end_and_counted() {
    let rig = Setup::new().tls(config()).start();
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(authority().client_with(&[version], None));
        let mut wss = Wss::open(rig.address, &client);
        wss.echo("hello");
        wss.0.sock.shutdown(Shutdown::Write).expect("a socket");
        assert!(matches!(rig.next_closed(), Closed::Lost(None)));

        let mut wss = Wss::open(rig.address, &client);
        wss.0.conn.send_close_notify();
        wss.0.flush().expect("it is open");
        // Whoever goes on after his last word is not heard.
        wss.0.sock.write_all(b"\x17\x03\x03\x00\x05after").expect("it is open");
        assert!(matches!(rig.next_closed(), Closed::Lost(None)));
        let mut rest = Vec::new();
        wss.0.read_to_end(&mut rest).expect("the server's close_notify");
        assert!(rest.is_empty());
    }
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_truncated == 2);
    assert_eq!(rig.handle().stats().tls_failed, 0);
}

/// Records of an open connection, for whoever wants to change them.
fn sealed(connection: &mut ClientConnection, text: &str) -> Vec<u8> {
    connection.writer().write_all(&masked(TEXT, text.as_bytes())).expect("room");
    let mut records = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut records).expect("a vector");
    }
    records
}

#[test]
fn a_changed_record_ends_the_connection() {
    let rig = Setup::new().tls(config()).start();
    for version in [&TLS12, &TLS13] {
        let mut wss = Wss::open(rig.address, &Arc::new(authority().client_with(&[version], None)));
        let mut records = sealed(&mut wss.0.conn, "first");
        let mut changed = sealed(&mut wss.0.conn, "second");
        *changed.last_mut().expect("a tag") ^= 1;
        records.extend(changed);
        records.extend(sealed(&mut wss.0.conn, "third"));
        wss.0.sock.write_all(&records).expect("it is open");
        match rig.next_closed() {
            Closed::Lost(Some(error)) => {
                assert_eq!(error.to_string(), "TLS: cannot decrypt peer's message");
            }
            why => panic!("{why:?}"),
        }
        let mut rest = Vec::new();
        let error = wss.0.read_to_end(&mut rest).expect_err("an alert").to_string();
        assert!(error.contains("BadRecordMac"), "{error}");
    }
    rig.wait_for(|stats| stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.messages_received, stats.tls_failed), (2, 0));
}

/// The whole conversation, handshake and all, byte by byte; and in pieces that are no records.
#[test]
fn records_may_be_cut_anywhere() {
    let rig = Setup::new().tls(config()).start();
    for version in [&TLS12, &TLS13] {
        for step in [1, 3, 7, 100, 16_000] {
            let mut sock = tcp(rig.address);
            let client = Arc::new(authority().client_with(&[version], None));
            let mut connection = tls::connection(&client);
            let long = "long ".repeat(if step == 1 { 100 } else { 8_000 });
            connection.writer().write_all(REQUEST.as_bytes()).expect("room");
            let mut answer = Vec::new();
            let mut asked = false;
            loop {
                let mut records = Vec::new();
                while connection.wants_write() {
                    connection.write_tls(&mut records).expect("a vector");
                }
                for piece in records.chunks(step) {
                    sock.write_all(piece).expect("it is open");
                }
                if answer.ends_with(long.as_bytes()) {
                    break;
                }
                connection.read_tls(&mut sock).expect("an answer");
                connection.process_new_packets().expect("the server does it right");
                let _ = connection.reader().read_to_end(&mut answer);
                if !asked && answer.ends_with(b"\r\n\r\n") {
                    asked = true;
                    for piece in ["short", &long].map(|text| sealed(&mut connection, text)) {
                        piece.chunks(step).for_each(|piece| sock.write_all(piece).expect("open"));
                    }
                }
            }
        }
    }
    rig.wait_for(|stats| stats.connections == 0);
    assert_eq!(rig.handle().stats().messages_received, 20);
}

/// A handshake message as long as they go, in records of one byte: it is not waited for.
#[test]
fn what_a_handshake_may_have_us_hold_is_limited() {
    // Whoever stays after he was told is cut.
    let setup = Setup::new().config(|config| config.close_timeout_ms = 250);
    let rig = setup.tls(config()).start();
    let mut stream = tcp(rig.address);
    let mut crumbs = Vec::new();
    let hello = [1, 0, 0xFF, 0xFF].into_iter().chain(std::iter::repeat_n(0, 0xFFFE));
    for byte in hello {
        crumbs.extend([22, 3, 1, 0, 1, byte]);
    }
    assert!(crumbs.len() > 300_000);
    // The end comes before all of it is sent, and what is sent after it may be answered by a reset.
    let _ = stream.write_all(&crumbs);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == 1);

    // Longer than rustls takes them.
    let mut stream = tcp(rig.address);
    let mut long = vec![22, 3, 1, 0x40, 0];
    long.extend([1, 1, 0, 0]);
    long.resize(5 + 0x4000, 0);
    stream.write_all(&long).expect("it is open");
    assert_eq!(read_to_end(&mut stream), b"", "rustls has no alert for that");
    rig.wait_for(|stats| stats.connections == 0 && stats.tls_failed == 2);
}
