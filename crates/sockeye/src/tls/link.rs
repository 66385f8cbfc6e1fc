//! The TLS of one connection: records in, plaintext out, and the other way.
//!
//! rustls' unbuffered interface decrypts a record where it is and keeps no buffers of its own, but
//! it gives the plaintext out as `&[u8]`, from memory that it takes for each record: so there is
//! one copy, into the memory that all connections of a shard share.

use std::fmt;
use std::mem;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use sockeye_driver::{TlsInfo, TlsVersion};

use super::certificates::take_asked_name;
use super::ciphers::registered_name;

/// Type, version, length.
const HEADER_BYTES: usize = 5;
/// RFC 5246 section 6.2.3: "The length MUST NOT exceed 2^14 + 2048."
const PAYLOAD_BYTES_MAX: usize = (1 << 14) + 2048;
/// What a peer may have us hold: a handshake message as long as rustls takes them, in records of a
/// usual length. One that comes in crumbs, each in a record of its own, may be less long.
const HELD_BYTES_MAX: usize = 96 << 10;

/// What is wrong with a connection's TLS.
#[derive(Debug)]
pub(super) enum Fault {
    /// What rustls says.
    Tls(rustls::Error),
    /// The peer's handshake message, and the records that it comes in, are too long.
    TooMuchHeld,
    /// No more can be encrypted with these keys (TLS 1.2 has no way to change them).
    KeysUsedUp,
    /// The connection is closed for sending.
    Over,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::TooMuchHeld => f.write_str("a handshake message in too many records"),
            Self::KeysUsedUp => f.write_str("as much was sent as these keys may encrypt"),
            Self::Over => f.write_str("nothing can be sent any more"),
        }
    }
}

/// Memory to encrypt into, which all connections of a driver share.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    /// Initialized once, so that no record is written twice.
    memory: Vec<u8>,
    len: usize,
}

impl Sealed {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    /// Has `write` append, with the memory that it says it needs.
    fn append(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Fault> {
        loop {
            match write(&mut self.memory[self.len..]) {
                Ok(len) => {
                    self.len += len;
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(needs)) => {
                    self.memory.resize(self.len + needs.required_size, 0);
                }
                Err(EncryptError::EncryptExhausted) => return Err(Fault::KeysUsedUp),
            }
        }
    }
}

/// One connection's TLS.
pub(super) struct Link {
    rustls: UnbufferedServerConnection,
    /// What has come of a record that is not whole, and before it the records of a handshake
    /// message that is not. No memory where there is no such thing.
    held: Vec<u8>,
    /// Where in `held` the record begins that is not whole.
    record_at: usize,
    /// What the handshake, or an alert, has to say. It leaves before what is sent next, or else
    /// when the bytes that brought it about have been dealt with.
    pub(super) unsent: Vec<u8>,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
    /// The peer has sent its `close_notify`.
    pub(super) has_ended: bool,
    /// There was a fault: nothing is sent any more but what is `unsent`.
    pub(super) is_broken: bool,
}

/// The length of the record with this header; `None`: it is not the header of a record.
fn record_bytes(header: [u8; HEADER_BYTES]) -> Option<usize> {
    let payload_bytes = usize::from(u16::from_be_bytes([header[3], header[4]]));
    // change_cipher_spec, alert, handshake, application_data
    let is_record = matches!(header[0], 20..=23) && payload_bytes <= PAYLOAD_BYTES_MAX;
    is_record.then_some(HEADER_BYTES + payload_bytes)
}

/// The length of all whole records, or of everything where there is something else among them:
/// what is wrong with that rustls will say.
fn whole_records_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = bytes[at..].first_chunk() {
        match record_bytes(*header) {
            None => return bytes.len(),
            Some(len) if len <= bytes.len() - at => at += len,
            Some(_) => break,
        }
    }
    at
}

impl Link {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Fault> {
        Ok(Self {
            rustls: UnbufferedServerConnection::new(config).map_err(Fault::Tls)?,
            held: Vec::new(),
            record_at: 0,
            unsent: Vec::new(),
            server_name: None,
            has_ended: false,
            is_broken: false,
        })
    }

    /// Whether the handshake is through.
    #[inline]
    pub(super) fn is_established(&self) -> bool {
        !self.rustls.is_handshaking()
    }

    /// Whether anything can be encrypted: after the handshake, and before a fault.
    #[inline]
    pub(super) fn may_seal(&self) -> bool {
        self.is_established() && !self.is_broken
    }

