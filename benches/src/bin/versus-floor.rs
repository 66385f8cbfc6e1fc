//! Runs servers against the floor, in turn, and makes the table.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::Value;
use sockeye_benches::certificate::Certificate;
use sockeye_benches::rows::{ROWS, Row, Work};
use sockeye_benches::summary::Summary;
use sockeye_benches::{cpu, frames};

const SERVER_PROCESSOR: usize = 0;
const CLIENT_PROCESSOR: usize = 1;
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
    /// Rounds; the median of them counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for each run
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// A server: its name, and a command that prints `..:PORT` when it listens; `{app}` becomes
    /// `echo` or `broadcast`. One that asks for `{frame-bytes}` is another floor: its answers are
    /// counted, not compared. `{cert}` and `{key}` become PEM files: one that asks for them
    /// runs in the wss rows, the others in all others. [default: sockeye on epoll, as cargo built
    /// it, without and with TLS]
    #[arg(long, value_name = "NAME=COMMAND", value_parser = parse_server)]
    server: Vec<Server>,
    /// Write the table there, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write every run there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Server {
    name: String,
    command: Vec<String>,
}

/// What a server that does no WebSocket has to be told: how long the client's frames are.
const FRAME_BYTES: &str = "{frame-bytes}";
/// What a server that does TLS has to be told.
const CERTIFICATE: &str = "{cert}";
const KEY: &str = "{key}";

impl Server {
    /// One of the programs beside this one.
    fn beside(folder: &Path, name: &str, arguments: &str) -> Result<Self, Box<dyn Error>> {
        let program = folder.join(name);
        if !program.exists() {
            return Err(format!("no {name} beside this program: cargo build --release").into());
        }
        let mut server = parse_server(&format!("{name}={name} {arguments}"))?;
        server.command[0] = program.display().to_string();
        Ok(server)
    }

    fn asks_for(&self, what: &str) -> bool {
        self.command.iter().any(|word| word.contains(what))
    }

    fn is_floor(&self) -> bool {
        self.asks_for(FRAME_BYTES)
    }

    fn is_secure(&self) -> bool {
        self.asks_for(CERTIFICATE)
    }

    /// The command for this row.
    fn command(&self, row: &Row, certificate: &Certificate) -> Command {
        let frame = frames::client_frame(row.kind, &frames::payload(row.kind, row.bytes));
        let frame_bytes = frame.len().to_string();
        let mut words = self.command.iter().map(|word| {
            word.replace("{app}", row.app())
                .replace(FRAME_BYTES, &frame_bytes)
                .replace(CERTIFICATE, &certificate.chain().to_string_lossy())
                .replace(KEY, &certificate.key().to_string_lossy())
        });
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

fn find_row(name: &str) -> Result<&'static Row, String> {
    sockeye_benches::rows::find(name).ok_or_else(|| {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        format!("no such row; there are {}", names.join(", "))
    })
}

fn parse_server(text: &str) -> Result<Server, String> {
    let (name, command) = text.split_once('=').ok_or("give NAME=COMMAND")?;
    let command: Vec<_> = command.split_whitespace().map(String::from).collect();
    if command.is_empty() {
        return Err("the command is empty".into());
    }
    Ok(Server { name: name.into(), command })
}

/// A child that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One run of one server in one row.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Nanoseconds of the server for each message, or bytes for each connection.
    server: f64,
    client: f64,
    messages_per_s: f64,
    client_bound: bool,
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
    print!("{}", report.markdown);
    if let Some(path) = &options.markdown {
        fs::write(path, &report.markdown)?;
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report.json)?)?;
    }
    Ok(())
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
            servers.push(Server::beside(folder, "sockeye", serve)?);
            servers.push(Server::beside(folder, "sockeye", &format!("{serve} {tls}"))?);
        }
        Ok(Self {
            folder: folder.to_owned(),
            certificate: Certificate::new()?,
            floor: Server::beside(folder, "floor", &floor)?,
            floor_tls: Server::beside(folder, "floor-tls", &format!("{floor} {tls}"))?,
            servers,
        })
    }

    /// Those that run in a row; the first is the floor. Where that has TLS, the one without follows.
    fn servers(&self, row: &Row) -> Vec<&Server> {
        let secure = row.is_secure();
        let compared = self.servers.iter().filter(|server| server.is_secure() == secure);
        let floors = [&self.floor_tls, &self.floor];
        floors[usize::from(!secure)..].iter().copied().chain(compared).collect()
    }

    fn measure(&self, server: &Server, row: &Row, seconds: f64) -> Result<Run, Box<dyn Error>> {
        let mut command = server.command(row, &self.certificate);
        cpu::pin(SERVER_PROCESSOR)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        cpu::pin(CLIENT_PROCESSOR)?;
        let mut child = Running(child?);
        let stdout = child.0.stdout.take().ok_or("no stdout")?;
        let port = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| find_port(&line))
            .ok_or("it ended without saying where it listens")?;

        let mut client = Command::new(self.folder.join("load"));
        client.args(["--port", &port.to_string(), "--server", &child.0.id().to_string()]);
        client.args(["--row", row.name, "--seconds", &seconds.to_string()]);
        // A floor's answers say nothing.
        if !server.is_floor() {
            client.arg("--verify");
        }
        if row.is_secure() && !server.is_secure() {
            client.arg("--plain");
        }
        let output = client.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err("the client failed".into());
        }
        read_run(row, &serde_json::from_slice(&output.stdout)?)
    }
}

