//! An HTTP POST that waits for its answer: over TCP or TLS, a connection for each.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sockeye_codec::handshake::WsUrl;

use super::super::facts;
use crate::load::tls::{ClientTls, TlsOptions};

/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// What is told of an answer.
const REASON_CHARS_MAX: usize = 200;

/// `http://HOST:PORT/PATH`, or `https`.
#[derive(Debug, Clone)]
pub(super) struct Url(WsUrl);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").map(|rest| format!("wss://{rest}"));
        let rest = rest.or_else(|| Some(format!("ws://{}", text.strip_prefix("http://")?)));
        let rest = rest.ok_or("give http://HOST:PORT/PATH or https://HOST/PATH")?;
        if rest.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err("a password goes to --remote-write-header 'Authorization: ..'".into());
        }
        WsUrl::parse(&rest).map(Self).map_err(|error| error.to_string())
    }
}

/// Why nobody has taken what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It will never be.
    Refused(String),
    /// Perhaps it will be later.
    Failed(String),
}

/// Where to, and with which headers.
pub(super) struct Post {
    url: WsUrl,
    tls: Option<ClientTls>,
    /// All of the request but the length of its body.
    head: String,
}

impl Post {
    pub(super) fn new(url: &Url, headers: &[(String, String)]) -> Result<Self, String> {
        let url = url.0.clone();
        // Whom to trust is the system's affair: --ca and --insecure are about the server.
        let tls = || ClientTls::new(&TlsOptions::default(), url.host());
        let tls = url.is_secure().then(tls).transpose()?;
        let mut head = format!("POST {} HTTP/1.1\r\n", url.target());
        let fixed = [
            ("Host", url.host_header()),
            ("User-Agent", concat!("sockeye/", env!("CARGO_PKG_VERSION"))),
            ("Content-Type", "application/x-protobuf"),
            ("Content-Encoding", "snappy"),
            ("X-Prometheus-Remote-Write-Version", "0.1.0"),
            ("Connection", "close"),
        ];
        let headers = headers.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in fixed.into_iter().chain(headers) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        Ok(Self { url, tls, head })
    }

    pub(super) fn send(&self, body: &[u8], deadline: Instant) -> Result<(), NotTaken> {
        let answer = self.exchange(body, deadline).map_err(|error| {
            let host = self.url.host_header();
            let why = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
                _ => error.to_string(),
            };
            NotTaken::Failed(format!("{host}: {why}"))
        })?;
        judge(&answer)
    }

    /// Sends it, and reads the answer as far as it says something.
    fn exchange(&self, body: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
        let stream = Timed { stream: self.connect(deadline)?, deadline };
        match &self.tls {
            Some(tls) => {
                let connection = tls.connection().map_err(io::Error::other)?;
                self.talk(&mut rustls::StreamOwned::new(connection, stream), body)
            }
            None => self.talk(&mut { stream }, body),
        }
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::other("its name has no address");
        for address in (self.url.host(), self.url.port()).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn talk(&self, stream: &mut (impl Read + Write), body: &[u8]) -> io::Result<Vec<u8>> {
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head, body.len());
        // One write: nothing waits for an acknowledgement in between.
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        // It may have answered already that it will not read all of this.
        let written = stream.write_all(&request).and_then(|()| stream.flush());
        let mut answer = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => answer.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What there is may do; TLS calls an end without a goodbye an error.
                Err(_) if is_whole(&answer) => break,
                Err(error) => return Err(written.err().unwrap_or(error)),
            }
            if is_whole(&answer) || answer.len() >= ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(answer)
    }
}

/// A socket whose reads and writes end at a time.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(bytes)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What there is of an answer: its status, the length that it says its body has, and its body.
fn parse(answer: &[u8]) -> Option<(u16, String, Option<usize>, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return None };
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|it| std::str::from_utf8(it.value).ok()?.trim().parse().ok());
    let reason = response.reason.unwrap_or_default().to_owned();
    Some((response.code?, reason, length, &answer[head..]))
}

/// Nothing more is worth waiting for.
fn is_whole(answer: &[u8]) -> bool {
    parse(answer).is_some_and(|(status, _, length, body)| {
        (200..300).contains(&status) || length.is_some_and(|length| body.len() >= length)
    })
}

/// "Senders MUST retry write requests on HTTP 5xx responses"; 429 may be retried, 4xx "MUST NOT".
fn judge(answer: &[u8]) -> Result<(), NotTaken> {
    let Some((status, reason, _, body)) = parse(answer) else {
        return Err(NotTaken::Failed("what answers is no HTTP server".into()));
    };
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body = String::from_utf8_lossy(body);
    let says = body.lines().next().unwrap_or_default().trim();
    let says: String = says.chars().take(REASON_CHARS_MAX).collect();
    let separator = if says.is_empty() { "" } else { ": " };
    let why = facts::printable(&format!("HTTP {status} {reason}{separator}{says}"));
    match status {
        429 | 500..=599 => Err(NotTaken::Failed(why)),
        _ => Err(NotTaken::Refused(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_named_by_urls() {
        let url: Url = "http://127.0.0.1:9090/api/v1/write".parse().unwrap();
        assert_eq!(
            (url.0.port(), url.0.target(), url.0.is_secure()),
            (9090, "/api/v1/write", false)
        );
        let url: Url = "https://prometheus.example/push?x=1".parse().unwrap();
        assert_eq!((url.0.port(), url.0.target(), url.0.is_secure()), (443, "/push?x=1", true));
        for wrong in ["127.0.0.1:9090", "ws://h/", "http://", "http://a:b@h/", "ftp://h/"] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_are_judged() {
        let failed = |why: &str| Err(NotTaken::Failed(why.into()));
        let refused = |why: &str| Err(NotTaken::Refused(why.into()));
        for (answer, is_all, expected) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", true, Ok(())),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, Ok(())),
            (
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nno: a\nb",
                true,
                refused("HTTP 400 Bad Request: no: a"),
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false, refused("HTTP 404 Not Found")),
            ("HTTP/1.1 302 Found\r\n\r\n\x1b[2J", false, refused("HTTP 302 Found: \\u{1b}[2J")),
            ("HTTP/1.1 429 Slow\r\n\r\n", false, failed("HTTP 429 Slow")),
            ("HTTP/1.1 503 Later\r\n\r\n", false, failed("HTTP 503 Later")),
            ("HTTP/1.1 200 OK\r\n", false, failed("what answers is no HTTP server")),
            ("SSH-2.0\r\n\r\n", false, failed("what answers is no HTTP server")),
            ("", false, failed("what answers is no HTTP server")),
        ] {
            assert_eq!(judge(answer.as_bytes()), expected, "{answer:?}");
            assert_eq!(is_whole(answer.as_bytes()), is_all, "{answer:?}");
        }
    }
}
