//! The codecs of other Rust crates beside ours, on the same bytes, in one run.
//!
//! Every codec begins with the same bytes in memory that is not its own, as if a socket gave them,
//! and brings them to where it reads them, ours by a copy into a receive buffer. Those that are
//! async get a stream that is always ready. Each checks what it checks by default: web-socket does
//! not check that text is UTF-8, and sockudo-ws masks with keys that can be predicted.

use std::future::Future;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use sockeye_benches::frames::{self, Kind};
use sockeye_benches::{accept, texts};
use sockeye_codec::{Codec, Connection, Event, Limits, Message, encode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message of any row, and the room that goes with it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A receive buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// A socket that always has the next bytes of the same stream, and takes all that is written.
#[derive(Clone)]
struct Feed {
    stream: std::sync::Arc<[u8]>,
    at: usize,
    /// What one read gives at most.
    read_bytes: usize,
}

impl Feed {
    fn new(stream: &[u8]) -> Self {
        Self { stream: stream.into(), at: 0, read_bytes: stream.len() }
    }

    fn next_bytes(&mut self, room: usize) -> &[u8] {
        let from = self.at;
        let to = (from + room.min(self.read_bytes)).min(self.stream.len());
        self.at = if to == self.stream.len() { 0 } else { to };
        &self.stream[from..to]
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next_bytes(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Feed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        buffer.put_slice(self.next_bytes(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Feed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(black_box(bytes).len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a future that never waits comes to.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the feed is always ready"),
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// One row: `count` messages of the stream in each iteration, by each codec.
fn receive(criterion: &mut Criterion, name: &str, stream: &[u8], count: usize) {
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(count as u64));
    receive_by_sockeye(&mut group, name, stream, count);
    receive_by_tungstenite(&mut group, name, stream, count);
    receive_by_fastwebsockets(&mut group, name, stream, count);
    receive_by_sockudo(&mut group, name, stream, count);
    receive_by_web_socket(&mut group, name, stream, count);
    group.finish();
}

fn receive_by_sockeye(group: &mut Group<'_>, name: &str, stream: &[u8], count: usize) {
    let mut feed = Feed::new(stream);
    // Not at the same place of its page as the stream, as the peers' buffers are not either: a copy
    // between two such places takes a fifth longer.
    let mut room = vec![0; BUFFER_BYTES + 2_048];
    let buffer = &mut room[2_048..];
    let mut codec = Codec::server(Limits::default());
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    group.bench_function(BenchmarkId::new("sockeye", name), |b| {
        b.iter(|| {
            let mut messages = 0;
            while messages < count {
                let len = feed.read(buffer).expect("always ready");
                let mut input = &mut buffer[..len];
                while let Ok(Some(event)) = connection.receive(&mut codec, &mut input, &mut out) {
                    if let Event::Message(message) = event {
                        black_box(message);
                        messages += 1;
                    }
                }
            }
        });
    });
}

fn receive_by_tungstenite(group: &mut Group<'_>, name: &str, stream: &[u8], count: usize) {
    use tungstenite::protocol::{Role, WebSocket};
    let mut socket = WebSocket::from_raw_socket(Feed::new(stream), Role::Server, None);
    group.bench_function(BenchmarkId::new("tungstenite", name), |b| {
        b.iter(|| {
            for _ in 0..count {
                black_box(socket.read().expect("a message"));
            }
        });
    });
}

fn receive_by_fastwebsockets(group: &mut Group<'_>, name: &str, stream: &[u8], count: usize) {
    use fastwebsockets::{FragmentCollector, Role, WebSocket};
    let mut socket = WebSocket::after_handshake(Feed::new(stream), Role::Server);
    socket.set_max_message_size(MESSAGE_BYTES_MAX);
    let mut socket = FragmentCollector::new(socket);
    group.bench_function(BenchmarkId::new("fastwebsockets", name), |b| {
        b.iter(|| {
            for _ in 0..count {
                black_box(ready(socket.read_frame()).expect("a message").payload);
            }
        });
    });
}

fn receive_by_sockudo(group: &mut Group<'_>, name: &str, stream: &[u8], count: usize) {
    use sockudo_ws::{Role, protocol::Protocol};
    let mut feed = Feed::new(stream);
    let mut protocol = Protocol::new(Role::Server, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    let (mut bytes, mut messages) = (BytesMut::with_capacity(BUFFER_BYTES), Vec::new());
    group.bench_function(BenchmarkId::new("sockudo-ws", name), |b| {
        b.iter(|| {
            let mut done = 0;
            while done < count {
                bytes.extend_from_slice(feed.next_bytes(BUFFER_BYTES));
                messages.clear();
                protocol.process_into(&mut bytes, &mut messages).expect("messages");
                done += black_box(&messages).len();
            }
        });
    });
}

fn receive_by_web_socket(group: &mut Group<'_>, name: &str, stream: &[u8], count: usize) {
    let mut socket = web_socket::WebSocket::server(Feed::new(stream));
    group.bench_function(BenchmarkId::new("web-socket", name), |b| {
        b.iter(|| {
            for _ in 0..count {
                let event = ready(socket.recv()).expect("an event");
                assert!(matches!(black_box(event), web_socket::Event::Data { .. }));
            }
        });
    });
}

fn receive_rows(criterion: &mut Criterion) {
    let text = |len: usize| frames::client_frame(Kind::Text, texts::mixed(len).as_bytes());
    let short = frames::client_frame(Kind::Text, texts::ascii(32).as_bytes());
    receive(criterion, "text-32", &short, 1);
    receive(criterion, "text-32-x64", &short.repeat(64), 64);
    receive(criterion, "text-1k", &text(1 << 10), 1);
    receive(criterion, "text-64k", &text(64 << 10), 1);
    receive(criterion, "text-1m", &text(1 << 20), 1);
    let binary = frames::payload(Kind::Binary, 64 << 10);
    receive(criterion, "binary-64k", &frames::client_frame(Kind::Binary, &binary), 1);
}

/// One row: a binary message is encoded, by a server or by a client.
fn send(criterion: &mut Criterion, name: &str, len: usize, client: bool) {
    let mut group = criterion.benchmark_group("send");
    group.throughput(Throughput::Elements(1));
    let payload = frames::payload(Kind::Binary, len);

    let mut codec = Codec::client(Limits::default(), [7; 32]);
    let mut out = Vec::with_capacity(len + 14);
    group.bench_function(BenchmarkId::new("sockeye", name), |b| {
        b.iter(|| {
            out.clear();
            let key = if client { codec.next_masking_key() } else { None };
            encode::message(&mut out, Message::Binary(black_box(&payload)), key);
            black_box(&out);
        });
    });

    use tungstenite::protocol::Role;
    let role = if client { Role::Client } else { Role::Server };
    let mut socket = tungstenite::WebSocket::from_raw_socket(Feed::new(&[]), role, None);
    let shared = bytes::Bytes::copy_from_slice(&payload);
    group.bench_function(BenchmarkId::new("tungstenite", name), |b| {
        b.iter(|| socket.send(tungstenite::Message::Binary(black_box(shared.clone()))));
    });

    use fastwebsockets::{Frame, Payload};
    let role = if client { fastwebsockets::Role::Client } else { fastwebsockets::Role::Server };
    let mut socket = fastwebsockets::WebSocket::after_handshake(Feed::new(&[]), role);
    group.bench_function(BenchmarkId::new("fastwebsockets", name), |b| {
        b.iter(|| {
            let frame = Frame::binary(Payload::Borrowed(black_box(&payload)));
            ready(socket.write_frame(frame)).expect("written");
        });
    });

    let role = if client { sockudo_ws::Role::Client } else { sockudo_ws::Role::Server };
    let mut protocol =
        sockudo_ws::protocol::Protocol::new(role, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    let mut out = BytesMut::with_capacity(len + 14);
    group.bench_function(BenchmarkId::new("sockudo-ws", name), |b| {
        b.iter(|| {
            out.clear();
            let message = sockudo_ws::Message::Binary(black_box(shared.clone()));
            protocol.encode_message(&message, &mut out).expect("encoded");
            black_box(&out);
        });
    });

    let mut socket = if client {
        web_socket::WebSocket::client(Feed::new(&[]))
    } else {
        web_socket::WebSocket::server(Feed::new(&[]))
    };
    group.bench_function(BenchmarkId::new("web-socket", name), |b| {
        b.iter(|| ready(socket.send(black_box(&payload[..]))).expect("written"));
    });
    group.finish();
}

fn send_rows(criterion: &mut Criterion) {
    send(criterion, "server-32", 32, false);
    send(criterion, "client-32", 32, true);
    send(criterion, "client-4k", 4 << 10, true);
    send(criterion, "client-64k", 64 << 10, true);
}

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept");
    group.throughput(Throughput::Elements(1));
    let request = frames::REQUEST_OF_A_BROWSER.as_bytes();

    let (mut buffer, mut out) = (vec![0; BUFFER_BYTES], Vec::with_capacity(512));
    group.bench_function("sockeye", |b| {
        b.iter(|| {
            let buffer = &mut buffer[..request.len()];
            buffer.copy_from_slice(black_box(request));
            accept(buffer, &mut out);
            black_box(&out);
        });
    });
    let feed = Feed::new(request);
    group.bench_function("tungstenite", |b| {
        b.iter(|| assert!(tungstenite::accept(black_box(feed.clone())).is_ok()));
    });
    group.bench_function("sockudo-ws", |b| {
        b.iter(|| {
            let bytes = black_box(request).to_vec();
            let (request, _) =
                sockudo_ws::handshake::parse_request(&bytes).expect("good").expect("whole");
            let key = sockudo_ws::handshake::generate_accept_key(request.key);
            black_box(sockudo_ws::handshake::build_response(&key, None, None));
        });
    });
    group.finish();
}

criterion_group!(benches, receive_rows, send_rows, handshake);
criterion_main!(benches);
