//! All formats together, and the files that they are written to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;

use super::*;
use crate::load::report::{Outcome, Window};

/// A folder of its own, that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sockeye-output-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed goes with the system's own folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    output: OutputOptions,
}

fn options(arguments: &[&str]) -> OutputOptions {
    Cli::try_parse_from([&["sockeye"], arguments].concat()).unwrap().output
}

#[test]
fn every_format_is_written_whole() {
    let folder = Folder::new();
    let formats = ["json", "ndjson", "hgrm", "html", "markdown", "prometheus", "csv"];
    let arguments: Vec<_> = formats
        .iter()
        .flat_map(|format| [format!("--{format}"), folder.path(&format!("run.{format}"))])
        .collect();
    let options = options(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    options.check().unwrap();
    assert!(folder.names().is_empty(), "a check leaves nothing behind");
    assert!(!options.takes_stdout());
    let report = samples::invalid();
    let mut ndjson = options.ndjson().unwrap().unwrap();
    ndjson.end(&report).unwrap();
    // The second takes the place of the first.
    options.write(&samples::rich()).unwrap();
    options.write(&report).unwrap();
    let mut expected: Vec<_> = formats.iter().map(|format| format!("run.{format}")).collect();
    expected.sort();
    assert_eq!(folder.names(), expected);
    for name in expected {
        let text = fs::read_to_string(folder.path(&name)).unwrap();
        assert!(text.to_lowercase().contains("invalid"), "{name} says what it is worth");
    }
    let text = fs::read_to_string(folder.path("run.json")).unwrap();
    let read: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(read.verdict, report.verdict);
    assert_eq!(read.series, report.series);
    assert_eq!(json(&read).unwrap(), text, "reading and writing loses nothing");
}

#[test]
fn what_a_scenario_file_measures_is_shown() {
    let report = samples::rich();
    let p50 = crate::load::units::time_ns(report.classes[0].times.quantile_ns(0.5));
    let pages = [text::render(&report, false), html::render(&report), markdown::render(&report)];
    for page in pages {
        let at = page.find("Measured by the scenario file").expect("its table");
        let row = page[at..].lines().find(|line| line.contains("say")).expect("its row");
        assert!(row.replace('\u{a0}', " ").contains(&p50), "{row}");
    }
}

/// Numbers as they are measured have as many digits as there are.
#[test]
fn what_is_read_is_what_was_measured_to_the_last_digit() {
    let mut report = samples::rich();
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut measured = || {
        // Knuth's linear congruence; the exponent makes it a number from 1 to 2.
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(0x3ff0_0000_0000_0000 | bits >> 12) * 12_345.678_9
    };
    report.measured_s = measured();
    report.client.cpu_s = measured();
    for window in std::iter::repeat_n(&report.series[1].clone(), 2_000) {
        report.series.push(Window { at_s: measured(), seconds: measured(), ..window.clone() });
    }
    let read = crate::compare::parse(json(&report).unwrap().as_bytes()).unwrap();
    assert_eq!(read.measured_s.to_bits(), report.measured_s.to_bits());
    assert_eq!(read.client, report.client);
    assert!(read.series == report.series, "some digit of a window is another");
}

#[test]
fn a_closed_loop_says_so_wherever_people_read() {
    let report = samples::closed();
    for text in [
        text::render(&report, false),
        html::render(&report),
        markdown::render(&report),
        prometheus::render(&report),
        hgrm::render(&report),
    ] {
        assert!(text.contains("closed loop: percentiles hide stalls"), "{text}");
    }
}

#[test]
fn the_clock_of_times_inside_messages_is_told_in_every_format() {
    let report = samples::rich();
    let end = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    Ndjson::new(Box::new(Written(end.clone()))).end(&report).unwrap();
    let end = String::from_utf8(end.lock().unwrap().clone()).unwrap();
    let texts = [
        text::render(&report, false),
        html::render(&report),
        markdown::render(&report),
        prometheus::render(&report),
        hgrm::render(&report),
        csv::render(&report),
        json(&report).unwrap(),
        end,
    ];
    for text in texts {
        // The offset in the unit of the format.
        let has_offset = ["12.3 ms", "12345678", "-0.012345678"].iter().any(|it| text.contains(it));
        assert!(text.contains("estimated") && has_offset, "{text}");
    }
    let text = text::render(&samples::closed(), false);
    assert!(!text.contains("clock"), "{text}");
}

/// What was written, for somebody else to read.
struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_known_before() {
    let folder = Folder::new();
    let missing = folder.path("missing/run.json");
    let error = options(&["--json", &missing]).check().unwrap_err();
    assert!(error.starts_with("--json ") && error.contains("create it first"), "{error}");
    let error = options(&["--html", &folder.path("")]).check().unwrap_err();
    assert!(error.contains("name a file in it"), "{error}");
    let twice = folder.path("run");
    let error = options(&["--json", &twice, "--csv", &twice]).check().unwrap_err();
    assert!(error.contains("--csv") && error.contains("another format"), "{error}");
    let error = options(&["--json", "-", "--csv", "-"]).check().unwrap_err();
    assert!(error.contains("another format"), "{error}");
    assert!(options(&["--json", "-"]).takes_stdout());
    options(&["--json", "-"]).check().unwrap();

    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o500)).unwrap();
    // Nothing is closed to the superuser.
    if fs::write(folder.path("probe"), "").is_err() {
        let error = options(&["--csv", &folder.path("run.csv")]).check().unwrap_err();
        assert!(error.contains("no file can be written in"), "{error}");
    }
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn one_that_fails_does_not_keep_the_others() {
    let folder = Folder::new();
    let (missing, there) = (folder.path("missing/run.csv"), folder.path("run.markdown"));
    let options = options(&["--csv", &missing, "--markdown", &there]);
    let error = options.write(&samples::rich()).unwrap_err();
    assert!(error.starts_with("--csv ") && !error.contains("--markdown"), "{error}");
    assert_eq!(folder.names(), ["run.markdown"]);
}

