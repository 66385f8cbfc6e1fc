//! An engine under test: a handler made of closures, and a record of what it was told.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use sockeye::{
    Backend, Chunk, Closed, Config, Ctx, Handle, Handler, Message, Remote, Request, Running,
    Server, Shard, ShardCtx, Stats, TlsConfig, Upgrade,
};

use crate::PATIENCE;
use crate::peer::{Peer, REQUEST};

thread_local! {
    /// Set where the handler is made, which is promised to be the shard's thread.
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of the shard that calls, in a hook of a [`Rig`]: the library does not tell which
/// shard a connection is on.
///
/// # Panics
/// The caller is no shard of a [`Rig`].
pub fn shard() -> usize {
    SHARD.get().expect("a hook, on its shard's thread")
}

/// What a handler was told.
#[derive(Debug)]
pub enum Seen {
    /// A connection opened.
    Open(Remote),
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A piece of a message: payload, first, last.
    Chunk(Vec<u8>, bool, bool),
    /// A backlog has drained.
    Drained,
    /// A connection is gone; the data it had.
    Closed(Session, Closed),
    /// What a closure had to say.
    Note(String),
}

/// The data of a connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who it is.
    pub name: String,
    /// How often something happened.
    pub count: usize,
}

type OnUpgrade = dyn Fn(&Request<'_>) -> Upgrade<Session> + Send + Sync;
type OnEvent = dyn Fn(&mut Ctx<'_, Script>) + Send + Sync;
type OnMessage = dyn Fn(&mut Ctx<'_, Script>, Message<'_>) + Send + Sync;
type OnChunk = dyn Fn(&mut Ctx<'_, Script>, Chunk<'_>) + Send + Sync;
type OnClosed = dyn Fn(&mut ShardCtx<'_>, &Session, &Closed) + Send + Sync;

/// A handler of closures, which echoes unless it is told otherwise. Each event is on the [`Rig`]'s
/// record before its closure is called.
#[derive(Clone)]
pub struct Script {
    seen: Sender<Seen>,
    upgrade: Arc<OnUpgrade>,
    open: Arc<OnEvent>,
    message: Arc<OnMessage>,
    chunk: Arc<OnChunk>,
    drained: Arc<OnEvent>,
    closed: Arc<OnClosed>,
}

impl Handler for Script {
    type Session = Session;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Session> {
        (self.upgrade)(request)
    }

    fn open(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.record(Seen::Open(ctx.remote()));
        (self.open)(ctx);
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        self.record(match message {
            Message::Text(text) => Seen::Text(text.into()),
            Message::Binary(bytes) => Seen::Binary(bytes.into()),
        });
        (self.message)(ctx, message);
    }

    fn chunk(&mut self, ctx: &mut Ctx<'_, Self>, chunk: Chunk<'_>) {
        self.record(Seen::Chunk(chunk.payload.into(), chunk.first, chunk.last));
        (self.chunk)(ctx, chunk);
    }

    fn drained(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.record(Seen::Drained);
        (self.drained)(ctx);
    }

    fn closed(&mut self, shard: &mut ShardCtx<'_>, session: Session, why: Closed) {
        (self.closed)(shard, &session, &why);
        self.record(Seen::Closed(session, why));
    }
}

impl Script {
    fn record(&self, seen: Seen) {
        // A test that has seen all it wanted may be gone.
        let _ = self.seen.send(seen);
    }
}

/// What a [`Rig`] is to be.
pub struct Setup {
    script: Script,
    record: Receiver<Seen>,
    config: Config,
    shards: usize,
    tls: Option<TlsConfig>,
}

impl Default for Setup {
    fn default() -> Self {
        let (seen, record) = mpsc::channel();
        let script = Script {
            seen,
            upgrade: Arc::new(|_| Upgrade::accept(Session::default())),
            open: Arc::new(|_| {}),
            message: Arc::new(|ctx, message| {
                ctx.send(message);
            }),
            chunk: Arc::new(|_, _| {}),
            drained: Arc::new(|_| {}),
            closed: Arc::new(|_, _, _| {}),
        };
        Self { script, record, config: Config::default(), shards: 1, tls: None }
    }
}

impl Setup {
    /// An echo server with one shard and the default configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the number of shards.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the upgrade hook.
    #[must_use]
    pub fn upgrade(
        mut self,
        hook: impl Fn(&Request<'_>) -> Upgrade<Session> + Send + Sync + 'static,
    ) -> Self {
        self.script.upgrade = Arc::new(hook);
        self
    }

    /// Sets what an opened connection brings about.
    #[must_use]
    pub fn open(mut self, hook: impl Fn(&mut Ctx<'_, Script>) + Send + Sync + 'static) -> Self {
        self.script.open = Arc::new(hook);
        self
    }

    /// Sets what a message brings about, instead of an echo.
    #[must_use]
    pub fn message(
        mut self,
        hook: impl Fn(&mut Ctx<'_, Script>, Message<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.script.message = Arc::new(hook);
        self
    }

    /// Sets what a chunk brings about.
    #[must_use]
    pub fn chunk(
        mut self,
        hook: impl Fn(&mut Ctx<'_, Script>, Chunk<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.script.chunk = Arc::new(hook);
        self
    }

    /// Sets what a drained backlog brings about.
    #[must_use]
    pub fn drained(mut self, hook: impl Fn(&mut Ctx<'_, Script>) + Send + Sync + 'static) -> Self {
        self.script.drained = Arc::new(hook);
        self
    }

    /// Sets what the end of a connection brings about.
    #[must_use]
    pub fn closed(
        mut self,
        hook: impl Fn(&mut ShardCtx<'_>, &Session, &Closed) + Send + Sync + 'static,
    ) -> Self {
        self.script.closed = Arc::new(hook);
        self
    }

    /// Something to write [notes](Seen::Note) into the record with, from a closure.
    pub fn notes(&self) -> impl Fn(String) + Send + Sync + Clone + 'static {
        let seen = self.script.seen.clone();
        move |note| drop(seen.send(Seen::Note(note)))
    }

    /// Speaks TLS.
    #[must_use]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// What it consists of, for a server made in another way.
    pub fn parts(self) -> (Script, Config, Receiver<Seen>) {
        (self.script, self.config, self.record)
    }

    /// The server, not yet started, and the script.
    pub fn server(self) -> (Server, Script, Receiver<Seen>) {
        let server = Server::bind("127.0.0.1:0").expect("loopback");
        let mut server = server.backend(backend()).config(self.config).shards(self.shards);
        if let Some(tls) = self.tls {
            server = server.tls(tls);
        }
        (server, self.script, self.record)
    }

    /// Its only shard, for the test to drive.
    pub fn by_hand(self) -> ByHand {
        let (server, script, record) = self.shards(1).server();
        let address = server.local_addr();
        let builder = server.build().expect("loopback").pop().expect("one shard");
        let handle = builder.handle();
        ByHand { address, shard: builder.start(script).expect("a shard"), handle, record }
    }

    /// Starts it.
    pub fn start(self) -> Rig {
        let (server, script, record) = self.server();
        let factory = move |shard| {
            SHARD.set(Some(shard));
            script.clone()
        };
        let running = server.spawn(factory).expect("loopback");
        Rig { address: running.local_addr(), running, record }
    }
}

/// The backend that the suites run on: epoll, or the one that `SOCKEYE_TEST_BACKEND` names.
pub fn backend() -> Backend {
    match std::env::var("SOCKEYE_TEST_BACKEND") {
        Ok(name) => name.parse().expect("SOCKEYE_TEST_BACKEND names a backend"),
        Err(_) => Backend::Epoll,
    }
}

/// A running engine.
pub struct Rig {
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
    record: Receiver<Seen>,
}

impl Rig {
    /// A plain echo server.
    pub fn echo() -> Self {
        Setup::new().start()
    }

    /// A new connection to it, open on both sides.
    pub fn peer(&self) -> Peer {
        Peer::open(self.address)
    }

    /// A new connection, and what the server calls it. Nothing else may be on the record.
    pub fn peer_and_remote(&self) -> (Peer, Remote) {
        let peer = self.peer();
        (peer, self.next_open())
    }

    /// The server.
    pub fn handle(&self) -> &Handle {
        self.running.handle()
    }

    /// The next entry of the record.
    pub fn next(&self) -> Seen {
        self.record.recv_timeout(PATIENCE).expect("the handler is told something")
    }

    /// The next entry, which must be a connection that opened.
    pub fn next_open(&self) -> Remote {
        match self.next() {
            Seen::Open(remote) => remote,
            other => panic!("not an opened connection: {other:?}"),
        }
    }

    /// Why the next connection to end did; what else is on the record before is passed over.
    pub fn next_closed(&self) -> Closed {
        self.skip_to(|seen| match seen {
            Seen::Closed(_, why) => Some(why),
            _ => None,
        })
    }

    /// The next note; what else is on the record before is passed over.
    pub fn next_note(&self) -> String {
        self.skip_to(|seen| match seen {
            Seen::Note(note) => Some(note),
            _ => None,
        })
    }

    /// The first thing on the record that is looked for.
    pub fn skip_to<R>(&self, mut find: impl FnMut(Seen) -> Option<R>) -> R {
        loop {
            if let Some(found) = find(self.next()) {
                return found;
            }
        }
    }

    /// Waits until the server's counters are so.
    pub fn wait_for(&self, mut is_so: impl FnMut(Stats) -> bool) {
        let begun = Instant::now();
        while !is_so(self.handle().stats()) {
            assert!(begun.elapsed() < PATIENCE, "never came: {:?}", self.handle().stats());
            std::thread::yield_now();
        }
    }

    /// Shuts the server down, waits for its end, and returns all that is left on the record.
    pub fn stop(self) -> Vec<Seen> {
        let Self { running, record, .. } = self;
        running.handle().shutdown();
        running.join().expect("the server ends well");
        record.try_iter().collect()
    }
}

/// An engine of one shard that runs where the test calls it, in a loop of the test's own.
pub struct ByHand {
    /// Where it listens.
    pub address: SocketAddr,
    /// The shard.
    pub shard: Shard<Script>,
    /// The server.
    pub handle: Handle,
    /// What its handler was told.
    pub record: Receiver<Seen>,
}

impl ByHand {
    /// What any loop does for a shard that sits in it: waits for its descriptor or its deadline,
    /// then lets it have its turn, which must not wait.
    pub fn turn(&mut self) {
        let deadline = self.shard.next_deadline();
        let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.unwrap_or(PATIENCE).min(PATIENCE).try_into().expect("a short time");
        let mut fds = [PollFd::new(&self.shard, PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&wait)).expect("a descriptor");
        let is_due = deadline.is_some_and(|at| at <= Instant::now());
        assert!(ready == 1 || is_due, "neither the descriptor nor the deadline calls");
        self.shard.turn(Some(Instant::now())).expect("a turn");
    }

    /// Drives the shard until this is so.
    pub fn turn_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "never came: {:?}", self.handle.stats());
            self.turn();
        }
    }

    /// A new connection, open on both sides.
    pub fn peer(&mut self) -> Peer {
        let mut peer = Peer::tcp(self.address);
        peer.send(REQUEST.as_bytes());
        self.turn_until(|_| peer.has_input());
        assert!(peer.read_head().starts_with("HTTP/1.1 101 "), "not accepted");
        peer
    }
}
