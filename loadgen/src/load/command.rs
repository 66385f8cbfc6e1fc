//! `sockeye load`: from the command line to the exit code.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::{ab, exit};

use super::judge;
use super::options::LoadOptions;
use super::output::progress::Progress;
use super::output::{MetricsOptions, OutputOptions, text};
use super::preflight::{Demand, Limits, Preflight, Severity};
use super::report::{LoadKind, Observer, Outcome, Report, Stage};
use super::run::Setup;
use super::search::{SearchOptions, find_max};
use super::signals::Signals;
use super::slo::Slo;
use super::target::Place;
use super::tui::Tui;
use super::units;
use super::worker::Control;

/// Options of `load`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: ws://HOST:PORT/PATH or wss://HOST/PATH
    url: String,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    gates: GateOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    metrics: MetricsOptions,
    /// Only say whether this machine can do it, and what to change if not
    #[arg(long, help_heading = "Client")]
    preflight: bool,
    /// Show nothing while it runs
    #[arg(long, short, help_heading = "Terminal")]
    quiet: bool,
    /// Show progress as lines, not as a screen
    #[arg(long, conflicts_with = "quiet", help_heading = "Terminal")]
    plain: bool,
}

/// What decides over the exit code.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct GateOptions {
    /// A limit, such as 'p99<5ms' or 'errors<0.1%'; may be repeated
    ///
    /// A metric, one of < <= > >=, and a bound. Metrics are pN, max, min and mean of the response
    /// time, or of another as in p99(service) or connect.p99 (response, service, lag, ping,
    /// connect, tls, upgrade, first_message, skew, slow); errors and reach in %; rate in messages
    /// a second. If one is not kept the exit code is 3.
    #[arg(long, value_name = "LIMIT")]
    slo: Vec<Slo>,
    /// Find the highest rate that keeps every --slo
    ///
    /// In runs of --duration each. The first has --rate, which is doubled until a limit breaks.
    #[arg(long, requires = "slo", conflicts_with_all = ["ramp", "steps", "closed"])]
    find_max: bool,
    /// How near the result comes to the lowest rate that fails
    #[arg(long, value_name = "SHARE", default_value = "2%", requires = "find_max")]
    #[arg(value_parser = units::parse_share)]
    find_max_tolerance: f64,
    /// Try no rate above this
    #[arg(long, value_name = "RATE", default_value = "100M", requires = "find_max")]
    #[arg(value_parser = units::parse_rate_above_zero)]
    find_max_cap: f64,
    /// How many more runs must keep the limits at the rate that was found
    #[arg(long, value_name = "N", default_value_t = 3, requires = "find_max")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    find_max_confirmations: u32,
}

/// Loads, shows, writes, judges.
pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    options.output.check()?;
    let setup = options.metrics.check().and_then(|()| options.load.setup(&options.url));
    let mut setup = match setup {
        Ok(setup) => Setup { tallies: options.metrics.is_wanted(), ..setup },
        Err(error) => return Ok(exit::usage(error)),
    };
    if options.gates.find_max && setup.plan.load != LoadKind::Open {
        let what = "--find-max needs a rate: not --file, and not --scenario push or idle";
        return Ok(exit::usage(what));
    }
    let preflight = examine(&setup);
    if options.preflight {
        println!("{preflight}");
        return Ok(ExitCode::from(if preflight.has_errors() { exit::USAGE } else { 0 }));
    }
    for finding in preflight.findings.iter().filter(|it| it.severity > Severity::Note) {
        eprintln!("sockeye: {finding}");
    }
    if preflight.has_errors() {
        return Ok(ExitCode::from(exit::USAGE));
    }
    setup.target.reach(Duration::from_nanos(setup.plan.connect_timeout_ns))?;
    let signals = Signals::of_a_run()?;
    let mut ndjson = options.output.ndjson()?;
    let mut metrics = options.metrics.start(&setup.info)?;
    let mut report = {
        let mut screen = options.screen(&signals.control)?;
        let mut observers: Vec<&mut dyn Observer> = Vec::new();
        observers.extend(ndjson.as_mut().map(|ndjson| ndjson as &mut dyn Observer));
        observers.extend(metrics.as_mut().map(|metrics| metrics as &mut dyn Observer));
        observers.extend(screen.as_mut().map(|screen| &mut **screen as &mut dyn Observer));
        if options.gates.find_max {
            options.search(&setup, &signals, &mut observers)?
        } else {
            once(&setup, &options.gates.slo, &signals, &mut observers)?
        }
    };
    report.command = command_line(env::args());
    if let Some(ndjson) = &mut ndjson {
        ndjson.end(&report).map_err(|error| format!("--ndjson: {error}"))?;
    }
    options.show(&report).map_err(|error| format!("the report cannot be shown: {error}"))?;
    let written = options.output.write(&report);
    // Figures that were not taken are worth a word, but not the run.
    if let Some(Err(error)) = metrics.map(|metrics| metrics.finish(&report)) {
        eprintln!("sockeye: {error}");
    }
    written?;
    Ok(exit_code(&report, &signals))
}

/// One run, judged.
pub(crate) fn once(
    setup: &Setup,
    slo: &[Slo],
    signals: &Signals,
    observers: &mut [&mut dyn Observer],
) -> Result<Report, String> {
    let measured = super::run::run(setup, &signals.control, observers)?;
    Ok(judge::report(setup, measured, slo, signals.came()))
}

