//! A disk that is full or failing, made with a file that refuses on command.

use std::{
    collections::HashSet,
    fs::File,
    io,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use redb::{Builder, DatabaseError, StorageBackend, backends::FileBackend};

use super::*;
use crate::store::{
    CommitError, MAX_VALUE_BYTES, MIN_LEASE_TTL, Outcome, Txn,
    conformance::{commit, keys, next, shown, watch, within},
};

const HEALTHY: u8 = 0;
/// Blocks that the file does not have yet are refused for want of room, as a file system does.
const FULL: u8 = 1;
/// Writes arrive, making them durable is reported as failed.
const UNSYNCED: u8 = 2;
/// As `UNSYNCED`, and then the file cannot even be opened.
const LOST: u8 = 3;

const BLOCK_BYTES: u64 = 4096;

/// What is wrong with the disk at the moment.
#[derive(Clone, Debug, Default)]
struct Fault {
    kind: Arc<AtomicU8>,
    /// The blocks the file has; those it is made with are added when it is opened.
    blocks: Arc<Mutex<HashSet<u64>>>,
}

impl Fault {
    fn set(&self, fault: u8) {
        self.kind.store(fault, Ordering::SeqCst);
    }

    fn is(&self, fault: u8) -> bool {
        self.kind.load(Ordering::SeqCst) == fault
    }

    /// Gives the blocks to the file, if there is room.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let mut blocks = self.blocks.lock().expect("not poisoned");
        let mut needed = (offset / BLOCK_BYTES..(offset + bytes).div_ceil(BLOCK_BYTES)).peekable();
        if self.is(FULL) && needed.any(|block| !blocks.contains(&block)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        blocks.extend(needed);
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<redb::Database, DatabaseError> {
        if self.is(LOST) {
            return Err(io::Error::other("no such device").into());
        }
        let file = FileBackend::new(File::options().read(true).write(true).open(path)?)?;
        if self.blocks.lock().expect("not poisoned").is_empty() {
            self.allocate(0, file.len()?)?;
        }
        // The fault hits the file that is open; the one opened in its place is another attempt.
        if self.is(UNSYNCED) {
            self.set(HEALTHY);
        }
        Builder::new().create_with_backend(Faulty { file, fault: self.clone() })
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Fault,
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fault.is(UNSYNCED) || self.fault.is(LOST) {
            return Err(io::Error::other("the disk did not answer"));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fault.allocate(offset, data.len() as u64)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

struct Sick {
    store: Arc<EmbeddedStore>,
    fault: Fault,
    dir: tempfile::TempDir,
}

impl Sick {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fault = Fault::default();
        let opener = fault.clone();
        let open_file: disk::OpenFile = Arc::new(move |path: &Path| opener.open(path));
        let store = EmbeddedStore::start(dir.path().to_owned(), open_file).await.expect("the store opens");
        Self { store: Arc::new(store), fault, dir }
    }

    async fn try_put(&self, key: &str) -> Result<Committed, StoreError> {
        match within(self.store.commit(Txn::new().put(key, "").require_absent(key))).await {
            Ok(committed) => Ok(committed),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Conflict(conflict)) => panic!("{conflict}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let sick = Sick::start().await;
    let before = put(&*sick.store, "before", "").await;
    let mut events = watch(&*sick.store, "", before).await;
    let large = |i: usize| Txn::new().put(format!("large{i:03}"), vec![0; MAX_VALUE_BYTES]);

    sick.fault.set(FULL);
    let mut written = 0;
    let error = loop {
        match within(sick.store.commit(large(written))).await {
            Ok(_) => written += 1,
            Err(CommitError::Store(error)) => break error,
            Err(CommitError::Conflict(conflict)) => panic!("{conflict}"),
        }
        assert!(written < 100, "the disk never got full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains(FILE_NAME), "{error}");
    assert_eq!(keys(&*sick.store, "").await.len(), 1 + written, "reads go on and see nothing of it");
    let again = within(sick.store.commit(large(written))).await;
    assert!(matches!(again, Err(CommitError::Store(StoreError::Full { .. }))), "{again:?}");
    let concerns = within(sick.store.concerns()).await.expect("it says how it does");
    assert!(matches!(&concerns[..], [one] if one.refuses_writes && one.what.contains(FILE_NAME)), "{concerns:?}");

    sick.fault.set(HEALTHY);
    commit(&*sick.store, large(written)).await;
    assert_eq!(within(sick.store.concerns()).await, Ok(Vec::new()), "it takes writes again");
    for i in 0..=written {
        let batch = next(&mut events).await;
        assert_eq!(batch.events[0].key(), format!("large{i:03}"), "each once, and the watch goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_may_be_on_disk_is_unknown_and_then_seen() {
    let sick = Sick::start().await;
    let before = put(&*sick.store, "before", "").await;
    let mut events = watch(&*sick.store, "", before).await;
    sick.fault.set(UNSYNCED);
    let error = sick.try_put("doubtful").await.expect_err("the disk did not answer");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    // It was found in the file, so it counts.
    assert_eq!(shown(&next(&mut events).await), ["+doubtful="]);
    assert_eq!(keys(&*sick.store, "").await, ["before", "doubtful"]);
    assert_eq!(within(sick.store.concerns()).await, Ok(Vec::new()), "the write stands");
    put(&*sick.store, "after", "").await;
    assert_eq!(shown(&next(&mut events).await), ["+after="]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_comes_back_brings_what_was_doubtful() {
    let sick = Sick::start().await;
    let lease = sick.store.grant_lease(MIN_LEASE_TTL * 2).await.expect("granted");
    let before = commit(&*sick.store, Txn::new().put("before", "").put_leased("leased", "", lease)).await;
    let mut events = watch(&*sick.store, "", before).await;
    sick.fault.set(LOST);
    let error = sick.try_put("doubtful").await.expect_err("the disk did not answer");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    let error = sick.try_put("refused").await.expect_err("the disk is away");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    let there = keys(&*sick.store, "").await;
    assert_eq!(there, ["before", "leased"], "what is not known to be there is not shown, and no lease can end");

    // It needs nobody to write: the end of the lease is tried again.
    sick.fault.set(HEALTHY);
    assert_eq!(shown(&next(&mut events).await), ["+doubtful="]);
    assert_eq!(shown(&next(&mut events).await), ["-leased"]);
    sick.try_put("after").await.expect("the disk is back");
    assert_eq!(keys(&*sick.store, "").await, ["after", "before", "doubtful"]);
}

/// It was written on, and the next start found a gap in its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_took_the_place_of_the_one_that_was_open_is_not_written_on() {
    let sick = Sick::start().await;
    let dir = sick.dir.path();
    let path = dir.join(FILE_NAME);
    put(&*sick.store, "before", "").await;
    std::fs::copy(&path, dir.join("older")).expect("copied");
    put(&*sick.store, "acknowledged", "").await;
    let other = tempfile::tempdir().expect("a temporary directory");
    drop(EmbeddedStore::open(other.path()).await.expect("opened"));
    std::fs::copy(other.path().join(FILE_NAME), dir.join("other")).expect("copied");

    sick.fault.set(LOST);
    sick.try_put("doubtful").await.expect_err("the disk is away");
    std::fs::rename(&path, dir.join("right")).expect("moved");
    sick.fault.set(HEALTHY);
    for (wrong, words) in [("older", "an older copy of the store"), ("other", "not the store that was open")] {
        std::fs::rename(dir.join(wrong), &path).expect("moved");
        let error = sick.try_put("refused").await.expect_err("it is the wrong file");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    std::fs::rename(dir.join("right"), &path).expect("moved");
    sick.try_put("after").await.expect("it is the right one");
    let there = keys(&*sick.store, "").await;
    assert!(there.contains(&"acknowledged".to_owned()) && !there.contains(&"refused".to_owned()), "{there:?}");
}
