//! From other threads: `Remote` for one connection, `Handle` for the server.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::thread;

use sockeye::{CloseCode, Closed, Refused, Stats};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{BINARY, CLOSE, PING, Peer, TEXT, close_payload, masked};
use sockeye_tests::rig::{Rig, Seen, Setup};

fn echo(peer: &mut Peer, text: &str) {
    peer.send_frame(TEXT, text.as_bytes());
    assert_eq!(peer.read_text(), text);
}

/// What one thread sends to one connection arrives in that order, text and binary, and the close
/// frame after it.
#[test]
fn ten_thousand_messages_arrive_in_order() {
    const COUNT: u32 = 10_000;
    let rig = Rig::echo();
    let (mut peer, remote) = rig.peer_and_remote();
    let sender = thread::spawn(move || {
        for n in 0..COUNT {
            match n % 2 {
                0 => remote.send(&n.to_be_bytes()).unwrap(),
                _ => remote.send(&n.to_string()).unwrap(),
            }
        }
        remote.close(CloseCode(4000), "that was all").unwrap();
    });
    for n in 0..COUNT {
        let frame = peer.read_frame();
        match n % 2 {
            0 => assert_eq!((frame.first, &frame.payload[..]), (BINARY, &n.to_be_bytes()[..])),
            _ => assert_eq!((frame.first, frame.payload), (TEXT, n.to_string().into_bytes())),
        }
    }
    sender.join().unwrap();
    assert_eq!(peer.read_close(), (4000, "that was all".into()));
    peer.send_frame(CLOSE, &close_payload(4000, ""));
    peer.expect_end();
    assert!(matches!(rig.next_closed(), Closed::ByHandler { code: CloseCode(4000) }));
}

/// Four threads send to one connection at the same time: each one's messages stay in order.
#[test]
fn each_thread_s_messages_stay_in_order() {
    const EACH: usize = 1_000;
    let rig = Rig::echo();
    let (mut peer, remote) = rig.peer_and_remote();
    thread::scope(|scope| {
        for name in 0..4 {
            let remote = remote.clone();
            scope.spawn(move || {
                (0..EACH).for_each(|n| remote.send(&format!("{name} {n}")).unwrap());
            });
        }
        let mut next = [0; 4];
        for _ in 0..4 * EACH {
            let text = peer.read_text();
            let (name, n) = text.split_once(' ').unwrap();
            let next = &mut next[name.parse::<usize>().unwrap()];
            assert_eq!(n.parse(), Ok(*next), "{text} out of order");
            *next += 1;
        }
        assert_eq!(next, [EACH; 4]);
    });
    peer.close(1000);
}

/// `is_open` turns false when the connection begins to close, by whichever side, and a `Remote` of
/// a closing connection is of no use from the same moment on.
#[test]
fn a_remote_knows_when_it_is_over() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            let before = ctx.remote();
            let was_open = before.is_open();
            ctx.close(CloseCode::NORMAL, "").unwrap();
            let results = (before.send("late"), ctx.remote().close(CloseCode::NORMAL, ""));
            note(format!("{was_open} {} {} {results:?}", before.is_open(), ctx.remote().is_open()));
        })
        .start();
    let (mut peer, by_handler) = rig.peer_and_remote();
    peer.send_frame(TEXT, b"close");
    assert_eq!(rig.next_note(), "true false false (Err(Closed), Err(Closed))");
    peer.read_close();
    peer.send_frame(CLOSE, &close_payload(1000, ""));
    peer.expect_end();
    rig.next_closed();

    let (peer, by_peer) = rig.peer_and_remote();
    assert!(by_peer.is_open());
    peer.close(1000);
    rig.next_closed();

    let (peer, lost) = rig.peer_and_remote();
    drop(peer);
    assert!(matches!(rig.next_closed(), Closed::Lost(None)));

    let (mut peer, by_remote) = rig.peer_and_remote();
    by_remote.close(CloseCode(4999), "").unwrap();
    assert_eq!(peer.read_close().0, 4999);
    peer.send_frame(CLOSE, &close_payload(4999, ""));
    peer.expect_end();
    rig.next_closed();

    for remote in [by_handler, by_peer, lost, by_remote] {
        assert!(!remote.is_open());
        assert_eq!(remote.send("late"), Err(Refused::Closed));
        assert_eq!(remote.close(CloseCode::NORMAL, ""), Err(Refused::Closed));
        assert!(!remote.clone().is_open());
    }
}

