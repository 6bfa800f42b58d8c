//! The pools and breakers of the learning platform that Cofferdam was made to replace, with its own names and values: one
//! database, whose reads, writes and sign-ins are apart.

use cofferdam::{BreakerState, Cofferdam, Error, HealthStatus, Part, Service};
use cofferdam_proto::v1::{
    self, BulkheadPolicy, BulkheadPool, CircuitBreakerPolicy, FallbackPolicy, IsolatedService, IsolationLevel,
    IsolationPolicy, MethodOverride, RegisterServiceRequest, RetryPolicy, TimeWindow, circuit_breaker_policy::Window,
};
use cofferdam_tests::wire::{registration, seconds, static_json};
use cofferdam_tests::{Client, Manager, Store, eventually, wire};
use std::io;

/// Signing in opens after 3 failures for 20 s, and its users are told so: there is nothing to fall back on.
fn sign_in() -> MethodOverride {
    let breaker = CircuitBreakerPolicy { open_duration: Some(seconds(20)), ..CircuitBreakerPolicy::default() };
    let policy = IsolationPolicy {
        circuit_breaker: Some(breaker),
        fallback: Some(FallbackPolicy { enabled: Some(false), ..FallbackPolicy::default() }),
        ..IsolationPolicy::default()
    };
    MethodOverride { glob: "auth.*".into(), idempotent: Some(false), policy: Some(policy) }
}

/// The database: 3 failures among at least 5 calls in 30 s open for 15 s, one breaker for each pool, and static data in
/// the place of what cannot be read.
fn database() -> IsolationPolicy {
    let pool = |name: &str| BulkheadPool { name: name.into(), isolate_breaker: true, ..BulkheadPool::default() };
    let pools = ["readPool", "writePool", "authPool"].map(pool).to_vec();
    let step = v1::FallbackStep { strategy: Some(static_json("[]")) };
    IsolationPolicy {
        preset: "database".into(),
        retry: Some(RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() }),
        bulkhead: Some(BulkheadPolicy { pools, ..BulkheadPolicy::default() }),
        fallback: Some(FallbackPolicy { chain: vec![step], ..FallbackPolicy::default() }),
        method_overrides: vec![sign_in()],
        ..IsolationPolicy::default()
    }
}

async fn register(client: &Client) -> IsolatedService {
    let request = RegisterServiceRequest { policy: Some(database()), ..registration("database", IsolationLevel::Full) };
    client.register(request).await.unwrap()
}

/// The numbers of a breaker: window, volume, failures, open time.
fn numbers(policy: &IsolationPolicy) -> (Option<Window>, Option<u32>, Option<u32>, Option<prost_types::Duration>) {
    let breaker = policy.circuit_breaker.as_ref().unwrap();
    (breaker.window, breaker.minimum_calls, breaker.failure_count, breaker.open_duration)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_its_values_are_in_force_as_they_were() {
    let manager = Manager::start(Store::Memory).await;
    let service = register(&manager.client()).await;
    let policy = service.policy.as_ref().unwrap();
    let window = Some(Window::TimeWindow(TimeWindow { length: Some(seconds(30)), buckets: 10 }));
    assert_eq!(numbers(policy), (window, Some(5), Some(3), Some(seconds(15))));
    let own = policy.method_overrides[0].policy.as_ref().unwrap();
    assert_eq!(numbers(own), (window, Some(5), Some(3), Some(seconds(20))), "what it leaves unset is the preset's");
    assert_eq!(own.fallback.as_ref().unwrap().enabled, Some(false));
    assert!(own.retry.is_none() && own.bulkhead.is_none() && own.timeout.is_none(), "inherited");
    let pools = &policy.bulkhead.as_ref().unwrap().pools;
    assert!(pools.iter().all(|pool| pool.isolate_breaker), "{pools:?}");
}

/// Makes a call that is to fail; true where the database was asked.
async fn fails(database: &Service, pool: &str, method: &str) -> bool {
    let down = || async { Err::<String, _>(io::Error::from(io::ErrorKind::TimedOut)) };
    match database.execute(method, down).pool(pool).await {
        Err(Error::Inner(_)) => true,
        Err(Error::Open { .. }) => false,
        other => panic!("{other:?}"),
    }
}

async fn works(database: &Service, pool: &str, method: &str) {
    let up = || async { Ok::<_, io::Error>("rows".to_owned()) };
    assert_eq!(database.execute(method, up).pool(pool).await.unwrap(), "rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_e9_e14_reads_that_fail_leave_writes_and_sign_ins_alone() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    register(&client).await;
    let cofferdam = Cofferdam::builder("learn").manager(manager.url()).start();
    let database = cofferdam.service("database");
    eventually("the policy", async || database.revision().ok_or("none yet")).await;

    for call in 0..5 {
        assert!(fails(&database, "readPool", "query").await, "call {call}: 3 failures, but not 5 calls");
    }
    assert!(!fails(&database, "readPool", "query").await);
    works(&database, "writePool", "insert").await;
    for _ in 0..5 {
        assert!(fails(&database, "authPool", "auth.login").await, "a breaker of its own, not yet open");
    }
    assert!(!fails(&database, "authPool", "auth.login").await);
    works(&database, "authPool", "sessions").await;
    works(&database, "none of them", "query").await;

    let part = |part, state| (part, state);
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    let expected = [
        part(Part::Service, closed),
        part(Part::Pool("readPool".into()), open),
        part(Part::Pool("writePool".into()), closed),
        part(Part::Pool("authPool".into()), closed),
        part(Part::Methods("auth.*".into()), open),
    ];
    assert_eq!(database.breaker_states(), expected);
    assert!(database.health() >= HealthStatus::Degraded && database.health() < HealthStatus::CircuitOpen);

    // Operators see the same.
    let row = |pool: &str, method_glob: &str, open_instances| v1::BreakerStats {
        pool: pool.into(),
        method_glob: method_glob.into(),
        open_instances,
        half_open_instances: 0,
        state: if open_instances > 0 { v1::BreakerState::Open } else { v1::BreakerState::Closed }.into(),
    };
    let rows = [row("readPool", "", 1), row("writePool", "", 0), row("authPool", "", 0), row("", "auth.*", 1)];
    eventually("the breakers in the manager's figures", async || {
        let stats = client.info("database").await.unwrap().stats.unwrap();
        if stats.breakers == rows { Ok(()) } else { Err(stats.breakers) }
    })
    .await;

    // A policy that keeps the pools and the override keeps what they learned.
    let timeout = v1::TimeoutPolicy { call_timeout: Some(seconds(3)), ..v1::TimeoutPolicy::default() };
    let policy = IsolationPolicy { timeout: Some(timeout), ..IsolationPolicy::default() };
    let newest = wire::revision(Some(&client.update_policy("database", policy, &[]).await.unwrap()));
    eventually("the newest policy", async || match database.revision() {
        Some(seen) if (seen.epoch, seen.revision) == wire::position(newest) => Ok(()),
        seen => Err(seen),
    })
    .await;
    assert_eq!(database.breaker_states(), expected);
    assert!(!fails(&database, "readPool", "query").await);
}
