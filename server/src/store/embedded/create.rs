//! Making a store where there is none.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

use redb::Builder;

use super::{FILE_NAME, layout, trouble::Trouble};

/// Makes the directory and in it an empty store at `path`, complete or not at all; leaves one alone that another
/// process makes meanwhile.
pub(super) fn create(dir: &Path, path: &Path) -> Result<(), Trouble> {
    let draft = dir.join(format!("{FILE_NAME}.{:016x}.new", rand::random::<u64>()));
    let made = fill(create_file(&draft)?);
    // A link, not a rename: it never replaces a store that is already there.
    let made = made.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&draft);
    made?;
    removed?;
    Ok(sync_dir(dir)?)
}

fn fill(file: File) -> Result<(), Trouble> {
    let database = Builder::new().create_file(file)?;
    let txn = database.begin_write()?;
    layout::initialise(&txn)?;
    Ok(txn.commit()?)
}

/// Makes the directory, and those it is in, for the owner only.
#[cfg(unix)]
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(unix)]
fn create_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the names in the directory durable.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the directory, and those it is in. Who may read it is inherited.
#[cfg(not(unix))]
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(not(unix))]
fn create_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}
