use super::*;
use crate::{
    registry::record,
    store::{Entry, Listing},
    testing::{EPOCH, key},
};

const PAYMENTS: &str = "service/default/payments";

fn value() -> Bytes {
    let service = v1::Service { namespace: "default".to_owned(), name: "payments".to_owned(), ..Default::default() };
    let (policy, orders) = (v1::IsolationPolicy::default(), cofferdam_core::orders::Orders::default());
    record::encode(None, service, policy, false, &orders, None, prost_types::Timestamp::default())
}

fn at(revision: u64) -> StoreRevision {
    StoreRevision::new(revision)
}

fn catalog() -> Catalog {
    Catalog::new(EPOCH, at(1))
}

fn entry(revision: u64) -> Entry {
    let mod_revision = at(revision);
    Entry { key: PAYMENTS.to_owned(), value: value(), create_revision: mod_revision, mod_revision, lease: None }
}

#[test]
fn a_change_is_applied_once_and_never_an_older_one() {
    let mut catalog = catalog();
    assert!(catalog.put(PAYMENTS, &value(), at(5)).is_some());
    assert!(catalog.put(PAYMENTS, &value(), at(5)).is_none());
    assert!(catalog.put(PAYMENTS, &value(), at(4)).is_none());
    assert!(catalog.delete(PAYMENTS, at(4)).is_none());
    assert!(catalog.delete(PAYMENTS, at(6)).is_some());
    assert!(catalog.delete(PAYMENTS, at(6)).is_none());
}

#[test]
fn what_we_deleted_does_not_come_back_with_the_watch() {
    let mut catalog = catalog();
    catalog.put(PAYMENTS, &value(), at(5));
    catalog.delete_early(PAYMENTS, at(9));
    // Another manager's write before our deletion arrives after it.
    assert!(catalog.put(PAYMENTS, &value(), at(7)).is_none());
    catalog.advance(at(7));
    assert!(catalog.put(PAYMENTS, &value(), at(8)).is_none());
    catalog.advance(at(9));
    assert!(catalog.put(PAYMENTS, &value(), at(10)).is_some(), "made anew later");
}

#[test]
fn a_list_removes_what_it_lacks_but_not_what_came_after_it() {
    let mut catalog = catalog();
    catalog.put(PAYMENTS, &value(), at(5));
    let empty = |revision| Listing { revision: at(revision), entries: Vec::new() };
    assert!(catalog.load(&empty(4)).is_empty());
    assert!(catalog.service(&key("default/payments")).is_some());
    let changes = catalog.load(&empty(6));
    assert!(matches!(&changes[..], [Change::Removed { revision, .. }] if revision.revision == 6), "{changes:?}");
}

#[test]
fn a_new_epoch_replaces_everything_by_its_own_revisions() {
    let mut catalog = catalog();
    catalog.put(PAYMENTS, &value(), at(900));
    catalog.advance(at(900));
    catalog.begin_epoch(EPOCH + 1);
    let service = key("default/payments");
    assert!(catalog.service(&service).is_some(), "in force until it is replaced");
    let changes = catalog.load(&Listing { revision: at(3), entries: vec![entry(2)] });
    assert_eq!(changes.len(), 1);
    assert_eq!(catalog.service(&service).unwrap().revision(), Revision { epoch: EPOCH + 1, revision: 2 });
    assert_eq!(catalog.head, at(3));
}
