//! What the sockets are: all that is asked of one, and that the system's can do it. The
//! simulator's are in `sim/socket.rs`.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

use super::{TcpListener, TcpStream};

/// A connection's socket. Nothing of it waits; dropping it closes it.
pub trait Socket: fmt::Debug {
    /// What has gone wrong since it was last asked: a connect that failed, say.
    ///
    /// # Errors
    /// The question failed.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected`: not yet, or not any more.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Has small sends leave at once.
    ///
    /// # Errors
    /// The kernel's.
    fn set_nodelay(&self) -> io::Result<()>;

    /// Takes what has come, as far as there is room. 0: the peer's FIN, or no room.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has come. Else the connection is gone.
    fn receive(&mut self, room: &mut [u8]) -> io::Result<usize>;

    /// Sends bytes. Returns how many of them went.
    ///
    /// # Errors
    /// `WouldBlock`: none can go now. Else the connection is gone.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends several parts, one behind the other. Returns how many bytes of them went.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// FIN: nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    fn finish(&self) -> io::Result<()>;
}

/// What connections come in by. Dropping it closes it.
pub trait Accept {
    /// What it accepts.
    type Socket;

    /// The next connection in its queue.
    ///
    /// # Errors
    /// `WouldBlock`: there is none; or none can be had.
    fn accept(&self) -> io::Result<Self::Socket>;
}

/// Has a stream socket do as ours do, whatever its family: nothing of it waits.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// By the system calls themselves: libc's are points at which a thread may be cancelled, which
/// costs 20 ns each in a program with several threads.
impl Socket for TcpStream {
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    fn set_nodelay(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    #[inline]
    fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&*self, room, RecvFlags::empty())?.0)
    }

    #[inline]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&*self, bytes, SendFlags::NOSIGNAL)?)
    }

    /// By `sendmsg`: `writev`, which is for files, takes 130 ns longer.
    fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let no_control = &mut SendAncillaryBuffer::default();
        Ok(sendmsg(&*self, parts, no_control, SendFlags::NOSIGNAL)?)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Accept for TcpListener {
    type Socket = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        self.accept().map(|(stream, _)| stream)
    }
}
