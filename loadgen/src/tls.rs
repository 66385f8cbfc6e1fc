//! The options of `serve` that are about TLS.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sockeye::{ClientAuth, Handle, TlsConfig, TlsVersion};

/// All of them; without a certificate there is no TLS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// A PEM file with a certificate and its chain; with more than one, clients choose by name
    #[arg(long = "tls-cert", value_name = "FILE", requires = "keys")]
    certificates: Vec<PathBuf>,
    /// The PEM file with its key; as many as certificates, and in the same order
    #[arg(long = "tls-key", value_name = "FILE", requires = "certificates")]
    keys: Vec<PathBuf>,
    /// A PEM file with the authorities of the clients' certificates, which are then asked for
    #[arg(long = "tls-client-ca", value_name = "FILE", requires = "certificates")]
    client_authorities: Option<PathBuf>,
    /// Whether a client may do without one [default: required]
    #[arg(long = "tls-client-auth", value_name = "HOW", value_enum)]
    #[arg(requires = "client_authorities")]
    client_auth: Option<Auth>,
    /// The oldest TLS that is spoken [default: 1.2]
    #[arg(long = "tls-min-version", value_name = "VERSION", value_enum)]
    #[arg(requires = "certificates")]
    min_version: Option<Version>,
    /// The cipher suites that are spoken, by IANA's names, the best first [default: all that are
    /// safe, and the client chooses]
    #[arg(long = "tls-ciphers", value_name = "NAME,..", value_delimiter = ',')]
    #[arg(requires = "certificates")]
    cipher_suites: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// It may; what it shows must be good
    Optional,
    /// It may not
    Required,
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

impl TlsOptions {
    /// Reads the files. `None`: no TLS was asked for.
    pub(crate) fn load(&self) -> Result<Option<TlsConfig>, Box<dyn Error>> {
        let (certificates, keys) = (self.certificates.len(), self.keys.len());
        if certificates != keys {
            return Err(format!(
                "{certificates} times --tls-cert and {keys} times --tls-key: each certificate \
                 needs its key"
            )
            .into());
        }
        if certificates == 0 {
            return Ok(None);
        }
        let mut config = TlsConfig::new();
        for (certificate, key) in self.certificates.iter().zip(&self.keys) {
            config = config.certificate_files(certificate, key)?;
        }
        if let Some(authorities) = &self.client_authorities {
            config = config.client_ca_file(authorities)?.client_auth(match self.client_auth {
                Some(Auth::Optional) => ClientAuth::Optional,
                Some(Auth::Required) | None => ClientAuth::Required,
            });
        }
        if self.min_version == Some(Version::Tls13) {
            config = config.min_version(TlsVersion::Tls13);
        }
        if !self.cipher_suites.is_empty() {
            config = config.cipher_suites(self.cipher_suites.iter().map(String::as_str))?;
        }
        Ok(Some(config))
    }

    /// Reads the files again, for connections that come from now on. What is wrong with them is
    /// logged, and all stays as it was.
    pub(crate) fn reload(&self, handle: &Handle) {
        let reloaded = self.load().and_then(|config| match config {
            Some(config) => Ok(handle.reload_tls(&config)?),
            None => Err("the server speaks no TLS".into()),
        });
        // Who sends a signal wants to know what came of it, whatever is logged otherwise.
        match reloaded {
            Ok(()) => eprintln!("sockeye: the certificates have been read again"),
            Err(error) => eprintln!("sockeye: the certificates stay as they were: {error}"),
        }
    }

    /// What an address begins with.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.certificates.is_empty() { "ws" } else { "wss" }
    }
}
