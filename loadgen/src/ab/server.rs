//! A server under test that is started here, and ended here whatever happens.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::load::units::seconds;

/// How long it may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at it.
const INTERVAL: Duration = Duration::from_millis(10);
/// Of what it says on standard error.
const LAST_WORDS_BYTES: usize = 1_000;

/// A server and all that it starts, in a process group of its own: a Ctrl-C at the terminal does
/// not reach it before its connections are closed.
#[derive(Debug)]
pub(super) struct ServerProcess {
    child: Child,
    port: u16,
    last_words: Receiver<String>,
    ended: bool,
}

impl ServerProcess {
    /// Runs `command` in a shell, `{port}` being a free port, and waits until something accepts
    /// connections there. `stop` asks not to wait any longer.
    pub(super) fn start(
        command: &str,
        timeout: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{command}: {error}");
        let port = free_port().map_err(failed)?;
        let line = command.replace("{port}", &port.to_string());
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            // The shell gives way to it, so that its process is the one that is looked at.
            .arg(format!("exec {line}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (tx, last_words) = mpsc::channel();
        let stderr = child.stderr.take();
        let mut server = Self { child, port, last_words, ended: false };
        if let Some(stderr) = stderr {
            let listen = thread::Builder::new().name("server's stderr".into());
            // Nobody asks for them where the server has ended as it should.
            listen.spawn(move || drop(tx.send(read_last_words(stderr)))).map_err(failed)?;
        }
        match server.wait_until_it_accepts(timeout, stop) {
            Ok(()) => Ok(server),
            Err(what) => match server.end() {
                said if said.is_empty() => Err(format!("{line}: {what}")),
                said => Err(format!("{line}: {what}: {said}")),
            },
        }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and says what it has said last.
    pub(super) fn end(mut self) -> String {
        self.end_now();
        // Who has left the group may hold its standard error for ever.
        self.last_words.recv_timeout(Duration::from_secs(1)).unwrap_or_default()
    }

    fn wait_until_it_accepts(
        &mut self,
        timeout: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let addresses: [SocketAddr; 2] =
            [(Ipv4Addr::LOCALHOST, self.port).into(), (Ipv6Addr::LOCALHOST, self.port).into()];
        let deadline = Instant::now() + timeout;
        loop {
            let accepts = addresses
                .iter()
                .any(|address| TcpStream::connect_timeout(address, INTERVAL * 20).is_ok());
            // Where it has ended, somebody else has the port.
            if self.has_ended() {
                return Err("it ended before it accepted a connection".into());
            }
            if accepts {
                return Ok(());
            }
            if stop() {
                return Err("a signal came while it started".into());
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "it does not accept connections on port {} after {}: let it listen on {{port}} \
                     or give it more time with --server-start-timeout-s",
                    self.port,
                    seconds(timeout.as_secs_f64())
                ));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Whether its process is over. It is left as a zombie, so that its number and that of its
    /// group stay its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn end_now(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let group = Pid::from_child(&self.child);
        // An error says that nobody is left in the group.
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(INTERVAL);
        }
        let _ = kill_process_group(group, Signal::KILL);
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, pid = self.pid(), "the server cannot be waited for");
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// One that nobody has now. Who takes it before the server does makes the server fail to start.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Reads to the end, and keeps the end, as one line.
fn read_last_words(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buf = [0; 4_096];
    while let Ok(count @ 1..) = stderr.read(&mut buf) {
        kept.extend_from_slice(&buf[..count]);
        let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests;
