//! "No allocation per message in steady state": the shard's thread counts what it allocates, and
//! after a warm-up that number stands still.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sockeye::{Config, Ctx, DeflateConfig, Handler, Message, Server};
use sockeye_codec::Role;
use sockeye_codec::deflate::{Compressor, Deflate, negotiate};
use sockeye_codec::{OpCode, encode};
use sockeye_tests::rig::backend;
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEY: [u8; 4] = [1, 2, 3, 4];

/// Echoes binary messages; publishes text to itself; an empty binary one asks for the count.
struct Counting {
    allocated: thread::ThreadLocal<u64>,
}

impl Handler for Counting {
    type Session = ();

    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.subscribe("topic").unwrap();
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        match message {
            Message::Binary([]) => {
                ctx.send(&self.allocated.get().to_be_bytes());
            }
            Message::Text(text) => ctx.publish("topic", text).unwrap(),
            message => {
                ctx.send(message);
            }
        }
    }
}

struct Client(TcpStream);

impl Client {
    fn connect(server: std::net::SocketAddr) -> Self {
        Self::connect_with(server, "none-that-is-known")
    }

    fn connect_with(server: std::net::SocketAddr, extension: &str) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: {extension}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Self(stream)
    }

    /// Sends in `pieces` writes and reads as many bytes as are to come back.
    fn exchange(&mut self, bytes: &[u8], pieces: usize, answer_len: usize) -> Vec<u8> {
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            self.0.write_all(piece).unwrap();
        }
        let mut answer = vec![0; answer_len];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }

    fn allocated(&mut self) -> u64 {
        let mut frame = Vec::new();
        encode::message(&mut frame, Message::Binary(&[]), Some(KEY));
        let answer = self.exchange(&frame, 1, 10);
        u64::from_be_bytes(answer[2..].try_into().unwrap())
    }

    /// One of everything that goes on all day: single, pipelined, cut, fragmented, published,
    /// pinged, and larger than the write-through threshold.
    fn day(&mut self) {
        let mut short = Vec::new();
        encode::message(&mut short, Message::Binary(&[7; 32]), Some(KEY));
        self.exchange(&short, 1, 34);
        self.exchange(&short.repeat(50), 1, 34 * 50);
        self.exchange(&short.repeat(9), 7, 34 * 9);

        let mut fragments = Vec::new();
        encode::frame(&mut fragments, false, OpCode::Binary, &[1; 3_000], Some(KEY));
        encode::frame(&mut fragments, true, OpCode::Ping, b"ping", Some(KEY));
        encode::frame(&mut fragments, true, OpCode::Continuation, &[2; 3_000], Some(KEY));
        self.exchange(&fragments, 3, 4 + 6_000 + 6);

        let mut published = Vec::new();
        encode::message(&mut published, Message::Text("to everybody"), Some(KEY));
        self.exchange(&published.repeat(3), 1, 14 * 3);

        let mut large = Vec::new();
        encode::message(&mut large, Message::Binary(&[3; 40_000]), Some(KEY));
        self.exchange(&large, 1, 4 + 40_000);
    }
}

/// The bytes of a day with compression, and how many come back.
struct CompressedDay {
    client: Client,
    frames: Vec<u8>,
    answer_len: usize,
}

impl CompressedDay {
    fn new(server: std::net::SocketAddr, offer: &str, config: &DeflateConfig) -> Self {
        let params = negotiate([offer.as_bytes()], config).unwrap();
        let (mut ours, mut theirs) =
            (Deflate::new(&params, Role::Client), Deflate::new(&params, Role::Server));
        let mut compressor = Compressor::new(config);
        let (mut frames, mut answer) = (Vec::new(), Vec::new());
        for n in 0..20 {
            // As the client sends it, and as the server, which has the same compressor, does.
            let bytes = b"tin fish ".repeat(50 + 200 * n);
            ours.encode(&mut compressor, Message::Binary(&bytes), Some(KEY), &mut frames);
            theirs.encode(&mut compressor, Message::Binary(&bytes), None, &mut answer);
        }
        let client = Client::connect_with(server, offer);
        Self { client, frames, answer_len: answer.len() }
    }
}

/// A connection without takeover, day after day the same bytes; the count comes over another one,
/// which is on the same shard.
#[test]
fn a_warm_shard_allocates_nothing_for_compressed_messages() {
    let config = DeflateConfig { compress_bytes_min: 32, ..DeflateConfig::default() };
    let server = Server::bind("127.0.0.1:0").unwrap().shards(1).backend(backend());
    let server = server.config(Config { deflate: Some(config), ..Config::default() });
    let server =
        server.spawn(|_| Counting { allocated: thread::allocatedp::read().unwrap() }).unwrap();
    let mut teller = Client::connect(server.local_addr());
    let mut day = CompressedDay::new(server.local_addr(), "permessage-deflate", &config);
    let mut calm = 0;
    for _ in 0..5_000 {
        let before = teller.allocated();
        day.client.exchange(&day.frames, 1, day.answer_len);
        day.client.exchange(&day.frames, 5, day.answer_len);
        calm = if teller.allocated() == before { calm + 1 } else { 0 };
        if calm == 100 {
            return;
        }
    }
    panic!("the shard goes on allocating");
}

#[test]
fn a_warm_shard_allocates_nothing_for_messages() {
    let server = Server::bind("127.0.0.1:0").unwrap().shards(1).backend(backend());
    let server =
        server.spawn(|_| Counting { allocated: thread::allocatedp::read().unwrap() }).unwrap();
    let mut client = Client::connect(server.local_addr());
    // How the reads fall is up to the system: warm until a hundred days in a row cost nothing.
    // What allocates for each message never gets there.
    let mut calm = 0;
    for _ in 0..5_000 {
        let before = client.allocated();
        client.day();
        calm = if client.allocated() == before { calm + 1 } else { 0 };
        if calm == 100 {
            return;
        }
    }
    panic!("the shard goes on allocating");
}
