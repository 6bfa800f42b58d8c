//! Leases. The only cases that take real time: as long as the shortest leases that a backend can grant.

use std::time::Duration;

use super::{Backend, commit, get, head, keys, next, put, refusal, shown, watch, within};
use crate::store::{LeaseId, MIN_LEASE_TTL, Store, StoreError, Txn};

const LONG: Duration = Duration::from_secs(600);

async fn grant(store: &dyn Store, ttl: Duration) -> LeaseId {
    within(store.grant_lease(ttl)).await.expect("the lease is granted")
}

pub(crate) async fn expiry_deletes_the_keys_in_one_transaction(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let (short, long) = (grant(&*store, MIN_LEASE_TTL).await, grant(&*store, LONG).await);
    let txn = Txn::new().put_leased("s1", "", short).put_leased("s2", "", short).put_leased("l", "", long).put("k", "");
    commit(&*store, txn).await;
    assert_eq!(get(&*store, "s1").await.expect("s1 was put").lease, Some(short));

    let mut events = watch(&*store, "", before).await;
    assert_eq!(shown(&next(&mut events).await), ["+s1=", "+s2=", "+l=", "+k="]);
    assert_eq!(shown(&next(&mut events).await), ["-s1", "-s2"]);
    assert_eq!(keys(&*store, "").await, ["k", "l"]);
    let gone = within(store.keep_alive(short)).await;
    assert_eq!(gone, Err(StoreError::LeaseNotFound { lease: short }));
}

pub(crate) async fn keep_alive_prolongs(backend: &impl Backend) {
    let store = backend.store();
    let ttl = MIN_LEASE_TTL * 2;
    let (kept, left) = (grant(&*store, ttl).await, grant(&*store, ttl).await);
    commit(&*store, Txn::new().put_leased("kept", "", kept).put_leased("left", "", left)).await;
    let mut events = watch(&*store, "", head(&*store).await).await;
    let mut renewals = tokio::time::interval(ttl / 8);
    within(async {
        loop {
            tokio::select! {
                batch = events.next() => {
                    let batch = batch.expect("the watch goes on").expect("the watch is healthy");
                    assert_eq!(shown(&batch), ["-left"], "only the lease that nobody keeps runs out");
                    break;
                }
                _ = renewals.tick() => {
                    let remaining = store.keep_alive(kept).await.expect("the lease is alive");
                    assert!(remaining >= ttl && remaining < LONG, "{remaining:?}");
                }
            }
        }
    })
    .await;
    assert_eq!(keys(&*store, "").await, ["kept"]);
    assert_eq!(shown(&next(&mut events).await), ["-kept"], "and without being kept it runs out too");
}

pub(crate) async fn revoking_deletes_the_keys_at_once(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let (lease, empty) = (grant(&*store, LONG).await, grant(&*store, LONG).await);
    commit(&*store, Txn::new().put_leased("b", "", lease).put_leased("a", "", lease).put("c", "")).await;
    within(store.revoke_lease(lease)).await.expect("the lease is revoked");
    assert_eq!(keys(&*store, "").await, ["c"]);
    within(store.revoke_lease(empty)).await.expect("a lease without keys can be revoked too");

    let last = put(&*store, "d", "").await;
    let mut events = watch(&*store, "", before).await;
    assert_eq!(shown(&next(&mut events).await), ["+b=", "+a=", "+c="]);
    assert_eq!(shown(&next(&mut events).await), ["-a", "-b"]);
    let batch = next(&mut events).await;
    assert_eq!((batch.revision, shown(&batch)), (last, vec!["+d=".to_owned()]));
}

pub(crate) async fn a_key_put_again_follows_its_new_lease(backend: &impl Backend) {
    let store = backend.store();
    let (first, second) = (grant(&*store, LONG).await, grant(&*store, LONG).await);
    let all = Txn::new().put_leased("stays", "", first).put_leased("moves", "", first).put_leased("goes", "", first);
    commit(&*store, all).await;
    commit(&*store, Txn::new().put("stays", "").put_leased("moves", "", second)).await;
    within(store.revoke_lease(first)).await.expect("the lease is revoked");
    assert_eq!(keys(&*store, "").await, ["moves", "stays"]);
    within(store.revoke_lease(second)).await.expect("the lease is revoked");
    assert_eq!(keys(&*store, "").await, ["stays"]);
}

pub(crate) async fn a_lease_that_is_gone_cannot_be_used(backend: &impl Backend) {
    let store = backend.store();
    let lease = grant(&*store, LONG).await;
    within(store.revoke_lease(lease)).await.expect("the lease is revoked");
    let gone = StoreError::LeaseNotFound { lease };
    assert_eq!(within(store.revoke_lease(lease)).await, Err(gone.clone()));
    assert_eq!(within(store.keep_alive(lease)).await, Err(gone.clone()));
    let before = head(&*store).await;
    assert_eq!(refusal(&*store, Txn::new().put("a", "").put_leased("b", "", lease)).await, gone);
    assert_eq!((keys(&*store, "").await, head(&*store).await), (vec![], before), "nothing of it was applied");
}
