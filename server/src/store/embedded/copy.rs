//! The file looked at, and left as it is.
//!
//! To open a file for writing is to change it: redb marks it as open, sets one that was not closed back to its last
//! whole commit, and sets a damaged one back to an earlier commit, after which it passes for a good one. What may be
//! damaged is therefore opened as a copy in memory first, under the lock of the file, and nothing that becomes of the
//! copy reaches the disk. So it is also how a file is read that may not be written, as on a disk that was mounted read-only
//! after it failed: such a file can only be locked against those who write it, not against others who read it, which is
//! enough.

use std::{
    fmt::{self, Debug},
    fs::File,
    io::{self, ErrorKind},
    ops::Bound,
    path::Path,
    sync::{Mutex, PoisonError},
};

use redb::{BackendError, Builder, Database, StorageBackend, backends::FileBackend};

use super::trouble::Trouble;

/// A database in memory that is what the file at `path` is, whole or not; refuses a file that a manager has open, and
/// keeps managers out while it lives.
///
/// # Errors
/// As for opening the file itself; in particular for a file whose pages do not match their checksums.
pub(super) fn open_copy(path: &Path) -> Result<Database, Trouble> {
    let (file, may_write) = match File::options().read(true).write(true).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            (File::open(path)?, false)
        }
        opened => (opened?, true),
    };
    if file.metadata()?.len() == 0 {
        // redb would take it for a new store.
        return Err(Trouble::Damage("it is empty"));
    }
    let copy = Copy { file: FileBackend::new(file)?, may_write, bytes: Mutex::new(None) };
    // The copy is in memory as it is: nothing is gained by keeping parts of it there twice.
    let mut database = Builder::new().set_cache_size(0).create_with_backend(copy)?;
    // A file that was not closed has been checked by now; one that was closed in order has not been looked at.
    if !database.check_integrity()? {
        return Err(Trouble::Damage("its last commit does not match its checksums"));
    }
    Ok(database)
}

/// The file's lock, and its bytes in memory.
struct Copy {
    file: FileBackend,
    /// Whether the file was opened for writing: the system refuses exclusive locks on one that was not.
    may_write: bool,
    /// Absent until they are asked for, which is after the lock is taken.
    bytes: Mutex<Option<Vec<u8>>>,
}

impl Copy {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<u8>) -> io::Result<T>) -> io::Result<T> {
        let mut slot = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let length = usize::try_from(self.file.len()?).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(length).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
            bytes.resize(length, 0);
            self.file.read(0, &mut bytes)?;
            *slot = Some(bytes);
        }
        match slot.as_mut() {
            Some(bytes) => look(bytes),
            None => Err(ErrorKind::OutOfMemory.into()),
        }
    }
}

/// The place of so many bytes from `offset` on, where there are as many.
fn range(bytes: &mut [u8], offset: u64, count: usize) -> io::Result<&mut [u8]> {
    let place = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(count)?));
    place.and_then(|place| bytes.get_mut(place)).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

impl Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copy").field("file", &self.file).finish_non_exhaustive()
    }
}

type Edge = Bound<u64>;

impl StorageBackend for Copy {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| Ok(bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| range(bytes, offset, out.len()).map(|found| out.copy_from_slice(found)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        self.with(|bytes| {
            bytes.try_reserve(len.saturating_sub(bytes.len())).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
            bytes.resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|bytes| range(bytes, offset, data.len()).map(|place| place.copy_from_slice(data)))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        if self.may_write { self.file.try_lock_range(start, end) } else { self.file.try_lock_shared_range(start, end) }
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        if self.may_write { self.file.lock_range(start, end) } else { self.file.lock_shared_range(start, end) }
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
