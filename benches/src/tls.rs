//! TLS of a connection without its socket, as fast as rustls can be driven: for the client and for
//! the floor. Records are decrypted where they were received; what is to be sent is encrypted into
//! memory that all connections share.

use std::mem;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ServerConfig, SignatureScheme,
};

/// The name that the client asks for.
pub const NAME: &str = "localhost";
/// What a server gives a client for its next connection.
const TICKETS: usize = 1;

/// A server's half or a client's.
pub trait Side {
    /// rustls' own.
    type Data;

    /// `process_tls_records`.
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether there is something to be said for TLS' own sake.
    fn wants_write(&self) -> bool;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn wants_write(&self) -> bool {
        (**self).wants_write()
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn wants_write(&self) -> bool {
        (**self).wants_write()
    }
}

/// What is to be sent, in memory that is initialized once.
#[derive(Debug, Default)]
pub struct Records {
    memory: Vec<u8>,
    len: usize,
}

impl Records {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// It has been sent.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// `write` appends; an `Err` says how much memory it needs.
    fn append(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Needs>,
    ) -> Result<(), Error> {
        loop {
            match write(&mut self.memory[self.len..]) {
                Ok(len) => {
                    self.len += len;
                    return Ok(());
                }
                Err(Needs::Bytes(bytes)) => self.memory.resize(self.len + bytes, 0),
                Err(Needs::OtherKeys) => return Err(Error::EncryptError),
            }
        }
    }
}

/// What is missing to write.
enum Needs {
    Bytes(usize),
    OtherKeys,
}

impl From<EncodeError> for Needs {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(needs) => Self::Bytes(needs.required_size),
            EncodeError::AlreadyEncoded => Self::OtherKeys,
        }
    }
}

impl From<EncryptError> for Needs {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(needs) => Self::Bytes(needs.required_size),
            EncryptError::EncryptExhausted => Self::OtherKeys,
        }
    }
}

/// One connection's TLS.
#[derive(Debug)]
pub struct Session<S> {
    rustls: S,
    /// What is not a whole record, or not a whole message of the handshake.
    held: Vec<u8>,
    is_open: bool,
    has_ended: bool,
}

impl<S: Side> Session<S> {
    const fn new(rustls: S) -> Self {
        Self { rustls, held: Vec::new(), is_open: false, has_ended: false }
    }

    /// The handshake is over.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// The peer has said that it sends no more.
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes what has come, hands on the plaintext of each record, and appends what TLS itself has
    /// to say. A client begins with no bytes.
    ///
    /// # Errors
    /// What came is not TLS, or not for us.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        out: &mut Records,
        handle: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        if self.held.is_empty() {
            let used = self.process(bytes, out, handle)?;
            self.held.extend_from_slice(&bytes[used..]);
        } else {
            let mut held = mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let used = self.process(&mut held, out, handle)?;
            held.drain(..used);
            self.held = held;
        }
        Ok(())
    }

    /// Returns how many bytes are dealt with.
    fn process(
        &mut self,
        bytes: &mut [u8],
        out: &mut Records,
        mut handle: impl FnMut(&[u8]),
    ) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.rustls.process(&mut bytes[used..]);
            let mut is_read = false;
            match state? {
                ConnectionState::ReadTraffic(mut records) => {
                    while let Some(record) = records.next_record() {
                        let record = record?;
                        discard += record.discard;
                        handle(record.payload);
                    }
                    is_read = true;
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    out.append(|memory| message.encode(memory).map_err(Needs::from))?;
                }
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.has_ended = true;
                    return Ok(bytes.len());
                }
                state => {
                    self.is_open |= matches!(state, ConnectionState::WriteTraffic(_));
                    return Ok(used + discard);
                }
            }
            used += discard;
            // What follows the last record is nothing: so it is not asked for.
            if is_read && self.is_open && used == bytes.len() && !self.rustls.wants_write() {
                return Ok(used);
            }
        }
    }

    /// Encrypts.
    ///
    /// # Errors
    /// The handshake is not over, or as much was encrypted as these keys may encrypt.
    pub fn seal(&mut self, plain: &[u8], out: &mut Records) -> Result<(), Error> {
        loop {
            // What is held is not whole; but rustls looks at the place where it has left off.
            match self.rustls.process(&mut self.held).state? {
                ConnectionState::WriteTraffic(mut writer) => {
                    return out.append(|memory| writer.encrypt(plain, memory).map_err(Needs::from));
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    out.append(|memory| message.encode(memory).map_err(Needs::from))?;
                }
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }
}

/// A client's session.
pub type ClientSession = Session<UnbufferedClientConnection>;

impl ClientSession {
    /// One that has said nothing yet.
    ///
    /// # Errors
    /// rustls'.
    pub fn connect(config: Arc<ClientConfig>) -> Result<Self, Error> {
        let name = ServerName::try_from(NAME).map_err(|_| Error::UnsupportedNameType)?;
        UnbufferedClientConnection::new(config, name).map(Self::new)
    }

    /// Whether the session of an earlier connection goes on.
    pub fn is_resumed(&self) -> bool {
        self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// A server's session.
pub type ServerSession = Session<UnbufferedServerConnection>;

impl ServerSession {
    /// One that has heard nothing yet.
    ///
    /// # Errors
    /// rustls'.
    pub fn accept(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(Self::new)
    }
}

/// Believes anybody: the bench talks to itself, and the client saves the work.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client of TLS 1.3, which `resumes` sessions or never does.
///
/// # Errors
/// rustls'.
pub fn client_config(resumes: bool) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// Why there is no server.
#[derive(Debug)]
pub enum SetupError {
    /// A file is not what it should be.
    Pem(PemError),
    /// rustls says so.
    Tls(Error),
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pem(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetupError {}

impl From<PemError> for SetupError {
    fn from(error: PemError) -> Self {
        Self::Pem(error)
    }
}

impl From<Error> for SetupError {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

/// A server with this certificate and key, which gives out tickets as sockeye's does.
///
/// # Errors
/// The files are not such.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, SetupError> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    Ok(Arc::new(config))
}
