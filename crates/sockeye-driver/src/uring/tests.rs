//! The behaviour suite on io_uring.

use super::Uring;
use crate::suite::sockets::{Sockets, run_alone};
use crate::{Config, UringConfig};

/// Almost nothing of everything: completions overflow, buffers run out.
const TINY: UringConfig =
    UringConfig { submissions: 2, completions: 4, buffers: 4, buffer_bytes: 16 << 10 };

/// A ring as it comes, and one that always lacks something. Not where a container forbids it:
/// `SOCKEYE_REQUIRE_IO_URING` makes a failure of that.
fn worlds() -> Vec<Sockets<Uring>> {
    let probed = Uring::probe(1);
    if let Err(why) = &probed {
        assert!(std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_none(), "{why}");
        eprintln!("not tested: {why}");
    }
    if probed.is_err() {
        return Vec::new();
    }
    let usual = Sockets::new(|config| Uring::new(config).unwrap());
    let tiny = Sockets::new(|config| Uring::new(Config { uring: TINY, ..config }).unwrap());
    vec![usual, tiny]
}

crate::suite::mount!(worlds);
crate::suite::mount!(worlds, with descriptors);
crate::suite::mount!(worlds, starved by run_alone);
