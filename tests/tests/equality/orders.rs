//! A server that does as its peers tell it.

use sockeye::{CloseCode, Ctx};
use sockeye_codec::OpCode;
use sockeye_tests::peer::bytes_of;
use sockeye_tests::rig::{Script, Setup};

use crate::world::{Id, World, quiet};

/// A message of a flood.
const FLOOD_BYTES: usize = 64 << 10;
/// What a flood makes wait: more than the kernel will find room for, if it is asked again.
pub(crate) const FLOOD_BACKLOG_BYTES: usize = 8 << 20;
/// The close code of the order to close.
pub(crate) const ENOUGH: u16 = 4000;

/// Echoes, but for `flood`, which is noted with the number of messages that were sent, `close` and
/// `flood and close`.
pub(crate) fn obedient() -> Setup {
    let setup = quiet();
    let note = setup.notes();
    setup.message(move |ctx, message| match message.as_text() {
        Some("flood") => note(flood(ctx, FLOOD_BACKLOG_BYTES).to_string()),
        Some("close") => ctx.close(CloseCode(ENOUGH), "enough").expect("it is open"),
        Some("flood and close") => {
            note(flood(ctx, FLOOD_BACKLOG_BYTES).to_string());
            ctx.close(CloseCode(ENOUGH), "enough").expect("it is open");
        }
        _ => assert!(ctx.send(message).is_queued()),
    })
}

/// A flood's n-th message.
pub(crate) fn flood_message(n: usize) -> Vec<u8> {
    bytes_of(FLOOD_BYTES, n as u64 + 1)
}

/// Sends until more than so many bytes wait; how many messages.
pub(crate) fn flood(ctx: &mut Ctx<'_, Script>, backlog_bytes: usize) -> usize {
    let mut count = 0;
    while ctx.backlog_bytes() <= backlog_bytes {
        assert!(ctx.send(&flood_message(count)).is_queued());
        count += 1;
    }
    count
}

/// The peer gets these messages of a flood.
pub(crate) fn expect_flood(world: &mut World, peer: Id, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let payload = world.read_message(peer, OpCode::Binary);
        assert!(payload == flood_message(n), "message {n}");
    }
}
