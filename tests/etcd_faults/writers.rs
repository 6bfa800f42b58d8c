//! Two managers on one etcd, and those who write by them.

use super::*;
use cofferdam_proto::v1::{CircuitBreakerPolicy, IsolationPolicy, Revision, UpdateIsolationPolicyRequest};
use cofferdam_tests::wire::{position, registration, revision};
use futures_util::future::join_all;
use prost_types::FieldMask;

const WRITERS: usize = 8;
const INCREMENTS: usize = 25;

fn failures(policy: &IsolationPolicy) -> u32 {
    policy.circuit_breaker.as_ref().and_then(|breaker| breaker.consecutive_failures).expect("it is set")
}

/// Sets the number on the condition that the service is still at a revision.
async fn set(client: &Client, number: u32, at: Option<Revision>) -> Result<Revision, Refusal> {
    let breaker = CircuitBreakerPolicy { consecutive_failures: Some(number), ..CircuitBreakerPolicy::default() };
    let request = UpdateIsolationPolicyRequest {
        service: "payments".into(),
        policy: Some(IsolationPolicy { circuit_breaker: Some(breaker), ..IsolationPolicy::default() }),
        update_mask: Some(FieldMask { paths: vec!["circuit_breaker.consecutive_failures".into()] }),
        expected_revision: at,
        ..UpdateIsolationPolicyRequest::default()
    };
    let answer = client.update_isolation_policy(request).await?;
    Ok(revision(answer.service.as_ref()))
}

/// Adds one, again and again; returns how often another writer was first.
async fn increment(client: &Client) -> usize {
    let (mut conflicts, mut known) = (0, (0, 0));
    for _ in 0..INCREMENTS {
        loop {
            let service = eventually("what a conflict spoke of", async || {
                let service = client.info("payments").await.unwrap().service.unwrap();
                let at = position(revision(Some(&service)));
                if at >= known { Ok(service) } else { Err(at) }
            })
            .await;
            let next = failures(service.policy.as_ref().unwrap()) + 1;
            match set(client, next, service.revision).await {
                Ok(at) => {
                    known = position(at);
                    break;
                }
                Err(refusal) => {
                    assert_eq!(
                        (refusal.code, &refusal.reason[..]),
                        (Code::Aborted, "REVISION_MISMATCH"),
                        "{refusal:?}"
                    );
                    known = (refusal.number("current_epoch"), refusal.number("current_revision"));
                    assert!(known > position(revision(Some(&service))), "it says what is there: {refusal:?}");
                    conflicts += 1;
                }
            }
        }
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_over_two_managers_lose_nothing_and_hear_of_each_other() {
    let etcd = current(1).await;
    let managers = [Manager::on(&etcd).await, Manager::on(&etcd).await];
    let clients = managers.each_ref().map(Manager::client);
    clients[0].register(registration("payments", IsolationLevel::Full)).await.unwrap();
    set(&clients[0], 1, None).await.unwrap();
    for client in &clients {
        eventually("every manager to show it", async || client.info("payments").await).await;
    }
    let writers = (0..WRITERS).map(|writer| increment(&clients[writer % 2]));
    let conflicts: usize = join_all(writers).await.into_iter().sum();
    assert!(conflicts > 0, "nobody was in anybody's way");
    let expected = u32::try_from(1 + WRITERS * INCREMENTS).unwrap();
    for client in &clients {
        eventually("the sum", async || {
            let seen = failures(&client.info("payments").await.unwrap().service.unwrap().policy.unwrap());
            if seen == expected { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_manager_writes_every_manager_shows() {
    let etcd = current(1).await;
    let (one, other) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    let (one, other) = (one.client(), other.client());
    let written = one.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let shows = async |revision| {
        eventually("the other manager", async || match other.revision("payments").await {
            Ok(shown) if Some(shown) == revision => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await;
    };
    shows(written.revision).await;
    let written = one.set_level("payments", IsolationLevel::Full).await.unwrap();
    shows(written.revision).await;
    other.set_level("payments", IsolationLevel::Basic).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_knows_of_every_write_that_was_acknowledged_before_whoever_took_it() {
    let etcd = current(1).await;
    let managers = [Manager::on(&etcd).await, Manager::on(&etcd).await];
    let clients = managers.each_ref().map(Manager::client);
    let mut last = clients[0].register(registration("payments", IsolationLevel::Basic)).await.unwrap().revision;
    for turn in 1..100 {
        let request = SetIsolationLevelRequest { expected_revision: last, ..level(LEVELS[(turn + 1) % 2], "") };
        let answer = clients[turn % 2].set_isolation_level(request).await.unwrap();
        last = answer.service.unwrap().revision;
    }
    let fresh = registration("orders", IsolationLevel::Basic);
    clients[0].register(fresh).await.unwrap();
    clients[1].set_level("orders", IsolationLevel::Full).await.unwrap();
}
