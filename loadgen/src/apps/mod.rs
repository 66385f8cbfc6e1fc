//! What `sockeye serve` can serve.

pub(crate) mod calibrate;
pub(crate) mod chat;

use clap::ValueEnum;
use sockeye::{Ctx, Handler, Message};

/// The built-in applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// Each message comes back as it is
    Echo,
    /// Each message goes to every connection, the sender's too
    Broadcast,
    /// A chat in the browser: the page is at `/`, its socket at `/ws`
    Chat,
    /// An echo that is unresponsive on a known schedule (--stall, --stall-every), on one shard
    /// unless told otherwise: to see whether a load tool tells the truth
    Calibrate,
}

/// Each message comes back, text as text, binary as binary.
pub(crate) struct Echo;

impl Handler for Echo {
    type Session = ();

    #[inline]
    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        // A connection whose peer does not read is closed by the engine, and the next message
        // does not come.
        let _ = ctx.send(message);
    }
}

/// Each message goes to every connection.
pub(crate) struct Broadcast;

const EVERYONE: &str = "everyone";

impl Handler for Broadcast {
    type Session = ();

    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        if let Err(error) = ctx.subscribe(EVERYONE) {
            tracing::error!(%error, "a connection is not in the broadcast");
        }
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        if let Err(error) = ctx.publish(EVERYONE, message) {
            tracing::warn!(%error, "a message was not broadcast");
        }
    }
}
