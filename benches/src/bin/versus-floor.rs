//! Runs servers against the floor, in turn, and makes the table.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::Value;
use sockeye_benches::certificate::Certificate;
use sockeye_benches::kept::Kept;
use sockeye_benches::rows::{ROWS, Row, Work};
use sockeye_benches::servers::{self, Server, beside};
use sockeye_benches::summary::Summary;
use sockeye_benches::{cpu, frames};

/// A client that runs all the time while the server does not is the bottleneck.
const CLIENT_BUSY: f64 = 0.97;
const SERVER_IDLE: f64 = 0.90;

/// Measures servers beside the floor: CPU time for each message, in ratio to the floor's.
///
/// The server runs on processor 0 and the client on processor 1; floor and servers take turns. The
/// floor of the wss rows is floor-tls; the one without TLS runs beside it.
#[derive(Debug, Parser)]
struct Options {
    /// Rows to run, by name [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,..", value_parser = find_row)]
    rows: Vec<&'static Row>,
    /// Rounds; the median of them counts. Many short ones say more than few long ones where other
    /// programs, or other guests of the same machine, come and go
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Seconds for each run
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// A server: its name, and a command that prints `..:PORT` when it listens; `{app}` becomes
    /// `echo` or `broadcast`. One that asks for `{frame-bytes}` is another floor: its answers are
    /// counted, not compared. `{cert}` and `{key}` become PEM files: one that asks for them
    /// runs in the wss rows, the others in all others. [default: sockeye on epoll, as cargo built
    /// it, without and with TLS]
    #[arg(long, value_name = "NAME=COMMAND", value_parser = servers::parse)]
    server: Vec<Server>,
    #[command(flatten)]
    kept: Kept,
}

/// What a server that does no WebSocket has to be told: how long the client's frames are.
const FRAME_BYTES: &str = "{frame-bytes}";
/// What a server that does TLS has to be told.
const CERTIFICATE: &str = "{cert}";
const KEY: &str = "{key}";

fn is_floor(server: &Server) -> bool {
    server.asks_for(FRAME_BYTES)
}

fn is_secure(server: &Server) -> bool {
    server.asks_for(CERTIFICATE)
}

/// A word of a server's command, for this row.
fn fill_in(word: &str, row: &Row, certificate: &Certificate) -> String {
    let frame = frames::client_frame(row.kind, &frames::payload(row.kind, row.bytes));
    word.replace("{app}", row.app())
        .replace(FRAME_BYTES, &frame.len().to_string())
        .replace(CERTIFICATE, &certificate.chain().to_string_lossy())
        .replace(KEY, &certificate.key().to_string_lossy())
}

fn find_row(name: &str) -> Result<&'static Row, String> {
    sockeye_benches::rows::find(name).ok_or_else(|| {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        format!("no such row; there are {}", names.join(", "))
    })
}

/// One run of one server in one row.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Nanoseconds of the server for each message, or bytes for each connection.
    server: f64,
    client: f64,
    messages_per_s: f64,
    /// What part of the time server and client ran.
    busy: [f64; 2],
}

