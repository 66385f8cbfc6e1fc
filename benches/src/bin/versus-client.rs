//! Runs clients against the same server, in turn with a client that does no WebSocket, and makes
//! the table.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use sockeye_benches::cpu;
use sockeye_benches::frames::{self, Kind};
use sockeye_benches::kept::Kept;
use sockeye_benches::servers::{self, Running, Server, beside};
use sockeye_benches::summary::Summary;
use sockeye_benches::traffic::{self, Received};

/// What the clients load, where nothing else is given.
const SERVER: &str =
    "sockeye=sockeye serve --app echo --listen 127.0.0.1:0 --shards 1 --backend epoll";
/// How long a client may take to open its connections and send something on them.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a client is given besides the seconds that are measured: it must not end before them.
const SPARE_SECONDS: f64 = 60.0;

/// Measures clients beside the floor: CPU time of a client for each message, in ratio to the
/// floor's.
///
/// The server runs on processor 0 and the clients on processor 1; each run is a fresh process of
/// both. Messages are counted by the kernel, as bytes that the server has received, and CPU time by
/// the client's process clock, both between two points at which all connections are open: what a
/// client says of itself is not asked for, and what it does at its start does not count.
#[derive(Debug, Parser)]
struct Options {
    /// Rows to run, by name [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,..", value_parser = find_row)]
    rows: Vec<&'static Row>,
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds for each run, after a fifth of them to warm up
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
    /// A client: its name, and a command that loads 127.0.0.1:{port} with {connections}
    /// connections, one message of {bytes} bytes under way on each, for at least {seconds} seconds;
    /// it is ended when it has been measured [default: sockeye load, with and without verification]
    #[arg(long, value_name = "NAME=COMMAND", value_parser = servers::parse)]
    client: Vec<Server>,
    /// The server, which prints `..:PORT` when it listens [default: sockeye serve on epoll]
    #[arg(long, value_name = "NAME=COMMAND", value_parser = servers::parse)]
    server: Option<Server>,
    #[command(flatten)]
    kept: Kept,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "give seconds, from 0.01 to an hour".into())
}

/// What is asked of the clients.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    title: &'static str,
    connections: usize,
    bytes: usize,
}

const ROWS: &[Row] = &[
    Row { name: "echo-32", title: "echo 32 B, 100 connections", connections: 100, bytes: 32 },
    Row { name: "echo-1k", title: "echo 1 KiB, 100 connections", connections: 100, bytes: 1 << 10 },
];

fn find_row(name: &str) -> Result<&'static Row, String> {
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        format!("no such row; there are {}", names.join(", "))
    })
}

