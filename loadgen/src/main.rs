//! The `sockeye` command: serves WebSocket and shows what the engine can do.

#[cfg_attr(not(test), expect(dead_code, reason = "its parts come together"))]
mod ab;
mod apps;
mod compare;
mod deflate;
mod demo;
mod files;
mod load;
mod manual;
mod serve;
mod stats;
mod tls;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A WebSocket engine: serve with it, and see how fast it is.
///
/// Logs go to stderr; RUST_LOG sets how much (error, warn, info, debug), the default is warn.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server until SIGINT or SIGTERM, which close every connection with 1001; SIGHUP reads
    /// certificates again
    Serve(serve::Options),
    /// Run a server and a load against it in this process, for ten seconds
    Demo(demo::Options),
    /// Load any WebSocket server, and tell honestly how it bears it
    Load(Box<load::Options>),
    /// Compare reports of load, and say what is chance and what is not
    Compare(compare::Options),
    /// Print what a shell needs to complete commands and options
    Completions(manual::CompletionsOptions),
    /// Print a manual page, or write all of them into a folder
    Man(manual::ManOptions),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "warn".into()))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    files::raise_limit();
    let done = |()| ExitCode::SUCCESS;
    let result = match cli.command {
        Command::Serve(options) => serve::run(&options).map(done),
        Command::Demo(options) => demo::run(&options).map(done),
        Command::Load(options) => load::run(&options).map_err(Into::into),
        Command::Compare(options) => compare::run(&options),
        Command::Completions(options) => manual::completions(&options, Cli::command()).map(done),
        Command::Man(options) => manual::man(&options, Cli::command()).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sockeye: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A page where one is asked for; what is wrong with an argument is one line, as every other error.
fn refuse(error: &clap::Error) -> ! {
    use ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NothingGiven;
    if !error.use_stderr() || error.kind() == NothingGiven {
        error.exit();
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_ours = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more");
    let what = lines.take_while(is_ours).collect::<Vec<_>>().join("; ");
    let what = what.trim_start_matches("error: ");
    eprintln!("sockeye: {what}; --help has all there is");
    std::process::exit(2);
}
