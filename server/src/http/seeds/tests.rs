//! The shapes, held to the files in `golden/`. `COFFERDAM_REGENERATE=1` writes them anew.

use super::{module::State, *};
use crate::{
    http::tests::{ask, get},
    registry::RegistryOptions,
    testing::{EPOCH, Manager, fallback, registration, static_step},
};
use cofferdam_core::time::WallTime;
use std::{path::Path, time::Duration};

/// Services as the seeds have them: the TypeScript backend's three, one of which has a breaker for each of two pools.
fn services() -> Vec<Module> {
    let module = |name: &str, failures, successes| Module {
        name: name.to_owned(),
        purpose: format!("what {name} is for"),
        dependencies: vec![],
        is_enabled: true,
        status: v1::HealthStatus::Healthy,
        message: String::new(),
        state: State::Closed,
        own: State::Closed,
        breakers: vec![],
        failures,
        successes,
        period: Duration::from_millis(90_500),
        has_fallback: true,
        has_breaker: true,
    };
    let auth =
        Module { dependencies: vec![("database".to_owned(), false)], has_fallback: false, ..module("auth", 0, 45) };
    let status = v1::HealthStatus::Degraded;
    let cache = Module { status, message: "High latency detected".to_owned(), ..module("cache", 2, 98) };
    let breakers = vec![("readPool".to_owned(), State::Closed), ("s3".to_owned(), State::HalfOpen)];
    let (status, state) = (v1::HealthStatus::CircuitOpen, State::Open);
    let database = Module { status, state, own: state, breakers, ..module("database", 3, 150) };
    vec![auth, cache, database]
}

fn is_golden(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/seeds/golden").join(format!("{name}.json"));
    if std::env::var_os("COFFERDAM_REGENERATE").is_some() {
        let text = serde_json::to_string_pretty(value).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(golden, *value, "{}", path.display());
}

#[test]
fn a7_b9_b10_e11_each_shape_is_the_seeds() {
    let (all, now) = (services(), shapes::rfc_3339(WallTime::after_1970(Duration::from_secs(1_705_314_600))));
    assert_eq!(now, "2024-01-15T10:30:00Z");
    is_golden("health_modules", &shapes::modules(&all, &now));
    is_golden("health_module", &shapes::module(&all[2], &now));
    is_golden("modules_status", &shapes::system(&all, &now));
    is_golden("health", &shapes::application(&all, &now));
    is_golden("api_health", &shapes::backend(&all, &now));
    is_golden("api_service_health", &shapes::service(&all[2], &now));
    let dependencies = [("database".to_owned(), Some(v1::HealthStatus::CircuitOpen)), ("mail".to_owned(), None)];
    is_golden("module_reset", &shapes::module_reset("auth", &now));
    is_golden("circuit_breaker_trip", &shapes::commanded("auth", "", "trip", &now));
    is_golden("circuit_breaker_reset", &shapes::commanded("listings", "s3", "reset", &now));
    let names = ["auth".to_owned(), "cache".to_owned()];
    is_golden("reset_circuit_breakers", &shapes::all_reset(&names, &[], &now));
    let failed = [("database".to_owned(), "the store is away".to_owned())];
    is_golden("reset_circuit_breakers_failed", &shapes::all_reset(&names, &failed, &now));
    is_golden("module_health", &shapes::check(&all[0], &dependencies, &now));
    let well = [Module { failures: 0, ..services().remove(0) }];
    assert_eq!(shapes::backend(&well, &now)["message"], "All systems operational");
    assert_eq!(shapes::backend(&[], &now)["status"], "healthy");
}

#[test]
fn two_of_a_hundred_are_two_percent() {
    let of = |failures, successes| Module { failures, successes, ..services().remove(0) }.failure_percent();
    assert_eq!([of(2, 98), of(0, 0), of(1, 2), of(u64::MAX, 1)], [2.0, 0.0, 33.3, 100.0]);
}

#[test]
fn a_pool_and_a_method_of_one_name_are_the_worse_of_the_two() {
    let (open, closed) = (("a".to_owned(), State::Open), ("a".to_owned(), State::Closed));
    for breakers in [vec![open.clone(), closed.clone()], vec![closed, open]] {
        let one = Module { breakers, ..services().remove(0) };
        assert_eq!(shapes::service(&one, "")["circuitBreakers"]["a"]["state"], "OPEN");
    }
}

/// The service's own breaker was shown as open because that of a pool was.
#[test]
fn a_service_is_not_its_worst_pool() {
    let breakers = vec![("readPool".to_owned(), State::Open)];
    let one = Module { state: State::Open, own: State::Closed, breakers, ..services().remove(0) };
    let said = shapes::service(&one, "");
    assert_eq!((&said["circuitBreaker"]["state"], &said["status"]), (&"CLOSED".into(), &"degraded".into()));
    assert_eq!(said["circuitBreakers"], json!({"readPool": {"state": "OPEN"}}));
    // Where there is one word for all of them, it is the least good.
    assert_eq!(shapes::backend(&[one], "")["services"]["auth"]["state"], "OPEN");
}

#[test]
fn a_small_share_of_failures_is_not_none() {
    let of = |failures, successes| {
        let one = Module { failures, successes, ..services().remove(0) };
        shapes::module(&one, "")["error_rate"].to_string()
    };
    assert_eq!([of(1, 9_999), of(1, 2), of(0, 0)], ["0.0001", "0.3333", "0.0"]);
}

#[tokio::test]
async fn a_fallback_that_is_not_in_force_is_no_fallback_data() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let level = v1::IsolationLevel::None.into();
    let plain = v1::RegisterServiceRequest {
        fallback: Some(fallback(vec![static_step(b"0")])),
        level,
        ..registration("plain")
    };
    client.register_service(plain).await.unwrap();
    let said = get(&manager, "/api/health").await.json();
    let enabled = get(&manager, "/v1/stats").await.json()["stats"]["counts"]["fallback_enabled"].clone();
    assert_eq!(said["fallbackData"]["plain"], false, "{enabled}");
}

