//! permessage-deflate, as peers see it that have a compressor of their own: what is echoed,
//! published and sent, in order, to connections that have agreed on different things.

use sockeye::{DeflateConfig, PreparedMessage, Upgrade};
use sockeye_codec::deflate::{Compressor, Deflate, Inflater, negotiate};
use sockeye_codec::{DataKind, Limits, Message, OpCode, Role};
use sockeye_tests::client::takeover;
use sockeye_tests::peer::{REQUEST, bytes_of, text_of};
use sockeye_tests::rig::{Seen, Session, Setup};

use crate::stage::Place;
use crate::world::{Id, World, frame, quiet, text};

const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A server that keeps contexts where the client lets it.
const WILLING: DeflateConfig = takeover(64);
const TAKEOVER: &str = "; client_max_window_bits";
const SHARED: &str = "; server_no_context_takeover; client_no_context_takeover";
const SHARED_SMALL: &str = "; server_no_context_takeover; server_max_window_bits=9";
const TINY: &str = "; server_max_window_bits=8; client_max_window_bits=9";

fn willing() -> Setup {
    quiet().config(|config| {
        config.deflate = Some(WILLING);
        config.deflate_idle_ms = 0;
    })
}

/// A peer with a compressor.
struct Peer {
    id: Id,
    deflate: Option<Deflate>,
    compressor: Compressor,
    inflater: Inflater,
}

impl Peer {
    /// Opens a connection with this offer, which the server accepts as the codec does; `None`: with
    /// none at all.
    fn open(world: &mut World, offer: Option<&str>) -> Self {
        Self::ask(world, "/", offer, offer.is_some())
    }

    fn ask(world: &mut World, path: &str, offer: Option<&str>, is_accepted: bool) -> Self {
        let offer = offer.map(|parameters| format!("permessage-deflate{parameters}"));
        let line = offer.as_ref().map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let request = REQUEST.replacen("GET / ", &format!("GET {path} "), 1);
        let request = request.replacen("Upgrade: ", &(line.unwrap_or_default() + "Upgrade: "), 1);
        let id = world.connect();
        world.send(id, request.as_bytes());
        let head = world.read_head(id);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let params = offer.filter(|_| is_accepted).map(|offer| {
            let params = negotiate([offer.as_bytes()], &WILLING).expect("an offer");
            let line = format!("\r\nSec-WebSocket-Extensions: {params}\r\n");
            assert!(head.contains(&line), "{head}");
            params
        });
        assert_eq!(head.contains("Sec-WebSocket-Extensions"), params.is_some(), "{head}");
        Self {
            id,
            deflate: params.map(|params| Deflate::new(&params, Role::Client)),
            compressor: Compressor::new(&WILLING),
            inflater: Inflater::new(&Limits { message_bytes_max: 64 << 20, ..Limits::default() }),
        }
    }

    fn send(&mut self, world: &mut World, message: Message<'_>) {
        let mut frame = Vec::new();
        match &mut self.deflate {
            Some(deflate) => {
                deflate.encode(&mut self.compressor, message, Some(MASKING_KEY), &mut frame);
            }
            None => sockeye_codec::encode::message(&mut frame, message, Some(MASKING_KEY)),
        }
        world.send(self.id, &frame);
    }

    /// The next message, and whether it came compressed.
    fn read(&mut self, world: &mut World) -> (Vec<u8>, bool) {
        let frame = world.read_frame(self.id);
        assert!(frame.fin);
        if !frame.rsv1 {
            return (frame.payload, false);
        }
        let kind = match frame.opcode {
            OpCode::Text => DataKind::Text,
            OpCode::Binary => DataKind::Binary,
            other => panic!("{other:?} with RSV1"),
        };
        let deflate = self.deflate.as_mut().expect("it was agreed on");
        let message = deflate.inflate(&mut self.inflater, kind, &frame.payload);
        (message.expect("what the server compresses").as_bytes().to_vec(), true)
    }

