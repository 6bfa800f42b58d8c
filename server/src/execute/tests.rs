use super::*;
use crate::testing::{FaultyStore, key, registration, registry};
use cofferdam_core::level::Level;
use cofferdam_proto::v1;

/// Services that come and go by the thousand leave nothing behind: what is kept has the registry's own limit.
///
/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[tokio::test]
async fn t25_isolations_go_with_their_services() {
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    let executor = Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new()));
    for round in 0..100 {
        let name = format!("service-{round}");
        registry.register(registration(&name)).await.unwrap();
        executor.isolation(&registry.get(&key(&format!("default/{name}"))).unwrap());
        assert!(executor.isolations.lock().unwrap().len() <= 2, "round {round}");
        let request = v1::UnregisterServiceRequest { service: name, ..Default::default() };
        registry.unregister(request).await.unwrap();
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A service with breakers that has been called once through an executor, whose store is in memory.
async fn called() -> (Arc<Registry>, Arc<Executor>) {
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    let level = v1::IsolationLevel::Full.into();
    registry.register(v1::RegisterServiceRequest { level, ..registration("payments") }).await.unwrap();
    let executor = Arc::new(Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new())));
    assert!(!is_open(&registry, &executor).await);
    (registry, executor)
}

/// Whether a call ends at the breaker. The service has no endpoints: it ends in any case, and is no failure of it.
async fn is_open(registry: &Registry, executor: &Executor) -> bool {
    let call = Call {
        method: Method::parse("Pay", "payments").unwrap(),
        payload: Bytes::new(),
        timeout: None,
        is_idempotent: false,
        cache_key: Bytes::new(),
        cache_fields: Vec::new(),
        pool: None,
        trace: Trace::default(),
    };
    let refused = executor.execute(&registry.get(&key("default/payments")).unwrap(), &call).await.unwrap_err();
    matches!(refused, Error::Rejected(Rejection::CircuitOpen { .. }))
}

fn state(executor: &Executor) -> Option<State> {
    let isolations = executor.isolations.lock().unwrap();
    isolations[&key("default/payments")].isolation.breaker_state(executor.runtime.now())
}

async fn trip(registry: &Registry, open_for: Duration) {
    let (service, reason) = ("payments".to_owned(), "a drill".to_owned());
    let open_duration = Some(cofferdam_core::wire::duration_to_wire(open_for));
    let request = v1::TripBreakerRequest { service, reason, open_duration, ..Default::default() };
    registry.trip_breaker(request).await.unwrap();
}

async fn reset(registry: &Registry) {
    let (service, reason) = ("payments".to_owned(), "it works".to_owned());
    registry.reset_breaker(v1::ResetBreakerRequest { service, reason, ..Default::default() }).await.unwrap();
}

async fn hold(registry: &Registry, forced: v1::ForcedState) {
    let (service, reason) = ("payments".to_owned(), "a drill".to_owned());
    let request = v1::HoldBreakerRequest { service, reason, forced: forced.into(), ..Default::default() };
    registry.hold_breaker(request).await.unwrap();
}

async fn release(registry: &Registry) {
    let (service, reason) = ("payments".to_owned(), "it is over".to_owned());
    registry.release_breaker(v1::ReleaseBreakerRequest { service, reason, ..Default::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_by_the_manager_is_under_what_operators_order() {
    let (registry, executor) = called().await;
    hold(&registry, v1::ForcedState::Open).await;
    assert!(is_open(&registry, &executor).await, "a hold");
    let level = |level: v1::IsolationLevel, ttl: Option<i64>| v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: level.into(),
        ttl: ttl.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    registry.set_level(level(v1::IsolationLevel::None, Some(10))).await.unwrap();
    assert!(!is_open(&registry, &executor).await, "a level without breakers");
    tokio::time::sleep(10 * SECOND).await;
    assert!(is_open(&registry, &executor).await, "it is over");
    release(&registry).await;
    assert!(!is_open(&registry, &executor).await);
    // The registry's own clock stands still.
    registry.set_level(level(v1::IsolationLevel::Full, None)).await.unwrap();
    trip(&registry, 60 * SECOND).await;
    assert!(is_open(&registry, &executor).await, "a trip");
    reset(&registry).await;
    assert!(!is_open(&registry, &executor).await, "a reset");
}

/// They were done with the next call: a trip whose time was long over turned that away, and all for its time.
#[tokio::test(start_paused = true)]
async fn what_operators_order_is_done_when_it_is_given_and_not_with_the_next_call() {
    let (registry, executor) = called().await;
    let instances = Arc::new(Instances::new(1, Duration::ZERO));
    let _keeping = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(keep_up(Arc::clone(&executor), instances)));
    tokio::task::yield_now().await;
    trip(&registry, 5 * SECOND).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&executor), Some(State::Open));
    tokio::time::sleep(11 * SECOND).await;
    assert!(!is_open(&registry, &executor).await, "it is long over");
    // A hold that closes breakers has closed them, though it was released before anybody called.
    trip(&registry, 600 * SECOND).await;
    tokio::time::sleep(SECOND).await;
    hold(&registry, v1::ForcedState::Closed).await;
    tokio::time::sleep(SECOND).await;
    release(&registry).await;
    assert!(!is_open(&registry, &executor).await);
}

/// Half-open for ever, at every manager, after one trial that failed.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_waits_for_nobody_is_no_news_for_ever() {
    let (registry, executor) = called().await;
    let payments = key("default/payments");
    trip(&registry, 5 * SECOND).await;
    executor.catch_up();
    let instances = Instances::new(1, Duration::ZERO);
    let seen = || {
        instances.stand_here(executor.conditions());
        instances.condition(&payments).breaker
    };
    assert_eq!(seen(), Some(State::Open));
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(seen(), Some(State::HalfOpen), "a call may try");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(seen(), None, "nobody has");
    assert!(!is_open(&registry, &executor).await);
    assert!(seen().is_some(), "it is called again");
}

/// Instances had it put back, managers handed it out no more, and went by it themselves.
#[tokio::test(start_paused = true)]
async fn a_contained_policy_is_not_gone_by_either() {
    let (registry, executor) = called().await;
    let payments = key("default/payments");
    let level = |executor: &Executor| {
        let isolation = executor.isolation(&registry.get(&payments).unwrap());
        (isolation.in_force().policy.level, isolation.in_force().revision)
    };
    let before = level(&executor);
    let enhanced = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: v1::IsolationLevel::Enhanced.into(),
        ..Default::default()
    };
    registry.set_level(enhanced).await.unwrap();
    let poison = registry.get(&payments).unwrap().revision();
    assert_eq!(level(&executor), (Level::Enhanced, Some(poison)));
    assert!(registry.contain(&payments, poison, "no".to_owned()));
    executor.catch_up();
    assert_eq!(level(&executor), before);
    let later = Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new()));
    assert_eq!(level(&later), before);
    // The next change ends it.
    hold(&registry, v1::ForcedState::Open).await;
    assert_eq!(level(&executor), before, "an order is no change of the policy");
    assert!(is_open(&registry, &executor).await);
}
