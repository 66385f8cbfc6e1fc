//! Measures servers that compress (permessage-deflate) beside each other: CPU time for a message,
//! bytes on the wire, memory for each connection.
//!
//! Each server runs on processor 0 and the client on processor 1, in turn. `{takeover}` in a
//! command becomes `none`, where nobody may refer to earlier messages, or `both`.

mod client;

use std::error::Error;
use std::fmt::Write as _;
use std::process;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use client::{Client, Takeover};
use sockeye_benches::kept::Kept;
use sockeye_benches::servers::{CLIENT_PROCESSOR, Server};
use sockeye_benches::summary::Summary;
use sockeye_benches::{cpu, servers};

const CONNECTIONS: usize = 100;
/// Connections that are there before memory is looked at, and those that it is then measured with.
const FIRST: usize = 50;
const MEASURED: usize = 500;
/// The documents after which memory is measured.
const MEMORY_BYTES: usize = 1 << 10;
/// Each connection has had so many of them then.
const MEMORY_MESSAGES: usize = 40;

#[derive(Debug, Parser)]
struct Options {
    /// Bytes of the documents
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1_024, 16_384])]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(64..=16_384))]
    bytes: Vec<usize>,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds for each run
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// A server: its name, and a command that prints `..:PORT` when it listens, and echoes. The
    /// others are compared with the first
    #[arg(long, value_name = "NAME=COMMAND", required = true, value_parser = servers::parse)]
    server: Vec<Server>,
    #[command(flatten)]
    kept: Kept,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus-deflate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run of one server.
#[derive(Debug, Clone, Copy)]
struct Run {
    server_ns: f64,
    client_ns: f64,
    /// Payload bytes of an answer, for each byte of the document.
    wire: f64,
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    cpu::raise_file_limit()?;
    cpu::pin(CLIENT_PROCESSOR)?;
    let mut json = Vec::new();
    let mut table = format!(
        "{}; {} rounds of {} s, {CONNECTIONS} connections, one message under way on each, median \
         (range).\n\n| document | takeover | server | CPU ns a message | ratio to {} | answer to \
         document | client's CPU ns |\n|---|---|---|---|---|---|---|\n",
        cpu::machine(),
        options.rounds,
        options.seconds,
        options.server[0].name,
    );
    for takeover in [Takeover::None, Takeover::Both] {
        for &bytes in &options.bytes {
            let runs = rounds(options, takeover, bytes)?;
            for (server, all) in options.server.iter().zip(&runs) {
                let name = format!("{bytes} B | {} | {}", takeover.name(), server.name);
                add_row(&mut table, &name, all, &runs[0])?;
                json.extend(all.iter().map(|run| {
                    serde_json::json!({
                        "bytes": bytes, "takeover": takeover.name(), "server": server.name,
                        "server_cpu_ns": run.server_ns, "client_cpu_ns": run.client_ns,
                        "answer_to_document": run.wire,
                    })
                }));
            }
        }
    }
    let _ = write!(
        table,
        "\nMemory of the server for each of {MEASURED} connections that have had {MEMORY_MESSAGES} \
         documents of {MEMORY_BYTES} B each.\n\n| takeover | server | bytes |\n|---|---|---|\n"
    );
    for takeover in [Takeover::None, Takeover::Both] {
        for server in &options.server {
            let bytes = measure_memory(server, takeover)
                .map_err(|error| format!("memory of {}: {error}", server.name))?;
            let _ = writeln!(table, "| {} | {} | {bytes:.0} |", takeover.name(), server.name);
            json.push(serde_json::json!({
                "takeover": takeover.name(), "server": server.name, "bytes_per_connection": bytes,
            }));
        }
    }
    Ok(options.kept.write(&table, &json)?)
}

/// The runs of each server, in turn.
fn rounds(
    options: &Options,
    takeover: Takeover,
    bytes: usize,
) -> Result<Vec<Vec<Run>>, Box<dyn Error>> {
    let mut runs = vec![Vec::new(); options.server.len()];
    for _ in 0..options.rounds {
        for (server, runs) in options.server.iter().zip(&mut runs) {
            let name = format!("{}, {bytes} B, takeover {}", server.name, takeover.name());
            let run = measure(server, takeover, bytes, options.seconds)
                .map_err(|error| format!("{name}: {error}"))?;
            eprintln!("{name}: {:.0} ns", run.server_ns);
            runs.push(run);
        }
    }
    Ok(runs)
}

fn add_row(
    table: &mut String,
    name: &str,
    runs: &[Run],
    first: &[Run],
) -> Result<(), Box<dyn Error>> {
    let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure)).ok_or("no runs");
    let ratios = runs.iter().zip(first).map(|(run, first)| run.server_ns / first.server_ns);
    let ratio = Summary::of(ratios).ok_or("no runs")?;
    let _ = writeln!(
        table,
        "| {name} | {} | {} | {:.3} | {:.0} |",
        of(|run| run.server_ns)?.show(0),
        ratio.show(2),
        of(|run| run.wire)?.median,
        of(|run| run.client_ns)?.median,
    );
    Ok(())
}

fn measure(
    server: &Server,
    takeover: Takeover,
    bytes: usize,
    seconds: f64,
) -> Result<Run, Box<dyn Error>> {
    let server = server.start(|word| word.replace("{takeover}", takeover.name()))?;
    let mut client = Client::new(bytes)?;
    client.open(server.port, takeover, CONNECTIONS)?;
    client.start(0)?;
    let run_for = |client: &mut Client, seconds| {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        client.run(true, |_| Instant::now() >= until)
    };
    run_for(&mut client, seconds / 5.0)?;
    let sample = |client: &Client| -> Result<_, Box<dyn Error>> {
        let server_ns = cpu::process_ns(server.id())?;
        Ok((server_ns, cpu::process_ns(process::id())?, client.messages, client.answer_bytes))
    };
    let before = sample(&client)?;
    run_for(&mut client, seconds)?;
    let after = sample(&client)?;
    let messages = (after.2 - before.2) as f64;
    Ok(Run {
        server_ns: (after.0 - before.0) as f64 / messages,
        client_ns: (after.1 - before.1) as f64 / messages,
        wire: (after.3 - before.3) as f64 / messages / bytes as f64,
    })
}

/// Bytes for each connection.
fn measure_memory(server: &Server, takeover: Takeover) -> Result<f64, Box<dyn Error>> {
    let server = server.start(|word| word.replace("{takeover}", takeover.name()))?;
    let mut client = Client::new(MEMORY_BYTES)?;
    let have = |client: &mut Client, from: usize, to: usize| -> Result<_, Box<dyn Error>> {
        client.open(server.port, takeover, to)?;
        for _ in 0..MEMORY_MESSAGES {
            let all = client.messages + (to - from) as u64;
            client.start(from)?;
            client.run(false, |client| client.messages == all)?;
        }
        Ok(cpu::anonymous_bytes(server.id())?)
    };
    let before = have(&mut client, 0, FIRST)?;
    let after = have(&mut client, FIRST, FIRST + MEASURED)?;
    Ok(after.saturating_sub(before) as f64 / MEASURED as f64)
}
