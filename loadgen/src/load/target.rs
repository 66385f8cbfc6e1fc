//! Where the load goes: a URL, the addresses behind it, or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use sockeye_codec::handshake::{UrlError, WsUrl};

use super::connector;
use super::proxy::{self, Proxy};

/// What changes where a URL leads.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// Connect to this Unix socket
    ///
    /// The URL still says Host, path and whether to speak TLS.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Connect to ADDRESS where the URL says HOST, such as example.com:10.0.0.7
    ///
    /// May be repeated; the addresses are then tried in turn.
    #[arg(long, value_name = "HOST:ADDRESS", conflicts_with = "unix")]
    resolve: Vec<Resolve>,
    /// Go by way of an HTTP proxy (CONNECT)
    #[arg(long, value_name = "http://HOST:PORT", conflicts_with_all = ["unix", "resolve"])]
    proxy: Option<Proxy>,
    /// What to tell the proxy of us (Basic)
    #[arg(long, value_name = "USER:PASSWORD", requires = "proxy")]
    proxy_auth: Option<String>,
}

impl TargetOptions {
    /// What asks the proxy for a way to the server, if there is one.
    pub(crate) fn proxy_request(&self, url: &WsUrl) -> Option<Vec<u8>> {
        self.proxy.as_ref()?;
        Some(proxy::request(url, self.proxy_auth.as_deref()))
    }
}

/// An address that is to be taken for a name's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolve {
    host: String,
    address: IpAddr,
}

impl FromStr for Resolve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, address) = text.split_once(':').unwrap_or((text, ""));
        let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inner.unwrap_or(address).parse() {
            Ok(address) if !host.is_empty() => Ok(Self { host: host.to_owned(), address }),
            _ => Err("not a name, a colon and an IP address, such as example.com:10.0.0.7".into()),
        }
    }
}

/// What sockets connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A server, as the command line names it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    url: WsUrl,
    /// At least one, the best first.
    places: Vec<Place>,
    /// They are a proxy's.
    is_by_proxy: bool,
}

impl Target {
    /// Reads the URL and asks the system for the addresses of its host.
    ///
    /// # Errors
    /// One line: what is wrong, and what to do.
    pub(crate) fn resolve(url: &str, options: &TargetOptions) -> Result<Self, String> {
        Self::resolve_by(url, options, |host, port| {
            Ok((host, port).to_socket_addrs()?.collect::<Vec<_>>())
        })
    }

