//! The floor of wss moves the bytes that it is there to move, under TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use sockeye_benches::certificate::Certificate;
use sockeye_benches::frames::{ANSWER, REQUEST};
use sockeye_benches::servers::Running;
use sockeye_benches::tls::{NAME, client_config};

/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A floor, ended with its test.
struct Floor {
    running: Running,
    _certificate: Certificate,
}

fn command(certificate: &Certificate) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floor-tls"));
    command.arg("--tls-cert").arg(certificate.chain()).arg("--tls-key").arg(certificate.key());
    command
}

impl Floor {
    fn start(frame_bytes: usize) -> Self {
        let certificate = Certificate::new().unwrap();
        let mut command = command(&certificate);
        command.args(["--frame-bytes", &frame_bytes.to_string()]);
        Self { running: Running::start(&mut command).unwrap(), _certificate: certificate }
    }

    fn connect(&self, config: &Arc<ClientConfig>) -> Stream {
        let socket = self.running.connect().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(REQUEST).unwrap();
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, ANSWER);
        stream
    }
}

fn once() -> Arc<ClientConfig> {
    client_config(false).unwrap()
}

fn expect(stream: &mut Stream, bytes: usize) {
    let read = std::io::copy(&mut stream.take(bytes as u64), &mut std::io::sink()).unwrap();
    assert_eq!(read, bytes as u64);
}

/// After its FIN there is nothing more than was expected, and no `close_notify` either.
fn expect_end(mut stream: Stream) {
    stream.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn an_answer_is_as_long_as_an_echo() {
    let (floor, config) = (Floor::start(38), once());
    let mut streams: Vec<_> = (0..40).map(|_| floor.connect(&config)).collect();
    for frames in [1, 2, 16, 1000] {
        for stream in &mut streams {
            stream.write_all(&vec![b'x'; 38 * frames]).unwrap();
        }
        for stream in &mut streams {
            expect(stream, 34 * frames);
        }
    }
    streams.into_iter().for_each(expect_end);
}

/// Records come in pieces of any length, also between their bytes of length.
#[test]
fn records_in_pieces_are_whole_records() {
    let (floor, config) = (Floor::start(1000), once());
    let mut stream = floor.connect(&config);
    stream.sock.set_nodelay(true).unwrap();
    stream.conn.writer().write_all(&[b'x'; 2000]).unwrap();
    let mut records = Vec::new();
    stream.conn.write_tls(&mut records).unwrap();
    for piece in records.chunks(3) {
        stream.sock.write_all(piece).unwrap();
    }
    expect(&mut stream, 2 * 996);
    expect_end(stream);
}

/// More than the kernel takes at once: what it does not take is neither lost nor sent twice, and
/// reading goes on when it is gone.
#[test]
fn a_peer_that_reads_late_gets_it_all() {
    const FRAMES: usize = 300;
    const FRAME_BYTES: usize = 64 << 10;
    let (floor, config) = (Floor::start(FRAME_BYTES), once());
    let Stream { conn: mut session, sock: mut socket } = floor.connect(&config);
    session.set_buffer_limit(None);
    session.writer().write_all(&vec![b'x'; FRAMES * FRAME_BYTES]).unwrap();
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records).unwrap();
    }
    let mut writer = socket.try_clone().unwrap();
    let written = std::thread::spawn(move || writer.write_all(&records).unwrap());
    // Others are served meanwhile.
    let mut other = floor.connect(&config);
    other.write_all(&vec![b'x'; FRAME_BYTES]).unwrap();
    expect(&mut other, FRAME_BYTES - 4);
    let mut due = FRAMES * (FRAME_BYTES - 4);
    while due > 0 {
        assert!(session.read_tls(&mut socket).unwrap() > 0);
        let come = session.process_new_packets().unwrap().plaintext_bytes_to_read();
        let plain = &mut session.reader().take(come as u64);
        due -= usize::try_from(std::io::copy(plain, &mut std::io::sink()).unwrap()).unwrap();
    }
    written.join().unwrap();
    expect_end(Stream { conn: session, sock: socket });
}

/// A peer that leaves while bytes wait for it; its descriptor's number is another's at once.
#[test]
fn a_peer_that_leaves_harms_nobody() {
    const FRAME_BYTES: usize = 64 << 10;
    let (floor, config) = (Floor::start(FRAME_BYTES), once());
    for _ in 0..20 {
        let mut gone = floor.connect(&config);
        // Until the floor has answered more than is read, and so reads no more itself.
        gone.sock.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        while gone.write_all(&[b'x'; FRAME_BYTES]).is_ok() {}
        drop(gone);
        let mut other = floor.connect(&config);
        other.write_all(&[b'x'; FRAME_BYTES]).unwrap();
        expect(&mut other, FRAME_BYTES - 4);
        expect_end(other);
    }
}

#[test]
fn one_that_does_not_speak_tls_is_let_go() {
    let (floor, config) = (Floor::start(38), once());
    let mut plain = floor.running.connect().unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(REQUEST).unwrap();
    let mut rest = Vec::new();
    // A reset, if it was faster than its reading.
    match plain.read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    expect_end(floor.connect(&config));
}

/// What `wss-resume` measures.
#[test]
fn a_session_goes_on_where_the_client_has_a_ticket() {
    let floor = Floor::start(38);
    let kind = |stream: &Stream| stream.conn.handshake_kind();
    let config = client_config(true).unwrap();
    assert_eq!(kind(&floor.connect(&config)), Some(HandshakeKind::Full));
    for _ in 0..5 {
        assert_eq!(kind(&floor.connect(&config)), Some(HandshakeKind::Resumed));
    }
    let config = once();
    for _ in 0..2 {
        assert_eq!(kind(&floor.connect(&config)), Some(HandshakeKind::Full));
    }
}

#[test]
fn it_does_not_pretend_to_broadcast() {
    let certificate = Certificate::new().unwrap();
    let mut command = command(&certificate);
    command.args(["--app", "broadcast", "--frame-bytes", "38"]).stderr(Stdio::null());
    assert!(!command.status().unwrap().success());
}
