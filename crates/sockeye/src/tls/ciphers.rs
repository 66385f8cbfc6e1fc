//! Which cipher suites a server speaks, by the names that IANA registered.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

use crate::error::{Error, Result};

/// rustls says `TLS13_..` of those that IANA knows as `TLS_..`.
pub(super) fn registered_name(suite: SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

/// The suites of these names, in their order.
pub(super) fn suites_of<'n>(
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<SupportedCipherSuite>> {
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    for name in names {
        let suite = ALL_CIPHER_SUITES.iter().find(|suite| registered_name(**suite) == name);
        let Some(suite) = suite else {
            let known: Vec<_> = ALL_CIPHER_SUITES.iter().copied().map(registered_name).collect();
            let known = known.join(", ");
            return Err(Error::Tls(format!("no cipher suite {name:?}; there are {known}")));
        };
        if suites.contains(suite) {
            return Err(Error::Tls(format!("the cipher suite {name} is named twice")));
        }
        suites.push(*suite);
    }
    if suites.is_empty() {
        return Err(Error::Tls("TLS needs a cipher suite".into()));
    }
    Ok(suites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_iana() {
        let names: Vec<_> = ALL_CIPHER_SUITES.iter().copied().map(registered_name).collect();
        for name in [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
        }
        let all = suites_of(names.iter().map(String::as_str)).unwrap();
        assert_eq!(all, ALL_CIPHER_SUITES);
    }

    #[test]
    fn the_order_is_kept_and_nonsense_is_named() {
        let names = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
        let suites = suites_of(names).unwrap();
        assert_eq!(suites.into_iter().map(registered_name).collect::<Vec<_>>(), names);
        let error = |names: &[&str]| suites_of(names.iter().copied()).unwrap_err().to_string();
        assert!(error(&[]).contains("needs a cipher suite"));
        assert!(error(&["TLS_RSA_WITH_RC4_128_MD5"]).contains("TLS_AES_128_GCM_SHA256, "));
        assert!(error(&["TLS13_AES_128_GCM_SHA256"]).contains("no cipher suite"));
        let twice = [names[0], names[1], names[0]];
        assert!(error(&twice).contains("TLS_AES_128_GCM_SHA256 is named twice"));
    }
}
