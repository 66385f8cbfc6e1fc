//! The floor of clients gets the answers that it counts, ends when its time is up, and says so when
//! a server does not do what it must.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_benches::frames::{ANSWER, Kind, client_frame, head_len, payload};

const CONNECTIONS: usize = 5;
/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

fn client(port: u16, bytes: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floor-client"));
    let arguments = format!(
        "--port {port} --connections {CONNECTIONS} --bytes {bytes} --seconds 0.2 --server {}",
        std::process::id()
    );
    command.args(arguments.split(' ')).stdin(Stdio::null());
    command
}

/// The request, which the client sends before anything else.
fn shake_hands(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while head_len(&head).is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"GET / HTTP/1.1\r\n"));
    stream.write_all(ANSWER).unwrap();
}

/// An echo that is content with nothing but the right frames. Answers leave in two pieces. Returns
/// when the client is gone.
fn echo(mut stream: TcpStream, frame: &[u8], answered: &AtomicU64) {
    shake_hands(&mut stream);
    let mut received = vec![0; frame.len()];
    let answer = vec![b'a'; frame.len() - 4];
    while stream.read_exact(&mut received).is_ok() {
        assert_eq!(received, frame);
        let (one, other) = answer.split_at(answer.len() / 2);
        if stream.write_all(one).and_then(|()| stream.write_all(other)).is_err() {
            return;
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Not for ever: the client may have failed.
fn accept(listener: &TcpListener) -> TcpStream {
    let until = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < until, "no connection");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs the client against what `serve` makes of each of its connections.
fn run(bytes: usize, serve: impl Fn(TcpStream) + Sync) -> Output {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        let mut client = client(port, bytes);
        let child = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        for _ in 0..CONNECTIONS {
            let stream = accept(&listener);
            scope.spawn(|| serve(stream));
        }
        child.wait_with_output().unwrap()
    })
}

#[test]
fn it_counts_answers_that_have_come() {
    for bytes in [32, 1 << 10, 300_000] {
        let frame = client_frame(Kind::Binary, &payload(Kind::Binary, bytes));
        let answered = AtomicU64::new(0);
        let begun = Instant::now();
        let output = run(bytes, |stream| echo(stream, &frame, &answered));
        // The time that it was told to take: 0.2 s and a fifth of that.
        assert!(begun.elapsed() >= Duration::from_millis(240));
        assert!(output.status.success(), "{output:?}");
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number =
            |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("no {name}: {line}"));
        let answered = answered.into_inner();
        assert!((1..=answered).contains(&number("messages")), "{line} of {answered}");
        assert!(number("elapsed_ns") >= 200_000_000, "{line}");
        assert!(number("client_cpu_ns") > 0, "{line}");
        assert!(number("server_cpu_ns") > 0, "{line}");
    }
}

#[test]
fn a_server_that_answers_too_much_or_goes_is_an_error() {
    let failed = |expected: &str, serve: &(dyn Fn(TcpStream) + Sync)| {
        let output = run(32, serve);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(expected), "{output:?}");
        assert!(output.stdout.is_empty());
    };
    failed("longer than what was sent", &|mut stream| {
        shake_hands(&mut stream);
        // One is enough: the client may be gone by the time that the others are served.
        if stream.read_exact(&mut [0; 38]).and_then(|()| stream.write_all(&[0; 35])).is_ok() {
            // Until the client has gone.
            let _ = stream.read(&mut [0; 1 << 10]);
        }
    });
    failed("closed a connection", &|mut stream| {
        shake_hands(&mut stream);
        let _ = stream.read_exact(&mut [0; 38]);
    });
}
