use super::*;
use crate::store::{Entry, StoreRevision};

const TTL: Duration = Duration::from_secs(10);

fn id(number: u64) -> LeaseId {
    LeaseId::new(number).expect("not 0")
}

fn put(key: &str, lease: Option<LeaseId>) -> WatchEvent {
    let revision = StoreRevision::new(1);
    let (key, value) = (key.to_owned(), bytes::Bytes::new());
    WatchEvent::Put(Entry {
        key,
        value,
        create_revision: revision,
        mod_revision: revision,
        lease,
    })
}

fn delete(key: &str) -> WatchEvent {
    WatchEvent::Delete {
        key: key.to_owned(),
        mod_revision: StoreRevision::new(2),
    }
}

fn keys(table: &LeaseTable, lease: LeaseId) -> Vec<String> {
    let txn = table.farewell(lease).expect("the lease exists");
    txn.ops.iter().map(|op| op.key().to_owned()).collect()
}

#[test]
fn runs_out_exactly_at_its_deadline_and_keep_alive_moves_it() {
    let start = Instant::now();
    let mut table = LeaseTable::default();
    table.grant(id(1), TTL, start);
    table.grant(id(2), TTL * 2, start);
    assert_eq!(table.next_deadline(), Some(start + TTL));
    assert_eq!(table.expired(start + TTL - Duration::from_nanos(1)), []);
    assert_eq!(table.expired(start + TTL), [id(1)]);

    assert_eq!(table.keep_alive(id(1), start + TTL / 2), Ok(TTL));
    assert_eq!(table.expired(start + TTL), []);
    assert_eq!(table.expired(start + TTL * 2), [id(1), id(2)]);

    table.forget(id(1));
    assert_eq!(
        table.keep_alive(id(1), start),
        Err(StoreError::LeaseNotFound { lease: id(1) })
    );
    assert_eq!(table.next_deadline(), Some(start + TTL * 2));
}

#[test]
fn a_key_hangs_on_the_lease_it_was_last_put_with() {
    let mut table = LeaseTable::default();
    table.grant(id(1), TTL, Instant::now());
    table.grant(id(2), TTL, Instant::now());
    table.record(&[
        put("a", Some(id(1))),
        put("b", Some(id(1))),
        put("c", Some(id(1))),
        put("d", None),
    ]);
    assert_eq!(keys(&table, id(1)), ["a", "b", "c"]);

    table.record(&[put("a", Some(id(2))), put("b", None), delete("c")]);
    assert_eq!(keys(&table, id(1)), [""; 0]);
    assert_eq!(keys(&table, id(2)), ["a"]);

    table.forget(id(2));
    assert_eq!(table.farewell(id(2)), None);
}

#[test]
fn a_transaction_may_name_only_leases_that_exist() {
    let mut table = LeaseTable::default();
    table.grant(id(1), TTL, Instant::now());
    assert_eq!(table.check(&Txn::new().put_leased("a", "", id(1)).delete("b")), Ok(()));
    assert_eq!(
        table.check(&Txn::new().put_leased("a", "", id(2))),
        Err(StoreError::LeaseNotFound { lease: id(2) })
    );
}
