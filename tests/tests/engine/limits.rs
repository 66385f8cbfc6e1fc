//! Every limit at its mark and one past it.

use sockeye::{Closed, Config, Error, ProtocolError, Refused, Server, Upgrade};
use sockeye_tests::peer::{BINARY, CLOSE, PING, PONG, Peer, REQUEST, TEXT, close_payload, masked};
use sockeye_tests::rig::{Rig, Seen, Session, Setup};

/// The first byte of a text message's first frame of several.
const TEXT_BEGINS: u8 = 0x01;
/// The first byte of a frame that goes on with a message.
const GOES_ON: u8 = 0x00;
/// The first byte of a message's last frame of several.
const ENDS: u8 = 0x80;

/// A connection on which these frames are one message and come back as one.
fn assert_echoes(rig: &Rig, frames: &[Vec<u8>], message: &[u8]) {
    let mut peer = rig.peer();
    peer.send(&frames.concat());
    let echo = peer.read_frame();
    assert_eq!(echo.payload.len(), message.len());
    assert_eq!(echo.payload, message);
    peer.close(1000);
}

/// A connection on which these frames go over a limit: close frame, FIN, no reset, no message.
fn assert_refused(rig: &Rig, frames: &[Vec<u8>], expected: ProtocolError) {
    let mut peer = rig.peer();
    peer.send(&frames.concat());
    assert_eq!(peer.read_close(), (1009, expected.reason().into()));
    peer.expect_end();
    drop(peer);
    loop {
        match rig.next() {
            Seen::Closed(_, Closed::ByPeer { .. }) => {} // an earlier one
            Seen::Closed(_, Closed::Protocol(error)) => return assert_eq!(error, expected),
            Seen::Closed(_, why) => panic!("{why:?}"),
            _ => {}
        }
    }
}

/// A message of `message_bytes_max` bytes, and one of a byte more: in one frame, in several, and in
/// lengths that the frame header writes in each of its three ways.
#[test]
fn message_bytes() {
    for max in [100, 125, 126, 1_000, 65_535, 65_536, 300_000] {
        let rig = Setup::new().config(|config| config.message_bytes_max = max).start();
        let payload = vec![b'x'; max + 1];
        let (fits, over) = (&payload[..max], &payload[..]);
        assert_echoes(&rig, &[masked(TEXT, fits)], fits);
        assert_echoes(&rig, &[masked(BINARY, fits)], fits);
        let begin = masked(TEXT_BEGINS, &payload[..60]);
        let middle = masked(GOES_ON, &payload[60..90]);
        let (end, long_end) = (masked(ENDS, &fits[90..]), masked(ENDS, &over[90..]));
        assert_echoes(&rig, &[begin.clone(), middle.clone(), end], fits);
        for frames in [
            vec![masked(TEXT, over)],
            vec![masked(BINARY, over)],
            vec![begin.clone(), middle.clone(), long_end],
            // At the mark, and then one byte more in a frame that does not even end the message.
            vec![masked(TEXT_BEGINS, fits), masked(GOES_ON, b""), masked(GOES_ON, b"x")],
        ] {
            assert_refused(&rig, &frames, ProtocolError::MessageTooLarge);
        }
        rig.wait_for(|stats| stats.connections == 0);
        let stats = rig.handle().stats();
        assert_eq!((stats.messages_received, stats.protocol_errors), (3, 4));
    }
}

/// The limit counts for each message, not for all of a connection.
#[test]
fn message_bytes_count_anew_for_each_message() {
    let rig = Setup::new().config(|config| config.message_bytes_max = 1_000).start();
    let mut peer = rig.peer();
    for _ in 0..5 {
        peer.send_frame(TEXT_BEGINS, &[b'x'; 600]);
        peer.send_frame(PING, &[b'p'; 125]);
        peer.send_frame(ENDS, &[b'x'; 400]);
        assert_eq!(peer.read_frame().first, PONG);
        assert_eq!(peer.read_text(), "x".repeat(1_000));
    }
    peer.close(1000);
}

