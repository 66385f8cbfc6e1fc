//! `--find-max`: the highest rate at which a server keeps its limits, found by runs.
//!
//! The rate doubles until a run fails, the gap is halved until it is narrow, and what is left has
//! to keep the limits several times in a row. Noise is met halfway: a failure is tried once more,
//! a success is confirmed.
//!
//! A client that was late has not necessarily spoilt a run: response times count from when a
//! message was due, so they are too long by what the client was late. If they keep the limits all
//! the same, so does the server. A limit that breaks while the client is late proves nothing.

use super::judge;
use super::report::{Outcome, Report, Search, SearchStep};
use super::slo::Slo;
use super::units;

/// Under this share of its rate a run fails: the server did not take what was sent.
const RATE_RATIO_MIN: f64 = 0.99;

/// Under this share there is no doubt that is worth another run.
const RATE_RATIO_HOPELESS: f64 = 0.9;

/// How often the first rate is halved before it is given up.
const HALVINGS_MAX: u32 = 10;

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SearchOptions {
    pub(crate) slo: Vec<Slo>,
    pub(crate) start_per_s: f64,
    /// Nothing is tried above this.
    pub(crate) cap_per_s: f64,
    /// How near, relatively, the result is to the lowest rate that fails.
    pub(crate) tolerance: f64,
    /// How often the result has to keep the limits again.
    pub(crate) confirmations: u32,
    /// Runs in all.
    pub(crate) runs_max: usize,
}

impl SearchOptions {
    pub(crate) fn new(slo: Vec<Slo>) -> Self {
        Self {
            slo,
            start_per_s: 1_000.0,
            cap_per_s: 100e6,
            tolerance: 0.02,
            confirmations: 3,
            runs_max: 60,
        }
    }
}

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SearchEnd {
    /// Above the rate that was found the limits are not kept.
    Limits,
    /// At this rate the client was the bottleneck: the server may be able to do more than was
    /// found.
    Client { rate_per_s: f64 },
    /// The limits were kept at the highest rate that was allowed.
    Cap,
    /// Not even the lowest rate was kept.
    Nothing,
    /// There were as many runs as allowed before a rate was confirmed.
    Runs,
    /// A signal ended a run.
    Interrupted,
}

impl SearchEnd {
    /// The sentence for the reader.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Limits => "above this rate the limits are not kept".into(),
            Self::Client { rate_per_s } => format!(
                "at {} the client was the limit, not the server, which may be able to do more: \
                 give the client more processors or --threads",
                units::rate(*rate_per_s)
            ),
            Self::Cap => "the limits are kept at the highest rate allowed: raise the cap".into(),
            Self::Nothing => "no rate keeps the limits, not even the lowest tried: \
                 loosen --slo or start lower"
                .into(),
            Self::Runs => "the runs allowed were used up before a rate was confirmed: \
                 the results vary too much, use longer runs"
                .into(),
            Self::Interrupted => "a signal ended the search".into(),
        }
    }
}

/// What a search has found, as far as it came.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) search: Search,
    pub(crate) end: SearchEnd,
    /// The last run at the rate that was found; without one, the last run of all.
    pub(crate) report: Option<Report>,
}

impl Found {
    /// The report to show: of the last run, with what the search has come to. `None`: not one run
    /// was made.
    pub(crate) fn into_report(self) -> Option<Report> {
        let mut report = self.report?;
        let verdict = &mut report.verdict;
        match (self.search.found_per_s, verdict.outcome) {
            // The last confirmation, in which the client was late and nothing broke.
            (Some(_), Outcome::Invalid) => {
                verdict.outcome = Outcome::Ok;
                verdict.reasons.insert(0, LATE.into());
            }
            (None, Outcome::Ok) => verdict.outcome = Outcome::SloBreached,
            _ => {}
        }
        verdict.reasons.push(self.end.sentence());
        report.search = Some(self.search);
        Some(report)
    }
}

/// What a rate is worth that was kept by a client that was late.
const LATE: &str = "the client was late, and every limit was kept all the same: the server's \
     response times are no longer than these, and may be shorter";

