//! `sockeye compare`: two runs or more, and whether they differ.

mod analysis;
mod files;
mod metric;
mod show;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;

pub(crate) use analysis::{Change, Comparison, Side, compare};
#[cfg(test)]
pub(crate) use files::parse;
pub(crate) use metric::Metric;
pub(crate) use show::Format;

use crate::exit;
use crate::load::units::share;
use crate::stats::Statistic;

/// Options of `compare`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Reports (JSON): the baseline, then one candidate or more
    ///
    /// Of several runs of the same thing give all, with commas: a1.json,a2.json.
    #[arg(required = true, value_name = "REPORT,..")]
    reports: Vec<String>,
    /// The baseline; then all others are candidates
    #[arg(long, value_name = "REPORT,..")]
    baseline: Option<String>,
    #[command(flatten)]
    judge: JudgeOptions,
    /// Compare runs of different scenarios, payloads or rates all the same
    #[arg(long)]
    force: bool,
}

/// What `compare` and `ab` do with what they find.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Judgement")]
pub(crate) struct JudgeOptions {
    /// Exit with 5 if this is worse by more, such as 'p99>5%'; may be repeated
    ///
    /// If it is significantly worse, that is. For p50, p90, p99, p99.9, rate, cpu, rss and errors.
    #[arg(long = "fail-on", value_name = "LIMIT")]
    pub(crate) fail_on: Vec<FailOn>,
    /// Compare medians, not means
    ///
    /// One odd run or window does not matter then, but neither does a stall that only some have,
    /// and small differences are seen less often.
    #[arg(long)]
    medians: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown, for a comment on a change
    #[arg(long)]
    markdown: bool,
}

impl JudgeOptions {
    pub(crate) const fn statistic(&self) -> Statistic {
        if self.medians { Statistic::Median } else { Statistic::Mean }
    }

    const fn format(&self) -> Format {
        match (self.json, self.markdown) {
            (true, _) => Format::Json,
            (_, true) => Format::Markdown,
            _ => Format::Text,
        }
    }
}

/// How much worse is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FailOn {
    metric: Metric,
    /// 0.05 for 5 %.
    worse_by: f64,
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (metric, percent) = text.split_once('>')?;
            let percent: f64 = percent.trim().strip_suffix('%')?.trim().parse().ok()?;
            let metric = Metric::ALL.into_iter().find(|known| known.name() == metric.trim())?;
            (percent >= 0.0 && percent.is_finite())
                .then_some(Self { metric, worse_by: percent / 100.0 })
        };
        parse().ok_or_else(|| {
            let names = Metric::ALL.map(Metric::name).join(", ");
            format!("{text:?}: give METRIC>PERCENT%, as in p99>5%; metrics are {names}")
        })
    }
}

impl FailOn {
    /// The sentence, if this could not be tested: then it has passed nothing.
    fn untested(&self, comparison: &Comparison) -> Option<String> {
        let row = comparison.rows.iter().find(|row| row.metric == self.metric);
        let why = match row {
            None => "a side has no such figure",
            Some(row) if !row.is_tested => "there are too few samples",
            Some(_) => return None,
        };
        Some(format!("{}: {} was not judged: {why}", comparison.candidate, self.metric.name()))
    }

    /// The sentence, if the candidate is worse by more than that.
    fn breach(&self, comparison: &Comparison) -> Option<String> {
        let row = comparison.rows.iter().find(|row| row.metric == self.metric)?;
        // From nothing to something is more than any share.
        let worse_by = row.worse_by().unwrap_or(f64::INFINITY);
        (row.change == Change::Worse && worse_by > self.worse_by).then(|| {
            format!(
                "{}: {} is worse by {}, more than {} %",
                comparison.candidate,
                self.metric.name(),
                share(worse_by),
                self.worse_by * 100.0
            )
        })
    }
}

/// Reads, compares, prints.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (baseline, candidates) = match (&options.baseline, options.reports.as_slice()) {
        (Some(baseline), candidates) => (baseline, candidates),
        (None, [baseline, candidates @ ..]) if !candidates.is_empty() => (baseline, candidates),
        _ => return Ok(exit::usage("compare needs two reports: compare a.json b.json")),
    };
    let side = |list: &String| {
        let paths = list.split(',').filter(|path| !path.is_empty()).map(PathBuf::from);
        let reports = paths.map(|path| files::read(&path)).collect::<Result<Vec<_>, _>>()?;
        if reports.is_empty() {
            return Err(format!("{list:?} names no file"));
        }
        Ok(Side { name: list.clone(), reports })
    };
    let baseline = side(baseline)?;
    let candidates = candidates.iter().map(side).collect::<Result<Vec<_>, _>>()?;
    if let Some(why) = files::invalid(std::iter::once(&baseline).chain(&candidates)) {
        eprintln!("sockeye: {why}");
        return Ok(ExitCode::from(exit::INVALID));
    }
    if !options.force {
        for side in std::iter::once(&baseline).chain(&candidates) {
            files::check_alike(&baseline, side)?;
        }
    }
    let comparisons: Vec<_> = candidates
        .iter()
        .map(|candidate| compare(&baseline, candidate, options.judge.statistic()))
        .collect();
    conclude(&comparisons, &options.judge)
}

/// Prints what was found, and looks at `--fail-on`.
pub(crate) fn conclude(
    comparisons: &[Comparison],
    options: &JudgeOptions,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(show::text(comparisons, options.format())?.as_bytes())?;
    stdout.flush()?;
    let mut code = ExitCode::SUCCESS;
    for comparison in comparisons {
        for fail_on in &options.fail_on {
            if let Some(why) = fail_on.untested(comparison) {
                eprintln!("sockeye: {why}");
            }
            if let Some(breach) = fail_on.breach(comparison) {
                eprintln!("sockeye: {breach}");
                code = ExitCode::from(exit::REGRESSION);
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests;
