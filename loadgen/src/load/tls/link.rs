//! The TLS of one connection: records in, plaintext out, and the other way.

use std::fmt;
use std::mem;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, CertificateError, HandshakeKind, ProtocolVersion};

/// Type, version, length.
const HEADER_BYTES: usize = 5;
/// RFC 5246 section 6.2.3: "The length MUST NOT exceed 2^14 + 2048."
const PAYLOAD_BYTES_MAX: usize = (1 << 14) + 2048;
/// RFC 8446 section 5.1: "The length MUST NOT exceed 2^14 bytes."
const RECORD_BYTES_MAX: usize = 1 << 14;
/// What encryption adds to a record, at most, in all suites that rustls knows.
const OVERHEAD_BYTES: usize = 32;
/// What a server may have us hold: a handshake message as long as rustls takes them, and a record.
const HELD_BYTES_MAX: usize = 128 << 10;

/// One connection's TLS. While nothing is under way it holds no buffer.
pub(crate) struct TlsLink {
    rustls: UnbufferedClientConnection,
    /// What has come and could not be processed: the beginning of a record, and before it whole
    /// ones, of a handshake message that has not ended.
    pub(super) held: Vec<u8>,
    has_received: bool,
    /// The server has sent its `close_notify`.
    is_closed: bool,
    has_failed: bool,
}

/// What ends a connection of TLS before its time. One line, with what to do.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// What rustls says.
    Tls(rustls::Error),
    /// The first bytes are those of an HTTP response.
    PlainHttp,
    /// The first bytes are no TLS.
    NotTls,
    /// More is to be held than any handshake needs.
    TooMuchHeld,
    /// TLS 1.2 has no way to change keys that have been used for long enough.
    KeysUsedUp,
    /// Sent before the handshake is through, or after the end.
    NotOpen,
    /// FIN within the handshake.
    EndedInHandshake,
    /// FIN without `close_notify`.
    Truncated,
}

/// How many bytes the last record in here lacks, as far as that is known. 0: none, or this is no
/// record, which rustls will say.
fn missing_bytes(held: &[u8]) -> usize {
    let mut rest = held;
    while !rest.is_empty() {
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
            return HEADER_BYTES - rest.len();
        };
        let payload_bytes = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // change_cipher_spec, alert, handshake, application_data
        if !matches!(header[0], 20..=23) || payload_bytes > PAYLOAD_BYTES_MAX {
            return 0;
        }
        let record_bytes = HEADER_BYTES + payload_bytes;
        match rest.get(record_bytes..) {
            Some(after) => rest = after,
            None => return record_bytes - rest.len(),
        }
    }
    0
}

impl TlsLink {
    pub(super) const fn new(rustls: UnbufferedClientConnection) -> Self {
        Self { rustls, held: Vec::new(), has_received: false, is_closed: false, has_failed: false }
    }

    /// Appends the first flight to what is to be sent.
    ///
    /// # Errors
    /// rustls'.
    pub(crate) fn start(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.process(&mut [], &mut Vec::new(), out).map(drop)
    }

    /// Takes what has come: the plaintext in it is appended to `plain`, what there is to answer to
    /// `out`, also where there is an error.
    ///
    /// # Errors
    /// The connection is over. The alert that says so is in `out`.
    pub(crate) fn receive(
        &mut self,
        mut records: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if self.has_failed {
            return Err(TlsError::NotOpen);
        }
        if !self.has_received && !records.is_empty() {
            self.has_received = true;
            self.check_first(records)?;
        }
        while !self.held.is_empty() && !records.is_empty() {
            let missing = match missing_bytes(&self.held) {
                0 => HEADER_BYTES,
                missing => missing,
            };
            let (more, rest) = records.split_at_mut(missing.min(records.len()));
            self.held.extend_from_slice(more);
            records = rest;
            if missing_bytes(&self.held) == 0 {
                let mut held = mem::take(&mut self.held);
                let used = self.process(&mut held, plain, out)?;
                self.hold(&held[used..])?;
            }
        }
        if records.is_empty() {
            return self.check_held();
        }
        let used = self.process(records, plain, out)?;
        self.hold(&records[used..])
    }

