//! `sockeye load`: from the command line to the exit code.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::options::LoadOptions;
use super::output::progress::Progress;
use super::output::{OutputOptions, text};
use super::report::{Observer, Outcome, Report, Stage};
use super::run::Setup;
use super::search::{SearchOptions, find_max};
use super::slo::Slo;
use super::units;
use super::worker::Control;
use super::{judge, preflight, tui};

/// What the shell sees of an end that is nobody's fault but the server's.
const FAILED: u8 = 1;
const SLO_BREACHED: u8 = 3;
const INVALID: u8 = 4;

/// Options of `load`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to: ws://HOST:PORT/PATH or wss://HOST/PATH
    url: String,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    gates: GateOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Say whether this machine can do it and what is to be changed if not, and do nothing
    #[arg(long)]
    preflight: bool,
    /// Show nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Show lines, not a screen, on a terminal too
    #[arg(long, conflicts_with = "quiet")]
    plain: bool,
}

/// What decides over the exit code.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct GateOptions {
    /// A limit to be kept, such as 'p99<5ms', 'errors<0.1%' or 'reach>99.9%'; else exit code 3
    #[arg(long, value_name = "LIMIT")]
    slo: Vec<Slo>,
    /// Find the highest rate that keeps every --slo, in runs of --duration each
    #[arg(long, requires = "slo", conflicts_with_all = ["ramp", "steps", "closed"])]
    find_max: bool,
    /// How near the result is to the lowest rate that fails
    #[arg(long, value_name = "SHARE", default_value = "2%", requires = "find_max")]
    #[arg(value_parser = units::parse_share)]
    find_max_tolerance: f64,
    /// No rate above this is tried
    #[arg(long, value_name = "RATE", default_value = "100M", requires = "find_max")]
    #[arg(value_parser = units::parse_rate)]
    find_max_cap: f64,
    /// How often the result has to keep the limits again
    #[arg(long, value_name = "N", default_value_t = 3, requires = "find_max")]
    find_max_confirmations: u32,
}

/// Loads, shows, writes, judges.
pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    options.output.check()?;
    let setup = match options.load.setup(&options.url) {
        Ok(setup) => setup,
        Err(error) => return Ok(usage(&error)),
    };
    let findings = preflight::examine(&setup);
    if options.preflight {
        print!("{findings}");
        return Ok(ExitCode::from(if findings.is_possible() { 0 } else { 2 }));
    }
    if !findings.is_possible() {
        eprint!("{findings}");
        return Ok(ExitCode::from(2));
    }
    if findings.has_warnings() {
        eprint!("{findings}");
    }
    let signals = Signals::new()?;
    let mut ndjson = options.output.ndjson()?;
    let mut report = {
        let mut screen = options.screen(&signals.control)?;
        let mut observers: Vec<&mut dyn Observer> = Vec::new();
        observers.extend(ndjson.as_mut().map(|ndjson| ndjson as &mut dyn Observer));
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
    options.output.write(&report)?;
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
        let control = Arc::clone(control);
        let stop = move || {
            control.by_hand.store(true, Ordering::Relaxed);
            control.stop.store(true, Ordering::Relaxed);
        };
        let screen = tui::Screen::new(stop)
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
        let mut report = found.report.ok_or("not one run was made")?;
        report.verdict.reasons.push(found.end.sentence());
        report.search = Some(found.search);
        Ok(report)
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

/// The signals that end a run: the first lets it report, a second one does not wait for that.
pub(crate) struct Signals {
    pub(crate) control: Arc<Control>,
    signal: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, String> {
        let control = Arc::new(Control::default());
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            let stop = Arc::clone(&control.stop);
            // In this order: the second one finds the flag set by the first.
            signal_hook::flag::register_conditional_shutdown(
                number,
                128 + number,
                Arc::clone(&stop),
            )
            .and_then(|_| signal_hook::flag::register(number, stop))
            .and_then(|_| {
                signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)
            })
            .map_err(|error| format!("signals cannot be handled: {error}"))?;
        }
        Ok(Self { control, signal })
    }

    /// Whether one came, or somebody at the screen wanted an end.
    pub(crate) fn came(&self) -> bool {
        self.number() != 0
    }

    /// Its number; an end that was asked for at the screen counts as Ctrl-C.
    fn number(&self) -> usize {
        match self.signal.load(Ordering::Relaxed) {
            0 if self.control.by_hand.load(Ordering::Relaxed) => SIGINT as usize,
            number => number,
        }
    }
}

/// The exit code of a report.
pub(crate) fn exit_code(report: &Report, signals: &Signals) -> ExitCode {
    ExitCode::from(match report.verdict.outcome {
        Outcome::Ok => 0,
        Outcome::Failed => FAILED,
        Outcome::SloBreached => SLO_BREACHED,
        Outcome::Invalid => INVALID,
        Outcome::Interrupted => 128_u8.wrapping_add(signals.number() as u8),
    })
}

/// What is wrong with the command line, as all such errors are said.
pub(crate) fn usage(error: &str) -> ExitCode {
    eprintln!("sockeye: {error}");
    ExitCode::from(2)
}

/// The command line without what is nobody's business.
fn command_line(arguments: impl Iterator<Item = String>) -> Vec<String> {
    const SECRET: [&str; 3] = ["--header", "-H", "--cookie"];
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
        let line = "sockeye load ws://h/ -H A:1 --header=B:2 --cookie c=3 -HD:4 --rate 5";
        let line = command_line(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(line, "sockeye load ws://h/ -H .. --header=.. --cookie .. -H.. --rate 5");
    }
}