#[tokio::test]
async fn they_tell_of_the_services_that_are_registered() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let mut wallet = registration("wallet_module");
    let needs = |service: &str| v1::Dependency { service: service.to_owned(), kind: 0 };
    wallet.service.as_mut().unwrap().dependencies = vec![needs("connection_api"), needs("user_management")];
    wallet.fallback = Some(fallback(vec![static_step(b"0")]));
    client.register_service(wallet).await.unwrap();
    client.register_service(registration("connection_api")).await.unwrap();
    let status = v1::HealthStatus::Unhealthy.into();
    let health = Some(v1::ServiceHealth { status, message: "database is away".to_owned(), observe_time: None });
    let report = v1::UpdateServiceHealthRequest { service: "connection_api".to_owned(), health, ..Default::default() };
    client.update_service_health(report).await.unwrap();

    let modules = get(&manager, "/health/modules").await.json();
    assert_eq!((&modules["status"], &modules["total"]), (&"UNHEALTHY".into(), &2.into()));
    assert_eq!(modules["modules"]["connection_api"]["message"], "database is away");
    let check = get(&manager, "/modules/wallet_module/health").await.json();
    assert_eq!((&check["status"], &check["module"]), (&"healthy".into(), &"wallet_module".into()));
    assert_eq!(check["dependencies"], serde_json::json!({"connection_api": "unhealthy", "user_management": "unknown"}));
    assert_eq!(get(&manager, "/health/modules/wallet_module").await.json()["status"], "HEALTHY");
    assert_eq!(get(&manager, "/health").await.json()["modules"]["connection_api"], "unhealthy");
    assert_eq!(get(&manager, "/modules/status").await.json()["healthy_modules"], 1);
    let backend = get(&manager, "/api/health").await.json();
    let timestamp = shapes::rfc_3339(WallTime::after_1970(Duration::from_millis(EPOCH)));
    assert_eq!((&backend["status"], &backend["timestamp"]), (&"degraded".into(), &timestamp.into()));
    assert_eq!(backend["fallbackData"], serde_json::json!({"connection_api": false, "wallet_module": true}));
    assert_eq!(get(&manager, "/api/wallet_module/health").await.json()["circuitBreaker"]["state"], "CLOSED");

    for path in ["/health/modules/nobody", "/modules/nobody/health", "/api/nobody/health"] {
        let said = get(&manager, path).await;
        assert_eq!((said.status, said.json()["reason"].as_str()), (404, Some("SERVICE_NOT_FOUND")), "{path}");
    }
    assert_eq!(get(&manager, "/health/modules?namespace=other").await.json()["total"], 0);
    assert_eq!(get(&manager, "/health/modules?namespce=other").await.status, 400);
}

