//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// `-` is no file.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// What would keep a file from being written, and what to do. Nothing is left behind.
pub(super) fn check(path: &Path) -> Result<(), String> {
    if is_stdout(path) {
        return Ok(());
    }
    if path.is_dir() {
        return Err("this is a folder; name a file in it".to_owned());
    }
    if is_special(path) {
        // As with a device or a pipe, only opening it tells, and that may have to wait.
        return Ok(());
    }
    let target = target(path);
    let folder = folder(&target);
    if !folder.is_dir() {
        return Err(format!("there is no folder {}; create it first", folder.display()));
    }
    let beside = beside(&target).map_err(|error| error.to_string())?;
    let tried = OpenOptions::new().write(true).create_new(true).open(&beside);
    tried
        .and_then(|_| fs::remove_file(&beside))
        .map_err(|error| format!("no file can be written in {}: {error}", folder.display()))
}

/// Writes a file beside the old one, and puts it in its place when it is whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_stdout(path) {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        return stdout.flush();
    }
    // Such a one is not to be replaced by a file.
    if is_special(path) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let target = target(path);
    let beside = beside(&target)?;
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // It may never have been there. The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A file that grows as the run goes on.
pub(super) fn stream(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(if is_stdout(path) { Box::new(io::stdout()) } else { Box::new(File::create(path)?) })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    // The name must not come to stand for a file whose content the disk has not seen.
    file.sync_all()
}

/// A device, a pipe or the like.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Where a symbolic link leads, so that the link stays one.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A name that nobody else uses, in the same folder, so that a rename is enough.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", process::id()));
    Ok(folder(path).join(hidden))
}
