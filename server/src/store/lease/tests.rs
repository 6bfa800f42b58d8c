use super::*;

const TTL: Duration = Duration::from_secs(10);

fn id(number: u64) -> LeaseId {
    LeaseId::new(number).expect("not 0")
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
    assert_eq!(table.keep_alive(id(1), start), Err(StoreError::LeaseNotFound { lease: id(1) }));
    assert_eq!(table.next_deadline(), Some(start + TTL * 2));
}

#[test]
fn a_key_hangs_on_the_lease_it_was_last_attached_to() {
    let mut table = LeaseTable::default();
    table.grant(id(1), TTL, Instant::now());
    table.grant(id(2), TTL, Instant::now());
    for key in ["a", "b", "c"] {
        table.attach(key, id(1));
    }
    table.detach("a");
    table.attach("a", id(2));
    table.detach("b");
    table.detach("never attached");
    assert_eq!(table.keys(id(1)).collect::<Vec<_>>(), ["c"]);
    assert_eq!(table.keys(id(2)).collect::<Vec<_>>(), ["a"]);

    table.forget(id(2));
    assert_eq!(table.keys(id(2)).count(), 0);
    table.detach("a");
}

#[test]
fn a_lease_whose_end_is_being_written_is_as_good_as_gone() {
    let start = Instant::now();
    let mut table = LeaseTable::default();
    table.grant(id(1), TTL, start);
    table.set_ending(id(1));
    assert!(!table.contains(id(1)));
    assert_eq!(table.keep_alive(id(1), start), Err(StoreError::LeaseNotFound { lease: id(1) }));
    assert_eq!((table.next_deadline(), table.expired(start + TTL)), (None, vec![]));

    table.none_ending();
    assert_eq!(table.expired(start + TTL), [id(1)], "an end that failed is due again");
}
