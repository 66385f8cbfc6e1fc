//! One panic, one connection: the handler's panics close theirs with 1011, and nothing else.

use std::panic::panic_any;

use sockeye::{CloseCode, Closed, Message, Upgrade};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{BINARY, CLOSE, Peer, REQUEST, TEXT, close_payload, masked};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// An echo server where connections to `/panic` are called "panic".
fn setup() -> Setup {
    Setup::new().upgrade(|request| {
        let name = request.path().trim_start_matches('/').into();
        Upgrade::accept(Session { name, ..Session::default() })
    })
}

fn doomed_request() -> String {
    REQUEST.replacen("GET / ", "GET /panic ", 1)
}

/// An echo server that panics at each message of a [`doomed`] one.
fn echoing_but_for_the_doomed() -> Setup {
    setup().message(|ctx, message| {
        assert_ne!(ctx.session().name, "panic");
        ctx.send(message);
    })
}

/// A connection that is to panic.
fn doomed(rig: &Rig) -> Peer {
    Peer::open_with(rig.address, &doomed_request()).0
}

fn assert_echoes(peer: &mut Peer) {
    peer.send_frame(TEXT, b"still there?");
    assert_eq!(peer.read_text(), "still there?");
}

/// The server closes with 1011; the peer answers; the server's FIN follows.
fn expect_internal_error(mut peer: Peer) {
    assert_eq!(peer.read_close(), (1011, "internal error".into()));
    peer.send_frame(CLOSE, &close_payload(1011, ""));
    peer.expect_end();
}

/// What is left of a connection that panicked: `closed` once, with the session it had and
/// [`Closed::Panicked`]; the bystander's echo; and a new connection.
fn assert_one_connection_panicked(rig: Rig, bystander: Peer) {
    assert_one_connection_ended(rig, bystander, |why| matches!(why, Closed::Panicked));
}

fn assert_one_connection_ended(
    rig: Rig,
    mut bystander: Peer,
    is_expected: impl Fn(&Closed) -> bool,
) {
    let (session, why) = rig.skip_to(|seen| match seen {
        Seen::Closed(session, why) => Some((session, why)),
        _ => None,
    });
    assert_eq!(session.name, "panic");
    assert!(is_expected(&why), "{why:?}");
    assert_echoes(&mut bystander);
    let mut later = rig.peer();
    assert_echoes(&mut later);
    rig.wait_for(|stats| stats.connections == 2 && stats.panics == 1);
    let stats = rig.handle().stats();
    assert_eq!((stats.open, stats.protocol_errors), (2, 0));
    bystander.close(1000);
    later.close(1000);
    let rest = rig.stop();
    let panicked =
        |seen: &&Seen| matches!(seen, Seen::Closed(session, _) if session.name == "panic");
    assert_eq!(rest.iter().filter(panicked).count(), 0, "closed twice: {rest:?}");
}

/// In `upgrade`: the request is answered with a 500.
#[test]
fn in_the_upgrade_hook() {
    let rig = Setup::new()
        .upgrade(|request| match request.path() {
            "/panic" => panic!("the hook failed"),
            _ => Upgrade::accept(Session::default()),
        })
        .start();
    let mut bystander = rig.peer();
    let head = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 15\r\n\
                Content-Type: text/plain\r\n\r\n";
    for (method, answer) in [("GET", format!("{head}internal error\n")), ("HEAD", head.into())] {
        let mut peer = Peer::tcp(rig.address);
        // What follows the request is read by nobody, and brings about no reset.
        let request = doomed_request().replacen("GET", method, 1);
        peer.send(&[request.as_bytes(), &[b'x'; 10_000]].concat());
        assert_eq!(String::from_utf8(peer.read_to_end()).unwrap(), answer);
    }
    assert_echoes(&mut bystander);
    rig.wait_for(|stats| stats.connections == 1);
    let stats = rig.handle().stats();
    assert_eq!((stats.accepted, stats.opened, stats.rejected, stats.panics), (3, 1, 2, 2));
    assert_echoes(&mut rig.peer());
}

