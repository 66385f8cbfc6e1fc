//! `sockeye serve` with certificates, and a client of another make: `openssl s_client`.
//!
//! Without OpenSSL its tests say so and pass, unless `SOCKEYE_REQUIRE_OPENSSL=1` is set.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;
use sockeye::{Backend, Config};

use crate::assert_one_error_line;
use crate::process::{PATIENCE, Process};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The text `hello`, masked, and as it comes back.
const HELLO: &[u8] = b"\x81\x85\x01\x02\x03\x04igohn";
const HELLO_BACK: &[u8] = b"\x81\x05hello";

/// A folder of PEM files, which goes with this value.
struct Files(PathBuf);

impl Files {
    /// `ca.pem`, `cert.pem` and `key.pem` for `sockeye.test`, `other-cert.pem` and `other-key.pem`
    /// for `other.test`, `client.pem` and `client-key.pem`, `expired.pem` and `expired-key.pem`.
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("the build's directory can be written");
        let files = Self(folder);
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        files.write("ca.pem", &ca.pem());
        for (name, key_name, subject, year) in [
            ("cert.pem", "key.pem", "sockeye.test", 4000),
            ("other-cert.pem", "other-key.pem", "other.test", 4000),
            ("client.pem", "client-key.pem", "somebody.test", 4000),
            ("expired.pem", "expired-key.pem", "sockeye.test", 2021),
        ] {
            let mut params = CertificateParams::new([subject.to_owned()]).expect("a name");
            params.distinguished_name.push(rcgen::DnType::CommonName, subject);
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &ca).expect("a certificate");
            files.write(name, &certificate.pem());
            files.write(key_name, &key.serialize_pem());
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).expect("it can be written");
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed goes with the build's directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server with TLS whose log tells all.
struct Wss {
    process: Process,
    address: String,
}

impl Wss {
    fn start(files: &Files, more: &[&str]) -> Self {
        let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--shards", "1"];
        all.extend(["--tls-cert", &cert, "--tls-key", &key]);
        all.extend(more);
        let process = Process::start_verbose(&all);
        let line = process.next_line();
        let rest = line.strip_prefix("listening on wss://").expect("the ready line");
        let address = rest.split(' ').next().unwrap_or_default().to_owned();
        Self { process, address }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }
}

fn has_openssl() -> bool {
    let runs = Command::new("openssl").arg("version").output().is_ok();
    let required = env::var_os("SOCKEYE_REQUIRE_OPENSSL").is_some_and(|value| value == "1");
    assert!(runs || !required, "no OpenSSL found: `apt-get install openssl`");
    if !runs {
        eprintln!("not tested: no OpenSSL");
    }
    runs
}

/// `openssl s_client`, which ends with this value.
struct Client {
    child: Child,
    output: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Client {
    fn start(server: &Wss, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &server.address])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is there");
        let (sender, output) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is piped")),
            Box::new(child.stderr.take().expect("it is piped")),
        ];
        for mut output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut buf = [0; 4096];
                while let Ok(len @ 1..) = output.read(&mut buf) {
                    // Nobody listens any more: go on reading all the same.
                    let _ = sender.send(buf[..len].to_vec());
                }
            });
        }
        Self { child, output, seen: Vec::new() }
    }

    fn say(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("it reads");
    }

    /// Waits until it has said this, on either of its outputs.
    fn expect(&mut self, what: &[u8]) {
        while !self.seen.windows(what.len()).any(|seen| seen == what) {
            match self.output.recv_timeout(PATIENCE) {
                Ok(more) => self.seen.extend(more),
                Err(error) => panic!("{error}: {}", self.text()),
            }
        }
    }

    /// Opens a WebSocket connection and has a message echoed.
    fn echo(&mut self) {
        self.say(REQUEST.as_bytes());
        self.expect(b"101 Switching Protocols");
        self.say(HELLO);
        self.expect(HELLO_BACK);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn openssl_speaks_both_versions_on_both_backends() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    let ca = files.path("ca.pem");
    let mut backends = vec!["epoll"];
    if Backend::IoUring.resolve(1, &Config::default().io_uring).is_ok() {
        backends.push("io-uring");
    }
    for backend in backends {
        let server = Wss::start(&files, &["--backend", backend]);
        for (version, expected) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let arguments = ["-CAfile", &ca, "-verify_return_error", "-servername", "sockeye.test"];
            let arguments = [&arguments[..], &[version, "-alpn", "http/1.1", "-brief"]].concat();
            let mut client = Client::start(&server, &arguments);
            client.expect(b"Verification: OK");
            client.expect(format!("Protocol version: {expected}").as_bytes());
            client.echo();
        }
        // Two of them were killed in the middle of it all.
        for _ in 0..2 {
            server.process.wait_for_error_line("left without close_notify");
        }
    }
}

