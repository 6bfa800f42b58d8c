//! The file: what is in it, how it is made, opened, checked and written.
//!
//! Five tables: the entries, the log of recent transactions (from which watches are served after a restart), the
//! leases, and two rows of `meta` that are rewritten with every commit. All keys and values are integers or bytes of
//! [`record`](super::record), so no decoding of redb's own can fail on them.
//!
//! redb reports damage as an error in most places and by panicking in some; both become [`StoreError::Corrupt`] here.

use std::{
    fmt,
    fs::{self, File},
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::time::Instant;

use super::{FILE_NAME, record};
use crate::store::{
    LeaseId, StoreError, StoreIdentity, StoreRevision, WatchBatch, WatchEvent, draft::Draft, feed::Feed,
    lease::LeaseTable, state::State,
};

/// The layout this module writes. A file with a higher one was written by a newer Cofferdam.
const SCHEMA: u64 = 1;

/// What redb may hold of the file in memory. Everything that is read is in [`State`]; this is for its own pages.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The schema, the store's identity, the last revision, and the last revision that is no longer in the log.
const META: TableDefinition<'_, u64, u128> = TableDefinition::new("meta");
const META_SCHEMA: u64 = 0;
const META_IDENTITY: u64 = 1;
const META_REVISION: u64 = 2;
const META_FORGOTTEN: u64 = 3;

/// Key to [`record::encode_entry`].
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// Revision to [`record::encode_batch`]; without gaps up to the last revision.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Lease to its time to live in milliseconds.
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");

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
    /// Absent after a failure, until [`reopen`](Disk::reopen) succeeds.
    database: Option<Database>,
    /// The last revision that is no longer in the log.
    forgotten: StoreRevision,
}