/// The number behind the last colon that one follows: `.. 127.0.0.1:9001 ..`.
fn find_port(line: &str) -> Option<u16> {
    line.rsplit(':').find_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|port| *port != 0)
    })
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
        return Ok(Run { server, client: 0.0, messages_per_s: 0.0, client_bound: false });
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
        client_bound: client / elapsed > CLIENT_BUSY && server / elapsed < SERVER_IDLE,
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
            "{}; {} rounds of {} s, median (range).\n\n\
             | workload | server | CPU ns a message | ratio to the floor | to the one without TLS \
             | client's CPU ns | messages/s | |\n|---|---|---|---|---|---|---|---|\n",
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
                Summary::of(ratios).map(|ratio| ratio.show(3))
            };
            let bound = runs.iter().filter(|run| run.client_bound).count();
            let note = if bound > 0 { format!("client-bound in {bound}") } else { String::new() };
            let _ = writeln!(
                self.markdown,
                "| {} | {name} | {} | {} | {} | {:.0} | {:.0} | {note} |",
                row.title,
                of(|run| run.server)?.show(if row.work == Work::Idle { 0 } else { 1 }),
                ratio(floor).ok_or("no runs")?,
                plain_floor.and_then(|floor| ratio(floor)).unwrap_or_default(),
                of(|run| run.client)?.median,
                of(|run| run.messages_per_s)?.median,
            );
            for run in runs {
                self.json.push(serde_json::json!({
                    "row": row.name,
                    "server": name,
                    "server_figure": run.server,
                    "client_cpu_ns": run.client,
                    "messages_per_s": run.messages_per_s,
                    "client_bound": run.client_bound,
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
    fn ports_are_found_in_what_servers_print() {
        assert_eq!(find_port("listening on ws://127.0.0.1:9001 (backend epoll)"), Some(9001));
        assert_eq!(find_port("listening on 127.0.0.1:43210"), Some(43210));
        assert_eq!(find_port("ready"), None);
        assert_eq!(find_port("time 12:00 nothing: here"), None);
    }

    #[test]
    fn servers_are_names_and_commands() {
        let server = parse_server("peer=./peer --app {app}").unwrap();
        assert_eq!((server.name.as_str(), server.command.len()), ("peer", 3));
        assert!(parse_server("peer").is_err() && parse_server("peer=").is_err());
        assert!(!server.is_floor());
    }

    #[test]
    fn a_floor_is_told_how_long_frames_are() {
        let server = parse_server("other=./other {app} --frame-bytes={frame-bytes}").unwrap();
        assert!(server.is_floor());
        let certificate = Certificate::new().unwrap();
        let command = server.command(find_row("echo-32").unwrap(), &certificate);
        // Two bytes of header, four of masking key.
        assert!(command.get_args().eq(["echo", "--frame-bytes=38"]));
    }

    #[test]
    fn who_asks_for_a_certificate_gets_one() {
        let server = parse_server("other=./other --cert {cert} --key {key}").unwrap();
        assert!(server.is_secure() && !server.is_floor());
        let certificate = Certificate::new().unwrap();
        let command = server.command(find_row("wss-32").unwrap(), &certificate);
        let files = [certificate.chain().as_os_str(), certificate.key().as_os_str()];
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--cert".as_ref(), files[0], "--key".as_ref(), files[1]]);
    }

    #[test]
    fn a_row_has_its_floors_and_those_that_speak_as_it_does() {
        let server = |text| parse_server(text).unwrap();
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
        assert_eq!((run.server, run.messages_per_s, run.client_bound), (8e5, 1000.0, true));
        assert!(read_run(row, &Value::Null).is_err());
    }
}
