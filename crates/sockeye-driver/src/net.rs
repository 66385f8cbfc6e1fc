//! Listening sockets, made with the options that the connections inherit.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// An address that is ours but not listened on yet.
#[derive(Debug)]
pub struct Bound {
    first: Socket,
    address: SocketAddr,
}

impl Bound {
    /// Binds the address; with port 0 the system chooses one.
    ///
    /// # Errors
    /// The address is in use, also by a socket that shares it (`SO_REUSEPORT`), is not one of this
    /// machine's, or may not be used.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        // Bound without SO_REUSEPORT, else a second server would quietly share the address with a
        // first one. It gets the option afterwards, so that our own other listeners can join.
        let first = bind(address, false)?;
        let address = first.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { first, address })
    }

    /// The address, with its real port.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Listens with `count` sockets (at least one), over which the kernel spreads connections. Each
    /// has a queue of `backlog` connections that wait to be accepted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen(self, count: usize, backlog: u32) -> io::Result<Vec<TcpListener>> {
        let mut sockets = vec![self.first];
        if count > 1 {
            sockets[0].set_reuse_port(true)?;
        }
        for _ in 1..count {
            sockets.push(bind(self.address, true)?);
        }
        for socket in &sockets {
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        }
        Ok(sockets.into_iter().map(TcpListener::from).collect())
    }
}

fn bind(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the last run's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // Inherited by what is accepted: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn listen(count: usize) -> Vec<TcpListener> {
        Bound::new(ANY).unwrap().listen(count, 128).unwrap()
    }

    #[test]
    fn an_address_in_use_is_refused_whoever_uses_it() {
        for theirs in [1, 4] {
            let theirs = listen(theirs);
            let error = Bound::new(theirs[0].local_addr().unwrap()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn all_listeners_share_one_address_and_all_get_connections() {
        let listeners = listen(3);
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted = 0;
        for listener in &listeners {
            let mut here = 0;
            while let Ok((stream, _)) = listener.accept() {
                assert!(stream.nodelay().unwrap(), "inherited from the listener");
                here += 1;
            }
            assert!(here > 0, "the kernel spreads connections");
            accepted += here;
        }
        assert_eq!(accepted, clients.len());
    }
}
