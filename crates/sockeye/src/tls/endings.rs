//! How connections end under TLS, and those that never begin.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;

use sockeye_driver::{Close, Closed, ConnId, Sink, Tx};

use super::link::{Fault, Link};
use super::tx::TlsTx;
use super::{Inward, Stage};

/// What is said to one who speaks HTTP without TLS.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 47\r\n\r\n\
    this port speaks TLS: ask for https:// or wss:\n";

impl<S> Inward<'_, S> {
    /// The first bytes have come. Returns whether they may be TLS.
    pub(super) fn begin<T: Tx>(&mut self, tx: &mut T, id: ConnId, bytes: &[u8]) -> bool
    where
        S: for<'t> Sink<TlsTx<'t, T>>,
    {
        // A method's name; RFC 8446 section 5.1 has 22 for the handshake that TLS begins with.
        if bytes.first().is_some_and(u8::is_ascii_uppercase) {
            tx.write(id, &[IoSlice::new(PLAIN_HTTP_ANSWER)]);
            self.abandon(tx, id, &"plain HTTP was sent to a port that speaks TLS");
            return false;
        }
        match Link::new(self.tls.current.get()) {
            Ok(link) => {
                self.tls.connections.insert(id, Stage::Speaking(Box::new(link)));
                true
            }
            Err(fault) => {
                self.abandon(tx, id, &fault);
                false
            }
        }
    }

    /// There is a fault: its alert leaves, and for the engine the connection is gone.
    #[cold]
    pub(super) fn fail<T: Tx>(&mut self, tx: &mut T, id: ConnId, fault: &Fault)
    where
        S: for<'t> Sink<TlsTx<'t, T>>,
    {
        TlsTx { inner: tx, tls: self.tls }.send_unsent(id);
        self.abandon(tx, id, fault);
    }

    /// The connection ends by the peer's fault. It lingers, so that no reset overtakes what it was
    /// told last.
    fn abandon<T: Tx>(&mut self, tx: &mut T, id: ConnId, what: &dyn fmt::Display)
    where
        S: for<'t> Sink<TlsTx<'t, T>>,
    {
        let within = match self.tls.connections.get(id) {
            Some(Stage::Speaking(link)) if link.is_established() => "connection",
            Some(Stage::Silent | Stage::Speaking(_)) => {
                self.tls.counts.failed += 1;
                "handshake"
            }
            // The engine was faster.
            _ => return,
        };
        let peer = tx.peer_addr(id);
        tracing::debug!(?peer, error = %what, "a TLS {within} has failed");
        self.let_linger(tx, id);
        let error = io::Error::new(ErrorKind::InvalidData, format!("TLS: {what}"));
        self.sink.closed(&mut TlsTx { inner: tx, tls: self.tls }, id, Closed::Error(error));
    }

    /// For the engine it is gone: what it was told last has time to arrive.
    fn let_linger<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        self.tls.connections.insert(id, Stage::Lingering);
        self.tls.counts.lingering += 1;
        self.tls.lingering.push_back((tx.now() + self.tls.linger, id));
        tx.close(id, Close::Graceful);
    }

    /// The peer has sent its `close_notify`, which is TLS's word for FIN. What waits for it is
    /// forfeited, as it is where a FIN comes.
    #[cold]
    pub(super) fn end<T: Tx>(&mut self, tx: &mut T, id: ConnId)
    where
        S: for<'t> Sink<TlsTx<'t, T>>,
    {
        if self.tls.link(id).is_none() {
            return;
        }
        if tx.backlog_bytes(id) == 0 {
            // RFC 8446 section 6.1: "Each party MUST send a 'close_notify' alert before closing its
            // write side".
            TlsTx { inner: tx, tls: self.tls }.send_end(id);
            self.let_linger(tx, id);
        } else {
            self.tls.connections.remove(id);
            tx.close(id, Close::Abort);
        }
        self.sink.closed(&mut TlsTx { inner: tx, tls: self.tls }, id, Closed::Eof);
    }

    /// Reports what broke in the turn, and cuts who has lingered long enough.
    pub(super) fn finish_turn<T: Tx>(&mut self, tx: &mut T)
    where
        S: for<'t> Sink<TlsTx<'t, T>>,
    {
        for (_, id, fault) in mem::take(&mut self.tls.broken) {
            self.fail(tx, id, &fault);
        }
        while let Some((at, id)) = self.tls.lingering.front().copied() {
            if at > tx.now() {
                break;
            }
            self.tls.lingering.pop_front();
            if let Some(Stage::Lingering) = self.tls.connections.get(id) {
                self.tls.connections.remove(id);
                self.tls.counts.lingering -= 1;
                tx.close(id, Close::Abort);
            }
        }
    }
}
