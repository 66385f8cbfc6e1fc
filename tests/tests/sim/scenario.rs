//! What a seed means: a configuration, the faults, and what is done when.

use std::time::Duration;

use sockeye::Config;
use sockeye::sim::{Faults, Random};

use crate::client::Kind;
use crate::ledger::Topic;

/// A run.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) config: Config,
    pub(crate) faults: Faults,
    pub(crate) shards: usize,
    /// In order of time.
    pub(crate) actions: Vec<(Duration, Action)>,
    pub(crate) end: End,
    /// Nothing is lost in this network, and everybody reads: each connection ends as it should.
    pub(crate) is_fair: bool,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By a shutdown in the midst of it.
    Shutdown,
    /// All comes to rest, then a shutdown.
    RestAndShutdown,
    /// All comes to rest, all clients close, all timers run out, then a shutdown.
    RestAndClose,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Connect(Kind),
    /// Done by one of the clients that can, chosen by the number.
    Client(usize, Deed),
    /// Done by the test, as by another thread.
    Outside(Command),
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Echo(usize),
    Flood(u64, u64),
    Brim(u64),
    Subscribe(Topic),
    Unsubscribe(Topic),
    Publish(Topic, u64),
    PublishToOthers(Topic, u64),
    SendTo(u64, u64),
    AskForPing,
    AskForPause,
    AskForClose(u64),
    AskForPanic,
    Ping(usize),
    Pause(Duration),
    Close(u16),
    /// And then neither reads nor closes its side of TCP.
    CloseAndLinger,
    Abort,
    Finish,
    Violate(u8),
    TooLong,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    Publish(Topic, usize),
    SendTo(usize, usize),
    Close(usize),
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let is_fair = random.chance(300);
        let faults = faults(random, is_fair);
        let shards = 1 + random.below(3);
        let config = config(random);
        let most = if random.chance(100) { 48 } else { 12 };
        let clients = 1 + random.below(most);
        let ms = 200 + random.below(4_000);
        let moment = |random: &mut Random| Duration::from_micros(random.below(ms * 1000) as u64);
        let mut actions = Vec::new();
        for n in 0..clients {
            let at = if n < 2 || random.chance(500) { Duration::ZERO } else { moment(random) };
            actions.push((at, Action::Connect(kind(random))));
        }
        for _ in 0..random.below(8 * clients + 30) {
            let at = moment(random);
            // What comes together is what goes wrong.
            for _ in 0..if random.chance(200) { 1 + random.below(6) } else { 1 } {
                actions.push((at, action(random, is_fair)));
            }
        }
        for _ in 0..if random.chance(300) { 1 + random.below(4) } else { 0 } {
            // The same client twice, a little later.
            let (at, any) = (moment(random), random.below(1_000));
            let flood = Deed::Flood(6 + random.below(8) as u64, 30_000);
            let later = at + Duration::from_micros(random.below(5_000) as u64);
            if !is_fair {
                let pause = Deed::Pause(Duration::from_secs(3));
                actions.push((at, Action::Client(any, pause)));
            }
            actions.push((at, Action::Client(any, flood)));
            let brim = Deed::Brim(random.below(2) as u64);
            actions.push((later, Action::Client(any, brim)));
        }
        actions.sort_by_key(|(at, _)| *at);
        let end = match random.below(10) {
            0..5 => End::Shutdown,
            5..8 => End::RestAndShutdown,
            _ => End::RestAndClose,
        };
        if end == End::Shutdown {
            actions.truncate(actions.len() - random.below(actions.len() / 2 + 1));
        }
        Self { config, faults, shards, actions, end, is_fair }
    }
}

fn kind(random: &mut Random) -> Kind {
    match random.below(20) {
        0 => Kind::Unwanted,
        1 => Kind::Mute,
        2..5 => Kind::Streaming,
        _ => Kind::Plain,
    }
}

