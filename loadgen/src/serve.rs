//! `sockeye serve`: one of the built-in applications, until a signal.

use std::error::Error;
use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sockeye::{Backend, ChosenBackend, Config, Handle, Handler, Server};

use crate::apps::calibrate::{self, Calibrate, CalibrateOptions};
use crate::apps::{self, App};
use crate::deflate::DeflateOptions;
use crate::load::units::counted;
use crate::tls::TlsOptions;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9001")]
    listen: String,
    /// What to serve
    #[arg(long, value_enum, default_value_t = App::Echo)]
    app: App,
    /// Shards, each with a thread of its own [default: one for each processor; one to calibrate]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: Option<u16>,
    /// How the bytes move
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    #[command(flatten)]
    calibrate: CalibrateOptions,
    #[command(flatten)]
    deflate: DeflateOptions,
    #[command(flatten)]
    tls: TlsOptions,
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
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let schedule = options.calibrate.schedule(options.app)?;
    let tls = options.tls.load()?;
    let mut server = Server::bind(&*options.listen)
        .map_err(|error| match error {
            sockeye::Error::Address(cause) => format!(
                "--listen {}: {cause}; give an address and a port, such as 127.0.0.1:9001",
                options.listen
            ),
            error => format!("--listen: {error}"),
        })?
        .backend(options.backend.into());
    // What one thread does is what the theory is about.
    let shards = options.shards.or_else(|| (options.app == App::Calibrate).then_some(1));
    if let Some(shards) = shards {
        server = server.shards(shards.into());
    }
    let deflate = options.deflate.config();
    let with_deflate = |config: Config| Config { deflate, ..config };
    if options.app != App::Chat {
        server = server.config(with_deflate(Config::default()));
    }
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let signals = (signals, options.tls.clone());
    match options.app {
        App::Echo => serve(server, signals, |_| apps::Echo),
        App::Broadcast => serve(server, signals, |_| apps::Broadcast),
        App::Chat => {
            let shared = Arc::new(apps::chat::Shared::default());
            let server = server.config(with_deflate(apps::chat::config()));
            serve(server, signals, move |_| apps::chat::Chat::new(Arc::clone(&shared)))
        }
        App::Calibrate => {
            let shared = Arc::new(calibrate::Shared::new(schedule));
            serve(server, signals, move |_| Calibrate::new(Arc::clone(&shared)))
        }
    }
}

fn serve<H: Handler>(
    server: Server,
    (signals, tls): (Signals, TlsOptions),
    handler: impl Fn(usize) -> H + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    let shards = server.shard_count();
    let scheme = tls.scheme();
    let running = server.spawn(handler)?;
    let handle = running.handle().clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || wait_for_signals(signals, &handle, &tls))?;
    let address = running.local_addr();
    let mut stdout = io::stdout().lock();
    let ChosenBackend { backend, reason, .. } = running.handle().backend();
    writeln!(
        stdout,
        "listening on {scheme}://{address} (backend {backend}, {}; {reason})",
        counted(shards as u64, "shard")
    )?;
    stdout.flush()?;
    drop(stdout);
    running.join()?;
    Ok(())
}

/// SIGHUP reads the certificates again. The first of the others closes every connection with 1001;
/// a second one does not wait for that.
fn wait_for_signals(mut signals: Signals, handle: &Handle, tls: &TlsOptions) {
    let mut asked = false;
    for signal in &mut signals {
        if signal == SIGHUP {
            tls.reload(handle);
            continue;
        }
        if asked {
            process::exit(128 + signal);
        }
        asked = true;
        handle.shutdown();
    }
}