/// Searches. A run that cannot be done at all ends it; what was found until then is beside the
/// error.
pub(crate) fn find_max<E>(
    options: &SearchOptions,
    run: impl FnMut(f64) -> Result<Report, E>,
) -> Result<Found, (E, Search)> {
    let mut hunt =
        Hunt { options, run, search: Search::default(), report: None, client_limit: None };
    let ended = hunt.go();
    hunt.search.knee_per_s = knee_per_s(&hunt.search.steps);
    let Hunt { search, report, .. } = hunt;
    match ended {
        Ok(end) | Err(Stop::End(end)) => Ok(Found { search, end, report }),
        Err(Stop::Error(error)) => Err((error, search)),
    }
}

struct Hunt<'a, R> {
    options: &'a SearchOptions,
    run: R,
    search: Search,
    report: Option<Report>,
    /// The lowest rate at which the client was the bottleneck.
    client_limit: Option<f64>,
}

/// No more runs.
enum Stop<E> {
    End(SearchEnd),
    Error(E),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    Kept,
    /// Although the client was late.
    KeptLate,
    Failed,
    Hopeless,
    /// A limit broke, or was not put to the test, while the client was late.
    ClientSaturated,
}

impl Trial {
    const fn is_kept(self) -> bool {
        matches!(self, Self::Kept | Self::KeptLate)
    }
}

