//! Single messages: the examples of the RFC, what is compressed and what is not, what is no
//! compressed message.

use zlib_rs::{Deflate as Zlib, DeflateFlush};

use super::{
    Compressor, Deflate, DeflateConfig, End, agreed, no_takeover, noise, payload, prose, reference,
    takeover,
};
use crate::deflate::Inflater;
use crate::{DataKind, Limits, Message, ProtocolError, Role};

/// Inflates payloads of text one after the other, on one connection of a server with takeover.
fn inflate_all(payloads: &[&[u8]]) -> Result<Vec<String>, ProtocolError> {
    let mut inflater = Inflater::new(&Limits::default());
    let mut deflate = Deflate::new(&agreed(&takeover()), Role::Server);
    payloads
        .iter()
        .map(|payload| {
            let message = deflate.inflate(&mut inflater, DataKind::Text, payload)?;
            Ok(message.as_text().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn the_examples_of_the_rfc() {
    // Section 7.2.3.1, 7.2.3.2 (the second refers to the first), 7.2.3.3, 7.2.3.4, 7.2.3.5.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    let bfinal = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflate_all(&[&hello, &again]).unwrap(), ["Hello", "Hello"]);
    assert_eq!(inflate_all(&[&hello, &hello, &again]).unwrap(), ["Hello"; 3]);
    assert_eq!(inflate_all(&[stored, &again]).unwrap(), ["Hello"; 2]);
    assert_eq!(inflate_all(&[&bfinal, &again]).unwrap(), ["Hello"; 2]);
    assert_eq!(inflate_all(&[&two_blocks, &again]).unwrap(), ["Hello"; 2]);
    // Section 7.2.3.6: an empty message.
    assert_eq!(
        inflate_all(&[&[0x00], &hello, &[0x00], &again]).unwrap(),
        ["", "Hello", "", "Hello"]
    );
}

#[test]
fn blocks_with_bfinal_in_every_place() {
    let bfinal = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..];
    let again = &[0xf2, 0x00, 0x11, 0x00, 0x00][..];
    // Alone: what the sender has left out behind it has no meaning.
    assert_eq!(inflate_all(&[bfinal, again]).unwrap(), ["Hello"; 2]);
    // One behind the other, and referring to one another across the message's blocks.
    let two = [bfinal, bfinal].concat();
    assert_eq!(inflate_all(&[&two, again]).unwrap(), ["HelloHello", "Hello"]);
    let refers = [bfinal, again].concat();
    assert_eq!(inflate_all(&[&refers, again]).unwrap(), ["HelloHello", "Hello"]);
    // The empty block that was cut off the end is itself the one with BFINAL.
    let ends = [&bfinal[..6], &[0x00, 0x01]].concat();
    assert_eq!(inflate_all(&[&ends, again]).unwrap(), ["Hello"; 2]);
    // Each costs us more than the peer: there may be 256.
    let empty = [0x03, 0x00];
    assert_eq!(inflate_all(&[&empty.repeat(257)]).unwrap(), [""]);
    let error = inflate_all(&[&empty.repeat(258)]).unwrap_err();
    assert_eq!((error, error.close_code().0), (ProtocolError::TooManyFinalBlocks, 1009));
}

#[test]
fn what_is_no_compressed_message_is_refused() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let refused = |payload: &[u8]| {
        let error = inflate_all(&[payload]).unwrap_err();
        assert_eq!((error, error.close_code().0), (ProtocolError::InvalidDeflate, 1007));
    };
    refused(&[]);
    // Cut off anywhere.
    (1..hello.len()).for_each(|len| refused(&hello[..len]));
    // With what the sender should have taken off, once and twice, and with what never belonged.
    let tail = [0x00, 0x00, 0xff, 0xff];
    refused(&[&hello[..], &tail].concat());
    refused(&[&hello[..], &tail, &[0x00], &tail].concat());
    refused(&[&hello[..], &[0x17]].concat());
    refused(&[&hello[..], b"trailing"].concat());
    // A reserved block type, a length that does not agree, a reference to before the beginning.
    refused(&[0x07]);
    refused(&[0x00, 0x05, 0x00, 0x00, 0x00, 0x48]);
    refused(&[0xf2, 0x00, 0x11, 0x00, 0x00]);
    // A stored block that would swallow the four bytes, and the check behind them.
    refused(&[0x00, 0x04, 0x00, 0xfb, 0xff]);
    refused(&[0x00, 0x09, 0x00, 0xf6, 0xff]);
    refused(&[0x01, 0x09, 0x00, 0xf6, 0xff]);
    for seed in 0..2_000 {
        // Never a panic or a loop; most of it is no DEFLATE.
        let _ = inflate_all(&[&noise(seed, seed as usize % 50), &noise(seed + 1, 300)]);
    }
}

#[test]
fn text_must_be_utf8_and_is_checked_across_steps() {
    let mut server = End::new(Role::Server, &takeover(), Limits::default());
    let mut client = End::new(Role::Client, &takeover(), Limits::default());
    // A character on each side of every step that the buffer grows by.
    let long = "\u{20ac}".repeat(100_000);
    let frame = client.encode(Message::Text(&long));
    assert_eq!(server.receive(&frame), (vec![(DataKind::Text, long.into_bytes())], None));
    for bad in [&b"\xff"[..], b"abc\xe2\x82", b"\xc0\x80", b"\xed\xa0\x80"] {
        for before in [100, 4_095, 4_096, 4_097, 70_000] {
            let mut text = prose(3, before);
            text.extend_from_slice(bad);
            let mut client = End::new(Role::Client, &takeover(), Limits::default());
            let mut server = End::new(Role::Server, &takeover(), Limits::default());
            let mut frame = client.encode(Message::Binary(&text));
            // The same bytes, said to be text.
            assert_eq!(frame[0], 0xc2);
            frame[0] = 0xc1;
            assert_eq!(server.receive(&frame).1, Some(ProtocolError::InvalidUtf8));
        }
    }
}

#[test]
fn short_empty_and_incompressible_messages_leave_as_they_are() {
    let config = DeflateConfig { compress_bytes_min: 100, ..DeflateConfig::default() };
    for config in [config, DeflateConfig { server_context_takeover: true, ..config }] {
        let mut server = End::new(Role::Server, &config, Limits::default());
        let first = |frame: Vec<u8>| frame[0];
        assert_eq!(first(server.encode(Message::Binary(&prose(1, 99)))), 0x82);
        assert_eq!(first(server.encode(Message::Binary(&prose(1, 100)))), 0xc2);
        assert_eq!(first(server.encode(Message::Text(""))), 0x81);
        assert_eq!(server.compressor.counts().messages, 1);
        // What a context has seen leaves compressed, or the peer's window would be another.
        let expected = if config.server_context_takeover { 0xc2 } else { 0x82 };
        assert_eq!(first(server.encode(Message::Binary(&noise(1, 5_000)))), expected);
    }
    let mut server = End::new(Role::Server, &takeover(), Limits::default());
    assert_eq!(server.encode(Message::Text("")), [0x81, 0x00]);
}

/// Every window, level and memory level, at every size: what we write a simple inflater reads, and
/// nothing in it refers further back than was agreed.
#[test]
fn no_window_is_exceeded() {
    let mut runs = 0;
    for window_bits in 8..=15 {
        for (level, memory_level) in [(1, 8), (2, 1), (4, 9), (6, 8), (9, 9), (6, 1)] {
            let config = DeflateConfig {
                server_max_window_bits: window_bits,
                level,
                memory_level,
                ..takeover()
            };
            let mut server = End::new(Role::Server, &config, Limits::default());
            let mut history = Vec::new();
            for (seed, len) in [(1, 1_000), (2, 1), (1, 40_000), (3, 300), (1, 2_000)] {
                let message = prose(seed, len);
                let frame = server.encode(Message::Binary(&message));
                let (header, payload) = payload(&frame, Role::Client);
                assert!(header.rsv1);
                let (inflated, furthest) = reference::inflate(&history, &payload).unwrap();
                assert!(inflated == message, "{window_bits} {level} {memory_level} {len}");
                assert!(furthest <= 1 << window_bits, "{furthest} of {window_bits} bits");
                history.extend(message);
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 8 * 6 * 5);
}

/// What other compressors make of a message, whole or flushed in its middle, we read.
#[test]
fn messages_of_another_compressor() {
    for window_bits in 9..=15 {
        let mut zlib = Zlib::new(6, false, window_bits);
        let config = DeflateConfig { client_max_window_bits: window_bits, ..takeover() };
        let mut deflate = Deflate::new(&agreed(&config), Role::Server);
        let mut inflater = Inflater::new(&Limits::default());
        for seed in 0..30 {
            let message = prose(seed % 4, 100 + 3_001 * (seed as usize % 11));
            let mut out = vec![0; 100_000];
            let (head, tail) = message.split_at(50);
            let from = zlib.total_out();
            zlib.compress(head, &mut out, DeflateFlush::FullFlush).unwrap();
            let middle = (zlib.total_out() - from) as usize;
            zlib.compress(tail, &mut out[middle..], DeflateFlush::SyncFlush).unwrap();
            let len = (zlib.total_out() - from) as usize;
            let payload = out[..len].strip_suffix(&[0, 0, 0xff, 0xff]).unwrap();
            let inflated = deflate.inflate(&mut inflater, DataKind::Binary, payload).unwrap();
            assert!(inflated.as_bytes() == message);
            assert!(deflate.window_bytes() <= 1 << window_bits);
        }
    }
}

#[test]
fn one_encoding_is_good_for_a_whole_class() {
    let config = no_takeover();
    let message = prose(5, 3_000);
    let mut compressor = Compressor::new(&config);
    let mut frame = Vec::new();
    let class = Deflate::new(&agreed(&config), Role::Server).class().unwrap();
    compressor.encode(class, Message::Binary(&message), None, &mut frame);
    for _ in 0..5 {
        let mut client = End::new(Role::Client, &config, Limits::default());
        for _ in 0..2 {
            let expected = vec![(DataKind::Binary, message.clone())];
            assert_eq!(client.receive(&frame), (expected, None));
        }
    }
    assert_eq!(compressor.counts().messages, 1);
    assert_eq!(Deflate::new(&agreed(&takeover()), Role::Server).class(), None);
}
