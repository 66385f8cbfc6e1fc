//! A decoder of one byte at a time, written from RFC 6455 and nothing else: slow, simple, and
//! without a line of the codec. What it says is what the codec has to say, in whatever pieces the
//! input comes.

use sockeye_codec::{DataKind, Limits, ProtocolError, Role};

/// What a connection is set up to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) role: Role,
    pub(super) streaming: bool,
    pub(super) rsv1: bool,
    pub(super) limits: Limits,
}

/// An event, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Message(DataKind, Vec<u8>),
    Extension(DataKind, Vec<u8>),
    /// Adjacent chunks of one message count as one: where they are cut is the input's matter.
    Chunk {
        kind: DataKind,
        extension: bool,
        payload: Vec<u8>,
        first: bool,
        last: bool,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// All that came of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) events: Vec<Seen>,
    pub(super) error: Option<ProtocolError>,
    /// The frames that the protocol answers by itself: first byte and unmasked payload.
    pub(super) answers: Vec<(u8, Vec<u8>)>,
    /// How many bytes it took to see the error.
    pub(super) failed_after: Option<usize>,
}

impl Outcome {
    /// Appends an event; a chunk that goes on with the one before is joined to it.
    pub(super) fn push(&mut self, seen: Seen) {
        if let Seen::Chunk {
            payload: more, first: false, last: now_last, extension: more_of, ..
        } = &seen
            && let Some(Seen::Chunk { payload, last, extension, .. }) = self.events.last_mut()
        {
            assert!(!*last, "a chunk that is not the first follows the last one");
            assert_eq!(extension, more_of, "all chunks of a message are of one kind");
            payload.extend_from_slice(more);
            *last = *now_last;
            return;
        }
        self.events.push(seen);
    }

    /// Takes away a chunk at the end that is not its message's last: its payload.
    pub(super) fn take_open_chunk(&mut self) -> Vec<u8> {
        match self.events.pop_if(|seen| matches!(seen, Seen::Chunk { last: false, .. })) {
            Some(Seen::Chunk { payload, .. }) => payload,
            _ => Vec::new(),
        }
    }
}

struct Frame {
    fin: bool,
    opcode: u8,
    key: Option<[u8; 4]>,
    declared: u64,
    arrived: u64,
}

struct Message {
    kind: DataKind,
    extension: bool,
    frames: u64,
    declared: u128,
    payload: Vec<u8>,
    /// The bytes of a character that is not whole yet.
    character: Vec<u8>,
    chunk_handed_out: bool,
}

/// The connection, as an open one that never closes by itself.
struct Oracle {
    setup: Setup,
    header: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Message>,
    control: Vec<u8>,
    over: bool,
    outcome: Outcome,
}

/// What the peer's bytes come to.
pub(super) fn expect(setup: Setup, stream: &[u8]) -> Outcome {
    let mut oracle = Oracle {
        setup,
        header: Vec::new(),
        frame: None,
        message: None,
        control: Vec::new(),
        over: false,
        outcome: Outcome::default(),
    };
    for (index, &byte) in stream.iter().enumerate() {
        if oracle.over {
            break;
        }
        if let Err(error) = oracle.byte(byte) {
            oracle.over = true;
            let mut payload = error_code(error).to_be_bytes().to_vec();
            payload.extend_from_slice(error.reason().as_bytes());
            oracle.outcome.answers.push((0x88, payload));
            oracle.outcome.error = Some(error);
            oracle.outcome.failed_after = Some(index + 1);
        }
    }
    oracle.outcome
}

/// Section 7.4.1: 1007 for data that does not fit its type, 1009 for too big, else 1002.
fn error_code(error: ProtocolError) -> u16 {
    match error {
        ProtocolError::InvalidUtf8 => 1007,
        ProtocolError::FrameTooLarge
        | ProtocolError::MessageTooLarge
        | ProtocolError::TooManyFragments => 1009,
        _ => 1002,
    }
}

impl Oracle {
    fn byte(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let Some(frame) = &mut self.frame else {
            self.header.push(byte);
            return self.header_byte();
        };
        let byte = match frame.key {
            Some(key) => byte ^ key[(frame.arrived % 4) as usize],
            None => byte,
        };
        frame.arrived += 1;
        if frame.opcode >= 8 {
            self.control.push(byte);
        } else {
            self.data_byte(byte)?;
        }
        self.frame_end()
    }

