//! What a policy's mode makes of breakers, and how it ends: in a process with an SDK, and behind ExecuteWithIsolation.

use cofferdam::{Cofferdam, Error, OpenedBy, Service};
use cofferdam_proto::v1::{
    BreakerMode, CircuitBreakerPolicy, IsolationLevel, IsolationPolicy, MethodOverride, ServedBy,
};
use cofferdam_tests::wire::{registration, registration_at, static_json};
use cofferdam_tests::{Behaviour, Manager, Store, Upstream, eventually, wire};
use std::convert::Infallible;
use std::time::{Duration, SystemTime};
use tonic::Code;

/// The time of day so much later.
#[expect(clippy::disallowed_methods, reason = "an operator has a clock on the wall")]
fn after(duration: Duration) -> prost_types::Timestamp {
    (SystemTime::now() + duration).into()
}

fn mode(mode: BreakerMode, until: Option<prost_types::Timestamp>) -> CircuitBreakerPolicy {
    CircuitBreakerPolicy { mode: mode.into(), mode_until: until, ..CircuitBreakerPolicy::default() }
}

fn for_the_service(breaker: CircuitBreakerPolicy) -> IsolationPolicy {
    IsolationPolicy { circuit_breaker: Some(breaker), ..IsolationPolicy::default() }
}

fn for_reads(breaker: CircuitBreakerPolicy) -> IsolationPolicy {
    let policy = Some(for_the_service(breaker));
    let reads = MethodOverride { glob: "Get*".into(), policy, ..MethodOverride::default() };
    IsolationPolicy { method_overrides: vec![reads], ..IsolationPolicy::default() }
}

async fn get(service: &Service) -> Result<(), Error<Infallible>> {
    service.execute("Get", || async { Ok(()) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_forced_open_ends_with_the_manager_dead() {
    for policy in [for_the_service, for_reads] {
        let mut manager = Manager::embedded().await;
        let client = manager.client();
        client.register(registration("orders-db", IsolationLevel::Enhanced)).await.unwrap();
        let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
        let service = cofferdam.service("orders-db");
        eventually("the first policy", async || service.revision().ok_or(())).await;
        get(&service).await.unwrap();

        // On a machine that is busy beyond measure it may be over before it has come: then for longer.
        let mut duration = Duration::from_secs(2);
        let in_force = loop {
            let written = policy(mode(BreakerMode::ForcedOpen, Some(after(duration))));
            let updated = client.update_policy("orders-db", written, &[]).await.unwrap();
            let revision = wire::revision(Some(&updated)).revision;
            eventually("the policy", async || {
                let seen = service.revision().map(|seen| seen.revision);
                if seen == Some(revision) { Ok(()) } else { Err(seen) }
            })
            .await;
            match get(&service).await {
                Err(Error::Open { retry_after, by, .. }) => {
                    assert_eq!(by, OpenedBy::Policy);
                    assert!(retry_after.is_some_and(|after| after <= duration), "{retry_after:?}");
                    break service.policy();
                }
                live => live.unwrap(),
            }
            duration *= 2;
        };
        manager.kill();
        eventually("calls to go through again", async || get(&service).await).await;
        assert_eq!(service.policy(), in_force, "the policy stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_of_the_policy_is_in_force_behind_execute() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    client.register(registration_at("payments", IsolationLevel::Enhanced, &upstream.address())).await.unwrap();

    let forced = for_the_service(mode(BreakerMode::ForcedOpen, Some(after(Duration::from_secs(3600)))));
    client.update_policy("payments", forced, &[]).await.unwrap();
    let refusal = client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "CIRCUIT_OPEN"), "{refusal:?}");
    assert_eq!(refusal.metadata.get("opened_by").map(String::as_str), Some("policy"));
    assert!((3_000_000..=3_600_000).contains(&refusal.number("retry_after_ms")), "{refusal:?}");
    assert!(refusal.message.contains("the policy of default/payments forces"), "{refusal:?}");

    let over = for_the_service(mode(BreakerMode::ForcedOpen, Some(prost_types::Timestamp::default())));
    client.update_policy("payments", over, &[]).await.unwrap();
    assert_eq!(client.execute("payments", "charge", "").await.unwrap().served_by(), ServedBy::Live);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_breaker_lets_every_call_through_and_counts_it() {
    let upstream = Upstream::start(Behaviour::fail(Code::Unavailable)).await;
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let request = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    client.register(request).await.unwrap();
    client.update_fallback("payments", wire::fallback([static_json("{}")])).await.unwrap();
    let disabled = for_the_service(mode(BreakerMode::Disabled, None));
    client.update_policy("payments", disabled, &[]).await.unwrap();
    for _ in 0..20 {
        client.execute("payments", "charge", "").await.unwrap();
    }
    assert_eq!(upstream.calls(), 20);
    client.update_policy("payments", for_the_service(mode(BreakerMode::Auto, None)), &[]).await.unwrap();
    for _ in 0..20 {
        client.execute("payments", "charge", "").await.unwrap();
    }
    assert_eq!(upstream.calls(), 21, "the next failure found what had been counted");
}
