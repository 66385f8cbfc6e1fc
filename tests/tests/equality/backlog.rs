//! Peers that do not read, and senders and receivers that hold back.

use sockeye::{Closed, Config, Ctx};
use sockeye_codec::OpCode;
use sockeye_tests::peer::bytes_of;
use sockeye_tests::rig::{Script, Seen, Setup};

use crate::orders::{FLOOD_BACKLOG_BYTES, expect_flood, flood, flood_message};
use crate::stage::Place;
use crate::world::{Id, World, close, quiet, text};

const MAX: usize = 1 << 20;
const LOW: usize = 16 << 10;

fn limits(config: &mut Config) {
    config.backlog_bytes_max = MAX;
    config.backlog_low_bytes = LOW;
}

/// The end of a connection that was closed for its backlog; the next entry of the record is of it.
fn expect_too_slow(world: &mut World, peer: Id) {
    assert_eq!(world.read_close(peer), (1013, "reads too slowly".into()));
    world.send(peer, &close(1013, ""));
    world.expect_end(peer);
    let why = world.next_closed();
    assert!(matches!(why, Closed::Backlog), "{why:?}");
}

/// All subscribe; the one that does not read gets what was published until its backlog was full,
/// and then its close frame. The others get everything.
pub(crate) fn who_never_reads_is_closed_and_others_are_served(place: &Place) {
    let setup = quiet().config(limits).open(|ctx| assert!(ctx.subscribe("t").expect("room")));
    let mut world = World::new(place, setup);
    let readers = [world.open(), world.open(), world.open()];
    let slow = world.open();
    world.set_reading(slow, false);
    for _ in readers {
        world.next_open();
    }
    let remote = world.next_open();
    let mut published = 0;
    let mut most = 0;
    while remote.is_open() || published < most + 3 {
        assert!(published < 5_000, "the limit holds");
        world.handle().publish("t", &flood_message(published)).expect("room");
        for reader in readers {
            expect_flood(&mut world, reader, published..published + 1);
            world.fence(reader);
        }
        published += 1;
        if remote.is_open() {
            most = published;
        }
    }
    world.take_record();
    assert_eq!((world.stats().backlog_overflows, world.stats().open), (1, 4));
    if let Some(most_bytes) = world.stage().wire_bytes_max() {
        assert!(most * flood_message(0).len() <= MAX + most_bytes, "{most} messages waited");
    }
    // The one that went over the limit is there, too.
    world.set_reading(slow, true);
    expect_flood(&mut world, slow, 0..most + 1);
    expect_too_slow(&mut world, slow);
    for reader in readers {
        world.close(reader, 1000);
    }
}

/// A message that just fits is queued; one that does not, headers counted, is not sent at all.
pub(crate) fn the_limit_is_exact_to_the_byte(place: &Place) {
    const HEADER: usize = 10;
    let place = *place;
    for (over, expected) in [(0, "true false"), (1, "false false")] {
        let setup = quiet().config(limits);
        let note = setup.notes();
        let setup = setup.message(move |ctx, _| {
            let count = flood(ctx, MAX / 2);
            let room = MAX - ctx.backlog_bytes();
            // One that goes over the limit only on the wire is sent, and the last.
            let room = if over == 0 { place.plain_bytes_in(room) } else { room };
            let fits = room - HEADER;
            let sent = ctx.send(&bytes_of(fits + over, 1)).is_queued();
            note(format!("{sent} {}", ctx.send(b"").is_queued()));
            note(count.to_string());
            note(fits.to_string());
        });
        let mut world = World::new(&place, setup);
        let (peer, _) = world.open_with_remote();
        world.set_reading(peer, false);
        world.send(peer, &text("go"));
        assert_eq!(world.next_text(), "go");
        assert_eq!(world.next_note(), expected);
        let [count, fits] = [(); 2].map(|()| world.next_note().parse().expect("a number"));
        world.set_reading(peer, true);
        expect_flood(&mut world, peer, 0..count);
        if over == 0 {
            assert!(world.read_message(peer, OpCode::Binary) == bytes_of(fits, 1));
        }
        expect_too_slow(&mut world, peer);
    }
}

