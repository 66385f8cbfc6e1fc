//! The codec against what bounds it, in one run: memcpy, a plain exclusive-or, simdutf8 alone,
//! httparse alone. `cargo bench --bench codec`, then `cargo run --release --bin codec-table`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiversion::multiversion;
use sockeye_benches::frames::REQUEST_OF_A_BROWSER;
use sockeye_benches::{accept, texts};
use sockeye_codec::{Codec, Connection, Event, Limits, Message, encode, mask};

/// Masks nothing, so that the same bytes can be unmasked again and again; it costs what any key
/// costs.
const KEY: [u8; 4] = [0; 4];

/// The floor of unmasking: what the compiler makes of a plain loop for the widest vectors.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn plain_xor(bytes: &mut [u8], key: u64) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes().into_iter().cycle()) {
        *byte ^= key;
    }
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for len in
        [16, 32, 64, 128, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20]
    {
        group.throughput(Throughput::Bytes(len as u64));
        let mut bytes = vec![0xA5; len + 64 + 14];
        let aligned = bytes.as_ptr().align_offset(64);
        // Aligned to nothing in particular, as payloads behind a header are.
        let payload = &mut bytes[aligned + 14..aligned + 14 + len];
        group.bench_function(BenchmarkId::new("floor", len), |b| {
            b.iter(|| plain_xor(black_box(payload), black_box(0)));
        });
        group.bench_function(BenchmarkId::new("sockeye", len), |b| {
            b.iter(|| mask::apply(black_box(payload), black_box(KEY), 0));
        });
    }
    group.finish();
    // Every alignment and every phase of the key, for one length of each kind.
    let mut group = criterion.benchmark_group("unmask_every_alignment_and_phase");
    for len in [32_usize, 1 << 10, 64 << 10] {
        group.throughput(Throughput::Bytes(256 * len as u64));
        // A place for each alignment, so that none reads what another has just written.
        let room = len.next_multiple_of(64) + 128;
        let mut bytes = vec![0xA5; 65 * room];
        let aligned = bytes.as_ptr().align_offset(64);
        let bytes = &mut bytes[aligned..];
        group.bench_function(BenchmarkId::new("floor", len), |b| {
            b.iter(|| {
                for at in 0..64 {
                    for _ in 0..4 {
                        let payload = &mut bytes[at * room + at..][..len];
                        plain_xor(black_box(payload), black_box(0));
                    }
                }
            });
        });
        group.bench_function(BenchmarkId::new("sockeye", len), |b| {
            b.iter(|| {
                for at in 0..64 {
                    for phase in 0..4 {
                        let payload = &mut bytes[at * room + at..][..len];
                        mask::apply(black_box(payload), black_box(KEY), phase);
                    }
                }
            });
        });
    }
    group.finish();
}

/// A whole frame of a client, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let message = match first {
        0x81 => Message::Text(str::from_utf8(payload).expect("text")),
        _ => Message::Binary(payload),
    };
    encode::message(&mut frame, message, Some(KEY));
    frame
}

