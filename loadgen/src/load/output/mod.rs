//! All formats of one report, and those who watch a run.

mod csv;
mod exposition;
mod facts;
mod file;
mod hgrm;
mod html;
mod markdown;
mod metrics;
mod ndjson;
pub(crate) mod progress;
mod prometheus;
#[cfg(test)]
mod samples;
mod table;
pub(crate) mod text;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;

pub(crate) use self::metrics::MetricsOptions;
pub(crate) use self::ndjson::Ndjson;
use super::report::Report;

/// Where a report goes besides the terminal.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output (FILE may be - for stdout)")]
pub(crate) struct OutputOptions {
    /// Write the whole report as JSON, histograms included
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a line of JSON for each window as it ends
    #[arg(long, value_name = "FILE")]
    ndjson: Option<PathBuf>,
    /// Write the headline latency as HdrHistogram's plotters read it, in milliseconds
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write a page with plots that needs nothing but a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a summary in Markdown, for a comment on a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write figures as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Write the windows as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl OutputOptions {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = [
            ("--json", &self.json),
            ("--ndjson", &self.ndjson),
            ("--hgrm", &self.hgrm),
            ("--html", &self.html),
            ("--markdown", &self.markdown),
            ("--prometheus", &self.prometheus),
            ("--csv", &self.csv),
        ];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }

    /// Whether stdout belongs to one of the formats, so that nothing else may be written there.
    pub(crate) fn takes_stdout(&self) -> bool {
        self.all().any(|(_, path)| file::is_stdout(path))
    }

    /// Tries whether all files can be written, so that this is known before the run and not after.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for (option, path) in self.all() {
            if !seen.insert(path) {
                return Err(format!("{option} {}: another format goes there", path.display()));
            }
            file::check(path).map_err(|reason| format!("{option} {}: {reason}", path.display()))?;
        }
        Ok(())
    }

    /// The one that writes each window, if it was asked for. It begins the file anew.
    pub(crate) fn ndjson(&self) -> Result<Option<Ndjson>, String> {
        let Some(path) = &self.ndjson else { return Ok(None) };
        let out =
            file::stream(path).map_err(|error| format!("--ndjson {}: {error}", path.display()))?;
        Ok(Some(Ndjson::new(out)))
    }

    /// Writes the report in all formats that were asked for. If one fails the others are written
    /// all the same, and the error names all that failed.
    pub(crate) fn write(&self, report: &Report) -> Result<(), String> {
        let mut failed = Vec::new();
        for (option, path) in self.all() {
            let text = match option {
                "--json" => json(report),
                "--hgrm" => Ok(hgrm::render(report)),
                "--html" => Ok(html::render(report)),
                "--markdown" => Ok(markdown::render(report)),
                "--prometheus" => Ok(prometheus::render(report)),
                "--csv" => Ok(csv::render(report)),
                // Was written as the run went on.
                _ => continue,
            };
            let written = text.and_then(|text| {
                file::write(path, text.as_bytes()).map_err(|error| error.to_string())
            });
            if let Err(error) = written {
                failed.push(format!("{option} {}: {error}", path.display()));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

fn json(report: &Report) -> Result<String, String> {
    let mut text = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