#[test]
fn openssl_goes_on_with_a_session() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    let server = Wss::start(&files, &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = files.path(&format!("session{version}"));
        let mut first = Client::start(&server, &[version, "-sess_out", &session, "-ign_eof"]);
        first.expect(b"New, ");
        // By now a ticket of TLS 1.3 has come as well.
        first.echo();
        drop(first);
        let mut second = Client::start(&server, &[version, "-sess_in", &session]);
        second.expect(b"Reused, ");
        second.echo();
    }
}

#[test]
fn openssl_chooses_by_name_and_protocol() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    let (cert, key) = (files.path("other-cert.pem"), files.path("other-key.pem"));
    let server = Wss::start(&files, &["--tls-cert", &cert, "--tls-key", &key]);
    for (name, subject) in [
        ("sockeye.test", "sockeye.test"),
        ("other.test", "other.test"),
        ("unknown.test", "sockeye.test"),
    ] {
        let mut client = Client::start(&server, &["-servername", name]);
        client.expect(format!("subject=CN = {subject}").as_bytes());
    }
    let mut client = Client::start(&server, &["-alpn", "h2"]);
    client.expect(b"alert no application protocol");
    let cause = "error=peer doesn't support any known protocol";
    server.process.wait_for_error_line(cause);
}

#[test]
fn openssl_gets_the_cipher_suite_that_the_server_likes_best() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    // By default OpenSSL's choice counts, which is 256 bits.
    for (arguments, expected) in [
        (&[][..], ["TLS_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"]),
        (
            &[
                "--tls-ciphers",
                "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384,\
                 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            ],
            ["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        ),
    ] {
        let server = Wss::start(&files, arguments);
        for (version, suite) in ["-tls1_3", "-tls1_2"].into_iter().zip(expected) {
            let mut client = Client::start(&server, &[version, "-brief"]);
            client.expect(format!("Ciphersuite: {suite}").as_bytes());
            client.echo();
        }
    }
}

#[test]
fn openssl_shows_a_certificate() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    let [ca, cert, key] = ["ca.pem", "client.pem", "client-key.pem"].map(|name| files.path(name));
    let expired = ["expired.pem", "expired-key.pem"].map(|name| files.path(name));
    let shown = ["-cert", &cert, "-key", &key];
    let expired = ["-cert", &expired[0], "-key", &expired[1]];
    for (auth, is_required) in [(&[][..], true), (&["--tls-client-auth", "optional"], false)] {
        let server = Wss::start(&files, &[&["--tls-client-ca", &ca], auth].concat());
        Client::start(&server, &shown).echo();
        if is_required {
            let mut client = Client::start(&server, &["-tls1_3"]);
            client.expect(b"alert certificate required");
            server.process.wait_for_error_line("error=peer sent no certificates");
        } else {
            Client::start(&server, &[]).echo();
        }
        let mut client = Client::start(&server, &[&["-tls1_2"], &expired[..]].concat());
        client.expect(b"alert certificate expired");
        server.process.wait_for_error_line("certificate expired");
    }
}

/// The client's alert comes to the log.
#[test]
fn openssl_refuses_what_has_expired() {
    if !has_openssl() {
        return;
    }
    let files = Files::new();
    for (from, to) in [("expired.pem", "cert.pem"), ("expired-key.pem", "key.pem")] {
        fs::rename(files.path(from), files.path(to)).expect("it is there");
    }
    let server = Wss::start(&files, &[]);
    server.process.wait_for_error_line("the certificate has expired");
    let ca = files.path("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-CAfile", &ca, "-verify_return_error", version];
        let mut client = Client::start(&server, &arguments);
        client.expect(b"certificate has expired");
        server.process.wait_for_error_line("received fatal alert: CertificateExpired");
    }
}