/// The `Remote` and the id of a connection that is gone never reach the one that has its place now.
#[test]
fn a_stale_remote_reaches_nobody() {
    let rig = Rig::echo();
    let mut stale = Vec::new();
    for round in 0..20 {
        let (mut peer, remote) = rig.peer_and_remote();
        for old in &stale {
            let old: &sockeye::Remote = old;
            assert_ne!(old.id(), remote.id());
            assert_eq!(old.send("for another"), Err(Refused::Closed));
            assert_eq!(old.close(CloseCode(4000), ""), Err(Refused::Closed));
            // The handle does not know; the shard does.
            assert_eq!(rig.handle().send_to(old.id(), "for another"), Ok(()));
            assert_eq!(rig.handle().close(old.id(), CloseCode(4000), ""), Ok(()));
        }
        remote.send("for you").unwrap();
        assert_eq!(peer.read_text(), "for you", "round {round}");
        assert!(remote.is_open());
        peer.close(1000);
        rig.next_closed();
        // Nobody else is here, so that its place is the next one's.
        rig.wait_for(|stats| stats.connections == 0);
        stale.push(remote);
    }
    let rest = rig.stop();
    assert!(rest.is_empty(), "{rest:?}");
}

/// `Handle::send_to` and `Handle::close` reach the connection that is named and no other.
#[test]
fn the_handle_reaches_the_one_that_is_named() {
    for shards in [1, 3] {
        let rig = Setup::new().shards(shards).start();
        let mut peers: Vec<_> = (0..20).map(|_| rig.peer_and_remote()).collect();
        for (n, (_, remote)) in peers.iter().enumerate() {
            rig.handle().send_to(remote.id(), &format!("you are {n}")).unwrap();
        }
        for (n, (peer, _)) in peers.iter_mut().enumerate() {
            assert_eq!(peer.read_text(), format!("you are {n}"));
        }
        let (mut closed, remote) = peers.remove(7);
        rig.handle().close(remote.id(), CloseCode(3000), "go").unwrap();
        assert_eq!(closed.read_close(), (3000, "go".into()));
        closed.send_frame(CLOSE, &close_payload(3000, ""));
        closed.expect_end();
        assert!(matches!(rig.next_closed(), Closed::ByHandler { code: CloseCode(3000) }));
        for (peer, remote) in &mut peers {
            assert!(remote.is_open());
            echo(peer, "still here");
        }
    }
}

/// A code that must not stand on the wire, or a reason that does not fit, is refused, and the
/// connection stays open; the longest reason goes.
#[test]
fn what_must_not_be_in_a_close_frame_is_refused() {
    let rig = Rig::echo();
    let (mut peer, remote) = rig.peer_and_remote();
    let long = "r".repeat(124);
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX];
    let bad = codes.map(|code| (code, "")).into_iter().chain([(1000, long.as_str())]);
    for (code, reason) in bad {
        let code = CloseCode(code);
        assert_eq!(remote.close(code, reason), Err(Refused::ControlFrame), "{code}");
        let refused = rig.handle().close(remote.id(), code, reason);
        assert_eq!(refused, Err(Refused::ControlFrame), "{code}");
    }
    assert!(remote.is_open());
    echo(&mut peer, "still open");
    remote.close(CloseCode::NORMAL, &long[..123]).unwrap();
    assert_eq!(peer.read_close(), (1000, long[..123].into()));
}

/// While a shard is held up `mailbox_max` commands wait and the next is refused; those that were
/// taken are carried out, and then there is room again.
#[test]
fn a_full_mailbox_refuses() {
    const MAX: usize = 10;
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let setup = Setup::new().config(|config| config.mailbox_max = MAX);
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, message| {
            if message.as_text() == Some("hold") {
                note("held".into());
                held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            ctx.send(message);
        })
        .start();
    let (mut peer, remote) = rig.peer_and_remote();
    for _ in 0..3 {
        peer.send_frame(TEXT, b"hold");
        assert_eq!(rig.next_note(), "held");
        for n in 0..MAX {
            assert_eq!(remote.send(&n.to_string()), Ok(()));
        }
        assert_eq!(remote.send("refused"), Err(Refused::Mailbox));
        assert_eq!(rig.handle().publish("t", "refused"), Err(Refused::Mailbox));
        let refused = rig.handle().close(remote.id(), CloseCode::NORMAL, "");
        assert_eq!(refused, Err(Refused::Mailbox));
        release.send(()).unwrap();
        assert_eq!(peer.read_text(), "hold");
        (0..MAX).for_each(|n| assert_eq!(peer.read_text(), n.to_string()));
        echo(&mut peer, "nothing else");
    }
}

