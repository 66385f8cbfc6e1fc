//! The behaviour suite on io_uring.

use super::Uring;
use crate::suite::sockets::{Sockets, run_alone};

/// Not where a container forbids it. `SOCKEYE_REQUIRE_IO_URING` makes a failure of that.
fn worlds() -> Option<Sockets<Uring>> {
    let probed = Uring::probe();
    if let Err(why) = &probed {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    probed.ok().map(|()| Sockets::new(|config| Uring::new(config).unwrap()))
}

crate::suite::mount!(worlds);
crate::suite::mount!(worlds, with descriptors);
crate::suite::mount!(worlds, starved by run_alone);
