//! What a server's TLS is made of.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use sockeye_driver::TlsVersion;

use super::certificates::{ByName, Certified, certify, read_certificates, read_key};
use super::ciphers::suites_of;
use crate::error::{Error, Result};

/// What a client goes on with after a reconnect: a client of WebSocket has one connection.
const TICKETS: usize = 1;
/// Sessions of TLS 1.2 clients that know no tickets.
const SESSIONS_MAX: usize = 4096;

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked. One that is shown must be good; one that is not shown is not missed, and
    /// the upgrade hook sees that ([`TlsInfo::peer_certificates`](crate::TlsInfo)).
    Optional,
    /// They are asked, and nobody without a good one gets in.
    Required,
}

/// The TLS of a server: certificates, who is asked for one, and which versions are spoken.
///
/// ```no_run
/// use sockeye::{Server, TlsConfig};
///
/// # fn main() -> sockeye::Result<()> {
/// let tls = TlsConfig::new().certificate_files("chain.pem", "key.pem")?;
/// let server = Server::bind("0.0.0.0:443")?.tls(tls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    provider: Arc<CryptoProvider>,
    certificates: Vec<Certified>,
    client_authorities: RootCertStore,
    client_auth: ClientAuth,
    versions: [TlsVersion; 2],
    /// The order of the cipher suites counts, and not the client's.
    orders_cipher_suites: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            certificates: Vec::new(),
            client_authorities: RootCertStore::empty(),
            client_auth: ClientAuth::None,
            versions: [TlsVersion::Tls12, TlsVersion::Tls13],
            orders_cipher_suites: false,
        }
    }
}

impl TlsConfig {
    /// No certificate yet: at least one is needed. TLS 1.2 and 1.3.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a certificate with its chain, and its key, from PEM files. With several, the name that
    /// the client asks for (SNI) chooses; who asks for none, or for one that no certificate is
    /// for, gets the first. `*.` stands for one label (RFC 6125).
    ///
    /// # Errors
    /// One line: a file cannot be read, is not PEM, or has no certificate or key; or they do not
    /// belong together. A certificate that has expired is taken, and the log warns.
    pub fn certificate_files(self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (chain_path, key_path) = (chain.as_ref(), key.as_ref());
        let (chain, key) = (read_certificates(chain_path)?, read_key(key_path)?);
        let names = [chain_path.display().to_string(), key_path.display().to_string()];
        self.certificate(chain, key, [&names[0], &names[1]])
    }

    /// The same, from DER: the certificate first, then those that lead from it to an authority; the
    /// key as PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// They cannot be read or do not belong together.
    pub fn certificate_der(self, chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self> {
        let key = PrivateKeyDer::try_from(key)
            .map_err(|error| Error::Tls(format!("the private key cannot be used: {error}")))?;
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        self.certificate(chain, key, ["the chain", "the private key"])
    }

    fn certificate(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        names: [&str; 2],
    ) -> Result<Self> {
        self.certificates.push(certify(chain, key, &self.provider, names)?);
        Ok(self)
    }

    /// Adds the authorities of a PEM file, whose certificates clients may show. Has effect with
    /// [`client_auth`](Self::client_auth).
    ///
    /// # Errors
    /// The file cannot be read, is not PEM, or has no certificate of an authority.
    pub fn client_ca_file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        for authority in read_certificates(path)? {
            self.client_authorities.add(authority).map_err(|error| {
                Error::Tls(format!("{}: not a client authority: {error}", path.display()))
            })?;
        }
        Ok(self)
    }

    /// Whether clients are asked for certificates (default: not).
    #[must_use]
    pub const fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// The oldest version that is spoken (default: 1.2).
    #[must_use]
    pub const fn min_version(mut self, version: TlsVersion) -> Self {
        self.versions[0] = version;
        self
    }

    /// The newest version that is spoken (default: 1.3).
    #[must_use]
    pub const fn max_version(mut self, version: TlsVersion) -> Self {
        self.versions[1] = version;
        self
    }

    /// The cipher suites that are spoken, by the names that IANA registered, the best first: of
    /// those that a client offers it gets the first of these, whatever it likes best itself. A
    /// version of TLS for which none is named is not spoken.
    ///
    /// By default all are spoken that rustls has, which are those with forward secrecy that
    /// authenticate what they encrypt, and the client's order counts. Many clients (OpenSSL's and
    /// rustls' among them) like AES with 256 bits best. With 128 bits, which RFC 8446 section 9.1
    /// has everybody speak, a handshake costs a fifth less (`docs/TLS.md`).
    ///
    /// ```
    /// # fn main() -> sockeye::Result<()> {
    /// let suites = ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
    /// let tls = sockeye::TlsConfig::new().cipher_suites(suites)?; // and no TLS 1.2
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no suite of such a name (the error says which there are), one is named twice, or
    /// none is named.
    pub fn cipher_suites<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Result<Self> {
        let cipher_suites = suites_of(names)?;
        self.provider = Arc::new(CryptoProvider { cipher_suites, ..(*self.provider).clone() });
        self.orders_cipher_suites = true;
        Ok(self)
    }

    fn protocol_versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let [min, max] = self.versions;
        [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)]
            .into_iter()
            .filter_map(|(one, version)| (min <= one && one <= max).then_some(version))
            .collect()
    }

    /// All of it, as rustls wants it. Sessions of an earlier configuration do not go on under this
    /// one: it may ask for certificates where that did not.
    pub(super) fn build(&self) -> Result<Arc<ServerConfig>> {
        if self.certificates.is_empty() {
            return Err(Error::Tls("TLS needs a certificate and its key".into()));
        }
        let versions = self.protocol_versions();
        if versions.is_empty() {
            return Err(Error::Tls("no TLS version is left: min_version is the newer one".into()));
        }
        let is_spoken = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
        if !self.provider.cipher_suites.iter().any(is_spoken) {
            let why = "no cipher suite is left for the versions of TLS that are spoken";
            return Err(Error::Tls(why.into()));
        }
        let unusable =
            |error: &dyn fmt::Display| Error::Tls(format!("TLS cannot be set up: {error}"));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&versions)
            .map_err(|error| unusable(&error))?;
        let builder = if self.client_auth == ClientAuth::None {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(self.client_authorities.clone());
            let provider = Arc::clone(&self.provider);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if self.client_auth == ClientAuth::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier.build().map_err(|error| {
                Error::Tls(format!("client certificates cannot be checked: {error}"))
            })?;
            builder.with_client_cert_verifier(verifier)
        };
        let certificates = self.certificates.clone();
        let mut config = builder.with_cert_resolver(Arc::new(ByName { certificates }));
        config.ignore_client_order = self.orders_cipher_suites;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| unusable(&error))?;
        config.send_tls13_tickets = TICKETS;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("certificates", &self.certificates.len())
            .field("client_authorities", &self.client_authorities.len())
            .field("client_auth", &self.client_auth)
            .field("versions", &self.versions)
            .field("orders_cipher_suites", &self.orders_cipher_suites)
            .finish_non_exhaustive()
    }
}

/// What new connections get, on all shards.
#[derive(Debug)]
pub(crate) struct Current(Mutex<Arc<ServerConfig>>);

impl Current {
    pub(crate) fn new(config: &TlsConfig) -> Result<Self> {
        Ok(Self(Mutex::new(config.build()?)))
    }

    /// From now on, new connections get this. Those that there are go on with what they have.
    pub(crate) fn replace(&self, config: &TlsConfig) -> Result<()> {
        let config = config.build()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
