//! What TLS costs in memory: what is allocated for a message, and what an idle connection keeps,
//! but for what the C code of the ciphers takes. The numbers are in docs/TLS.md; `--nocapture`
//! prints them.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use sockeye::{Config, Ctx, Handler, Message, Running, Server};
use sockeye_tests::peer::{BINARY, masked};
use sockeye_tests::rig::backend;
use sockeye_tests::tls::{authority, config};
use sockeye_tests::wss::Wss;
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Above what was measured: more is news.
const IDLE_BYTES_MAX: u64 = 8 << 10;
/// What rustls takes for a record that comes and one that goes.
const BYTES_PER_MESSAGE_MAX: u64 = 256;

/// An echo that answers an empty binary message with what its shard's thread has allocated so far,
/// and freed.
struct Counting {
    allocated: thread::ThreadLocal<u64>,
    freed: thread::ThreadLocal<u64>,
}

impl Handler for Counting {
    type Session = ();

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        match message {
            Message::Binary([]) => {
                let counts = [self.allocated.get(), self.freed.get()].map(u64::to_be_bytes);
                ctx.send(&counts.concat());
            }
            message => {
                ctx.send(message);
            }
        }
    }
}

fn counting() -> Running {
    let quiet = Config { ping_interval_ms: 0, ..Config::default() };
    let server = Server::bind("127.0.0.1:0").expect("loopback");
    let server = server.config(quiet).backend(backend()).shards(1).tls(config());
    let counting = |_| Counting {
        allocated: thread::allocatedp::read().expect("jemalloc counts"),
        freed: thread::deallocatedp::read().expect("jemalloc counts"),
    };
    server.spawn(counting).expect("a server")
}

/// What the shard's thread has allocated, and what of it is left.
fn count(by: &mut Wss) -> (u64, i64) {
    by.0.write_all(&masked(BINARY, b"")).expect("it is open");
    let mut answer = [0; 18];
    by.0.read_exact(&mut answer).expect("it is open");
    let number = |at: usize| u64::from_be_bytes(answer[at..at + 8].try_into().expect("eight"));
    let (allocated, freed) = (number(2), number(10));
    (allocated, allocated as i64 - freed as i64)
}

fn measure(version: &'static SupportedProtocolVersion) {
    const MESSAGES: u64 = 200;
    const IDLE: u64 = 500;
    let server = counting();
    let address = server.local_addr();
    let client = Arc::new(authority().client_with(&[version], None));
    let mut wss = Wss::open(address, &client);
    for _ in 0..100 {
        wss.echo("hello, this is a message");
    }
    let (before, _) = count(&mut wss);
    for _ in 0..MESSAGES {
        wss.echo("hello, this is a message");
    }
    let (after, _) = count(&mut wss);
    let bytes = (after - before) / MESSAGES;
    println!("{version:?}: {bytes} bytes are allocated for a message of 24 bytes and its echo");

    let mut all: Vec<_> = (0..10).map(|_| Wss::open(address, &client)).collect();
    let (_, before) = count(&mut wss);
    all.extend((0..IDLE).map(|_| Wss::open(address, &client)));
    let (_, after) = count(&mut wss);
    let idle = u64::try_from(after - before).expect("they cost something") / IDLE;
    println!("{version:?}: {idle} bytes are kept for an idle connection");
    assert!((500..IDLE_BYTES_MAX).contains(&idle), "{idle} bytes for an idle connection");
    assert!(bytes < BYTES_PER_MESSAGE_MAX, "{bytes} bytes for a message");
    drop(all);
    while server.handle().stats().connections > 1 {
        std::thread::yield_now();
    }
    let (_, left) = count(&mut wss);
    let left = left - before + 10 * i64::try_from(idle).expect("a small number");
    assert!(left < 256 << 10, "{left} bytes are left of {IDLE} connections");
}

#[test]
fn tls_1_2() {
    measure(&TLS12);
}

#[test]
fn tls_1_3() {
    measure(&TLS13);
}
