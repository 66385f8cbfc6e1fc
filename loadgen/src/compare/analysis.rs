//! Samples of two sides, and what they say.

use super::metric::Metric;
use crate::load::report::{Phase, Report};
use crate::stats::{self, Bootstrap, Interval, Statistic};

/// Fewer runs on each side cannot show a difference at 5 %, whatever they say: three and three
/// have 20 orders, of which two are extreme.
pub(crate) const RUNS_MIN: usize = 4;

/// Fewer windows say nothing of how they vary.
const WINDOWS_MIN: usize = 8;

/// Within a run less is not called a difference: it is what one run differs from the next.
const WINDOWS_RELEVANT: f64 = 0.01;

const RESAMPLES: usize = 10_000;
const SEED: u64 = 0x50c_5e7e;

/// Runs of the same thing.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) reports: Vec<Report>,
}

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// A run.
    Run,
    /// A window of a run, usually a second. Neighbours are alike and are drawn in blocks.
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Better,
    Worse,
    NotSignificant,
}

/// One metric.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) metric: Metric,
    pub(crate) baseline: f64,
    pub(crate) candidate: f64,
    /// `None` where there are too few samples, or nothing to divide by.
    pub(crate) interval: Option<Interval>,
    /// Of Mann and Whitney's test, of runs only: windows are not independent of each other.
    pub(crate) p_value: Option<f64>,
    /// The smallest relative difference that would probably have been seen.
    pub(crate) detectable: Option<f64>,
    pub(crate) change: Change,
    /// There were samples enough to say anything.
    pub(crate) is_tested: bool,
}

impl Row {
    /// By which share of the baseline the candidate is worse; negative if it is better, `None` if
    /// the baseline is 0.
    pub(crate) fn worse_by(&self) -> Option<f64> {
        let change = self.ratio()? - 1.0;
        Some(if self.metric.more_is_better() { -change } else { change })
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        (self.baseline > 0.0).then(|| self.candidate / self.baseline)
    }

    /// In a word.
    pub(crate) const fn verdict(&self) -> &'static str {
        let [better, worse] = self.metric.words();
        match self.change {
            Change::Better => better,
            Change::Worse => worse,
            Change::NotSignificant if !self.is_tested => "too few samples",
            Change::NotSignificant => "not significant",
        }
    }
}

/// A candidate beside the baseline.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) baseline: String,
    pub(crate) candidate: String,
    pub(crate) sample: Sample,
    pub(crate) statistic: Statistic,
    /// Runs, or windows, on each side.
    pub(crate) counts: [usize; 2],
    /// What the times are: `response`, or what the report shows instead.
    pub(crate) times: &'static str,
    pub(crate) rows: Vec<Row>,
    /// What the reader should know.
    pub(crate) notes: Vec<String>,
}

/// Compares, with runs as samples if there are enough of them, else with their windows.
pub(crate) fn compare(baseline: &Side, candidate: &Side, statistic: Statistic) -> Comparison {
    let sides = [baseline, candidate];
    let enough = sides.iter().all(|side| side.reports.len() >= RUNS_MIN);
    let sample = if enough { Sample::Run } else { Sample::Window };
    let rows = Metric::ALL.into_iter();
    let rows = rows.filter_map(|metric| row(metric, sample, statistic, sides)).collect();
    let headline = baseline.reports.iter().find_map(|report| report.latency.headline());
    Comparison {
        baseline: baseline.name.clone(),
        candidate: candidate.name.clone(),
        sample,
        statistic,
        counts: sides.map(|side| count(side, sample)),
        times: headline.map_or("response", |(times, _)| times),
        rows,
        notes: notes(sides, sample),
    }
}

fn count(side: &Side, sample: Sample) -> usize {
    match sample {
        Sample::Run => side.reports.len(),
        Sample::Window => side.reports.iter().map(|report| measured(report).count()).sum(),
    }
}

fn measured(report: &Report) -> impl Iterator<Item = &crate::load::report::Window> {
    report.series.iter().filter(|window| window.phase == Phase::Measuring)
}

fn samples(metric: Metric, sample: Sample, side: &Side) -> Vec<f64> {
    let reports = side.reports.iter();
    match sample {
        Sample::Run => reports.filter_map(|report| metric.of_run(report)).collect(),
        Sample::Window => reports
            .flat_map(|report| {
                measured(report).filter_map(|window| metric.of_window(&report.plan, window))
            })
            .collect(),
    }
}

