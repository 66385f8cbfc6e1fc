use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use socket2::{Domain, Socket, Type};

use super::*;

fn options(resolve: &[&str]) -> TargetOptions {
    let resolve = resolve.iter().map(|one| one.parse().unwrap()).collect();
    TargetOptions { resolve, ..TargetOptions::default() }
}

/// A target whose name is looked up nowhere.
fn plain(url: &str) -> Result<Target, String> {
    Target::resolve_by(url, &TargetOptions::default(), |_, _| panic!("looked up"))
}

/// A place at which nobody listens, nor can while the socket is there.
fn refusing() -> (Socket, Place) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, Place::Tcp(address))
}

#[test]
fn addresses_are_looked_up_once_each_and_keep_their_order() {
    let target = Target::resolve_by("ws://example.com/chat", &options(&[]), |host, port| {
        assert_eq!((host, port), ("example.com", 80));
        let addresses = ["[::1]:80", "10.0.0.1:80", "[::1]:80"];
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    });
    let target = target.unwrap();
    assert_eq!(
        target.places(),
        [Place::Tcp("[::1]:80".parse().unwrap()), Place::Tcp("10.0.0.1:80".parse().unwrap())]
    );
    assert!(target.place().is_loopback());
    assert_eq!((target.url().target(), target.url().is_secure()), ("/chat", false));
}

#[test]
fn literals_of_both_families_are_resolved_by_the_system() {
    for (url, address) in [("ws://127.0.0.1:9001", "127.0.0.1:9001"), ("wss://[::1]/", "[::1]:443")]
    {
        let target = Target::resolve(url, &TargetOptions::default()).unwrap();
        assert_eq!(target.places(), [Place::Tcp(address.parse().unwrap())]);
    }
}

#[test]
fn an_override_goes_before_the_resolver() {
    let options = options(&["Example.com:10.0.0.7", "example.COM:[::1]", "example.com:::2"]);
    let target = Target::resolve_by("wss://example.com:8443/", &options, |_, _| panic!("asked"));
    let places = target.unwrap().places().iter().map(Place::to_string).collect::<Vec<_>>();
    assert_eq!(places, ["10.0.0.7:8443", "[::1]:8443", "[::2]:8443"]);
    let other = Target::resolve_by("ws://localhost/", &options, |_, _| panic!("asked"));
    assert!(other.unwrap_err().contains("must name the same host"));
    for wrong in ["example.com", "example.com:", ":10.0.0.1", "example.com:80:10.0.0.1"] {
        assert!(wrong.parse::<Resolve>().is_err(), "{wrong}");
    }
}

#[test]
fn a_unix_socket_needs_no_resolver() {
    let options = TargetOptions { unix: Some("/run/chat.sock".into()), ..TargetOptions::default() };
    let target = Target::resolve_by("ws://chat.example/a", &options, |_, _| panic!("asked"));
    let target = target.unwrap();
    assert_eq!(target.place(), &Place::Unix("/run/chat.sock".into()));
    assert_eq!(target.url().host_header(), "chat.example");
}

#[test]
fn what_is_wrong_with_a_url_says_what_to_write() {
    for (url, part) in [
        ("localhost:9001", "write ws://localhost:9001"),
        ("http://a.example/b", "write ws://a.example/b"),
        ("https://a.example/b", "write wss://a.example/b"),
        ("ws://me:secret@a.example", "--header 'Authorization"),
        ("ws://a.example:99999", "port"),
        ("ws://a b", "space"),
        ("ws://a.example/#b", "fragment"),
        ("ws://", "host"),
    ] {
        let error = plain(url).unwrap_err();
        assert!(error.contains(part) && !error.contains('\n'), "{url}: {error}");
    }
}

#[test]
fn a_name_that_is_not_known_is_one_line() {
    let failed = |_: &str, _: u16| {
        let text = "failed to lookup address information: Name or service not known";
        Err(io::Error::other(text))
    };
    let error = Target::resolve_by("ws://nowhere.example", &options(&[]), failed).unwrap_err();
    assert_eq!(
        error,
        "the host nowhere.example is not known (Name or service not known): check the name, or \
         use --resolve nowhere.example:ADDRESS"
    );
    let none = Target::resolve_by("ws://none.example", &options(&[]), |_, _| Ok(Vec::new()));
    assert!(none.unwrap_err().contains("has no address"));
}

#[test]
fn the_first_place_that_answers_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = WsUrl::parse("ws://localhost/").unwrap();
    let answers = Place::Tcp(listener.local_addr().unwrap());
    let (_first, first) = refusing();
    let (_last, last) = refusing();
    let places = vec![first.clone(), answers.clone(), last.clone()];
    let mut target = Target { url: url.clone(), places, is_by_proxy: false };
    target.reach(Duration::from_secs(20)).unwrap();
    assert_eq!(target.places(), [answers]);
    let mut target = Target { url, places: vec![first, last], is_by_proxy: false };
    let error = target.reach(Duration::from_secs(20)).unwrap_err();
    assert_eq!(error.matches("is the server running").count(), 2, "{error}");
}

#[test]
fn unix_sockets_are_reached_or_explained() {
    let directory = std::env::temp_dir().join(format!("sockeye-target-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let reach = |path: &PathBuf| {
        let options = TargetOptions { unix: Some(path.clone()), ..TargetOptions::default() };
        Target::resolve("ws://localhost/", &options).unwrap().reach(Duration::from_secs(20))
    };
    assert!(reach(&path).unwrap_err().contains("there is no socket"));
    let listener = UnixListener::bind(&path).unwrap();
    reach(&path).unwrap();
    drop(listener);
    assert!(reach(&path).unwrap_err().contains("nobody listens"));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn every_failure_has_a_line_of_its_own() {
    let tcp = Place::Tcp("10.0.0.1:80".parse().unwrap());
    let unix = Place::Unix("/run/a".into());
    for (place, kind, part) in [
        (&tcp, ErrorKind::TimedOut, "firewalls"),
        (&tcp, ErrorKind::NetworkUnreachable, "no way to 10.0.0.1:80"),
        (&tcp, ErrorKind::AddrNotAvailable, "--source"),
        (&tcp, ErrorKind::InvalidInput, "from the address of --source"),
        (&unix, ErrorKind::PermissionDenied, "/run/a may not be written to"),
        (&unix, ErrorKind::WouldBlock, "queue of /run/a is full"),
        (&unix, ErrorKind::Other, "cannot be connected to"),
    ] {
        let line = place.explain(&kind.into());
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
}
