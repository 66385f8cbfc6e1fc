//! What connections say and expect, from a file: `sockeye load URL --file FILE.toml`.
//!
//! A [`Script`] is read and checked once, and shared by all connections. It is a list of steps
//! without nesting: a loop is two of them. Where a connection stands in it is a [`Runner`], which
//! does no IO and asks no clock: [`Runner::next`] says what is to be done now, [`Runner::message`]
//! is told what came.

mod compile;
mod matcher;
mod pause;
mod raw;
mod runner;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use super::payload::{Kind, Template};
use matcher::Matcher;
use pause::Pause;
pub(crate) use runner::{Action, Moment, Outcome, Runner};

/// Steps of a script at most, all loops unrolled once.
const STEPS_MAX: usize = 10_000;
/// Loops in loops at most.
const DEPTH_MAX: usize = 8;
/// Classes of response times at most: each has histograms of its own in every thread.
const CLASSES_MAX: usize = 64;
/// A file is at most so long,
const SCRIPT_BYTES_MAX: u64 = 1 << 20;
/// and one that it names.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// What is longer is not saved.
const SAVED_BYTES_MAX: usize = 64 * 1024;

/// A scenario file that was found good.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) connect: Connect,
    /// What response times are kept of, by name; steps refer to them by their place.
    pub(crate) classes: Vec<String>,
    steps: Vec<Step>,
    replies: Vec<Reply>,
    /// A message that no step expects ends the connection.
    strict: bool,
    /// The deepest loop.
    depth: usize,
    /// How many values are saved.
    variables: usize,
}

/// What the request to upgrade says, beyond what the command line does.
#[derive(Debug, Default)]
pub(crate) struct Connect {
    /// Instead of the path of the URL.
    pub(crate) path: Option<Template>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) subprotocols: Vec<String>,
}

#[derive(Debug)]
enum Step {
    Send {
        kind: Kind,
        template: Template,
    },
    Expect {
        matcher: Matcher,
        timeout_ns: u64,
        class: Option<usize>,
        /// What to say if it does not come.
        missing: Box<str>,
        /// What to say if something else does, and that matters.
        other: Box<str>,
    },
    Think(Pause),
    Ping,
    Close {
        code: u16,
        reason: Box<str>,
    },
    /// A loop begins; its state is that of its depth.
    Begin {
        depth: usize,
        turns: Turns,
    },
    /// It ends, and begins anew behind the step with this number.
    End {
        depth: usize,
        begin: usize,
    },
}

/// How long a loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    Times(u64),
    /// No turn begins later than so long after the first.
    ForNs(u64),
    Forever,
}

/// What is answered whenever it comes: a server's own heartbeats, for instance.
#[derive(Debug)]
struct Reply {
    matcher: Matcher,
    kind: Kind,
    template: Template,
}

impl Script {
    /// Reads a file, and those that it names. The error is one line with the file and the place.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = read(path, SCRIPT_BYTES_MAX).map_err(|what| format!("{name}: {what}"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let script = Self::parse(&text, folder).map_err(|what| format!("{name}: {what}"))?;
        Ok(script)
    }

    /// Reads a text; files that it names are looked for in the folder.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        compile::script(text, folder)
    }
}

/// A text file, all of it.
fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > bytes_max {
        return Err(format!("it has {bytes} bytes, and the limit is {bytes_max}"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
