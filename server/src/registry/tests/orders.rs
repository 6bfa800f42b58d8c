//! What operators order apart from the policy: what it changes, what keeps it, when it goes, and what is refused.

use super::writes::{fresh, paths, set_level};
use crate::{
    clock::testing::FixedClock,
    error::Error,
    registry::{Registry, RegistryOptions},
    store::Store,
    testing::{EPOCH, FaultyStore, eventually, fallback, key, registration, static_step},
};
use cofferdam_core::{level::Level, orders::MAX_COMMANDS, policy::limits::MAX_HOLDS, wire::duration_to_wire};
use cofferdam_proto::v1;
use std::{sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

/// A service with a breaker of its own, one of a pool and one of an override.
fn payments() -> v1::RegisterServiceRequest {
    let pools = ["reads", "writes"].map(|name| v1::BulkheadPool {
        name: name.to_owned(),
        isolate_breaker: name == "reads",
        ..v1::BulkheadPool::default()
    });
    let breaker = v1::IsolationPolicy {
        circuit_breaker: Some(v1::CircuitBreakerPolicy::default()),
        ..v1::IsolationPolicy::default()
    };
    let policy = v1::IsolationPolicy {
        level: v1::IsolationLevel::Full.into(),
        bulkhead: Some(v1::BulkheadPolicy { pools: pools.to_vec(), ..v1::BulkheadPolicy::default() }),
        method_overrides: vec![v1::MethodOverride {
            glob: "Get*".to_owned(),
            policy: Some(breaker),
            ..v1::MethodOverride::default()
        }],
        ..v1::IsolationPolicy::default()
    };
    v1::RegisterServiceRequest { policy: Some(policy), ..registration("payments") }
}

async fn registered() -> (Arc<FaultyStore>, Registry) {
    let (store, registry) = fresh().await;
    registry.register(payments()).await.unwrap();
    (store, registry)
}

/// Another manager over the same store, whose clock stands still so much later.
async fn later(store: &Arc<FaultyStore>, after: Duration) -> Registry {
    let clock = FixedClock(EPOCH + u64::try_from(after.as_millis()).unwrap());
    let store: Arc<dyn Store> = Arc::<FaultyStore>::clone(store);
    Registry::open(store, Arc::new(clock), RegistryOptions::default()).await.unwrap()
}

fn pool(name: &str) -> Option<v1::BreakerTarget> {
    Some(v1::BreakerTarget { pool: name.to_owned(), ..v1::BreakerTarget::default() })
}

fn hold(target: Option<v1::BreakerTarget>, ttl: Option<Duration>) -> v1::HoldBreakerRequest {
    v1::HoldBreakerRequest {
        service: "payments".to_owned(),
        target,
        forced: v1::ForcedState::Open.into(),
        ttl: ttl.map(duration_to_wire),
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
        ..v1::HoldBreakerRequest::default()
    }
}

fn release(target: Option<v1::BreakerTarget>) -> v1::ReleaseBreakerRequest {
    let (service, reason) = ("payments".to_owned(), "it is changed".to_owned());
    v1::ReleaseBreakerRequest { service, target, reason, ..v1::ReleaseBreakerRequest::default() }
}

fn trip() -> v1::TripBreakerRequest {
    let (service, reason) = ("payments".to_owned(), "a drill".to_owned());
    v1::TripBreakerRequest { service, reason, ..v1::TripBreakerRequest::default() }
}

fn reset() -> v1::ResetBreakerRequest {
    let (service, reason) = ("payments".to_owned(), "it works".to_owned());
    v1::ResetBreakerRequest { service, reason, ..v1::ResetBreakerRequest::default() }
}

fn revision(service: Option<v1::IsolatedService>) -> u64 {
    service.unwrap().revision.unwrap().revision
}

#[tokio::test]
async fn a_hold_is_a_revision_and_another_fingerprint_and_its_release_gives_back_the_first() {
    let (_, registry) = registered().await;
    let before = registry.get(&key("default/payments")).unwrap();
    let held = registry.hold_breaker(hold(None, None)).await.unwrap().service.unwrap();
    assert!(held.revision.unwrap().revision > before.revision().revision);
    assert_ne!(held.policy_hash, &before.policy_hash().as_bytes()[..]);
    assert_eq!((held.holds.len(), held.holds[0].owner.as_str()), (1, "alice"));
    let again = registry.hold_breaker(hold(None, None)).await.unwrap();
    assert_eq!(revision(again.service), held.revision.unwrap().revision, "nothing changed");
    let released = registry.release_breaker(release(None)).await.unwrap().service.unwrap();
    assert_eq!((released.holds.len(), &released.policy_hash[..]), (0, &before.policy_hash().as_bytes()[..]));
    assert!(released.revision.unwrap().revision > held.revision.unwrap().revision);
}

#[tokio::test]
async fn every_other_write_keeps_what_is_ordered_and_drops_what_has_run_out() {
    let (store, registry) = registered().await;
    registry.hold_breaker(hold(None, None)).await.unwrap();
    registry.hold_breaker(hold(pool("reads"), Some(10 * SECOND))).await.unwrap();
    registry.trip_breaker(trip()).await.unwrap();
    let temporary = v1::SetIsolationLevelRequest {
        ttl: Some(duration_to_wire(10 * SECOND)),
        ..set_level("payments", v1::IsolationLevel::Enhanced)
    };
    registry.set_level(temporary).await.unwrap();
    let orders = |registry: &Registry| {
        let orders = registry.get(&key("default/payments")).unwrap().orders().clone();
        (orders.holds.len(), orders.commands.len(), orders.level.is_some())
    };
    for (after, expected) in [(9 * SECOND, (2, 1, true)), (10 * SECOND, (1, 1, false))] {
        let registry = later(&store, after).await;
        let mut again = payments();
        again.service.as_mut().unwrap().description = format!("{after:?}");
        registry.register(again).await.unwrap();
        assert_eq!(orders(&registry), expected, "registered after {after:?}");
        let update = v1::UpdateIsolationPolicyRequest {
            service: "payments".to_owned(),
            policy: Some(v1::IsolationPolicy {
                retry: Some(v1::RetryPolicy { max_attempts: Some(2), ..v1::RetryPolicy::default() }),
                ..v1::IsolationPolicy::default()
            }),
            insist: true,
            ..v1::UpdateIsolationPolicyRequest::default()
        };
        registry.update_policy(update).await.unwrap();
        assert_eq!(orders(&registry), expected, "updated after {after:?}");
    }
}

#[tokio::test]
async fn a_hold_that_has_run_out_is_not_there_to_be_released() {
    let (store, registry) = registered().await;
    registry.hold_breaker(hold(None, Some(10 * SECOND))).await.unwrap();
    registry.hold_breaker(hold(pool("reads"), None)).await.unwrap();
    let refused = later(&store, 10 * SECOND).await.release_breaker(release(None)).await.unwrap_err();
    let Error::HoldNotFound { holds, .. } = &refused else { panic!("{refused}") };
    assert_eq!(holds, &["pool reads"]);
    assert_eq!(refused.to_string(), "no hold over default/payments has this target; held: pool reads");
}

#[tokio::test]
async fn a_hold_that_is_renewed_is_held_since_it_began() {
    let (store, registry) = registered().await;
    let first = registry.hold_breaker(hold(None, Some(10 * SECOND))).await.unwrap().service.unwrap().holds.remove(0);
    let registry = later(&store, 5 * SECOND).await;
    let renewed = registry.hold_breaker(hold(None, Some(10 * SECOND))).await.unwrap().service.unwrap().holds.remove(0);
    assert_eq!(renewed.hold_time, first.hold_time);
    assert_eq!(renewed.expire_time.unwrap().seconds, first.expire_time.unwrap().seconds + 5);
    let other = v1::HoldBreakerRequest { forced: v1::ForcedState::Disabled.into(), ..hold(None, None) };
    let other = registry.hold_breaker(other).await.unwrap().service.unwrap().holds.remove(0);
    assert_eq!((other.hold_time.unwrap().seconds, other.expire_time), (first.hold_time.unwrap().seconds + 5, None));
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_by_its_field() {
    let (_, registry) = registered().await;
    let refused = async |change: &dyn Fn(&mut v1::HoldBreakerRequest)| {
        let mut request = hold(None, None);
        change(&mut request);
        registry.hold_breaker(request).await.unwrap_err()
    };
    let none = refused(&|request| (request.forced, request.reason) = (0, String::new())).await;
    assert_eq!(paths(&none), ["forced", "reason"]);
    for ttl in [Duration::ZERO, 7 * 24 * 3600 * SECOND + SECOND] {
        assert_eq!(paths(&refused(&|request| request.ttl = Some(duration_to_wire(ttl))).await), ["ttl"]);
    }
    assert_eq!(paths(&refused(&|request| request.owner = "x".repeat(129)).await), ["owner"]);
    assert_eq!(paths(&refused(&|request| request.reason = "a\nb".to_owned()).await), ["reason"]);
    let both = v1::BreakerTarget { pool: "reads".into(), method_glob: "Get*".into(), ..v1::BreakerTarget::default() };
    assert_eq!(paths(&refused(&|request| request.target = Some(both.clone())).await), ["target.method_glob"]);
    let instance = v1::BreakerTarget { instance_id: "é".to_owned(), ..v1::BreakerTarget::default() };
    let unnamed = refused(&|request| request.target = Some(instance.clone())).await;
    assert_eq!(paths(&unnamed), ["target.instance_id"]);
    let wrong = v1::TripBreakerRequest { open_duration: Some(duration_to_wire(Duration::ZERO)), ..trip() };
    assert_eq!(paths(&registry.trip_breaker(wrong).await.unwrap_err()), ["open_duration"]);
    let unsaid = v1::ResetBreakerRequest { reason: String::new(), ..reset() };
    assert_eq!(paths(&registry.reset_breaker(unsaid).await.unwrap_err()), ["reason"]);
}

#[tokio::test]
async fn a_breaker_that_is_not_there_is_refused_with_those_that_are() {
    let (_, registry) = registered().await;
    for name in ["writes", "raeds"] {
        let refused = registry.hold_breaker(hold(pool(name), None)).await.unwrap_err();
        let Error::NoBreaker { breakers, .. } = &refused else { panic!("{refused}") };
        assert_eq!(breakers, &["pool reads", "methods Get*"]);
        assert!(refused.to_string().contains("those that have: pool reads, methods Get*"), "{refused}");
    }
    registry.set_level(set_level("payments", v1::IsolationLevel::Basic)).await.unwrap();
    let refused = registry.trip_breaker(trip()).await.unwrap_err();
    assert!(matches!(refused, Error::NoBreaker { level: Level::Basic, named: None, .. }), "{refused}");
    assert!(refused.to_string().contains("at level basic: set level enhanced or full first"), "{refused}");
}

#[tokio::test]
async fn commands_are_numbered_and_only_the_last_are_kept() {
    let (_, registry) = registered().await;
    for _ in 0..MAX_COMMANDS {
        registry.trip_breaker(trip()).await.unwrap();
    }
    registry.reset_breaker(reset()).await.unwrap();
    let commands = registry.get(&key("default/payments")).unwrap().orders().commands.clone();
    let numbers: Vec<_> = commands.iter().map(|command| command.number).collect();
    let first = EPOCH + 1;
    assert_eq!(numbers, (first..first + MAX_COMMANDS as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reset_forgets_the_reported_health_where_it_is_to() {
    let (_, registry) = registered().await;
    let report = v1::UpdateServiceHealthRequest {
        service: "payments".to_owned(),
        health: Some(v1::ServiceHealth { status: v1::HealthStatus::Unhealthy.into(), ..Default::default() }),
        ..Default::default()
    };
    registry.report_health(report).await.unwrap();
    registry.reset_breaker(reset()).await.unwrap();
    assert!(registry.reported_status(&key("default/payments")).is_some());
    let forgetting = v1::ResetBreakerRequest { reset_health: true, ..reset() };
    assert_eq!(registry.reset_breaker(forgetting).await.unwrap().service.unwrap().reported_health, None);
    assert_eq!(registry.reported_status(&key("default/payments")), None);
}

#[tokio::test]
async fn a_temporary_level_leaves_the_written_one_and_is_ended_by_a_lasting_one() {
    let (store, registry) = registered().await;
    let temporary = v1::SetIsolationLevelRequest {
        ttl: Some(duration_to_wire(10 * SECOND)),
        ..set_level("payments", v1::IsolationLevel::None)
    };
    let service = registry.set_level(temporary.clone()).await.unwrap().service.unwrap();
    assert_eq!(service.temporary_level.unwrap().level(), v1::IsolationLevel::None);
    assert_eq!(service.written_policy.unwrap().level(), v1::IsolationLevel::Full);
    let levels = |registry: &Registry| {
        let registered = registry.get(&key("default/payments")).unwrap();
        (registered.level_at(registry.wall_time()), registered.policy().level)
    };
    assert_eq!(levels(&registry), (Level::None, Level::Full));
    assert_eq!(levels(&later(&store, 10 * SECOND).await), (Level::Full, Level::Full));
    let full = registry.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap().service.unwrap();
    assert_eq!((full.temporary_level, levels(&registry).0), (None, Level::Full));
    for ttl in [Duration::ZERO, 8 * 24 * 3600 * SECOND] {
        let wrong = v1::SetIsolationLevelRequest { ttl: Some(duration_to_wire(ttl)), ..temporary.clone() };
        assert_eq!(paths(&registry.set_level(wrong).await.unwrap_err()), ["ttl"]);
    }
}

#[tokio::test]
async fn a_hold_needs_the_revision_that_is_expected_and_is_made_once_for_a_request_id() {
    let (_, registry) = registered().await;
    let stale = v1::HoldBreakerRequest {
        expected_revision: Some(v1::Revision { epoch: EPOCH, revision: 1 }),
        ..hold(None, None)
    };
    assert!(matches!(registry.hold_breaker(stale).await.unwrap_err(), Error::RevisionMismatch { .. }));
    let once = v1::TripBreakerRequest { request_id: "once".to_owned(), ..trip() };
    let first = revision(registry.trip_breaker(once.clone()).await.unwrap().service);
    assert_eq!(revision(registry.trip_breaker(once).await.unwrap().service), first);
    assert_eq!(registry.get(&key("default/payments")).unwrap().orders().commands.len(), 1);
}

/// The clock of the manager at which the hold began is ahead: renewed for less than that at another one, it was refused for
/// its end to be before its beginning.
#[tokio::test]
async fn a_hold_is_renewed_at_a_manager_whose_clock_is_behind() {
    let (store, registry) = registered().await;
    let ahead = later(&store, 10 * SECOND).await;
    ahead.hold_breaker(hold(None, None)).await.unwrap();
    eventually(&registry, || !registry.get(&key("default/payments")).unwrap().orders().holds.is_empty()).await;
    let renewed = registry.hold_breaker(hold(None, Some(SECOND))).await.unwrap().service.unwrap().holds;
    let at = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert_eq!(at(renewed[0].expire_time) - at(renewed[0].hold_time), 1);
}

/// A policy that is good alone, and holds that are: together the store would not take them, which was an internal error.
#[tokio::test]
async fn holds_that_have_no_room_beside_the_policy_are_refused_by_name_and_what_makes_room_is_not() {
    let (_, registry) = registered().await;
    let payload: &'static [u8] = vec![b'x'; 64 * 1024].leak();
    let fallback = fallback(vec![static_step(payload)]);
    let request = v1::UpdateFallbackConfigRequest {
        service: "payments".to_owned(),
        fallback: Some(fallback),
        ..v1::UpdateFallbackConfigRequest::default()
    };
    registry.update_fallback(request).await.unwrap();
    let long = |n: usize| v1::HoldBreakerRequest {
        owner: "o".repeat(128),
        reason: "r".repeat(256),
        request_id: n.to_string(),
        ..hold(at_instance(&format!("{n:0>128}")), None)
    };
    let mut held = 0;
    let refused = loop {
        match registry.hold_breaker(long(held)).await {
            Ok(_) => held += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((held, "holds"), (MAX_HOLDS, quota(&refused)), "{refused}");
    let mut written = registry.get(&key("default/payments")).unwrap().written_policy().clone();
    let error_types = (0..200)
        .map(|n| v1::ErrorTypeRule { type_name: format!("{n:0>200}"), outcome: v1::OutcomeClass::Neutral.into() });
    let error_types = error_types.collect();
    written.classification = Some(v1::ClassificationPolicy { error_types, ..v1::ClassificationPolicy::default() });
    let larger = v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(written),
        request_id: "larger".to_owned(),
        ..v1::UpdateIsolationPolicyRequest::default()
    };
    let refused = registry.update_policy(larger.clone()).await.unwrap_err();
    assert_eq!(quota(&refused), "holds", "{refused}");
    assert!(refused.to_string().contains("release some"), "{refused}");
    for n in 0..held {
        registry.release_breaker(release(at_instance(&format!("{n:0>128}")))).await.unwrap();
    }
    registry.update_policy(larger).await.unwrap();
}

fn at_instance(id: &str) -> Option<v1::BreakerTarget> {
    Some(v1::BreakerTarget { instance_id: id.to_owned(), ..v1::BreakerTarget::default() })
}

fn quota(error: &Error) -> &'static str {
    match error {
        Error::QuotaExceeded { quota, .. } => quota,
        other => panic!("{other}"),
    }
}

/// A process that starts while a policy is contained gets the one before it, and must not miss the hold for that.
#[tokio::test]
async fn what_is_handed_out_in_the_place_of_a_contained_policy_is_under_the_orders_of_now() {
    let (_, registry) = registered().await;
    let payments = key("default/payments");
    let before = registry.get(&payments).unwrap();
    registry.set_level(set_level("payments", v1::IsolationLevel::Enhanced)).await.unwrap();
    assert_eq!(registry.hold_breaker(hold(None, None)).await.unwrap().service.unwrap().holds.len(), 1);
    let held = registry.get(&payments).unwrap();
    assert!(registry.contain(&payments, held.revision(), "no".to_owned()));
    let handed_out = registry.in_place_of(&held).unwrap();
    assert_eq!((handed_out.revision(), handed_out.orders()), (before.revision(), held.orders()));
    assert_eq!(handed_out.policy(), before.policy());
    assert!(Arc::ptr_eq(&handed_out, &registry.in_place_of(&held).unwrap()), "made once");
}
