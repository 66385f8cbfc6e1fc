//! New certificates under a running server.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::client::Resumption;
use sockeye::{ClientAuth, TlsConfig};
use sockeye_tests::rig::{Rig, Setup};
use sockeye_tests::tls::{NAME, authority, config, config_of};

use sockeye_tests::wss::Wss;

#[test]
fn a_reload_is_for_new_connections() {
    let [before, after] = [(); 2].map(|()| authority().certify(&[NAME]));
    let rig = Setup::new().tls(config_of(&[&before])).start();
    let client = Arc::new(authority().client());
    let mut old = Wss::open(rig.address, &client);
    // In the middle of its handshake: it has not said anything yet.
    let mut begun = Wss::new(rig.address, &client, NAME);
    rig.wait_for(|stats| stats.accepted == 2);

    rig.handle().reload_tls(&config_of(&[&after])).expect("a certificate");
    let new = Wss::open(rig.address, &client);
    assert!(old.server_certificate() == before.der && new.server_certificate() == after.der);
    begun.shake_hands().expect("accepted");
    assert!(begun.server_certificate() == after.der);
    for _ in 0..3 {
        old.echo("still here");
    }
    assert_eq!(rig.handle().stats().open, 3);
}

/// A session that was begun without a client's certificate must not go on where one is required.
#[test]
fn sessions_do_not_outlive_a_reload() {
    let rig = Setup::new().tls(config()).start();
    let mut client = authority().client();
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let kind = || {
        let mut wss = Wss::open(rig.address, &client);
        wss.echo("hello");
        wss.0.conn.handshake_kind()
    };
    assert_eq!(kind(), Some(HandshakeKind::Full));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    rig.handle().reload_tls(&config()).expect("the same");
    assert_eq!(kind(), Some(HandshakeKind::Full));
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let rig = Setup::new().tls(config()).start();
    let client = Arc::new(authority().client());
    let before = Wss::open(rig.address, &client).server_certificate();
    for (wrong, why) in [
        (TlsConfig::new(), "TLS needs a certificate and its key"),
        (config().client_auth(ClientAuth::Required), "client certificates cannot be checked"),
        (
            config()
                .min_version(sockeye::TlsVersion::Tls13)
                .max_version(sockeye::TlsVersion::Tls12),
            "no TLS version is left",
        ),
    ] {
        let error = rig.handle().reload_tls(&wrong).expect_err("it is wrong").to_string();
        assert!(error.starts_with(why) && !error.contains('\n'), "{error}");
    }
    assert!(Wss::open(rig.address, &client).server_certificate() == before);

    let plain = Rig::echo();
    let error = plain.handle().reload_tls(&config()).expect_err("there is nothing to reload");
    assert_eq!(error.to_string(), "the server speaks no TLS");
}