    fn resolve_by(
        url: &str,
        options: &TargetOptions,
        look_up: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Result<Self, String> {
        let parsed = WsUrl::parse(url).map_err(|error| explain_url(url, error))?;
        if let Some(path) = &options.unix {
            return Ok(Self {
                url: parsed,
                places: vec![Place::Unix(path.clone())],
                is_by_proxy: false,
            });
        }
        let (host, port) = match &options.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (parsed.host(), parsed.port()),
        };
        let is_for = |resolve: &&Resolve| resolve.host.eq_ignore_ascii_case(host);
        let mut addresses = Vec::new();
        if let Some(stray) = options.resolve.iter().find(|resolve| !is_for(resolve)) {
            return Err(format!(
                "--resolve is about {}, and the URL about {host}: they must name the same host",
                stray.host
            ));
        }
        addresses.extend(options.resolve.iter().map(|one| SocketAddr::new(one.address, port)));
        if addresses.is_empty() {
            addresses = look_up(host, port).map_err(|error| explain_look_up(host, &error))?;
        }
        let mut places = Vec::new();
        for address in addresses {
            let place = Place::Tcp(address);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() {
            return Err(format!("the name {host} has no address: check it, or use --resolve"));
        }
        Ok(Self { places, url: parsed, is_by_proxy: options.proxy.is_some() })
    }

    /// Its URL.
    pub(crate) const fn url(&self) -> &WsUrl {
        &self.url
    }

    /// What to connect to: after [`reach`](Self::reach), what has answered.
    pub(crate) fn place(&self) -> &Place {
        &self.places[0]
    }

    /// Whether the server is on this machine, as far as addresses tell.
    pub(crate) fn is_here(&self) -> bool {
        !self.is_by_proxy && self.places.iter().all(Place::is_loopback)
    }

    /// All that it may be, in the order of trying.
    #[cfg(test)]
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Connects once, to one place after the other, and keeps the first that answers: before
    /// thousands of connections fail for the same reason.
    ///
    /// # Errors
    /// One line: why none answers, and what to do.
    pub(crate) fn reach(&mut self, timeout: Duration) -> Result<(), String> {
        let mut reasons = Vec::new();
        for place in &self.places {
            let reached = match place {
                Place::Tcp(address) => TcpStream::connect_timeout(address, timeout).map(drop),
                Place::Unix(path) => UnixStream::connect(path).map(drop),
            };
            match reached {
                Ok(()) => {
                    self.places = vec![place.clone()];
                    return Ok(());
                }
                Err(error) => reasons.push(place.explain(&error)),
            }
        }
        Err(reasons.join("; "))
    }
}

impl Place {
    /// Whether it is on this machine, by way of the loopback device.
    pub(crate) const fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => match address.ip() {
                IpAddr::V4(address) => address.is_loopback(),
                IpAddr::V6(address) => address.is_loopback(),
            },
            Self::Unix(_) => true,
        }
    }

    /// Why a connection to it came to nothing, and what to do.
    pub(crate) fn explain(&self, error: &io::Error) -> String {
        if let Some(limit) = connector::explain_limit(error) {
            return limit;
        }
        match (self, error.kind()) {
            (Self::Tcp(_), ErrorKind::ConnectionRefused) => {
                format!("{self} refuses connections: is the server running, and on this port?")
            }
            (Self::Tcp(_), ErrorKind::TimedOut) => {
                format!("{self} does not answer: check the address, and firewalls in between")
            }
            (Self::Tcp(_), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable) => {
                format!("there is no way to {self}: check the address, and this machine's network")
            }
            (Self::Tcp(_), ErrorKind::InvalidInput) => format!(
                "{self} cannot be reached from the address of --source: 127/8 is for this machine \
                 alone, name an address of its network"
            ),
            (Self::Unix(_), ErrorKind::NotFound) => {
                format!("there is no socket {self}: is the server running, and the path right?")
            }
            (Self::Unix(_), ErrorKind::ConnectionRefused) => {
                format!("nobody listens on {self}: is the server running, and is this a socket?")
            }
            (Self::Unix(_), ErrorKind::PermissionDenied) => {
                format!("{self} may not be written to by this user: change its mode, or the user")
            }
            (Self::Unix(_), ErrorKind::WouldBlock) => format!(
                "the queue of {self} is full: connect more slowly, or raise the server's backlog"
            ),
            _ => format!("{self} cannot be connected to: {error}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A URL that cannot be used, and what to write.
fn explain_url(url: &str, error: UrlError) -> String {
    let shown = url.escape_debug();
    match (error, url.split_once("://")) {
        (UrlError::Scheme, None) => format!("{shown} has no scheme: write ws://{shown}"),
        (UrlError::Scheme, Some((scheme, rest))) if scheme.eq_ignore_ascii_case("http") => {
            format!("{shown} is not a WebSocket URL: write ws://{}", rest.escape_debug())
        }
        (UrlError::Scheme, Some((scheme, rest))) if scheme.eq_ignore_ascii_case("https") => {
            format!("{shown} is not a WebSocket URL: write wss://{}", rest.escape_debug())
        }
        (UrlError::UserInfo, _) => {
            format!("{shown}: {error}: give it by --header 'Authorization: Basic ...'")
        }
        _ => format!("{shown}: {error}; such as ws://127.0.0.1:9001/chat or wss://[::1]/"),
    }
}

/// A name that leads nowhere. Resolvers have no kinds of error in common, so theirs is shown.
fn explain_look_up(host: &str, error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    format!(
        "the host {host} is not known ({text}): check the name, or use --resolve {host}:ADDRESS"
    )
}

#[cfg(test)]
mod tests;