    fn expect(&mut self, world: &mut World, message: &str, is_compressed: bool) {
        let (bytes, compressed) = self.read(world);
        assert!(bytes == message.as_bytes(), "{} instead", String::from_utf8_lossy(&bytes));
        assert_eq!(compressed, is_compressed, "{message:.40}");
    }
}

/// A message that is long enough, and says which it is.
fn long(name: &str) -> String {
    format!("{name}: {}", name.repeat(200))
}

pub(crate) fn echoes_under_each_agreement(place: &Place) {
    let mut world = World::new(place, willing());
    for offer in [Some(TAKEOVER), Some(SHARED), Some(SHARED_SMALL), Some(TINY), Some(""), None] {
        let mut peer = Peer::open(&mut world, offer);
        for size in [0, 1, 63, 64, 1_000, 16 << 10, 70_000, 300_000, 64] {
            // What the server compresses ten times, and what it cannot.
            for (n, payload) in [b"tin fish ".repeat(size / 9 + 1), bytes_of(size + 1, 5)]
                .iter()
                .map(|bytes| &bytes[..size])
                .enumerate()
            {
                peer.send(&mut world, Message::Binary(payload));
                let (echo, compressed) = peer.read(&mut world);
                assert!(echo == payload, "{size} bytes under {offer:?}");
                if offer.is_none() || size < 64 {
                    assert!(!compressed, "{size} bytes under {offer:?}");
                } else if n == 0 {
                    assert!(compressed, "{size} bytes under {offer:?}");
                }
            }
            let text = text_of(size, 3);
            peer.send(&mut world, Message::Text(&text));
            assert!(peer.read(&mut world).0 == text.as_bytes());
        }
        world.take_record();
        world.close(peer.id, 1000);
    }
    let stats = world.stats();
    assert!(stats.messages_inflated > 50 && stats.messages_compressed > 50, "{stats:?}");
    assert!(stats.inflated_bytes_in < stats.inflated_bytes_out, "{stats:?}");
    assert!(stats.compressed_bytes_out < stats.compressed_bytes_in, "{stats:?}");
}

/// Messages under way together, plain ones among them, in pieces: each answer in its place.
pub(crate) fn windows_do_not_mix_on_the_wire(place: &Place) {
    let mut world = World::new(place, willing());
    let offers = [TAKEOVER, SHARED, SHARED_SMALL, TINY, TAKEOVER, ""];
    let mut peers: Vec<_> =
        offers.iter().map(|offer| Peer::open(&mut world, Some(offer))).collect();
    for round in 0..30 {
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.send(&mut world, Message::Text(&long(&format!("round {round} of {n}"))));
            if (round + n) % 3 == 0 {
                world.send(peer.id, &text(&format!("plain {round} of {n}")));
                world.send(peer.id, &frame(true, OpCode::Ping, b"between"));
            }
        }
        if round % 4 == 3 {
            for (n, peer) in peers.iter_mut().enumerate() {
                for round in round - 3..=round {
                    let message = long(&format!("round {round} of {n}"));
                    assert!(peer.read(&mut world) == (message.into_bytes(), true));
                    if (round + n) % 3 == 0 {
                        peer.expect(&mut world, &format!("plain {round} of {n}"), false);
                        assert_eq!(world.read_frame(peer.id).opcode, OpCode::Pong);
                    }
                }
            }
        }
    }
}

