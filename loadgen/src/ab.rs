//! `sockeye ab`: two servers, measured in turns, and whether they differ.
//!
//! Turns, because a machine that is warm, throttled or busy for a while would else favour one of
//! them: A B B A A B B A, so that neither is always first.

mod server;

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::compare::{self, JudgeOptions, Metric, Side, compare};
use crate::exit;
use crate::load::report::{Outcome, Report};
use crate::load::signals::Signals;
use server::ServerProcess;

/// Options of `ab` besides those of the load.
#[derive(Debug, Args)]
#[command(next_help_heading = "Servers")]
pub(crate) struct Options {
    /// A server and its name, such as A=ws://127.0.0.1:9001/
    ///
    /// The first is the baseline. With a --server-command of the same name, {port} in the URL is
    /// its port.
    #[arg(long = "server", value_name = "NAME=URL")]
    servers: Vec<Named>,
    /// A server to start afresh for each run, such as A='./server --port {port}'
    ///
    /// It is ended after the run. With variables: A='env PORT={port} node server.js'; sh -c '...'
    /// for more than one command. Without a --server of that name its URL is
    /// ws://127.0.0.1:{port}/, and it comes after those with one.
    #[arg(long = "server-command", value_name = "NAME=COMMAND")]
    commands: Vec<Named>,
    /// Runs of each
    ///
    /// Fewer than 4 cannot show a difference, but within a run.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeats: u32,
    /// How long a server may take to accept connections, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    server_start_timeout_s: u64,
    #[command(flatten)]
    judge: JudgeOptions,
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    name: String,
    value: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!("{text:?}: give a name, = and what it stands for, as in A=...")),
        }
    }
}

/// What one run is to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Where the server was started here.
    pub(crate) server_pid: Option<u32>,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contender {
    name: String,
    /// With `{port}` where there is a command.
    pub(crate) url: String,
    command: Option<String>,
}

/// Measures in turns, compares and prints. `measure` does one run.
pub(crate) fn run<E: Display>(
    options: &Options,
    contenders: &[Contender; 2],
    signals: &Signals,
    mut measure: impl FnMut(&Target) -> Result<Report, E>,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut sides =
        contenders.clone().map(|it| Side { name: it.name, reports: Vec::<Report>::new() });
    let turns = turns(options.repeats);
    for (n, &which) in turns.iter().enumerate() {
        let (contender, side) = (&contenders[which], &mut sides[which]);
        let of = format!("run {} of {}, {}", n + 1, turns.len(), contender.name);
        let report = match one_run(contender, options, signals, &mut measure) {
            Ok(report) => report,
            Err(_) if signals.came() => break,
            Err(error) => return Err(format!("{of}: {error}").into()),
        };
        eprintln!("sockeye: {of}: {}", summary(&report));
        let reason = report.verdict.reasons.first().cloned().unwrap_or_default();
        match report.verdict.outcome {
            Outcome::Invalid => {
                eprintln!("sockeye: {of}: INVALID, so there is nothing to compare: {reason}");
                return Ok(ExitCode::from(exit::INVALID));
            }
            Outcome::Interrupted => break,
            Outcome::Failed => eprintln!("sockeye: {of}: failed: {reason}"),
            Outcome::Ok | Outcome::SloBreached => {}
        }
        side.reports.push(report);
    }
    conclude(options, &sides, turns.len(), signals)
}

fn conclude(
    options: &Options,
    sides: &[Side; 2],
    turns: usize,
    signals: &Signals,
) -> Result<ExitCode, Box<dyn Error>> {
    let done: usize = sides.iter().map(|side| side.reports.len()).sum();
    let mut judge = options.judge.clone();
    if done < turns {
        eprintln!("sockeye: interrupted after {done} of {turns} runs");
        // What is half done passes or fails nothing.
        judge.fail_on.clear();
    }
    let mut code = ExitCode::SUCCESS;
    if sides.iter().all(|side| !side.reports.is_empty()) {
        let comparison = compare(&sides[0], &sides[1], judge.statistic());
        code = compare::conclude(&[comparison], &judge)?;
    }
    if done < turns {
        return Ok(ExitCode::from(signals.exit_code()));
    }
    let failed = |report: &Report| report.verdict.outcome == Outcome::Failed;
    let any_failed = sides.iter().flat_map(|side| &side.reports).any(failed);
    Ok(if any_failed { ExitCode::FAILURE } else { code })
}

fn one_run<E: Display>(
    contender: &Contender,
    options: &Options,
    signals: &Signals,
    measure: &mut impl FnMut(&Target) -> Result<Report, E>,
) -> Result<Report, String> {
    let target = |port: Option<u16>, server_pid| Target {
        name: contender.name.clone(),
        url: port.map_or_else(
            || contender.url.clone(),
            |port| contender.url.replace("{port}", &port.to_string()),
        ),
        server_pid,
    };
    let Some(command) = &contender.command else {
        return measure(&target(None, None)).map_err(|error| error.to_string());
    };
    let timeout = Duration::from_secs(options.server_start_timeout_s);
    let server = ServerProcess::start(command, timeout, &|| signals.came())?;
    let result = measure(&target(Some(server.port()), Some(server.pid())));
    result.map_err(|error| match server.end() {
        said if said.is_empty() => error.to_string(),
        said => format!("{error}; the server's last words: {said}"),
    })
}

/// 0 is the first of the two.
fn turns(repeats: u32) -> Vec<usize> {
    (0..repeats).flat_map(|n| if n % 2 == 0 { [0, 1] } else { [1, 0] }).collect()
}

fn summary(report: &Report) -> String {
    let show = |metric: Metric| {
        let value = metric.of_run(report).map_or_else(|| "-".into(), |value| metric.show(value));
        format!("{} {value}", metric.name())
    };
    [Metric::P50, Metric::P99, Metric::Rate].map(show).join(", ")
}

/// The two of the command line, the baseline first.
pub(crate) fn contenders(options: &Options) -> Result<[Contender; 2], String> {
    let command_of = |name: &str| {
        options.commands.iter().find(|command| command.name == name).map(|it| it.value.clone())
    };
    let mut all: Vec<_> = options
        .servers
        .iter()
        .map(|Named { name, value }| Contender {
            name: name.clone(),
            url: value.clone(),
            command: command_of(name),
        })
        .collect();
    for Named { name, value } in &options.commands {
        if !options.servers.iter().any(|server| server.name == *name) {
            all.push(Contender {
                name: name.clone(),
                url: "ws://127.0.0.1:{port}/".into(),
                command: Some(value.clone()),
            });
        }
    }
    if let Some(Contender { name, .. }) =
        all.iter().find(|it| it.command.is_none() && it.url.contains("{port}"))
    {
        return Err(format!("--server {name}: {{port}} needs --server-command {name}=..."));
    }
    let found = all.len();
    match <[Contender; 2]>::try_from(all) {
        Ok(two) if two[0].name != two[1].name => Ok(two),
        Ok([Contender { name, .. }, _]) => Err(format!("two servers are called {name}")),
        Err(_) => Err(format!(
            "ab compares two servers, not {found}: --server A=URL --server B=URL, or \
             --server-command A='./server --port {{port}}'"
        )),
    }
}

#[cfg(test)]
mod tests;
