use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, poll};

use super::*;

/// Ports of one address, as most systems have them.
const PORTS: u64 = 28_232;

fn ranges(texts: &[&str]) -> Vec<SourceRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn from(texts: &[&str]) -> ConnectorOptions {
    ConnectorOptions { source: ranges(texts), receive_buffer_bytes: None }
}

fn tcp(address: &str) -> Place {
    Place::Tcp(address.parse().unwrap())
}

/// Waits until a socket has connected.
fn wait(socket: &OwnedFd) {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    assert_eq!(poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 })), Ok(1));
}

#[test]
fn networks_leave_out_what_no_host_has() {
    for (text, first, count) in [
        ("10.0.0.1", "10.0.0.1", 1),
        ("127.0.0.0/24", "127.0.0.1", 254),
        ("127.0.0.77/24", "127.0.0.1", 254),
        ("10.1.2.3/32", "10.1.2.3", 1),
        ("10.1.2.3/31", "10.1.2.2", 2),
        ("10.1.2.3/30", "10.1.2.1", 2),
        ("127.0.0.0/8", "127.0.0.1", SOURCES_MAX),
        ("fd00::/64", "fd00::1", SOURCES_MAX),
        ("fd00::/120", "fd00::1", 254),
        ("fd00::7", "fd00::7", 1),
    ] {
        let range = text.parse::<SourceRange>().unwrap();
        assert_eq!((range.first, range.count), (first.parse().unwrap(), count), "{text}");
    }
    for text in ["", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "0.0.0.0/0", "::/129", "a/24"] {
        assert!(text.parse::<SourceRange>().is_err(), "{text}");
    }
}

#[test]
fn sources_take_turns_and_begin_again() {
    let options = from(&["127.0.0.2", "127.0.1.0/30"]);
    let sources = Sources::choose(&options, &tcp("127.0.0.1:80"), 1, PORTS).unwrap();
    let turns = (0..4).map(|turn| sources.at(turn).unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(turns, ["127.0.0.2", "127.0.1.1", "127.0.1.2", "127.0.0.2"]);
    assert_eq!(
        (sources.count(), sources.to_string()),
        (3, "127.0.0.2, 127.0.1.1 to 127.0.1.2".into())
    );
}

#[test]
fn the_loopback_gets_as_many_sources_as_it_needs() {
    let choose = |to: &str, connections| {
        Sources::choose(&ConnectorOptions::default(), &tcp(to), connections, PORTS).unwrap()
    };
    assert_eq!(choose("127.0.0.1:80", 15_000), Sources::default());
    assert_eq!(choose("127.0.0.1:80", 20_000).count(), 2);
    assert_eq!(choose("127.0.0.1:80", 1_000_000).count(), 51);
    assert_eq!(choose("127.0.0.1:80", 1_000_000).at(50), Some("127.0.0.51".parse().unwrap()));
    assert_eq!(choose("10.0.0.1:80", 1_000_000), Sources::default());
    assert_eq!(choose("[::1]:80", 1_000_000), Sources::default());
}

#[test]
fn sources_that_cannot_reach_the_target_are_refused() {
    let error = Sources::choose(&from(&["::1"]), &tcp("127.0.0.1:80"), 1, PORTS).unwrap_err();
    assert!(error.contains("name addresses of IPv4"), "{error}");
    let unix = Place::Unix("/run/a".into());
    assert!(Sources::choose(&from(&["10.0.0.1"]), &unix, 1, PORTS).is_err());
    assert_eq!(Sources::choose(&from(&[]), &unix, 1 << 20, PORTS), Ok(Sources::default()));
}

#[test]
fn connections_come_from_where_they_are_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap());
    let options = from(&["127.0.0.2", "127.0.0.3"]);
    let sources = Sources::choose(&options, &place, 4, PORTS).unwrap();
    let mut connector = Connector::new(place, sources, &options, 1);
    for expected in ["127.0.0.3", "127.0.0.2", "127.0.0.3"] {
        let Opened { socket, adopted } = connector.open(Kind::Usual).unwrap();
        assert_eq!(adopted, Adopted::Connecting);
        let (_peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), expected);
        wait(&socket);
        let stream = TcpStream::from(socket);
        assert_eq!(stream.local_addr().unwrap(), from);
        let error = (&stream).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "it does not wait");
    }
}