impl Row {
    /// Of a message, as the server receives it.
    fn frame_bytes(&self) -> usize {
        frames::client_frame(Kind::Binary, &frames::payload(Kind::Binary, self.bytes)).len()
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), Box<dyn Error>> {
    cpu::raise_file_limit()?;
    let folder = std::env::current_exe()?;
    let folder = folder.parent().ok_or("no folder of our own")?;
    if options.rows.is_empty() {
        options.rows = ROWS.iter().collect();
    }
    let server = match options.server.take() {
        Some(server) => server,
        None => beside(folder, SERVER)?,
    };
    let clients = clients(folder, std::mem::take(&mut options.client))?;
    let mut report = Report::new(&options);
    for row in &options.rows {
        let mut runs = vec![Vec::new(); clients.len()];
        for round in 1..=options.rounds {
            for (client, runs) in clients.iter().zip(&mut runs) {
                let name = &client.name;
                let measured = measure(&server, client, row, options.seconds)
                    .map_err(|error| format!("{name} in {}: {error}", row.name))?;
                eprintln!("{:<10} round {round} {name:<20} {:>9.1}", row.name, measured.client_ns);
                runs.push(measured);
            }
        }
        report.add(row, &clients, &runs)?;
    }
    Ok(options.kept.write(&report.markdown, &report.json)?)
}

/// The floor, and those that are compared with it.
fn clients(folder: &Path, given: Vec<Server>) -> Result<Vec<Server>, Box<dyn Error>> {
    const FLOOR: &str = "floor=floor-client --port {port} --connections {connections} \
        --bytes {bytes} --seconds {seconds}";
    const LOAD: &str = "sockeye load ws://127.0.0.1:{port}/ --scenario echo --closed \
        --connections {connections} --bytes {bytes} --duration {seconds}s";
    let mut clients = vec![beside(folder, FLOOR)?];
    if given.is_empty() {
        clients.push(beside(folder, &format!("sockeye={LOAD}"))?);
        clients.push(beside(folder, &format!("sockeye, unverified={LOAD} --no-verify"))?);
    }
    clients.extend(given);
    Ok(clients)
}

/// A client that runs, until this is dropped.
struct Client(Child);

impl Client {
    fn start(client: &Server, row: &Row, port: u16, seconds: f64) -> Result<Self, Box<dyn Error>> {
        let seconds = (seconds + SPARE_SECONDS).ceil();
        let mut words = client.command.iter().map(|word| fill_in(word, row, port, seconds));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Whether it still runs; else what it has said.
    fn check(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(status) = self.0.try_wait()? else { return Ok(()) };
        let mut said = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            stderr.read_to_string(&mut said)?;
        }
        Err(format!("it has ended too early ({status}): {}", said.trim()).into())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fill_in(word: &str, row: &Row, port: u16, seconds: f64) -> String {
    word.replace("{port}", &port.to_string())
        .replace("{connections}", &row.connections.to_string())
        .replace("{bytes}", &row.bytes.to_string())
        .replace("{seconds}", &seconds.to_string())
}

/// The state at one point of time.
#[derive(Debug, Clone, Copy)]
struct Point {
    received: Received,
    client_ns: u64,
    server_ns: u64,
    time: Instant,
}

impl Point {
    fn take(client: &mut Client, server: &Running) -> Result<Self, Box<dyn Error>> {
        client.check()?;
        Ok(Self {
            received: traffic::received(server.port)?,
            client_ns: cpu::process_ns(client.0.id())?,
            server_ns: cpu::process_ns(server.id())?,
            time: Instant::now(),
        })
    }

    fn until(&self, end: &Self, row: &Row) -> Result<Run, String> {
        let connections = [self, end].map(|point| point.received.connections);
        if connections != [row.connections; 2] {
            return Err(format!("{connections:?} connections instead of {}", row.connections));
        }
        let bytes = end.received.bytes.saturating_sub(self.received.bytes);
        let messages = bytes as f64 / row.frame_bytes() as f64;
        if messages < 1.0 {
            return Err("it sends nothing".into());
        }
        let elapsed = end.time - self.time;
        Ok(Run {
            client_ns: (end.client_ns - self.client_ns) as f64 / messages,
            server_ns: (end.server_ns - self.server_ns) as f64 / messages,
            messages_per_s: messages / elapsed.as_secs_f64(),
            client_busy: (end.client_ns - self.client_ns) as f64 / elapsed.as_nanos() as f64,
        })
    }
}

/// One run of one client in one row. Nanoseconds are of CPU time, for each message.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    client_ns: f64,
    server_ns: f64,
    messages_per_s: f64,
    /// Share of the time in which the client ran.
    client_busy: f64,
}

fn measure(
    server: &Server,
    client: &Server,
    row: &Row,
    seconds: f64,
) -> Result<Run, Box<dyn Error>> {
    let server = server.start(str::to_owned)?;
    let mut client = Client::start(client, row, server.port, seconds)?;
    await_messages(&mut client, &server, row)?;
    thread::sleep(Duration::from_secs_f64(seconds / 5.0));
    let begin = Point::take(&mut client, &server)?;
    thread::sleep(Duration::from_secs_f64(seconds));
    let end = Point::take(&mut client, &server)?;
    Ok(begin.until(&end, row)?)
}

/// Waits until all connections are open and have sent, on the average, a few messages.
fn await_messages(client: &mut Client, server: &Running, row: &Row) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + START_TIMEOUT;
    let mut all_open = None;
    while Instant::now() < until {
        client.check()?;
        let received = traffic::received(server.port)?;
        if received.connections == row.connections {
            let bytes = *all_open.get_or_insert(received.bytes);
            if received.bytes > bytes + (4 * row.connections * row.frame_bytes()) as u64 {
                return Ok(());
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(format!("it has not loaded {} connections in {START_TIMEOUT:?}", row.connections).into())
}

struct Report {
    markdown: String,
    json: Vec<Value>,
}

impl Report {
    fn new(options: &Options) -> Self {
        let mut markdown = String::new();
        let _ = write!(
            markdown,
            "{}; {} rounds of {} s, median (range).\n\n\
             | workload | client | its CPU ns a message | ratio to the floor | busy \
             | server's CPU ns | messages/s |\n|---|---|---|---|---|---|---|\n",
            cpu::machine(),
            options.rounds,
            options.seconds
        );
        Self { markdown, json: Vec::new() }
    }

    fn add(&mut self, row: &Row, clients: &[Server], runs: &[Vec<Run>]) -> Result<(), String> {
        let floor = &runs[0];
        for (Server { name, .. }, runs) in clients.iter().zip(runs) {
            let of =
                |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure)).ok_or("no runs");
            let ratios = runs.iter().zip(floor).map(|(run, floor)| run.client_ns / floor.client_ns);
            let _ = writeln!(
                self.markdown,
                "| {} | {name} | {} | {} | {:.0} % | {:.0} | {:.0} |",
                row.title,
                of(|run| run.client_ns)?.show(1),
                Summary::of(ratios).ok_or("no runs")?.show(3),
                100.0 * of(|run| run.client_busy)?.median,
                of(|run| run.server_ns)?.median,
                of(|run| run.messages_per_s)?.median,
            );
            for run in runs {
                self.json.push(serde_json::json!({
                    "row": row.name,
                    "client": name,
                    "client_cpu_ns": run.client_ns,
                    "client_busy": run.client_busy,
                    "server_cpu_ns": run.server_ns,
                    "messages_per_s": run.messages_per_s,
                }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_what_to_do() {
        let row = find_row("echo-1k").unwrap();
        let words = "ws://127.0.0.1:{port}/ {connections} {bytes} {seconds}s".split(' ');
        let words: Vec<_> = words.map(|word| fill_in(word, row, 4321, 62.0)).collect();
        assert_eq!(words, ["ws://127.0.0.1:4321/", "100", "1024", "62s"]);
        assert!(find_row("echo-2k").is_err());
        // Header, length, key.
        assert_eq!(row.frame_bytes(), 2 + 2 + 4 + 1024);
    }

    #[test]
    fn a_run_is_what_lies_between_two_points() {
        let row = find_row("echo-32").unwrap();
        let time = Instant::now();
        let point = |connections, messages: u64, client_ns, seconds| Point {
            received: Received { connections, bytes: 7_000 + 38 * messages },
            client_ns,
            server_ns: 2 * client_ns,
            time: time + Duration::from_secs(seconds),
        };
        let begin = point(100, 0, 1_000, 0);
        let run = begin.until(&point(100, 500, 1_000_001_000, 2), row).unwrap();
        let (client_ns, server_ns) = (2e6, 4e6);
        let expected = Run { client_ns, server_ns, messages_per_s: 250.0, client_busy: 0.5 };
        assert_eq!(run, expected);
        assert!(begin.until(&point(99, 500, 2_000, 2), row).unwrap_err().contains("[100, 99]"));
        assert!(begin.until(&point(100, 0, 2_000, 2), row).is_err());
    }

    #[test]
    fn a_client_that_ends_says_why() {
        let row = find_row("echo-32").unwrap();
        let client = servers::parse("gone=ls /there/is/no/such/folder/as/{port}").unwrap();
        let mut client = Client::start(&client, row, 4321, 1.0).unwrap();
        client.0.wait().unwrap();
        let error = client.check().unwrap_err().to_string();
        assert!(error.contains("too early") && error.contains("as/4321"), "{error}");
    }

    #[test]
    fn the_table_has_a_line_for_each_client() {
        let options = Options::parse_from(["versus-client"]);
        let mut report = Report::new(&options);
        let clients = ["floor=a", "other=b"].map(|text| servers::parse(text).unwrap());
        let run =
            |client_ns| Run { client_ns, server_ns: 1.0, messages_per_s: 10.0, client_busy: 0.5 };
        let runs = [vec![run(100.0), run(200.0)], vec![run(110.0), run(230.0)]];
        report.add(&ROWS[0], &clients, &runs).unwrap();
        let last = report.markdown.lines().last().unwrap();
        assert!(last.contains("| other | 170.0 (110.0 to 230.0) | 1.125 (1.100 to 1.150) | 50 %"));
        assert_eq!(report.json.len(), 4);
    }
}
