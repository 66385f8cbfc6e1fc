//! What an author writes ([`Handler`]), and what its callbacks are given.

use std::net::SocketAddr;
use std::ops::Deref;

use sockeye_codec::handshake::{self, Response};
use sockeye_codec::{Chunk, Message};
use sockeye_driver::TlsInfo;

use crate::ctx::{Ctx, ShardCtx};
use crate::error::Closed;

/// The author's side of a server. Each shard has one, made on its thread, so it needs no locks.
///
/// No callback may block: the shard's other connections wait. One that panics closes its connection
/// with 1011, and nothing else.
pub trait Handler: Sized + 'static {
    /// The author's data for each connection.
    type Session: Default + 'static;

    /// A request came in, whole and well-formed: accept it or answer something else. Requests that
    /// do not ask for WebSocket come here too, so that a page can be served; accepting one of those
    /// answers it with the error of RFC 6455 section 4.2.1 that it deserves.
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::Session> {
        let _ = request;
        Upgrade::accept(Self::Session::default())
    }

    /// The connection is open: from now on it can be sent to.
    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        let _ = ctx;
    }

    /// A whole message, borrowed for the call. None comes after a `close`.
    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>);

    /// A piece of a message, instead of [`message`](Self::message), on connections that were
    /// accepted with [`Upgrade::streaming`].
    fn chunk(&mut self, ctx: &mut Ctx<'_, Self>, chunk: Chunk<'_>) {
        let _ = (ctx, chunk);
    }

    /// The backlog was above [`backlog_low_bytes`](crate::Config::backlog_low_bytes) and has fallen
    /// to it: a sender that held back may go on. It may come on a connection that is closing, whose
    /// close frame waited behind the backlog; there a send says [`Sent::Closed`](crate::Sent).
    fn drained(&mut self, ctx: &mut Ctx<'_, Self>) {
        let _ = ctx;
    }

    /// The connection is gone: once for each [`open`](Self::open), with the reason.
    fn closed(&mut self, shard: &mut ShardCtx<'_>, session: Self::Session, why: Closed) {
        let _ = (shard, session, why);
    }
}

/// A request, as the upgrade hook sees it: all of [`handshake::Request`], and the peer's address.
#[derive(Debug)]
pub struct Request<'a> {
    request: handshake::Request<'a>,
    peer: SocketAddr,
    tls: Option<TlsInfo>,
}

impl<'a> Request<'a> {
    pub(crate) const fn new(
        request: handshake::Request<'a>,
        peer: SocketAddr,
        tls: Option<TlsInfo>,
    ) -> Self {
        Self { request, peer, tls }
    }

    /// The address at the other end of the TCP connection: the client's, or its proxy's.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What TLS has brought to light: the client's certificates, say. `None`: it came without TLS.
    pub const fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }
}

impl<'a> Deref for Request<'a> {
    type Target = handshake::Request<'a>;

    fn deref(&self) -> &Self::Target {
        &self.request
    }
}

/// The answer to a request.
#[derive(Debug)]
#[must_use]
pub struct Upgrade<S> {
    pub(crate) verdict: Verdict<S>,
}

#[derive(Debug)]
pub(crate) enum Verdict<S> {
    Accept {
        session: S,
        subprotocol: Option<String>,
        headers: Vec<(String, String)>,
        streaming: bool,
        compression: bool,
    },
    Reject(Response),
}

impl<S> Upgrade<S> {
    /// Accepts the connection; `session` is its data.
    pub const fn accept(session: S) -> Self {
        Self {
            verdict: Verdict::Accept {
                session,
                subprotocol: None,
                headers: Vec::new(),
                streaming: false,
                compression: true,
            },
        }
    }

    /// Answers with any other status; a page is a "rejection" with 200.
    pub const fn reject(status: u16) -> Self {
        Self { verdict: Verdict::Reject(Response::new(status)) }
    }

    /// Agrees on a subprotocol, which must be one that the client offered;
    /// [`choose_subprotocol`](sockeye_codec::handshake::choose_subprotocol) finds one. No effect on
    /// a rejection.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        if let Verdict::Accept { subprotocol, .. } = &mut self.verdict {
            *subprotocol = Some(name.into());
        }
        self
    }

    /// Adds a header line to the answer.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        match &mut self.verdict {
            Verdict::Accept { headers, .. } => headers.push((name.into(), value.into())),
            Verdict::Reject(response) => {
                let plain = std::mem::replace(response, Response::new(0));
                *response = plain.header(name, value);
            }
        }
        self
    }

    /// The body of a rejection. No effect on an acceptance, which has none.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Verdict::Reject(response) = &mut self.verdict {
            let plain = std::mem::replace(response, Response::new(0));
            *response = plain.body(body);
        }
        self
    }

    /// Has messages handed out in [chunks](Handler::chunk) as they arrive instead of whole, so that
    /// a message of any length takes no memory; [`message_bytes_max`](crate::Config) still holds.
    pub fn streaming(mut self) -> Self {
        if let Verdict::Accept { streaming, .. } = &mut self.verdict {
            *streaming = true;
        }
        self
    }

    /// Declines the compression that the client may have offered and
    /// [`Config::deflate`](crate::Config::deflate) allows: for connections that carry what is
    /// compressed already, or secrets beside what an attacker may choose (CRIME, BREACH).
    pub fn without_compression(mut self) -> Self {
        if let Verdict::Accept { compression, .. } = &mut self.verdict {
            *compression = false;
        }
        self
    }
}
