//! Versions, names, protocols, clients' certificates, sessions that go on.

use std::io::Write;
use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, SignatureScheme};
use sockeye::{ClientAuth, Closed, TlsConfig, TlsInfo, TlsVersion};
use sockeye_tests::rig::{Rig, Setup};
use sockeye_tests::tls::{Authority, NAME, authority, config, config_of};

use sockeye_tests::wss::Wss;

#[test]
fn each_version_alone_and_both() {
    let versions = [TlsVersion::Tls12, TlsVersion::Tls13];
    for (min, max) in [(0, 0), (1, 1), (0, 1)] {
        let tls = config().min_version(versions[min]).max_version(versions[max]);
        let rig = Setup::new().tls(tls).start();
        for (n, version) in [&TLS12, &TLS13].into_iter().enumerate() {
            let client = Arc::new(authority().client_with(&[version], None));
            let mut wss = Wss::new(rig.address, &client, NAME);
            if (min..=max).contains(&n) {
                wss.shake_hands().expect("it is spoken");
                wss.echo("hello");
                let spoken = wss.0.conn.protocol_version();
                assert_eq!(spoken, Some(version.version));
            } else {
                assert!(wss.refusal().contains("ProtocolVersion"));
            }
        }
    }
}

/// Each has its own form of records.
#[test]
fn every_cipher_suite() {
    let certificate = authority().certify_with(&[NAME], &PKCS_ECDSA_P256_SHA256, |_| {});
    let rig = Setup::new().tls(config_of(&[&certificate])).start();
    let mut spoken = Vec::new();
    for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
        if format!("{:?}", suite.suite()).contains("RSA") {
            continue;
        }
        let client = authority().client_of_suite(*suite);
        let mut wss = Wss::open(rig.address, &Arc::new(client));
        wss.echo("hello");
        wss.echo(&"x".repeat(125));
        spoken.push(suite.suite());
    }
    assert_eq!(spoken.len(), 6, "{spoken:?}");
    assert!(spoken.contains(&CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
}

/// Of what the client offers, the server takes what it likes best itself, if it was told to; the
/// hook sees which that is, and sessions go on.
#[test]
fn the_server_may_choose_the_cipher_suite() {
    const NAMES: [&str; 3] = [
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ];
    let tls = config().cipher_suites(NAMES).expect("they exist");
    let rig = noting(tls, |tls| format!("{} {}", tls.cipher_suite, tls.is_resumed));
    for (version, name) in [(&TLS13, NAMES[0]), (&TLS12, NAMES[2])] {
        let mut client = authority().client_with(&[version], None);
        client.resumption = Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        for is_resumed in [false, true] {
            Wss::open(rig.address, &client).echo("hello");
            assert_eq!(rig.next_note(), format!("{name} {is_resumed}"));
        }
    }
    let offering = |name| {
        let suites = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
        let suite = suites.iter().find(|suite| suite.suite() == name).expect("it is known");
        Arc::new(authority().client_of_suite(*suite))
    };
    Wss::open(rig.address, &offering(CipherSuite::TLS13_AES_128_GCM_SHA256)).echo("hello");
    assert_eq!(rig.next_note(), format!("{} false", NAMES[1]));
    let mut refused = Wss::new(rig.address, &offering(CipherSuite::TLS13_AES_256_GCM_SHA384), NAME);
    let refusal = refused.refusal();
    assert!(refusal.contains("HandshakeFailure"), "{refusal}");
}

/// The client changes its keys, and asks the server to change its own.
#[test]
fn keys_may_change() {
    let rig = Setup::new().tls(config()).start();
    let client = Arc::new(authority().client_with(&[&TLS13], None));
    let mut wss = Wss::open(rig.address, &client);
    for _ in 0..40 {
        wss.0.conn.refresh_traffic_keys().expect("TLS 1.3");
        wss.echo("with new keys");
    }
}

/// So often without a word in between that it is no use but to keep us busy.
#[test]
fn keys_may_not_change_all_the_time() {
    let rig = Setup::new().tls(config()).start();
    let client = Arc::new(authority().client_with(&[&TLS13], None));
    let mut wss = Wss::open(rig.address, &client);
    for _ in 0..100 {
        wss.0.conn.refresh_traffic_keys().expect("TLS 1.3");
    }
    // The server may have gone before all of it was written.
    let _ = wss.0.flush();
    match rig.next_closed() {
        Closed::Lost(Some(error)) => {
            assert!(error.to_string().contains("TooManyKeyUpdateRequests"), "{error}");
        }
        why => panic!("{why:?}"),
    }
}

#[test]
fn the_name_chooses_the_certificate() {
    let names: [&[&str]; 4] = [
        &["first.test"],
        &["exact.example.test"],
        &["*.example.test"],
        &["other.test", "*.more.test"],
    ];
    let certificates = names.map(|names| authority().certify(names));
    let rig = Setup::new().tls(config_of(&certificates.each_ref())).start();
    // Whoever does not find his name sees the first certificate, and whose it is.
    let mut client = authority().client();
    let anyone = anyone::Anyone(&[SignatureScheme::ED25519]);
    client.dangerous().set_certificate_verifier(Arc::new(anyone));
    let client = Arc::new(client);
    for (name, expected) in [
        ("first.test", 0),
        ("exact.example.test", 1),
        ("any.example.test", 2),
        ("other.test", 3),
        ("EVEN.more.test", 3),
        // One label, no more and no less.
        ("example.test", 0),
        ("two.labels.example.test", 0),
        ("unknown.test", 0),
        // Clients say no addresses.
        ("127.0.0.1", 0),
    ] {
        let mut wss = Wss::new(rig.address, &client, name);
        wss.shake_hands().expect("anyone will do");
        assert!(wss.server_certificate() == certificates[expected].der, "{name}");
    }
}

/// Two certificates for one name: the client's signatures decide.
#[test]
fn the_key_chooses_the_certificate() {
    let ed25519 = authority().certify_with(&[NAME], &PKCS_ED25519, |_| {});
    let ecdsa = authority().certify_with(&[NAME], &PKCS_ECDSA_P256_SHA256, |_| {});
    let rig = Setup::new().tls(config_of(&[&ed25519, &ecdsa])).start();
    let any = Arc::new(authority().client());
    assert!(Wss::open(rig.address, &any).server_certificate() == ed25519.der);
    let mut no_ed25519 = authority().client();
    let anyone = anyone::Anyone(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
    no_ed25519.dangerous().set_certificate_verifier(Arc::new(anyone));
    let wss = Wss::open(rig.address, &Arc::new(no_ed25519));
    assert!(wss.server_certificate() == ecdsa.der);
}

#[test]
fn protocols_other_than_http_are_refused() {
    let rig = Setup::new().tls(config()).start();
    for (offered, expected) in [
        (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
        (&[b"h2", b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut client = authority().client();
        client.alpn_protocols = offered.iter().map(|one| one.to_vec()).collect();
        let wss = Wss::open(rig.address, &Arc::new(client));
        assert_eq!(wss.0.conn.alpn_protocol(), expected);
    }
    let mut client = authority().client();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let refusal = Wss::new(rig.address, &Arc::new(client), NAME).refusal();
    assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
    rig.wait_for(|stats| stats.tls_failed == 1 && stats.tls_handshakes == 3);
}

/// A server that notes what the upgrade hook sees of TLS, in these words.
fn noting(tls: TlsConfig, describe: fn(&TlsInfo) -> String) -> Rig {
    let setup = Setup::new();
    let note = setup.notes();
    let setup = setup.upgrade(move |request| {
        let tls = request.tls().expect("it is spoken");
        assert!(tls.cipher_suite.starts_with("TLS_"), "{}", tls.cipher_suite);
        note(describe(tls));
        sockeye::Upgrade::accept(Default::default())
    });
    setup.tls(tls).start()
}

/// Who is there.
fn identity(tls: &TlsInfo) -> String {
    let alpn = tls.alpn.as_deref().map(String::from_utf8_lossy);
    let shown: Vec<_> = tls.peer_certificates.iter().map(Vec::len).collect();
    let name = tls.server_name.as_deref();
    format!("{} {name:?} {alpn:?} {shown:?} {}", tls.version, tls.is_resumed)
}

fn client_authority(tls: TlsConfig, ca: &Authority, auth: ClientAuth) -> TlsConfig {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = file.join(format!("client-ca-{}-{auth:?}.pem", std::process::id()));
    std::fs::write(&file, ca.pem()).expect("the build's directory can be written");
    let tls = tls.client_ca_file(&file).expect("an authority").client_auth(auth);
    std::fs::remove_file(&file).expect("it was there");
    tls
}

#[test]
fn clients_show_certificates_and_the_hook_sees_them() {
    let (ours, theirs) = (Authority::new("clients"), Authority::new("somebody else"));
    let [good, bad] = [&ours, &theirs].map(|ca| ca.certify(&["somebody.test"]));
    let expired = ours.certify_expired(&["somebody.test"]);
    for (auth, without) in [(ClientAuth::Optional, true), (ClientAuth::Required, false)] {
        let rig = noting(client_authority(config(), &ours, auth), identity);
        for version in [&TLS12, &TLS13] {
            let client =
                |shown| Arc::new(authority().client_with(std::slice::from_ref(&version), shown));
            let name = match version.version {
                ProtocolVersion::TLSv1_2 => "TLS 1.2",
                _ => "TLS 1.3",
            };
            Wss::open(rig.address, &client(Some(&good))).echo("hello");
            let seen = format!("{name} Some({NAME:?}) None [{}] false", good.der.len());
            assert_eq!(rig.next_note(), seen);
            for (refused, alert) in [(&bad, "UnknownCA"), (&expired, "CertificateExpired")] {
                let refusal = Wss::new(rig.address, &client(Some(refused)), NAME).refusal();
                assert!(refusal.contains(alert), "{refusal}");
            }
            if without {
                Wss::open(rig.address, &client(None)).echo("hello");
                assert_eq!(rig.next_note(), format!("{name} Some({NAME:?}) None [] false"));
            } else {
                let refusal = Wss::new(rig.address, &client(None), NAME).refusal();
                let alerts = ["CertificateRequired", "HandshakeFailure"];
                assert!(alerts.iter().any(|alert| refusal.contains(alert)), "{refusal}");
            }
        }
        rig.wait_for(|stats| stats.connections == 0);
        rig.stop();
    }
}

#[test]
fn sessions_go_on_and_the_certificate_is_remembered() {
    let ours = Authority::new("clients");
    let shown = ours.certify(&["somebody.test"]);
    let rig = noting(client_authority(config(), &ours, ClientAuth::Required), identity);
    for version in [&TLS12, &TLS13] {
        let mut client = authority().client_with(&[version], Some(&shown));
        client.resumption = Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        for resumed in [false, true, true] {
            let mut wss = Wss::open(rig.address, &client);
            wss.echo("hello");
            let kind = wss.0.conn.handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{kind:?}");
            let note = rig.next_note();
            let expected = format!("[{}] {resumed}", shown.der.len());
            assert!(note.ends_with(&expected), "{note} does not end with {expected}");
        }
    }
    rig.wait_for(|stats| (stats.tls_handshakes, stats.tls_resumed) == (6, 4));
}

/// What no client should use.
mod anyone {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Takes any certificate, and says that it takes these signatures.
    #[derive(Debug)]
    pub(super) struct Anyone(pub(super) &'static [SignatureScheme]);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.to_vec()
        }
    }
}
