//! `sockeye demo`: an engine and a load against it in one process; ten seconds, then the figures.

mod load;
mod meter;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::RangedI64ValueParser;
use sockeye::Server;

use crate::apps;
use crate::load::units::counted;
use load::{Load, Tally};
use meter::{anonymous_bytes, server_cpu_ns, thread_cpu_ns};

/// File descriptors that are neither end of a connection.
const OTHER_FILES: u64 = 64;

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long the load lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one())]
    seconds: u16,
    /// Connections of the load, each with one message under way
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one())]
    connections: u16,
    /// Payload bytes of a message
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = payload_bytes())]
    bytes: u32,
    /// Connections of the memory measurement, which only stay open
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    idle: u16,
}

fn at_least_one() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn payload_bytes() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=1 << 20)
}

/// Runs it all and prints the figures.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let idle = affordable(options)?;
    let server = Server::bind("127.0.0.1:0")?.shards(1).spawn(|_| apps::Echo)?;
    let address = server.local_addr();
    let backend = server.handle().backend().backend;
    let mut stdout = io::stdout();
    writeln!(
        stdout,
        "engine: ws://{address}, 1 shard, backend {backend}\n\
         load:   {}, one {}-byte message under way on each (closed loop), {} s",
        counted(options.connections.into(), "connection"),
        options.bytes,
        options.seconds
    )?;
    let bytes_per_idle = measure_idle(address, idle)?;

    let mut load = Load::new(options.bytes as usize)?;
    load.connect(address, options.connections.into())?;
    let (server_cpu, load_cpu) = (server_cpu_ns()?, thread_cpu_ns()?);
    let begun = Instant::now();
    let tally = drive(&mut load, begun, options.seconds)?;
    let elapsed = begun.elapsed();
    let cpu =
        Cpu { server_ns: server_cpu_ns()? - server_cpu, load_ns: thread_cpu_ns()? - load_cpu };
    drop(load);
    report(&mut stdout, &tally, elapsed, cpu, idle, bytes_per_idle)?;
    server.handle().shutdown();
    server.join()?;
    Ok(())
}

/// Both ends of each connection are in this process.
fn affordable(options: &Options) -> Result<u16, Box<dyn Error>> {
    let files = crate::files::limit();
    let connections = u64::from(options.connections);
    let room = files.saturating_sub(OTHER_FILES) / 2;
    if room <= connections {
        let needed = 2 * connections + OTHER_FILES;
        return Err(format!(
            "{connections} connections need {needed} open files and {files} are allowed: raise \
             `ulimit -n` or give fewer --connections"
        )
        .into());
    }
    let idle = options.idle.min(u16::try_from(room - connections).unwrap_or(u16::MAX));
    if idle < options.idle {
        writeln!(
            io::stdout(),
            "note:   {idle} idle connections instead of {}: `ulimit -n` is {files}",
            options.idle
        )?;
    }
    Ok(idle)
}

/// User memory that an idle connection costs the engine. The client's ends are bare sockets, whose
/// list is made before: what the process grows by is the engine's.
fn measure_idle(address: SocketAddr, count: u16) -> Result<Option<f64>, Box<dyn Error>> {
    if count == 0 {
        return Ok(None);
    }
    let mut sockets = Vec::with_capacity(usize::from(count));
    // The first connections make buffers that all later ones share.
    let mut warm = Vec::new();
    load::connect_idle(address, 16, &mut warm)?;
    let before = anonymous_bytes()?;
    load::connect_idle(address, usize::from(count), &mut sockets)?;
    let after = anonymous_bytes()?;
    Ok(Some(after.saturating_sub(before) as f64 / f64::from(count)))
}

/// Runs the load and shows how it goes, each second.
fn drive(load: &mut Load, begun: Instant, seconds: u16) -> Result<Tally, Box<dyn Error>> {
    let live = io::stdout().is_terminal();
    let mut total = Tally::new()?;
    for second in 1..=seconds {
        let tally = load.run_until(begun + Duration::from_secs(second.into()))?;
        let mut stdout = io::stdout().lock();
        let line = format!(
            "{second:>4} s  {:>9} messages/s   p50 {}   p99 {}",
            tally.messages,
            micros(tally.latency_ns.value_at_quantile(0.5)),
            micros(tally.latency_ns.value_at_quantile(0.99)),
        );
        // On a terminal one line that lives; elsewhere one line each second.
        if live {
            write!(stdout, "\r\x1b[2K{line}")?;
        } else {
            writeln!(stdout, "{line}")?;
        }
        stdout.flush()?;
        total.add(&tally)?;
    }
    if live {
        writeln!(io::stdout())?;
    }
    Ok(total)
}

#[derive(Debug, Clone, Copy)]
struct Cpu {
    server_ns: u64,
    load_ns: u64,
}

fn report(
    out: &mut impl Write,
    tally: &Tally,
    elapsed: Duration,
    cpu: Cpu,
    idle: u16,
    bytes_per_idle: Option<f64>,
) -> io::Result<()> {
    let mut line = |label: &str, figure: String, rest: &str| {
        let line = format!("{label:<16} {figure:>14} {rest}");
        writeln!(out, "{}", line.trim_end())
    };
    let messages = tally.messages as f64;
    let per_second = messages / elapsed.as_secs_f64();
    let in_all = format!("messages/s ({} in all, each checked)", tally.messages);
    line("", String::new(), "")?;
    line("throughput", format!("{per_second:.0}"), &in_all)?;
    for (name, quantile) in
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)]
    {
        let latency = tally.latency_ns.value_at_quantile(quantile);
        line(&format!("latency {name}"), micros(latency), "")?;
    }
    line("latency max", micros(tally.latency_ns.max()), "")?;
    let (server, load) = (cpu.server_ns as f64, cpu.load_ns as f64);
    let of_load = format!("the engine's ({:.0} ns the load's)", load / messages);
    line("CPU per message", format!("{:.0} ns", server / messages), &of_load)?;
    let elapsed_ns = elapsed.as_nanos() as f64;
    let of_load = format!("the engine ({:.0} % the load)", 100.0 * load / elapsed_ns);
    line("CPU busy", format!("{:.0} %", 100.0 * server / elapsed_ns), &of_load)?;
    let of_idle = format!("of user memory (mean of {idle}); the kernel's part is not in it");
    match bytes_per_idle {
        Some(bytes) => line("idle connection", format!("{bytes:.0} bytes"), &of_idle)?,
        None => line("idle connection", "not measured".into(), "")?,
    }
    writeln!(
        out,
        "\nThe loop is closed: a slow answer delays the next question, so a stall is \
         under-reported.\n`sockeye serve` is the engine by itself."
    )
}

fn micros(ns: u64) -> String {
    format!("{:.1} us", ns as f64 / 1e3)
}
