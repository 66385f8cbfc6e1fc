//! The server in the author's hands: builder, shards in loops and on threads of their own, and the
//! end of it all.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use sockeye::{
    Backend, Closed, Config, Ctx, Error, Handler, Message, Request, Server, Upgrade, UringConfig,
};
use sockeye_tests::PATIENCE;
use sockeye_tests::peer::{BINARY, CLOSE, Peer, REQUEST, TEXT, close_payload};
use sockeye_tests::rig::{Rig, Seen, Setup, backend};

fn bind() -> Server {
    Server::bind("127.0.0.1:0").expect("loopback").backend(backend())
}

/// A handler that says which shard it is; "end" ends the server.
struct Numbered(usize);

impl Handler for Numbered {
    type Session = usize;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<usize> {
        Upgrade::accept(self.0)
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        if message.as_text() == Some("end") {
            ctx.handle().shutdown();
        } else {
            assert_eq!(*ctx.session(), self.0);
            ctx.send(&*self.0.to_string());
        }
    }
}

/// Connects until connections have been on `shards` different shards.
fn visit_all(address: std::net::SocketAddr, shards: usize) {
    let mut seen = HashSet::new();
    // The kernel spreads connections by a hash: with 1,000 none of a few shards is left out.
    for _ in 0..1_000 {
        let mut peer = Peer::open(address);
        peer.send_frame(TEXT, b"which?");
        seen.insert(peer.read_text());
        peer.close(1000);
        if seen.len() == shards {
            return;
        }
    }
    panic!("only {seen:?}");
}

/// Has the server shut itself down.
fn end(address: std::net::SocketAddr) {
    let mut peer = Peer::open(address);
    peer.send_frame(TEXT, b"end");
    assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
}

/// A shard in another loop: its descriptor and its deadline are all that the loop watches, and a
/// turn does not wait. After a shutdown it is done when the last peer has answered.
#[test]
fn a_shard_in_another_loop() {
    let mut server = Setup::new().by_hand();
    let mut first = server.peer();
    let mut second = server.peer();
    for text in ["one", "two"] {
        for peer in [&mut first, &mut second] {
            peer.send_frame(TEXT, text.as_bytes());
            server.turn_until(|_| peer.has_input());
            assert_eq!(peer.read_text(), text);
        }
    }
    assert_eq!((server.handle.stats().open, server.shard.is_done()), (2, false));

    server.handle.shutdown();
    for peer in [&mut first, &mut second] {
        server.turn_until(|_| peer.has_input());
        assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    }
    first.send_frame(CLOSE, &close_payload(1001, ""));
    server.turn_until(|server| server.handle.stats().open == 1);
    first.expect_end();
    drop(first);
    server.turn_until(|server| server.handle.stats().connections == 1);
    assert!(!server.shard.is_done(), "the second one has not answered");
    second.send_frame(CLOSE, &close_payload(1001, ""));
    server.turn_until(|server| server.handle.stats().open == 0);
    second.expect_end();
    drop(second);
    server.turn_until(|server| server.shard.is_done());
    let closed =
        server.record.try_iter().filter(|seen| matches!(seen, Seen::Closed(_, Closed::Shutdown)));
    assert_eq!(closed.count(), 2);
}

/// What one turn leaves undone because a connection used up its share is announced, although no
/// descriptor becomes readable for it.
#[test]
fn a_turn_that_leaves_bytes_unread_asks_for_another() {
    let mut server = Setup::new()
        .config(|config| {
            config.receive_buffer_bytes = 1_000;
            config.receive_bytes_per_turn_max = 1_000;
        })
        .by_hand();
    let mut peer = server.peer();
    peer.send_frame(BINARY, &[7; 20_000]);
    server.turn_until(|_| peer.has_input());
    let echo = peer.read_frame();
    assert_eq!((echo.first, echo.payload), (BINARY, vec![7; 20_000]));
}