/// In `open`: no message follows, also none that came with the request.
#[test]
fn in_open() {
    let rig = setup()
        .open(|ctx| {
            if ctx.session().name == "panic" {
                ctx.send("before");
                panic!("open failed");
            }
        })
        .start();
    let mut bystander = rig.peer();
    assert_echoes(&mut bystander);
    let mut peer = Peer::tcp(rig.address);
    peer.send(&[doomed_request().as_bytes(), &masked(TEXT, b"too late")].concat());
    assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.read_text(), "before", "what was sent before the panic leaves");
    expect_internal_error(peer);
    let seen = [rig.next(), rig.next(), rig.next()];
    assert!(matches!(&seen, [Seen::Open(_), Seen::Text(_), Seen::Open(_)]), "{seen:?}");
    assert!(matches!(rig.next(), Seen::Closed(_, Closed::Panicked)), "closed, and no message");
}

/// In `message`, for every type of payload that a panic can have.
#[test]
fn in_message_with_any_payload() {
    let payloads: [fn(); 4] = [
        || panic!("a literal"),
        || panic!("{} formatted", "a String,"),
        || panic_any(7_u32),
        || std::hint::black_box(Vec::<u8>::new())[0] += 1,
    ];
    for panics in payloads {
        let rig = setup()
            .message(move |ctx, message| {
                ctx.send(message);
                if ctx.session().name == "panic" {
                    panics();
                }
            })
            .start();
        let mut bystander = rig.peer();
        assert_echoes(&mut bystander);
        let mut peer = doomed(&rig);
        peer.send_frame(TEXT, b"echoed before the panic");
        assert_eq!(peer.read_text(), "echoed before the panic");
        expect_internal_error(peer);
        assert_one_connection_panicked(rig, bystander);
    }
}

/// In `message` with a message that was put together from fragments and reads.
#[test]
fn in_message_with_a_message_in_pieces() {
    let rig = echoing_but_for_the_doomed().start();
    let mut bystander = rig.peer();
    let mut peer = doomed(&rig);
    peer.send_frame(0x02, &[1; 100_000]);
    // Another message under way on the same shard meanwhile.
    bystander.send_frame(0x01, b"first half, ");
    peer.send_frame(0x80, &[2; 100_000]);
    expect_internal_error(peer);
    bystander.send_frame(0x80, b"second half");
    assert_eq!(bystander.read_text(), "first half, second half");
    assert_one_connection_panicked(rig, bystander);
}

/// In `chunk`.
#[test]
fn in_chunk() {
    let rig = Setup::new()
        .upgrade(|request| {
            let name = request.path().trim_start_matches('/').into();
            let session = Session { name, ..Session::default() };
            match request.path() {
                "/panic" => Upgrade::accept(session).streaming(),
                _ => Upgrade::accept(session),
            }
        })
        .chunk(|ctx, chunk| {
            ctx.send(Message::Binary(chunk.payload));
            assert!(chunk.first, "the second chunk");
        })
        .start();
    let bystander = rig.peer();
    let mut peer = doomed(&rig);
    peer.send_frame(0x02, b"first");
    assert_eq!(peer.read_frame().payload, b"first");
    peer.send_frame(0x80, b"second");
    assert_eq!(peer.read_frame().payload, b"second");
    expect_internal_error(peer);
    assert_one_connection_panicked(rig, bystander);
}

/// In `drained`: the backlog was sent, and the close frame follows it.
#[test]
fn in_drained() {
    const BYTES: usize = 24 << 20;
    let rig = setup()
        .message(|ctx, message| {
            if ctx.session().name == "panic" {
                ctx.send(&*vec![7; BYTES]);
            } else {
                ctx.send(message);
            }
        })
        .drained(|_| panic!("drained failed"))
        .start();
    let bystander = rig.peer();
    let mut peer = doomed(&rig);
    peer.send_frame(TEXT, b"send me more than the sockets hold");
    let frame = peer.read_frame();
    assert_eq!((frame.first, frame.payload.len()), (BINARY, BYTES));
    expect_internal_error(peer);
    assert_one_connection_panicked(rig, bystander);
}

/// In `closed`: it is not called again, and the closing handshake has ended as ever.
#[test]
fn in_closed() {
    let setup = setup();
    let note = setup.notes();
    let rig = setup
        .closed(move |_, session, why| {
            if session.name == "panic" {
                note(format!("{why}"));
                panic!("closed failed");
            }
        })
        .start();
    let mut bystander = rig.peer();
    doomed(&rig).close(4000);
    assert_eq!(rig.next_note(), "closed by the peer (4000)");
    assert_echoes(&mut bystander);
    assert_echoes(&mut rig.peer());
    rig.wait_for(|stats| stats.panics == 1 && stats.connections == 1);
    bystander.close(1000);
    let rest = rig.stop();
    assert!(!rest.iter().any(|seen| matches!(seen, Seen::Note(_))), "closed twice: {rest:?}");
}

