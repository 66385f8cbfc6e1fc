//! A line of JSON for each window, as it ends.

use std::io::{self, Write};

use serde::Serialize;

use crate::load::report::{Live, LoadKind, Observer, PushTimes, Report, Verdict};

/// Writes each window at once, so that whoever reads along is never behind.
pub(crate) struct Ndjson {
    out: Box<dyn Write + Send>,
}

/// The last line: what the lines before are worth.
#[derive(Serialize)]
struct End<'a> {
    verdict: &'a Verdict,
    load: LoadKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_times: Option<&'a PushTimes>,
}

impl Ndjson {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }

    /// Ends the series with the verdict.
    pub(crate) fn end(&mut self, report: &Report) -> io::Result<()> {
        self.line(&End {
            verdict: &report.verdict,
            load: report.plan.load,
            push_times: report.push_times.as_ref(),
        })
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        // One write for a line: a reader never sees half of one.
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl Observer for Ndjson {
    fn window(&mut self, live: &Live<'_>) -> io::Result<()> {
        live.series.last().map_or(Ok(()), |window| self.line(window))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::super::samples;
    use super::*;
    use crate::load::report::{Outcome, Window};

    /// Tells what was written between two flushes.
    struct Flushes(Vec<u8>, Sender<Vec<u8>>);

    impl Write for Flushes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.send(std::mem::take(&mut self.0)).map_err(io::Error::other)
        }
    }

    #[test]
    fn each_window_is_a_line_and_the_verdict_is_the_last() {
        let (tx, flushed) = mpsc::channel();
        let mut ndjson = Ndjson::new(Box::new(Flushes(Vec::new(), tx)));
        let report = samples::invalid();
        for n in 1..=report.series.len() {
            ndjson.window(&samples::live(&report, n)).unwrap();
            let line = flushed.try_recv().unwrap();
            assert!(line.ends_with(b"}\n") && line.iter().filter(|&&b| b == b'\n').count() == 1);
            let window: Window = serde_json::from_slice(&line).unwrap();
            assert_eq!(window, report.series[n - 1]);
        }
        ndjson.end(&report).unwrap();
        let line = flushed.try_recv().unwrap();
        let end: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let verdict: Verdict = serde_json::from_value(end["verdict"].clone()).unwrap();
        assert_eq!((verdict.outcome, &end["load"]), (Outcome::Invalid, &"open".into()));
    }
}
