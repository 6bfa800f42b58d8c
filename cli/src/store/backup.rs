use super::{BackupArgs, Error, name, say};
use cofferdam_server::clock::SystemClock;
use cofferdam_server::config::Config;
use cofferdam_server::maintenance::{StoreCopy, read};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;

pub(super) const HELP: &str = "\
The file holds every service, policy and health report at one revision, with a checksum; it is written whole or not at all,
and only its owner can read it. Results of requests, which are kept for minutes, are left out. An embedded store can be
backed up while no manager has it open; etcd at any time. Exit codes: 0 the file is written, 1 it is not, 2 the command line
or the settings make no sense.

Examples:
  cofferdam store backup --output cofferdam.backup
  cofferdam store backup --store etcd --etcd-endpoints a:2379 --output cofferdam-$(date +%F).backup";

pub(super) async fn run(args: &BackupArgs, out: &mut dyn Write) -> Result<(), Error> {
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
    let mut draft = NamedTempFile::new_in(dir)?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path).map_err(|refused| refused.error)?;
    sync(dir)
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
