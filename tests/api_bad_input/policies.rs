//! Numbers, durations and fields of a policy.

use super::{Bench, breaker, retry, timeout};
use cofferdam_proto::v1::{
    BulkheadPolicy, BulkheadPool, CachedFallback, CircuitBreakerPolicy, FallbackConfig, FallbackStep, HealthPolicy,
    HealthStatus, IsolationLevel, IsolationPolicy, ListIsolatedServicesRequest, RetryPolicy, SetIsolationLevelRequest,
    UpdateFallbackConfigRequest, UpdateIsolationPolicyRequest, UpdateServiceHealthRequest,
};
use cofferdam_tests::wire;
use cofferdam_tests::wire::{fallback, seconds};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durations_that_are_negative_malformed_or_absurd_are_refused() {
    let bench = Bench::new().await;
    let duration = |seconds, nanos| prost_types::Duration { seconds, nanos };
    let absurd = [
        ("negative", duration(-1, 0)),
        ("slightly negative", duration(0, -1)),
        ("over a day", duration(86_401, 0)),
        ("as long as can be", duration(i64::MAX, 999_999_999)),
        ("as negative as can be", duration(i64::MIN, -999_999_999)),
        ("too many nanos", duration(1, 1_000_000_000)),
        ("of two signs", duration(1, -1)),
    ];
    for (what, bad) in absurd {
        bench.refuses_policy(what, timeout(bad), "policy.timeout.call_timeout").await;
        let open = CircuitBreakerPolicy { open_duration: Some(bad), ..CircuitBreakerPolicy::default() };
        let updated = bench.client.update_policy("payments", breaker(open), &[]).await;
        assert!(updated.unwrap_err().fields.contains(&"policy.circuit_breaker.open_duration".to_owned()), "{what}");
        let delay = FallbackConfig { retry_delay: Some(bad), ..FallbackConfig::default() };
        bench.refuses_fallback(what, delay, "fallback.retry_delay").await;
        let all = FallbackConfig { timeout: Some(bad), ..FallbackConfig::default() };
        bench.refuses_fallback(what, all, "fallback.timeout").await;
        let ttl = CachedFallback { ttl: Some(bad), ..CachedFallback::default() };
        let chain = fallback([wire::Strategy::Cached(ttl)]);
        bench.refuses_fallback(what, chain, "fallback.chain[0].cached.ttl").await;
    }
    bench.refuses_policy("under a millisecond", timeout(duration(0, 999_999)), "policy.timeout.call_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_and_numbers_out_of_range_are_refused() {
    let bench = Bench::new().await;
    for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let failure_rate = CircuitBreakerPolicy { failure_rate: Some(rate), ..CircuitBreakerPolicy::default() };
        bench.refuses_policy("failure rate", breaker(failure_rate), "policy.circuit_breaker.failure_rate").await;
    }
    let c = CircuitBreakerPolicy::default;
    for (what, policy, field) in [
        ("failures", CircuitBreakerPolicy { consecutive_failures: Some(1024), ..c() }, "consecutive_failures"),
        ("successes", CircuitBreakerPolicy { success_threshold: Some(0), ..c() }, "success_threshold"),
        ("backoff", CircuitBreakerPolicy { open_backoff_multiplier: Some(0.9), ..c() }, "open_backoff_multiplier"),
    ] {
        bench.refuses_policy(what, breaker(policy), &format!("policy.circuit_breaker.{field}")).await;
    }
    for attempts in [0, 11, u32::MAX] {
        let policy = retry(RetryPolicy { max_attempts: Some(attempts), ..RetryPolicy::default() });
        bench.refuses_policy("attempts", policy, "policy.retry.max_attempts").await;
    }
    for retries in [10, u32::MAX] {
        let config = FallbackConfig { max_retries: Some(retries), ..FallbackConfig::default() };
        bench.refuses_fallback("retries", config, "fallback.max_retries").await;
    }
    let codes = retry(RetryPolicy { retryable_grpc_codes: vec![17], ..RetryPolicy::default() });
    bench.refuses_policy("status code", codes, "policy.retry.retryable_grpc_codes").await;
    let bulkhead = BulkheadPolicy { max_concurrent: Some(0), ..BulkheadPolicy::default() };
    let policy = IsolationPolicy { bulkhead: Some(bulkhead), ..IsolationPolicy::default() };
    bench.refuses_policy("no places", policy, "policy.bulkhead.max_concurrent").await;
    let twins = ["readPool", "readPool"].map(|name| BulkheadPool { name: name.into(), ..BulkheadPool::default() });
    let bulkhead = BulkheadPolicy { pools: twins.into(), ..BulkheadPolicy::default() };
    let policy = IsolationPolicy { bulkhead: Some(bulkhead), ..IsolationPolicy::default() };
    bench.refuses_policy("twin pools", policy, "policy.bulkhead.pools[1].name").await;
    let health =
        HealthPolicy { degraded_error_rate: Some(0.5), unhealthy_error_rate: Some(0.4), ..HealthPolicy::default() };
    let policy = IsolationPolicy { health: Some(health), ..IsolationPolicy::default() };
    bench.refuses_policy("unordered rates", policy, "policy.health.unhealthy_error_rate").await;
    let policy = IsolationPolicy { preset: "postgres".into(), ..IsolationPolicy::default() };
    bench.refuses_policy("unknown preset", policy, "policy.preset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unspecified_and_unknown_enums_are_refused_where_they_would_decide() {
    let bench = Bench::new().await;
    let unspecified = bench.client.set_level("payments", IsolationLevel::Unspecified).await;
    bench.refuses("unspecified level", unspecified, "level").await;
    let unknown = SetIsolationLevelRequest { service: "payments".into(), level: 99, ..Default::default() };
    bench.refuses("unknown level", bench.client.set_isolation_level(unknown).await, "level").await;
    for status in [HealthStatus::Unspecified, HealthStatus::CircuitOpen] {
        let reported = bench.client.report_health("payments", status, "").await;
        bench.refuses("health status", reported, "health.status").await;
    }
    let no_health = UpdateServiceHealthRequest { service: "payments".into(), ..Default::default() };
    bench.refuses("no health", bench.client.update_service_health(no_health).await, "health").await;
    let request = UpdateFallbackConfigRequest { service: "payments".into(), ..Default::default() };
    bench.refuses("no fallback", bench.client.update_fallback_config(request).await, "fallback").await;
    let request = UpdateIsolationPolicyRequest { service: "payments".into(), ..Default::default() };
    bench.refuses("no policy", bench.client.update_isolation_policy(request).await, "policy").await;
    let empty_step = FallbackConfig { chain: vec![FallbackStep { strategy: None }], ..FallbackConfig::default() };
    let refusal = bench.client.update_fallback("payments", empty_step).await.unwrap_err();
    assert_eq!(refusal.code, Code::InvalidArgument, "{refusal:?}");
    assert!(refusal.fields[0].starts_with("fallback.chain[0]"), "{refusal:?}");
    for paths in [&["retry.max_attemtps"][..], &["*", "retry"], &["retry.budget.nothing"]] {
        let updated = bench.client.update_policy("payments", IsolationPolicy::default(), paths).await;
        bench.refuses("update mask", updated, "update_mask").await;
    }
    let page = ListIsolatedServicesRequest { page_size: -1, ..Default::default() };
    bench.refuses("page size", bench.client.list_isolated_services(page).await, "page_size").await;
    let page = ListIsolatedServicesRequest { page_token: "nonsense".into(), ..Default::default() };
    bench.refuses("page token", bench.client.list_isolated_services(page).await, "page_token").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_at_fault_is_named_at_once() {
    let bench = Bench::new().await;
    let policy = IsolationPolicy {
        timeout: timeout(seconds(-1)).timeout,
        retry: Some(RetryPolicy { max_attempts: Some(0), multiplier: Some(100.0), ..RetryPolicy::default() }),
        ..IsolationPolicy::default()
    };
    let refusal = bench.client.update_policy("payments", policy, &[]).await.unwrap_err();
    let fields = ["policy.timeout.call_timeout", "policy.retry.max_attempts", "policy.retry.multiplier"];
    assert_eq!(refusal.fields, fields, "{refusal:?}");
}