/// A streaming connection hands out what fits; the frame that goes over the limit is refused by
/// its header.
#[test]
fn message_bytes_in_streaming_mode() {
    let rig = Setup::new()
        .config(|config| config.message_bytes_max = 1_000)
        .upgrade(|_| Upgrade::accept(Session::default()).streaming())
        .start();
    let mut peer = rig.peer();
    peer.send(&masked(TEXT, &[b'x'; 1_000]));
    peer.send(&[masked(TEXT_BEGINS, &[b'x'; 999]), masked(ENDS, b"xx")].concat());
    assert_eq!(peer.read_close(), (1009, "message too large".into()));
    peer.expect_end();
    let mut bytes = 0;
    let why = rig.skip_to(|seen| match seen {
        Seen::Chunk(payload, ..) => {
            bytes += payload.len();
            None
        }
        Seen::Closed(_, why) => Some(why),
        _ => None,
    });
    assert!(matches!(why, Closed::Protocol(ProtocolError::MessageTooLarge)), "{why:?}");
    assert_eq!(bytes, 1_999);
}

/// A frame of `frame_bytes_max` bytes, and one of a byte more.
#[test]
fn frame_bytes() {
    for max in [100, 1_000, 70_000] {
        let rig = Setup::new().config(|config| config.frame_bytes_max = max).start();
        let payload = vec![b'x'; 2 * max];
        let (fits, over) = (&payload[..max], &payload[..=max]);
        assert_echoes(&rig, &[masked(TEXT, fits)], fits);
        assert_echoes(&rig, &[masked(TEXT_BEGINS, fits), masked(ENDS, fits)], &payload);
        for frames in
            [vec![masked(BINARY, over)], vec![masked(TEXT_BEGINS, fits), masked(ENDS, over)]]
        {
            assert_refused(&rig, &frames, ProtocolError::FrameTooLarge);
        }
    }
}

/// A message of `fragments_per_message_max` frames, empty ones counted, and one of a frame more.
/// Control frames between them do not count.
#[test]
fn fragments_per_message() {
    let rig = Setup::new().config(|config| config.fragments_per_message_max = 4).start();
    let (empty, ping) = (masked(GOES_ON, b""), masked(PONG, b"not asked for"));
    let begin = masked(TEXT_BEGINS, b"a");
    let fits = [
        begin.clone(),
        ping.clone(),
        empty.clone(),
        ping,
        masked(GOES_ON, b"b"),
        masked(ENDS, b"c"),
    ];
    assert_echoes(&rig, &fits, b"abc");
    let all_empty = [masked(TEXT_BEGINS, b""), empty.clone(), empty.clone(), masked(ENDS, b"")];
    assert_echoes(&rig, &all_empty, b"");
    for fifth in [masked(ENDS, b"e"), masked(ENDS, b""), empty.clone()] {
        let over = [begin.clone(), empty.clone(), empty.clone(), empty.clone(), fifth];
        assert_refused(&rig, &over, ProtocolError::TooManyFragments);
    }
}

/// One frame is a message even where more are not allowed.
#[test]
fn one_fragment_per_message() {
    let rig = Setup::new().config(|config| config.fragments_per_message_max = 1).start();
    assert_echoes(&rig, &[masked(TEXT, b"whole")], b"whole");
    let over = [masked(TEXT_BEGINS, b"a"), masked(ENDS, b"")];
    assert_refused(&rig, &over, ProtocolError::TooManyFragments);
}

/// The header of a frame of 2^62 bytes.
fn vast_frame() -> Vec<u8> {
    [&[BINARY, 0xFF][..], &(1_u64 << 62).to_be_bytes(), &[1, 2, 3, 4]].concat()
}