#[test]
fn links_and_devices_stay_what_they_are() {
    let folder = Folder::new();
    let (link, real) = (folder.path("link.csv"), folder.path("real.csv"));
    fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let options = options(&["--csv", &link, "--json", "/dev/null"]);
    options.check().unwrap();
    options.write(&samples::rich()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().starts_with("at_s,"));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

/// Words of a page that stand for a value that was none.
const NO_VALUES: [&str; 4] = ["NaN", "undefined", "Infinity", ">inf"];

#[test]
fn pages_are_whole_and_ask_nobody() {
    for (name, report) in samples::all() {
        let page = html::render(&report);
        assert!(page.starts_with("<!doctype html>\n"), "{name}");
        assert_balanced(name, &page);
        for word in NO_VALUES {
            assert!(!page.contains(word), "{name}: {word}");
        }
        for word in ["http://", "https://", "//cdn", "@import", "url(", " src=", "<link"] {
            assert!(!page.contains(word), "{name}: {word}");
        }
        assert!(!page.contains("<script>window.injected"), "{name}: what servers say is escaped");
        let banner = page.contains("class=\"banner\"");
        assert_eq!(banner, report.verdict.outcome == Outcome::Invalid, "{name}");
    }
}

/// Every element is closed, in the right order, and no id comes twice.
fn assert_balanced(name: &str, page: &str) {
    const VOID: [&str; 4] = ["!doctype", "meta", "br", "col"];
    let mut open = Vec::new();
    let mut ids = HashSet::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap_or_else(|| panic!("{name}: a tag has no end"));
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let element = tag.trim_end_matches('/').split_whitespace().next().unwrap();
        if let Some(closed) = element.strip_prefix('/') {
            let opened = open.pop();
            assert_eq!(opened, Some(closed.to_owned()), "{name}: before {after:.60}");
        } else if !VOID.contains(&element) && !tag.ends_with('/') {
            open.push(element.to_owned());
        }
        if let Some((_, id)) = tag.split_once(" id=\"") {
            let id = id.split('"').next().unwrap();
            assert!(ids.insert(id.to_owned()), "{name}: id {id} twice");
        }
        // What is in there is no markup.
        if matches!(element, "style" | "script") {
            rest = &rest[rest.find("</").unwrap()..];
        }
    }
    assert!(open.is_empty(), "{name}: {open:?}");
}
