//! Makes sockets: from which address, with what buffer, to where. The driver adopts them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use clap::Args;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use sockeye_driver::Adopted;

use super::target::Place;

/// More addresses than this are of no use: they would have ports for two thousand million
/// connections.
const SOURCES_MAX: u64 = 1 << 16;
/// How full a source's ports may get before another one is taken: the kernel looks for a free port
/// the longer the fewer there are.
const PORTS_USED_MAX: f64 = 0.7;
/// So many sources are tried for one connection, if their ports are used up.
const SOURCES_TRIED: u64 = 8;

/// What sockets are like.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sockets")]
pub(crate) struct ConnectorOptions {
    /// Connect from these addresses in turn, such as 10.0.0.1,127.0.0.0/24
    ///
    /// Without it the system chooses; for a target in 127.0.0.0/8, as many addresses of that
    /// network are taken as the connections need.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    source: Vec<SourceRange>,
    /// What the kernel may hold for a slow consumer (SO_RCVBUF)
    ///
    /// It takes twice as much.
    #[arg(long = "receive-buffer", value_name = "BYTES", value_parser = receive_buffer_bytes)]
    receive_buffer_bytes: Option<u32>,
}

fn receive_buffer_bytes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bytes @ 1..=0x3FFF_FFFF) => Ok(bytes),
        _ => Err("not a number of bytes from 1 to 1073741823".into()),
    }
}

/// Addresses that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceRange {
    first: IpAddr,
    count: u64,
}

impl SourceRange {
    const fn at(&self, index: u64) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + index as u32)),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() + index as u128)),
        }
    }

    /// The addresses of a network that hosts may have.
    fn of_network(address: IpAddr, prefix_bits: u32) -> Option<Self> {
        let address_bits = if address.is_ipv4() { 32 } else { 128 };
        let host_bits = address_bits - prefix_bits.min(address_bits);
        if prefix_bits > address_bits || prefix_bits == 0 {
            return None;
        }
        // The first is the network itself, and the last, in IPv4, everybody in it. Networks of two
        // (RFC 3021) and of one have neither.
        let (skipped, kept_out) = if host_bits < 2 { (0, 0) } else { (1, 2) };
        let count = 1_u64.checked_shl(host_bits).unwrap_or(u64::MAX) - kept_out;
        let count = count.min(SOURCES_MAX);
        let first = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX << host_bits;
                IpAddr::V4(Ipv4Addr::from_bits((address.to_bits() & mask) + skipped))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX << host_bits;
                IpAddr::V6(Ipv6Addr::from_bits((address.to_bits() & mask) + u128::from(skipped)))
            }
        };
        Some(Self { first, count })
    }
}

impl FromStr for SourceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "neither an IP address nor a network such as 127.0.0.0/24".to_owned();
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?;
        match prefix {
            None => Ok(Self { first: address, count: 1 }),
            Some(bits) => {
                let bits = bits.parse().map_err(|_| wrong())?;
                Self::of_network(address, bits).ok_or_else(wrong)
            }
        }
    }
}

/// All addresses to connect from. None: the system chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources(Vec<SourceRange>);

impl Sources {
    /// Those that were asked for; else, on the loopback, as many as so many connections need.
    ///
    /// # Errors
    /// One line: they are of another family than the target.
    pub(crate) fn choose(
        options: &ConnectorOptions,
        place: &Place,
        connections: u64,
        ports: u64,
    ) -> Result<Self, String> {
        let Place::Tcp(to) = place else {
            return match options.source.is_empty() {
                true => Ok(Self::default()),
                false => Err("--source is for TCP, and --unix is not: leave one out".into()),
            };
        };
        let is_other = |range: &&SourceRange| range.first.is_ipv4() != to.is_ipv4();
        if let Some(range) = options.source.iter().find(is_other) {
            let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!(
                "--source {} cannot reach {to}: name addresses of {family}",
                range.first
            ));
        }
        if !options.source.is_empty() {
            return Ok(Self(options.source.clone()));
        }
        let comfortable = ((ports as f64 * PORTS_USED_MAX) as u64).max(1);
        if connections <= comfortable || !place.is_loopback() || !to.is_ipv4() {
            return Ok(Self::default());
        }
        // All of 127/8 is this machine.
        let count = connections.div_ceil(comfortable).min(SOURCES_MAX);
        Ok(Self(vec![SourceRange { first: IpAddr::V4(Ipv4Addr::LOCALHOST), count }]))
    }

    /// How many there are; 1 where the system chooses, which takes the same one each time.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.count).sum::<u64>().max(1)
    }

    /// The one whose turn it is.
    fn at(&self, turn: u64) -> Option<IpAddr> {
        let mut index = turn % self.count();
        for range in &self.0 {
            if index < range.count {
                return Some(range.at(index));
            }
            index -= range.count;
        }
        None
    }
}