impl<E, R: FnMut(f64) -> Result<Report, E>> Hunt<'_, R> {
    fn go(&mut self) -> Result<SearchEnd, Stop<E>> {
        let Some((mut kept, failed)) = self.bracket()? else {
            return Ok(self.client_end().unwrap_or(SearchEnd::Nothing));
        };
        let tolerance = 1.0 + self.options.tolerance.max(0.001);
        if let Some(mut failed) = failed {
            while failed / kept > tolerance && self.client_limit.is_none() {
                let middle = (kept * failed).sqrt();
                if self.keeps(middle)? { kept = middle } else { failed = middle }
            }
        }
        let asked = kept;
        while !self.confirm(kept)? {
            kept /= tolerance;
            // The search has begun where this rate was far below the first failure: something
            // else is the matter.
            if kept < asked / 2.0 {
                return Ok(SearchEnd::Nothing);
            }
        }
        self.search.found_per_s = Some(kept);
        let at_cap = kept >= self.options.cap_per_s;
        Ok(self.client_end().unwrap_or(if at_cap { SearchEnd::Cap } else { SearchEnd::Limits }))
    }

    fn client_end(&self) -> Option<SearchEnd> {
        self.client_limit.map(|rate_per_s| SearchEnd::Client { rate_per_s })
    }

    /// A rate that is kept and, unless the cap or the client came first, one that is not.
    fn bracket(&mut self) -> Result<Option<(f64, Option<f64>)>, Stop<E>> {
        let mut rate = self.options.start_per_s.min(self.options.cap_per_s);
        if self.keeps(rate)? {
            while rate < self.options.cap_per_s {
                let next = (rate * 2.0).min(self.options.cap_per_s);
                if !self.keeps(next)? {
                    let failed = self.client_limit.is_none().then_some(next);
                    return Ok(Some((rate, failed)));
                }
                rate = next;
            }
            return Ok(Some((rate, None)));
        }
        for _ in 0..HALVINGS_MAX {
            let failed = rate;
            rate /= 2.0;
            // Where the client could not do the first rate, its limit is still the one to name.
            if self.keeps(rate)? {
                let bracket = self.client_limit.is_none().then_some(failed);
                return Ok(Some((rate, bracket)));
            }
        }
        Ok(None)
    }

    /// Whether this rate is kept, at the second attempt if need be.
    fn keeps(&mut self, rate_per_s: f64) -> Result<bool, Stop<E>> {
        let mut trial = self.trial(rate_per_s, false)?;
        if matches!(trial, Trial::Failed | Trial::ClientSaturated) {
            trial = self.trial(rate_per_s, false)?;
        }
        self.note_client_limit(trial, rate_per_s);
        Ok(trial.is_kept())
    }

    /// Whether this rate is kept every time.
    fn confirm(&mut self, rate_per_s: f64) -> Result<bool, Stop<E>> {
        for _ in 0..self.options.confirmations {
            let trial = self.trial(rate_per_s, true)?;
            self.note_client_limit(trial, rate_per_s);
            if !trial.is_kept() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn note_client_limit(&mut self, trial: Trial, rate_per_s: f64) {
        if trial == Trial::ClientSaturated {
            let lowest = self.client_limit.map_or(rate_per_s, |limit| limit.min(rate_per_s));
            self.client_limit = Some(lowest);
        }
    }

    /// One run.
    fn trial(&mut self, target_per_s: f64, confirmation: bool) -> Result<Trial, Stop<E>> {
        if self.search.steps.len() >= self.options.runs_max {
            return Err(Stop::End(SearchEnd::Runs));
        }
        let report = (self.run)(target_per_s).map_err(Stop::Error)?;
        let trial = self.judge(&report, target_per_s);
        let outcome = report.verdict.outcome;
        self.search.steps.push(step(&report, target_per_s, trial, confirmation));
        self.report = Some(report);
        if outcome == Outcome::Interrupted {
            return Err(Stop::End(SearchEnd::Interrupted));
        }
        Ok(trial)
    }

    fn judge(&self, report: &Report, target_per_s: f64) -> Trial {
        let achieved = report.client.achieved_per_s / target_per_s;
        // The run's own look at the limits is the same; this one does not depend on it.
        let kept = self.options.slo.iter().all(|slo| slo.evaluate(report).met);
        match report.verdict.outcome {
            Outcome::Invalid => {
                let sent_all = achieved >= RATE_RATIO_MIN
                    && report.client.rate_ratio.is_none_or(|ratio| ratio >= RATE_RATIO_MIN);
                let proves =
                    self.options.slo.iter().all(|slo| slo.stands_if_client_was_late(report));
                let is_kept = kept && sent_all && proves && judge::failures(report).is_empty();
                if is_kept { Trial::KeptLate } else { Trial::ClientSaturated }
            }
            _ if achieved < RATE_RATIO_HOPELESS => Trial::Hopeless,
            Outcome::Failed | Outcome::Interrupted => Trial::Failed,
            _ if achieved < RATE_RATIO_MIN => Trial::Failed,
            Outcome::Ok | Outcome::SloBreached if kept => Trial::Kept,
            Outcome::Ok | Outcome::SloBreached => Trial::Failed,
        }
    }
}

fn step(report: &Report, target_per_s: f64, trial: Trial, confirmation: bool) -> SearchStep {
    let times = report.latency.headline().map(|(_, times)| times);
    let quantile_ns = |quantile| times.map_or(0, |times| times.quantile_ns(quantile));
    SearchStep {
        target_per_s,
        achieved_per_s: report.client.achieved_per_s,
        p50_ns: quantile_ns(0.5),
        p99_ns: quantile_ns(0.99),
        p99_9_ns: quantile_ns(0.999),
        max_ns: times.map_or(0, super::distribution::Distribution::max_ns),
        met: trial.is_kept(),
        valid: !matches!(trial, Trial::KeptLate | Trial::ClientSaturated),
        confirmation,
    }
}

/// Fewer rates are no curve.
const KNEE_RATES_MIN: usize = 4;

/// A curve that hangs less than this share of its height below its chord is a line.
const KNEE_DEPTH_MIN: f64 = 0.1;

/// Where latency begins to rise faster than load: the rate at which the curve of log p99 over rate
/// hangs deepest below its chord, the straight line from its first point to its last. Several runs
/// at a rate count with the median of their p99; runs in which the client was the bottleneck do
/// not count.
fn knee_per_s(steps: &[SearchStep]) -> Option<f64> {
    let measured = steps.iter().filter(|step| step.valid && step.p99_ns > 0);
    let mut points: Vec<_> =
        measured.map(|step| (step.target_per_s, (step.p99_ns as f64).ln())).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let curve: Vec<_> =
        points.chunk_by(|a, b| a.0 == b.0).map(|same| same[same.len() / 2]).collect();
    if curve.len() < KNEE_RATES_MIN {
        return None;
    }
    let (first, last) = (curve[0], curve[curve.len() - 1]);
    let (width, height) = (last.0 - first.0, last.1 - first.1);
    if height <= 0.0 {
        return None;
    }
    // Both scaled to 1, the distance from the chord is largest where this is.
    let depth = |point: &(f64, f64)| (point.0 - first.0) / width - (point.1 - first.1) / height;
    let deepest = curve.iter().max_by(|a, b| depth(a).total_cmp(&depth(b)))?;
    (depth(deepest) > KNEE_DEPTH_MIN).then_some(deepest.0)
}

#[cfg(test)]
mod tests;
