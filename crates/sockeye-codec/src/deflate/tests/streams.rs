//! Messages that are inflated while they arrive.

use super::{Deflate, DeflateConfig, End, Inflater, agreed, no_takeover, prose, takeover};
use crate::{Chunk, Codec, Connection, DataKind, Event, Limits, Message, ProtocolError, Role};

/// Both ends of a connection whose server gets its messages in chunks.
struct Pair {
    client: End,
    connection: Connection,
    codec: Codec,
    deflate: Deflate,
}

impl Pair {
    fn new(config: &DeflateConfig, limits: Limits) -> Self {
        Self {
            client: End::new(Role::Client, config, Limits::default()),
            connection: Connection::new().streaming().allow_rsv1(),
            codec: Codec::server(limits),
            deflate: Deflate::new(&agreed(config), Role::Server),
        }
    }

    /// Feeds so many bytes at a time: the pieces that come out, and whether the message has ended.
    fn feed(
        &mut self,
        inflater: &mut Inflater,
        bytes: &[u8],
        at_a_time: usize,
    ) -> Result<(Vec<u8>, bool), ProtocolError> {
        let (mut message, mut ended) = (Vec::new(), false);
        for read in bytes.chunks(at_a_time) {
            let mut read = read.to_vec();
            let (mut input, mut out) = (&mut read[..], Vec::new());
            while let Some(event) =
                self.connection.receive(&mut self.codec, &mut input, &mut out).unwrap()
            {
                let mut chunk = match event {
                    Event::ExtensionChunk(chunk) => chunk,
                    // Sent as it is.
                    Event::Chunk(chunk) => {
                        message.extend_from_slice(chunk.payload);
                        ended = chunk.last;
                        continue;
                    }
                    event => panic!("{event:?}"),
                };
                while let Some(piece) = self.deflate.inflate_chunk(inflater, &mut chunk)? {
                    assert!(piece.payload.len() <= 16 << 10, "{}", piece.payload.len());
                    assert_eq!(piece.first, message.is_empty() && !ended);
                    assert!(!ended, "nothing comes behind the last piece");
                    message.extend_from_slice(piece.payload);
                    ended = piece.last;
                }
            }
        }
        Ok((message, ended))
    }
}

#[test]
fn messages_come_out_whole_however_they_arrive() {
    for config in [takeover(), no_takeover()] {
        for at_a_time in [1, 7, 1_000, usize::MAX] {
            let mut pair = Pair::new(&config, Limits::default());
            let mut inflater = Inflater::new(&Limits::default());
            for (seed, len) in [(1, 50_000), (2, 20), (1, 500), (3, 200_000), (1, 16 << 10)] {
                let text = prose(seed, len);
                let text = std::str::from_utf8(&text).unwrap();
                let frame = pair.client.encode(Message::Text(text));
                let (message, ended) = pair.feed(&mut inflater, &frame, at_a_time).unwrap();
                assert!(ended && message == text.as_bytes(), "{seed} {len} {at_a_time}");
            }
            let window = if config.client_context_takeover { 1 << 15 } else { 0 };
            assert_eq!(pair.deflate.window_bytes(), window);
            // The short one leaves as it is, where no context has seen it.
            let inflated = if config.client_context_takeover { 5 } else { 4 };
            assert_eq!(inflater.counts().messages, inflated);
        }
    }
}

#[test]
fn the_limit_is_exact_and_text_is_checked() {
    let limits = Limits { message_bytes_max: 70_000, ..Limits::default() };
    for (len, at_a_time) in [(70_000, 1), (70_001, 1), (70_000, 999), (70_001, 999)] {
        let mut pair = Pair::new(&takeover(), limits);
        let mut inflater = Inflater::new(&limits);
        let frame = pair.client.encode(Message::Binary(&vec![1; len]));
        let result = pair.feed(&mut inflater, &frame, at_a_time).map(|(message, _)| message.len());
        let expected = if len == 70_000 { Ok(len) } else { Err(ProtocolError::MessageTooLarge) };
        assert_eq!(result, expected);
    }
    for bad in [&b"\xff"[..], b"\xe2\x82"] {
        let mut pair = Pair::new(&takeover(), limits);
        let mut inflater = Inflater::new(&limits);
        let mut text = prose(1, 30_000);
        text.extend_from_slice(bad);
        let mut frame = pair.client.encode(Message::Binary(&text));
        frame[0] = 0xc1;
        assert_eq!(pair.feed(&mut inflater, &frame, 500), Err(ProtocolError::InvalidUtf8));
    }
}

