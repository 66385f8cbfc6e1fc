//! Sockets that were made elsewhere: what only those drivers take whose sockets are the system's.

use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::descriptor::Around;
use super::rig::{Listener, Peer, Rig, assert_same, pattern};
use super::seen::{End, Event};
use super::world::World;
use crate::{Adopted, Close, Config, Driver as _, Tx as _};

/// An address of this machine that nobody connects from unless asked to.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A socket that connects from that address, without waiting.
fn begin(to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::new(SOURCE, 0).into()).unwrap();
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        connected => connected.unwrap(),
    }
    socket
}

/// Two ends that are connected, of a kind. Calls on them wait.
fn pair(unix: bool) -> (OwnedFd, TcpStream) {
    if unix {
        let (ours, theirs) = UnixStream::pair().unwrap();
        return (ours.into(), TcpStream::from(OwnedFd::from(theirs)));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours.into(), listener.accept().unwrap().0)
}

/// An end that is adopted, and the other one as a peer.
fn peer_of<W: World<Stream = TcpStream>>(world: &W, stream: TcpStream) -> Peer<W> {
    stream.set_nonblocking(true).unwrap();
    Peer::of(world, stream)
}

/// `Adopted::Connecting`: as after `connect`, from the address that the socket was bound to.
pub(crate) fn what_is_adopted_on_its_way_connects<W: World<Listener = TcpListener>>(world: &W) {
    let (listener, address) = world.listen();
    for greeting in [0, 1, 100_000] {
        let mut rig = Rig::new(world, Config::default());
        let socket = begin(address);
        let same = socket.try_clone().unwrap();
        let id = rig.adopt(socket, Adopted::Connecting);
        rig.tx().write(id, &[IoSlice::new(b"early")]);
        let mut peer = Peer::of(world, world.accept(&listener));
        assert_eq!(same.local_addr().unwrap().as_socket().unwrap().ip(), SOURCE);
        let bytes = pattern(1, greeting);
        peer.send(&bytes);
        rig.turn_until("all of it", |seen| {
            seen.connected(id) && seen.received(id).len() == greeting
        });
        assert_eq!(rig.seen.events()[0], Event::Connected(id));
        assert_same(&rig.seen.received(id), &bytes);
        assert_eq!(rig.read(&mut peer, 5), b"early");
        assert_eq!(rig.tx().peer_addr(id), Some(address));
        assert!(same.tcp_nodelay().unwrap(), "as after `connect`");
        rig.exchange(id, &mut peer);
        peer.finish();
        rig.turn_until("the end", |seen| seen.end(id) == Some(End::Eof));
    }
}

/// `Adopted::Connecting`: the refusal is the socket's end, and `connected` is not told.
pub(crate) fn an_adopted_connect_that_is_refused_is_closed_with_an_error<W: World>(world: &W) {
    let (_reserved, address) = world.reserve();
    let mut rig = Rig::new(world, Config::default());
    let id = rig.adopt(begin(address), Adopted::Connecting);
    rig.tx().write(id, &[IoSlice::new(b"in vain")]);
    rig.turn_until("the refusal", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Error(ErrorKind::ConnectionRefused)));
    assert!(!rig.seen.connected(id));
    assert_eq!((rig.tx().backlog_bytes(id), rig.tx().peer_addr(id)), (0, None));
    rig.fence();
}

/// `Adopted::Connected`: nothing is lost that came before, be it the end; `connected` is not told.
pub(crate) fn what_came_before_it_was_adopted_is_received<W: World<Stream = TcpStream>>(world: &W) {
    for (unix, waiting, ended) in [
        (true, 0, false),
        (true, 1, false),
        (true, 50_000, false),
        (true, 50_000, true),
        (true, 0, true),
        (false, 50_000, false),
        (false, 50_000, true),
    ] {
        let mut rig = Rig::new(world, Config::default());
        let (ours, theirs) = pair(unix);
        let same = ours.as_fd().try_clone_to_owned().unwrap();
        let mut peer = peer_of(world, theirs);
        let bytes = pattern(1, waiting);
        peer.send(&bytes);
        if ended {
            peer.finish();
        }
        let id = rig.adopt(ours, Adopted::Connected);
        assert!(SockRef::from(&same).nonblocking().unwrap());
        assert_eq!(rig.tx().peer_addr(id).is_none(), unix);
        rig.turn_until("what waits", |seen| {
            seen.received(id).len() == waiting && (!ended || seen.end(id).is_some())
        });
        assert_same(&rig.seen.received(id), &bytes);
        if !ended {
            rig.exchange(id, &mut peer);
            let more = pattern(2, 1 << 20);
            rig.feed(&mut peer, &more);
            rig.turn_until("the rest", |seen| seen.received(id).len() == waiting + 1 + more.len());
            assert_same(&rig.seen.received(id)[waiting + 1..], &more);
            peer.finish();
            rig.turn_until("the end", |seen| seen.end(id).is_some());
        }
        assert_eq!((rig.seen.end(id), rig.seen.connected(id)), (Some(End::Eof), false));
    }
}

