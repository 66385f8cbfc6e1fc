//! The behaviour suite on io_uring.

use super::Uring;
use crate::Config;

fn make(config: Config) -> Uring {
    Uring::new(config).unwrap()
}

crate::suite::mount!(make);
