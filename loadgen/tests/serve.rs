//! The command line of `sockeye`, from outside: what it prints, how it ends, what it serves.

#[path = "serve/backends.rs"]
mod backends;
#[allow(dead_code, reason = "other tests need other parts of it")]
#[path = "serve/process.rs"]
mod process;
#[path = "serve/tls.rs"]
mod tls;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use process::{Ended, PATIENCE, Process, Server};
use rustix::process::Signal;
use sockeye::{Backend, Config};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

type Client = WebSocket<TcpStream>;

fn connect(address: SocketAddr) -> Client {
    shake_hands(address, TcpStream::connect(address).expect("it listens"))
}

fn shake_hands(address: SocketAddr, stream: TcpStream) -> Client {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let (client, _) = tungstenite::client(format!("ws://{address}/"), stream).expect("accepted");
    client
}

fn assert_echoes(client: &mut Client, message: Message) {
    client.send(message.clone()).expect("it is open");
    assert_eq!(client.read().expect("it is open"), message);
}

/// The close frame, then the end of the TCP connection.
fn assert_closed(client: &mut Client, code: CloseCode) {
    match client.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, code),
        other => panic!("{other:?} instead of a close frame"),
    }
    match client.read() {
        Err(Error::ConnectionClosed) => {}
        other => panic!("{other:?} instead of the end"),
    }
}

/// The one line that says why it failed.
fn assert_one_error_line(ended: &Ended) -> &str {
    assert!(!ended.status.success(), "it succeeded");
    assert_eq!(ended.stdout, [""; 0]);
    match &ended.stderr[..] {
        [line] => line.strip_prefix("sockeye: ").expect("it says who speaks"),
        lines => panic!("not one line: {lines:?}"),
    }
}

#[test]
fn ready_line_names_address_backend_and_shards() {
    let auto = Backend::Auto.resolve(3, &Config::default().io_uring).expect("epoll at the least");
    let auto = format!("(backend {}, 3 shards; {})", auto.backend, auto.reason);
    let named = "(backend epoll, 2 shards; asked for by name)";
    for (arguments, end) in [
        (&["--shards", "2", "--backend", "epoll"][..], named),
        (&["--shards", "3", "--backend", "auto"], &auto),
        (&["--shards", "3"], &auto),
    ] {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let process = Process::start(&all);
        let line = process.next_line();
        let rest = line.strip_prefix("listening on ws://127.0.0.1:").expect("the ready line");
        let (port, rest) = rest.split_once(' ').expect("the ready line");
        let port: u16 = port.parse().expect("a port");
        assert_eq!(rest, end);
        let mut client = connect(([127, 0, 0, 1], port).into());
        assert_echoes(&mut client, Message::text("here"));
    }
}

#[test]
fn without_options_every_processor_has_a_shard() {
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0"]);
    let processors = std::thread::available_parallelism().expect("Linux tells");
    let line = process.next_line();
    let shards = format!(", {processors} shards; ");
    assert!(line.contains(&shards), "{line:?} does not say {shards:?}");
}

#[test]
fn echo_keeps_the_kind() {
    let server = Server::start(&["--app", "echo", "--shards", "2"]);
    let mut client = connect(server.address);
    for text in ["", "sockeye 🐟", &"ÿ".repeat(100_000)] {
        assert_echoes(&mut client, Message::text(text));
        assert_echoes(&mut client, Message::binary(text.as_bytes().to_vec()));
    }
    assert_echoes(&mut client, Message::binary(vec![0xff; 1 << 20]));
}

#[test]
fn broadcast_reaches_everyone_on_both_shards() {
    let server = Server::start(&["--app", "broadcast", "--shards", "2"]);
    // Enough that the kernel, which spreads them, gives some to each shard.
    let mut clients: Vec<Client> = (0..24).map(|_| connect(server.address)).collect();
    // A connection is subscribed before anything that it sends is looked at.
    for client in &mut clients {
        client.send(Message::Ping(b"subscribed?".as_slice().into())).expect("it is open");
        assert!(client.read().expect("it is open").is_pong());
    }
    for sender in [0, 7, 23] {
        for message in [
            Message::text(format!("from {sender} 📣")),
            Message::binary(vec![sender as u8; 70_000]),
        ] {
            clients[sender].send(message.clone()).expect("it is open");
            for client in &mut clients {
                assert_eq!(client.read().expect("it is open"), message);
            }
        }
    }
}