/// Connections that had to wait for another to leave are announced, too, although the listener was
/// readable long before.
#[test]
fn a_turn_that_leaves_connections_waiting_asks_for_another() {
    let mut server = Setup::new()
        .config(|config| {
            config.connections_per_shard_max = 1;
            // Nothing else is due.
            (config.ping_interval_ms, config.idle_timeout_ms) = (0, 0);
            config.handshake_timeout_ms = 4 * PATIENCE.as_millis() as u32;
            config.close_timeout_ms = config.handshake_timeout_ms;
        })
        .by_hand();
    let mut peers: Vec<_> = (0..4).map(|_| Peer::tcp(server.address)).collect();
    for peer in &mut peers {
        peer.send(REQUEST.as_bytes());
    }
    for mut peer in peers {
        server.turn_until(|_| peer.has_input());
        assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
        peer.send_frame(CLOSE, &close_payload(1000, ""));
        server.turn_until(|_| peer.has_input());
        assert_eq!(peer.read_close(), (1000, String::new()));
        peer.expect_end();
    }
    server.turn_until(|server| server.handle.stats().connections == 0);
    assert_eq!(server.handle.stats().opened, 4);
}

/// A command from another thread makes the descriptor readable.
#[test]
fn mail_calls_the_loop() {
    let mut server = Setup::new().by_hand();
    let mut peer = server.peer();
    let Ok(Seen::Open(remote)) = server.record.try_recv() else { panic!("not opened") };
    let sender = thread::spawn(move || remote.send("from another thread"));
    server.turn_until(|_| peer.has_input());
    assert_eq!(peer.read_text(), "from another thread");
    assert_eq!(sender.join().expect("no panic"), Ok(()));
}

/// `turn` may do the waiting: until the time it is given, and not a moment longer than there is
/// something to do.
#[test]
fn a_turn_waits_until_it_is_told() {
    let mut server = Setup::new().config(|config| config.ping_interval_ms = 0).by_hand();
    let mut peer = server.peer();
    server.shard.turn(Some(Instant::now())).unwrap();
    peer.send_frame(TEXT, b"hello");
    let begun = Instant::now();
    while !peer.has_input() {
        assert!(begun.elapsed() < PATIENCE);
        server.shard.turn(Some(Instant::now() + PATIENCE)).unwrap();
    }
    assert_eq!(peer.read_text(), "hello");
}

/// Two shards on two threads of the test's own: both get connections, and each has its handler.
#[test]
fn shards_on_threads_of_ones_own() {
    let server = bind().backend(Backend::Epoll).shards(2);
    assert_eq!(server.shard_count(), 2);
    let address = server.local_addr();
    let builders = server.build().unwrap();
    let numbers: Vec<_> = builders.iter().map(|builder| builder.number()).collect();
    assert_eq!(numbers, [0, 1]);
    let handle = builders[0].handle();
    thread::scope(|scope| {
        for builder in builders {
            scope.spawn(move || {
                let number = builder.number();
                let mut shard = builder.start(Numbered(number)).expect("a shard");
                while !shard.is_done() {
                    shard.turn(None).expect("a turn");
                }
            });
        }
        visit_all(address, 2);
        end(address);
    });
    let stats = handle.stats();
    assert_eq!((stats.connections, stats.accepted), (0, stats.opened));
}

/// `run` has a handler for each shard, made on its thread, and one of the threads is the caller's;
/// it ends well on a shutdown.
#[test]
fn run_ends_on_shutdown() {
    for shards in [1, 3] {
        let server = bind().backend(Backend::Epoll).shards(shards);
        let address = server.local_addr();
        let (made, threads) = mpsc::channel();
        let made = std::sync::Mutex::new(made);
        let runs = thread::spawn(move || {
            let result = server.run(move |number| {
                made.lock().unwrap().send((number, thread::current().id())).unwrap();
                Numbered(number)
            });
            (result, thread::current().id())
        });
        // Once there is a handler the server listens.
        let first = threads.recv().unwrap();
        visit_all(address, shards);
        end(address);
        let (result, caller) = runs.join().unwrap();
        result.unwrap();
        let made: Vec<_> = std::iter::once(first).chain(threads).collect();
        let numbers: HashSet<_> = made.iter().map(|(number, _)| *number).collect();
        let threads: HashSet<_> = made.iter().map(|(_, thread)| *thread).collect();
        assert_eq!((made.len(), numbers.len(), threads.len()), (shards, shards, shards));
        assert!(threads.contains(&caller), "no thread more than shards");
    }
}

