//! Whole servers in simulation: a seed makes a configuration, a network with faults, clients and
//! what they do; the invariants of `ledger.rs` and `world.rs` are checked all along.
//!
//! A failure names its seed. One seed again, or a range of them:
//!
//! ```text
//! SOCKEYE_SIM_SEED=7 cargo test -p sockeye-tests --test sim
//! SOCKEYE_SIM_SEEDS=0..100000 cargo test -p sockeye-tests --test sim
//! ```

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

mod client;
mod keeper;
mod ledger;
mod payload;
mod scenario;
mod world;

/// The seeds of an ordinary run.
const SEEDS: Range<u64> = 0..10_000;

fn seeds() -> Range<u64> {
    let number = |text: &str| -> u64 { text.trim().parse().expect("a seed is a number") };
    if let Ok(seed) = env::var("SOCKEYE_SIM_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match env::var("SOCKEYE_SIM_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range of seeds: 0..1000");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

/// Runs them all, on all processors; returns the seeds that failed.
fn failures(seeds: Range<u64>) -> Vec<u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if world::run(seed, false).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    failed
}

#[test]
fn every_seed_keeps_the_invariants() {
    let seeds = seeds();
    let failed = failures(seeds.clone());
    let Some(&first) = failed.first() else { return };
    // Once more, with a trace: a run is its seed.
    let what = match world::run(first, true) {
        Err(failure) => format!("{}\nthe last events:\n{}", failure.what, failure.trace),
        Ok(_) => "not in the second run, which must not be".into(),
    };
    let shown: Vec<_> = failed.iter().take(20).collect();
    panic!(
        "{} of {} seeds failed: {shown:?}\nseed {first}: {what}\nagain: \
         SOCKEYE_SIM_SEED={first} cargo test -p sockeye-tests --test sim",
        failed.len(),
        seeds.end - seeds.start,
    );
}

#[test]
fn a_run_is_its_seed() {
    let mut digests = Vec::new();
    for seed in 0..40 {
        let run = || match world::run(seed, false) {
            Ok((digest, _)) => Ok(digest),
            Err(failure) => Err(failure.what),
        };
        assert_eq!(run(), run(), "seed {seed}");
        digests.extend(run());
    }
    digests.sort_unstable();
    digests.dedup();
    assert!(digests.len() > 30, "and different seeds are different runs");
}

/// All that the invariants are about happens, and not only now and then.
#[test]
fn there_is_something_to_see() {
    let mut total = BTreeMap::new();
    for seed in 0..400 {
        let tally = world::run(seed, false).map(|(_, tally)| tally).unwrap_or_default();
        for (what, count) in tally {
            *total.entry(what).or_insert(0) += count;
        }
    }
    let expected = [
        ("backlogs full to the byte", 1),
        ("close frames", 1_000),
        ("closed as idle", 20),
        ("closed by handlers", 50),
        ("closed by panics", 50),
        ("closed by peers", 300),
        ("closed by shutdowns", 300),
        ("closed for a backlog", 20),
        ("closed for violations", 50),
        ("connections at rest", 200),
        ("direct messages", 5_000),
        ("drained", 100),
        ("lost", 100),
        ("orders", 5_000),
        ("overflows by one byte", 1),
        ("publications", 2_000),
        ("publications of other shards", 500),
    ];
    for (what, least) in expected {
        let count = total.get(what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {count} of at least {least} in {total:#?}");
    }
}
