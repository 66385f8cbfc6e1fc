//! The behaviour suite on epoll.

use super::Epoll;
use crate::Config;

fn make(config: Config) -> Epoll {
    Epoll::new(config).unwrap()
}

/// On every Linux.
const fn is_here() -> bool {
    true
}

crate::suite::mount!(make, is_here);

/// An idle connection costs little.
#[test]
fn a_connection_is_16_bytes() {
    // In a debug build mio's socket knows more than its descriptor.
    let more = size_of::<super::TcpStream>() - size_of::<std::os::fd::RawFd>();
    assert_eq!(size_of::<super::Connection>(), (16 + more).next_multiple_of(8));
}
