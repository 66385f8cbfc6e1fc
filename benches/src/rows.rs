//! The rows of the table: what is asked of a server.

use crate::frames::Kind;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Each message comes back.
    Echo,
    /// One connection's messages go to all.
    Broadcast,
    /// Connections come, open and go.
    Accept,
    /// Connections open and stay.
    Idle,
}

/// What the WebSocket goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// TCP: ws.
    Tcp,
    /// TLS with a whole handshake for each connection: wss.
    Tls,
    /// TLS that goes on with a session of an earlier connection, where there is one.
    TlsResumed,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// What the client does.
    pub work: Work,
    /// What it does that through.
    pub carrier: Carrier,
    /// Connections at a time.
    pub connections: usize,
    /// Payload bytes.
    pub bytes: usize,
    /// Text or binary.
    pub kind: Kind,
    /// Frames that the client sends in one write.
    pub frames: usize,
    /// Writes that wait for their answers, on each connection.
    pub in_flight: usize,
}

const fn echo(
    name: &'static str,
    title: &'static str,
    kind: Kind,
    bytes: usize,
    connections: usize,
    frames: usize,
    in_flight: usize,
) -> Row {
    let (work, carrier) = (Work::Echo, Carrier::Tcp);
    Row { name, title, work, carrier, connections, bytes, kind, frames, in_flight }
}

const fn broadcast(
    name: &'static str,
    title: &'static str,
    connections: usize,
    frames: usize,
) -> Row {
    let (work, carrier, kind) = (Work::Broadcast, Carrier::Tcp, Kind::Binary);
    Row { name, title, work, carrier, connections, bytes: 128, kind, frames, in_flight: 1 }
}

const fn other(name: &'static str, title: &'static str, work: Work, connections: usize) -> Row {
    let (carrier, bytes, kind) = (Carrier::Tcp, 32, Kind::Binary);
    Row { name, title, work, carrier, connections, bytes, kind, frames: 1, in_flight: 1 }
}

/// All rows.
pub const ROWS: &[Row] = &[
    echo("echo-32", "echo 32 B, 100 connections", Kind::Binary, 32, 100, 1, 1),
    echo("echo-32-alone", "echo 32 B, 1 connection", Kind::Binary, 32, 1, 1, 1),
    echo("echo-32-few", "echo 32 B, 16 connections", Kind::Binary, 32, 16, 1, 1),
    echo("echo-32-many", "echo 32 B, 4,096 connections", Kind::Binary, 32, 4_096, 1, 1),
    echo("echo-1k", "echo 1 KiB, 500 connections", Kind::Binary, 1 << 10, 500, 1, 1),
    echo("echo-16k", "echo 16 KiB, 100 connections", Kind::Binary, 16 << 10, 100, 1, 1),
    echo(
        "frames-16",
        "echo 32 B, 16 frames a write, 100 connections",
        Kind::Binary,
        32,
        100,
        16,
        1,
    ),
    echo(
        "frames-64",
        "echo 32 B text, 64 frames a write, 100 connections",
        Kind::Text,
        32,
        100,
        64,
        1,
    ),
    echo(
        "text-64k",
        "echo 64 KiB text, 4 in flight, 10 connections",
        Kind::Text,
        64 << 10,
        10,
        1,
        4,
    ),
    echo("text-1m", "echo 1 MiB text, 10 connections", Kind::Text, 1 << 20, 10, 1, 1),
    broadcast("broadcast-500", "broadcast 128 B to 500, one at a time (per delivery)", 500, 1),
    broadcast("broadcast-500x16", "broadcast 128 B to 500, 16 at a time (per delivery)", 500, 16),
    broadcast("broadcast-5000", "broadcast 128 B to 5,000 (per delivery)", 5_000, 1),
    other("accept", "accept + upgrade + close (per connection)", Work::Accept, 32),
    other("idle", "user memory of an idle connection (bytes)", Work::Idle, 15_000),
    echo("wss-32", "wss echo 32 B, 100 connections", Kind::Binary, 32, 100, 1, 1)
        .through(Carrier::Tls),
    echo("wss-1k", "wss echo 1 KiB, 100 connections", Kind::Binary, 1 << 10, 100, 1, 1)
        .through(Carrier::Tls),
    echo("wss-16k", "wss echo 16 KiB, 100 connections", Kind::Binary, 16 << 10, 100, 1, 1)
        .through(Carrier::Tls),
    other("wss-accept", "wss accept + upgrade + close (per connection)", Work::Accept, 32)
        .through(Carrier::Tls),
    other("wss-resume", "wss accept + upgrade + close, resumed (per connection)", Work::Accept, 32)
        .through(Carrier::TlsResumed),
];

/// The row of this name.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

impl Row {
    const fn through(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// Whether servers need a certificate.
    pub const fn is_secure(&self) -> bool {
        !matches!(self.carrier, Carrier::Tcp)
    }

    /// The application that a server has to run.
    pub const fn app(&self) -> &'static str {
        match self.work {
            Work::Broadcast => "broadcast",
            Work::Echo | Work::Accept | Work::Idle => "echo",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1);
            assert!(find(row.name).is_some());
        }
        assert!(find("nothing").is_none());
    }
}
