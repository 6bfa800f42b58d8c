//! What is in the file: four tables, whose keys and values are integers or bytes of [`record`], so that
//! no decoding of redb's own can fail on them.

use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction};
use tokio::time::Instant;

use super::{record, trouble::Trouble};
use crate::store::{
    LeaseId, StoreIdentity, StoreRevision, WatchBatch, WatchEvent,
    draft::Draft,
    feed::Feed,
    lease::{LeaseTable, check_ttl},
    state::State,
};

/// The layout this module reads and writes. A file with a higher one was written by a newer Cofferdam.
pub(super) const SCHEMA: u64 = 1;

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

/// All that a file holds.
pub(super) struct Contents {
    pub(super) identity: StoreIdentity,
    pub(super) state: State,
}

/// Writes an empty store.
pub(super) fn initialise(txn: &WriteTransaction) -> Result<(), Trouble> {
    let mut meta = txn.open_table(META)?;
    meta.insert(META_SCHEMA, u128::from(SCHEMA))?;
    meta.insert(META_IDENTITY, rand::random::<u128>())?;
    meta.insert(META_REVISION, 0)?;
    meta.insert(META_FORGOTTEN, 0)?;
    txn.open_table(ENTRIES)?;
    txn.open_table(LOG)?;
    txn.open_table(LEASES)?;
    Ok(())
}

/// Writes a draft. The log up to `forgotten` is removed, which `removed` says how much of is removed already.
pub(super) fn write(
    txn: &WriteTransaction,
    draft: &Draft,
    removed: StoreRevision,
    forgotten: StoreRevision,
) -> Result<(), Trouble> {
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
    if forgotten > removed {
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

/// Reads everything and checks that the parts agree.
pub(super) fn load(database: &Database) -> Result<Contents, Trouble> {
    let reader = database.begin_read()?;
    let meta = reader.open_table(META)?;
    let schema = get(&meta, META_SCHEMA)?;
    if schema != u128::from(SCHEMA) {
        return Err(Trouble::Layout(schema));
    }
    let identity = StoreIdentity::numbered(get(&meta, META_IDENTITY)?);
    let revision = get_revision(&meta, META_REVISION)?;
    let forgotten = get_revision(&meta, META_FORGOTTEN)?;

    let batches = read_log(&reader.open_table(LOG)?, StoreRevision::ZERO)?;
    let mut last = forgotten;
    for batch in &batches {
        if batch.revision != last.next() {
            return Err(Trouble::Damage("the log has a gap"));
        }
        last = batch.revision;
    }
    if last != revision {
        return Err(Trouble::Damage("the log does not end at the last revision"));
    }

    let now = Instant::now();
    let mut leases = LeaseTable::default();
    for row in reader.open_table(LEASES)?.iter()? {
        let (id, ttl) = row?;
        let id = LeaseId::new(id.value()).ok_or(Trouble::Damage("a lease without a number"))?;
        let ttl = Duration::from_millis(ttl.value());
        check_ttl(ttl).map_err(|_| Trouble::Damage("an impossible lease"))?;
        leases.grant(id, ttl, now);
    }

    let mut entries = Vec::new();
    for row in reader.open_table(ENTRIES)?.iter()? {
        let (key, value) = row?;
        let entry = record::decode_entry(key.value(), value.value())?;
        if entry.mod_revision > revision {
            return Err(Trouble::Damage("an entry is newer than the last revision"));
        }
        if entry.lease.is_some_and(|lease| !leases.contains(lease)) {
            return Err(Trouble::Damage("an entry hangs on a lease that is not there"));
        }
        entries.push(entry);
    }
    Ok(Contents { identity, state: State::new(entries, leases, Feed::new(batches, forgotten)) })
}

/// The transactions after a revision of a store that was open before.
///
/// # Errors
/// [`Trouble::Damage`], where another store, or an older copy of it, has taken its place.
pub(super) fn load_after(
    database: &Database,
    identity: &StoreIdentity,
    revision: StoreRevision,
) -> Result<Vec<WatchBatch>, Trouble> {
    let reader = database.begin_read()?;
    let meta = reader.open_table(META)?;
    if StoreIdentity::numbered(get(&meta, META_IDENTITY)?) != *identity {
        return Err(Trouble::Damage("it is not the store that was open, but another one"));
    }
    if get_revision(&meta, META_REVISION)? < revision {
        return Err(Trouble::Damage("it is an older copy of the store that was open"));
    }
    read_log(&reader.open_table(LOG)?, revision)
}

fn read_log(log: &impl ReadableTable<u64, &'static [u8]>, after: StoreRevision) -> Result<Vec<WatchBatch>, Trouble> {
    let mut batches = Vec::new();
    for row in log.range(after.next().get()..)? {
        let (revision, batch) = row?;
        batches.push(record::decode_batch(revision.value(), batch.value())?);
    }
    Ok(batches)
}

fn get(meta: &impl ReadableTable<u64, u128>, key: u64) -> Result<u128, Trouble> {
    meta.get(key)?.map(|row| row.value()).ok_or(Trouble::Damage("it is no Cofferdam store"))
}

fn get_revision(meta: &impl ReadableTable<u64, u128>, key: u64) -> Result<StoreRevision, Trouble> {
    let revision = u64::try_from(get(meta, key)?);
    revision.map(StoreRevision::new).map_err(|_| Trouble::Damage("an impossible revision"))
}
