//! The state machine: who may say what, and when.

use super::oracle::Seen;
use super::replay::{KEY, answers, frame, run_whole, setup};
use crate::{
    CloseCode, Codec, Connection, DataKind, Event, Limits, ProtocolError, Role, SendError,
};

/// Longer than what fits into a short frame.
const LONG: usize = if cfg!(miri) { 700 } else { 70_000 };

/// One end of a connection.
struct End {
    codec: Codec,
    connection: Connection,
    out: Vec<u8>,
    role: Role,
}

impl End {
    fn new(role: Role) -> Self {
        let codec = match role {
            Role::Server => Codec::server(Limits::default()),
            Role::Client => Codec::client(Limits::default(), [3; 32]),
        };
        Self { codec, connection: Connection::new(), out: Vec::new(), role }
    }

    /// Gives it one frame of its peer's; whether there was an event.
    fn receive(&mut self, first: u8, payload: &[u8]) -> Result<bool, ProtocolError> {
        let mut bytes = frame(self.role, first, payload);
        let event = self.connection.receive(&mut self.codec, &mut &mut bytes[..], &mut self.out)?;
        Ok(event.is_some())
    }

    fn close(&mut self) -> Result<(), SendError> {
        let key = self.codec.next_masking_key();
        self.connection.close(CloseCode::NORMAL, "", key, &mut self.out)
    }

    fn send(&mut self) -> Result<(), SendError> {
        let key = self.codec.next_masking_key();
        self.connection.send("hi", key, &mut self.out)
    }

    /// The control frames written since the last time.
    fn written(&mut self) -> Vec<(u8, Vec<u8>)> {
        answers(self.role, &std::mem::take(&mut self.out))
    }
}

const NORMAL: [u8; 2] = [0x03, 0xE8];

fn both(check: impl Fn(End)) {
    check(End::new(Role::Server));
    check(End::new(Role::Client));
}

/// Section 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close
/// frame, the endpoint MUST send a Close frame in response."
#[test]
fn the_peer_closes_first() {
    both(|mut end| {
        assert_eq!(end.receive(0x88, b"\x0b\xb8reason"), Ok(true));
        assert_eq!(end.written(), [(0x88, vec![0x0b, 0xb8])], "the code, not the reason");
        assert!(end.connection.is_closed());
        assert_eq!(end.send(), Err(SendError::Closed));
        assert_eq!(end.close(), Err(SendError::Closed));
        assert_eq!(end.connection.ping(b"", None, &mut end.out), Err(SendError::Closed));
        assert_eq!(end.receive(0x81, b"late"), Ok(false));
        assert_eq!(end.receive(0xFF, b"junk"), Ok(false), "what comes is not even looked at");
        assert_eq!(end.written(), []);
    });
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    both(|mut end| {
        assert_eq!(end.receive(0x88, b""), Ok(true));
        assert_eq!(end.written(), [(0x88, vec![])]);
    });
}

/// Messages still come until the peer's close frame does; pings are not answered any more.
#[test]
fn we_close_first() {
    both(|mut end| {
        assert_eq!(end.close(), Ok(()));
        assert_eq!(end.written(), [(0x88, NORMAL.into())]);
        assert!(!end.connection.is_open() && !end.connection.is_closed());
        assert_eq!(end.send(), Err(SendError::Closed));
        assert_eq!(end.close(), Err(SendError::Closed));
        assert_eq!(end.receive(0x81, b"on its way"), Ok(true));
        assert_eq!(end.receive(0x89, b"ping"), Ok(true));
        assert_eq!(end.written(), []);
        assert_eq!(end.receive(0x88, &NORMAL), Ok(true));
        assert_eq!(end.written(), [], "one close frame each");
        assert!(end.connection.is_closed());
    });
}

#[test]
fn both_close_at_once() {
    let (mut server, mut client) = (End::new(Role::Server), End::new(Role::Client));
    assert_eq!((server.close(), client.close()), (Ok(()), Ok(())));
    for (to, from) in [(0, 1), (1, 0)] {
        let ends = [&server.out, &client.out];
        assert!(!ends[to].is_empty() && !ends[from].is_empty());
    }
    let (of_server, of_client) = (server.out.clone(), client.out.clone());
    for (end, bytes) in [(&mut server, of_client), (&mut client, of_server)] {
        let mut bytes = bytes;
        let event = end.connection.receive(&mut end.codec, &mut &mut bytes[..], &mut end.out);
        assert!(matches!(event, Ok(Some(Event::Close(Some(_))))), "{event:?}");
        assert!(end.connection.is_closed());
        assert_eq!(end.written().len(), 1, "its own close frame, and no other");
    }
}