    /// Section 5.2, in the order of the bytes. What only the connection knows (extensions, the
    /// order of fragments, limits) comes after the header's own form.
    fn header_byte(&mut self) -> Result<(), ProtocolError> {
        let first = self.header[0];
        let (fin, rsv, opcode) = (first >= 0x80, (first >> 4) & 7, first & 15);
        match self.header.len() {
            1 => {
                if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
                    return Err(ProtocolError::ReservedOpcode(opcode));
                }
                if rsv & 3 != 0 || (opcode >= 8 && rsv != 0) {
                    return Err(ProtocolError::ReservedBits);
                }
                if opcode >= 8 && !fin {
                    return Err(ProtocolError::ControlFragmented);
                }
                return Ok(());
            }
            2 => {
                let masked = self.header[1] >= 0x80;
                match self.setup.role {
                    Role::Server if !masked => return Err(ProtocolError::Unmasked),
                    Role::Client if masked => return Err(ProtocolError::Masked),
                    _ => {}
                }
                if opcode >= 8 && self.header[1] % 128 > 125 {
                    return Err(ProtocolError::ControlTooLong);
                }
            }
            _ => {}
        }
        let masked = self.header[1] >= 0x80;
        let short = u64::from(self.header[1] % 128);
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let whole = 2 + length_bytes + if masked { 4 } else { 0 };
        if self.header.len() < whole {
            return Ok(());
        }
        let declared = if length_bytes == 0 {
            short
        } else {
            self.header[2..2 + length_bytes].iter().fold(0, |sum, &b| sum * 256 + u64::from(b))
        };
        if declared >= 1 << 63 {
            return Err(ProtocolError::LengthBeyond63Bits);
        }
        if (length_bytes == 2 && declared < 126) || (length_bytes == 8 && declared < 65536) {
            return Err(ProtocolError::LengthNotMinimal);
        }
        let key = masked.then(|| {
            let at = 2 + length_bytes;
            [self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]]
        });
        if opcode < 8 {
            self.data_frame(opcode, rsv == 4, declared)?;
        }
        self.header.clear();
        self.frame = Some(Frame { fin, opcode, key, declared, arrived: 0 });
        self.frame_end()
    }

    /// Section 5.4 and the limits.
    fn data_frame(&mut self, opcode: u8, rsv1: bool, declared: u64) -> Result<(), ProtocolError> {
        if rsv1 && (!self.setup.rsv1 || opcode == 0) {
            return Err(ProtocolError::ReservedBits);
        }
        match (opcode, &self.message) {
            (0, None) => return Err(ProtocolError::ContinuationWithoutStart),
            (0, Some(_)) => {}
            (_, Some(_)) => return Err(ProtocolError::MessageInterleaved),
            (_, None) => {
                self.message = Some(Message {
                    kind: if opcode == 1 { DataKind::Text } else { DataKind::Binary },
                    extension: rsv1,
                    frames: 0,
                    declared: 0,
                    payload: Vec::new(),
                    character: Vec::new(),
                    chunk_handed_out: false,
                });
            }
        }
        let message = self.message.as_mut().unwrap();
        message.frames += 1;
        message.declared += u128::from(declared);
        if declared > self.setup.limits.frame_bytes_max {
            return Err(ProtocolError::FrameTooLarge);
        }
        if message.declared > u128::from(self.setup.limits.message_bytes_max) {
            return Err(ProtocolError::MessageTooLarge);
        }
        if message.frames > u64::from(self.setup.limits.fragments_per_message_max) {
            return Err(ProtocolError::TooManyFragments);
        }
        Ok(())
    }

    fn data_byte(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let message = self.message.as_mut().unwrap();
        message.payload.push(byte);
        if message.kind == DataKind::Text && !message.extension {
            message.character.push(byte);
            match std::str::from_utf8(&message.character) {
                Ok(_) => message.character.clear(),
                Err(error) if error.error_len().is_none() => {} // more bytes may mend it
                Err(_) => return Err(ProtocolError::InvalidUtf8),
            }
        }
        Ok(())
    }

    /// After each byte: is the frame whole, and the message with it?
    fn frame_end(&mut self) -> Result<(), ProtocolError> {
        let Some(frame) = &self.frame else { return Ok(()) };
        let (whole, fin, opcode) = (frame.arrived == frame.declared, frame.fin, frame.opcode);
        if whole {
            self.frame = None;
        }
        if opcode >= 8 {
            return if whole { self.control_end(opcode) } else { Ok(()) };
        }
        let last = whole && fin;
        if last && !self.message.as_ref().unwrap().character.is_empty() {
            return Err(ProtocolError::InvalidUtf8);
        }
        if self.setup.streaming {
            self.chunk(last);
        } else if last {
            let message = self.message.take().unwrap();
            self.outcome.push(match message.extension {
                true => Seen::Extension(message.kind, message.payload),
                false => Seen::Message(message.kind, message.payload),
            });
        }
        Ok(())
    }

    fn chunk(&mut self, last: bool) {
        let message = self.message.as_mut().unwrap();
        let payload = std::mem::take(&mut message.payload);
        if payload.is_empty() && !last {
            return;
        }
        let first = !message.chunk_handed_out;
        message.chunk_handed_out = true;
        let (kind, extension) = (message.kind, message.extension);
        if last {
            self.message = None;
        }
        self.outcome.push(Seen::Chunk { kind, extension, payload, first, last });
    }

    /// Sections 5.5.1-5.5.3.
    fn control_end(&mut self, opcode: u8) -> Result<(), ProtocolError> {
        let payload = std::mem::take(&mut self.control);
        match opcode {
            9 => {
                self.outcome.answers.push((0x8A, payload.clone()));
                self.outcome.push(Seen::Ping(payload));
            }
            10 => self.outcome.push(Seen::Pong(payload)),
            _ => {
                let close = close_payload(&payload)?;
                self.outcome.answers.push((0x88, payload.into_iter().take(2).collect()));
                self.outcome.push(Seen::Close(close));
                self.over = true;
            }
        }
        Ok(())
    }
}

/// Section 5.5.1 for the form, section 7.4 with the IANA registry for the codes.
fn close_payload(payload: &[u8]) -> Result<Option<(u16, String)>, ProtocolError> {
    if payload.is_empty() {
        return Ok(None);
    }
    if payload.len() == 1 {
        return Err(ProtocolError::ClosePayloadTruncated);
    }
    let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
    let defined = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
    let free = (3000..5000).contains(&code);
    if !defined && !free {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    match String::from_utf8(payload[2..].to_vec()) {
        Ok(reason) => Ok(Some((code, reason))),
        Err(_) => Err(ProtocolError::InvalidUtf8),
    }
}