/// Dropping a server in the background shuts it down and waits for its end.
#[test]
fn dropping_a_running_server_ends_it() {
    let running = bind().backend(Backend::Epoll).shards(2).spawn(Numbered).unwrap();
    let (address, handle) = (running.local_addr(), running.handle().clone());
    let mut peer = Peer::open(address);
    let dropper = thread::spawn(move || drop(running));
    assert_eq!(peer.read_close(), (1001, "the server shuts down".into()));
    peer.send_frame(CLOSE, &close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    dropper.join().unwrap();
    assert_eq!(handle.stats().connections, 0);
    assert_eq!(handle.publish("topic", "too late"), Err(sockeye::Refused::Closed));
    // The address is free again.
    TcpListener::bind(address).unwrap();
}

/// A shutdown before the first turn, and a second one, end a server all the same.
#[test]
fn shutdown_at_any_time() {
    let running = bind().backend(Backend::Epoll).shards(2).spawn(Numbered).unwrap();
    running.handle().shutdown();
    running.handle().shutdown();
    running.join().unwrap();

    let mut server = Setup::new().by_hand();
    server.handle.shutdown();
    server.turn_until(|server| server.shard.is_done());
    server.handle.shutdown();
}

/// Shards that are dropped unstarted leave nothing behind.
#[test]
fn shards_that_are_never_started() {
    let server = bind().shards(3);
    let address = server.local_addr();
    drop(server.build().unwrap());
    TcpListener::bind(address).unwrap();
}

/// Port 0 gives a port; an address in use, of another machine, or that is none is refused with a
/// line that says so.
#[test]
fn addresses() {
    let server = bind();
    let address = server.local_addr();
    assert_ne!(address.port(), 0);
    let running = server.backend(Backend::Epoll).shards(2).spawn(Numbered).unwrap();
    let error = Server::bind(address).unwrap_err();
    let in_use = format!("{address} is in use by another process: stop it or choose another port");
    assert_eq!(error.to_string(), in_use);
    let Error::Listen { address: refused, cause } = error else { panic!("{error:?}") };
    assert_eq!((refused, cause.kind()), (address, ErrorKind::AddrInUse));
    drop(running);

    // Where both have the address and neither listens yet, the second to listen is told.
    let (first, second) = (Server::bind(address).unwrap(), Server::bind(address).unwrap());
    let _shards = first.shards(1).build().unwrap();
    assert_eq!(second.shards(1).build().unwrap_err().to_string(), in_use);

    // RFC 5737: an address for documentation is nobody's.
    let error = Server::bind("192.0.2.1:80").unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.1:80 is not an address of this machine");
    assert!(std::error::Error::source(&error).is_some(), "the system's word is kept");

    for none in ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", ""] {
        let error = Server::bind(none).unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{none}: {error:?}");
    }
    let error = Server::bind(&[][..]).unwrap_err();
    assert_eq!(error.to_string(), "the name has no address");
}

/// Of several addresses the first that can be had is taken.
#[test]
fn the_first_free_address_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let addresses = [taken, "127.0.0.1:0".parse().unwrap()];
    let server = Server::bind(&addresses[..]).unwrap();
    assert_ne!(server.local_addr(), taken);
    drop(listener);
}

