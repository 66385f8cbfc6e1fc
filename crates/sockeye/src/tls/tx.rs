//! The sending half: what the engine sends becomes records.

use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use bytes::Bytes;
use sockeye_driver::{Adopted, Close, ConnId, TlsInfo, Tx};

use super::link::{Fault, Sealed};
use super::{SHARED_BYTES_KEPT, Stage, State};

/// RFC 8446 section 5.1: "The length MUST NOT exceed 2^14 bytes."
const RECORD_BYTES_MAX: usize = 1 << 14;
/// What is encrypted at a time, and leaves in one send: more would leave the cache in between.
const SEAL_BYTES_MAX: usize = 16 * RECORD_BYTES_MAX;
/// What is longer goes to the driver from where it was encrypted; what is not is copied to the
/// driver's block, which some drivers send later and with others.
const BLOCK_BYTES_MAX: usize = RECORD_BYTES_MAX;

/// The sending half of [`Tls`].
pub(crate) struct TlsTx<'t, T> {
    pub(super) inner: &'t mut T,
    pub(super) tls: &'t mut State,
}

impl<T: Tx> TlsTx<'_, T> {
    /// Encrypts the parts, one behind the other, and sends what comes of it. Returns the bytes that
    /// wait. Where nothing can be encrypted nothing is sent: before the end of the handshake, and
    /// after the end of the connection.
    fn send(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize {
        let sent = match parts {
            [part] if part.len() <= SEAL_BYTES_MAX => self.seal(id, part),
            [part] => self.seal_all(id, part).map(|()| self.deliver(id)),
            parts => self.gather(id, parts).map(|()| self.deliver(id)),
        };
        sent.unwrap_or_else(|fault| {
            self.tls.sealed.clear();
            self.tls.broken.push((self.inner.now(), id, fault));
            self.backlog_bytes(id)
        })
    }

    /// Encrypts what is not long, and gives it to the driver. Returns the bytes that wait.
    fn seal(&mut self, id: ConnId, plain: &[u8]) -> Result<usize, Fault> {
        let State { connections, sealed, .. } = &mut *self.tls;
        let Some(Stage::Speaking(link)) = connections.get_mut(id) else { return Ok(0) };
        if link.may_seal() {
            link.seal(plain, sealed)?;
        }
        Ok(hand_over(self.inner, id, &mut link.unsent, sealed))
    }

    /// Encrypts parts as if they were one: full records, though each byte that needs no company
    /// for that is encrypted from where it is.
    fn gather(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> Result<(), Fault> {
        let mut gathered = mem::take(&mut self.tls.gathered);
        gathered.clear();
        let records = |len: usize| len.div_ceil(RECORD_BYTES_MAX);
        for (n, part) in parts.iter().enumerate() {
            let mut part = &part[..];
            let is_last = n + 1 == parts.len();
            // Such as a header before a payload of full records: it goes alone, since there are no
            // fewer records if the payload is copied to where it is.
            if is_last && records(gathered.len() + part.len()) > records(part.len()) {
                self.seal_all(id, &gathered)?;
                gathered.clear();
            }
            if !gathered.is_empty() {
                let (more, rest) = part.split_at(part.len().min(RECORD_BYTES_MAX - gathered.len()));
                gathered.extend_from_slice(more);
                part = rest;
                if gathered.len() < RECORD_BYTES_MAX {
                    continue;
                }
                self.seal_all(id, &gathered)?;
                gathered.clear();
            }
            let (whole, rest) = part.split_at(part.len() - part.len() % RECORD_BYTES_MAX);
            self.seal_all(id, whole)?;
            gathered.extend_from_slice(rest);
        }
        self.seal_all(id, &gathered)?;
        self.tls.gathered = gathered;
        Ok(())
    }

    fn seal_all(&mut self, id: ConnId, plain: &[u8]) -> Result<(), Fault> {
        for piece in plain.chunks(SEAL_BYTES_MAX) {
            let State { connections, sealed, .. } = &mut *self.tls;
            let Some(Stage::Speaking(link)) = connections.get_mut(id) else { return Ok(()) };
            if !link.may_seal() {
                return Ok(());
            }
            link.seal(piece, sealed)?;
            if sealed.len() >= SEAL_BYTES_MAX {
                self.deliver(id);
            }
        }
        Ok(())
    }

    /// Gives the driver what was encrypted. Returns the bytes that wait.
    fn deliver(&mut self, id: ConnId) -> usize {
        let State { connections, sealed, .. } = &mut *self.tls;
        let Some(Stage::Speaking(link)) = connections.get_mut(id) else { return 0 };
        hand_over(self.inner, id, &mut link.unsent, sealed)
    }

    /// What the handshake, or an alert, has to say leaves, if nothing has taken it along.
    #[inline]
    pub(super) fn send_unsent(&mut self, id: ConnId) {
        if let Some(link) = self.tls.link(id)
            && !link.unsent.is_empty()
        {
            let unsent = mem::take(&mut link.unsent);
            self.inner.write(id, &[IoSlice::new(&unsent)]);
        }
    }

    /// Sends `close_notify`, where that can be encrypted.
    pub(super) fn send_end(&mut self, id: ConnId) {
        let State { connections, sealed, .. } = &mut *self.tls;
        if let Some(Stage::Speaking(link)) = connections.get_mut(id)
            && link.is_established()
            && link.seal_end(sealed).is_ok()
        {
            self.deliver(id);
        }
        self.tls.sealed.clear();
    }
}

/// Gives the driver what was encrypted, behind what the handshake has to say. Returns the bytes
/// that wait.
#[inline]
fn hand_over<T: Tx>(inner: &mut T, id: ConnId, unsent: &mut Vec<u8>, sealed: &mut Sealed) -> usize {
    let waiting = if sealed.len() <= BLOCK_BYTES_MAX || !unsent.is_empty() {
        let mut block = inner.out(id);
        if !unsent.is_empty() {
            block.append(&mut mem::take(unsent));
        }
        block.extend_from_slice(sealed.bytes());
        inner.flush(id, block)
    } else {
        inner.write(id, &[IoSlice::new(sealed.bytes())])
    };
    sealed.clear();
    waiting
}

impl<T: Tx> Tx for TlsTx<'_, T> {
    #[inline]
    fn now(&self) -> Instant {
        self.inner.now()
    }

    #[inline]
    fn expect(&self, id: ConnId) {
        self.inner.expect(id);
        self.tls.connections.expect(id);
    }

    /// Servers connect to nobody.
    fn connect(&mut self, _to: SocketAddr) -> io::Result<ConnId> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Nor do they know who began on a socket that others have made.
    fn adopt(&mut self, _socket: OwnedFd, _adopted: Adopted) -> io::Result<ConnId> {
        Err(ErrorKind::Unsupported.into())
    }

    #[inline]
    fn out(&mut self, _id: ConnId) -> Vec<u8> {
        mem::take(&mut self.tls.block)
    }

    #[inline]
    fn flush(&mut self, id: ConnId, mut block: Vec<u8>) -> usize {
        let waiting = match &block[..] {
            [] => self.backlog_bytes(id),
            bytes => self.send(id, &[IoSlice::new(bytes)]),
        };
        block.clear();
        if block.capacity() <= SHARED_BYTES_KEPT {
            self.tls.block = block;
        }
        waiting
    }

    fn write(&mut self, id: ConnId, parts: &[IoSlice<'_>]) -> usize {
        self.send(id, parts)
    }

    fn send_shared(&mut self, id: ConnId, bytes: &Bytes) -> usize {
        self.send(id, &[IoSlice::new(bytes)])
    }

    #[inline]
    fn backlog_bytes(&self, id: ConnId) -> usize {
        self.inner.backlog_bytes(id)
    }

    fn peer_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.inner.peer_addr(id)
    }

    fn tls_info(&self, id: ConnId) -> Option<TlsInfo> {
        match self.tls.connections.get(id) {
            Some(Stage::Speaking(link)) if link.is_established() => Some(link.info()),
            _ => None,
        }
    }

    fn set_recv(&mut self, id: ConnId, on: bool) {
        if self.tls.is_open(id) {
            self.inner.set_recv(id, on);
        }
    }

    fn close(&mut self, id: ConnId, how: Close) {
        if how == Close::Abort {
            // One that lingers is ours.
            if !matches!(self.tls.connections.get(id), None | Some(Stage::Lingering)) {
                self.tls.connections.remove(id);
                self.inner.close(id, how);
            }
            return;
        }
        match self.tls.connections.get(id) {
            Some(Stage::Speaking(link)) if link.is_established() => self.send_end(id),
            Some(Stage::Silent | Stage::Speaking(_)) => {
                self.tls.counts.failed += 1;
                let peer = self.inner.peer_addr(id);
                tracing::debug!(?peer, "the TLS handshake has not ended in time");
            }
            Some(Stage::Closing | Stage::Lingering) | None => return,
        }
        self.tls.connections.insert(id, Stage::Closing);
        self.inner.close(id, how);
    }

    fn stop_listening(&mut self) {
        self.inner.stop_listening();
    }
}