/// `Adopted::Connected` of what is not: an error, and told as one.
pub(crate) fn what_was_never_connected_is_closed_with_an_error<W: World>(world: &W) {
    let mut rig = Rig::new(world, Config::default());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let id = rig.adopt(socket, Adopted::Connected);
    rig.turn_until("the end", |seen| seen.end(id).is_some());
    assert_eq!(rig.seen.end(id), Some(End::Error(ErrorKind::NotConnected)));
    rig.fence();
}

/// `Close::Graceful` sends what waits and then FIN; after `Close::Abort` nothing is heard.
pub(crate) fn what_is_adopted_is_closed_like_any_other<W: World<Stream = TcpStream>>(world: &W) {
    for unix in [true, false] {
        let mut rig = Rig::new(world, Config::default());
        let (ours, theirs) = pair(unix);
        let mut peer = peer_of(world, theirs);
        let id = rig.adopt(ours, Adopted::Connected);
        let sent = rig.fill(id, 1 << 20);
        rig.close(id, Close::Graceful);
        let (got, end) = rig.read_to_end(&mut peer);
        assert_same(&got, &sent);
        assert_eq!(end, End::Eof);
        assert_eq!(rig.seen.end(id), None, "the peer has not ended");
        peer.finish();
        rig.turn_until("the end", |seen| seen.end(id) == Some(End::Eof));

        let (ours, theirs) = pair(unix);
        let mut peer = peer_of(world, theirs);
        let id = rig.adopt(ours, Adopted::Connected);
        rig.close(id, Close::Abort);
        assert_eq!(rig.read_to_end(&mut peer), (Vec::new(), End::Eof));
        rig.fence();
        assert_eq!(rig.seen.end(id), None);
    }
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    let id = rig.adopt(begin(listener.address()), Adopted::Connecting);
    rig.close(id, Close::Abort);
    rig.fence();
    assert_eq!(rig.seen.end(id), None);
}

/// A driver that is dropped closes what it has adopted, whether or not it has turned since.
pub(crate) fn what_is_adopted_goes_with_the_driver<W: World<Stream = TcpStream>>(world: &W) {
    for unix in [true, false] {
        let mut rig = Rig::new(world, Config::default());
        let (ours, theirs) = pair(unix);
        let mut known = peer_of(world, theirs);
        let id = rig.adopt(ours, Adopted::Connected);
        rig.exchange(id, &mut known);
        let (ours, theirs) = pair(unix);
        let mut unknown = peer_of(world, theirs);
        rig.adopt(ours, Adopted::Connected);
        let patience = rig.patience();
        drop(rig);
        for peer in [&mut known, &mut unknown] {
            while peer.receive_some(&mut [0]).unwrap() != Some(0) {
                patience.check("the end");
            }
        }
    }
}

/// `next_deadline`: the kernel may not have heard yet of what is adopted, or begins to connect,
/// between two turns; the driver's descriptor would stay silent.
pub(crate) fn what_is_adopted_between_turns_has_a_deadline<
    W: World<Driver: AsFd, Stream = TcpStream>,
>(
    world: &W,
) {
    let listener = Listener::new(world);
    let mut rig = Rig::new(world, Config::default());
    rig.fence();
    rig.turn_until_idle();
    let mut around = Around::new(&rig.driver);
    let (ours, theirs) = pair(true);
    let mut peer = peer_of(world, theirs);
    let id = rig.adopt(ours, Adopted::Connected);
    peer.send(b"?");
    around.turn_until(&mut rig, true, "a byte", |rig| rig.seen.received(id) == b"?");
    rig.turn_until_idle();
    let id = rig.adopt(begin(listener.address()), Adopted::Connecting);
    around.turn_until(&mut rig, true, "the connection", |rig| rig.seen.connected(id));
    rig.turn_until_idle();
    let id = rig.connect(listener.address());
    around.turn_until(&mut rig, true, "another", |rig| rig.seen.connected(id));
    rig.turn_until_idle();
    assert!(rig.driver.next_deadline().is_none(), "nothing to do");
}
