//! How the program ends: what the codes say to scripts (docs/LOAD.md).

use std::fmt::Display;
use std::process::ExitCode;

/// The run failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong, or this machine cannot do it.
pub(crate) const USAGE: u8 = 2;
/// A limit was not kept.
pub(crate) const SLO_BREACHED: u8 = 3;
/// The client was the bottleneck.
pub(crate) const INVALID: u8 = 4;
/// Worse than the baseline.
pub(crate) const REGRESSION: u8 = 5;

/// What is wrong with the command line, as all such errors are said.
pub(crate) fn usage(error: impl Display) -> ExitCode {
    eprintln!("sockeye: {error}");
    ExitCode::from(USAGE)
}