/// A declared length over the limit is refused before a byte of the payload has come.
#[test]
fn a_vast_length_is_refused_at_once() {
    let rig = Rig::echo();
    assert_refused(&rig, &[vast_frame()], ProtocolError::FrameTooLarge);
}

/// A declared length alone reserves nothing: with the limits off, 2^62 bytes are begun to be
/// received, and the shard serves others meanwhile.
#[test]
fn a_vast_length_reserves_nothing() {
    let rig = Setup::new()
        .config(|config| {
            config.message_bytes_max = usize::MAX;
            config.frame_bytes_max = usize::MAX;
        })
        .start();
    let mut vast = rig.peer();
    vast.send(&vast_frame());
    assert_echoes(&rig, &[masked(TEXT, b"others")], b"others");
    vast.send(&[7; 100_000]);
    assert_echoes(&rig, &[masked(TEXT, b"others")], b"others");
    vast.shutdown_write();
    vast.expect_end();
    let why = rig.skip_to(|seen| match seen {
        Seen::Closed(_, Closed::ByPeer { .. }) => None,
        Seen::Closed(_, why) => Some(why),
        _ => None,
    });
    assert!(matches!(why, Closed::Lost(None)), "{why:?}");
}

/// Pings, pongs and close frames carry 125 bytes; one more is the peer's fault, or refused.
#[test]
fn control_frames() {
    let setup = Setup::new();
    let note = setup.notes();
    let rig = setup
        .message(move |ctx, _| {
            assert_eq!(ctx.ping(&[b'x'; 126]), Err(Refused::ControlFrame));
            assert_eq!(ctx.ping(&[b'x'; 125]), Ok(()));
            note("one refused".into());
        })
        .start();
    let mut peer = rig.peer();
    peer.send_frame(PING, &[b'p'; 125]);
    let pong = peer.read_frame();
    assert_eq!((pong.first, pong.payload), (PONG, vec![b'p'; 125]));
    peer.send_frame(PONG, &[b'p'; 125]);
    peer.send_frame(TEXT, b"");
    let ping = peer.read_frame();
    assert_eq!((ping.first, ping.payload), (PING, vec![b'x'; 125]));
    assert_eq!(rig.next_note(), "one refused");
    peer.send_frame(CLOSE, &close_payload(1000, &"x".repeat(123)));
    assert_eq!(peer.read_close().0, 1000);
    peer.expect_end();
    for first in [PING, PONG, CLOSE] {
        let mut peer = rig.peer();
        peer.send_frame(first, &close_payload(1000, &"x".repeat(124)));
        assert_eq!(peer.read_close(), (1002, "control frame longer than 125 bytes".into()));
        peer.expect_end();
    }
}

/// Once this is back, the shard has had a turn after all that was sent before.
fn barrier(peer: &mut Peer) {
    for _ in 0..2 {
        peer.send_frame(TEXT, b"barrier");
        assert_eq!(peer.read_text(), "barrier");
    }
}

/// Where `connections_per_shard_max` connections are there, the next ones wait to be accepted; they
/// are served as others leave.
#[test]
fn connections_per_shard() {
    let rig = Setup::new().config(|config| config.connections_per_shard_max = 2).start();
    let (first, mut second) = (rig.peer(), rig.peer());
    let mut waiting: Vec<_> = (0..3).map(|_| Peer::tcp(rig.address)).collect();
    for peer in &mut waiting {
        peer.send(REQUEST.as_bytes());
    }
    barrier(&mut second);
    assert_eq!(rig.handle().stats().accepted, 2);
    assert!(!waiting.iter().any(Peer::has_input), "nobody has answered");
    first.close(1000);
    let mut served = 2;
    for mut peer in waiting {
        assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
        barrier(&mut peer);
        barrier(&mut second);
        served += 1;
        assert_eq!(rig.handle().stats().accepted, served, "one came where one left");
        peer.close(1000);
    }
    second.close(1000);
    rig.wait_for(|stats| stats.connections == 0);
}