/// What was in the file.
pub(super) struct Contents {
    pub(super) identity: StoreIdentity,
    pub(super) state: State,
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
        let path = dir.join(FILE_NAME);
        if !path.try_exists().map_err(|error| io_failure(&path, &error))? {
            create(dir, &path)?;
        }
        if fs::metadata(&path).map_err(|error| io_failure(&path, &error))?.len() == 0 {
            // redb would take it for a new store.
            return Err(corrupt(&path, "the file is empty"));
        }
        let mut disk = Self {
            path,
            open_file,
            database: None,
            forgotten: StoreRevision::ZERO,
        };
        let contents = guard(&disk.path.clone(), || {
            let mut database = disk.open_database()?;
            if !database.check_integrity().map_err(|error| disk.failure(error))? {
                return Err(corrupt(
                    &disk.path,
                    "it was changed from outside and has been set back to an earlier commit; restore a backup, or \
                     start again to go on from there",
                ));
            }
            let contents = disk.load(&database)?;
            disk.database = Some(database);
            Ok(contents)
        })?;
        disk.forgotten = contents.state.feed.forgotten();
        Ok((disk, contents))
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
        self.database = None;
        let (database, batches) = guard(&self.path, || {
            let database = self.open_database()?;
            let reader = database.begin_read().map_err(|error| self.failure(error))?;
            let log = reader.open_table(LOG).map_err(|error| self.failure(error))?;
            let batches = self.read_log(&log, head)?;
            drop((log, reader));
            Ok((database, batches))
        })?;
        self.database = Some(database);
        Ok(batches)
    }

    /// Makes the draft durable, in one commit; `forgotten` is the last revision that watches need no more.
    ///
    /// # Errors
    /// After any failure the file is closed.
    pub(super) fn write(&mut self, draft: &Draft, forgotten: StoreRevision) -> Result<(), WriteFailure> {
        let mut doubtful = false;
        let written = guard(&self.path, || {
            let Some(database) = &self.database else {
                return Err(StoreError::Unavailable {
                    reason: format!("{} is closed", self.path.display()),
                });
            };
            let txn = database.begin_write().map_err(|error| self.failure(error))?;
            self.fill(&txn, draft, forgotten).map_err(|error| self.failure(error))?;
            doubtful = true;
            txn.commit().map_err(|error| self.failure(error))
        });
        match written {
            Ok(()) => {
                self.forgotten = forgotten;
                Ok(())
            }
            Err(error) => {
                // redb refuses everything after a failed write; only opening the file anew helps.
                self.database = None;
                Err(WriteFailure { error, doubtful })
            }
        }
    }

    fn fill(&self, txn: &redb::WriteTransaction, draft: &Draft, forgotten: StoreRevision) -> Result<(), redb::Error> {
        let mut entries = txn.open_table(ENTRIES)?;
        let mut log = txn.open_table(LOG)?;
        for batch in &draft.batches {
            log.insert(batch.revision.get(), record::encode_batch(batch).as_slice())?;
            for event in &batch.events {
                match event {
                    WatchEvent::Put(entry) => {
                        entries.insert(entry.key.as_bytes(), record::encode_entry(entry).as_slice())?;
                    }
                    WatchEvent::Delete { key, .. } => {
                        entries.remove(key.as_bytes())?;
                    }
                }
            }
        }
        let mut meta = txn.open_table(META)?;
        meta.insert(META_REVISION, u128::from(draft.head.get()))?;
        if forgotten > self.forgotten {
            log.retain_in(..=forgotten.get(), |_, _| false)?;
            meta.insert(META_FORGOTTEN, u128::from(forgotten.get()))?;
        }
        let mut leases = txn.open_table(LEASES)?;
        for (lease, ttl) in &draft.granted {
            leases.insert(lease.get(), u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))?;
        }
        for lease in &draft.ended {
            leases.remove(lease.get())?;
        }
        Ok(())
    }

    fn open_database(&self) -> Result<Database, StoreError> {
        (self.open_file)(&self.path).map_err(|error| self.failure(error))
    }

    /// Reads everything and checks that the parts agree.
    fn load(&self, database: &Database) -> Result<Contents, StoreError> {
        let reader = database.begin_read().map_err(|error| self.failure(error))?;
        let meta = reader.open_table(META).map_err(|error| self.failure(error))?;
        let schema = self.meta(&meta, META_SCHEMA)?;
        if schema != u128::from(SCHEMA) {
            return Err(StoreError::Incompatible {
                reason: format!(
                    "{} has layout {schema}, this version knows {SCHEMA}",
                    self.path.display()
                ),
            });
        }
        let identity = StoreIdentity::numbered(self.meta(&meta, META_IDENTITY)?);
        let revision = self.revision(&meta, META_REVISION)?;
        let forgotten = self.revision(&meta, META_FORGOTTEN)?;

        let log = reader.open_table(LOG).map_err(|error| self.failure(error))?;
        let batches = self.read_log(&log, StoreRevision::ZERO)?;
        let mut last = forgotten;
        for batch in &batches {
            if batch.revision != last.next() {
                return Err(corrupt(&self.path, "the log has a gap"));
            }
            last = batch.revision;
        }
        if last != revision {
            return Err(corrupt(&self.path, "the log does not end at the last revision"));
        }

        let now = Instant::now();
        let mut leases = LeaseTable::default();
        let table = reader.open_table(LEASES).map_err(|error| self.failure(error))?;
        for row in table.iter().map_err(|error| self.failure(error))? {
            let (id, ttl) = row.map_err(|error| self.failure(error))?;
            let ttl = std::time::Duration::from_millis(ttl.value());
            let id = LeaseId::new(id.value()).ok_or_else(|| corrupt(&self.path, "a lease without a number"))?;
            crate::store::lease::check_ttl(ttl).map_err(|_| corrupt(&self.path, "an impossible lease"))?;
            leases.grant(id, ttl, now);
        }

        let table = reader.open_table(ENTRIES).map_err(|error| self.failure(error))?;
        let mut entries = Vec::new();
        for row in table.iter().map_err(|error| self.failure(error))? {
            let (key, value) = row.map_err(|error| self.failure(error))?;
            let entry = record::decode_entry(key.value(), value.value()).map_err(|error| corrupt(&self.path, error))?;
            if entry.mod_revision > revision {
                return Err(corrupt(&self.path, "an entry is newer than the last revision"));
            }
            if entry.lease.is_some_and(|lease| !leases.contains(lease)) {
                return Err(corrupt(&self.path, "an entry hangs on a lease that is not there"));
            }
            entries.push(entry);
        }
        Ok(Contents {
            identity,
            state: State::new(entries, leases, Feed::new(batches, forgotten)),
        })
    }

    fn read_log(
        &self,
        log: &impl ReadableTable<u64, &'static [u8]>,
        after: StoreRevision,
    ) -> Result<Vec<WatchBatch>, StoreError> {
        let mut batches = Vec::new();
        for row in log.range(after.next().get()..).map_err(|error| self.failure(error))? {
            let (revision, batch) = row.map_err(|error| self.failure(error))?;
            let batch = record::decode_batch(revision.value(), batch.value());
            batches.push(batch.map_err(|error| corrupt(&self.path, error))?);
        }
        Ok(batches)
    }

    fn meta(&self, meta: &impl ReadableTable<u64, u128>, key: u64) -> Result<u128, StoreError> {
        let row = meta.get(key).map_err(|error| self.failure(error))?;
        row.map(|row| row.value())
            .ok_or_else(|| corrupt(&self.path, "it is no Cofferdam store"))
    }

    fn revision(&self, meta: &impl ReadableTable<u64, u128>, key: u64) -> Result<StoreRevision, StoreError> {
        let revision = u64::try_from(self.meta(meta, key)?);
        revision
            .map(StoreRevision::new)
            .map_err(|_| corrupt(&self.path, "an impossible revision"))
    }

    fn failure(&self, error: impl Into<redb::Error>) -> StoreError {
        failure(&self.path, error.into())
    }
}

