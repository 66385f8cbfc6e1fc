use std::io::{Read as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection};

use super::link::TlsError;
use super::*;

/// Authorities and files have names of their own.
static NEXT: AtomicUsize = AtomicUsize::new(0);
const NAME: &str = "sockeye.test";

/// An authority, and files in a directory of this process.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn certify(&self, name: &str, expired: bool) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// What a server speaks, who asks for a certificate of this authority or not.
    fn server(&self, name: &str, expired: bool, asks: bool) -> Arc<ServerConfig> {
        self.server_of(name, expired, asks, rustls::ALL_VERSIONS)
    }

    fn server_of(
        &self,
        name: &str,
        expired: bool,
        asks: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.certify(name, expired);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sockeye-load-tls-{}-{number}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: TlsOptions,
}

fn options(arguments: &[&str]) -> TlsOptions {
    let line = ["load"].iter().chain(arguments);
    Line::try_parse_from(line).unwrap().options
}

/// A client that trusts the authority.
fn client(arguments: &[&str]) -> ClientTls {
    let ca = File::new(&authority().0.pem());
    let arguments = [&["--ca", ca.path()], arguments].concat();
    ClientTls::new(&options(&arguments), NAME).unwrap()
}

/// Both ends, and what is on its way.
struct Pair {
    link: TlsLink,
    server: ServerConnection,
    plain: Vec<u8>,
    /// What the server got.
    got: Vec<u8>,
    out: Vec<u8>,
    /// Bytes that the client gets at a time.
    chunk: usize,
}

impl Pair {
    fn new(client: &ClientTls, server: &Arc<ServerConfig>, chunk: usize) -> Self {
        let mut link = client.link().unwrap();
        let mut out = Vec::new();
        link.start(&mut out).unwrap();
        assert!(!out.is_empty() && !link.is_ready());
        let server = ServerConnection::new(Arc::clone(server)).unwrap();
        Self { link, server, plain: Vec::new(), got: Vec::new(), out, chunk }
    }

    /// Has all arrive that is on its way.
    fn run(&mut self) -> Result<(), TlsError> {
        for _ in 0..100 {
            let mut out = &self.out[..];
            while !out.is_empty() {
                self.server.read_tls(&mut out).unwrap();
                // What is wrong the server says by an alert.
                let _ = self.server.process_new_packets();
                // Nothing more, for now, is an error of its own.
                let _ = self.server.reader().read_to_end(&mut self.got);
            }
            self.out.clear();
            let mut records = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut records).unwrap();
            }
            if records.is_empty() {
                return Ok(());
            }
            for chunk in records.chunks_mut(self.chunk) {
                self.link.receive(chunk, &mut self.plain, &mut self.out)?;
            }
        }
        panic!("they talk without end");
    }

    fn says(&mut self, bytes: &[u8]) {
        self.link.seal(bytes, &mut self.out).unwrap();
    }
}