#[tokio::test]
async fn breakers_are_tripped_and_reset_by_the_paths_that_people_know() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let pool = v1::BulkheadPool { name: "s3".to_owned(), isolate_breaker: true, ..v1::BulkheadPool::default() };
    let policy = v1::IsolationPolicy {
        level: v1::IsolationLevel::Full.into(),
        bulkhead: Some(v1::BulkheadPolicy { pools: vec![pool], ..v1::BulkheadPolicy::default() }),
        ..v1::IsolationPolicy::default()
    };
    for name in ["auth", "listings"] {
        let full = v1::RegisterServiceRequest { policy: Some(policy.clone()), ..registration(name) };
        client.register_service(full).await.unwrap();
    }
    client.register_service(registration("mail")).await.unwrap();
    let commands = async |service: &str| {
        let info = v1::GetServiceIsolationInfoRequest { service: service.to_owned(), ..Default::default() };
        let info = manager.client().await.get_service_isolation_info(info).await.unwrap().into_inner();
        let history = v1::ListRevisionsRequest { service: service.to_owned(), ..Default::default() };
        let history = manager.client().await.list_revisions(history).await.unwrap().into_inner().revisions;
        (info.service.unwrap().revision.unwrap(), history)
    };
    let post = async |path: &str| ask(&manager, &format!("POST {path}"), &[], "").await;

    let said = post("/api/auth/circuit-breaker/trip").await;
    assert_eq!((said.status, &said.json()["action"], &said.json()["success"]), (200, &"trip".into(), &true.into()));
    let (_, history) = commands("auth").await;
    assert_eq!(history[0].kind(), v1::ChangeKind::Tripped);
    assert_eq!(history[0].reason, "POST /api/auth/circuit-breaker/trip");
    assert_eq!(post("/api/auth/circuit-breaker/reset").await.status, 200);
    assert_eq!(commands("auth").await.1[0].kind(), v1::ChangeKind::Reset);
    let said = post("/api/listings/circuit-breaker/s3/trip").await;
    assert_eq!((said.status, &said.json()["circuitBreaker"]), (200, &"s3".into()));
    assert_eq!(post("/api/listings/circuit-breaker/listings/reset").await.status, 200, "its own name is all of them");
    let said = post("/api/listings/circuit-breaker/database/trip").await;
    let detail = said.json()["detail"].clone();
    assert_eq!((said.status, detail.as_str()), (404, Some("listings has no breaker database: it has s3")));
    assert_eq!(post("/api/nobody/circuit-breaker/trip").await.json()["reason"], "SERVICE_NOT_FOUND");

    let status = v1::HealthStatus::Unhealthy.into();
    let health = Some(v1::ServiceHealth { status, ..Default::default() });
    let report = v1::UpdateServiceHealthRequest { service: "auth".to_owned(), health, ..Default::default() };
    client.update_service_health(report).await.unwrap();
    let said = post("/health/modules/auth/reset").await;
    assert_eq!((said.status, &said.json()["module"]), (200, &"auth".into()));
    assert_eq!(get(&manager, "/health/modules/auth").await.json()["status"], "HEALTHY", "the report is forgotten");

    let line = "POST /api/admin/reset-circuit-breakers";
    let key = [("idempotency-key", "once")];
    let said = ask(&manager, line, &key, "").await;
    assert_eq!((said.status, &said.json()["services"]), (200, &serde_json::json!(["auth", "listings"])));
    let before = commands("auth").await.0;
    assert_eq!(ask(&manager, line, &key, "").await.status, 200);
    assert_eq!(commands("auth").await.0, before, "a repetition does nothing");

    let page = [("origin", "https://evil.example")];
    assert_eq!(ask(&manager, line, &page, "").await.status, 403);
    assert_eq!(ask(&manager, "POST /api/auth/circuit-breaker/trip", &page, "").await.status, 403);
    // It was not looked at, and the breaker opened whatever the revision.
    let condition = [("if-match", "\"1-1\"")];
    let refused = ask(&manager, "POST /api/auth/circuit-breaker/trip", &condition, "").await;
    assert_eq!((refused.status, &refused.json()["violations"][0]["field"]), (400, &serde_json::json!("if-match")));
    assert_eq!(ask(&manager, line, &[], "{}").await.status, 400, "nothing is ignored");
    assert_eq!(ask(&manager, "GET /api/admin/reset-circuit-breakers", &[], "").await.status, 405);
}

/// So many services with a breaker.
async fn many(count: usize) -> Manager {
    let manager = Manager::start().await;
    for number in 0..count {
        let full = v1::RegisterServiceRequest {
            level: v1::IsolationLevel::Full.into(),
            ..registration(&format!("s-{number}"))
        };
        manager.registry.register(full).await.unwrap();
    }
    manager
}

/// Resets all breakers: how many were reset, why the others were not, and how long it took.
async fn reset_all(manager: &Manager) -> (usize, Vec<String>, Duration) {
    let before = tokio::time::Instant::now();
    let said = ask(manager, "POST /api/admin/reset-circuit-breakers", &[], "").await;
    let (took, said) = (before.elapsed(), said.json());
    let failures = said["failures"].as_object().unwrap().values();
    let failures: Vec<_> = failures.map(|why| why.as_str().unwrap().to_owned()).collect();
    assert_eq!(said["success"], failures.is_empty());
    (said["services"].as_array().unwrap().len(), failures, took)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for_once_and_not_for_each_service() {
    let (manager, timeout) = (many(200).await, RegistryOptions::default().store_timeout);
    manager.store.set_delay(timeout * 2);
    let (done, failures, took) = reset_all(&manager).await;
    assert_eq!((done, failures.len()), (0, 200), "all of them are named");
    assert!(failures.iter().any(|why| why.contains("went away before its turn")), "{failures:?}");
    assert!(took < timeout * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_has_one_time_for_all_services() {
    let (manager, timeout) = (many(600).await, RegistryOptions::default().store_timeout);
    manager.store.set_delay(timeout * 9 / 10);
    let (done, failures, took) = reset_all(&manager).await;
    assert!(done > 0 && done + failures.len() == 600, "{done} and {}", failures.len());
    assert!(failures.iter().all(|why| why.contains("took too long")), "{failures:?}");
    assert!(took < writes::BEGUN_WITHIN + timeout, "{took:?}");
    manager.store.set_delay(Duration::ZERO);
    assert_eq!(reset_all(&manager).await.0, 600);
}
