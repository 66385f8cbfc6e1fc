//! Reports from files, and whether they can be compared at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::analysis::Side;
use crate::load::report::{Outcome, Report, SCHEMA_VERSION};

/// A report of a day in windows of a second is a quarter of this.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Reads a report. The error is one line that names the file.
pub(crate) fn read(path: &Path) -> Result<Report, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name} is larger than any report: over {FILE_BYTES_MAX} bytes"));
    }
    parse(&bytes).map_err(|what| format!("{name} {what}"))
}

/// A report from its JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Report, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
    let version = value.get("schema_version").and_then(Value::as_u64);
    let version =
        version.ok_or("is no report of sockeye load: it has no schema_version".to_owned())?;
    if version > u64::from(SCHEMA_VERSION) {
        return Err(format!(
            "was written by a newer sockeye (schema {version}, this one knows {SCHEMA_VERSION}): \
             compare with that one"
        ));
    }
    serde_json::from_value(value).map_err(|error| format!("is no whole report: {error}"))
}

/// The sentence about the first run that says nothing about its server.
pub(crate) fn invalid<'a>(mut sides: impl Iterator<Item = &'a Side>) -> Option<String> {
    sides.find_map(|side| {
        let is_invalid = |report: &&Report| {
            report.verdict.outcome == Outcome::Invalid || report.is_found_by_late_client()
        };
        let report = side.reports.iter().find(is_invalid)?;
        let why = report.verdict.reasons.first().map_or("the client was the bottleneck", |why| why);
        Some(format!("{}: an INVALID run cannot be compared: {why}", side.name))
    })
}

/// Refuses what would compare different things.
pub(crate) fn check_alike(baseline: &Side, candidate: &Side) -> Result<(), String> {
    let first = &baseline.reports[0].plan;
    let told_by = |report: &Report| match (&report.plan.answer_id, &report.push_times) {
        (Some(id), _) => format!("of answers told by {id}"),
        (None, Some(times)) if times.estimated => format!("from {}, estimated", times.pointer),
        (None, Some(times)) => format!("from {}", times.pointer),
        (None, None) => "of the order of messages".to_owned(),
    };
    for report in baseline.reports.iter().chain(&candidate.reports) {
        let plan = &report.plan;
        let rates = [first, plan].map(|plan| format!("{:?}", (plan.load, &plan.stages)));
        let pairs = [
            ("scenario", first.scenario.clone(), plan.scenario.clone()),
            ("payload", first.payload.clone(), plan.payload.clone()),
            ("connections", first.connections.to_string(), plan.connections.to_string()),
            ("times", told_by(&baseline.reports[0]), told_by(report)),
        ];
        let different = pairs.iter().find(|(_, ours, theirs)| ours != theirs);
        let what = match different {
            Some((what, ours, theirs)) => format!("{what} {ours} and {theirs}"),
            None if rates[0] != rates[1] => "other rates".into(),
            None => continue,
        };
        return Err(format!(
            "{} and {} are of different runs ({what}): --force compares them all the same",
            baseline.name, candidate.name
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::example::report;

    #[test]
    fn what_is_no_report_is_one_line() {
        let whole = serde_json::to_string(&report(100.0, &[1_000])).unwrap();
        assert!(parse(whole.as_bytes()).is_ok());
        let newer = whole.replacen("\"schema_version\":1", "\"schema_version\":2", 1);
        let bad = [
            ("", "is no JSON"),
            ("{}", "has no schema_version"),
            ("[1]", "has no schema_version"),
            ("{\"schema_version\":1}", "is no whole report"),
            (&newer, "newer sockeye (schema 2, this one knows 1)"),
        ];
        for (text, what) in bad {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(what) && !error.contains('\n'), "{error}");
        }
        let error = read(Path::new("/nowhere/a.json")).unwrap_err();
        assert!(error.starts_with("/nowhere/a.json: "), "{error}");
    }

    fn side(report: Report) -> Side {
        Side { name: "a.json".into(), reports: vec![report] }
    }

    type Spoil = fn(&mut Report);

    #[test]
    fn different_things_are_refused() {
        let baseline = side(report(100.0, &[1_000]));
        assert_eq!(check_alike(&baseline, &baseline), Ok(()));
        let spoil: [(Spoil, &str); 5] = [
            (|report| report.plan.scenario = "push".into(), "scenario echo and push"),
            (|report| report.plan.payload = "1 kB".into(), "payload 32 B and 1 kB"),
            (|report| report.plan.connections = 9, "connections 10 and 9"),
            (
                |report| report.plan.answer_id = Some("/id".into()),
                "times of the order of messages and of answers told by /id",
            ),
            (|report| report.plan.stages[0].to_per_s = 101.0, "other rates"),
        ];
        for (spoil, what) in spoil {
            let mut other = report(100.0, &[1_000]);
            spoil(&mut other);
            let error = check_alike(&baseline, &side(other)).unwrap_err();
            assert!(error.contains(what) && error.contains("--force"), "{error}");
        }
    }

    #[test]
    fn invalid_runs_are_refused() {
        let mut bad = report(100.0, &[1_000]);
        assert_eq!(invalid([&side(bad.clone())].into_iter()), None);
        bad.verdict.outcome = Outcome::Invalid;
        bad.verdict.reasons = vec!["too slow".into()];
        let why = invalid([&side(bad)].into_iter()).unwrap();
        assert_eq!(why, "a.json: an INVALID run cannot be compared: too slow");
    }
}
