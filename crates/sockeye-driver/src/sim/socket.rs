//! Sockets and listeners of a [`SimNet`], as a program has them.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use super::net::{SimNet, SocketId};
use crate::sockets::{Accept, Socket};

/// A socket that has an owner. Nothing of it waits; dropping it closes it.
#[derive(Debug)]
pub struct SimSocket {
    net: SimNet,
    id: SocketId,
}

impl SimSocket {
    /// Begins to connect: it is of use from [`connected_at`](Self::connected_at) on.
    pub fn connect(net: &SimNet, to: SocketAddr) -> Self {
        let id = net.net().connect(to);
        Self { net: net.clone(), id }
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.net.net().local_addr(self.id)
    }

    /// FIN: nothing more will be sent. What comes in can be read.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        self.net.net().shutdown(self.id)
    }

    /// Closes it with a reset, whether or not all was read.
    pub fn abort(self) {
        self.net.net().abort(self.id);
    }

    /// When its connect comes to something. `None`: nobody had it connect.
    pub fn connected_at(&self) -> Option<Instant> {
        self.net.net().connected_at(self.id)
    }

    /// When there is something to read, be it the end.
    pub fn readable_at(&self) -> Option<Instant> {
        self.net.net().readable_at(self.id)
    }

    /// When a write gets somewhere, be it to an error.
    pub fn writable_at(&self) -> Option<Instant> {
        let net = self.net.net();
        if net.is_writable(self.id) { Some(net.now) } else { net.reset_at(self.id) }
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.net.net().close(self.id);
    }
}

impl Read for SimSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.net.net().read(self.id, into)
    }
}

impl Write for SimSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.net.net().write(self.id, &[IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for SimSocket {
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.net.net().take_error(self.id))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.net.net().peer_addr(self.id).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn set_nodelay(&self) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read(room)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.net.net().write(self.id, parts)
    }

    fn finish(&self) -> io::Result<()> {
        self.finish()
    }
}

/// Accepts what is sent to an address; others may share it. Dropping it closes it.
#[derive(Debug)]
pub struct SimListener {
    net: SimNet,
    number: usize,
}

impl SimListener {
    pub(super) const fn new(net: SimNet, number: usize) -> Self {
        Self { net, number }
    }

    /// When somebody comes of whom was not told yet.
    pub(super) fn announced_at(&self) -> Option<Instant> {
        self.net.net().announced_at(self.number)
    }

    /// Has been told of all who are there.
    pub(super) fn announce(&self) {
        self.net.net().announce(self.number);
    }
}

impl Accept for SimListener {
    type Socket = SimSocket;

    fn accept(&self) -> io::Result<SimSocket> {
        let id = self.net.net().accept(self.number)?;
        Ok(SimSocket { net: self.net.clone(), id })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.net.net().stop_listening(self.number);
    }
}
