//! The file as the writer sees it: opened whole, written in commits, opened again when a write has failed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, DatabaseError};

use super::{
    FILE_NAME,
    copy::open_copy,
    create::{create, create_dir},
    layout::{self, Contents},
    trouble::{Trouble, guard},
};
use crate::store::{StoreError, StoreIdentity, StoreRevision, WatchBatch, draft::Draft};

/// What redb may hold of the file in memory. Everything that is read is in the state; this is for its own pages.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// How an existing file is opened; a test opens it with faults.
pub(super) type OpenFile = Arc<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// Opens the file as it is.
pub(super) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).open(path)
}

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    open_file: OpenFile,
    identity: StoreIdentity,
    /// Absent after a failure, until [`reopen`](Disk::reopen) succeeds.
    database: Option<Database>,
    /// The last revision that is no longer in the log.
    forgotten: StoreRevision,
}

/// A draft that could not be written. The file is closed.
pub(super) struct WriteFailure {
    pub(super) error: StoreError,
    /// Whether it failed so late that it may be in the file all the same.
    pub(super) doubtful: bool,
}

impl Disk {
    /// Opens the file in `dir`, making both if they are not there, and reads and checks all of it.
    pub(super) fn open(dir: &Path, open_file: OpenFile) -> Result<(Self, Contents), StoreError> {
        create_dir(dir).map_err(|error| Trouble::from(error).with(dir))?;
        let path = dir.join(FILE_NAME);
        let opened = guard(|| {
            if !path.try_exists()? {
                create(dir, &path)?;
            }
            layout::load(&open_copy(&path)?)?;
            let database = open_file(&path)?;
            let contents = layout::load(&database)?;
            Ok((database, contents))
        });
        let (database, contents) = opened.map_err(|trouble| trouble.with(&path))?;
        let forgotten = contents.state.feed.forgotten();
        let identity = contents.identity.clone();
        Ok((Self { path, open_file, database: Some(database), identity, forgotten }, contents))
    }

    /// Reads and checks all that the file in `dir` holds, and changes nothing.
    pub(super) fn examine(dir: &Path) -> Result<Contents, StoreError> {
        let path = dir.join(FILE_NAME);
        guard(|| layout::load(&open_copy(&path)?)).map_err(|trouble| trouble.with(&path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write has failed since the file was last opened.
    pub(super) fn is_closed(&self) -> bool {
        self.database.is_none()
    }

    /// Opens the file again after a failed write, and returns what it holds beyond `head`.
    pub(super) fn reopen(&mut self, head: StoreRevision) -> Result<Vec<WatchBatch>, StoreError> {
        let opened = guard(|| {
            let database = (self.open_file)(&self.path)?;
            let batches = layout::load_after(&database, &self.identity, head)?;
            Ok((database, batches))
        });
        let (database, batches) = opened.map_err(|trouble| trouble.with(&self.path))?;
        self.database = Some(database);
        Ok(batches)
    }

    /// Makes the draft durable, in one commit; `forgotten` is the last revision that watches need no more.
    ///
    /// # Errors
    /// After any failure the file is closed.
    pub(super) fn write(&mut self, draft: &Draft, forgotten: StoreRevision) -> Result<(), WriteFailure> {
        let mut doubtful = false;
        let written = guard(|| {
            let database = self.database.as_ref().ok_or(Trouble::Database(redb::Error::DatabaseClosed))?;
            let txn = database.begin_write()?;
            layout::write(&txn, draft, self.forgotten, forgotten)?;
            doubtful = true;
            Ok(txn.commit()?)
        });
        match written {
            Ok(()) => {
                self.forgotten = forgotten;
                Ok(())
            }
            Err(trouble) => {
                // redb refuses everything after a failed write; only opening the file anew helps.
                let failed = self.database.take();
                let _ = guard(|| {
                    drop(failed);
                    Ok(())
                });
                Err(WriteFailure { error: trouble.with(&self.path), doubtful })
            }
        }
    }
}
