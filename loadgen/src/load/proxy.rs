//! By way of an HTTP proxy: CONNECT (RFC 9110 section 9.3.6), then as if there were none.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sockeye_codec::handshake::{HandshakeLimits, HeadBuffer, WsUrl};

/// `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give http://HOST:PORT; a password goes to --proxy-auth".to_owned();
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let url = WsUrl::parse(&format!("ws://{rest}")).map_err(|_| wrong())?;
        if url.target() != "/" {
            return Err(wrong());
        }
        Ok(Self { host: url.host().to_owned(), port: url.port() })
    }
}

/// What asks a proxy for a way to the server.
pub(crate) fn request(url: &WsUrl, user_and_password: Option<&str>) -> Vec<u8> {
    let host = url.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = format!("{host}:{}", url.port());
    let authorization = user_and_password.map_or_else(String::new, |secret| {
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(secret))
    });
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n").into_bytes()
}

/// Waits for its answer.
#[derive(Debug, Default)]
pub(crate) struct ProxyAnswer {
    head: HeadBuffer,
}

/// A proxy that does not connect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// Its status line.
    Refused(String),
    /// What it says is no HTTP.
    NotHttp,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(line) if line.contains(" 407") => {
                write!(f, "the proxy wants to know who asks ({line}): give --proxy-auth")
            }
            Self::Refused(line) => write!(f, "the proxy does not connect: {line}"),
            Self::NotHttp => f.write_str("--proxy: what answers there is no HTTP proxy"),
        }
    }
}

impl ProxyAnswer {
    /// Takes bytes of the answer. `true`: the way is free, and what is left of them comes from the
    /// server.
    pub(crate) fn read(&mut self, bytes: &mut &mut [u8]) -> Result<bool, ProxyError> {
        let head = self.head.read(bytes, &HandshakeLimits::default());
        let Some(head) = head.map_err(|_| ProxyError::NotHttp)? else { return Ok(false) };
        let text = String::from_utf8_lossy(head.as_bytes());
        let line = text.lines().next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        match status {
            // "Any 2xx (Successful) response indicates that the sender [..] will switch to tunnel
            // mode immediately after the response header section" (section 9.3.6)
            Some(status) if status.len() == 3 && status.starts_with('2') => Ok(true),
            Some(_) => Err(ProxyError::Refused(line.chars().take(80).collect())),
            None => Err(ProxyError::NotHttp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_by_host_and_port() {
        let proxy: Proxy = "http://proxy.example:3128".parse().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!("http://[::1]".parse::<Proxy>().unwrap().port, 80);
        for wrong in ["proxy:3128", "https://proxy", "http://a:b@proxy", "http://proxy/path", ""] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_is_asked_for_the_server() {
        let request =
            |url, auth| String::from_utf8(request(&WsUrl::parse(url).unwrap(), auth)).unwrap();
        let expected = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
        assert_eq!(request("wss://example.com/chat", None), expected);
        assert!(request("ws://[::1]:9/", None).starts_with("CONNECT [::1]:9 HTTP/1.1\r\n"));
        let line = "Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n";
        assert!(request("ws://h/", Some("ada:secret")).contains(line));
    }

    #[test]
    fn its_answer_may_come_in_pieces() {
        let stream = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nserver";
        for cut in 0..stream.len() {
            let mut answer = ProxyAnswer::default();
            let mut through = false;
            let mut rest = Vec::new();
            for piece in [&stream[..cut], &stream[cut..]] {
                let mut bytes = piece.to_vec();
                let mut bytes = &mut bytes[..];
                through = through || answer.read(&mut bytes).unwrap();
                if through {
                    rest.extend_from_slice(bytes);
                }
            }
            assert!(through);
            assert_eq!(rest, b"server", "cut at {cut}");
        }
    }

    #[test]
    fn a_refusal_is_told() {
        let read = |text: &[u8]| ProxyAnswer::default().read(&mut &mut text.to_vec()[..]);
        let refused = read(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap_err();
        assert_eq!(refused, ProxyError::Refused("HTTP/1.1 403 Forbidden".into()));
        let asked = read(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n").unwrap_err();
        assert!(asked.to_string().contains("--proxy-auth"));
        assert_eq!(read(b"SSH-2.0\r\n\r\n"), Err(ProxyError::NotHttp));
        assert_eq!(read(b"\x15\x03\x01"), Err(ProxyError::NotHttp));
    }
}