/// A violation is told once, by a close frame with its code and reason.
#[test]
fn a_violation_ends_it() {
    both(|mut end| {
        assert_eq!(end.receive(0x83, b""), Err(ProtocolError::ReservedOpcode(3)));
        let reason = [&1002_u16.to_be_bytes()[..], b"reserved opcode"].concat();
        assert_eq!(end.written(), [(0x88, reason)]);
        assert!(end.connection.is_closed());
        assert_eq!(end.receive(0x83, b""), Ok(false));
        assert_eq!(end.send(), Err(SendError::Closed));
    });
}

/// After our close frame nothing may be sent, not even the complaint.
#[test]
fn a_violation_after_our_close_is_not_answered() {
    both(|mut end| {
        assert_eq!(end.close(), Ok(()));
        end.written();
        assert_eq!(end.receive(0x83, b""), Err(ProtocolError::ReservedOpcode(3)));
        assert_eq!(end.written(), []);
        assert!(end.connection.is_closed());
    });
}

#[test]
fn a_close_frame_that_is_wrong_is_a_violation() {
    both(|mut end| {
        assert_eq!(end.receive(0x88, &[3]), Err(ProtocolError::ClosePayloadTruncated));
        assert_eq!(end.written()[0].1[..2], 1002_u16.to_be_bytes());
    });
    both(|mut end| {
        assert_eq!(end.receive(0x88, b"\x03\xed"), Err(ProtocolError::InvalidCloseCode(1005)));
    });
    both(|mut end| {
        assert_eq!(end.receive(0x88, b"\x03\xe8\xff"), Err(ProtocolError::InvalidUtf8));
        assert_eq!(end.written()[0].1[..2], 1007_u16.to_be_bytes());
    });
}

/// What is under way when a connection ends does not stay in memory.
#[test]
fn the_end_frees_what_was_under_way() {
    const HALF: usize = if cfg!(miri) { 1_000 } else { 100_000 };
    both(|mut end| {
        assert_eq!(end.receive(0x02, &[1; HALF]), Ok(false));
        assert!(end.connection.bytes_held() >= HALF);
        assert_eq!(end.receive(0x88, b""), Ok(true));
        assert_eq!(end.connection.bytes_held(), 0);
    });
    both(|mut end| {
        assert_eq!(end.receive(0x02, &[1; HALF]), Ok(false));
        assert_eq!(end.receive(0x82, b""), Err(ProtocolError::MessageInterleaved));
        assert_eq!(end.connection.bytes_held(), 0);
    });
}

/// "A message that arrives whole is a slice of the bytes you passed in."
#[test]
fn a_whole_message_is_borrowed_from_the_input() {
    let mut codec = Codec::server(Limits::default());
    let mut connection = Connection::new();
    for payload in [&b"short"[..], &[b'x'; LONG]] {
        for first in [0x81, 0x82, 0x89] {
            if first == 0x89 && payload.len() > 125 {
                continue;
            }
            let mut bytes = frame(Role::Server, first, payload);
            let range = bytes.as_ptr_range();
            let mut input = &mut bytes[..];
            let event = connection.receive(&mut codec, &mut input, &mut Vec::new());
            let borrowed = match event {
                Ok(Some(Event::Message(message))) => message.as_bytes(),
                Ok(Some(Event::Ping(payload))) => payload,
                other => panic!("{other:?}"),
            };
            assert_eq!(borrowed, payload);
            assert!(range.contains(&borrowed.as_ptr()), "copied");
        }
    }
}

