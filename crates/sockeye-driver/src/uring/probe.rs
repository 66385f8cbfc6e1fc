//! Whether io_uring is to be had here, found out by doing what the backend does: versions and flags
//! do not tell of seccomp profiles, sysctls and half-ported features.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::cqueue;

use super::buffers::Buffers;
use super::completion::Op;
use super::ring::{BUFFER_GROUP, Ring};
use crate::UringConfig;

/// Small: the probe's pages are locked like any other's.
const SMALL: UringConfig =
    UringConfig { submissions: 8, completions: 16, buffers: 2, buffer_bytes: 4096 };
/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(1);
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why io_uring is not to be had.
#[derive(Debug)]
pub struct Unavailable {
    doing: &'static str,
    cause: io::Error,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, cause } = self;
        write!(f, "{doing}: {cause}")?;
        let disabled = fs::read_to_string(SYSCTL).is_ok_and(|value| value.trim() != "0");
        match cause.raw_os_error() {
            _ if disabled => write!(f, "; `sysctl kernel.io_uring_disabled=0` allows it"),
            Some(libc::EPERM | libc::EACCES) => {
                write!(
                    f,
                    "; a seccomp profile forbids it, as containers' do: allow io_uring_setup, \
                           io_uring_enter and io_uring_register, or use epoll"
                )
            }
            Some(libc::ENOSYS | libc::EINVAL) => {
                write!(f, "; it takes Linux 6.0 or newer: use epoll")
            }
            Some(libc::ENOMEM) => write!(f, "; raise `ulimit -l` or use epoll"),
            _ => write!(f, "; use epoll"),
        }
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// On a thread of its own: when a ring has ended, the kernel interrupts whatever its thread does.
pub(super) fn run() -> Result<(), Unavailable> {
    let tried = std::thread::Builder::new().name("sockeye-probe".into()).spawn(try_it);
    let tried = tried.map_err(|cause| Unavailable { doing: "no thread", cause })?;
    tried.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn try_it() -> Result<(), Unavailable> {
    let failed = |doing| move |cause| Unavailable { doing, cause };
    let mut ring = Ring::new(&SMALL).map_err(failed("no ring"))?;
    let mut buffers =
        Buffers::register(ring.ring(), BUFFER_GROUP, SMALL.buffers, SMALL.buffer_bytes)
            .map_err(failed("no buffer ring"))?;
    let result = receive(&mut ring, &mut buffers).map_err(failed("no multishot receive"));
    // The ring before the buffers that it may write to.
    drop(ring);
    drop(buffers);
    result
}

/// Two arrivals, one request.
fn receive(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<()> {
    let (mut one, other) = UnixStream::pair()?;
    ring.receive_from(other.as_raw_fd())?;
    for byte in [b'a', b'b'] {
        one.write_all(&[byte])?;
        let mut happened = Vec::new();
        ring.turn(Some(PATIENCE), &mut happened, &mut Vec::new())?;
        let Some(completion) = happened.first() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let len = completion.outcome()?;
        let buffer = cqueue::buffer_select(completion.flags);
        let as_sent = completion.op() == Op::Receive
            && cqueue::more(completion.flags)
            && buffer.is_some_and(|buffer| buffers.received(buffer, 0, len) == [byte]);
        if !as_sent {
            return Err(io::Error::other("it came otherwise than it was sent"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_named() {
        let text = |errno| {
            let cause = io::Error::from_raw_os_error(errno);
            Unavailable { doing: "no ring", cause }.to_string()
        };
        if fs::read_to_string(SYSCTL).is_ok_and(|value| value.trim() == "0") {
            assert!(text(libc::EPERM).contains("seccomp"), "{}", text(libc::EPERM));
            assert!(text(libc::ENOSYS).contains("6.0"), "{}", text(libc::ENOSYS));
            assert!(text(libc::ENOMEM).contains("ulimit -l"), "{}", text(libc::ENOMEM));
        }
        assert!(text(libc::EMFILE).contains("epoll"), "{}", text(libc::EMFILE));
    }
}
