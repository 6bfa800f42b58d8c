use tokio::time::Instant;

use super::*;

const TTL: Duration = Duration::from_secs(10);

/// Judges and applies one transaction.
fn apply(state: &mut State, txn: &Txn) -> StoreRevision {
    let mut draft = Draft::new(state);
    let committed = draft.commit(state, txn).expect("the transaction commits");
    state.apply(draft, Instant::now());
    committed.revision
}

fn keys(state: &State) -> Vec<String> {
    state.list("").entries.into_iter().map(|entry| entry.key).collect()
}

#[test]
fn each_transaction_sees_the_ones_before_it_in_the_draft() {
    let mut state = State::empty();
    apply(&mut state, &Txn::new().put("a", "0"));

    let mut draft = Draft::new(&state);
    let first = draft.commit(&state, &Txn::new().require_revision("a", state.feed.head()).put("a", "1"));
    assert_eq!(first, Ok(Committed { revision: StoreRevision::new(2) }));
    let stale = draft.commit(&state, &Txn::new().require_revision("a", state.feed.head()).put("a", "2"));
    let Err(CommitError::Conflict(conflict)) = stale else { panic!("{stale:?}") };
    let current = conflict.failed[0].current.as_ref().expect("a exists");
    assert_eq!((current.value.as_ref(), current.mod_revision.get(), current.create_revision.get()), (&b"1"[..], 2, 1));
    let made = draft.commit(&state, &Txn::new().require_absent("b").put("b", "1").delete("a"));
    assert_eq!(made, Ok(Committed { revision: StoreRevision::new(3) }));
    assert!(draft.commit(&state, &Txn::new().require_absent("a")).is_ok());

    assert_eq!(keys(&state), ["a"], "a draft is not the state");
    state.apply(draft, Instant::now());
    assert_eq!((keys(&state), state.feed.head().get()), (vec!["b".to_owned()], 3));
}

#[test]
fn what_changes_nothing_makes_no_revision() {
    let mut state = State::empty();
    assert_eq!(apply(&mut state, &Txn::new()), StoreRevision::ZERO);
    assert_eq!(apply(&mut state, &Txn::new().delete("absent")), StoreRevision::ZERO);
    assert!(Draft::new(&state).is_empty());
}

#[test]
fn the_end_of_a_lease_takes_the_keys_it_holds_by_then() {
    let mut state = State::empty();
    let mut draft = Draft::new(&state);
    let (ended, other) = (draft.grant(TTL), draft.grant(TTL));
    state.apply(draft, Instant::now());
    let leased =
        Txn::new().put_leased("gone-1", "", ended).put_leased("moved", "", ended).put_leased("freed", "", ended);
    apply(&mut state, &leased);

    let mut draft = Draft::new(&state);
    let late = Txn::new().put_leased("gone-2", "", ended).put_leased("moved", "", other).put("freed", "");
    draft.commit(&state, &late).expect("the lease still exists");
    draft.end_lease(&state, ended).expect("the lease still exists");
    let missing = StoreError::LeaseNotFound { lease: ended };
    assert_eq!(draft.end_lease(&state, ended), Err(missing.clone()));
    let too_late = draft.commit(&state, &Txn::new().put_leased("gone-3", "", ended));
    assert_eq!(too_late, Err(CommitError::Store(missing.clone())));
    let farewell = draft.batches.last().expect("keys were deleted").clone();
    state.apply(draft, Instant::now());

    assert_eq!(farewell.events.iter().map(WatchEvent::key).collect::<Vec<_>>(), ["gone-1", "gone-2"]);
    assert_eq!(keys(&state), ["freed", "moved"]);
    assert_eq!(state.leases.keep_alive(ended, Instant::now()), Err(missing));
    assert_eq!(state.leases.keys(other).collect::<Vec<_>>(), ["moved"]);
}
