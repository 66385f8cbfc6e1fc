//! What the fuzzers run (`fuzz/`), and the ordinary tests on their seeds: each takes any bytes and
//! panics where the codec is wrong.

use std::ops::Range;

use sockeye_codec::deflate::{Compressor, Deflate, DeflateConfig, Inflater, Params, negotiate};
use sockeye_codec::handshake::{
    ClientHandshake, ClientRequest, HandshakeError, HandshakeLimits, Head, HeadBuffer, HeaderLines,
    Key, NO_HEADERS, Request, write_accept,
};
use sockeye_codec::{
    Chunk, CloseCode, Codec, Connection, DataKind, Event, Limits, Message, ProtocolError, Role,
};

use crate::oracle::Setup;
use crate::replay;

/// A target's name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All there are.
pub const TARGETS: [Target; 7] = [
    ("decode", decode),
    ("conversation", conversation),
    ("server_handshake", server_handshake),
    ("client_handshake", client_handshake),
    ("extensions", extensions),
    ("deflate_offers", deflate_offers),
    ("inflate", inflate),
];

/// Takes numbers off the front of the input; what is missing is 0.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let len = N.min(data.len());
    let (head, rest) = data.split_at(len);
    *data = rest;
    let mut numbers = [0; N];
    numbers[..len].copy_from_slice(head);
    numbers
}

/// Cuts `len` bytes at these places of 65,536.
fn pieces(len: usize, cuts: [u8; 6]) -> Vec<Range<usize>> {
    let mut ends: Vec<_> =
        cuts.chunks(2).map(|at| usize::from(at[0]) * 256 + usize::from(at[1])).collect();
    ends.iter_mut().for_each(|end| *end %= len + 1);
    ends.push(len);
    ends.sort_unstable();
    let begins = std::iter::once(0).chain(ends.clone());
    begins.zip(ends).map(|(from, to)| from..to).collect()
}

/// A stream in pieces: event for event what the oracle says. Both roles, whole and streaming.
pub fn decode(mut data: &[u8]) {
    let [flags] = take(&mut data);
    let cuts = take(&mut data);
    let limits = if flags & 8 == 0 {
        Limits::default()
    } else {
        Limits {
            message_bytes_max: 150,
            frame_bytes_max: 128,
            fragments_per_message_max: 3,
            spare_bytes_max: 1 << 10,
        }
    };
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let setup = Setup { role, streaming: flags & 2 != 0, rsv1: flags & 4 != 0, limits };
    let pieces = if flags & 16 == 0 {
        pieces(data.len(), cuts)
    } else {
        (0..data.len()).map(|at| at..at + 1).collect()
    };
    replay::check(setup, data, &pieces);
}

/// One end of a conversation.
struct End {
    codec: Codec,
    connection: Connection,
    /// Bytes on their way to the other end.
    wire: Vec<u8>,
    /// What it sent that the other end has not got.
    sent: Vec<Sent>,
}

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
}

impl End {
    fn new(codec: Codec) -> Self {
        Self { codec, connection: Connection::new(), wire: Vec::new(), sent: Vec::new() }
    }

    /// Sends something; refused exactly where a close frame has gone either way.
    fn act(&mut self, action: u8, size: u8) {
        let open = self.connection.is_open();
        let key = self.codec.next_masking_key();
        let bytes: Vec<_> = (0..usize::from(size) * 5).map(|n| n as u8).collect();
        let short = &bytes[..bytes.len().min(125)];
        let (result, sent) = match action {
            0 => {
                let text: String =
                    "a\u{e4}\u{20ac}\u{1f41f}".chars().cycle().take(size.into()).collect();
                (self.connection.send(&text, key, &mut self.wire), Sent::Text(text))
            }
            1 => {
                let message = Message::Binary(&bytes);
                (self.connection.send(message, key, &mut self.wire), Sent::Binary(bytes))
            }
            2 => (self.connection.ping(short, key, &mut self.wire), Sent::Ping(short.into())),
            3 => (self.connection.pong(short, key, &mut self.wire), Sent::Pong(short.into())),
            _ => {
                let code = 4000 + u16::from(size);
                let result = self.connection.close(CloseCode(code), "bye", key, &mut self.wire);
                (result, Sent::Close(code))
            }
        };
        assert_eq!(result.is_ok(), open);
        if open {
            self.sent.push(sent);
        }
    }

