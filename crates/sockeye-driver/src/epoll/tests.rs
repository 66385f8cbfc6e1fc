//! The behaviour suite on epoll.

use super::Epoll;
use crate::Config;

fn make(config: Config) -> Epoll {
    Epoll::new(config).unwrap()
}

crate::suite::mount!(make);