impl Run {
    fn is_client_bound(&self) -> bool {
        let [server, client] = self.busy;
        client > CLIENT_BUSY && server < SERVER_IDLE
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), Box<dyn Error>> {
    if options.rounds == 0 {
        return Err("--rounds must be at least 1".into());
    }
    cpu::raise_file_limit()?;
    let folder = std::env::current_exe()?;
    let folder = folder.parent().ok_or("no folder of our own")?;
    if options.rows.is_empty() {
        options.rows = ROWS.iter().collect();
    }
    let bench = Bench::new(folder, &options)?;
    let mut report = Report::new(&options);
    for row in &options.rows {
        let servers = bench.servers(row);
        let mut runs = vec![Vec::new(); servers.len()];
        for round in 1..=options.rounds {
            for (server, runs) in servers.iter().zip(&mut runs) {
                let measured = bench
                    .measure(server, row, options.seconds)
                    .map_err(|error| format!("{} in {}: {error}", server.name, row.name))?;
                let (row, server, figure) = (row.name, &server.name, measured.server);
                eprintln!("{row:<16} round {round} {server:<10} {figure:>10.1}");
                runs.push(measured);
            }
        }
        report.add(row, &servers, &runs)?;
    }
    Ok(options.kept.write(&report.markdown, &report.json)?)
}

/// The programs, and what they need.
struct Bench {
    /// Where they are.
    folder: PathBuf,
    certificate: Certificate,
    floor: Server,
    floor_tls: Server,
    /// Those that are compared.
    servers: Vec<Server>,
}

impl Bench {
    fn new(folder: &Path, options: &Options) -> Result<Self, Box<dyn Error>> {
        let floor = format!("--app {{app}} --frame-bytes {FRAME_BYTES}");
        let tls = format!("--tls-cert {CERTIFICATE} --tls-key {KEY}");
        let mut servers = options.server.clone();
        if servers.is_empty() {
            let serve = "serve --listen 127.0.0.1:0 --shards 1 --backend epoll --app {app}";
            servers.push(beside(folder, &format!("sockeye=sockeye {serve}"))?);
            servers.push(beside(folder, &format!("sockeye=sockeye {serve} {tls}"))?);
        }
        Ok(Self {
            folder: folder.to_owned(),
            certificate: Certificate::new()?,
            floor: beside(folder, &format!("floor=floor {floor}"))?,
            floor_tls: beside(folder, &format!("floor-tls=floor-tls {floor} {tls}"))?,
            servers,
        })
    }

    /// Those that run in a row; the first is the floor. If that has TLS, the one without is next.
    fn servers(&self, row: &Row) -> Vec<&Server> {
        let secure = row.is_secure();
        let compared = self.servers.iter().filter(|server| is_secure(server) == secure);
        let floors = [&self.floor_tls, &self.floor];
        floors[usize::from(!secure)..].iter().copied().chain(compared).collect()
    }

    fn measure(&self, server: &Server, row: &Row, seconds: f64) -> Result<Run, Box<dyn Error>> {
        let running = server.start(|word| fill_in(word, row, &self.certificate))?;
        let mut client = Command::new(self.folder.join("load"));
        client.args(["--port", &running.port.to_string(), "--server", &running.id().to_string()]);
        client.args(["--row", row.name, "--seconds", &seconds.to_string()]);
        // A floor's answers say nothing.
        if !is_floor(server) {
            client.arg("--verify");
        }
        if row.is_secure() && !is_secure(server) {
            client.arg("--plain");
        }
        let output = client.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err("the client failed".into());
        }
        read_run(row, &serde_json::from_slice(&output.stdout)?)
    }
}