/// What a server cannot be is refused by all three ways to start it.
#[test]
fn what_cannot_be_started_is_refused() {
    let shards = "shards must be 1 to 65535";
    let nonsense = "mailbox_max must be at least 1";
    type Spoil = fn(Server) -> Server;
    let with = |spoil: fn(&mut UringConfig)| {
        let mut config = Config::default();
        spoil(&mut config.io_uring);
        config.check().unwrap_err().to_string()
    };
    for (line, setting) in [
        (with(|ring| ring.submissions = 1_000), "submissions"),
        (with(|ring| ring.completions = 512), "completions"),
        (with(|ring| ring.buffers = 0), "buffers"),
        (with(|ring| ring.buffer_bytes = 0), "buffer_bytes"),
        (with(|ring| ring.zero_copy_bytes_min = Some(0)), "zero_copy_bytes_min"),
    ] {
        assert!(line.starts_with(&format!("io_uring.{setting} must be ")), "{line}");
    }
    let bad: [(Spoil, &str); 3] = [
        (|server| server.shards(0), shards),
        (|server| server.shards(65_536), shards),
        (|server| server.config(Config { mailbox_max: 0, ..Config::default() }), nonsense),
    ];
    for (spoil, line) in bad {
        assert_eq!(spoil(bind()).build().unwrap_err().to_string(), line);
        assert_eq!(spoil(bind()).run(Numbered).unwrap_err().to_string(), line);
        assert_eq!(spoil(bind()).spawn(Numbered).unwrap_err().to_string(), line);
    }
    assert_eq!(
        Backend::Epoll.resolve(1, &Config::default().io_uring).unwrap().backend,
        Backend::Epoll
    );
    let auto = Backend::Auto.resolve(1, &Config::default().io_uring).unwrap();
    match Backend::IoUring.resolve(1, &Config::default().io_uring) {
        Ok(chosen) => {
            assert_eq!(chosen.backend, Backend::IoUring);
            assert_eq!(auto.backend, Backend::IoUring, "{}", auto.reason);
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("io-uring is not to be had: "), "{line}");
            assert_eq!((auto.backend, &*auto.reason), (Backend::Epoll, &*format!("auto: {line}")));
            let refused = bind().backend(Backend::IoUring).build().unwrap_err();
            assert_eq!(refused.to_string(), line);
        }
    }
    for backend in [Backend::Auto, Backend::Epoll, Backend::IoUring] {
        assert_eq!(backend.to_string().parse::<Backend>().unwrap(), backend);
    }
    assert!(matches!("kqueue".parse::<Backend>(), Err(Error::Backend(_))));
}

/// 2,000 connections, 100 at a time, some closed by the book and some not: all are counted in, and
/// all are counted out.
#[test]
fn a_storm_of_connections() {
    const BATCHES: u64 = 20;
    const BATCH: u64 = 100;
    let rig = Setup::new().shards(2).start();
    for _ in 0..BATCHES {
        let mut peers: Vec<_> = (0..BATCH).map(|_| Peer::tcp(rig.address)).collect();
        peers.iter_mut().for_each(|peer| peer.send(REQUEST.as_bytes()));
        for peer in &mut peers {
            assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
        }
        for (n, mut peer) in peers.into_iter().enumerate() {
            match n % 4 {
                0 => drop(peer),
                1 => {
                    peer.send_frame(TEXT, b"not read");
                    assert_eq!(peer.stream().peek(&mut [0]).unwrap(), 1);
                    peer.reset();
                }
                _ => peer.close(1000),
            }
        }
    }
    let all = BATCHES * BATCH;
    rig.wait_for(|stats| stats.opened == all && stats.connections == 0);
    let stats = rig.handle().stats();
    assert_eq!((stats.accepted, stats.open, stats.rejected), (all, 0, 0));
    // What a driver counts of its troubles: there were none.
    assert_eq!((stats.completion_overflows, stats.accept_backoffs), (0, 0));
    assert_eq!(rig.handle().backend().backend, backend());
    assert_all_closed(rig, all as usize);
}

fn assert_all_closed(rig: Rig, expected: usize) {
    let record = rig.stop();
    let (mut opened, mut lost, mut by_peer) = (0, 0, 0);
    for seen in &record {
        match seen {
            Seen::Open(_) => opened += 1,
            Seen::Closed(_, Closed::Lost(_)) => lost += 1,
            Seen::Closed(_, Closed::ByPeer { .. }) => by_peer += 1,
            Seen::Closed(_, why) => panic!("{why:?}"),
            _ => {}
        }
    }
    assert_eq!((opened, lost, by_peer), (expected, expected / 2, expected / 2));
}
