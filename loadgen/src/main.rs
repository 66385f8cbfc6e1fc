//! The `sockeye` command: serves WebSocket and shows what the engine can do.

mod ab;
mod apps;
mod compare;
mod deflate;
mod demo;
mod exit;
mod files;
mod help;
mod load;
mod manual;
mod serve;
mod stats;
mod tls;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
    #[command(after_long_help = help::SERVE)]
    Serve(serve::Options),
    /// Run a server and a load against it in this process, for ten seconds
    Demo(demo::Options),
    /// Load any WebSocket server, and tell honestly how it bears it
    #[command(after_help = help::SHORT, after_long_help = help::LOAD)]
    Load(Box<load::Options>),
    /// Compare reports of load, and say what is chance and what is not
    #[command(after_long_help = help::COMPARE)]
    Compare(compare::Options),
    /// Load two servers in turns, and say whether they differ
    #[command(after_help = help::SHORT, after_long_help = help::AB)]
    Ab(Box<load::AbOptions>),
    /// Print what a shell needs to complete commands and options
    Completions(manual::CompletionsOptions),
    /// Print a manual page, or write all of them into a folder
    Man(manual::ManOptions),
}

fn main() -> ExitCode {
    let matches = help::with_short_help(Cli::command()).try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.unwrap_or_else(|error| refuse(&error));
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
        Command::Ab(options) => load::run_ab(&options),
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
    eprintln!("sockeye: {}; --help has all there is", in_one_line(&error.to_string()));
    std::process::exit(exit::USAGE.into());
}

/// What clap says in several lines, with the words for numbers that the standard library has for
/// programmers put into others.
fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_ours = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more");
    // How to pass what looks like an option is of no use: nothing here takes that.
    let is_of_use = |line: &&str| !line.starts_with("tip: to pass");
    let mut one = String::new();
    for line in lines.take_while(is_ours).filter(is_of_use) {
        one += match one.chars().last() {
            None => "",
            Some(':') => " ",
            Some('>') if line.starts_with(['<', '-']) => ", ",
            Some(_) => "; ",
        };
        one += line;
    }
    one.trim_start_matches("error: ")
        .replace("the following required arguments were not provided", "this is missing")
        .replace("number would be zero for non-zero type", "it must be at least 1")
        .replace("invalid digit found in string", "it must be a whole number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line() {
        let said = |arguments: &str| {
            let words = ["sockeye"].into_iter().chain(arguments.split(' '));
            let error = Cli::try_parse_from(words).expect_err(arguments);
            in_one_line(&error.to_string())
        };
        for (arguments, expected) in [
            ("load", "this is missing: <URL>"),
            ("load ws://h/ --find-max", "this is missing: --slo <LIMIT>"),
            ("load ws://h/ --find-max-cap 5k", "this is missing: --slo <LIMIT>, --find-max"),
            ("load ws://h/ --rate -5", "unexpected argument '-5' found"),
            (
                "load ws://h/ --connections 0",
                "invalid value '0' for '--connections <N>': it must be at least 1",
            ),
            (
                "load ws://h/ --server-pid x",
                "invalid value 'x' for '--server-pid <PID>': it must be a whole number",
            ),
            ("load ws://h/ --rate 0", "invalid value '0' for '--rate <RATE>': it must be above 0"),
        ] {
            assert_eq!(said(arguments), expected, "{arguments}");
        }
        let similar = said("load ws://h/ --scenario ecko");
        assert!(similar.ends_with("tip: a similar value exists: 'echo'"), "{similar}");
    }
}
