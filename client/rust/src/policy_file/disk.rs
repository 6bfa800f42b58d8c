//! The file system's part: one file, read whole, and replaced whole.

use super::Unusable;
use crate::runtime::age_of;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest file that is written or read.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// What the name of every file of ours ends with.
const EXTENSION: &str = ".policies";
/// What the name of one ends with that is being written.
const UNFINISHED: &str = ".tmp";
/// How long writing one may take. Older ones are of processes that died over it.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);
/// As much of a name as a file's name shows.
const MAX_SHOWN: usize = 40;

/// The name of an application's file. Whatever they are called, it names a file in the directory and no other's: what
/// tells applications apart is a digest of the names, and the names themselves are for people.
pub(super) fn file_name(application: &str, namespace: &str) -> String {
    let digest = Sha256::new().chain_update(application).chain_update([0]).chain_update(namespace).finalize();
    let mut name = format!("{}.{}.", shown(application), shown(namespace));
    for byte in digest.iter().take(8) {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name + EXTENSION
}

fn shown(name: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    name.chars().take(MAX_SHOWN).map(plain).collect()
}

/// Makes the directory, for the owner alone, where there is none.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

/// What is in a file. `None`: there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    let named = match fs::symlink_metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Opening what is no file may wait for ever, and a link leads to what others may write.
    if !named.is_file() {
        return Err(Unusable::NotAFile);
    }
    let file = File::open(path)?;
    if !is_same(&named, &file.metadata()?) {
        return Err(Unusable::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unusable::TooLarge);
    }
    Ok(Some(bytes))
}

/// Whether what was opened is what was looked at.
#[cfg(unix)]
fn is_same(named: &Metadata, opened: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (named.dev(), named.ino()) == (opened.dev(), opened.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, opened: &Metadata) -> bool {
    opened.is_file()
}

/// Puts a file with these bytes in the place of the one there is. It is on the disk when this returns; whenever the
/// machine stops, the name leads to the whole of one or of the other.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    make_dir(dir)?;
    let unfinished = unfinished(path);
    let written = write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    sync_dir(dir)
}

/// A name that no other writer has.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = prefix_of_unfinished(path);
    name.push(format!("{:016x}{UNFINISHED}", rand::random::<u64>()));
    path.with_file_name(name)
}

fn prefix_of_unfinished(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    fill(options.open(path)?, bytes)
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename is on the disk once its directory is.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    // The directory of a bare file name.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes what processes left that died while they wrote this file.
pub(super) fn remove_leftovers(path: &Path) {
    let prefix = prefix_of_unfinished(path);
    let Some(entries) = path.parent().and_then(|dir| fs::read_dir(dir).ok()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let is_ours = bytes.starts_with(prefix.as_encoded_bytes()) && bytes.ends_with(UNFINISHED.as_bytes());
        let written = || entry.metadata().ok()?.modified().ok();
        if is_ours && written().is_some_and(|written| age_of(written) >= ABANDONED_AFTER) {
            // Another process may have been quicker.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