#[test]
fn blocks_with_bfinal_and_broken_ends() {
    let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let mut inflater = Inflater::new(&Limits::default());
    let mut inflate = |payload: &[u8]| {
        let mut deflate = Deflate::new(&agreed(&no_takeover()), Role::Server);
        let mut message = Vec::new();
        for (n, byte) in payload.iter().enumerate() {
            let (first, last) = (n == 0, n + 1 == payload.len());
            let mut chunk = Chunk { kind: DataKind::Text, payload: &[*byte], first, last };
            while let Some(piece) = deflate.inflate_chunk(&mut inflater, &mut chunk)? {
                message.extend_from_slice(piece.payload);
            }
        }
        Ok(String::from_utf8(message).unwrap())
    };
    let whole = [&hello[..], &again].concat();
    assert_eq!(inflate(&whole).as_deref(), Ok("HelloHello"));
    assert_eq!(inflate(&hello).as_deref(), Ok("Hello"));
    assert_eq!(inflate(&[&hello[..], &[0]].concat()).as_deref(), Ok("Hello"));
    assert_eq!(inflate(&whole[..9]), Err(ProtocolError::InvalidDeflate));
    assert_eq!(inflate(&hello[..5]), Err(ProtocolError::InvalidDeflate));
    let many = [0x03, 0x00].repeat(300);
    assert_eq!(inflate(&many), Err(ProtocolError::TooManyFinalBlocks));
}

/// Whole messages and streams of other connections go between the chunks; the number of streams is
/// bounded, and one that ends or is dropped makes room.
#[test]
fn streams_have_inflaters_of_their_own_and_a_limit() {
    let mut inflater = Inflater::new(&Limits::default()).streams_max(2);
    let mut pairs: Vec<_> = (0..3).map(|_| Pair::new(&takeover(), Limits::default())).collect();
    let text = prose(9, 40_000);
    let frames: Vec<_> =
        pairs.iter_mut().map(|pair| pair.client.encode(Message::Binary(&text))).collect();
    let half = frames[0].len() / 2;
    let mut first = pairs[0].feed(&mut inflater, &frames[0][..half], 100).unwrap().0;
    pairs[1].feed(&mut inflater, &frames[1][..half], 100).unwrap();
    let full = pairs[2].feed(&mut inflater, &frames[2], 100).unwrap_err();
    assert_eq!((full, full.close_code().0), (ProtocolError::TooManyInflaters, 1013));

    let mut other = End::new(Role::Client, &takeover(), Limits::default());
    let mut whole = Deflate::new(&agreed(&takeover()), Role::Server);
    let frame = other.encode(Message::Binary(&text));
    let payload = super::payload(&frame, Role::Server).1;
    assert!(whole.inflate(&mut inflater, DataKind::Binary, &payload).unwrap().as_bytes() == text);

    // The rest of the first is read without the flags that only its beginning had.
    let mut chunk = Chunk { kind: DataKind::Binary, payload: &[], first: false, last: false };
    let rest = {
        let (header, len) = crate::FrameHeader::parse(&frames[0], Role::Server).unwrap().unwrap();
        let mut rest = frames[0][half..].to_vec();
        crate::mask::apply(&mut rest, header.masking_key.unwrap(), (half - len) % 4);
        rest
    };
    (chunk.payload, chunk.last) = (&rest, true);
    while let Some(piece) = pairs[0].deflate.inflate_chunk(&mut inflater, &mut chunk).unwrap() {
        first.extend_from_slice(piece.payload);
    }
    assert!(first == text);
    for pair in pairs.drain(..2) {
        drop(pair);
    }
    let mut pair = Pair::new(&takeover(), Limits::default());
    let frame = pair.client.encode(Message::Binary(&text));
    assert!(pair.feed(&mut inflater, &frame, 100).unwrap().1);
}