impl Options {
    /// Who shows the run while it lasts.
    fn screen(&self, control: &Arc<Control>) -> Result<Option<Box<dyn Observer>>, String> {
        if self.quiet {
            return Ok(None);
        }
        if self.plain || !io::stderr().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Some(Box::new(Progress::new(io::stderr()))));
        }
        let screen = Tui::start(Arc::clone(&control.stop))
            .map_err(|error| format!("the screen cannot be drawn (try --plain): {error}"))?;
        Ok(Some(Box::new(screen)))
    }

    fn search(
        &self,
        setup: &Setup,
        signals: &Signals,
        observers: &mut [&mut dyn Observer],
    ) -> Result<Report, String> {
        let gates = &self.gates;
        let search = SearchOptions {
            start_per_s: setup.plan.stages.first().map_or(1000.0, |stage| stage.to_per_s),
            cap_per_s: gates.find_max_cap,
            tolerance: gates.find_max_tolerance,
            confirmations: gates.find_max_confirmations,
            ..SearchOptions::new(gates.slo.clone())
        };
        let found = find_max(&search, |per_s| {
            eprintln!("trying {}", units::rate(per_s));
            once(&at_rate(setup, per_s), &gates.slo, signals, observers)
        });
        let found = found.map_err(|(error, _)| error)?;
        eprintln!("{}", found.end.sentence());
        Ok(found.into_report().ok_or("not one run was made")?)
    }

    fn show(&self, report: &Report) -> io::Result<()> {
        if self.output.takes_stdout() {
            let colour = io::stderr().is_terminal();
            return io::stderr().write_all(text::render(report, colour).as_bytes());
        }
        let colour = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        io::stdout().write_all(text::render(report, colour).as_bytes())
    }
}

/// The same at another rate.
fn at_rate(setup: &Setup, per_s: f64) -> Setup {
    let mut setup = setup.clone();
    let plan = Arc::make_mut(&mut setup.plan);
    let seconds = plan.stages.iter().map(|stage| stage.seconds).sum();
    plan.stages = vec![Stage { from_per_s: per_s, to_per_s: per_s, seconds }];
    setup.info.stages.clone_from(&plan.stages);
    setup
}

/// The exit code of a report.
pub(crate) fn exit_code(report: &Report, signals: &Signals) -> ExitCode {
    ExitCode::from(match report.verdict.outcome {
        Outcome::Ok => 0,
        Outcome::Failed => exit::FAILED,
        Outcome::SloBreached => exit::SLO_BREACHED,
        Outcome::Invalid => exit::INVALID,
        Outcome::Interrupted => signals.exit_code(),
    })
}

/// Whether this machine can do it.
fn examine(setup: &Setup) -> Preflight {
    let place = setup.target.place();
    let demand = Demand {
        connections: setup.plan.connections as u64,
        sources: setup.sources.count(),
        is_unix: matches!(place, Place::Unix(_)),
        is_local: place.is_loopback(),
        tls: setup.tls.is_some(),
        connects_per_s: setup.plan.connect_per_s,
    };
    Preflight::check(&demand, &Limits::read())
}

/// Options of `ab`.
#[derive(Debug, Args)]
pub(crate) struct AbOptions {
    #[command(flatten)]
    ab: ab::Options,
    #[command(flatten)]
    load: LoadOptions,
}

/// Two servers in turns.
pub(crate) fn run_ab(options: &AbOptions) -> Result<ExitCode, Box<dyn Error>> {
    // What is wrong with them is known before a server is started.
    let contenders = ab::contenders(&options.ab).and_then(|contenders| {
        let [baseline, _] = &contenders;
        // A port that is not known yet is one that could be.
        options.load.setup(&baseline.url.replace("{port}", "1"))?;
        Ok(contenders)
    });
    let contenders = match contenders {
        Ok(contenders) => contenders,
        Err(error) => return Ok(exit::usage(error)),
    };
    let signals = Signals::of_one_with_servers()?;
    ab::run(&options.ab, &contenders, &signals, |target| {
        let mut setup = options.load.setup(&target.url)?;
        setup.server_pid = target.server_pid.or(setup.server_pid);
        setup.target.reach(Duration::from_nanos(setup.plan.connect_timeout_ns))?;
        once(&setup, &[], &signals, &mut [])
    })
}

/// The command line without what is nobody's business.
fn command_line(arguments: impl Iterator<Item = String>) -> Vec<String> {
    const SECRET: [&str; 5] =
        ["--header", "-H", "--cookie", "--proxy-auth", "--remote-write-header"];
    let mut line: Vec<String> = Vec::new();
    for argument in arguments {
        let follows = line.last().is_some_and(|last| SECRET.contains(&last.as_str()));
        let named = argument.split_once('=').filter(|(name, _)| SECRET.contains(name));
        line.push(match named {
            _ if follows => "..".into(),
            Some((name, _)) => format!("{name}=.."),
            None if argument.starts_with("-H") && argument.len() > 2 => "-H..".into(),
            None => argument,
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_stand_in_reports() {
        let line = "sockeye load ws://h/ -H A:1 --header=B:2 --cookie c=3 -HD:4 --rate 5 \
                    --remote-write-header E:5";
        let line = command_line(line.split(' ').map(str::to_owned)).join(" ");
        let expected = "sockeye load ws://h/ -H .. --header=.. --cookie .. -H.. --rate 5 \
                        --remote-write-header ..";
        assert_eq!(line, expected);
    }
}
