//! The client's TLS: what it is made of. [`TlsLink`] is one connection's; neither does any IO.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};

pub(crate) mod link;

pub(crate) use link::{TlsError, TlsLink};

/// Sessions to go on with; a load has one server.
const SESSIONS_MAX: usize = 256;

/// How TLS is spoken with a server of `wss:`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Trust the authorities in this PEM file, and no others [default: the system's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Take whatever certificate the server shows
    #[arg(long)]
    insecure: bool,
    /// The PEM file of a client certificate and its chain
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The PEM file of its key
    #[arg(long = "tls-key", value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Ask for this name, and check the certificate for it [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The oldest TLS to speak [default: 1.2]
    #[arg(long = "tls-min", value_name = "VERSION", value_enum)]
    min_version: Option<Version>,
    /// Let new connections resume the session of an earlier one (tickets)
    ///
    /// Without it each handshake is a full one.
    #[arg(long = "tls-resume")]
    resume: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Version {
    /// TLS 1.2 and 1.3
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone
    #[value(name = "1.3")]
    Tls13,
}

/// What all connections of a load have in common.
#[derive(Clone)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// Reads the files and, without `--ca`, the system's authorities.
    ///
    /// # Errors
    /// One line: what cannot be used, and what to do.
    pub(crate) fn new(options: &TlsOptions, host: &str) -> Result<Self, String> {
        let name = options.sni.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is no name for TLS: give one by --sni NAME"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&'static SupportedProtocolVersion] = match options.min_version {
            Some(Version::Tls13) => &[&version::TLS13],
            Some(Version::Tls12) | None => &[&version::TLS13, &version::TLS12],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = if options.insecure {
            let verifier = Arc::new(AnyCertificate { provider });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(options.roots()?)
        };
        let mut config = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)
                .map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("{certificate} and {key} do not make a client certificate: {error}")
                })?,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = if options.resume {
            Resumption::in_memory_sessions(SESSIONS_MAX)
        } else {
            Resumption::disabled()
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// A connection to be.
    ///
    /// # Errors
    /// rustls': it takes the configuration for nonsense.
    pub(crate) fn link(&self) -> Result<TlsLink, String> {
        UnbufferedClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map(TlsLink::new)
            .map_err(|error| format!("TLS cannot begin: {error}"))
    }

    /// The same, for those who do their IO by rustls' streams.
    pub(crate) fn connection(&self) -> Result<ClientConnection, String> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| format!("TLS cannot begin: {error}"))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TlsOptions {
    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for authority in read_certificates(path)? {
                roots.add(authority).map_err(|error| {
                    format!("{}: not an authority's certificate: {error}", path.display())
                })?;
            }
            return Ok(roots);
        }
        // Some systems have certificates that rustls does not take; the others do.
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok(roots);
        }
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        Err(format!(
            "this system has no certificates of authorities{why}: install ca-certificates, name \
             a file by --ca FILE, or use --insecure"
        ))
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} has no certificate: a PEM file is needed", path.display())),
        Err(error) => Err(explain_pem(path, "certificates", &error)),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| explain_pem(path, "a key", &error))
}

fn explain_pem(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("{path} cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("{path} has not {what}: a PEM file is needed"),
        error => format!("{path} is not a PEM file: {error}"),
    }
}

/// Takes any certificate, but not one whose key the server does not have: what that costs both
/// sides is part of a handshake.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
