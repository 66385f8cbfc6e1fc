//! What the server's process uses (`--server-pid`), if it is on this machine.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// More than `/proc/PID/status` ever has.
const STATUS_BYTES_MAX: usize = 8 << 10;

/// A process that is watched. It is asked by a file that stays open: when the process is gone, and
/// its number perhaps another's, that file says so.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    pid: u32,
    name: String,
    clock: ClockId,
    status: File,
}

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads so far, those that have ended included.
    pub(crate) cpu_ns: u64,
    /// Memory that is resident.
    pub(crate) rss_bytes: u64,
    /// The part of it that no file backs: what connections cost.
    pub(crate) anonymous_bytes: u64,
    pub(crate) threads: u32,
}

impl ServerProcess {
    /// Looks the process up.
    ///
    /// # Errors
    /// One line: there is none, or it is not to be seen.
    pub(crate) fn new(pid: u32) -> Result<Self, String> {
        let is_process = |pid: &i32| *pid > 0;
        let number = i32::try_from(pid).ok().filter(is_process);
        let number = number.ok_or_else(|| format!("--server-pid {pid} is no process number"))?;
        let status = File::open(format!("/proc/{pid}/status")).map_err(|e| explain(pid, &e))?;
        let text = read(&status).map_err(|error| explain(pid, &error))?;
        // Threads have numbers of the same kind.
        let group = field(&text, "Tgid:").and_then(|group| group.parse::<u32>().ok());
        if let Some(group) = group.filter(|group| *group != pid) {
            return Err(format!(
                "--server-pid {pid} is a thread of process {group}: use --server-pid {group}"
            ));
        }
        let clock = clock_getcpuclockid(Pid::from_raw(number))
            .map_err(|error| explain(pid, &clock_error(error)))?;
        let name = field(&text, "Name:").unwrap_or("?").to_owned();
        Ok(Self { pid, name, clock, status })
    }

    /// Its number.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it is called, at most 15 bytes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it uses now: two system calls.
    ///
    /// # Errors
    /// One line: it is gone.
    pub(crate) fn usage(&self) -> Result<Usage, String> {
        self.try_usage().map_err(|error| explain(self.pid, &error))
    }

    fn try_usage(&self) -> io::Result<Usage> {
        // First the status: it is a process's own, where a clock may be that of its successor.
        let text = read(&self.status)?;
        let cpu = self.clock.now().map_err(clock_error)?;
        // One that has ended and was not waited for has no memory, and these lines are missing.
        let kilobytes = |name| number(&text, name).map(|kilobytes| kilobytes * 1024);
        let gone = || io::Error::from(ErrorKind::NotFound);
        Ok(Usage {
            cpu_ns: u64::try_from(Duration::from(cpu).as_nanos()).unwrap_or(u64::MAX),
            rss_bytes: kilobytes("VmRSS:").ok_or_else(gone)?,
            anonymous_bytes: kilobytes("RssAnon:").ok_or_else(gone)?,
            threads: number(&text, "Threads:").and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        })
    }
}

fn read(status: &File) -> io::Result<String> {
    let mut bytes = vec![0; STATUS_BYTES_MAX];
    let len = status.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

fn clock_error(error: Errno) -> io::Error {
    // EINVAL: there is no such process any more.
    let gone = matches!(error, Errno::ESRCH | Errno::EINVAL);
    if gone { ErrorKind::NotFound.into() } else { error.into() }
}

fn explain(pid: u32, error: &io::Error) -> String {
    let is_gone =
        error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32);
    if is_gone {
        return format!(
            "--server-pid {pid}: no such process, or not any more: is it the server's?"
        );
    }
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("--server-pid {pid}: not to be seen by this user: run as the server's, or root")
        }
        _ => format!("--server-pid {pid}: it cannot be watched: {error}"),
    }
}

/// The rest of the line that begins so.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn number(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
