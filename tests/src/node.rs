//! Programs of other people on Node: their packages are installed once, and each ends with the test
//! that has started it.
//!
//! Where there is no Node, or no network to install packages from, those tests are left out, unless
//! `SOCKEYE_REQUIRE_NODE=1` is set.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// When to give up installing.
const INSTALLING_MAX: Duration = Duration::from_secs(300);

/// What is to be installed, and run.
#[derive(Debug)]
pub struct Packages {
    /// Of the folder, which no others have.
    pub folder: &'static str,
    /// `package.json`
    pub manifest: &'static str,
    /// `package-lock.json`
    pub lock: &'static str,
    /// Names and contents of the programs.
    pub scripts: &'static [(&'static str, &'static str)],
}

impl Packages {
    /// The folder with the packages and the programs in it. `within` is the caller's
    /// `CARGO_TARGET_TMPDIR`. `None` where they cannot be had and are not required.
    ///
    /// # Panics
    /// They cannot be had, and `SOCKEYE_REQUIRE_NODE=1` is set.
    pub fn installed(&self, within: &str) -> Option<PathBuf> {
        // The tests of a file share it.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        match self.install(Path::new(within)) {
            Ok(folder) => Some(folder),
            Err(why) => {
                let required = std::env::var_os("SOCKEYE_REQUIRE_NODE").is_some_and(|it| it == "1");
                assert!(!required, "{why}");
                println!("not run: {why}");
                None
            }
        }
    }

    /// Makes the folder, once for each version of the lock file.
    fn install(&self, within: &Path) -> Result<PathBuf, String> {
        for program in ["node", "npm"] {
            if let Err(error) = Command::new(program).arg("--version").output() {
                return Err(format!(
                    "`{program}` does not run ({error}): install Node.js 20 or later"
                ));
            }
        }
        let folder = within.join(self.folder);
        let done = folder.join("installed-package-lock.json");
        let files = [("package.json", self.manifest), ("package-lock.json", self.lock)];
        let mut files = files.iter().chain(self.scripts);
        let prepared = fs::create_dir_all(&folder)
            .and_then(|()| files.try_for_each(|(name, text)| write(&folder.join(name), text)));
        prepared.map_err(|error| format!("{}: {error}", folder.display()))?;
        if fs::read_to_string(&done).is_ok_and(|installed| installed == self.lock) {
            return Ok(folder);
        }
        install_packages(&folder)?;
        fs::write(&done, self.lock).map_err(|error| format!("{}: {error}", done.display()))?;
        Ok(folder)
    }
}

/// Only what is new: somebody may be about to read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let is_written = fs::read_to_string(path).is_ok_and(|written| written == text);
    if is_written { Ok(()) } else { fs::write(path, text) }
}

fn install_packages(folder: &Path) -> Result<(), String> {
    let errors = folder.join("npm-errors.txt");
    let npm = |error: io::Error| format!("npm: {error}");
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    command.args(["--fetch-timeout=30000", "--fetch-retries=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&errors).map_err(npm)?);
    let child = command.current_dir(folder).spawn().map_err(npm)?;
    let (mut child, until) = (Ending(child), Instant::now() + INSTALLING_MAX);
    loop {
        match child.0.try_wait().map_err(npm)? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => {
                let errors = fs::read_to_string(&errors).unwrap_or_default();
                return Err(format!(
                    "`npm ci` cannot install the packages of {}, is there a network? {errors}",
                    folder.display()
                ));
            }
            None if Instant::now() > until => {
                return Err(format!("`npm ci` took longer than {INSTALLING_MAX:?}"));
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A process that goes with this.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on Node. Its program says `port 12345` when it listens, and ends with its input.
pub struct Server {
    _process: Ending,
    address: SocketAddr,
}

impl Server {
    /// Starts a program of the folder.
    ///
    /// # Panics
    /// It does not say its port.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let child = Command::new("node")
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        // Killed from here on, whatever happens.
        let mut process = Ending(child);
        let mut line = String::new();
        let stdout = process.0.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let port: Option<u16> = line.trim().strip_prefix("port ").and_then(|it| it.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{arguments:?}: no port in {line:?}"));
        Self { _process: process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