    /// The handshake is through: plaintext may be sent.
    pub(crate) fn is_ready(&self) -> bool {
        !self.rustls.is_handshaking() && !self.has_failed
    }

    /// The server has sent its `close_notify`: nothing more comes.
    #[cfg(test)]
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Appends the plaintext to what is to be sent, encrypted.
    ///
    /// # Errors
    /// Nothing can be sent; `out` is as before, but for an alert.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let records = plain.len().div_ceil(RECORD_BYTES_MAX);
        let needed = plain.len() + records * (HEADER_BYTES + OVERHEAD_BYTES);
        self.write(out, needed, |writer, memory| writer.encrypt(plain, memory))
    }

    /// Appends the `close_notify`, once; before the handshake is through there is none to send.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if self.is_ready() {
            let needed = HEADER_BYTES + OVERHEAD_BYTES;
            // An error: there is nobody left to say it to.
            let _ = self.write(out, needed, |writer, memory| writer.queue_close_notify(memory));
        }
    }

    /// The server has sent FIN.
    ///
    /// # Errors
    /// Too early.
    pub(crate) fn end(&self) -> Result<(), TlsError> {
        if self.is_closed {
            Ok(())
        } else if self.rustls.is_handshaking() {
            Err(TlsError::EndedInHandshake)
        } else {
            Err(TlsError::Truncated)
        }
    }

    /// In words: `TLS 1.3, TLS_AES_256_GCM_SHA384`.
    pub(crate) fn describe(&self) -> String {
        let version = self.version().map(str::to_owned);
        let resumed = self.is_resumed().then(|| "resumed".to_owned());
        let parts = [version, self.cipher_suite(), resumed];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What was agreed on: `TLS 1.3`.
    pub(crate) fn version(&self) -> Option<&'static str> {
        match self.rustls.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
            ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
            _ => None,
        }
    }

    /// What was agreed on, by IANA's name (rustls says `TLS13_..`): `TLS_AES_256_GCM_SHA384`.
    pub(crate) fn cipher_suite(&self) -> Option<String> {
        let name = self.rustls.negotiated_cipher_suite()?.suite().as_str()?;
        Some(name.replacen("TLS13_", "TLS_", 1))
    }

    /// Whether an earlier connection's session goes on.
    pub(crate) fn is_resumed(&self) -> bool {
        self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What begins like no record is from somebody who speaks something else.
    fn check_first(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        match bytes.first() {
            None | Some(20..=23) => return Ok(()),
            Some(_) => self.has_failed = true,
        }
        let is_http = bytes.iter().zip(b"HTTP/").all(|(got, expected)| got == expected);
        Err(if is_http { TlsError::PlainHttp } else { TlsError::NotTls })
    }

    fn hold(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        self.held.extend_from_slice(rest);
        self.check_held()
    }

    fn check_held(&mut self) -> Result<(), TlsError> {
        if self.held.len() <= HELD_BYTES_MAX {
            return Ok(());
        }
        self.has_failed = true;
        self.held = Vec::new();
        Err(TlsError::TooMuchHeld)
    }

    /// Processes records. Returns how many bytes are dealt with.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsError> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.rustls.process_tls_records(&mut bytes[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    let mut failed = None;
                    while let Some(record) = records.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plain.extend_from_slice(record.payload);
                            }
                            Err(error) => failed = Some(error),
                        }
                        if failed.is_some() {
                            break;
                        }
                    }
                    if let Some(error) = failed {
                        return Err(self.fail(error, out));
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                // RFC 8446 section 6.1: "Any data received after a closure alert has been received
                // MUST be ignored."
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.is_closed = true;
                    return Ok(bytes.len());
                }
                // It waits for more, or for us.
                Ok(_) => return Ok(used + discard),
                Err(error) => return Err(self.fail(error, out)),
            }
            used += discard;
        }
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        needed: usize,
        write: impl Fn(
            &mut WriteTraffic<'_, ClientConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        while !self.has_failed {
            // Nothing of what is held is whole, but rustls looks at where it left off.
            match self.rustls.process_tls_records(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut writer)) => {
                    return append(out, needed, |memory| write(&mut writer, memory));
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(_) => break,
                Err(error) => return Err(self.fail(error, out)),
            }
        }
        Err(TlsError::NotOpen)
    }

    /// The connection is over; the alert that says so is to be sent.
    #[cold]
    fn fail(&mut self, error: rustls::Error, out: &mut Vec<u8>) -> TlsError {
        self.has_failed = true;
        self.held = Vec::new();
        while self.rustls.wants_write() {
            // Comes before anything that was received is looked at.
            let state = self.rustls.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(mut alert)) = state else { break };
            encode(&mut alert, out);
        }
        TlsError::Tls(error)
    }
}

