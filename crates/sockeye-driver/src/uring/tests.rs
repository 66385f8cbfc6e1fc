//! The behaviour suite on io_uring, and what only a ring has.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Uring, UringTx};
use crate::suite::sockets::{Sockets, run_alone};
use crate::{Closed, Config, ConnId, Counters, Driver as _, Sink, Tx as _, UringConfig};

/// Almost nothing of everything: completions overflow, buffers run out.
const TINY: UringConfig = UringConfig {
    submissions: 2,
    completions: 4,
    buffers: 4,
    buffer_bytes: 16 << 10,
    zero_copy_bytes_min: None,
};

fn with(config: Config, uring: UringConfig) -> Uring {
    Uring::new(Config { uring, ..config }).unwrap()
}

/// A ring as it comes, one that always lacks something, one that sends without a copy. Not where a
/// container forbids it:
/// `SOCKEYE_REQUIRE_IO_URING` makes a failure of that.
fn worlds() -> Vec<Sockets<Uring>> {
    let probed = Uring::probe(1, &UringConfig::default());
    if let Err(why) = &probed {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    if probed.is_err() {
        return Vec::new();
    }
    let usual = Sockets::new(|config| Uring::new(config).unwrap());
    let tiny = Sockets::new(|config| with(config, TINY));
    let zero_copy = Sockets::new(|config| {
        with(config, UringConfig { zero_copy_bytes_min: Some(1), ..UringConfig::default() })
    });
    vec![usual, tiny, zero_copy]
}

crate::suite::mount!(worlds);
crate::suite::mount!(worlds, with descriptors);
crate::suite::mount!(worlds, starved by run_alone);

/// Counts what it gets, and answers nothing.
#[derive(Default)]
struct Counting {
    open: Vec<ConnId>,
    received: usize,
}

impl Sink<UringTx> for Counting {
    fn accepted(&mut self, _tx: &mut UringTx, id: ConnId) {
        self.open.push(id);
    }

    fn connected(&mut self, _tx: &mut UringTx, _id: ConnId) {}

    fn received(&mut self, _tx: &mut UringTx, _id: ConnId, bytes: &mut [u8]) {
        self.received += bytes.len();
    }

    fn drained(&mut self, _tx: &mut UringTx, _id: ConnId) {}

    fn closed(&mut self, _tx: &mut UringTx, _id: ConnId, _why: Closed) {}
}

/// A driver with so many peers, or nothing where there is no io_uring.
fn with_peers(uring: UringConfig, count: usize) -> Option<(Uring, Counting, Vec<TcpStream>)> {
    Uring::probe(1, &UringConfig::default()).ok()?;
    let mut driver = with(Config::default(), uring);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen(listener).unwrap();
    let peers = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut sink = Counting::default();
    turn_until(&mut driver, &mut sink, |_, sink| sink.open.len() == count);
    Some((driver, sink, peers))
}

fn turn_until(
    driver: &mut Uring,
    sink: &mut Counting,
    is_done: impl Fn(&Uring, &Counting) -> bool,
) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_done(driver, sink) {
        assert!(Instant::now() < patience, "waited in vain");
        driver.turn(Some(patience), sink).unwrap();
    }
}

/// Nothing is lost where buffers and completions run out, and both are counted.
#[test]
fn shortages_are_counted() {
    let Some((mut driver, mut sink, mut peers)) = with_peers(TINY, 40) else { return };
    for _ in 0..10 {
        let before = sink.received;
        peers.iter_mut().for_each(|peer| peer.write_all(&[1; 1_000]).unwrap());
        turn_until(&mut driver, &mut sink, |_, sink| sink.received == before + 40 * 1_000);
    }
    let counters = driver.counters();
    assert!(counters.receives_without_buffer > 0, "{counters:?}");
    assert!(counters.completion_overflows > 0, "{counters:?}");
}

/// A ring as it comes lacks nothing under the same load.
#[test]
fn nothing_is_short_as_it_comes() {
    let Some((mut driver, mut sink, mut peers)) = with_peers(UringConfig::default(), 40) else {
        return;
    };
    peers.iter_mut().for_each(|peer| peer.write_all(&[1; 1_000]).unwrap());
    turn_until(&mut driver, &mut sink, |_, sink| sink.received == 40 * 1_000);
    assert_eq!(driver.counters(), Counters::default());
}

/// On loopback the kernel copies what is sent without a copy, and says so: a connection does not
/// ask for it for ever.
#[test]
fn a_connection_whose_sends_are_copied_asks_no_more() {
    let uring = UringConfig { zero_copy_bytes_min: Some(1 << 10), ..UringConfig::default() };
    let Some((mut driver, mut sink, mut peers)) = with_peers(uring, 2) else { return };
    let bytes = Bytes::from(vec![7; 8 << 10]);
    for round in 0..10 {
        for (at, peer) in peers.iter_mut().enumerate() {
            driver.tx().send_shared(sink.open[at], &bytes);
            driver.turn(Some(Instant::now()), &mut sink).unwrap();
            let mut got = vec![0; bytes.len()];
            peer.read_exact(&mut got).unwrap();
            assert!(got == bytes, "round {round}");
            // What it was sent from is let go once the peer has taken it.
            turn_until(&mut driver, &mut sink, |driver, _| {
                driver.counters().zero_copy_copied == driver.counters().zero_copy_sends
            });
        }
    }
    let Counters { zero_copy_sends, zero_copy_copied, .. } = driver.counters();
    assert_eq!((zero_copy_sends, zero_copy_copied), (2 * 3, 2 * 3), "three times each");
    let short = Bytes::from(vec![7; 1_000]);
    driver.tx().send_shared(sink.open[0], &short);
    driver.turn(Some(Instant::now()), &mut sink).unwrap();
    assert_eq!(driver.counters().zero_copy_sends, 2 * 3);
}

#[test]
fn kernels_that_misname_what_they_accept_are_known() {
    let is = super::ring::misnames_accepted;
    for release in ["6.6.1", "6.6.13-cloud", "6.7.0", "6.7.4-arch1-1", "6.8.0-rc1", "6.8-rc3+"] {
        assert!(is(release), "{release}");
    }
    for release in ["6.6.0", "6.8.0-139-generic", "6.8.0-rc4", "6.18.44", "5.15.0", "6.60.7", ""] {
        assert!(!is(release), "{release}");
    }
}
