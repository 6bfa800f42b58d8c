//! Policies and services as operators write and read them.

use cofferdam_proto::v1::circuit_breaker_policy::Window;
use cofferdam_proto::v1::{
    CircuitBreakerPolicy, GetIsolationStatsRequest, GetServiceIsolationInfoRequest, IsolatedService, IsolationLevel,
    IsolationPolicy, ListIsolatedServicesRequest, RegisterServiceRequest, RetryPolicy, Service, TimeoutPolicy,
};
use cofferdam_tests::wire::{fallback, position, registration, revision, seconds, static_json};
use cofferdam_tests::{Client, Manager, Store, wire};

async fn manager() -> (Manager, Client) {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    (manager, client)
}

fn preset(name: &str) -> RegisterServiceRequest {
    let policy = IsolationPolicy { preset: name.into(), ..IsolationPolicy::default() };
    RegisterServiceRequest { service: Some(wire::service(name)), policy: Some(policy), ..Default::default() }
}

fn breaker(service: &IsolatedService) -> &CircuitBreakerPolicy {
    service.policy.as_ref().unwrap().circuit_breaker.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presets_are_names_that_the_manager_expands() {
    let (_manager, client) = manager().await;
    let flask = client.register(preset("flask-module")).await.unwrap();
    let policy = breaker(&flask);
    assert_eq!((policy.consecutive_failures, policy.open_duration), (Some(5), Some(seconds(60))));
    assert_eq!(policy.success_threshold, Some(2));
    for (name, failures, open, window, volume) in
        [("database", 3, 15, 30, 5), ("cache", 5, 10, 60, 10), ("auth", 3, 20, 30, 5), ("external-api", 5, 30, 60, 10)]
    {
        let service = client.register(preset(name)).await.unwrap();
        let policy = breaker(&service);
        assert_eq!((policy.failure_count, policy.minimum_calls), (Some(failures), Some(volume)), "{name}");
        assert_eq!(policy.open_duration, Some(seconds(open)), "{name}");
        let Some(Window::TimeWindow(shape)) = &policy.window else { panic!("{name}: {policy:?}") };
        assert_eq!(shape.length, Some(seconds(window)), "{name}");
        assert_eq!(service.policy.as_ref().unwrap().level(), IsolationLevel::Enhanced, "{name}");
        assert_eq!(service.written_policy.unwrap().circuit_breaker, None, "{name}: nobody wrote the numbers");
    }
    for name in ["stripe", "node-db"] {
        client.register(preset(name)).await.unwrap();
    }

    // What is written wins over the preset, and the rest stays the preset's.
    let own = CircuitBreakerPolicy { open_duration: Some(seconds(7)), ..CircuitBreakerPolicy::default() };
    let own = IsolationPolicy { circuit_breaker: Some(own), ..IsolationPolicy::default() };
    let updated = client.update_policy("database", own, &["circuit_breaker.open_duration"]).await.unwrap();
    assert_eq!((breaker(&updated).open_duration, breaker(&updated).failure_count), (Some(seconds(7)), Some(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_level_leaves_out_is_kept_and_told() {
    let (_manager, client) = manager().await;
    let policy = IsolationPolicy {
        retry: Some(RetryPolicy { max_attempts: Some(7), ..RetryPolicy::default() }),
        timeout: Some(TimeoutPolicy { call_timeout: Some(seconds(9)), ..TimeoutPolicy::default() }),
        ..IsolationPolicy::default()
    };
    let request = registration("orders", IsolationLevel::Basic);
    client.register(RegisterServiceRequest { policy: Some(policy), ..request }).await.unwrap();
    let info = client.info("orders").await.unwrap();
    assert!(info.inactive_fields.iter().any(|path| path.starts_with("retry")), "{:?}", info.inactive_fields);
    assert!(!info.inactive_fields.iter().any(|path| path.starts_with("timeout")), "{:?}", info.inactive_fields);

    for level in [IsolationLevel::None, IsolationLevel::Full, IsolationLevel::Enhanced] {
        let service = client.set_level("orders", level).await.unwrap();
        let policy = service.policy.unwrap();
        assert_eq!(policy.level(), level);
        assert_eq!(policy.retry.unwrap().max_attempts, Some(7), "a level changes no number");
    }
    assert_eq!(client.info("orders").await.unwrap().inactive_fields, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_again_changes_what_is_said_and_keeps_what_is_not() {
    let (_manager, client) = manager().await;
    let request = RegisterServiceRequest {
        fallback: Some(fallback([static_json("{}")])),
        ..registration("orders", IsolationLevel::Enhanced)
    };
    let first = client.register_service(request.clone()).await.unwrap();
    let again = client.register_service(request).await.unwrap();
    assert!(first.created && !again.created);
    let first = first.service.unwrap();
    assert_eq!(again.service.unwrap().revision, first.revision, "nothing new was said");

    let service = Service { version: "1.1.0".into(), ..wire::service("orders") };
    let bare = RegisterServiceRequest { service: Some(service), ..RegisterServiceRequest::default() };
    let updated = client.register(bare).await.unwrap();
    assert!(position(revision(Some(&updated))) > position(revision(Some(&first))));
    assert_eq!(updated.service.unwrap().version, "1.1.0");
    assert_eq!(updated.policy, first.policy, "level and fallback stay");
    assert_eq!(updated.policy_hash, first.policy_hash);
    assert_eq!(updated.create_time, first.create_time);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_a_service_is_at_basic() {
    let (_manager, client) = manager().await;
    let service = client.register(registration("orders", IsolationLevel::Unspecified)).await.unwrap();
    assert_eq!(service.policy.unwrap().level(), IsolationLevel::Basic);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_keep_services_of_one_name_apart() {
    let (_manager, client) = manager().await;
    for (namespace, level) in [("", IsolationLevel::Basic), ("staging", IsolationLevel::Full)] {
        let service = Service { namespace: namespace.into(), ..wire::service("orders") };
        let request = RegisterServiceRequest { service: Some(service), ..registration("orders", level) };
        client.register(request).await.unwrap();
    }
    let level = async |namespace: &str| {
        let request = GetServiceIsolationInfoRequest { namespace: namespace.into(), service: "orders".into() };
        let info = client.get_service_isolation_info(request).await.unwrap();
        info.service.unwrap().policy.unwrap().level()
    };
    assert_eq!(level("").await, IsolationLevel::Basic);
    assert_eq!(level("default").await, IsolationLevel::Basic);
    assert_eq!(level("staging").await, IsolationLevel::Full);

    let listed = async |namespace: &str| {
        let request = ListIsolatedServicesRequest { namespace: namespace.into(), ..Default::default() };
        let services = client.list_isolated_services(request).await.unwrap().services;
        let namespaces = services.into_iter().map(|service| service.service.unwrap().namespace);
        namespaces.collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["default"]);
    assert_eq!(listed("staging").await, ["staging"]);
    assert_eq!(listed("*").await, ["default", "staging"]);

    let totals = async |namespace: &str| {
        let request =
            GetIsolationStatsRequest { namespace: namespace.into(), include_services: true, ..Default::default() };
        let stats = client.get_isolation_stats(request).await.unwrap();
        (stats.totals["total_services"], stats.totals["full_isolation"], stats.services.len())
    };
    assert_eq!(totals("").await, (2, 1, 2), "all namespaces");
    assert_eq!(totals("default").await, (1, 0, 1));
    assert_eq!(totals("staging").await, (1, 1, 1));
}
