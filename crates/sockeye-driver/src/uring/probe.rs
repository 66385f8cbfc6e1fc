//! Whether io_uring is to be had here, found out by doing what the backend does: versions and flags
//! do not tell of seccomp profiles, sysctls and half-ported features.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use io_uring::cqueue;

use super::buffers::Buffers;
use super::completion::Op;
use super::ring::{BUFFER_GROUP, Ring};
use super::unavailable::{Trial, Unavailable};
use crate::UringConfig;

/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait for memory that rings which have ended still hold, and how often to look.
const MEMORY_PATIENCE: Duration = Duration::from_millis(500);
const MEMORY_PAUSE: Duration = Duration::from_millis(5);

/// Makes something that takes locked memory. The kernel gives that of a ring which has ended (the
/// probe's, or those of a server that was here before) back a little later, in the background.
pub(super) fn with_locked_memory<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match make() {
            Err(error)
                if error.raw_os_error() == Some(libc::ENOMEM)
                    && begun.elapsed() < MEMORY_PATIENCE =>
            {
                std::thread::sleep(MEMORY_PAUSE);
            }
            result => return result,
        }
    }
}

/// On a thread of its own: when a ring has ended, the kernel interrupts whatever its thread does.
pub(super) fn run(rings: usize, config: &UringConfig) -> Result<(), Unavailable> {
    let thread = std::thread::Builder::new().name("sockeye-probe".into());
    let config = config.clone();
    let tried = thread.spawn(move || try_it(rings, &config));
    let tried = tried.map_err(|cause| Unavailable::new(Trial::Thread, cause))?;
    tried.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// All rings at a time, as they will be: limits of memory and descriptors are for all of them.
fn try_it(rings: usize, config: &UringConfig) -> Result<(), Unavailable> {
    let failed = |trial| move |cause| Unavailable::new(trial, cause);
    let mut held = Vec::new();
    for _ in 0..rings.max(1) {
        let ring = || Ring::new(config);
        let ring = with_locked_memory(ring).map_err(failed(Trial::Ring))?;
        let UringConfig { buffers, buffer_bytes, .. } = *config;
        let buffers = || Buffers::register(ring.submitter(), BUFFER_GROUP, buffers, buffer_bytes);
        let buffers = with_locked_memory(buffers).map_err(failed(Trial::Buffers))?;
        // The ring goes before the buffers that it may write to.
        held.push((ring, buffers));
    }
    let Some((ring, buffers)) = held.first_mut() else { return Ok(()) };
    receive(ring, buffers).map_err(failed(Trial::Receive))
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
