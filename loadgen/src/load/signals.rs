//! The signals that end runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use super::worker::Control;

/// They are handled as long as this lives.
pub(crate) struct Signals {
    pub(crate) control: Arc<Control>,
    last: Arc<AtomicUsize>,
    ids: Vec<SigId>,
}

impl Signals {
    /// Those of one run: the first lets it report, a second one does not wait for that.
    pub(crate) fn of_a_run() -> Result<Self, String> {
        let mut signals = Self::none();
        for number in [SIGINT, SIGTERM] {
            // In this order: the second one finds the flag set by the first.
            let stop = Arc::clone(&signals.control.stop);
            let ends = flag::register_conditional_shutdown(number, 128 + number, stop);
            signals.ids.push(ends.map_err(|error| explain(&error))?);
            signals.listen(number)?;
        }
        Ok(signals)
    }

    /// Those of one who has started servers, which are to be ended before this process: none of
    /// them ends it, and a terminal that goes away is one of them.
    pub(crate) fn of_one_with_servers() -> Result<Self, String> {
        let mut signals = Self::none();
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signals.listen(number)?;
        }
        Ok(signals)
    }

    fn none() -> Self {
        Self { control: Arc::default(), last: Arc::default(), ids: Vec::new() }
    }

    fn listen(&mut self, number: i32) -> Result<(), String> {
        let last = flag::register_usize(number, Arc::clone(&self.last), number as usize);
        self.ids.push(last.map_err(|error| explain(&error))?);
        let stop = flag::register(number, Arc::clone(&self.control.stop));
        self.ids.push(stop.map_err(|error| explain(&error))?);
        Ok(())
    }

    /// Whether one came, or somebody at the screen wanted an end.
    pub(crate) fn came(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }

    /// What a shell makes of the last one; an end that was asked for at the screen counts as
    /// Ctrl-C.
    pub(crate) fn exit_code(&self) -> u8 {
        let number = match self.last.load(Ordering::SeqCst) {
            0 => SIGINT as usize,
            number => number,
        };
        128_u8.wrapping_add(number as u8)
    }
}

fn explain(error: &std::io::Error) -> String {
    format!("signals cannot be handled: {error}")
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_signalled_is_a_ctrl_c() {
        let signals = Signals::none();
        assert!(!signals.came());
        signals.control.stop.store(true, Ordering::Relaxed);
        assert_eq!((signals.came(), signals.exit_code()), (true, 130));
        signals.last.store(SIGHUP as usize, Ordering::SeqCst);
        assert_eq!(signals.exit_code(), 129);
    }
}