    /// Whether an earlier connection's session goes on.
    pub(super) fn is_resumed(&self) -> bool {
        self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the handshake has brought to light.
    pub(super) fn info(&self) -> TlsInfo {
        let version = match self.rustls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let suite = self.rustls.negotiated_cipher_suite();
        let mut info = TlsInfo::new(version, suite.map(registered_name).unwrap_or_default());
        info.server_name = self.server_name.as_deref().map(str::to_owned);
        info.alpn = self.rustls.alpn_protocol().map(<[u8]>::to_vec);
        info.is_resumed = self.is_resumed();
        let chain = self.rustls.peer_certificates().unwrap_or_default();
        info.peer_certificates = chain.iter().map(|one| one.to_vec()).collect();
        info
    }

    /// Takes what has come. The plaintext that was in it is appended to `plain`, also where there
    /// is a fault behind it.
    pub(super) fn receive(
        &mut self,
        mut bytes: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        while !self.held.is_empty() && !bytes.is_empty() {
            bytes = self.top_up(bytes);
            if self.missing_bytes() == 0 {
                let mut held = mem::take(&mut self.held);
                let used = self.process(&mut held, plain)?;
                held.drain(..used);
                self.record_at = held.len();
                if !held.is_empty() {
                    self.held = held;
                }
            }
            self.check_held()?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let whole = whole_records_bytes(bytes);
        let used = if whole > 0 { self.process(&mut bytes[..whole], plain)? } else { 0 };
        self.record_at = whole - used;
        self.held.extend_from_slice(&bytes[used..]);
        self.check_held()
    }

    fn check_held(&self) -> Result<(), Fault> {
        if self.held.len() > HELD_BYTES_MAX { Err(Fault::TooMuchHeld) } else { Ok(()) }
    }

    /// How much the record at the end of `held` lacks, as far as that is known; 0 also where it is
    /// none.
    fn missing_bytes(&self) -> usize {
        let record = &self.held[self.record_at..];
        match record.first_chunk() {
            None => HEADER_BYTES - record.len(),
            Some(header) => record_bytes(*header).map_or(0, |len| len - record.len()),
        }
    }

    /// Completes the record at the end of `held`, as far as the bytes go. Returns the others.
    fn top_up<'b>(&mut self, mut bytes: &'b mut [u8]) -> &'b mut [u8] {
        loop {
            let count = self.missing_bytes().min(bytes.len());
            if count == 0 {
                return bytes;
            }
            let (more, rest) = bytes.split_at_mut(count);
            self.held.extend_from_slice(more);
            bytes = rest;
        }
    }

    /// Processes whole records. Returns how many bytes are dealt with; the others are those of a
    /// handshake message that is not whole.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.rustls.process_tls_records(&mut bytes[used..]);
            let mut is_read = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(Fault::Tls)?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    is_read = true;
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.unsent);
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                // RFC 8446 section 6.1: "Any data received after a closure alert has been received
                // MUST be ignored."
                Ok(ConnectionState::PeerClosed) => {
                    self.has_ended = true;
                    return Ok(bytes.len());
                }
                Ok(_) => {
                    self.note_name();
                    return Ok(used + discard);
                }
                Err(error) => {
                    self.take_alert();
                    return Err(Fault::Tls(error));
                }
            }
            used += discard;
            // What follows the last record, but for its answer, is nothing: so it is not asked for.
            if is_read && used == bytes.len() && !self.rustls.wants_write() {
                return Ok(used);
            }
        }
    }

    /// While the handshake goes on: the name that the client asked for, if it has just been seen.
    fn note_name(&mut self) {
        if let Some(name) = take_asked_name() {
            self.server_name = Some(name);
        }
    }

    /// After a fault: the alert that says so is to be sent.
    fn take_alert(&mut self) {
        self.is_broken = true;
        take_asked_name();
        while self.rustls.wants_write() {
            // Comes before anything that was received is looked at.
            let state = self.rustls.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(mut alert)) = state else { return };
            encode(&mut alert, &mut self.unsent);
        }
    }

    /// Encrypts; what was sealed before stays before it.
    #[inline]
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut Sealed) -> Result<(), Fault> {
        self.write(sealed, |writer, memory| writer.encrypt(plain, memory))
    }

    /// Seals the `close_notify`.
    pub(super) fn seal_end(&mut self, sealed: &mut Sealed) -> Result<(), Fault> {
        self.write(sealed, |writer, memory| writer.queue_close_notify(memory))
    }

    fn write(
        &mut self,
        sealed: &mut Sealed,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), Fault> {
        while !self.is_broken {
            // Nothing of what is held is whole, but rustls looks at the place where it left off.
            match self.rustls.process_tls_records(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut writer)) => {
                    let result = sealed.append(|memory| write(&mut writer, memory));
                    if result.is_err() {
                        self.take_alert();
                    }
                    return result;
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.unsent);
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(_) => break,
                Err(error) => {
                    self.take_alert();
                    return Err(Fault::Tls(error));
                }
            }
        }
        Err(Fault::Over)
    }
}

/// Appends what the handshake has to say.
fn encode(message: &mut EncodeTlsData<'_, ServerConnectionData>, to: &mut Vec<u8>) {
    let at = to.len();
    while let Err(EncodeError::InsufficientSize(needs)) = message.encode(&mut to[at..]) {
        to.resize(at + needs.required_size, 0);
    }
}

#[cfg(test)]
mod tests;
