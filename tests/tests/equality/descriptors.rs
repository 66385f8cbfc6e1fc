//! A machine that has no file descriptors left.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stage::Place;
use crate::world::{Id, World, quiet, text};

/// Set in a child process that is to run one test with few file descriptors.
const CHILD: &str = "SOCKEYE_EQUALITY_STARVED";
/// What the child may have.
const DESCRIPTORS: u64 = 50;

/// Whether the limit of file descriptors is the test's subject.
pub(crate) fn is_starved_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Peers that the kernel has taken and for which the shard has no descriptor are served once others
/// have left.
pub(crate) fn peers_wait_for_descriptors(place: &Place) {
    if is_starved_child() {
        // Before anything is asked of the kernel: io_uring's accept keeps the limit of its time.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), ..limit }).expect("less");
    }
    let mut world = World::new(place, quiet());
    if world.stage().starve(true) {
        let peers: Vec<_> = (0..20).map(|_| world.ask("/")).collect();
        for _ in 0..100 {
            world.turn();
        }
        assert_eq!(world.stats().accepted, 0);
        world.stage().starve(false);
        for id in peers {
            serve(&mut world, id);
        }
    } else if is_starved_child() {
        starve(&mut world);
    } else {
        drop(world);
        run_in_child(place);
    }
}

fn serve(world: &mut World, id: Id) {
    world.expect_open(id);
    world.send(id, &text("at last"));
    assert_eq!(world.read_text(id), "at last");
    world.close(id, 1000);
}

/// The limit is this process's own, and the peers are in it.
fn starve(world: &mut World) {
    let first = world.open();
    let mut peers = std::collections::VecDeque::new();
    while let Ok(id) = world.try_connect() {
        world.send(id, sockeye_tests::peer::REQUEST.as_bytes());
        peers.push_back(id);
        assert!(peers.len() < DESCRIPTORS as usize, "the limit is no limit");
    }
    assert!(peers.len() > DESCRIPTORS as usize / 2, "{} peers have connected", peers.len());
    // The first turn tries to accept; those who are in are served all the same.
    for _ in 0..10 {
        world.fence(first);
    }
    assert_eq!(world.stats().accepted, 1);
    // One leaves, another comes in.
    world.leave(peers.pop_front().expect("it is not empty"));
    world.leave(peers.pop_front().expect("it is not empty"));
    for id in peers {
        serve(world, id);
    }
    world.close(first, 1000);
}

fn run_in_child(place: &Place) {
    let test = format!("{}::peers_wait_for_descriptors", place.module);
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", &test, "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a child process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "it has run: {said}");
}