    /// Gets the next `len` bytes from the other end.
    fn receive(&mut self, from: &mut Self, len: usize) {
        let mut bytes: Vec<_> = from.wire.drain(..len.min(from.wire.len())).collect();
        let mut input = &mut bytes[..];
        loop {
            let before = self.connection.is_open();
            let event = self.connection.receive(&mut self.codec, &mut input, &mut self.wire);
            let Some(event) = event.expect("the other end sends nothing wrong") else { return };
            let got = match event {
                Event::Message(Message::Text(text)) => Sent::Text(text.into()),
                Event::Message(Message::Binary(bytes)) => Sent::Binary(bytes.into()),
                Event::Ping(payload) => {
                    if before {
                        self.sent.push(Sent::Pong(payload.into()));
                    }
                    Sent::Ping(payload.into())
                }
                Event::Pong(payload) => Sent::Pong(payload.into()),
                Event::Close(close) => {
                    let code = close.expect("each has a code").code.0;
                    if before {
                        self.sent.push(Sent::Close(code));
                    }
                    Sent::Close(code)
                }
                other => panic!("not asked for: {other:?}"),
            };
            assert_eq!(Some(got), (!from.sent.is_empty()).then(|| from.sent.remove(0)));
        }
    }
}

/// A server and a client that talk, close at any time and get their bytes in any pieces: all
/// arrives, once, in order, and nothing after a close.
pub fn conversation(data: &[u8]) {
    let limits = Limits { spare_bytes_max: 1 << 10, ..Limits::default() };
    let mut server = End::new(Codec::server(limits));
    let mut client = End::new(Codec::client(limits, [9; 32]));
    for step in data.chunks_exact(2).take(400) {
        let (one, other) =
            if step[0] & 1 == 0 { (&mut server, &mut client) } else { (&mut client, &mut server) };
        match (step[0] >> 1) % 12 {
            action @ 0..=3 => one.act(action, step[1]),
            4 if step[1] % 8 == 0 => one.act(4, step[1]),
            _ => one.receive(other, usize::from(step[1])),
        }
    }
    // What is on its way arrives, and what that brings about.
    while !server.wire.is_empty() || !client.wire.is_empty() {
        server.receive(&mut client, usize::MAX);
        client.receive(&mut server, usize::MAX);
    }
    // The end that has closed has got everything up to the other's close.
    for (end, other) in [(&server, &client), (&client, &server)] {
        if !end.connection.is_closed() {
            assert_eq!(other.sent, [], "lost");
        }
    }
}

/// The key and the answer of a handshake that a server takes.
type Served = Result<Option<(Key, Vec<u8>)>, HandshakeError>;

/// What a server makes of a head, and how many bytes it took.
fn serve(data: &[u8], pieces: &[Range<usize>]) -> (Served, usize) {
    let limits = HandshakeLimits { head_bytes_max: 1_024, headers_max: 16 };
    let mut buffer = HeadBuffer::default();
    for piece in pieces {
        let mut bytes = data[piece.clone()].to_vec();
        let mut input = &mut bytes[..];
        let answer = match buffer.read(&mut input, &limits) {
            Ok(None) => continue,
            Ok(Some(head)) => {
                Request::parse(head, &mut HeaderLines::new(), &limits).and_then(|request| {
                    let key = request.websocket()?;
                    let mut out = Vec::new();
                    write_accept(&mut out, &request, &key, None, None, NO_HEADERS)
                        .expect("nothing chosen");
                    Ok(Some((key, out)))
                })
            }
            Err(error) => Err(error),
        };
        return (answer, piece.end - input.len());
    }
    (Ok(None), data.len())
}

