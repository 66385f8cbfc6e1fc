//! Runs the codec's benches several times over and makes one table of it: ours beside the floor, or
//! beside the peers, each round a ratio.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::Value;
use sockeye_benches::cpu;
use sockeye_benches::summary::Summary;

/// The function whose time the others' are held against.
const OURS: &str = "sockeye";

/// Runs `cargo bench --bench codec` (or `codec_peers`) several times and shows medians and ranges.
#[derive(Debug, Parser)]
struct Options {
    /// The bench
    #[arg(long, default_value = "codec")]
    bench: String,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds for each measurement
    #[arg(long, default_value_t = 500)]
    measure_ms: u32,
    /// Only benches whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Write the table there, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
}

/// Nanoseconds of each round.
type Rounds = Vec<f64>;
/// Functions by row, which is a group and a parameter.
type Table = BTreeMap<(String, u64, String), BTreeMap<String, Rounds>>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codec-table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/codec-table");
    let mut table = Table::new();
    for round in 1..=options.rounds.max(1) {
        eprintln!("round {round} of {}", options.rounds);
        if results.exists() {
            fs::remove_dir_all(&results)?;
        }
        bench(options, &results)?;
        collect(&results, &mut table)?;
    }
    let markdown = show(&table, options);
    print!("{markdown}");
    if let Some(path) = &options.markdown {
        fs::write(path, markdown)?;
    }
    Ok(())
}

fn bench(options: &Options, results: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let seconds = f64::from(options.measure_ms) / 1_000.0;
    let status = Command::new(cargo)
        .args(["bench", "--quiet", "--package", "sockeye-benches", "--bench", &options.bench])
        .args(["--", "--noplot", "--quiet", "--warm-up-time", &(seconds / 2.0).to_string()])
        .args(["--measurement-time", &seconds.to_string(), &options.only])
        .env("CRITERION_HOME", results)
        .stdout(std::process::Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err("cargo bench failed".into()) }
}

/// Every result below a folder.
fn collect(folder: &Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if !path.ends_with("new") {
            collect(&path, table)?;
            continue;
        }
        let read = |name: &str| -> Result<Value, Box<dyn Error>> {
            Ok(serde_json::from_str(&fs::read_to_string(path.join(name))?)?)
        };
        let (bench, estimates) = (read("benchmark.json")?, read("estimates.json")?);
        let text = |key: &str| bench[key].as_str().unwrap_or_default().to_owned();
        let time = estimates["median"]["point_estimate"].as_f64().ok_or("no median")?;
        // What the time is for: one element of several, or the whole.
        let elements = bench["throughput"]["Elements"].as_f64().unwrap_or(1.0);
        let value = text("value_str");
        let row = (text("group_id"), value.parse().unwrap_or_default(), value);
        let rounds = table.entry(row).or_default().entry(text("function_id")).or_default();
        rounds.push(time / elements);
    }
    Ok(())
}

fn show(table: &Table, options: &Options) -> String {
    let mut lines = format!(
        "{}; {} rounds of {} ms, median (range).\n\n\
         | row | codec | ns | its time / ours |\n|---|---|---|---|\n",
        cpu::machine(),
        options.rounds,
        options.measure_ms
    );
    for ((group, _, value), functions) in table {
        let ours = functions.get(OURS);
        for (name, rounds) in functions {
            let Some(time) = Summary::of(rounds.iter().copied()) else { continue };
            let ratio = ours
                .and_then(|ours| Summary::of(rounds.iter().zip(ours).map(|(a, b)| a / b)))
                .filter(|_| name != OURS)
                .map_or(String::new(), |ratio| ratio.show(2));
            let decimals = if time.median < 100.0 { 2 } else { 0 };
            let row = format!("{group} {value}");
            lines +=
                &format!("| {} | {name} | {} | {ratio} |\n", row.trim_end(), time.show(decimals));
        }
    }
    lines
}
