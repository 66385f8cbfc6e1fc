//! A child process whose output is waited for, line by line, and that ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// When to give up waiting. No verdict depends on it but the one that something never happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A child and the lines that it writes.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Takes the lines of `output`; all of them are read, so that the child never waits for that.
    pub(crate) fn new(child: Child, output: impl Read + Send + 'static) -> Self {
        let (tx, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                // Nobody listens any more: go on reading all the same.
                let _ = tx.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, lines }
    }

    /// What follows `prefix` in the first line that begins with it.
    pub(crate) fn wait_for_line(&self, prefix: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return rest.trim_end().to_owned();
                    }
                }
                Err(error) => panic!("no line begins with {prefix:?}: {error}"),
            }
        }
    }

    /// Asks it to end, and waits until it has closed its output and is gone.
    pub(crate) fn terminate(&mut self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.expect("`kill` runs").success(), "process {id} cannot be signalled");
        assert!(self.wait_for_end_of_output(), "process {id} does not end");
        let status = self.child.wait().expect("the child is ours");
        assert!(status.success(), "process {id} ended with {status}");
    }

    /// Waits until it and its own children have closed the output.
    fn wait_for_end_of_output(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(error) => return error == mpsc::RecvTimeoutError::Disconnected,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // So that what they have written can be removed. Late ones are no reason to fail.
        let _ = self.wait_for_end_of_output();
    }
}