/// What is lent with its frame: long messages that come whole in one frame, to a server that asks.
#[test]
fn long_messages_are_lent_with_their_frames() {
    let long = [b'x'; LONG];
    let is_framed = |codec: Codec, connection: Connection, bytes: &[u8]| {
        let (mut codec, mut connection, mut bytes) = (codec, connection, bytes.to_vec());
        let mut input = &mut bytes[..];
        let mut out = Vec::new();
        let mut framed = false;
        while let Ok(Some(event)) = connection.receive(&mut codec, &mut input, &mut out) {
            if let Event::Framed(message, frame) = event {
                assert_eq!(message.as_bytes(), &frame[frame.len() - LONG..]);
                framed = true;
            }
        }
        assert!(input.is_empty() && out.is_empty());
        framed
    };
    let server = || Codec::server(Limits::default()).lend_frames_from(LONG);
    let new = Connection::new;
    for first in [0x81, 0x82] {
        let whole = frame(Role::Server, first, &long);
        assert!(is_framed(server(), new(), &whole));
        let behind = [frame(Role::Server, first, b"short"), whole.clone()].concat();
        assert!(is_framed(server(), new(), &behind));
        assert!(!is_framed(Codec::server(Limits::default()), new(), &whole), "nobody has asked");
        assert!(!is_framed(server(), new(), &frame(Role::Server, first, &long[1..])), "short");
        assert!(!is_framed(server(), new().streaming(), &whole), "in chunks");
        assert!(!is_framed(
            server(),
            new().allow_rsv1(),
            &frame(Role::Server, first | 0x40, &long)
        ));
        let last = [frame(Role::Server, first & 0x0f, b""), frame(Role::Server, 0x80, &long)];
        assert!(!is_framed(server(), new(), &last.concat()), "the last of two frames");
        let client = Codec::client(Limits::default(), [7; 32]).lend_frames_from(LONG);
        assert!(!is_framed(client, new(), &frame(Role::Client, first, &long)), "not masked");
    }
}

/// One codec for many connections: what one has under way is its own. (fastwebsockets#42: all
/// connections had one buffer for what they received, and a reader saw what was another's.)
#[test]
fn connections_that_share_a_codec_do_not_mix() {
    let mut codec = Codec::server(Limits::default());
    let mut connections: Vec<_> = (0..20_u8).map(|_| Connection::new()).collect();
    let streams: Vec<Vec<u8>> = (0..20_u8)
        .map(|n| {
            let text = format!("{n} \u{1f41f}").repeat(usize::from(n) + 1);
            let (head, tail) = text.as_bytes().split_at(3);
            [frame(Role::Server, 0x01, head), frame(Role::Server, 0x80, tail)].concat()
        })
        .collect();
    let longest = streams.iter().map(Vec::len).max().expect("some");
    let mut texts = vec![String::new(); 20];
    for at in 0..longest {
        for (n, stream) in streams.iter().enumerate() {
            let Some(byte) = stream.get(at) else { continue };
            let mut byte = [*byte];
            let event = connections[n].receive(&mut codec, &mut &mut byte[..], &mut Vec::new());
            if let Ok(Some(Event::Message(message))) = event {
                texts[n] = message.as_text().expect("text").into();
            } else {
                assert_eq!(event, Ok(None));
            }
        }
    }
    for (n, text) in texts.iter().enumerate() {
        assert_eq!(*text, format!("{n} \u{1f41f}").repeat(n + 1));
    }
}

/// The seam for permessage-deflate: RSV1 on the first frame alone, and no UTF-8 check.
#[test]
fn rsv1_where_it_was_negotiated() {
    let stream = [
        frame(Role::Server, 0xC1, b"\xff\xfe"),
        frame(Role::Server, 0x42, &[1]),
        frame(Role::Server, 0x80, &[2]),
        frame(Role::Server, 0x81, b"plain"),
        frame(Role::Server, 0x01, b"x"),
        frame(Role::Server, 0xC0, b"y"),
    ]
    .concat();
    let mut allowed = setup(Role::Server);
    allowed.rsv1 = true;
    let outcome = run_whole(allowed, &stream);
    assert_eq!(
        outcome.events,
        [
            Seen::Extension(DataKind::Text, vec![0xFF, 0xFE]),
            Seen::Extension(DataKind::Binary, vec![1, 2]),
            Seen::Message(DataKind::Text, b"plain".into()),
        ]
    );
    assert_eq!(outcome.error, Some(ProtocolError::ReservedBits));
    let outcome = run_whole(setup(Role::Server), &stream);
    assert_eq!((outcome.events, outcome.error), (vec![], Some(ProtocolError::ReservedBits)));
}

/// The answers of a client are masked with keys of their own.
#[test]
fn a_client_masks_what_it_answers_by_itself() {
    let mut end = End::new(Role::Client);
    assert_eq!(end.receive(0x89, b"ping"), Ok(true));
    assert_eq!(end.receive(0x89, b"ping"), Ok(true));
    let (one, other) = end.out.split_at(10);
    assert_ne!(one[2..6], other[2..6], "two frames, two keys");
    assert_ne!(one[2..6], KEY);
    assert_eq!(end.written(), [(0x8A, b"ping".to_vec()), (0x8A, b"ping".to_vec())]);
}
