//! `GET /metrics`: an HTTP/1.1 responder that has one page. It runs on a thread of its own, that
//! looks at nothing but the page and its sockets, and every wait of it has an end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

/// Others wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 16;
const REQUEST_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// From being accepted to the end.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);
/// What is thrown away of a client that goes on sending after its answer.
const LEFTOVER_BYTES_MAX: usize = 64 << 10;
/// After `accept` has failed, for lack of descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is shown: replaced as a whole.
pub(super) type Page = Arc<Mutex<Arc<str>>>;

/// The responder; it ends with this.
pub(super) struct Endpoint {
    address: SocketAddr,
    page: Page,
    /// Closed to end the thread.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens there, and shows this.
    pub(super) fn start(address: SocketAddr, text: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (alive, watched) = UnixStream::pair()?;
        let page: Page = Arc::new(Mutex::new(text.into()));
        let responder =
            Responder { listener, watched, page: Arc::clone(&page), exchanges: Vec::new() };
        let thread =
            thread::Builder::new().name("metrics".into()).spawn(move || responder.run())?;
        Ok(Self { address, page, alive: Some(alive), thread: Some(thread) })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is shown.
    pub(super) fn show(&self, text: &str) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported already, and the load has nothing to do with it.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Responder {
    listener: TcpListener,
    watched: UnixStream,
    page: Page,
    exchanges: Vec<Exchange>,
}

impl Responder {
    fn run(mut self) {
        let mut accept_after = Instant::now();
        loop {
            let now = Instant::now();
            self.exchanges.retain(|exchange| exchange.deadline > now);
            let has_room = self.exchanges.len() < CONNECTIONS_MAX;
            let accepts = has_room && accept_after <= now;
            let wakes = self.exchanges.iter().map(|exchange| exchange.deadline);
            let wakes = wakes.chain((has_room && !accepts).then_some(accept_after));
            let timeout = wakes.min().map(|at| timespec(at.saturating_duration_since(now)));
            let Ok(ready) = self.wait(accepts, timeout.as_ref()) else { return };
            if ready.ends {
                return;
            }
            let page = &self.page;
            let mut ready_exchanges = ready.exchanges.into_iter();
            self.exchanges.retain_mut(|exchange| {
                !ready_exchanges.next().unwrap_or(false) || exchange.go_on(page)
            });
            if ready.accepts && !self.accept() {
                accept_after = Instant::now() + ACCEPT_PAUSE;
            }
        }
    }

    fn wait(&self, accepts: bool, timeout: Option<&Timespec>) -> io::Result<Ready> {
        let exchanges = self.exchanges.iter().map(|exchange| {
            let flags = if exchange.answer.is_some() { PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&exchange.stream, flags)
        });
        let listener = accepts.then(|| PollFd::new(&self.listener, PollFlags::IN));
        let mut polled: Vec<_> = [PollFd::new(&self.watched, PollFlags::IN)]
            .into_iter()
            .chain(exchanges)
            .chain(listener)
            .collect();
        match poll(&mut polled, timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            ends: ready.next().unwrap_or(false),
            exchanges: ready.by_ref().take(self.exchanges.len()).collect(),
            accepts: ready.next().unwrap_or(false),
        })
    }

    /// `false`: it is better to wait before the next.
    fn accept(&mut self) -> bool {
        match self.listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                self.exchanges.push(Exchange::new(stream));
                true
            }
            // It has gone again.
            Ok(_) => true,
            Err(error) => matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
            ),
        }
    }
}

/// What can go on.
struct Ready {
    ends: bool,
    exchanges: Vec<bool>,
    accepts: bool,
}