pub(crate) fn a_publication_is_compressed_once_for_each_class(place: &Place) {
    let setup = willing().open(|ctx| assert!(ctx.subscribe("all").expect("room"))).message(
        |ctx, message| {
            let name = message.as_text().expect("text").to_owned();
            // Before, between and behind publications; one of them is short.
            ctx.send(&long(&format!("{name} first")));
            ctx.publish("all", &long(&format!("{name} published"))).expect("room");
            ctx.publish("all", "short").expect("room");
            ctx.send(&long(&format!("{name} second")));
            ctx.send_uncompressed(&long(&format!("{name} as it is")));
            ctx.publish("all", &long(&format!("{name} again"))).expect("room");
            let prepared = PreparedMessage::new(&long(&format!("{name} prepared")));
            ctx.send_prepared(&prepared);
        },
    );
    let mut world = World::new(place, setup);
    let mut peers = Vec::new();
    for _ in 0..10 {
        for offer in [Some(SHARED), Some(SHARED_SMALL), None] {
            peers.push((Peer::open(&mut world, offer), offer.is_some()));
        }
    }
    for offer in [TAKEOVER, TAKEOVER, TINY] {
        peers.push((Peer::open(&mut world, Some(offer)), true));
    }
    // From another thread: one publication, two classes and three contexts.
    world.handle().publish("all", &long("from outside")).expect("room");
    for (peer, compressed) in &mut peers {
        peer.expect(&mut world, &long("from outside"), *compressed);
    }
    assert_eq!(world.stats().messages_compressed, 2 + 3);
    world.handle().publish("all", "too short").expect("room");
    for (peer, _) in &mut peers {
        peer.expect(&mut world, "too short", false);
    }
    assert_eq!(world.stats().messages_compressed, 2 + 3);

    // One of each kind speaks: it gets its own and the publications in the order of its callback.
    for n in [0, 1, 2, 30, 32] {
        let name = format!("peer {n}");
        world.send(peers[n].0.id, &text(&name));
        for (m, (peer, compressed)) in peers.iter_mut().enumerate() {
            let mut expect = |what: &str, compressed| {
                peer.expect(&mut world, &long(&format!("{name} {what}")), compressed);
            };
            if m == n {
                expect("first", *compressed);
            }
            expect("published", *compressed);
            peer.expect(&mut world, "short", false);
            let mut expect = |what: &str, compressed| {
                peer.expect(&mut world, &long(&format!("{name} {what}")), compressed);
            };
            if m == n {
                expect("second", *compressed);
                expect("as it is", false);
            }
            expect("again", *compressed);
            if m == n {
                expect("prepared", *compressed);
            }
        }
    }
    for (peer, _) in peers {
        world.close(peer.id, 1000);
    }
}

pub(crate) fn bombs_and_garbage_are_closed(place: &Place) {
    const LIMIT: usize = 100_000;
    let setup = willing().config(|config| config.message_bytes_max = LIMIT);
    let mut world = World::new(place, setup);
    let fails = |world: &mut World, offer, first: u8, payload: &[u8], code| {
        let peer = Peer::open(world, offer);
        let mut bytes = frame(true, OpCode::Binary, payload);
        bytes[0] = first;
        world.send(peer.id, &text("before"));
        world.send(peer.id, &bytes);
        assert_eq!(world.read_text(peer.id), "before");
        assert_eq!(world.read_close(peer.id).0, code, "{offer:?}");
        world.expect_end(peer.id);
    };
    for offer in [TAKEOVER, SHARED] {
        for (size, code) in [(LIMIT, None), (LIMIT + 1, Some(1009)), (50 << 20, Some(1009))] {
            let mut peer = Peer::open(&mut world, Some(offer));
            peer.send(&mut world, Message::Binary(&vec![b'x'; 5_000]));
            assert_eq!(peer.read(&mut world).0.len(), 5_000);
            peer.send(&mut world, Message::Binary(&vec![b'x'; size]));
            match code {
                None => assert_eq!(peer.read(&mut world).0.len(), size),
                Some(code) => {
                    assert_eq!(world.read_close(peer.id).0, code);
                    world.expect_end(peer.id);
                }
            }
        }
        fails(&mut world, Some(offer), 0xc2, b"garbage", 1007);
        fails(&mut world, Some(offer), 0xc2, b"", 1007);
        // "Hello" without its end; a character that is none.
        fails(&mut world, Some(offer), 0xc1, &[0xf2, 0x48, 0xcd, 0xc9], 1007);
        fails(&mut world, Some(offer), 0xc1, &[0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00], 1007);
        fails(&mut world, Some(offer), 0xc2, &[0x03, 0x00].repeat(300), 1009);
        fails(&mut world, Some(offer), 0xa2, b"RSV2", 1002);
    }
    fails(&mut world, None, 0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 1002);
}