/// Why a handshake fails, as one line.
fn failure(client: &ClientTls, server: &Arc<ServerConfig>) -> String {
    let mut pair = Pair::new(client, server, usize::MAX);
    let error = pair.run().unwrap_err();
    assert!(!pair.link.is_ready() && pair.link.seal(b"x", &mut Vec::new()).is_err());
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn a_handshake_and_messages_come_through_in_every_chunking() {
    for (version, name) in [(&version::TLS12, "TLS 1.2"), (&version::TLS13, "TLS 1.3")] {
        let server = authority().server_of(NAME, false, false, &[version]);
        let client = client(&[]);
        for chunk in (1..=40).chain([100, 1000, 4096, 5000, 1 << 20]) {
            let mut pair = Pair::new(&client, &server, chunk);
            pair.run().unwrap();
            assert!(pair.link.is_ready() && !pair.link.is_resumed());
            assert_eq!(pair.link.version(), Some(name));
            assert!(pair.link.cipher_suite().is_some_and(|suite| suite.starts_with("TLS_")));
            for len in [0, 1, 16_384, 16_385, 40_000] {
                let message = (0..len).map(|n| n as u8).collect::<Vec<_>>();
                pair.says(&message);
                pair.server.writer().write_all(&message).unwrap();
                pair.run().unwrap();
                assert!(pair.got == message && pair.plain == message, "{chunk} {len}");
                pair.plain.clear();
                pair.got.clear();
            }
            assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(pair.server.server_name(), Some(NAME));
            assert_eq!(pair.link.held.capacity(), 0, "nothing is held while nothing happens");
        }
    }
}

#[test]
fn both_ends_say_that_they_close() {
    let mut pair = Pair::new(&client(&[]), &authority().server(NAME, false, false), 7);
    assert!(matches!(pair.link.end(), Err(TlsError::EndedInHandshake)));
    pair.run().unwrap();
    assert!(matches!(pair.link.end(), Err(TlsError::Truncated)), "no close_notify came");
    pair.server.writer().write_all(b"last words").unwrap();
    pair.server.send_close_notify();
    pair.run().unwrap();
    assert!(pair.link.is_closed() && pair.link.end().is_ok());
    assert_eq!(pair.plain, b"last words");
    pair.link.close(&mut pair.out);
    assert!(!pair.out.is_empty());
    let mut out = &pair.out[..];
    pair.server.read_tls(&mut out).unwrap();
    assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    let before = pair.out.len();
    pair.link.close(&mut pair.out);
    assert_eq!(pair.out.len(), before, "once");
}

#[test]
fn certificates_that_cannot_be_taken_are_explained() {
    let good = authority().server(NAME, false, false);
    let stranger = File::new(&Authority::new().0.pem());
    let strange = ClientTls::new(&options(&["--ca", stranger.path()]), NAME).unwrap();
    assert!(failure(&strange, &good).contains("--ca FILE"));
    let expired = authority().server(NAME, true, false);
    assert!(failure(&client(&[]), &expired).contains("has expired"));
    let other = authority().server("other.test", false, false);
    let line = failure(&client(&[]), &other);
    assert!(line.contains("not for sockeye.test") && line.contains("other.test"), "{line}");
    for server in [good, expired, other] {
        let any = ClientTls::new(&options(&["--insecure"]), NAME).unwrap();
        let mut pair = Pair::new(&any, &server, usize::MAX);
        pair.run().unwrap();
        assert!(pair.link.is_ready());
    }
    let other = authority().server("other.test", false, false);
    let mut pair = Pair::new(&client(&["--sni", "other.test"]), &other, usize::MAX);
    pair.run().unwrap();
    assert!(pair.link.is_ready());
}

#[test]
fn a_client_certificate_is_shown_or_missed() {
    let (certificate, key) = authority().certify("client.test", false);
    let (certificate, key) = (File::new(&certificate.pem()), File::new(&key.serialize_pem()));
    let arguments = ["--tls-cert", certificate.path(), "--tls-key", key.path()];
    let asks = authority().server(NAME, false, true);
    let mut pair = Pair::new(&client(&arguments), &asks, usize::MAX);
    pair.run().unwrap();
    assert!(pair.link.is_ready() && pair.server.peer_certificates().is_some());
    assert!(failure(&client(&[]), &asks).contains("--tls-cert FILE --tls-key FILE"));

    let (certificate, key) = Authority::new().certify("client.test", false);
    let (certificate, key) = (File::new(&certificate.pem()), File::new(&key.serialize_pem()));
    let arguments = ["--tls-cert", certificate.path(), "--tls-key", key.path()];
    let line = failure(&client(&arguments), &asks);
    assert!(line.contains("does not take the client certificate"), "{line}");
}

#[test]
fn versions_that_do_not_meet_are_explained() {
    let old = authority().server_of(NAME, false, false, &[&version::TLS12]);
    let line = failure(&client(&["--tls-min", "1.3"]), &old);
    assert!(line.contains("--tls-min 1.2"), "{line}");
}

#[test]
fn what_is_not_tls_is_named() {
    for (bytes, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "use ws://"),
        (b"HT", "use ws://"),
        (b"SSH-2.0-OpenSSH", "does not speak TLS"),
    ] {
        let mut link = client(&[]).link().unwrap();
        link.start(&mut Vec::new()).unwrap();
        let mut out = Vec::new();
        let error = link.receive(&mut bytes.to_vec(), &mut Vec::new(), &mut out).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!link.is_ready() && out.is_empty());
    }
}

#[test]
fn records_without_sense_end_the_connection() {
    let server = authority().server(NAME, false, false);
    let mut pair = Pair::new(&client(&[]), &server, usize::MAX);
    pair.run().unwrap();
    let mut record = [23, 3, 3, 0, 40].into_iter().chain([7; 40]).collect::<Vec<_>>();
    let (plain, out) = (&mut Vec::new(), &mut Vec::new());
    let error = pair.link.receive(&mut record, plain, out).unwrap_err();
    assert!(matches!(error, TlsError::Tls(_)) && plain.is_empty());
    assert_eq!(out.first(), Some(&23), "the alert");
    assert!(pair.link.receive(&mut [23], plain, out).is_err());
    assert!(matches!(pair.link.seal(b"x", out), Err(TlsError::NotOpen)));
}

#[test]
fn sessions_go_on_if_asked_to_and_else_not() {
    let server = authority().server(NAME, false, false);
    for (arguments, resumes) in [(&[][..], false), (&["--tls-resume"], true)] {
        let client = client(arguments);
        Pair::new(&client, &server, usize::MAX).run().unwrap();
        let mut pair = Pair::new(&client, &server, usize::MAX);
        pair.run().unwrap();
        assert!(pair.link.is_ready());
        assert_eq!(pair.link.is_resumed(), resumes);
    }
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let junk = File::new("no PEM at all");
    let good = File::new(&authority().0.pem());
    for (arguments, part) in [
        (&["--ca", "/nowhere/ca.pem"][..], "/nowhere/ca.pem cannot be read"),
        (&["--ca", junk.path()], "a PEM file is needed"),
        (&["--insecure", "--tls-cert", good.path(), "--tls-key", junk.path()], "has not a key"),
        (&["--insecure", "--sni", "not a name"], "--sni NAME"),
    ] {
        let error = ClientTls::new(&options(arguments), NAME).unwrap_err();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    assert!(Line::try_parse_from(["load", "--tls-cert", good.path()]).is_err());
    assert!(Line::try_parse_from(["load", "--ca", good.path(), "--insecure"]).is_err());
}

#[test]
fn an_address_is_a_name_too() {
    let ca = File::new(&authority().0.pem());
    let tls = ClientTls::new(&options(&["--ca", ca.path()]), "::1").unwrap();
    let server = authority().server("::1", false, false);
    let mut pair = Pair::new(&tls, &server, usize::MAX);
    pair.run().unwrap();
    assert!(pair.link.is_ready() && pair.server.server_name().is_none());
}
