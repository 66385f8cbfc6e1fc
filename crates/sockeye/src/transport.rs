//! What a shard is driven by: a driver, or TLS on top of one.

use std::io;
use std::time::Instant;

use sockeye_driver::{Driver, Tx};

use crate::handler::Handler;
use crate::shard::Engine;
use crate::stats::Stats;

/// A driver, as a shard sees it.
pub(crate) trait Transport {
    /// What it accepts from.
    type Listener;

    /// Accepts from this listener until it is told to stop.
    fn begin(&mut self, listener: Self::Listener) -> io::Result<()>;

    /// The time of the last turn.
    fn time(&mut self) -> Instant;

    /// Waits until something happens or `until` has passed, and tells the engine.
    fn drive<H: Handler>(
        &mut self,
        until: Option<Instant>,
        engine: &mut Engine<H>,
    ) -> io::Result<()>;

    /// Has the engine do what follows a turn's events.
    fn settle<H: Handler>(&mut self, engine: &mut Engine<H>);

    /// When a turn would find work although nothing says so.
    fn due_at(&self) -> Option<Instant>;

    /// Writes down what it has counted.
    fn count(&self, stats: &mut Stats);
}

impl<D: Driver> Transport for D {
    type Listener = D::Listener;

    fn begin(&mut self, listener: D::Listener) -> io::Result<()> {
        self.listen(listener)
    }

    fn time(&mut self) -> Instant {
        self.tx().now()
    }

    fn drive<H: Handler>(
        &mut self,
        until: Option<Instant>,
        engine: &mut Engine<H>,
    ) -> io::Result<()> {
        self.turn(until, engine)
    }

    fn settle<H: Handler>(&mut self, engine: &mut Engine<H>) {
        engine.finish_turn(self.tx());
    }

    fn due_at(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn count(&self, stats: &mut Stats) {
        stats.set_driver(&self.counters());
    }
}