/// In `message` and again in `closed`.
#[test]
fn in_message_and_in_closed() {
    let setup = setup();
    let note = setup.notes();
    let rig = setup
        .message(|_, _| panic!("message failed"))
        .closed(move |_, _, why| {
            note(format!("{why}"));
            panic!("closed failed");
        })
        .start();
    let mut peer = doomed(&rig);
    peer.send_frame(TEXT, b"");
    expect_internal_error(peer);
    assert_eq!(rig.next_note(), "the handler panicked (1011)");
    rig.wait_for(|stats| stats.panics == 2 && stats.connections == 0);
    let rest = rig.stop();
    assert!(rest.is_empty(), "closed twice: {rest:?}");
}

/// After `close`: there is one close frame, the handler's, and its code is what `closed` is told.
#[test]
fn after_close() {
    let rig = setup()
        .message(|ctx, message| {
            if ctx.session().name == "panic" {
                ctx.close(CloseCode(4001), "done").unwrap();
                panic!("after the close");
            }
            ctx.send(message);
        })
        .start();
    let bystander = rig.peer();
    let mut peer = doomed(&rig);
    peer.send_frame(TEXT, b"");
    assert_eq!(peer.read_close(), (4001, "done".into()));
    peer.send_frame(CLOSE, &close_payload(4001, ""));
    peer.expect_end();
    drop(peer);
    assert_one_connection_ended(rig, bystander, |why| {
        matches!(why, Closed::ByHandler { code: CloseCode(4001) })
    });
}

/// In the middle of several messages in one read: the first are answered, the later ones are not
/// delivered.
#[test]
fn in_the_middle_of_a_batch() {
    let rig = setup()
        .message(|ctx, message| {
            assert_ne!(message.as_text(), Some("panic"));
            ctx.send(message);
        })
        .start();
    let mut bystander = rig.peer();
    assert_echoes(&mut bystander);
    let mut peer = doomed(&rig);
    peer.send(
        &["one", "two", "panic", "four", "five"].map(|text| masked(TEXT, text.as_bytes())).concat(),
    );
    assert_eq!(peer.read_text(), "one");
    assert_eq!(peer.read_text(), "two");
    peer.send_frame(TEXT, b"six");
    expect_internal_error(peer);
    let mut texts = Vec::new();
    let why = rig.skip_to(|seen| match seen {
        Seen::Text(text) => {
            texts.push(text);
            None
        }
        Seen::Closed(_, why) => Some(why),
        _ => None,
    });
    assert!(matches!(why, Closed::Panicked), "{why:?}");
    assert_eq!(texts, ["still there?", "one", "two", "panic"]);
    assert_echoes(&mut bystander);
}

/// A close frame in the same read, behind the message that panics, is the answer to 1011: nobody
/// waits for another one.
#[test]
fn with_the_peers_close_in_the_same_read() {
    let rig = echoing_but_for_the_doomed()
        .config(|config| config.close_timeout_ms = 2 * PATIENCE.as_millis() as u32)
        .start();
    let bystander = rig.peer();
    let mut peer = doomed(&rig);
    let close = masked(CLOSE, &close_payload(1000, ""));
    peer.send(&[masked(TEXT, b""), masked(TEXT, b"not delivered"), close].concat());
    assert_eq!(peer.read_close(), (1011, "internal error".into()));
    peer.expect_end();
    drop(peer);
    assert_one_connection_panicked(rig, bystander);
}

/// A frame that was cut by the end of the read that panicked is still one frame: what follows is
/// no protocol error, and the peer's answer is understood.
#[test]
fn with_half_a_frame_in_the_same_read() {
    let rig = echoing_but_for_the_doomed().start();
    let bystander = rig.peer();
    let mut peer = doomed(&rig);
    let (panics, later) = (masked(TEXT, b""), masked(BINARY, &[0xFF; 1_000]));
    let (begin, end) = later.split_at(500);
    peer.send(&[&panics, begin].concat());
    assert_eq!(peer.read_close(), (1011, "internal error".into()));
    peer.send(end);
    peer.send_frame(CLOSE, &close_payload(1011, ""));
    peer.expect_end();
    drop(peer);
    assert_one_connection_panicked(rig, bystander);
}