/// Where the kernel has it and lets us; else one line says why not.
#[test]
fn io_uring_serves_or_says_why_not() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", "io-uring"];
    if Backend::IoUring.resolve(2, &Config::default().io_uring).is_err() {
        let ended = Process::run(&arguments);
        let line = assert_one_error_line(&ended);
        assert!(line.contains("io-uring is not to be had: "), "{line}");
        return;
    }
    let server = Server::start(&["--backend", "io-uring", "--shards", "2"]);
    let mut clients: Vec<Client> = (0..16).map(|_| connect(server.address)).collect();
    for client in &mut clients {
        assert_echoes(client, Message::text("over the ring"));
        assert_echoes(client, Message::binary(vec![7; 1 << 20]));
    }
    server.process.signal(Signal::TERM);
    for client in &mut clients {
        assert_closed(client, CloseCode::Away);
    }
    drop(clients);
    assert_eq!(server.process.wait().status.code(), Some(0));
}

/// What the server agrees to, asked with everything that a client can offer.
fn agreed(arguments: &[&str]) -> Option<String> {
    let server = Server::start(arguments);
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is open");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("it is open"));
    let mut lines = lines.take_while(|line| !line.is_empty());
    lines.find_map(|line| Some(line.strip_prefix("Sec-WebSocket-Extensions: ")?.to_owned()))
}

#[test]
fn compression_is_agreed_on_as_the_options_say() {
    assert_eq!(agreed(&[]), None);
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(agreed(&["--deflate"]).as_deref(), Some(both));
    let windows = ["--deflate-server-window", "10", "--deflate-client-window", "9"];
    let levels = ["--deflate-level", "1", "--deflate-memory-level", "1", "--deflate-min", "0"];
    for (takeover, parameters) in [
        ("none", "; server_no_context_takeover; client_no_context_takeover"),
        ("server", "; client_no_context_takeover"),
        ("client", "; server_no_context_takeover"),
        ("both", ""),
    ] {
        let arguments = [&["--deflate", "--deflate-takeover", takeover], &windows[..], &levels];
        let expected = format!(
            "permessage-deflate{parameters}; server_max_window_bits=10; client_max_window_bits=9"
        );
        assert_eq!(agreed(&arguments.concat()), Some(expected));
    }
}

#[test]
fn bad_arguments_are_named() {
    for (arguments, named) in [
        (&["serve", "--no-such-flag"][..], "--no-such-flag"),
        (&["serve", "--shards", "0"], "--shards"),
        (&["serve", "--shards", "many"], "--shards"),
        (&["serve", "--shards", "65536"], "--shards"),
        (&["serve", "--app", "nope"], "echo, broadcast, chat"),
        (&["serve", "--listn", "127.0.0.1:0"], "'--listen'"),
        (&["serve", "--backend", "kqueue"], "kqueue"),
        (&["serve", "--deflate", "--deflate-level", "10"], "--deflate-level"),
        (&["serve", "--deflate", "--deflate-memory-level", "0"], "--deflate-memory-level"),
        (&["serve", "--deflate", "--deflate-server-window", "7"], "--deflate-server-window"),
        (&["serve", "--deflate", "--deflate-client-window", "16"], "--deflate-client-window"),
        (&["serve", "--deflate", "--deflate-takeover", "all"], "none, server, client, both"),
        (&["serve", "--deflate", "--deflate-min", "few"], "--deflate-min"),
        (&["serve", "--deflate-level", "3"], "--deflate"),
        (&["demo", "--connections", "0"], "--connections"),
        (&["demo", "--seconds", "0"], "--seconds"),
        (&["demo", "--bytes", "1048577"], "--bytes"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let ended = Process::run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert_eq!(ended.stdout, [""; 0], "{arguments:?}");
        let [line] = &ended.stderr[..] else { panic!("{arguments:?}: {:?}", ended.stderr) };
        assert!(line.starts_with("sockeye: "), "{arguments:?}: {line}");
        assert!(line.contains(named) && line.contains("--help"), "{arguments:?}: {line}");
        assert!(!line.contains("error:"), "{arguments:?}: {line}");
    }
}

#[test]
fn bad_addresses_are_named() {
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", ""] {
        let ended = Process::run(&["serve", "--listen", address]);
        let line = assert_one_error_line(&ended);
        assert!(line.contains(&format!("--listen {address}: ")), "{address:?}: {line}");
        assert!(line.contains("such as 127.0.0.1:9001"), "{address:?}: {line}");
    }
}

