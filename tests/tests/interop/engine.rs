//! The server under test: it echoes, agrees on a subprotocol, closes when asked to, and tells the
//! test why each connection has ended.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};

use sockeye::{
    CloseCode, Closed, Config, Ctx, DeflateConfig, Handler, Message, Request, Running, Server,
    ShardCtx, Upgrade, choose_subprotocol,
};

use sockeye_tests::PATIENCE;

/// What the server speaks.
const SUBPROTOCOLS: [&str; 2] = ["v2.echo", "v1.echo"];

/// The header of an answer with what the client offered in `Sec-WebSocket-Extensions`.
const EXTENSIONS_OFFERED: &str = "Extensions-Offered";

/// A running server.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    closed: Receiver<Closed>,
    // Ends the server when it is dropped.
    _running: Running,
}

impl Engine {
    /// Starts one with two shards.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, with compression.
    pub(crate) fn start_with(deflate: Option<DeflateConfig>) -> Self {
        let (tx, closed) = mpsc::channel();
        let running = Server::bind("127.0.0.1:0")
            .and_then(|server| {
                server
                    .backend(sockeye_tests::rig::backend())
                    .config(Config { deflate, ..Config::default() })
                    .shards(2)
                    .spawn(move |_| Echo { closed: tx.clone() })
            })
            .expect("loopback");
        Self { address: running.local_addr(), closed, _running: running }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Why the next connection has ended.
    pub(crate) fn next_closed(&self) -> Closed {
        self.closed.recv_timeout(PATIENCE).expect("a connection ends")
    }
}

struct Echo {
    closed: Sender<Closed>,
}

impl Handler for Echo {
    type Session = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let mut upgrade = Upgrade::accept(());
        if let Some(chosen) = choose_subprotocol(request, &SUBPROTOCOLS) {
            upgrade = upgrade.subprotocol(chosen);
        }
        for extension in request.extensions() {
            upgrade = upgrade.header(EXTENSIONS_OFFERED, String::from_utf8_lossy(extension));
        }
        upgrade
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        match message.as_text().and_then(close_request) {
            Some((code, reason)) => ctx.close(code, reason).expect("a code that may be sent"),
            None => drop(ctx.send(message)),
        }
    }

    fn closed(&mut self, _: &mut ShardCtx<'_>, (): (), why: Closed) {
        // The test may have seen all that it wanted to.
        let _ = self.closed.send(why);
    }
}

/// `close CODE REASON`.
fn close_request(text: &str) -> Option<(CloseCode, &str)> {
    let (code, reason) = text.strip_prefix("close ")?.split_once(' ')?;
    Some((CloseCode(code.parse().ok()?), reason))
}
