//! Waiting: deadlines, wakers, and loops around the driver.

use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::rig::{Driver, End, Make, Patience, Peer, Rig};
use crate::{Config, Tx};

/// A time far enough away to see whether somebody waits for it.
const SOON: Duration = Duration::from_millis(20);

/// `turn`: with nothing to do it ends when the deadline has passed, not before, and a deadline that
/// has passed does not keep it from telling what there is.
pub(crate) fn a_turn_ends_at_its_deadline<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
    rig.fence();
    rig.turn_to(Instant::now());
    for _ in 0..3 {
        let until = Instant::now() + SOON;
        assert!(rig.turn_to(until).is_empty());
        assert!(rig.tx().now() >= until, "nothing had happened");
    }
    let past = Instant::now();
    let peer = Peer::connect(rig.address());
    let patience = Patience::new();
    while rig.turn_to(past).is_empty() {
        patience.check("the peer");
    }
    drop(peer);
}

/// `now`: one time for all that a turn tells, and never an earlier one.
pub(crate) fn a_turn_has_one_time<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
    let turn = Rc::new(Cell::new(0));
    let current = Rc::clone(&turn);
    let (mut last_turn, mut last_time) = (0, rig.tx().now());
    rig.react(move |tx, _| {
        assert!(tx.now() >= last_time);
        assert!(tx.now() == last_time || current.get() != last_turn, "within a turn");
        (last_turn, last_time) = (current.get(), tx.now());
        None
    });
    let mut peers: Vec<_> = (0..10).map(|_| Peer::connect(rig.address())).collect();
    let begin = rig.tx().now();
    for n in 1..100 {
        for peer in &mut peers {
            peer.send(b"?");
        }
        turn.set(n);
        rig.turn();
    }
    rig.turn_until("all of them", |seen| seen.accepted().len() == peers.len());
    assert!(rig.tx().now() > begin);
}

/// `Waker`: ends a turn that waits, from another thread, whether it waits already or is about to.
pub(crate) fn a_waker_ends_a_turn_from_another_thread<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
    rig.fence();
    for _ in 0..50 {
        let waker = rig.driver.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let patience = Patience::new();
        assert!(rig.turn_to(patience.until()).is_empty());
        patience.check("to be woken");
        thread.join().unwrap().unwrap();
    }
}

/// `Waker::wake`: any number of calls ends one turn, and the next one waits again.
pub(crate) fn many_wakes_are_one<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
    rig.fence();
    let waker = rig.driver.waker();
    for count in [1, 2, 1_000] {
        for _ in 0..count {
            waker.clone().wake().unwrap();
        }
        let patience = Patience::new();
        rig.turn_to(patience.until());
        patience.check("to be woken");
        let until = Instant::now() + SOON;
        rig.turn_to(until);
        assert!(rig.tx().now() >= until, "woken twice");
    }
    // It may outlive the driver.
    drop(rig);
    waker.wake().unwrap();
}

/// Another loop, in which the driver sits.
struct Around {
    poll: Poll,
    events: Events,
}

impl Around {
    fn new(driver: &impl Driver) -> Self {
        let poll = Poll::new().unwrap();
        let fd = driver.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
        Self { poll, events: Events::with_capacity(4) }
    }

    fn is_silent(&mut self) -> bool {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        self.events.is_empty()
    }

    /// Turns, without waiting in the driver, when its descriptor is readable or, if asked for, when
    /// its deadline has come.
    fn turn_until<D: Driver>(
        &mut self,
        rig: &mut Rig<D>,
        deadlines: bool,
        what: &str,
        done: impl Fn(&mut Rig<D>) -> bool,
    ) {
        let patience = Patience::new();
        while !done(rig) {
            let deadline = rig.driver.next_deadline().filter(|_| deadlines);
            let until =
                deadline.map_or(patience.until(), |deadline| deadline.min(patience.until()));
            self.poll.poll(&mut self.events, Some(until - Instant::now())).unwrap();
            patience.check(what);
            rig.turn_to(Instant::now());
        }
    }
}

/// `as_fd`: in another loop the driver is silent while nothing happens, and readable when a
/// connection, bytes, room to send, an end, or a wake are there to be told.
pub(crate) fn the_descriptor_is_readable_when_there_is_something_to_do<D: Driver>(make: Make<D>) {
    let mut rig = Rig::new(make, Config::default());
    rig.fence();
    rig.turn();
    let mut around = Around::new(&rig.driver);
    assert!(around.is_silent(), "nothing has happened");
    let mut told = |rig: &mut Rig<D>, what: &str, done: &dyn Fn(&mut Rig<D>) -> bool| {
        around.turn_until(rig, false, what, done);
    };

    let mut peer = Peer::connect(rig.address());
    let before = rig.seen.accepted().len();
    told(&mut rig, "a connection", &|rig| rig.seen.accepted().len() > before);
    let id = rig.seen.accepted()[before].0;
    peer.send(b"bytes");
    told(&mut rig, "bytes", &|rig| rig.seen.received(id) == b"bytes");
    let sent = rig.fill(id, 1 << 20).len();
    let reader = std::thread::spawn(move || {
        peer.receive_exactly(sent);
        peer
    });
    told(&mut rig, "room", &|rig| rig.tx().backlog_bytes(id) == 0);
    let peer = reader.join().unwrap();
    drop(peer);
    told(&mut rig, "the end", &|rig| rig.seen.end(id) == Some(End::Eof));
    let waker = rig.driver.waker();
    let woken = Cell::new(false);
    waker.wake().unwrap();
    told(&mut rig, "a wake", &|_| woken.replace(true));
}

/// `next_deadline`: tells of what the descriptor does not. That is what a turn has left for
/// others' sake, a pause that ended outside of a turn, and a listener that was left alone.
pub(crate) fn work_that_no_descriptor_tells_of_has_a_deadline<D: Driver>(make: Make<D>) {
    let config = Config {
        receive_budget_bytes: 10,
        connections_max: 2,
        accept_backoff: Duration::from_millis(1),
        ..Config::default()
    };
    let mut rig = Rig::new(make, config);
    let (id, mut peer) = rig.join();
    rig.fence();
    let mut around = Around::new(&rig.driver);
    let mut told = |rig: &mut Rig<D>, what: &str, done: &dyn Fn(&mut Rig<D>) -> bool| {
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
    let second = Peer::connect(rig.address());
    told(&mut rig, "the second", &|rig| rig.seen.accepted().len() == before + 1);
    let _third = Peer::connect(rig.address());
    for _ in 0..10 {
        rig.exchange(id, &mut peer);
    }
    drop(second);
    told(&mut rig, "the third", &|rig| rig.seen.accepted().len() == before + 2);
    drop(peer);
    told(&mut rig, "the end", &|rig| rig.seen.end(id).is_some());
    let patience = Patience::new();
    while rig.driver.next_deadline().is_some() {
        patience.check("nothing to do");
        rig.turn();
    }
}