/// A server that floods when it is told anything but "again?", and notes when it has drained.
fn draining() -> Setup {
    let setup = quiet().config(|config| config.backlog_low_bytes = LOW);
    let (note, drained) = (setup.notes(), setup.notes());
    setup
        .message(move |ctx, message| match message.as_text() {
            Some("again?") => assert!(ctx.send(message).is_queued()),
            _ => note(flood(ctx, FLOOD_BACKLOG_BYTES).to_string()),
        })
        .drained(move |ctx| drained(format!("low: {}", ctx.backlog_bytes() <= LOW)))
}

pub(crate) fn drained_comes_once_each_time(place: &Place) {
    let mut world = World::new(place, draining());
    let (peer, _) = world.open_with_remote();
    for _ in 0..3 {
        let count = world.order(peer, "flood");
        expect_flood(&mut world, peer, 0..count);
        assert!(matches!(world.next(), Seen::Drained));
        assert_eq!(world.next_note(), "low: true");
        world.send(peer, &text("again?"));
        assert_eq!(world.read_text(peer), "again?");
        assert_eq!(world.next_text(), "again?", "drained once");
    }
    world.close(peer, 1000);
}

/// It delivers any amount, with a backlog that never passes the mark by more than a message.
pub(crate) fn a_sender_goes_on_when_drained(place: &Place) {
    const COUNT: usize = 500;
    const MARK: usize = 256 << 10;
    let setup = quiet().config(limits);
    let note = setup.notes();
    let go_on = move |ctx: &mut Ctx<'_, Script>| {
        while ctx.session().count < COUNT && ctx.backlog_bytes() < MARK {
            let message = flood_message(ctx.session().count);
            assert!(ctx.send(&message).is_queued());
            ctx.session().count += 1;
        }
        note(ctx.backlog_bytes().to_string());
    };
    let begin = go_on.clone();
    let mut world = World::new(place, setup.message(move |ctx, _| begin(ctx)).drained(go_on));
    let peer = world.open();
    world.send(peer, &text("go"));
    expect_flood(&mut world, peer, 0..COUNT);
    world.close(peer, 1000);
    let waited = world.take_record().into_iter().filter_map(|seen| match seen {
        Seen::Note(bytes) => Some(bytes.parse().expect("a number")),
        _ => None,
    });
    let most: usize = waited.max().expect("it was noted");
    let message = place.wire_bytes(flood_message(0).len() + 10);
    assert!((MARK..MARK + message).contains(&most), "{most} bytes waited");
}

/// While a connection is paused its messages stay away, but for those that had arrived; after
/// `resume` all of them come, in order, and the end of the stream behind them.
pub(crate) fn a_paused_connection_s_messages_wait(place: &Place) {
    let setup = quiet();
    let note = setup.notes();
    let setup = setup
        .message(move |ctx, message| match message.as_text() {
            Some("pause") => {
                ctx.pause();
                note(flood(ctx, FLOOD_BACKLOG_BYTES).to_string());
            }
            _ => assert!(ctx.send(message).is_queued()),
        })
        .drained(|ctx| ctx.resume());
    let mut world = World::new(place, setup);
    let ((peer, _), (other, _)) = (world.open_with_remote(), world.open_with_remote());
    world.set_reading(peer, false);
    let count = world.order(peer, "pause");
    for n in 0..10 {
        world.send(peer, &text(&format!("message {n}")));
        world.fence(other);
        assert_eq!([world.next_text(), world.next_text()], ["fence", "fence"]);
    }
    world.finish(peer);
    world.fence(other);
    assert_eq!([world.next_text(), world.next_text()], ["fence", "fence"]);

    world.set_reading(peer, true);
    // What waits when it is resumed, less than the last one, is forfeit by the FIN.
    expect_flood(&mut world, peer, 0..count - 1);
    assert!(matches!(world.next(), Seen::Drained), "nothing came before");
    for n in 0..10 {
        assert_eq!(world.next_text(), format!("message {n}"));
    }
    let why = world.next_closed();
    assert!(matches!(why, Closed::Lost(None)), "{why:?}");
}
