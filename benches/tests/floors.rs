//! The floors move the bytes that they are there to move: a bound that loses some is none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use sockeye_benches::frames::{ANSWER, REQUEST};
use sockeye_benches::servers::Running;

const EPOLL: &str = env!("CARGO_BIN_EXE_floor");
const IO_URING: &str = env!("CARGO_BIN_EXE_floor-uring");
/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

struct Floor(Running);

impl Floor {
    /// `None` where a container forbids io_uring, or the kernel is old. `SOCKEYE_REQUIRE_IO_URING`
    /// makes a failure of that.
    fn start(program: &str, arguments: &str) -> Option<Self> {
        match Running::start(Command::new(program).args(arguments.split_whitespace())) {
            Ok(running) => Some(Self(running)),
            Err(error) => {
                let required = std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_some();
                assert!(program == IO_URING && !required, "{program}: {error}");
                eprintln!("not tested: {program}: {error}");
                None
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let mut stream = self.0.connect().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(REQUEST).unwrap();
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, ANSWER);
        stream
    }
}

fn each_floor(arguments: &str, test: impl Fn(&Floor)) {
    for program in [EPOLL, IO_URING] {
        Floor::start(program, arguments).iter().for_each(&test);
    }
}

fn expect(stream: &mut TcpStream, bytes: usize) {
    let read = std::io::copy(&mut stream.take(bytes as u64), &mut std::io::sink()).unwrap();
    assert_eq!(read, bytes as u64);
}

/// After its FIN there is nothing more than was expected.
fn expect_end(mut stream: TcpStream) {
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_answer_is_as_long_as_an_echo() {
    each_floor("--frame-bytes 38", |floor| {
        let mut streams: Vec<_> = (0..40).map(|_| floor.connect()).collect();
        for frames in [1, 2, 16, 1000] {
            for stream in &mut streams {
                stream.write_all(&vec![b'x'; 38 * frames]).unwrap();
            }
            for stream in &mut streams {
                expect(stream, 34 * frames);
            }
        }
        streams.into_iter().for_each(expect_end);
    });
}

/// More than the kernel takes at once: what it does not take is neither lost nor sent twice.
#[test]
fn a_peer_that_reads_late_gets_it_all() {
    const FRAMES: usize = 300;
    const FRAME_BYTES: usize = 64 << 10;
    let test = |floor: &Floor| {
        let mut reader = floor.connect();
        let mut writer = reader.try_clone().unwrap();
        let written = std::thread::spawn(move || {
            for _ in 0..FRAMES {
                writer.write_all(&vec![b'x'; FRAME_BYTES]).unwrap();
            }
        });
        // Others are served meanwhile.
        let mut other = floor.connect();
        other.write_all(&vec![b'x'; FRAME_BYTES]).unwrap();
        expect(&mut other, FRAME_BYTES - 4);
        written.join().unwrap();
        expect(&mut reader, FRAMES * (FRAME_BYTES - 4));
        expect_end(reader);
    };
    each_floor("--frame-bytes 65536", test);
    each_floor("--unmask --frame-bytes 65536", test);
}

/// What it does besides: the payload is passed over once, wherever its pieces end.
#[test]
fn unmasking_changes_what_the_bytes_are_and_not_how_many() {
    const FRAME_BYTES: usize = 16_392;
    each_floor("--unmask --frame-bytes 16392", |floor| {
        let mut stream = floor.connect();
        for _ in 0..3 {
            stream.write_all(&[0; FRAME_BYTES]).unwrap();
            let mut answer = vec![0; FRAME_BYTES - 4];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.iter().all(|byte| (1..=4).contains(byte)));
        }
        expect_end(stream);
    });
}

/// A peer that leaves while a send waits for it; its descriptor's number is another's at once.
#[test]
fn a_peer_that_leaves_harms_nobody() {
    each_floor("--frame-bytes 65536", |floor| {
        for _ in 0..20 {
            let mut gone = floor.connect();
            for _ in 0..200 {
                gone.write_all(&[b'x'; 65536]).unwrap();
            }
            drop(gone);
            let mut other = floor.connect();
            other.write_all(&[b'x'; 65536]).unwrap();
            expect(&mut other, 65536 - 4);
            expect_end(other);
        }
    });
}

#[test]
fn a_broadcast_goes_to_all() {
    each_floor("--app broadcast --frame-bytes 136", |floor| {
        let mut streams: Vec<_> = (0..50).map(|_| floor.connect()).collect();
        for frames in [1, 16] {
            streams[0].write_all(&vec![b'x'; 136 * frames]).unwrap();
            for stream in &mut streams {
                expect(stream, 132 * frames);
            }
        }
        streams.into_iter().for_each(expect_end);
    });
}

/// With one buffer that is shorter than a frame, receives end all the time and begin anew.
#[test]
fn buffers_may_be_few_and_short() {
    let arguments = "--frame-bytes 1000 --buffers 1 --buffer-bytes 256";
    Floor::start(IO_URING, arguments).iter().for_each(|floor| {
        let mut streams: Vec<_> = (0..20).map(|_| floor.connect()).collect();
        for stream in &mut streams {
            stream.write_all(&[b'x'; 2000]).unwrap();
        }
        for stream in &mut streams {
            expect(stream, 2 * 996);
        }
        streams.into_iter().for_each(expect_end);
    });
}

/// One that waits for several completions is content with one when the time is up.
#[test]
fn a_wait_for_many_ends() {
    let arguments = "--frame-bytes 38 --want 64 --min-wait-us 100";
    Floor::start(IO_URING, arguments).iter().for_each(|floor| {
        let mut stream = floor.connect();
        for _ in 0..10 {
            stream.write_all(&[b'x'; 38]).unwrap();
            expect(&mut stream, 34);
        }
        expect_end(stream);
    });
}