pub(crate) fn idle_contexts_are_parked_and_begun_anew(place: &Place) {
    let setup = willing().config(|config| config.deflate_idle_ms = 400);
    let mut world = World::new(place, setup);
    let mut peer = Peer::open(&mut world, Some(TAKEOVER));
    let message = long("the same");
    for parked in 1..=3 {
        for _ in 0..3 {
            peer.send(&mut world, Message::Text(&message));
            peer.expect(&mut world, &message, true);
        }
        // What the peer may refer to stays, however long it is silent.
        world.wait_for_stats("it is parked", |stats| stats.contexts_parked == parked);
    }
    world.close(peer.id, 1000);
}

pub(crate) fn a_connection_may_do_without(place: &Place) {
    let setup = willing().upgrade(|request| match request.path() {
        "/plain" => Upgrade::accept(Session::default()).without_compression(),
        _ => Upgrade::accept(Session::default()),
    });
    let mut world = World::new(place, setup);
    let mut plain = Peer::ask(&mut world, "/plain", Some(TAKEOVER), false);
    let mut declined = Peer::ask(&mut world, "/", Some("; server_max_window_bits=16"), false);
    let mut other = Peer::open(&mut world, Some(TAKEOVER));
    for (peer, compressed) in [(&mut plain, false), (&mut declined, false), (&mut other, true)] {
        peer.send(&mut world, Message::Text(&long("hello")));
        peer.expect(&mut world, &long("hello"), compressed);
    }
}

pub(crate) fn streams_are_inflated_as_they_arrive(place: &Place) {
    const LIMIT: usize = 200_000;
    let setup = willing()
        .config(|config| {
            config.message_bytes_max = LIMIT;
            config.deflate_streams_max = 1;
        })
        .upgrade(|_| Upgrade::accept(Session::default()).streaming());
    let mut world = World::new(place, setup);
    for offer in [TAKEOVER, SHARED] {
        let mut peer = Peer::open(&mut world, Some(offer));
        world.next_open();
        for size in [10, 500, LIMIT] {
            let payload = b"tin fish ".repeat(LIMIT);
            peer.send(&mut world, Message::Binary(&payload[..size]));
            let (mut got, mut ended) = (Vec::new(), false);
            while !ended {
                let Seen::Chunk(piece, first, last) = world.next() else { panic!("not a chunk") };
                assert_eq!(first, got.is_empty());
                got.extend(piece);
                ended = last;
            }
            assert!(got == payload[..size], "{size}");
        }
        peer.send(&mut world, Message::Binary(&vec![1; LIMIT + 1]));
        assert_eq!(world.read_close(peer.id).0, 1009);
        world.expect_end(peer.id);
        while !matches!(world.next(), Seen::Closed(..)) {}
    }
    // One under way is all that there may be; it goes on while another is refused.
    let mut frames = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::open(&mut world, Some(TAKEOVER));
        world.next_open();
        let mut bytes = Vec::new();
        let deflate = peer.deflate.as_mut().expect("agreed");
        let payload = bytes_of(5_000, 1);
        let message = Message::Binary(&payload);
        deflate.encode(&mut peer.compressor, message, Some(MASKING_KEY), &mut bytes);
        world.send(peer.id, &bytes[..4_000]);
        frames.push((peer, bytes));
        if frames.len() == 1 {
            assert!(matches!(world.next(), Seen::Chunk(..)));
        }
    }
    assert_eq!(world.read_close(frames[1].0.id).0, 1013);
    world.send(frames[0].0.id, &frames[0].1[4_000..]);
    while !matches!(world.next(), Seen::Chunk(_, _, true)) {}
}
