//! Any stage, under TLS: its server speaks it, and so do its wires.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustls::ClientConfig;
use sockeye::{Config, Handle};
use sockeye_tests::rig::Script;
use sockeye_tests::tls::{self, Client, Transport};

use crate::stage::{Place, Stage, Wire};

/// The place's stage.
pub(crate) fn stage(place: &Place, script: Script, config: Config) -> Box<dyn Stage> {
    if place.tls {
        let stage = (place.stage)(script, config, Some(tls::config()));
        Box::new(TlsStage { stage })
    } else {
        (place.stage)(script, config, None)
    }
}

fn client() -> &'static Arc<ClientConfig> {
    static CLIENT: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CLIENT.get_or_init(|| Arc::new(tls::authority().client()))
}

struct TlsStage {
    stage: Box<dyn Stage>,
}

impl Stage for TlsStage {
    fn handle(&self) -> &Handle {
        self.stage.handle()
    }

    fn connect(&mut self) -> io::Result<Box<dyn Wire>> {
        let wire = self.stage.connect()?;
        let client = Client::new(tls::connection(client()));
        Ok(Box::new(TlsWire { wire, client, ending: Ending::No }))
    }

    fn turn(&mut self, moved: bool, wires: Option<Instant>) {
        self.stage.turn(moved, wires);
    }

    fn is_done(&self) -> bool {
        self.stage.is_done()
    }

    fn now(&self) -> Instant {
        self.stage.now()
    }

    fn is_virtual(&self) -> bool {
        self.stage.is_virtual()
    }

    fn wire_bytes_max(&self) -> Option<usize> {
        self.stage.wire_bytes_max()
    }

    fn hurry(&mut self) {
        self.stage.hurry();
    }

    fn starve(&mut self, on: bool) -> bool {
        self.stage.starve(on)
    }

    fn assert_empty(&mut self) {
        self.stage.assert_empty();
    }
}

struct TlsWire {
    wire: Box<dyn Wire>,
    client: Client,
    ending: Ending,
}

/// `close_notify` and FIN, which wait for the end of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Wanted,
    Said,
}

impl Transport for dyn Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Wire::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Wire::write(self, bytes)
    }
}

impl Wire for TlsWire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.client.read(&mut *self.wire, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.write(&mut *self.wire, bytes)
    }

    fn finish(&mut self) {
        self.ending = Ending::Wanted;
    }

    fn abort(self: Box<Self>) {
        self.wire.abort();
    }

    fn pump(&mut self) -> bool {
        if self.ending == Ending::Wanted && !self.client.connection().is_handshaking() {
            self.client.finish();
            self.ending = Ending::Said;
        }
        // Cut off: the reading half finds out how.
        let moved = self.client.pump(&mut *self.wire).unwrap_or(true);
        if self.ending == Ending::Said && !self.client.wants_write() {
            self.ending = Ending::No;
            self.wire.finish();
            return true;
        }
        moved
    }

    fn next_event(&self, reads: bool, writes: bool) -> Option<Instant> {
        // Before the end of the handshake it is for the server to say something.
        let is_handshaking = self.client.connection().is_handshaking();
        let writes = (writes && !is_handshaking) || self.client.wants_write();
        self.wire.next_event(reads, writes)
    }
}