/// A request in pieces is a request in one piece; what is accepted a client takes for an answer.
pub fn server_handshake(mut data: &[u8]) {
    let cuts = take(&mut data);
    let whole = serve(data, std::slice::from_ref(&(0..data.len())));
    let cut = serve(data, &pieces(data.len(), cuts));
    match (&whole.0, &cut.0) {
        (Err(_), Err(_)) => assert_eq!(whole.0, cut.0),
        _ => assert_eq!(whole, cut),
    }
    if let Ok(Some((key, mut answer))) = whole.0 {
        let request = ClientRequest::new("example.com", "/");
        let mut handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
        let accepted = handshake.read(&mut &mut answer[..]).expect("a good answer");
        assert_eq!(accepted.expect("whole").subprotocol, None);
    }
}

/// An answer in pieces is an answer in one piece.
pub fn client_handshake(mut data: &[u8]) {
    let cuts = take(&mut data);
    let read = |pieces: &[Range<usize>]| {
        let request = ClientRequest::new("example.com", "/").subprotocol("chat");
        let limits = HandshakeLimits { head_bytes_max: 1_024, headers_max: 16 };
        let key = Key::new(*b"the sample nonce");
        let mut handshake = ClientHandshake::new(&request, &key, limits);
        for piece in pieces {
            let mut bytes = data[piece.clone()].to_vec();
            let mut input = &mut bytes[..];
            match handshake.read(&mut input) {
                Ok(None) => assert!(input.is_empty()),
                Ok(Some(accepted)) => {
                    let chosen = accepted.subprotocol;
                    assert!(chosen.as_deref().is_none_or(|name| name == "chat"));
                    return Ok(Some((chosen, piece.end - input.len())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = read(std::slice::from_ref(&(0..data.len())));
    assert_eq!(whole, read(&pieces(data.len(), cuts)));
}

/// The settings that a byte stands for.
fn deflate_config(byte: u8) -> DeflateConfig {
    DeflateConfig {
        server_context_takeover: byte & 1 != 0,
        client_context_takeover: byte & 2 != 0,
        server_max_window_bits: 8 + (byte >> 2 & 7),
        client_max_window_bits: 8 + (byte >> 5),
        compress_bytes_min: 0,
        ..DeflateConfig::default()
    }
}

/// Whatever is offered: what is agreed on is within the settings, and is itself an offer to which
/// the same is the answer.
pub fn deflate_offers(mut data: &[u8]) {
    let [settings] = take(&mut data);
    let config = deflate_config(settings);
    let Some(params) = negotiate(data.split(|byte| *byte == b'\n'), &config) else { return };
    assert!(params.server_window_bits() <= config.server_max_window_bits);
    assert!(!params.server_context_takeover() || config.server_context_takeover);
    assert!(!params.client_context_takeover() || config.client_context_takeover);
    // Memory for what comes in is within the settings too.
    let window_bits = params.client_window_bits();
    assert!(!params.client_context_takeover() || window_bits <= config.client_max_window_bits);
    let answer = params.to_string();
    let again = negotiate([answer.as_bytes()], &config).expect("an answer is a good offer");
    assert_eq!(again.to_string(), answer);
}

/// What both ends keep all of.
fn with_context(role: Role) -> (Deflate, Params) {
    let params = negotiate([&b"permessage-deflate"[..]], &deflate_config(0xff)).expect("an offer");
    (Deflate::new(&params, role), params)
}

/// Messages of any bytes, one behind the other: whole and in chunks the same comes out, within the
/// limit; and what comes out can be sent back.
pub fn inflate(mut data: &[u8]) {
    const LIMITS: Limits = Limits {
        message_bytes_max: 100_000,
        frame_bytes_max: 100_000,
        fragments_per_message_max: 8,
        spare_bytes_max: 1 << 17,
    };
    let [flags, cut] = take(&mut data);
    let kind = if flags & 1 == 0 { DataKind::Binary } else { DataKind::Text };
    let (mut whole, mut pieces) = (with_context(Role::Server).0, with_context(Role::Server).0);
    let (mut echo, mut back) = (with_context(Role::Server).0, with_context(Role::Client).0);
    let mut inflaters: [_; 3] = std::array::from_fn(|_| Inflater::new(&LIMITS));
    let [inflater, streaming, returned] = &mut inflaters;
    let mut compressor = Compressor::new(&deflate_config(0xff));
    for payload in data.split(|byte| *byte == 0xa5) {
        let message = whole.inflate(inflater, kind, payload);
        let in_pieces = inflate_pieces(&mut pieces, streaming, kind, payload, cut);
        match (message, in_pieces) {
            (Ok(message), Ok(pieces)) => {
                assert!(message.len() as u64 <= LIMITS.message_bytes_max);
                assert!(message.as_bytes() == pieces, "in pieces it is another");
                let mut frame = Vec::new();
                echo.encode(&mut compressor, message, None, &mut frame);
                let mut codec = Codec::client(LIMITS, [1; 32]);
                let mut connection = Connection::new().allow_rsv1();
                let mut input = &mut frame[..];
                match connection.receive(&mut codec, &mut input, &mut Vec::new()) {
                    Ok(Some(Event::Message(sent))) => assert_eq!(sent, message),
                    Ok(Some(Event::Extension(kind, payload))) => {
                        let sent = back.inflate(returned, kind, payload).expect("our own");
                        assert!(sent == message, "it came back as another");
                    }
                    // Compressed what is noise is longer than it was.
                    Err(ProtocolError::FrameTooLarge) => return,
                    other => panic!("{other:?}"),
                }
            }
            (Err(_), Err(_)) => return,
            (whole, pieces) => panic!("{whole:?} and in pieces {pieces:?}"),
        }
    }
}

fn inflate_pieces(
    deflate: &mut Deflate,
    inflater: &mut Inflater,
    kind: DataKind,
    payload: &[u8],
    cut: u8,
) -> Result<Vec<u8>, ProtocolError> {
    let (head, tail) = payload.split_at(usize::from(cut).min(payload.len()));
    let mut message = Vec::new();
    for (n, payload) in [head, tail].into_iter().enumerate() {
        let mut chunk = Chunk { kind, payload, first: n == 0, last: n == 1 };
        while let Some(piece) = deflate.inflate_chunk(inflater, &mut chunk)? {
            message.extend_from_slice(piece.payload);
        }
    }
    Ok(message)
}

/// A value of `Sec-WebSocket-Extensions` is taken exactly where it is a list of extensions.
pub fn extensions(data: &[u8]) {
    // What cannot stand in a header's value is another target's matter.
    if data.len() > 200 || data.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~')) {
        return;
    }
    let head = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ";
    let head = [head.as_bytes(), data, b"\r\n\r\n"].concat();
    let limits = HandshakeLimits::default();
    let head = Head::check(&head, &limits).expect("a head");
    let mut lines = HeaderLines::new();
    let result = Request::parse(head, &mut lines, &limits).expect("a request").websocket();
    match result {
        Ok(_) => assert!(is_list(data), "taken: {}", String::from_utf8_lossy(data)),
        Err(error) => {
            assert_eq!(error, HandshakeError::ExtensionsInvalid);
            assert!(!is_list(data), "refused: {}", String::from_utf8_lossy(data));
        }
    }
}

/// The grammar of section 9.1 the slow way: cut at every comma, semicolon and equals sign that is
/// not between quotation marks.
fn is_list(value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).expect("ASCII");
    let elements: Vec<_> = split(text, ',').into_iter().filter(|text| !text.is_empty()).collect();
    !elements.is_empty()
        && elements.iter().all(|extension| {
            let parts = split(extension, ';');
            is_token(&parts[0])
                && parts[1..].iter().all(|param| match &split(param, '=')[..] {
                    [name] => is_token(name),
                    [name, value] => is_token(name) && (is_token(value) || is_quoted_token(value)),
                    _ => false,
                })
        })
}

fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for char in text.chars() {
        if char == at && !quoted {
            parts.push(String::new());
        } else {
            if char == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && char == '\\' && !escaped;
            parts.last_mut().expect("never empty").push(char);
        }
    }
    parts.iter().map(|part| part.trim_matches([' ', '\t']).to_owned()).collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|char| char.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(char))
}

fn is_quoted_token(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.is_some_and(|inner| {
        let (mut token, mut escaped) = (String::new(), false);
        for char in inner.chars() {
            escaped = char == '\\' && !escaped;
            if !escaped {
                token.push(char);
            }
        }
        !escaped && is_token(&token)
    })
}