#[test]
fn address_in_use_is_one_line() {
    // By a stranger, and by another `sockeye`.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let stranger = listener.local_addr().expect("it is bound");
    let server = Server::start(&["--shards", "2"]);
    for address in [stranger, server.address] {
        for shards in ["1", "2"] {
            let arguments = ["serve", "--listen", &address.to_string(), "--shards", shards];
            let ended = Process::run(&arguments);
            let line = assert_one_error_line(&ended);
            assert!(line.contains(&format!("{address} is in use")), "{line}");
        }
    }
    // The one that was first is none the worse.
    assert_echoes(&mut connect(server.address), Message::text("still here"));
}

#[test]
fn address_of_another_machine_is_one_line() {
    // RFC 5737: nobody's.
    let ended = Process::run(&["serve", "--listen", "192.0.2.1:0"]);
    let line = assert_one_error_line(&ended);
    assert!(line.contains("192.0.2.1:0 is not an address of this machine"), "{line}");
}

#[test]
fn signals_close_every_connection_with_1001() {
    for signal in [Signal::INT, Signal::TERM] {
        for shards in ["1", "2"] {
            let server = Server::start(&["--shards", shards]);
            let mut clients: Vec<Client> = (0..16).map(|_| connect(server.address)).collect();
            for client in &mut clients {
                assert_echoes(client, Message::text("open"));
            }
            server.process.signal(signal);
            for client in &mut clients {
                assert_closed(client, CloseCode::Away);
            }
            // As clients do then: the server waits for their side of the TCP connections.
            drop(clients);
            let ended = server.process.wait();
            assert_eq!(ended.status.code(), Some(0), "{signal:?}: {:?}", ended.stderr);
            assert_eq!(ended.stderr, [""; 0], "{signal:?}");
        }
    }
}

#[test]
fn signal_without_connections_ends_it() {
    let server = Server::start(&["--shards", "2"]);
    server.process.signal(Signal::TERM);
    let ended = server.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
}

#[test]
fn shutdown_does_not_wait_for_ever_for_a_silent_client() {
    let server = Server::start(&["--shards", "2"]);
    let mut silent: Vec<Client> = (0..8).map(|_| connect(server.address)).collect();
    for client in &mut silent {
        assert_echoes(client, Message::text("open"));
    }
    // Neither a request nor a word.
    let _handshaking = TcpStream::connect(server.address).expect("it listens");
    let mut lively = connect(server.address);
    assert_echoes(&mut lively, Message::text("open"));

    server.process.signal(Signal::TERM);
    assert_closed(&mut lively, CloseCode::Away);
    // The others read nothing and answer nothing, and are there until it has ended.
    let ended = server.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    // They were told all the same.
    for client in &mut silent {
        match client.read() {
            Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Away),
            other => panic!("{other:?} instead of a close frame"),
        }
    }
}

