//! Counts the instructions of twelve operations of the codec under valgrind and holds them against
//! `benches/instructions.txt`. A count does not depend on what else the machine does, so that a
//! change of a few per cent is seen, which no clock would show.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use sockeye_benches::frames::REQUEST_OF_A_BROWSER;
use sockeye_benches::{accept, texts};
use sockeye_codec::{Codec, Connection, Event, Limits, Message, OpCode, encode, mask};

/// More than this above the count that is kept is a failure.
const MARGIN: f64 = 0.03;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Counts the instructions of each operation (valgrind must be installed).
#[derive(Debug, Parser)]
struct Options {
    /// Keep the counts of this run as the ones to hold later ones against
    #[arg(long)]
    write: bool,
    /// Run one operation, once: what valgrind is given
    #[arg(long, hide = true)]
    run: Option<String>,
}

/// A name, and what prepares the operation and hands it to [`measured`].
type Operation = (&'static str, fn());

const OPERATIONS: [Operation; 12] = [
    ("unmask-64k", unmask),
    ("receive-text-32", || {
        receive(&frame(true, OpCode::Text, texts::ascii(32).as_bytes()), 1 << 18)
    }),
    ("receive-64-texts-of-32", || {
        receive(&frame(true, OpCode::Text, texts::ascii(32).as_bytes()).repeat(64), 1 << 18);
    }),
    ("echo-64-texts-of-32", echo_short),
    ("receive-text-64k-mixed", || {
        receive(&frame(true, OpCode::Text, texts::mixed(64 << 10).as_bytes()), 1 << 18);
    }),
    ("receive-text-16k-in-pieces-of-1k", || {
        receive(&frame(true, OpCode::Text, texts::mixed(16 << 10).as_bytes()), 1 << 10);
    }),
    ("receive-16-fragments-of-100", receive_fragments),
    ("receive-binary-1k", || receive(&frame(true, OpCode::Binary, &[0xA5; 1_024]), 1 << 18)),
    ("receive-ping-and-answer", || receive(&frame(true, OpCode::Ping, b"are you there?"), 1 << 18)),
    ("encode-32-by-server", || encode(32, None)),
    ("encode-4k-by-client", || encode(4 << 10, Some(KEY))),
    ("accept-handshake", accept_handshake),
];

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.run {
        Some(name) => run(name),
        None => compare(options.write),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<(), Box<dyn Error>> {
    let operation = OPERATIONS.iter().find(|operation| operation.0 == name);
    operation.ok_or("no such operation")?.1();
    Ok(())
}

/// Valgrind counts while this runs, and only then.
#[inline(never)]
fn measured<R>(operation: impl FnOnce() -> R) -> R {
    black_box(operation())
}

fn unmask() {
    let mut bytes = vec![0xA5; 64 << 10];
    measured(|| mask::apply(black_box(&mut bytes), black_box(KEY), 0));
}

fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::frame(&mut frame, fin, opcode, payload, Some(KEY));
    frame
}

/// Twice, since the buffers of the first time are there the second time.
fn receive(stream: &[u8], piece_bytes: usize) {
    let mut codec = Codec::server(Limits::default());
    let (mut connection, mut out) = (Connection::new(), Vec::with_capacity(4_096));
    let mut receive = |mut stream: Vec<u8>| {
        for piece in stream.chunks_mut(piece_bytes) {
            let mut input = piece;
            while let Ok(Some(event)) = connection.receive(&mut codec, &mut input, &mut out) {
                if let Event::Message(message) = event {
                    black_box(message);
                }
            }
        }
    };
    receive(stream.to_vec());
    let again = stream.to_vec();
    measured(|| receive(black_box(again)));
}

/// As the engine does it: short messages in a loop of their own.
fn echo_short() {
    let mut stream = frame(true, OpCode::Text, texts::ascii(32).as_bytes()).repeat(64);
    let mut codec = Codec::server(Limits::default());
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    let mut block = Vec::with_capacity(4_096);
    let mut input = &mut stream[..];
    measured(|| {
        let input = black_box(&mut input);
        while let Ok(Some(message)) = connection.receive_short(&mut codec, input, &mut out) {
            encode::message(&mut block, message, None);
        }
    });
    assert!(input.is_empty(), "all are short");
}

fn receive_fragments() {
    let text = texts::mixed(1_600);
    let pieces = text.as_bytes().chunks(100).enumerate();
    let frames = pieces.map(|(n, piece)| {
        frame(n == 15, if n == 0 { OpCode::Text } else { OpCode::Continuation }, piece)
    });
    receive(&frames.collect::<Vec<_>>().concat(), 1 << 18);
}

fn encode(len: usize, key: Option<[u8; 4]>) {
    let payload = vec![0xA5; len];
    let mut out = Vec::with_capacity(len + 14);
    measured(|| encode::message(&mut out, Message::Binary(black_box(&payload)), black_box(key)));
}

fn accept_handshake() {
    let (mut bytes, mut out) = (REQUEST_OF_A_BROWSER.as_bytes().to_vec(), Vec::with_capacity(512));
    // The first time, sha1 and memchr find out what the processor can do.
    accept(&mut bytes, &mut out);
    measured(|| accept(black_box(&mut bytes), &mut out));
}

/// What is kept, and what it is now.
fn compare(write: bool) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let kept = if write { String::new() } else { fs::read_to_string(&path)? };
    let (mut lines, mut worse) = (String::new(), Vec::new());
    for (name, _) in OPERATIONS {
        let count = count(name)?;
        lines += &format!("{name} {count}\n");
        let before: Option<f64> =
            kept.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        match before {
            Some(before) => {
                let change = count as f64 / before - 1.0;
                println!("{name:<34} {count:>9}  {:+.1} %", change * 100.0);
                if change > MARGIN {
                    worse.push(name);
                }
            }
            None if write => println!("{name:<34} {count:>9}"),
            None => return Err(format!("{name} is not in {}", path.display()).into()),
        }
    }
    if write {
        fs::write(path, lines)?;
    }
    if worse.is_empty() {
        return Ok(());
    }
    let percent = MARGIN * 100.0;
    Err(format!(
        "more than {percent} % more instructions: {} (--write keeps the new counts)",
        worse.join(", ")
    )
    .into())
}

fn count(name: &str) -> Result<u64, Box<dyn Error>> {
    let program: PathBuf = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured*")
        .arg(program)
        .args(["--run", name])
        .output()
        .map_err(|error| format!("valgrind: {error}: is it installed?"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if count > 0 && output.status.success() => Ok(count),
        _ => Err(format!("{name} was not counted: {text}").into()),
    }
}