fn timespec(time: Duration) -> Timespec {
    // Rounded up: a moment too early would be a turn for nothing.
    let time = time + Duration::from_micros(1);
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// A client: one request, one answer.
struct Exchange {
    stream: TcpStream,
    deadline: Instant,
    request: Vec<u8>,
    /// What of the answer has still to leave.
    answer: Option<(Vec<u8>, usize)>,
    /// Bytes thrown away after the answer, once that has left.
    leftover_bytes: Option<usize>,
}

impl Exchange {
    fn new(stream: TcpStream) -> Self {
        let deadline = Instant::now() + EXCHANGE_MAX;
        Self { stream, deadline, request: Vec::new(), answer: None, leftover_bytes: None }
    }

    /// `false`: it is over.
    fn go_on(&mut self, page: &Page) -> bool {
        let result = match (&self.answer, self.leftover_bytes) {
            (Some(_), _) => self.write(),
            (None, Some(_)) => self.linger(),
            (None, None) => self.read(page),
        };
        match result {
            Ok(goes_on) => goes_on,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn read(&mut self, page: &Page) -> io::Result<bool> {
        let mut bytes = [0; 2048];
        let len = self.stream.read(&mut bytes)?;
        if len == 0 {
            return Ok(false);
        }
        self.request.extend_from_slice(&bytes[..len]);
        let Some(asked) = asked(&self.request) else { return Ok(true) };
        let page = Arc::clone(&page.lock().unwrap_or_else(PoisonError::into_inner));
        self.answer = Some((answer(asked, &page), 0));
        self.request = Vec::new();
        self.write()
    }

    fn write(&mut self) -> io::Result<bool> {
        if let Some((bytes, sent)) = &mut self.answer {
            while *sent < bytes.len() {
                *sent += self.stream.write(&bytes[*sent..])?;
            }
        }
        self.answer = None;
        self.leftover_bytes = Some(0);
        self.stream.shutdown(std::net::Shutdown::Write)?;
        Ok(true)
    }

    /// Waits for the client's end: to close while something of it is unread would reset the
    /// connection, and might take the answer away from it (RFC 9112 section 9.6).
    fn linger(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 2048];
        let len = self.stream.read(&mut bytes)?;
        let leftover_bytes = self.leftover_bytes.unwrap_or(0) + len;
        self.leftover_bytes = Some(leftover_bytes);
        Ok(len > 0 && leftover_bytes < LEFTOVER_BYTES_MAX)
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Page,
    /// The same without the page.
    Head,
    Other {
        status: &'static str,
        says: &'static str,
    },
}

const BAD_REQUEST: Asked = Asked::Other { status: "400 Bad Request", says: "this is no request" };
const TOO_LARGE: Asked = Asked::Other {
    status: "431 Request Header Fields Too Large",
    says: "this request is too large",
};
const NOT_FOUND: Asked = Asked::Other { status: "404 Not Found", says: "there is only /metrics" };
const NOT_ALLOWED: Asked =
    Asked::Other { status: "405 Method Not Allowed", says: "there is only GET and HEAD" };

/// `None` as long as the request is not whole.
fn asked(bytes: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_BYTES_MAX => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(TOO_LARGE);
        }
        Err(_) => return Some(BAD_REQUEST),
    }
    let hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    // "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
    // that lacks a Host header field and to any request message that contains more than one Host
    // header field line" (RFC 9112 section 3.2)
    let hosts = hosts.count();
    if hosts > 1 || hosts == 0 && request.version == Some(1) {
        return Some(BAD_REQUEST);
    }
    let target = request.path.unwrap_or_default();
    // "a server MUST accept the absolute-form in requests" (section 3.2.2)
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    Some(match (target.split('?').next(), request.method) {
        (Some("/metrics"), Some("GET")) => Asked::Page,
        (Some("/metrics"), Some("HEAD")) => Asked::Head,
        (Some("/metrics"), _) => NOT_ALLOWED,
        _ => NOT_FOUND,
    })
}

fn answer(asked: Asked, page: &str) -> Vec<u8> {
    let line;
    let (status, kind, body) = match asked {
        Asked::Page | Asked::Head => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", page),
        Asked::Other { status, says } => {
            line = format!("{says}\n");
            (status, "text/plain; charset=utf-8", &*line)
        }
    };
    let allow = if asked == NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if asked != Asked::Head {
        answer.push_str(body);
    }
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_page() {
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Asked::Page)),
            ("GET /metrics?x=1 HTTP/1.1\r\nhost: a\r\n\r\n", Some(Asked::Page)),
            ("GET http://a:9464/metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Asked::Page)),
            ("GET /metrics HTTP/1.0\r\n\r\n", Some(Asked::Page)),
            ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Asked::Head)),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(NOT_ALLOWED)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(NOT_FOUND)),
            ("GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", Some(NOT_FOUND)),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Some(NOT_FOUND)),
            ("DELETE * HTTP/1.1\r\nHost: a\r\n\r\n", Some(NOT_FOUND)),
            ("GET /metrics HTTP/1.1\r\n\r\n", Some(BAD_REQUEST)),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Some(BAD_REQUEST)),
            ("GET /metrics HTTP/1.1\r\nHost: a", None),
            ("GET /metrics\r\n\r\n", Some(BAD_REQUEST)),
            ("\x16\x03\x01\x02", Some(BAD_REQUEST)),
            ("", None),
        ] {
            assert_eq!(asked(request.as_bytes()), expected, "{request:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(REQUEST_BYTES_MAX));
        assert_eq!(asked(long.as_bytes()), Some(TOO_LARGE));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(asked(many.as_bytes()), Some(TOO_LARGE));
    }

    #[test]
    fn answers_are_whole() {
        let text = |asked| String::from_utf8(answer(asked, "page\n")).unwrap();
        let page = text(Asked::Page);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
        assert!(page.contains("\r\nContent-Length: 5\r\n") && page.ends_with("\r\n\r\npage\n"));
        let head = text(Asked::Head);
        assert!(head.contains("\r\nContent-Length: 5\r\n") && head.ends_with("\r\n\r\n"));
        let other = text(NOT_ALLOWED);
        assert!(other.contains("\r\nAllow: GET, HEAD\r\n") && other.ends_with("GET and HEAD\n"));
    }
}