/// Makes an empty store at `path`, complete or not at all, unless another process makes it first.
fn create(dir: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| io_failure(path, &error);
    create_dir(dir).map_err(|error| io_failure(dir, &error))?;
    let draft = dir.join(format!("{FILE_NAME}.{:016x}.new", rand::random::<u64>()));
    let made = create_file(&draft)
        .map_err(failed)
        .and_then(|file| initialise(file, path));
    // A link, not a rename: it never replaces a store that is already there.
    let made = made.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&draft).map_err(failed);
    made.and(removed)?;
    sync_dir(dir).map_err(failed)
}

fn initialise(file: File, path: &Path) -> Result<(), StoreError> {
    let fill = || -> Result<(), redb::Error> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_file(file)?;
        let txn = database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            meta.insert(META_SCHEMA, u128::from(SCHEMA))?;
            meta.insert(META_IDENTITY, rand::random::<u128>())?;
            meta.insert(META_REVISION, 0)?;
            meta.insert(META_FORGOTTEN, 0)?;
            txn.open_table(ENTRIES)?;
            txn.open_table(LOG)?;
            txn.open_table(LEASES)?;
        }
        txn.commit()?;
        Ok(())
    };
    fill().map_err(|error| failure(path, error))
}

#[cfg(unix)]
fn create_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(unix)]
fn create_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes the names in the directory durable.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn create_dir(dir: &Path) -> io::Result<()> {
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

/// Runs what may meet a damaged file.
fn guard<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(corrupt(path, "its pages contradict each other")))
}

fn corrupt(path: &Path, what: impl fmt::Display) -> StoreError {
    StoreError::Corrupt {
        reason: format!("{}: {what}", path.display()),
    }
}

fn io_failure(path: &Path, error: &io::Error) -> StoreError {
    let reason = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full { reason },
        // What redb says of a file that does not begin like one of its own, or ends too early.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StoreError::Corrupt { reason },
        _ => StoreError::Unavailable { reason },
    }
}

fn failure(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.display().to_string(),
        },
        redb::Error::Io(error) => io_failure(path, &error),
        redb::Error::UpgradeRequired(_) => StoreError::Incompatible {
            reason: format!("{}: {error}", path.display()),
        },
        redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableIsMultimap(_) => corrupt(path, error),
        _ => StoreError::Unavailable {
            reason: format!("{}: {error}", path.display()),
        },
    }
}
