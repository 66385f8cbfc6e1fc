//! The behaviour suite on io_uring.

use super::Uring;
use crate::Config;

fn make(config: Config) -> Uring {
    Uring::new(config).unwrap()
}

/// Not where a container forbids it. `SOCKEYE_REQUIRE_IO_URING` makes a failure of that.
fn is_here() -> bool {
    let probed = Uring::probe(1);
    if let Err(why) = &probed {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    probed.is_ok()
}

crate::suite::mount!(make, is_here);