/// The smallest buffers and budgets make a server slow, not wrong.
#[test]
fn smallest_buffers_and_budgets() {
    let rig = Setup::new()
        .config(|config| {
            config.receive_buffer_bytes = 1;
            config.receive_bytes_per_turn_max = 1;
            config.accepts_per_turn_max = 1;
            config.spare_bytes_max = 0;
        })
        .start();
    let mut peers: Vec<_> = (0..8).map(|_| Peer::tcp(rig.address)).collect();
    let text = "h\u{e9}llo ".repeat(200);
    for peer in &mut peers {
        peer.send(&[REQUEST.as_bytes(), &masked(TEXT, text.as_bytes())].concat());
    }
    for mut peer in peers {
        assert!(peer.read_head().starts_with("HTTP/1.1 101 "));
        assert_eq!(peer.read_text(), text);
        peer.send(
            &[masked(TEXT_BEGINS, b"in "), masked(PING, b"p"), masked(ENDS, b"two")].concat(),
        );
        let pong = peer.read_frame();
        assert_eq!((pong.first, pong.payload), (PONG, b"p".to_vec()));
        assert_eq!(peer.read_text(), "in two");
        peer.close(1000);
    }
}

/// What is done to the default configuration.
type Change = fn(&mut Config);

/// Each setting that makes no sense is refused with one line that names it, by `check` and by the
/// server.
#[test]
fn nonsense_is_refused_by_name() {
    let set: [(&str, Change); 18] = [
        ("message_bytes_max", |config| config.message_bytes_max = 0),
        ("frame_bytes_max", |config| config.frame_bytes_max = 0),
        ("fragments_per_message_max", |config| config.fragments_per_message_max = 0),
        ("handshake_head_bytes_max", |config| config.handshake_head_bytes_max = 0),
        ("handshake_headers_max", |config| config.handshake_headers_max = 0),
        ("handshake_headers_max", |config| config.handshake_headers_max = 129),
        ("handshake_timeout_ms", |config| config.handshake_timeout_ms = 0),
        ("close_timeout_ms", |config| config.close_timeout_ms = 0),
        ("backlog_bytes_max", |config| config.backlog_bytes_max = 0),
        ("backlog_low_bytes", |config| config.backlog_low_bytes = config.backlog_bytes_max),
        ("connections_per_shard_max", |config| config.connections_per_shard_max = 0),
        ("listen_backlog", |config| config.listen_backlog = 0),
        ("accepts_per_turn_max", |config| config.accepts_per_turn_max = 0),
        ("receive_buffer_bytes", |config| config.receive_buffer_bytes = 0),
        ("receive_bytes_per_turn_max", |config| config.receive_bytes_per_turn_max = 0),
        ("mailbox_max", |config| config.mailbox_max = 0),
        ("ping_interval_ms", |config| config.ping_interval_ms = config.idle_timeout_ms),
        ("idle_timeout_ms", |config| config.idle_timeout_ms = 1),
    ];
    for (name, change) in set {
        let mut config = Config::default();
        change(&mut config);
        let by_check = config.check().unwrap_err();
        let server = Server::bind("127.0.0.1:0").unwrap().config(config);
        let by_build = server.build().unwrap_err();
        for error in [by_check, by_build] {
            let line = error.to_string();
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(line.contains(name) && !line.contains('\n'), "{name}: {line}");
        }
    }
}

/// What is unusual but makes sense passes.
#[test]
fn sense_is_accepted() {
    let sensible: [Change; 6] = [
        |_| {},
        |config| config.ping_interval_ms = 0,
        |config| config.idle_timeout_ms = 0,
        |config| (config.ping_interval_ms, config.idle_timeout_ms) = (1, 2),
        |config| (config.backlog_low_bytes, config.backlog_bytes_max) = (0, 1),
        |config| config.handshake_headers_max = 128,
    ];
    for change in sensible {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap();
    }
}
