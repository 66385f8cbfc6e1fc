//! Certificates made when they are needed, and a client of TLS (rustls) on any kind of wire.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};
use sockeye::TlsConfig;

/// The name that certificates are for unless a test says otherwise.
pub const NAME: &str = "sockeye.test";

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Certificate {
    /// The certificate.
    pub der: Vec<u8>,
    /// Its key, as PKCS #8.
    pub key: Vec<u8>,
    /// The certificate, as PEM.
    pub pem: String,
    /// Its key, as PEM.
    pub key_pem: String,
}

impl Authority {
    /// A new one, which nobody knows.
    ///
    /// # Panics
    /// The system has no random numbers.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, with a key whose signatures are all of one length.
    pub fn certify(&self, names: &[&str]) -> Certificate {
        self.certify_with(names, &PKCS_ED25519, |_| {})
    }

    /// One that has expired.
    pub fn certify_expired(&self, names: &[&str]) -> Certificate {
        self.certify_with(names, &PKCS_ED25519, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// One with another kind of key, and `adapt`ed.
    ///
    /// # Panics
    /// What was asked for is no certificate.
    pub fn certify_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        adapt: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        adapt(&mut params);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Certificate {
            der: certificate.der().to_vec(),
            key: key.serialize_der(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A client that trusts it.
    pub fn client(&self) -> ClientConfig {
        self.client_with(rustls::ALL_VERSIONS, None)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    /// A client that trusts it and knows no other cipher suite.
    ///
    /// # Panics
    /// It is none.
    pub fn client_of_suite(&self, suite: SupportedCipherSuite) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite];
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[suite.version()])
            .expect("a suite of it")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client that trusts it, speaks these versions and may show a certificate.
    ///
    /// # Panics
    /// The certificate is none.
    pub fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        certificate: Option<&Certificate>,
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots());
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(one) => {
                let key = PrivateKeyDer::try_from(one.key.clone()).expect("a key");
                let chain = vec![CertificateDer::from(one.der.clone())];
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        };
        config.resumption = Resumption::disabled();
        config
    }
}

/// The one of this process, where any will do.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("the authority of the tests"))
}

/// A server's TLS with these certificates.
///
/// # Panics
/// They are none.
pub fn config_of(certificates: &[&Certificate]) -> TlsConfig {
    certificates.iter().fold(TlsConfig::new(), |config, one| {
        config.certificate_der(vec![one.der.clone()], one.key.clone()).expect("a certificate")
    })
}

/// A server's TLS with a certificate for [`NAME`] that the [`authority`] has signed.
pub fn config() -> TlsConfig {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    config_of(&[CERTIFICATE.get_or_init(|| authority().certify(&[NAME]))])
}

/// A new connection of a client that asks for [`NAME`].
pub fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    connection_to(config, NAME)
}

/// A new connection of a client that asks for this name.
///
/// # Panics
/// It is no name.
pub fn connection_to(config: &Arc<ClientConfig>, name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("settings that make sense")
}

/// What a client's bytes go over; nothing of it waits.
pub trait Transport {
    /// As [`Read::read`].
    ///
    /// # Errors
    /// `WouldBlock`, or the system's.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// As [`Write::write`].
    ///
    /// # Errors
    /// `WouldBlock`, or the system's.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

struct Through<'a, T: ?Sized>(&'a mut T);

impl<T: Transport + ?Sized> Read for Through<'_, T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<T: Transport + ?Sized> Write for Through<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client's TLS that never waits.
pub struct Client {
    connection: ClientConnection,
    /// What was taken from the caller and has not all left.
    accepted: usize,
}

impl Client {
    /// The connection has said nothing yet.
    pub const fn new(connection: ClientConnection) -> Self {
        Self { connection, accepted: 0 }
    }

    /// Whether something waits for the wire.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes what waits. Returns whether that was anything.
    ///
    /// # Errors
    /// The wire's, but for `WouldBlock`.
    pub fn pump(&mut self, wire: &mut (impl Transport + ?Sized)) -> io::Result<bool> {
        let mut moved = false;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Through(wire)) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    /// As [`Read::read`]. The end is the server's `close_notify`; FIN without is an error.
    ///
    /// # Errors
    /// `WouldBlock`, the wire's, or TLS's.
    pub fn read(
        &mut self,
        wire: &mut (impl Transport + ?Sized),
        into: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            self.pump(wire)?;
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.connection.read_tls(&mut Through(wire))?;
            if let Err(error) = self.connection.process_new_packets() {
                // Its alert.
                self.pump(wire)?;
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// As [`Write::write`], but that what was taken has left when it says so: it is called again
    /// with the same bytes until then.
    ///
    /// # Errors
    /// `WouldBlock`, or the wire's.
    pub fn write(
        &mut self,
        wire: &mut (impl Transport + ?Sized),
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.pump(wire)?;
        if self.connection.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.accepted == 0 {
            self.accepted = self.connection.writer().write(bytes)?;
            self.pump(wire)?;
        }
        if self.connection.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(std::mem::take(&mut self.accepted))
    }

    /// Says that nothing more comes; [`pump`](Self::pump) until nothing waits.
    pub fn finish(&mut self) {
        self.connection.send_close_notify();
    }

    /// What was agreed on.
    pub const fn connection(&self) -> &ClientConnection {
        &self.connection
    }
}
