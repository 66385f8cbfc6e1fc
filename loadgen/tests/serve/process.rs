//! The `sockeye` command as a child: its output by the line, its end, and its end with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// When to give up waiting. No verdict depends on it but the one that something never happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A child that is killed if the test is done with it before it has ended.
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// How a child has ended, and what it has said that nobody has waited for.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Process {
    /// Starts `sockeye` with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_sockeye")).args(arguments))
    }

    /// Starts `sockeye` with so few file descriptors.
    pub(crate) fn start_with_files(files: u32, arguments: &[&str]) -> Self {
        Self::start_with_limit(&format!("-n {files}"), || {}, arguments)
    }

    /// Starts `sockeye` with this limit of the shell's, from a thread that confines itself.
    pub(crate) fn start_with_limit(limit: &str, confine: fn(), arguments: &[&str]) -> Self {
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_sockeye")]).args(arguments);
        Self::spawn_from(confine, &mut command)
    }

    /// Starts `sockeye` from a thread that confines itself: its children are confined as well.
    pub(crate) fn start_confined(confine: fn(), arguments: &[&str]) -> Self {
        Self::spawn_from(confine, Command::new(env!("CARGO_BIN_EXE_sockeye")).args(arguments))
    }

    /// Starts `sockeye` with these arguments and a log that tells all.
    pub(crate) fn start_verbose(arguments: &[&str]) -> Self {
        let mut command = Command::new("env");
        command.args(["RUST_LOG=debug", env!("CARGO_BIN_EXE_sockeye")]).args(arguments);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Self {
        Self::spawn_from(|| {}, command)
    }

    fn spawn_from(confine: fn(), command: &mut Command) -> Self {
        let command = command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = thread::scope(|scope| {
            let spawn = || {
                confine();
                command.spawn()
            };
            scope.spawn(spawn).join().expect("it could be confined")
        });
        let mut child = child.expect("the command starts");
        let stdout = lines_of(child.stdout.take().expect("it is piped"));
        let stderr = lines_of(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Runs `sockeye` to its end.
    pub(crate) fn run(arguments: &[&str]) -> Ended {
        Self::start(arguments).wait()
    }

    /// Runs `sockeye` to its end, with a variable of the environment.
    pub(crate) fn run_with(variable: (&str, &str), arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        Self::spawn(command.env(variable.0, variable.1).args(arguments)).wait()
    }

    /// The next line of standard output.
    pub(crate) fn next_line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let stderr: Vec<String> = self.stderr.try_iter().collect();
            panic!("no line: {error}; on standard error: {stderr:?}")
        })
    }

    /// Waits for a line of standard error that contains `text`, and returns it.
    pub(crate) fn wait_for_error_line(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) if line.contains(text) => {
                    assert!(!line.contains('\x1b'), "colours in a file: {line:?}");
                    return line;
                }
                Ok(_) => {}
                Err(error) => panic!("no line with {text:?}: {error}"),
            }
        }
    }

    /// Its process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let stdout = lines_until_end(&self.stdout);
        let stderr = lines_until_end(&self.stderr);
        let status = self.child.wait().expect("the child is ours");
        Ended { status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of them are read, so that the child never waits for that.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more: go on reading all the same.
            let _ = tx.send(line);
        }
    });
    lines
}

fn lines_until_end(lines: &Receiver<String>) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => all.push(line),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end; so far: {all:?}"),
        }
    }
}

/// A running `sockeye serve` on a port that the system chose.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) first_line: String,
}

impl Server {
    /// Starts it with these arguments besides `--listen`, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::ready(Process::start(&Self::arguments(arguments)))
    }

    /// The same, with so few file descriptors.
    pub(crate) fn start_with_files(files: u32, arguments: &[&str]) -> Self {
        Self::ready(Process::start_with_files(files, &Self::arguments(arguments)))
    }

    /// The same, from a thread that confines itself.
    pub(crate) fn start_confined(confine: fn(), arguments: &[&str]) -> Self {
        Self::ready(Process::start_confined(confine, &Self::arguments(arguments)))
    }

    fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["serve", "--listen", "127.0.0.1:0"], more].concat()
    }

    /// Waits until it listens.
    pub(crate) fn ready(process: Process) -> Self {
        let line = process.next_line();
        let address = line.strip_prefix("listening on ws://").and_then(|rest| {
            let (address, _) = rest.split_once(' ')?;
            address.parse().ok()
        });
        let address = address.unwrap_or_else(|| panic!("{line:?} names no address"));
        Self { process, address, first_line: line }
    }
}
