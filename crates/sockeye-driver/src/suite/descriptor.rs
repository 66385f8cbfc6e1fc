//! The driver in another loop, which watches its descriptor: what only those do that have one.

use std::cell::Cell;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::rig::Rig;
use super::seen::End;
use super::world::World;
use crate::{Config, Driver as _, Tx as _};

/// Another loop, in which the driver sits.
pub(super) struct Around {
    poll: Poll,
    events: Events,
}

impl Around {
    pub(super) fn new(driver: &impl AsFd) -> Self {
        let poll = Poll::new().unwrap();
        let fd = driver.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
        Self { poll, events: Events::with_capacity(4) }
    }

    /// The kernel ends a ring that was dropped in the thread that had it, and interrupts its waits.
    fn wait(&mut self, timeout: Duration) {
        while let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        }
    }

    fn is_silent(&mut self) -> bool {
        self.wait(Duration::ZERO);
        self.events.is_empty()
    }

    /// Turns, without waiting in the driver, when its descriptor is readable or, if asked for, when
    /// its deadline has come.
    pub(super) fn turn_until<W: World>(
        &mut self,
        rig: &mut Rig<W>,
        deadlines: bool,
        what: &str,
        done: impl Fn(&mut Rig<W>) -> bool,
    ) {
        let patience = rig.patience();
        while !done(rig) {
            let deadline = rig.driver.next_deadline().filter(|_| deadlines);
            let until =
                deadline.map_or(patience.until(), |deadline| deadline.min(patience.until()));
            self.wait(until - rig.now());
            patience.check(what);
            rig.turn_to(rig.now());
        }
    }
}

/// `as_fd`: in another loop the driver is silent while nothing happens, and readable when a
/// connection, bytes, room to send, an end, or a wake are there to be told.
pub(crate) fn the_descriptor_is_readable_when_there_is_something_to_do<
    W: World<Driver: AsFd, Stream = TcpStream>,
>(
    world: &W,
) {
    let mut rig = Rig::new(world, Config::default());
    rig.fence();
    rig.turn();
    let mut around = Around::new(&rig.driver);
    assert!(around.is_silent(), "nothing has happened");
    let mut told = |rig: &mut Rig<W>, what: &str, done: &dyn Fn(&mut Rig<W>) -> bool| {
        around.turn_until(rig, false, what, done);
    };

    let mut peer = rig.peer();
    let before = rig.seen.accepted().len();
    told(&mut rig, "a connection", &|rig| rig.seen.accepted().len() > before);
    let id = rig.seen.accepted()[before].0;
    peer.send(b"bytes");
    told(&mut rig, "bytes", &|rig| rig.seen.received(id) == b"bytes");
    let sent = rig.fill(id, 1 << 20).len();
    let mut stream = peer.into_stream();
    let reader = std::thread::spawn(move || {
        stream.set_nonblocking(false).unwrap();
        stream.read_exact(&mut vec![0; sent]).unwrap();
        stream
    });
    told(&mut rig, "room", &|rig| rig.tx().backlog_bytes(id) == 0);
    drop(reader.join().unwrap());
    told(&mut rig, "the end", &|rig| rig.seen.end(id) == Some(End::Eof));
    let waker = rig.driver.waker();
    let woken = Cell::new(false);
    waker.wake().unwrap();
    told(&mut rig, "a wake", &|_| woken.replace(true));
}

/// `next_deadline`: tells of what the descriptor does not. That is what a turn has left for
/// others' sake, a pause that ended outside of a turn, and a listener that was left alone.
pub(crate) fn work_that_no_descriptor_tells_of_has_a_deadline<W: World<Driver: AsFd>>(world: &W) {
    let config = Config {
        receive_budget_bytes: 10,
        connections_max: 2,
        accept_backoff: Duration::from_millis(1),
        ..Config::default()
    };
    let mut rig = Rig::new(world, config);
    let (id, mut peer) = rig.join();
    rig.fence();
    let mut around = Around::new(&rig.driver);
    let mut told = |rig: &mut Rig<W>, what: &str, done: &dyn Fn(&mut Rig<W>) -> bool| {
        around.turn_until(rig, true, what, done);
    };

    peer.send(&[1; 25]);
    told(&mut rig, "what was left", &|rig| rig.seen.received(id).len() == 25);
    rig.tx().set_recv(id, false);
    peer.send(&[2; 25]);
    rig.fence();
    rig.tx().set_recv(id, true);
    told(&mut rig, "what was held up", &|rig| rig.seen.received(id).len() == 50);
    let before = rig.seen.accepted().len();
    let second = rig.peer();
    told(&mut rig, "the second", &|rig| rig.seen.accepted().len() == before + 1);
    let _third = rig.peer();
    for _ in 0..10 {
        rig.exchange(id, &mut peer);
    }
    drop(second);
    told(&mut rig, "the third", &|rig| rig.seen.accepted().len() == before + 2);
    drop(peer);
    told(&mut rig, "the end", &|rig| rig.seen.end(id).is_some());
    let patience = rig.patience();
    while rig.driver.next_deadline().is_some() {
        patience.check("nothing to do");
        rig.turn();
    }
}
