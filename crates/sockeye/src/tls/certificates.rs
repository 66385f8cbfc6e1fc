//! Certificates: from files, chosen by name, looked at for their time.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};

use crate::error::{Error, Result};

/// A certificate, its chain and its key.
pub(super) type Certified = Arc<CertifiedKey>;

thread_local! {
    /// The name that the client of the handshake in hand asks for: rustls tells it to who chooses
    /// the certificate, and to nobody else in its unbuffered interface.
    static ASKED_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that a client asked for in what this thread has just processed.
pub(super) fn take_asked_name() -> Option<Box<str>> {
    ASKED_NAME.take()
}

/// Chooses among certificates, in the order in which they were given.
#[derive(Debug)]
pub(super) struct ByName {
    /// Not empty.
    pub(super) certificates: Vec<Certified>,
}

impl ResolvesServerCert for ByName {
    /// The first that is for this name and whose key makes signatures that the client takes; else
    /// the first of those that are for this name, or the first of all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Certified> {
        let asked = hello.server_name();
        ASKED_NAME.set(asked.map(Box::from));
        if self.certificates.len() == 1 {
            return self.certificates.first().cloned();
        }
        let name = asked.and_then(|name| ServerName::try_from(name).ok());
        let named = name.is_some_and(|name| self.for_name(&name).next().is_some());
        let signs = |one: &&Certified| one.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = asked.filter(|_| named).and_then(|name| ServerName::try_from(name).ok());
        match &name {
            Some(name) => self.for_name(name).find(signs).or_else(|| self.for_name(name).next()),
            None => self.certificates.first(),
        }
        .cloned()
    }
}

impl ByName {
    fn for_name<'a>(&'a self, name: &'a ServerName<'_>) -> impl Iterator<Item = &'a Certified> {
        self.certificates.iter().filter(move |one| {
            let parsed = one.cert.first().map(ParsedCertificate::try_from);
            matches!(parsed, Some(Ok(parsed)) if verify_server_name(&parsed, name).is_ok())
        })
    }
}

/// A chain and a key that belong together; `chain_name` and `key_name` are what they are called in
/// an error.
pub(super) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
    [chain_name, key_name]: [&str; 2],
) -> Result<Certified> {
    let first =
        chain.first().ok_or_else(|| Error::Tls(format!("no certificate in {chain_name}")))?;
    warn_of_time(first, chain_name);
    let parsed = ParsedCertificate::try_from(first).map(drop);
    parsed.map_err(|error| Error::Tls(format!("the certificate in {chain_name}: {error}")))?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let text =
                format!("the key in {key_name} is not that of the certificate in {chain_name}");
            Err(Error::Tls(text))
        }
        Err(error) => Err(Error::Tls(format!("the key in {key_name} cannot be used: {error}"))),
    }
}

/// The certificates of a PEM file.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<std::result::Result<_, _>>();
    let found: Vec<_> = found.map_err(|error| not_pem(path, &error))?;
    if found.is_empty() {
        let text = format!("{}: no certificate in PEM form is in it", path.display());
        return Err(Error::Tls(text));
    }
    Ok(found)
}

/// The first private key of a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            Error::Tls(format!("{}: no private key in PEM form is in it", path.display()))
        }
        error => not_pem(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::Tls(format!("{}: {error}", path.display())))
}

fn not_pem(path: &Path, error: &pem::Error) -> Error {
    Error::Tls(format!("{}: not in PEM form: {error}", path.display()))
}

/// A certificate out of its time is the peers' to refuse, and perhaps soon renewed: it is served,
/// and the log says so.
fn warn_of_time(certificate: &CertificateDer<'_>, name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match validity(certificate) {
        Some((_, until)) if until < now => {
            tracing::warn!(
                certificate = name,
                "the certificate has expired: clients will refuse it"
            );
        }
        Some((from, _)) if from > now => {
            tracing::warn!(certificate = name, "the certificate is not valid yet");
        }
        _ => {}
    }
}

/// From when until when a certificate is valid, in seconds from 1970. RFC 5280 section 4.1.
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xA0;
    let (_, certificate, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut fields, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (tag, from, rest) = element(validity)?;
    let from = seconds(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some((from, seconds(tag, until)?))
}

/// The first element of DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], rest) = der.split_first_chunk()?;
    let (len, rest) = match len {
        0..=0x7F => (usize::from(len), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(len & 0x7F))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// `UTCTime` (YYMMDDHHMMSSZ; RFC 5280 section 4.1.2.5.1: from 50 on it is 19YY) or
/// `GeneralizedTime` (YYYYMMDDHHMMSSZ), in seconds from 1970.
fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (year_digits, time) = match tag {
        UTC_TIME => time.split_at_checked(2)?,
        GENERALIZED_TIME => time.split_at_checked(4)?,
        _ => return None,
    };
    let number = |digits: &[u8]| -> Option<i64> { std::str::from_utf8(digits).ok()?.parse().ok() };
    let year = match (tag, number(year_digits)?) {
        (UTC_TIME, year) if year < 50 => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        (_, year) => year,
    };
    let mut parts = [0; 5];
    for (part, digits) in parts.iter_mut().zip(time.chunks(2)) {
        *part = number(digits)?;
    }
    let [month, day, hour, minute, second] = parts;
    // Days of the civil calendar, counted from the 1st of March of year 0.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(seconds(0x17, b"700101000000Z"), Some(0));
        assert_eq!(seconds(0x17, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(0x18, b"20000229123456Z"), Some(951_827_696));
        assert_eq!(seconds(0x18, b"20261121160000Z"), Some(1_795_276_800));
        for wrong in [&b""[..], b"7", b"7x0101000000Z"] {
            assert_eq!(seconds(0x17, wrong), None);
        }
        assert_eq!(seconds(0x30, b"700101000000Z"), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_time() {
        let short: [&[u8]; 6] =
            [b"", b"\x30", b"\x30\x80", b"\x30\x85", b"\x30\x02\x30\x00", b"\x30\x82\xFF\xFF\x30"];
        for der in short {
            assert_eq!(validity(der), None);
        }
    }
}
