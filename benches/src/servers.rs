//! Servers that are measured: commands, and the processes that they become.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cpu;

/// Where servers run.
pub const SERVER_PROCESSOR: usize = 0;
/// Where their clients run.
pub const CLIENT_PROCESSOR: usize = 1;

/// A server: its name in the table and how to start it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// A server that runs, until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

/// `NAME=COMMAND`.
///
/// # Errors
/// It is not that.
pub fn parse(text: &str) -> Result<Server, String> {
    let (name, command) = text.split_once('=').ok_or("give NAME=COMMAND")?;
    let command: Vec<_> = command.split_whitespace().map(String::from).collect();
    if command.is_empty() {
        return Err("the command is empty".into());
    }
    Ok(Server { name: name.into(), command })
}

/// A program of this crate or the command's, beside the one that runs: `NAME=PROGRAM ARGUMENTS`.
///
/// # Errors
/// It is not that, or it was not built.
pub fn beside(folder: &Path, text: &str) -> Result<Server, Box<dyn Error>> {
    let mut server = parse(text)?;
    let path = folder.join(&server.command[0]);
    if !path.exists() {
        let name = &server.command[0];
        return Err(format!("no {name} beside this program: cargo build --release").into());
    }
    server.command[0] = path.display().to_string();
    Ok(server)
}

impl Server {
    /// Whether these characters stand in its command.
    pub fn asks_for(&self, what: &str) -> bool {
        self.command.iter().any(|word| word.contains(what))
    }

    /// Starts it on its processor, with its words as `word` makes them, and waits until it says
    /// where it listens. The caller is on the client's processor from then on.
    ///
    /// # Errors
    /// It cannot be started, or ends without a word.
    pub fn start(&self, word: impl Fn(&str) -> String) -> Result<Running, Box<dyn Error>> {
        let mut words = self.command.iter().map(|text| word(text));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        cpu::pin(SERVER_PROCESSOR)?;
        let running = Running::start(&mut command);
        cpu::pin(CLIENT_PROCESSOR)?;
        running
    }
}

impl Running {
    /// Starts a server where the caller runs, and waits until it says where it listens.
    ///
    /// # Errors
    /// It cannot be started, or ends without a word.
    pub fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut running = Self { child, port: 0 };
        let stdout = running.child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = lines.find_map(|line| find_port(&line));
        running.port = port.ok_or("it ended without saying where it listens")?;
        Ok(running)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It is not there.
    pub fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind the last colon that one follows: `.. 127.0.0.1:9001 ..`.
fn find_port(line: &str) -> Option<u16> {
    line.rsplit(':').find_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|port| *port != 0)
    })
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
        let server = parse("peer=./peer --app {app}").unwrap();
        assert_eq!((server.name.as_str(), server.command.len()), ("peer", 3));
        assert!(parse("peer").is_err() && parse("peer=").is_err());
    }

    #[test]
    fn one_that_says_nothing_is_an_error() {
        let silent = parse("true=true").unwrap();
        assert!(silent.start(str::to_owned).is_err());
    }
}
