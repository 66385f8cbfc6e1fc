//! What is kept of a comparison.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

/// Command-line arguments of every program that compares.
#[derive(Debug, Args)]
pub struct Kept {
    /// Write the table there, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write every run there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Kept {
    /// Prints the table, and writes what was asked for.
    ///
    /// # Errors
    /// The files'.
    pub fn write(&self, table: &str, runs: &[Value]) -> io::Result<()> {
        print!("{table}");
        if let Some(path) = &self.markdown {
            fs::write(path, table)?;
        }
        if let Some(path) = &self.json {
            fs::write(path, serde_json::to_string_pretty(runs)?)?;
        }
        Ok(())
    }
}
