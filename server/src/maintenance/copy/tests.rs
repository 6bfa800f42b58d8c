use super::*;
use crate::{
    clock::testing::FixedClock,
    maintenance::read_from,
    store::{MAX_VALUE_BYTES, MIN_LEASE_TTL, MemoryStore, Store},
};
use cofferdam_proto::{
    storage::v1::{ChangeRecord, StoreTransfer},
    v1,
};

const CLOCK: FixedClock = FixedClock(5_000);

fn described(meta: StoreMeta) -> Txn {
    Txn::new().put(key::META, meta.encode_to_vec())
}

fn known() -> StoreMeta {
    StoreMeta { schema_version: 1, epoch: 7, ..StoreMeta::default() }
}

async fn copied(store: &MemoryStore) -> Result<StoreCopy, CopyError> {
    StoreCopy::of(&read_from(store).await.unwrap(), &CLOCK)
}

#[tokio::test]
async fn a_copy_is_all_but_what_is_on_a_lease_and_survives_the_file() {
    let store = MemoryStore::new();
    let lease = store.grant_lease(MIN_LEASE_TTL).await.unwrap();
    let txn = described(known()).put("a", "1").put("b", "").put_leased("request/00", "", lease);
    let revision = store.commit(txn).await.unwrap().revision;
    let copy = copied(&store).await.unwrap();
    assert_eq!(copy.entries().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((copy.keys(), copy.epoch(), copy.revision()), (2, 7, revision));
    assert_eq!(copy.identity(), store.identity().await.unwrap());
    assert_eq!(StoreCopy::from_file(&copy.to_file()[..]).unwrap(), copy);
}

#[tokio::test]
async fn a_change_tells_its_revision_wherever_it_is_copied_to() {
    let told = |copy: &StoreCopy| {
        let entry = copy.entries().find(|(key, _)| key.starts_with(key::CHANGES)).unwrap();
        ChangeRecord::decode(entry.1.clone()).unwrap()
    };
    let store = MemoryStore::new();
    let record = ChangeRecord { schema_version: 1, reason: "why".to_owned(), ..ChangeRecord::default() };
    let change = format!("{}default/payments/00000000000000000001", key::CHANGES);
    let txn = described(known()).put(change, record.encode_to_vec());
    let revision = store.commit(txn).await.unwrap().revision;
    let copy = copied(&store).await.unwrap();
    let expected = v1::Revision { epoch: 7, revision: revision.get() };
    assert_eq!(told(&copy), ChangeRecord { revision: Some(expected), ..record.clone() });

    let (target, done) = (MemoryStore::new(), async { Ok(()) });
    crate::maintenance::fill(&target, &copy, false, &CLOCK, done, |_| {}).await.unwrap();
    let again = copied(&target).await.unwrap();
    assert_eq!(told(&again), ChangeRecord { revision: Some(expected), ..record });
}

#[tokio::test]
async fn what_no_manager_has_used_or_finished_or_could_read_is_not_copied() {
    let store = MemoryStore::new();
    assert!(matches!(copied(&store).await, Err(CopyError::Unused)));
    let unfinished = StoreMeta { transfer: Some(StoreTransfer::default()), ..known() };
    store.commit(described(unfinished)).await.unwrap();
    assert!(matches!(copied(&store).await, Err(CopyError::Description(EpochError::Unfinished))));
    store.commit(described(StoreMeta { schema_version: 2, ..known() })).await.unwrap();
    assert!(matches!(copied(&store).await, Err(CopyError::Description(EpochError::SchemaVersion(2)))));
}

#[tokio::test]
async fn a_file_with_any_byte_changed_or_missing_is_refused() {
    let store = MemoryStore::new();
    store.commit(described(known()).put("a", "1")).await.unwrap();
    let whole = copied(&store).await.unwrap().to_file();
    for at in 0..whole.len() {
        assert!(StoreCopy::from_file(&whole[..at]).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert!(StoreCopy::from_file(&changed[..]).is_err(), "changed at {at}");
    }
}

#[test]
fn a_whole_file_of_something_else_is_refused() {
    let sealed = |backup: &Backup| StoreCopy::from_file(&Seal::BACKUP.seal(&backup.encode_to_vec())[..]);
    let entry = |key: &str, value: Vec<u8>| BackupEntry { key: key.to_owned(), value: value.into(), mod_revision: 1 };
    let backup = |entries: Vec<BackupEntry>| Backup { entries, ..Backup::default() };
    let meta = || entry(key::META, known().encode_to_vec());
    assert!(sealed(&backup(vec![meta()])).is_ok());
    assert!(matches!(StoreCopy::from_file(&Seal::BACKUP.seal(b"\xff")[..]), Err(CopyError::Malformed(_))));
    assert!(matches!(sealed(&backup(vec![])), Err(CopyError::Unused)));
    for bad in [entry("", vec![]), entry("a b", vec![]), entry("z", vec![0; MAX_VALUE_BYTES + 1])] {
        assert!(matches!(sealed(&backup(vec![meta(), bad])), Err(CopyError::Entry(_))));
    }
    for disordered in [vec![entry("z", vec![]), meta()], vec![meta(), meta()]] {
        assert!(matches!(sealed(&backup(disordered)), Err(CopyError::Order)));
    }
}