fn faults(random: &mut Random, is_fair: bool) -> Faults {
    // In fair weather all that may wait fits through within a close timeout.
    let latency = random.below(if is_fair { 1_000 } else { 3_000 });
    let pipe = 1 << if is_fair { 15 + random.below(4) } else { 8 + random.below(11) };
    let mut faults = Faults {
        latency_us: (latency / 4, latency),
        pipe_bytes: (pipe, pipe * 4),
        ..Faults::default()
    };
    if random.chance(800) {
        faults.short_receives = [0, 100, 500][random.below(3)];
        faults.short_sends = [0, 100, 300][random.below(3)];
        faults.late_events = [0, 100, 500][random.below(3)];
        faults.deferred_sends = [0, 300, 900][random.below(3)];
    }
    if is_fair {
        return faults;
    }
    if random.chance(600) {
        faults.resets = [0, 50, 200, 600][random.below(4)];
        faults.reset_bytes_max = 1 << (6 + random.below(14));
        faults.refused_connects = [0, 0, 100][random.below(3)];
        faults.failed_accepts = [0, 0, 100][random.below(3)];
    }
    if random.chance(400) {
        faults.stalls = [1, 10, 50][random.below(3)];
        faults.stall_us = (1_000, 1 << (11 + random.below(9)));
    }
    faults
}

fn config(random: &mut Random) -> Config {
    let ping = [0, 300, 1_000, 5_000][random.below(4)];
    let idle = if random.chance(300) { 0 } else { ping * 2 + 400 + random.below(3_000) as u32 };
    let backlog = (128 << 10) + random.below(256 << 10);
    let receive = 1 << (9 + random.below(6));
    Config {
        message_bytes_max: 256 << 10,
        frame_bytes_max: 256 << 10,
        fragments_per_message_max: 64,
        handshake_timeout_ms: 500 + random.below(2_000) as u32,
        ping_interval_ms: ping,
        idle_timeout_ms: idle,
        close_timeout_ms: 200 + random.below(1_500) as u32,
        backlog_bytes_max: backlog,
        backlog_low_bytes: random.below(64 << 10),
        connections_per_shard_max: if random.chance(200) { 1 + random.below(6) } else { 64 },
        listen_backlog: 64,
        accepts_per_turn_max: 1 + random.below(4),
        receive_buffer_bytes: receive,
        receive_bytes_per_turn_max: receive * (1 + random.below(4)),
        publish_bytes_per_turn_max: if random.chance(100) { 100 << 10 } else { 16 << 20 },
        subscriptions_per_connection_max: if random.chance(100) { 2 } else { 16 },
        mailbox_max: if random.chance(50) { 1 + random.below(3) } else { 1 << 16 },
        spare_bytes_max: 64 << 10,
        ..Config::default()
    }
}

/// Small mostly, sometimes large.
fn size(random: &mut Random) -> usize {
    match random.below(20) {
        0..12 => random.below(200),
        12..16 => random.below(5_000),
        16..19 => random.below(40_000),
        _ => random.below(200 << 10),
    }
}

fn topic(random: &mut Random) -> Topic {
    random.below(4) as Topic
}

fn action(random: &mut Random, is_fair: bool) -> Action {
    if random.chance(80) {
        return Action::Outside(match random.below(8) {
            0 => Command::Close(random.below(1_000)),
            1..4 => Command::SendTo(random.below(1_000), size(random)),
            _ => Command::Publish(topic(random), size(random)),
        });
    }
    if random.chance(30) {
        return Action::Connect(kind(random));
    }
    let deed = match random.below(100) {
        0..22 => Deed::Echo(size(random)),
        22..26 => Deed::Flood(1 + random.below(12) as u64, size(random) as u64),
        26..46 => Deed::Subscribe(topic(random)),
        46..50 => Deed::Unsubscribe(topic(random)),
        50..64 => Deed::Publish(topic(random), size(random) as u64),
        64..68 => Deed::PublishToOthers(topic(random), size(random) as u64),
        68..80 => Deed::SendTo(random.below(1_000) as u64, size(random) as u64),
        80 => Deed::AskForPing,
        81..83 => Deed::AskForPause,
        83 => Deed::AskForClose(4000),
        84 => Deed::AskForPanic,
        85..88 => Deed::Ping(random.below(126)),
        88..94 if is_fair => Deed::Ping(0),
        88..93 => Deed::Pause(Duration::from_millis(1 << random.below(12))),
        93 => Deed::Abort,
        94 => Deed::Finish,
        95 => Deed::Violate(random.below(3) as u8),
        96 => Deed::TooLong,
        97 if !is_fair => Deed::CloseAndLinger,
        _ => Deed::Close([1000, 1001, 3000][random.below(3)]),
    };
    Action::Client(random.below(1_000), deed)
}