impl Sources {
    /// Has the next source connect; if its ports are used up, another one's may not be.
    fn in_turn<T>(
        &self,
        turn: &mut u64,
        mut connect: impl FnMut(Option<IpAddr>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut tries_left = SOURCES_TRIED.min(self.count());
        loop {
            let source = self.at(*turn);
            *turn = turn.wrapping_add(1);
            tries_left -= 1;
            match connect(source) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable && tries_left > 0 => {}
                connected => return connected,
            }
        }
    }
}

/// Whom a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Usual,
    /// A slow consumer: with the receive buffer that was asked for.
    Slow,
}

/// A socket for [`sockeye_driver::Tx::adopt`].
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) socket: OwnedFd,
    pub(crate) adopted: Adopted,
}

/// Makes one thread's sockets. That small sends leave at once (`TCP_NODELAY`) the driver sees to
/// when they have connected.
#[derive(Debug)]
pub(crate) struct Connector {
    place: Place,
    sources: Sources,
    receive_buffer_bytes: Option<u32>,
    turn: u64,
}

impl Connector {
    /// `first`: where among the sources to begin, so that threads do not all begin with the same.
    pub(crate) const fn new(
        place: Place,
        sources: Sources,
        options: &ConnectorOptions,
        first: u64,
    ) -> Self {
        let receive_buffer_bytes = options.receive_buffer_bytes;
        Self { place, sources, receive_buffer_bytes, turn: first }
    }

    /// Begins to connect a socket.
    ///
    /// # Errors
    /// The kernel's; [`Place::explain`] has the words. `WouldBlock`: the queue of a Unix socket is
    /// full, for now.
    pub(crate) fn open(&mut self, kind: Kind) -> io::Result<Opened> {
        match &self.place {
            Place::Unix(path) => {
                let to = SockAddr::unix(path)?;
                let buffer_bytes = self.receive_buffer_bytes.filter(|_| kind == Kind::Slow);
                let socket = new_socket(Domain::UNIX, buffer_bytes)?;
                socket.connect(&to)?;
                Ok(Opened { socket: socket.into(), adopted: Adopted::Connected })
            }
            Place::Tcp(to) => {
                let to = *to;
                let Self { sources, turn, receive_buffer_bytes, .. } = self;
                let buffer_bytes = receive_buffer_bytes.filter(|_| kind == Kind::Slow);
                sources.in_turn(turn, |source| connect(to, source, buffer_bytes))
            }
        }
    }
}

/// Begins to connect.
fn connect(
    to: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer_bytes: Option<u32>,
) -> io::Result<Opened> {
    let socket = new_socket(Domain::for_address(to), receive_buffer_bytes)?;
    if let Some(source) = source {
        // The port is chosen by connect(2), which knows the destination: the same port serves for
        // several of them. Where this is not to be had, bind(2) chooses, from fewer.
        if let Err(error) = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true) {
            tracing::debug!(%error, "no IP_BIND_ADDRESS_NO_PORT");
        }
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(Opened { socket: socket.into(), adopted: Adopted::Connecting }),
    }
}

/// One of which nothing waits.
fn new_socket(domain: Domain, receive_buffer_bytes: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    if let Some(bytes) = receive_buffer_bytes {
        // Before it connects: the window that it offers depends on it.
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    Ok(socket)
}

/// The limit that an attempt to connect has run into, and how to raise it.
pub(crate) fn explain_limit(error: &io::Error) -> Option<String> {
    let line = match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            "no more files may be open in this process: raise `ulimit -n` (hard limit: \
             /etc/security/limits.conf, LimitNOFILE= of systemd), or ask for fewer connections"
        }
        Some(Errno::NFILE) => {
            "no more files may be open on this machine: raise `sysctl -w fs.file-max=...`"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) => {
            "the kernel has no memory for more sockets: raise `sysctl -w net.ipv4.tcp_mem=...`, or \
             ask for fewer connections"
        }
        _ if error.kind() == ErrorKind::AddrNotAvailable => {
            "no local port is left, or --source is no address of this machine: connect from more \
             addresses (--source 10.0.0.1,10.0.0.2), or `sysctl -w \
             net.ipv4.ip_local_port_range='1024 65535'`"
        }
        _ => return None,
    };
    Some(line.to_owned())
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            f.write_str(if n > 0 { ", " } else { "" })?;
            match range.count {
                1 => range.first.fmt(f)?,
                count => write!(f, "{} to {}", range.first, range.at(count - 1))?,
            }
        }
        if self.0.is_empty() { f.write_str("chosen by the system") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
