//! The opening handshake of a connection on its shard: head in, hook asked, answer out.

use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};

use sockeye_codec::deflate::{Params, negotiate};
use sockeye_codec::handshake::{self, HandshakeError, HeaderLines, Response};
use sockeye_driver::TlsInfo;

use crate::handler::{Handler, Request, Upgrade, Verdict};
use crate::session::{Session, log_panic};
use crate::shard::Core;

/// What became of the bytes.
pub(crate) enum Progress<S> {
    /// The head is not whole.
    Wait,
    /// The answer is written; the connection is open.
    Accepted { session: S, streaming: bool, deflate: Option<Params> },
    /// The answer is written; it is the last.
    Rejected,
}

/// Takes bytes of a head. Once it is whole the hook is asked and the answer written to `out`; what
/// follows the head in `input` stays there.
pub(crate) fn receive<H: Handler>(
    handler: &mut H,
    session: &mut Session<H::Session>,
    core: &mut Core,
    (peer, tls): (SocketAddr, Option<TlsInfo>),
    input: &mut &mut [u8],
    out: &mut Vec<u8>,
) -> Progress<H::Session> {
    let limits = core.config.handshake_limits();
    let mut aside = session.link.aside.take().unwrap_or_default();
    let mut lines = HeaderLines::new();
    let request = match aside.head.read(input, &limits) {
        Ok(None) => {
            session.link.aside = Some(aside);
            return Progress::Wait;
        }
        Ok(Some(head)) => handshake::Request::parse(head, &mut lines, &limits),
        Err(error) => Err(error),
    };
    match request {
        Ok(request) => answer(handler, &Request::new(request, peer, tls), core, out),
        Err(error) => refuse(&error, peer, false, out),
    }
}

fn answer<H: Handler>(
    handler: &mut H,
    request: &Request<'_>,
    core: &mut Core,
    out: &mut Vec<u8>,
) -> Progress<H::Session> {
    // RFC 9110 section 9.3.2: "the server MUST NOT send content in the response".
    let head_only = request.method() == "HEAD";
    let upgrade = panic::catch_unwind(AssertUnwindSafe(|| handler.upgrade(request)));
    let Ok(Upgrade { verdict }) = upgrade.inspect_err(|panic| log_panic(&**panic)) else {
        core.stats.panics += 1;
        respond(&internal_error(), head_only, out);
        return Progress::Rejected;
    };
    match verdict {
        Verdict::Reject(response) => {
            respond(&response, head_only, out);
            Progress::Rejected
        }
        Verdict::Accept { session, subprotocol, headers, streaming, compression } => {
            // What the hook lets in must be a WebSocket handshake all the same.
            let key = match request.websocket() {
                Ok(key) => key,
                Err(error) => return refuse(&error, request.peer(), head_only, out),
            };
            let subprotocol = subprotocol.as_deref();
            let config = core.config.deflate.as_ref().filter(|_| compression);
            let deflate = config.and_then(|config| negotiate(request.extensions(), config));
            let params = deflate.as_ref();
            match handshake::write_accept(out, request, &key, subprotocol, params, &headers) {
                Ok(()) => Progress::Accepted { session, streaming, deflate },
                Err(error) => {
                    tracing::error!(%error, "the upgrade hook's answer cannot be sent");
                    respond(&internal_error(), false, out);
                    Progress::Rejected
                }
            }
        }
    }
}

fn refuse<S>(
    error: &HandshakeError,
    peer: SocketAddr,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Progress<S> {
    tracing::debug!(%peer, %error, "handshake refused");
    respond(&Response::from(error), head_only, out);
    Progress::Rejected
}

fn internal_error() -> Response {
    Response::new(500).header("Content-Type", "text/plain").body("internal error\n")
}

fn respond(response: &Response, head_only: bool, out: &mut Vec<u8>) {
    if let Err(error) = response.write(out, head_only) {
        tracing::error!(%error, "the upgrade hook's answer cannot be sent");
        // Ours can be.
        let _ = internal_error().write(out, head_only);
    }
}

/// The answer to a head that does not come.
pub(crate) fn time_out(out: &mut Vec<u8>) {
    let response = Response::new(408).header("Content-Type", "text/plain");
    respond(&response.body("no request came in time\n"), false, out);
}