/// A server that has stopped refuses everything, and still has its counts.
#[test]
fn a_stopped_server_refuses() {
    let rig = Setup::new().shards(2).start();
    let (mut peer, remote) = rig.peer_and_remote();
    let handle = rig.handle().clone();
    handle.shutdown();
    assert_eq!(peer.read_close().0, 1001);
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    let record = rig.stop();
    assert!(matches!(&record[..], [Seen::Closed(_, Closed::Shutdown)]), "{record:?}");
    assert_eq!(handle.publish("t", "x"), Err(Refused::Closed));
    assert_eq!(handle.send_to(remote.id(), "x"), Err(Refused::Closed));
    assert_eq!(handle.close(remote.id(), CloseCode::NORMAL, ""), Err(Refused::Closed));
    assert_eq!(remote.send("x"), Err(Refused::Closed));
    assert!(!remote.is_open());
    handle.shutdown();
    assert_eq!((handle.stats().opened, handle.stats().open), (1, 0));
}

/// The counts of a known course of events, all of them.
#[test]
fn the_counts_are_exact() {
    for shards in [1, 3] {
        let rig = Setup::new()
            .shards(shards)
            .open(|ctx| assert!(ctx.subscribe("t").unwrap()))
            .message(|ctx, message| {
                if message.as_text() == Some("close") {
                    ctx.publish("nobody", "x").unwrap();
                    ctx.send("bye");
                    ctx.close(CloseCode::NORMAL, "").unwrap();
                } else {
                    ctx.send(message);
                }
            })
            .start();
        let mut expected = Stats::default();
        let mut expect = |change: &dyn Fn(&mut Stats)| {
            change(&mut expected);
            rig.wait_for(|stats| stats == expected);
        };
        let silent = Peer::tcp(rig.address);
        expect(&|stats| (stats.accepted, stats.connections) = (1, 1));
        let mut rejected = Peer::tcp(rig.address);
        rejected.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert!(rejected.read_head().starts_with("HTTP/1.1 4"));
        expect(&|stats| (stats.accepted, stats.connections, stats.rejected) = (2, 2, 1));
        drop((silent, rejected));
        expect(&|stats| stats.connections = 0);

        let (mut one, remote) = rig.peer_and_remote();
        let (mut two, gone) = rig.peer_and_remote();
        expect(&|stats| {
            (stats.accepted, stats.connections) = (4, 2);
            (stats.opened, stats.open) = (2, 2);
        });
        one.send(&[masked(TEXT, b"a"), masked(PING, b"p"), masked(BINARY, b"b")].concat());
        two.send_frame(TEXT, b"c");
        expect(&|stats| (stats.messages_received, stats.messages_sent) = (3, 3));
        rig.handle().publish("t", "to both").unwrap();
        remote.send("to one").unwrap();
        expect(&|stats| stats.messages_sent = 6);
        two.send_frame(TEXT, b"close");
        assert_eq!(two.read_text(), "c");
        assert_eq!(two.read_text(), "to both");
        assert_eq!(two.read_text(), "bye");
        two.read_close();
        expect(&|stats| (stats.messages_received, stats.messages_sent) = (4, 7));
        // It is closing, then gone: nothing is sent to it.
        rig.handle().publish("t", "to the other").unwrap();
        rig.handle().send_to(gone.id(), "to nobody").unwrap();
        expect(&|stats| stats.messages_sent = 8);
        drop(two);
        expect(&|stats| (stats.connections, stats.open) = (1, 1));
        rig.handle().send_to(gone.id(), "to nobody").unwrap();
        one.send_frame(0x83, b"a reserved opcode");
        expect(&|stats| (stats.protocol_errors, stats.open) = (1, 0));
        drop(one);
        expect(&|stats| stats.connections = 0);
    }
}

/// Dropping `Running` is a shutdown: 1001 to all, the threads end, and nobody listens any more.
#[test]
fn dropping_a_running_server_shuts_it_down() {
    let (server, script, record) = Setup::new().shards(2).server();
    let running = server.spawn(move |_| script.clone()).unwrap();
    let (address, handle) = (running.local_addr(), running.handle().clone());
    let mut peer = Peer::open(address);
    let stopper = thread::spawn(move || drop(running));
    assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    stopper.join().unwrap();
    assert_eq!(handle.publish("t", "x"), Err(Refused::Closed));
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
    let record: Vec<_> = record.iter().collect();
    assert!(
        matches!(&record[..], [Seen::Open(_), Seen::Closed(_, Closed::Shutdown)]),
        "the handlers are gone with it: {record:?}"
    );
}

/// Any thread gets the same word about a topic's name as a callback does.
#[test]
fn a_handle_checks_the_topic_s_name() {
    let rig = Setup::new().config(|config| config.topic_bytes_max = 8).start();
    let name_of = |bytes: usize| "n".repeat(bytes);
    assert_eq!(rig.handle().publish("", "x"), Err(Refused::TopicName));
    assert_eq!(rig.handle().publish(&name_of(9), "x"), Err(Refused::TopicName));
    assert_eq!(rig.handle().publish(&name_of(8), "x"), Ok(()));
}
