//! Where an engine runs: what its one shard is driven by and what its peers are made of. The world
//! above knows nothing else of a backend.

use std::io;
use std::time::Instant;

use sockeye::{Config, Handle, TlsConfig};
use sockeye_tests::rig::Script;

/// An engine of one shard, turned on the test's thread.
pub(crate) trait Stage {
    /// The server, as other threads have it.
    fn handle(&self) -> &Handle;

    /// A new connection, begun.
    ///
    /// # Errors
    /// The system's.
    fn connect(&mut self) -> io::Result<Box<dyn Wire>>;

    /// One turn of the shard. Where nothing has moved since the last one, waits for something to
    /// happen: to the shard, or to a wire, of which the earliest will be at `wires`.
    fn turn(&mut self, moved: bool, wires: Option<Instant>);

    /// The server was shut down and the last connection is gone.
    fn is_done(&self) -> bool;

    /// The time that the shard goes by.
    fn now(&self) -> Instant;

    /// Whether that time passes only where a turn waits, so that instants are exact.
    fn is_virtual(&self) -> bool {
        false
    }

    /// What a wire takes at most that nobody reads, where that is known.
    fn wire_bytes_max(&self) -> Option<usize> {
        None
    }

    /// With thousands of connections: things need not happen one at a time.
    fn hurry(&mut self) {}

    /// From now on there is no file descriptor for who connects, or there is again. Returns whether
    /// that can be had for the asking.
    fn starve(&mut self, _on: bool) -> bool {
        false
    }

    /// Asserts that the shard holds nothing of connections that are gone.
    fn assert_empty(&mut self) {}
}

/// A peer's end of a connection. Nothing of it waits; dropping it closes it.
pub(crate) trait Wire {
    /// As [`io::Read::read`].
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// As [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// FIN. One who was cut off before has nothing to finish.
    fn finish(&mut self);

    /// RST.
    fn abort(self: Box<Self>);

    /// Moves on what it has taken over itself. Returns whether that was anything.
    fn pump(&mut self) -> bool {
        false
    }

    /// Where time is virtual: when there will be something to read, or room to write.
    fn next_event(&self, _reads: bool, _writes: bool) -> Option<Instant> {
        None
    }
}

/// A record's content, at most.
const RECORD_BYTES: usize = 16 << 10;

/// A kind of stage: the suite is mounted once on each.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The module that it is mounted in.
    pub(crate) module: &'static str,
    /// Whether this machine has it.
    pub(crate) is_here: fn() -> bool,
    pub(crate) stage: fn(Script, Config, Option<TlsConfig>) -> Box<dyn Stage>,
    /// Whether all of it is under TLS.
    pub(crate) tls: bool,
}

impl Place {
    /// What so many bytes become on the wire, sent at once: limits of what waits are about that.
    pub(crate) fn wire_bytes(&self, len: usize) -> usize {
        len + self.record_overhead() * len.div_ceil(RECORD_BYTES)
    }

    /// What of so many bytes on the wire is not the records' headers and ends.
    pub(crate) fn plain_bytes_in(&self, wire_bytes: usize) -> usize {
        let overhead = self.record_overhead();
        wire_bytes - overhead * wire_bytes.div_ceil(RECORD_BYTES + overhead)
    }

    /// Each record of TLS 1.3 has a header, a type and a tag.
    const fn record_overhead(&self) -> usize {
        if self.tls { 5 + 1 + 16 } else { 0 }
    }
}
