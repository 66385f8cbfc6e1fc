//! The server's answer to a handshake that it accepts (section 4.2.2).

use super::headers::{check_line, is_handshake_name, write_line};
use super::key::Key;
use super::request::Request;
use super::response::ResponseError;
use crate::deflate::Params;

/// For calls without header lines of their own: an empty list whose type is known.
pub const NO_HEADERS: &[(&str, &str)] = &[];

/// Appends the answer that opens the connection, with `headers` after those of the handshake.
///
/// `key` is what [`Request::websocket`] has given for this request, `deflate` what
/// [`negotiate`](crate::deflate::negotiate) has for its [extensions](Request::extensions).
///
/// # Errors
/// A subprotocol that the client did not offer, a header that cannot be written or that belongs to
/// the handshake (`Upgrade`, `Connection`, `Content-Length`, `Transfer-Encoding`, and all whose
/// names begin with `Sec-WebSocket-`). Nothing has been appended then.
pub fn write_accept(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    key: &Key,
    subprotocol: Option<&str>,
    deflate: Option<&Params>,
    headers: &[(impl AsRef<str>, impl AsRef<str>)],
) -> Result<(), ResponseError> {
    //= rfc6455#section-4.2.2
    //# The value chosen MUST be derived
    //# from the client's handshake, specifically by selecting one of
    //# the values from the |Sec-WebSocket-Protocol| field that the
    //# server is willing to use for this connection (if any).
    if subprotocol.is_some_and(|chosen| request.protocols().all(|offer| offer != chosen)) {
        return Err(ResponseError::SubprotocolNotOffered);
    }
    for (name, value) in headers {
        check_line(name.as_ref(), value.as_ref(), is_handshake_name)?;
    }
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    write_line(out, "Sec-WebSocket-Accept", &key.accept());
    if let Some(subprotocol) = subprotocol {
        write_line(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(deflate) = deflate {
        write_line(out, "Sec-WebSocket-Extensions", &deflate.to_string());
    }
    for (name, value) in headers {
        write_line(out, name.as_ref(), value.as_ref());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The first of the client's offers that the server supports. Names of subprotocols distinguish
/// case (section 11.3.4 gives no leave to ignore it).
pub fn choose_subprotocol<'s>(request: &Request<'_>, supported: &[&'s str]) -> Option<&'s str> {
    request.protocols().find_map(|offer| supported.iter().copied().find(|&name| name == offer))
}