/// Takes every message out of the bytes.
#[inline]
fn receive(
    connection: &mut Connection,
    codec: &mut Codec,
    mut bytes: &mut [u8],
    out: &mut Vec<u8>,
) -> usize {
    let mut payload_bytes = 0;
    while let Ok(Some(event)) = connection.receive(codec, &mut bytes, out) {
        if let Event::Message(message) = event {
            payload_bytes += black_box(message).len();
        }
    }
    payload_bytes
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    for (name, text) in [
        ("ascii-64k", texts::ascii(64 << 10)),
        ("ascii-1m", texts::ascii(1 << 20)),
        ("mixed-64k", texts::mixed(64 << 10)),
        ("mixed-1m", texts::mixed(1 << 20)),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("floor", name), |b| {
            b.iter(|| simdutf8::basic::from_utf8(black_box(text.as_bytes())).is_ok());
        });
        let mut bytes = frame(0x81, text.as_bytes());
        let mut codec = Codec::server(Limits::default());
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        group.bench_function(BenchmarkId::new("sockeye", name), |b| {
            b.iter(|| receive(&mut connection, &mut codec, black_box(&mut bytes), &mut out));
        });
    }
    group.finish();
    // In fragments: the time for a byte must not depend on how many there are.
    let mut group = criterion.benchmark_group("text_in_fragments");
    let text = texts::mixed(64 << 10);
    group.throughput(Throughput::Bytes(text.len() as u64));
    for size in [64, 1 << 10, 16 << 10] {
        let mut bytes = Vec::new();
        let last = text.len().div_ceil(size) - 1;
        for (n, piece) in text.as_bytes().chunks(size).enumerate() {
            use sockeye_codec::OpCode::{Continuation, Text};
            let opcode = if n == 0 { Text } else { Continuation };
            encode::frame(&mut bytes, n == last, opcode, piece, Some(KEY));
        }
        let mut codec = Codec::server(Limits::default());
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        group.bench_function(BenchmarkId::new("sockeye", size), |b| {
            b.iter(|| receive(&mut connection, &mut codec, black_box(&mut bytes), &mut out));
        });
    }
    group.finish();
}

fn encode_client(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_client");
    for len in [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(len as u64));
        let payload = vec![0xA5; len];
        let mut out = Vec::with_capacity(len + 14);
        group.bench_function(BenchmarkId::new("floor", len), |b| {
            b.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&payload));
            });
        });
        group.bench_function(BenchmarkId::new("sockeye", len), |b| {
            b.iter(|| {
                out.clear();
                encode::message(
                    &mut out,
                    Message::Binary(black_box(&payload)),
                    Some(black_box(KEY)),
                );
            });
        });
    }
    group.finish();
}

fn short_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("short");
    for (name, text, count) in [
        ("text-32", texts::ascii(32), 1),
        ("text-32-x64", texts::ascii(32), 64),
        ("text-100", texts::ascii(100), 1),
        ("text-64", texts::ascii(64), 1),
        ("mixed-64", texts::mixed(64), 1),
        ("mixed-32", texts::mixed(32), 1),
        ("mixed-100", texts::mixed(100), 1),
        ("mixed-200", texts::mixed(200), 1),
    ] {
        let mut bytes = frame(0x81, text.as_bytes()).repeat(count);
        let mut codec = Codec::server(Limits::default());
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("sockeye", name), |b| {
            b.iter(|| receive(&mut connection, &mut codec, black_box(&mut bytes), &mut out));
        });
    }
    group.throughput(Throughput::Elements(1));
    for len in [32, 1_000, 100_000] {
        let payload = vec![b'x'; len];
        group.bench_function(BenchmarkId::new("sockeye", format!("header-{len}")), |b| {
            b.iter(|| encode::header(black_box(Message::Binary(&payload))));
        });
    }
    let mut out = Vec::with_capacity(4_096);
    let payload = [b'x'; 32];
    group.bench_function(BenchmarkId::new("sockeye", "encode-32"), |b| {
        b.iter(|| {
            out.clear();
            encode::message(&mut out, Message::Binary(black_box(&payload)), None);
        });
    });
    group.finish();
}

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    group.bench_function("floor", |b| {
        b.iter(|| {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut headers);
            request.parse(black_box(REQUEST_OF_A_BROWSER.as_bytes())).is_ok()
        });
    });
    let (mut bytes, mut out) = (REQUEST_OF_A_BROWSER.as_bytes().to_vec(), Vec::with_capacity(512));
    group.bench_function("sockeye", |b| {
        b.iter(|| accept(black_box(&mut bytes), &mut out));
    });
    group.finish();
}

criterion_group!(benches, unmask, text, encode_client, short_frames, handshake);
criterion_main!(benches);
