//! A certificate for the servers of one run.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::tls::NAME;

/// Tells the folders of one process apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A certificate (P-256) that nobody has signed but itself, and its key, in a folder that goes with
/// it.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// A new one.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("sockeye-benches-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Ours alone; one that is there already is not.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let certificate =
            Self { chain: folder.join("cert.pem"), key: folder.join("key.pem"), folder };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signed = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?;
        fs::write(&certificate.chain, signed.pem())?;
        fs::write(&certificate.key, key.serialize_pem())?;
        Ok(certificate)
    }

    /// The file with the certificate.
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// The file with its key.
    pub fn key(&self) -> &Path {
        &self.key
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What cannot be removed stays in a folder for such things.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::server_config;

    #[test]
    fn a_server_can_use_it_and_it_goes() {
        let certificate = Certificate::new().unwrap();
        server_config(certificate.chain(), certificate.key()).unwrap();
        let folder = certificate.folder.clone();
        assert!(folder.exists());
        drop(certificate);
        assert!(!folder.exists());
    }
}