fn read_run(row: &Row, result: &Value) -> Result<Run, Box<dyn Error>> {
    let number = |name: &str| {
        result
            .get(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("the client left {name} out"))
    };
    if row.work == Work::Idle {
        let server = number("bytes_per_connection")?;
        return Ok(Run { server, client: 0.0, messages_per_s: 0.0, busy: [0.0; 2] });
    }
    let (messages, elapsed) = (number("messages")?, number("elapsed_ns")?);
    let (server, client) = (number("server_cpu_ns")?, number("client_cpu_ns")?);
    if messages == 0.0 {
        return Err("no message came back".into());
    }
    Ok(Run {
        server: server / messages,
        client: client / messages,
        messages_per_s: messages / (elapsed / 1e9),
        busy: [server / elapsed, client / elapsed],
    })
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
            "{}; {} rounds of {} s, median [quartiles] (range).\n\n\
             | workload | server | CPU ns a message | ratio to the floor | to the one without TLS \
             | client's CPU ns | messages/s | busy: server, client | |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            cpu::machine(),
            options.rounds,
            options.seconds
        );
        Self { markdown, json: Vec::new() }
    }

    fn add(
        &mut self,
        row: &Row,
        servers: &[&Server],
        runs: &[Vec<Run>],
    ) -> Result<(), Box<dyn Error>> {
        let (floor, plain_floor) = (&runs[0], row.is_secure().then(|| &runs[1]));
        for (Server { name, .. }, runs) in servers.iter().zip(runs) {
            let of =
                |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure)).ok_or("no runs");
            let ratio = |floor: &[Run]| {
                let ratios = runs.iter().zip(floor).map(|(run, floor)| run.server / floor.server);
                Summary::of(ratios).map(|ratio| ratio.show_with_quartiles(3))
            };
            let bound = runs.iter().filter(|run| run.is_client_bound()).count();
            let note = if bound > 0 { format!("client-bound in {bound}") } else { String::new() };
            let _ = writeln!(
                self.markdown,
                "| {} | {name} | {} | {} | {} | {:.0} | {:.0} | {:.2}, {:.2} | {note} |",
                row.title,
                of(|run| run.server)?.show(if row.work == Work::Idle { 0 } else { 1 }),
                ratio(floor).ok_or("no runs")?,
                plain_floor.and_then(|floor| ratio(floor)).unwrap_or_default(),
                of(|run| run.client)?.median,
                of(|run| run.messages_per_s)?.median,
                of(|run| run.busy[0])?.median,
                of(|run| run.busy[1])?.median,
            );
            for run in runs {
                self.json.push(serde_json::json!({
                    "row": row.name,
                    "server": name,
                    "server_figure": run.server,
                    "client_cpu_ns": run.client,
                    "messages_per_s": run.messages_per_s,
                    "busy": run.busy,
                    "client_bound": run.is_client_bound(),
                }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_in(command: &str, row: &str, certificate: &Certificate) -> Vec<String> {
        let row = find_row(row).unwrap();
        command.split(' ').map(|word| fill_in(word, row, certificate)).collect()
    }

    #[test]
    fn a_floor_is_told_how_long_frames_are() {
        let command = "./other {app} --frame-bytes={frame-bytes}";
        assert!(is_floor(&servers::parse(&format!("other={command}")).unwrap()));
        assert!(!is_floor(&servers::parse("peer=./peer --app {app}").unwrap()));
        let words = filled_in(command, "echo-32", &Certificate::new().unwrap());
        // Two bytes of header, four of masking key.
        assert_eq!(words, ["./other", "echo", "--frame-bytes=38"]);
    }

    #[test]
    fn who_asks_for_a_certificate_gets_one() {
        let command = "./other --cert {cert} --key {key}";
        let server = servers::parse(&format!("other={command}")).unwrap();
        assert!(is_secure(&server) && !is_floor(&server));
        let certificate = Certificate::new().unwrap();
        let words = filled_in(command, "wss-32", &certificate);
        let files = [certificate.chain(), certificate.key()].map(|file| file.display().to_string());
        assert_eq!(words, ["./other", "--cert", &files[0], "--key", &files[1]]);
    }

    #[test]
    fn a_row_has_its_floors_and_those_that_speak_as_it_does() {
        let server = |text| servers::parse(text).unwrap();
        let bench = Bench {
            folder: PathBuf::new(),
            certificate: Certificate::new().unwrap(),
            floor: server("floor=./floor"),
            floor_tls: server("floor-tls=./floor-tls {cert} {key}"),
            servers: vec![server("ws=./server"), server("wss=./server {cert} {key}")],
        };
        let names = |row| {
            let servers = bench.servers(find_row(row).unwrap());
            servers.into_iter().map(|server| server.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names("echo-32"), ["floor", "ws"]);
        assert_eq!(names("wss-32"), ["floor-tls", "floor", "wss"]);
    }

    #[test]
    fn a_result_without_messages_is_an_error() {
        let row = find_row("echo-32").unwrap();
        let result = |messages: u32| {
            serde_json::json!({
                "messages": messages, "elapsed_ns": 1e9,
                "server_cpu_ns": 8e8, "client_cpu_ns": 9.9e8,
            })
        };
        assert!(read_run(row, &result(0)).is_err());
        let run = read_run(row, &result(1000)).unwrap();
        assert_eq!((run.server, run.messages_per_s, run.busy), (8e5, 1000.0, [0.8, 0.99]));
        assert!(run.is_client_bound());
        assert!(!Run { busy: [0.95, 0.99], ..run }.is_client_bound());
        assert!(read_run(row, &Value::Null).is_err());
    }
}