impl fmt::Debug for TlsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLink").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// Has `write` append, with as much memory as it turns out to need.
fn append(
    out: &mut Vec<u8>,
    mut needed: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    let before = out.len();
    loop {
        out.resize(before + needed, 0);
        match write(&mut out[before..]) {
            Ok(written) => {
                out.truncate(before + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) if size.required_size > needed => {
                needed = size.required_size;
            }
            Err(_) => {
                out.truncate(before);
                return Err(TlsError::KeysUsedUp);
            }
        }
    }
}

/// Appends what the handshake has to say.
fn encode(message: &mut EncodeTlsData<'_, ClientConnectionData>, out: &mut Vec<u8>) {
    let before = out.len();
    while let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut out[before..]) {
        out.resize(before + size.required_size, 0);
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls(error) => return explain(error, f),
            Self::PlainHttp => "the server answers TLS with plain HTTP: use ws:// and not wss://",
            Self::NotTls => "the server does not speak TLS on this port: use ws://, or its port",
            Self::TooMuchHeld => "the server's handshake is longer than any need be",
            Self::KeysUsedUp => "as much was sent as TLS 1.2 may with one key: use --tls-min 1.3",
            Self::NotOpen => "nothing can be sent over TLS before the handshake or after the end",
            Self::EndedInHandshake => {
                "the server closes within the TLS handshake: does it speak TLS on this port?"
            }
            Self::Truncated => "the server closes without TLS's close_notify",
        })
    }
}

impl std::error::Error for TlsError {}

/// What rustls says, in the words of who has to do something about it.
fn explain(error: &rustls::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            Certificate::UnknownIssuer => f.write_str(
                "the server's certificate is from an authority that is not trusted: name it by \
                 --ca FILE, or use --insecure",
            ),
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                f.write_str("the server's certificate has expired: renew it, or use --insecure")
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => f.write_str(
                "the server's certificate is not valid yet: check the clocks, or use --insecure",
            ),
            Certificate::NotValidForNameContext { expected, presented } => write!(
                f,
                "the server's certificate is not for {} but for {}: ask for a name that it has by \
                 --sni NAME, or use --insecure",
                expected.to_str(),
                presented.join(", ")
            ),
            error => write!(
                f,
                "the server's certificate cannot be taken ({error}): mend it, or use --insecure"
            ),
        },
        rustls::Error::AlertReceived(Alert::CertificateRequired) => f.write_str(
            "the server asks for a client certificate: give one by --tls-cert FILE --tls-key FILE",
        ),
        rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked,
        ) => write!(f, "the server does not take the client certificate: {error}"),
        rustls::Error::AlertReceived(Alert::ProtocolVersion) => {
            f.write_str("the server speaks none of our TLS versions: use --tls-min 1.2")
        }
        rustls::Error::AlertReceived(Alert::HandshakeFailure) => f.write_str(
            "the server refuses the TLS handshake: it may want a client certificate (--tls-cert, \
             --tls-key) or other ciphers",
        ),
        rustls::Error::AlertReceived(Alert::UnrecognisedName) => {
            f.write_str("the server does not know the name: ask for another one by --sni NAME")
        }
        rustls::Error::AlertReceived(Alert::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => {
            f.write_str("the server does not speak HTTP/1.1 over TLS (ALPN), which WebSocket needs")
        }
        error => write!(f, "TLS: {error}"),
    }
}
