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
