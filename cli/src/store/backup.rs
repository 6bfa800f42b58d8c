use super::{BackupArgs, Error, name};
use crate::output::say;
use cofferdam_server::clock::SystemClock;
use cofferdam_server::config::Config;
use cofferdam_server::maintenance::{StoreCopy, read};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use tempfile::Builder;

/// What the name of a file begins and ends with that is going to be a backup. Nobody else gives files such names.
const DRAFT: (&str, &str) = (".cofferdam-backup-", ".draft");

/// What stands for the standard output elsewhere.
const STDOUT: &str = "-";

pub(super) const HELP: &str = "\
The file holds every service, policy and health report at one revision, with a checksum; it is written whole or not at all,
and only its owner can read it. Results of requests, which are kept for minutes, are left out. An embedded store can be
backed up while no manager has it open; etcd at any time. Exit codes: 0 the file is written, 1 it is not, 2 the command line
or the settings make no sense.

Examples:
  cofferdam store backup --output cofferdam.backup
  cofferdam store backup --store etcd --etcd-endpoints a:2379 --output cofferdam-$(date +%F).backup";

pub(super) async fn run(args: &BackupArgs, out: &mut dyn Write) -> Result<(), Error> {
    if args.output == Path::new(STDOUT) {
        return Err(Error::NoFile);
    }
    let config = Config::load_for_store(&args.store)?;
    let contents = read(&config).await?;
    let copy = StoreCopy::of(&contents, &SystemClock).map_err(|error| Error::Copy { store: name(&config), error })?;
    write(&args.output, &copy.to_file()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::Exists { path: args.output.clone() },
        _ => Error::File { path: args.output.clone(), error },
    })?;
    say(&format!("{} keys of {} at revision {}", copy.keys(), name(&config), copy.revision()));
    Ok(writeln!(out, "{}", args.output.display())?)
}

/// Writes a file that is there whole or not at all, for its owner only; never in the place of another one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    remove_drafts(dir);
    let mut draft = Builder::new().prefix(DRAFT.0).suffix(DRAFT.1).tempfile_in(dir)?;
    // Whoever finds it unlocked knows that nobody writes it any more. Not every file system has locks; it is then left.
    let _ = draft.as_file().try_lock();
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path).map_err(|refused| refused.error)?;
    sync(dir)
}

/// Removes what backups that were killed have left, as far as that is possible.
fn remove_drafts(dir: &Path) {
    let is_draft = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with(DRAFT.0) && name.ends_with(DRAFT.1)
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_draft(&entry.file_name()) && is_abandoned(&entry.path()) {
            // It only takes room.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody writes the draft any more.
fn is_abandoned(draft: &Path) -> bool {
    File::options().write(true).open(draft).is_ok_and(|draft| draft.try_lock().is_ok())
}

/// Makes the names in a directory last.
#[cfg(unix)]
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backup_that_was_killed_has_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (left, written) = (".cofferdam-backup-1.draft", ".cofferdam-backup-2.draft");
        let others = [".tmpAbC123", "cofferdam.backup", ".cofferdam-backup-3", "x.draft", written];
        for name in others.iter().chain([&left]) {
            fs::write(path(name), "x").unwrap();
        }
        fs::create_dir(path(".cofferdam-backup-4.draft")).unwrap();
        let another_backup = File::options().write(true).open(path(written)).unwrap();
        another_backup.lock().unwrap();

        write(&path("new.backup"), b"whole").unwrap();
        assert_eq!(fs::read(path("new.backup")).unwrap(), b"whole");
        assert!(!path(left).exists());
        for name in others.iter().chain([&".cofferdam-backup-4.draft"]) {
            assert!(path(name).exists(), "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 2, "no draft of its own is left");
    }
}