/// `None` if a side has nothing of this metric.
fn row(metric: Metric, sample: Sample, statistic: Statistic, sides: [&Side; 2]) -> Option<Row> {
    let [baseline, candidate] = sides.map(|side| samples(metric, sample, side));
    let fewest = baseline.len().min(candidate.len());
    let enough = match sample {
        Sample::Run => fewest >= RUNS_MIN,
        Sample::Window => fewest >= WINDOWS_MIN,
    };
    if !enough {
        let [baseline, candidate] = sides.map(|side| samples(metric, Sample::Run, side));
        return (!baseline.is_empty() && !candidate.is_empty()).then(|| Row {
            metric,
            baseline: statistic.of(&baseline),
            candidate: statistic.of(&candidate),
            interval: None,
            p_value: None,
            detectable: None,
            change: Change::NotSignificant,
            is_tested: false,
        });
    }
    let blocks = match sample {
        Sample::Run => [1, 1],
        Sample::Window => [stats::block_length(&baseline), stats::block_length(&candidate)],
    };
    let bootstrap = Bootstrap { statistic, resamples: RESAMPLES, seed: SEED };
    let independent = [block_means(&baseline, blocks[0]), block_means(&candidate, blocks[1])];
    let fewest = independent[0].len().min(independent[1].len());
    let mut row = Row {
        metric,
        baseline: statistic.of(&baseline),
        candidate: statistic.of(&candidate),
        interval: bootstrap.ratio(&baseline, &candidate, blocks),
        p_value: (sample == Sample::Run).then(|| stats::mann_whitney_p(&baseline, &candidate)),
        detectable: stats::minimum_detectable_effect(fewest, spread(&independent))
            .filter(|effect| *effect > 0.0),
        change: Change::NotSignificant,
        is_tested: true,
    };
    row.change = change(&row, sample);
    Some(row)
}

/// Blocks are as good as independent of each other where their samples are not.
fn block_means(samples: &[f64], block: usize) -> Vec<f64> {
    samples.chunks_exact(block).map(stats::mean).collect()
}

/// The standard deviation of both sides, as a share of their means.
fn spread([baseline, candidate]: &[Vec<f64>; 2]) -> f64 {
    let relative = |side: &[f64]| {
        let mean = stats::mean(side);
        if mean > 0.0 { stats::variance(side) / (mean * mean) } else { 0.0 }
    };
    f64::midpoint(relative(baseline), relative(candidate)).sqrt()
}

/// A difference is called where the interval leaves out 1 and, of runs, the order of the samples
/// agrees; of windows only from a size on.
fn change(row: &Row, sample: Sample) -> Change {
    let ranks_agree = row.p_value.is_none_or(|p_value| p_value < stats::SIGNIFICANCE);
    let sure = match row.interval {
        Some(interval) => {
            let relevant = sample == Sample::Run || (interval.ratio - 1.0).abs() > WINDOWS_RELEVANT;
            interval.excludes_one() && relevant
        }
        // Nothing to divide by: the ranks alone say it, of runs; windows do not.
        None => row.p_value.is_some(),
    };
    if !sure || !ranks_agree || row.baseline == row.candidate {
        return Change::NotSignificant;
    }
    let rose = row.candidate > row.baseline;
    if rose == row.metric.more_is_better() { Change::Better } else { Change::Worse }
}

fn notes(sides: [&Side; 2], sample: Sample) -> Vec<String> {
    let mut notes = Vec::new();
    if sample == Sample::Window {
        notes.push(format!(
            "what differs from run to run is in no interval, and less than {:.0} % is called no \
             difference: compare {RUNS_MIN} runs or more of each, or use sockeye ab",
            WINDOWS_RELEVANT * 100.0
        ));
        if sides.iter().any(|side| count(side, sample) < WINDOWS_MIN) {
            notes.push(format!(
                "fewer than {WINDOWS_MIN} windows of a side are too few for an interval: measure \
                 for longer, or more often"
            ));
        }
        if sides.iter().all(|side| side.reports.iter().any(|report| report.server.is_some())) {
            notes.push(format!(
                "server RSS is one figure of each run, the most that it had, so it has no \
                 interval: compare {RUNS_MIN} runs or more of each"
            ));
        }
    }
    let machine = &sides[0].reports[0].machine;
    let mut reports = sides.iter().flat_map(|side| &side.reports);
    if reports.clone().any(|report| report.machine != *machine) {
        notes.push("the runs were made on different machines or kernels".into());
    }
    if reports.any(|report| report.plan.load == crate::load::report::LoadKind::Closed) {
        notes.push(
            "closed loop: a server that stalls stops the clock, and its percentiles are too good"
                .into(),
        );
    }
    for side in sides {
        use crate::load::report::Outcome::{Failed, Interrupted};
        let odd = |report: &&Report| matches!(report.verdict.outcome, Failed | Interrupted);
        let count = side.reports.iter().filter(odd).count();
        if count > 0 {
            notes.push(format!("{}: {count} of its runs failed or were interrupted", side.name));
        }
    }
    notes
}
