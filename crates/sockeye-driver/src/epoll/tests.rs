//! The behaviour suite on epoll.

use super::Epoll;
use crate::suite::sockets::{Sockets, run_alone};

/// On every Linux.
fn worlds() -> [Sockets<Epoll>; 1] {
    [Sockets::new(|config| Epoll::new(config).unwrap())]
}

crate::suite::mount!(worlds);
crate::suite::mount!(worlds, with descriptors);
crate::suite::mount!(worlds, starved by run_alone);

/// An idle connection costs little.
#[test]
fn a_connection_is_16_bytes() {
    // In a debug build mio's socket knows more than its descriptor.
    let more = size_of::<super::TcpStream>() - size_of::<std::os::fd::RawFd>();
    assert_eq!(size_of::<super::Connection>(), (16 + more).next_multiple_of(8));
}
