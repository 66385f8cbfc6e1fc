//! The opening handshake of a connection on its shard: head in, hook asked, answer out.

use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};

use sockeye_codec::handshake::{self, HandshakeError, HandshakeLimits, Response};

use crate::handler::{Handler, Request, Upgrade, Verdict};
use crate::session::{Session, log_panic};

/// What became of the bytes.
pub(crate) enum Progress<S> {
    /// The head is not whole.
    Wait,
    /// The answer is written; the connection is open.
    Accepted { session: S, streaming: bool },
    /// The answer is written; it is the last.
    Rejected,
}

/// Takes bytes of a head. Once it is whole the hook is asked and the answer written to `out`; what
/// follows the head in `input` stays there.
pub(crate) fn receive<H: Handler>(
    handler: &mut H,
    session: &mut Session<H::Session>,
    limits: &HandshakeLimits,
    peer: SocketAddr,
    input: &mut &mut [u8],
    out: &mut Vec<u8>,
) -> Progress<H::Session> {
    let mut buffer = session.head.take().unwrap_or_default();
    let progress = match buffer.read(input, limits) {
        Ok(None) => {
            session.head = Some(buffer);
            return Progress::Wait;
        }
        Ok(Some(head)) => answer(handler, head, limits, peer, out),
        Err(error) => Err(error),
    };
    progress.unwrap_or_else(|error| {
        tracing::debug!(%peer, %error, "handshake refused");
        respond(&Response::from(&error), false, out);
        Progress::Rejected
    })
}

fn answer<H: Handler>(
    handler: &mut H,
    head: &[u8],
    limits: &HandshakeLimits,
    peer: SocketAddr,
    out: &mut Vec<u8>,
) -> Result<Progress<H::Session>, HandshakeError> {
    let request = Request::new(handshake::Request::parse(head, limits)?, peer);
    let upgrade = panic::catch_unwind(AssertUnwindSafe(|| handler.upgrade(&request)));
    let Ok(Upgrade { verdict }) = upgrade.inspect_err(|panic| log_panic(&**panic)) else {
        respond(&internal_error(), false, out);
        return Ok(Progress::Rejected);
    };
    match verdict {
        Verdict::Reject(response) => {
            respond(&response, request.method() == "HEAD", out);
            Ok(Progress::Rejected)
        }
        Verdict::Accept { session, subprotocol, headers, streaming } => {
            // What the hook lets in must be a WebSocket handshake all the same.
            let key = request.websocket()?;
            let subprotocol = subprotocol.as_deref();
            match handshake::write_accept(out, &request, &key, subprotocol, &headers) {
                Ok(()) => Ok(Progress::Accepted { session, streaming }),
                Err(error) => {
                    tracing::error!(%error, "the upgrade hook's answer cannot be sent");
                    respond(&internal_error(), false, out);
                    Ok(Progress::Rejected)
                }
            }
        }
    }
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
