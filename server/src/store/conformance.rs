//! The contract of [`Store`] as tests, run unchanged on every backend.
//!
//! A backend implements [`Backend`] in its own tests and calls `conformance!`; each case gets a store of its own. A
//! case waits for what must happen, never for time to pass; [`within`] is only there so that a broken store fails a
//! test instead of hanging it.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    CommitError, Committed, Conflict, Entry, Listing, Store, StoreError, StoreRevision, Txn, Watch, WatchBatch,
    WatchEvent,
};

pub(super) mod leases;
pub(super) mod transactions;
pub(super) mod volume;
pub(super) mod watches;

/// One store under test, empty when it is started, and what only its maker can do to it.
#[async_trait]
pub(super) trait Backend: Sized + Send + Sync + 'static {
    /// A new, empty store.
    async fn start() -> Self;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Makes the store forget the history up to its current revision.
    async fn compact(&self);

    /// How many watches the store serves at the moment.
    async fn watches(&self) -> usize;
}

/// Instantiates every case for one backend.
macro_rules! conformance {
    ($backend:ty) => {
        crate::store::conformance::conformance_cases! { $backend;
            transactions::lists_in_key_order_and_only_the_prefix,
            transactions::lists_all_but_prefixes,
            transactions::entries_tell_when_they_were_made_and_changed,
            transactions::revisions_strictly_grow,
            transactions::a_transaction_is_applied_whole_or_not_at_all,
            transactions::absent_holds_only_without_the_key,
            transactions::revision_holds_only_for_the_last_put,
            transactions::a_conflict_tells_what_is_there,
            transactions::a_transaction_may_only_compare,
            transactions::what_changes_nothing_makes_no_revision,
            transactions::concurrent_increments_add_up,
            transactions::invalid_requests_change_nothing,
            transactions::the_largest_transactions_fit,
            transactions::identity_stays_and_is_unique,
            watches::replays_the_past,
            watches::is_live_and_in_order,
            watches::one_transaction_is_one_batch,
            watches::sees_only_its_prefix,
            watches::a_list_continues_as_a_watch,
            watches::resumes_without_gap_or_repetition,
            watches::tells_that_the_past_is_compacted,
            watches::tells_that_it_is_ahead_of_the_store,
            watches::dropped_watches_are_freed,
            leases::expiry_deletes_the_keys_in_one_transaction,
            leases::keep_alive_prolongs,
            leases::revoking_deletes_the_keys_at_once,
            leases::a_key_put_again_follows_its_new_lease,
            leases::a_lease_that_is_gone_cannot_be_used,
            volume::a_large_list_is_complete,
            volume::a_list_of_the_largest_values_is_complete,
            volume::a_watch_catches_up_on_more_than_one_message,
        }
    };
}

macro_rules! conformance_cases {
    ($backend:ty; $($group:ident::$case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let backend = <$backend as crate::store::conformance::Backend>::start().await;
            crate::store::conformance::$group::$case(&backend).await;
        }
    )*};
}

pub(super) use {conformance, conformance_cases};

/// The result of `work`, which is expected at once but may take its time on a busy machine.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this should have happened long ago")
}

pub(super) async fn list(store: &dyn Store, prefix: &str) -> Listing {
    within(store.list(prefix)).await.expect("the list succeeds")
}

pub(super) async fn head(store: &dyn Store) -> StoreRevision {
    list(store, "").await.revision
}

pub(super) async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    list(store, prefix).await.entries.into_iter().map(|entry| entry.key).collect()
}

pub(super) async fn get(store: &dyn Store, key: &str) -> Option<Entry> {
    list(store, key).await.entries.into_iter().find(|entry| entry.key == key)
}

pub(super) async fn commit(store: &dyn Store, txn: Txn) -> StoreRevision {
    let Committed { revision } = within(store.commit(txn)).await.expect("the transaction commits");
    revision
}

pub(super) async fn put(store: &dyn Store, key: &str, value: &str) -> StoreRevision {
    commit(store, Txn::new().put(key, value.to_owned())).await
}

pub(super) async fn conflict(store: &dyn Store, txn: Txn) -> Conflict {
    match within(store.commit(txn)).await {
        Err(CommitError::Conflict(conflict)) => conflict,
        other => panic!("expected a conflict: {other:?}"),
    }
}

pub(super) async fn refusal(store: &dyn Store, txn: Txn) -> StoreError {
    match within(store.commit(txn)).await {
        Err(CommitError::Store(error)) => error,
        other => panic!("expected a refusal: {other:?}"),
    }
}

pub(super) async fn watch(store: &dyn Store, prefix: &str, after: StoreRevision) -> Watch {
    within(store.watch(prefix, after)).await.expect("the watch starts")
}

pub(super) async fn next(watch: &mut Watch) -> WatchBatch {
    within(watch.next()).await.expect("the watch goes on").expect("the watch is healthy")
}

/// A batch as `+key=value` and `-key`, in its order.
pub(super) fn shown(batch: &WatchBatch) -> Vec<String> {
    let shown = |event: &WatchEvent| match event {
        WatchEvent::Put(entry) => format!("+{}={}", entry.key, String::from_utf8_lossy(&entry.value)),
        WatchEvent::Delete { key, mod_revision } => {
            assert_eq!(*mod_revision, batch.revision);
            format!("-{key}")
        }
    };
    batch.events.iter().map(shown).collect()
}