#[test]
fn faults_are_one_line_each_in_the_log() {
    let files = Files::new();
    let server = Wss::start(&files, &[]);
    for (bytes, cause) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "plain HTTP was sent to a port that speaks TLS"),
        (b"hello", "received corrupt message of type InvalidContentType"),
    ] {
        let mut stream = server.tcp();
        stream.write_all(bytes).expect("it is open");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an end");
        assert!(!answer.is_empty());
        server.process.wait_for_error_line(cause);
    }
    server.tcp().write_all(b"\x16\x03\x01").expect("it is open");
    server.process.wait_for_error_line("the peer left within the TLS handshake");
}

#[test]
fn sighup_reads_the_certificates_again() {
    let files = Files::new();
    let server = Wss::start(&files, &[]);
    let mut old = has_openssl().then(|| Client::start(&server, &["-ign_eof"]));
    if let Some(old) = &mut old {
        old.expect(b"subject=CN = sockeye.test");
        old.echo();
    }
    // What is wrong changes nothing.
    fs::rename(files.path("other-cert.pem"), files.path("cert.pem")).expect("it is there");
    server.process.signal(Signal::HUP);
    server.process.wait_for_error_line("sockeye: the certificates stay as they were: the key in");
    fs::rename(files.path("other-key.pem"), files.path("key.pem")).expect("it is there");
    server.process.signal(Signal::HUP);
    server.process.wait_for_error_line("sockeye: the certificates have been read again");
    if let Some(old) = &mut old {
        Client::start(&server, &[]).expect(b"subject=CN = other.test");
        old.say(b"\x81\x85\x01\x02\x03\x04vmqhe");
        old.expect(b"\x81\x05world".as_slice());
    }
}

#[test]
fn sighup_without_certificates_is_answered() {
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0"]);
    process.next_line();
    process.signal(Signal::HUP);
    process.wait_for_error_line("the certificates stay as they were: the server speaks no TLS");
}

#[test]
fn what_is_wrong_with_the_files_is_one_line() {
    let files = Files::new();
    let path = |name: &str| files.path(name);
    files.write("empty.pem", "");
    files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    files.write(
        "no-certificate.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let [cert, key] = ["cert.pem", "key.pem"].map(path);
    for (names, why) in [
        (["missing.pem", "key.pem"], "missing.pem: No such file or directory"),
        (["cert.pem", "missing.pem"], "missing.pem: No such file or directory"),
        (["empty.pem", "key.pem"], "empty.pem: no certificate in PEM form is in it"),
        (["cert.pem", "empty.pem"], "empty.pem: no private key in PEM form is in it"),
        (["broken.pem", "key.pem"], "broken.pem: not in PEM form: "),
        (["no-certificate.pem", "key.pem"], "no-certificate.pem: "),
        (["cert.pem", "other-key.pem"], "is not that of the certificate in "),
    ] {
        let [cert, key] = names.map(path);
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        let ended = Process::run(&arguments);
        let line = assert_one_error_line(&ended);
        assert!(line.contains(why), "{line}");
    }
    for (arguments, why) in [
        (&["--tls-cert", &*cert][..], "--tls-key <FILE>"),
        (&["--tls-key", &key], "--tls-cert <FILE>"),
        (&["--tls-client-ca", &cert], "--tls-cert <FILE>"),
        (&["--tls-cert", &cert, "--tls-key", &key, "--tls-key", &key], "each certificate needs"),
        (
            &["--tls-cert", &cert, "--tls-key", &key, "--tls-client-auth", "required"],
            "--tls-client-ca <FILE>",
        ),
        (&["--tls-cert", &cert, "--tls-key", &key, "--tls-min-version", "1.1"], "1.2, 1.3"),
        (
            &["--tls-cert", &cert, "--tls-key", &key, "--tls-ciphers", "TLS_AES_128_GCM_SHA255"],
            "no cipher suite \"TLS_AES_128_GCM_SHA255\"; there are TLS_AES_256_GCM_SHA384, ",
        ),
        (
            &[
                &["--tls-cert", &cert, "--tls-key", &key, "--tls-min-version", "1.3"][..],
                &["--tls-ciphers", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            ]
            .concat(),
            "no cipher suite is left for the versions of TLS that are spoken",
        ),
    ] {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let ended = Process::run(&all);
        let line = assert_one_error_line(&ended);
        assert!(line.contains(why), "{line}");
    }
}