#[test]
fn second_signal_ends_it_at_once() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15)] {
        let server = Server::start(&["--shards", "2"]);
        let silent = connect(server.address);
        let mut lively = connect(server.address);
        assert_echoes(&mut lively, Message::text("open"));
        server.process.signal(signal);
        // The first one has been seen; signals that wait would be merged.
        assert_closed(&mut lively, CloseCode::Away);
        server.process.signal(signal);
        // 0 would say that it has waited for the silent one.
        let ended = server.process.wait();
        assert_eq!(ended.status.code(), Some(128 + number), "{:?}", ended.stderr);
        drop(silent);
    }
}

#[test]
fn connections_beyond_the_file_limit_wait_their_turn() {
    const FILES: u32 = 40;
    /// Fewer than fit for sure, next to the server's own files.
    const AT_ONCE: usize = 16;
    let server = Server::start_with_files(FILES, &["--shards", "1"]);
    let streams: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| TcpStream::connect(server.address).expect("the kernel queues it"))
        .collect();
    server.process.wait_for_error_line("ulimit -n");

    // The kernel hands them out in the order in which they came.
    let mut streams = streams.into_iter();
    let mut clients: Vec<Client> =
        streams.by_ref().take(AT_ONCE).map(|stream| shake_hands(server.address, stream)).collect();
    for client in &mut clients {
        assert_echoes(client, Message::text("one of the first"));
    }
    // Each that leaves makes room for one that waits.
    for mut client in clients {
        client.close(None).expect("it is open");
        assert!(matches!(client.read(), Ok(Message::Close(_))));
    }
    for stream in streams {
        let mut client = shake_hands(server.address, stream);
        assert_echoes(&mut client, Message::text("one that waited"));
    }
    // And it serves newcomers, and ends as ever.
    let mut client = connect(server.address);
    assert_echoes(&mut client, Message::text("a newcomer"));
    server.process.signal(Signal::TERM);
    assert_closed(&mut client, CloseCode::Away);
    let ended = server.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
}

/// The first number in the line that begins with `label`, which goes on with `unit`.
fn figure(lines: &[String], label: &str, unit: &str) -> f64 {
    let rest = lines.iter().find_map(|line| line.strip_prefix(label));
    let rest = rest.unwrap_or_else(|| panic!("no line begins with {label:?}: {lines:#?}"));
    let (number, rest) = rest.trim_start().split_once(' ').expect("a number and its unit");
    assert!(rest.starts_with(unit), "{label}: {rest:?} is not in {unit}");
    number.parse().unwrap_or_else(|error| panic!("{label}: {number:?}: {error}"))
}

#[test]
fn demo_prints_its_figures() {
    let ended = Process::run(&["demo", "--seconds", "1", "--connections", "10", "--idle", "50"]);
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    assert_eq!(ended.stderr, [""; 0]);
    let lines = &ended.stdout;

    assert!(figure(lines, "throughput", "messages/s") > 0.0);
    let latencies: Vec<f64> = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
        .iter()
        .map(|name| figure(lines, &format!("latency {name} "), "us"))
        .collect();
    assert!(latencies[0] > 0.0, "{latencies:?}");
    assert!(latencies.is_sorted(), "{latencies:?}");
    assert!(figure(lines, "CPU per message", "ns the engine") > 0.0);
    let idle_bytes = figure(lines, "idle connection", "bytes of user memory (mean of 50)");
    // A mean over few: pages of 4096 bytes come and go for other reasons, too.
    assert!(idle_bytes > 0.0 && idle_bytes < 1e5, "{idle_bytes}");
}

#[test]
fn help_and_version_are_on_standard_output() {
    for (arguments, expected) in [
        (&["--help"][..], "Usage: sockeye"),
        (&["serve", "--help"], "--listen <ADDRESS:PORT>"),
        (&["demo", "--help"], "--idle <N>"),
        (&["--version"], concat!("sockeye ", env!("CARGO_PKG_VERSION"))),
    ] {
        let ended = Process::run(arguments);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}");
        assert_eq!(ended.stderr, [""; 0], "{arguments:?}");
        let stdout = ended.stdout.join("\n");
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
    }
}
