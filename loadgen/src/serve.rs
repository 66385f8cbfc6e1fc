//! `sockeye serve`: one of the built-in applications, until a signal.

use std::error::Error;
use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sockeye::{Backend, ChosenBackend, Config, DeflateConfig, Handle, Handler, Server};

use crate::apps::{self, App};

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9001")]
    listen: String,
    /// What to serve
    #[arg(long, value_enum, default_value_t = App::Echo)]
    app: App,
    /// Shards, each with a thread of its own [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: Option<u16>,
    /// How the bytes move
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    #[command(flatten)]
    deflate: DeflateOptions,
}

/// Options of permessage-deflate.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compression")]
struct DeflateOptions {
    /// Agree on permessage-deflate (RFC 7692) with the clients that offer it
    #[arg(long)]
    deflate: bool,
    /// Who may refer to earlier messages: smaller, at up to 270 KiB a connection for what the
    /// server sends and 32 KiB for what clients send
    #[arg(long, value_enum, requires = "deflate", default_value_t = Takeover::None)]
    deflate_takeover: Takeover,
    /// From 1, fastest, to 9, smallest
    #[arg(long, value_name = "N", requires = "deflate", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    deflate_level: u8,
    /// Memory of a compressor, from 1, least, to 9, most
    #[arg(long, value_name = "N", requires = "deflate", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    deflate_memory_level: u8,
    /// The server's window has at most 2 to this power bytes
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u8).range(8..=15))]
    deflate_server_window: u8,
    /// The same of the clients' windows
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u8).range(8..=15))]
    deflate_client_window: u8,
    /// Shorter messages leave as they are
    #[arg(long, value_name = "BYTES", requires = "deflate", default_value_t = 128)]
    deflate_min: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Takeover {
    /// nobody: all connections share one compressor
    None,
    /// the server
    Server,
    /// the clients
    Client,
    /// both
    Both,
}

impl DeflateOptions {
    const fn config(&self) -> Option<DeflateConfig> {
        if !self.deflate {
            return None;
        }
        Some(DeflateConfig {
            server_context_takeover: matches!(
                self.deflate_takeover,
                Takeover::Server | Takeover::Both
            ),
            client_context_takeover: matches!(
                self.deflate_takeover,
                Takeover::Client | Takeover::Both
            ),
            server_max_window_bits: self.deflate_server_window,
            client_max_window_bits: self.deflate_client_window,
            level: self.deflate_level,
            memory_level: self.deflate_memory_level,
            compress_bytes_min: self.deflate_min,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendName {
    /// io_uring where a trial shows that it works, else epoll; the first line says which and why
    Auto,
    /// epoll
    Epoll,
    /// io_uring; where it is not to be had, an error that says why and what to do
    IoUring,
}

impl From<BackendName> for Backend {
    fn from(name: BackendName) -> Self {
        match name {
            BackendName::Auto => Self::Auto,
            BackendName::Epoll => Self::Epoll,
            BackendName::IoUring => Self::IoUring,
        }
    }
}

/// Serves until a signal.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // Before the first thread, so that none is hit by a signal.
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let mut server = Server::bind(&*options.listen)
        .map_err(|error| match error {
            sockeye::Error::Address(cause) => format!(
                "--listen {}: {cause}; give an address and a port, such as 127.0.0.1:9001",
                options.listen
            ),
            error => format!("--listen: {error}"),
        })?
        .backend(options.backend.into());
    if let Some(shards) = options.shards {
        server = server.shards(shards.into());
    }
    let deflate = options.deflate.config();
    let with_deflate = |config: Config| Config { deflate, ..config };
    if options.app != App::Chat {
        server = server.config(with_deflate(Config::default()));
    }
    match options.app {
        App::Echo => serve(server, signals, |_| apps::Echo),
        App::Broadcast => serve(server, signals, |_| apps::Broadcast),
        App::Chat => {
            let shared = Arc::new(apps::chat::Shared::default());
            let server = server.config(with_deflate(apps::chat::config()));
            serve(server, signals, move |_| apps::chat::Chat::new(Arc::clone(&shared)))
        }
    }
}

fn serve<H: Handler>(
    server: Server,
    signals: Signals,
    handler: impl Fn(usize) -> H + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    let shards = server.shard_count();
    let running = server.spawn(handler)?;
    let handle = running.handle().clone();
    thread::Builder::new().name("signals".into()).spawn(|| wait_for_signals(signals, handle))?;
    let address = running.local_addr();
    let mut stdout = io::stdout().lock();
    let ChosenBackend { backend, reason, .. } = running.handle().backend();
    writeln!(stdout, "listening on ws://{address} (backend {backend}, {shards} shards; {reason})")?;
    stdout.flush()?;
    drop(stdout);
    running.join()?;
    Ok(())
}

/// The first signal closes every connection with 1001; a second one does not wait for that.
fn wait_for_signals(mut signals: Signals, handle: Handle) {
    let mut asked = false;
    for signal in &mut signals {
        if asked {
            process::exit(128 + signal);
        }
        asked = true;
        handle.shutdown();
    }
}