#[test]
fn slow_consumers_have_a_receive_buffer_of_their_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap());
    let options = ConnectorOptions { source: Vec::new(), receive_buffer_bytes: Some(8192) };
    let mut connector = Connector::new(place, Sources::default(), &options, 0);
    let mut size = |kind| {
        let opened = connector.open(kind).unwrap();
        Socket::from(opened.socket).recv_buffer_size().unwrap()
    };
    // The kernel doubles it, for what it needs besides.
    assert_eq!(size(Kind::Slow), 16_384);
    assert!(size(Kind::Usual) > 16_384);
    assert!(receive_buffer_bytes("0").is_err() && receive_buffer_bytes("8k").is_err());
    assert_eq!(receive_buffer_bytes("8192"), Ok(8192));
}

#[test]
fn unix_sockets_are_connected_at_once_or_full() {
    let directory = std::env::temp_dir().join(format!("sockeye-connector-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let place = Place::Unix(path);
    let options = ConnectorOptions::default();
    let mut connector = Connector::new(place.clone(), Sources::default(), &options, 0);
    let opened = connector.open(Kind::Usual).unwrap();
    assert_eq!(opened.adopted, Adopted::Connected);
    assert!(UnixStream::from(opened.socket).peer_addr().unwrap().as_pathname().is_some());
    // Nobody accepts: some time its queue is full, however long it is.
    let mut waiting = Vec::new();
    let error = loop {
        match connector.open(Kind::Usual) {
            Ok(opened) => waiting.push(opened),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10_000, "a queue without end");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(place.explain(&error).contains("is full"));
    drop(listener);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_source_without_ports_is_passed_over() {
    let sources = Sources(ranges(&["127.0.0.0/24"]));
    let mut turn = 250;
    let full = |_: Option<IpAddr>| Err::<(), _>(Errno::ADDRNOTAVAIL.into());
    let error = sources.in_turn(&mut turn, full).unwrap_err();
    assert!(tcp("127.0.0.1:80").explain(&error).contains("no local port is left"));
    assert_eq!(turn, 250 + SOURCES_TRIED, "others were tried, and not all");
    let mut asked = Vec::new();
    let connected = sources.in_turn(&mut turn, |source| {
        asked.push(source.unwrap().to_string());
        if asked.len() < 3 { Err(Errno::ADDRNOTAVAIL.into()) } else { Ok(()) }
    });
    assert!(connected.is_ok());
    assert_eq!(asked, ["127.0.0.5", "127.0.0.6", "127.0.0.7"]);
    // What is wrong with the target is wrong from everywhere.
    let refused = |_: Option<IpAddr>| Err::<(), _>(Errno::CONNREFUSED.into());
    assert!(sources.in_turn(&mut turn, refused).is_err());
    assert_eq!(turn, 250 + SOURCES_TRIED + 4);
    let mut turn = u64::MAX;
    assert!(Sources::default().in_turn(&mut turn, full).is_err());
    assert_eq!(turn, 0, "once, where the system chooses");
}

#[test]
fn limits_are_named_with_what_raises_them() {
    for (errno, part) in [
        (Errno::MFILE, "ulimit -n"),
        (Errno::NFILE, "fs.file-max"),
        (Errno::NOBUFS, "tcp_mem"),
        (Errno::ADDRNOTAVAIL, "ip_local_port_range"),
    ] {
        let line = explain_limit(&errno.into()).unwrap();
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
    assert_eq!(explain_limit(&Errno::CONNREFUSED.into()), None);
}
