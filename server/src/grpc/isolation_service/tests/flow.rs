//! The manager's main use, with the names and values of the system that it was made to replace.

use cofferdam_proto::v1::{self, fallback_step::Strategy};

use crate::testing::Manager;

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn config(strategy: Strategy, max_retries: u32, retry_delay: i64, timeout: i64) -> v1::FallbackConfig {
    v1::FallbackConfig {
        enabled: Some(true),
        chain: vec![v1::FallbackStep { strategy: Some(strategy) }],
        max_retries: Some(max_retries),
        retry_delay: seconds(retry_delay),
        timeout: seconds(timeout),
        circuit_breaker: None,
    }
}

#[tokio::test]
async fn register_degrade_raise_reconfigure_and_count() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let payload = br#"{"default_response":"fallback data"}"#.as_slice().into();
    let fallback_data = v1::StaticFallback { payload, content_type: "application/json".to_owned() };
    let registered = client
        .register_service(v1::RegisterServiceRequest {
            service: Some(v1::Service {
                name: "test-service".to_owned(),
                version: "1.0.0".to_owned(),
                ..v1::Service::default()
            }),
            level: v1::IsolationLevel::Enhanced.into(),
            fallback: Some(config(Strategy::Static(fallback_data.clone()), 3, 1, 30)),
            ..v1::RegisterServiceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert!(registered.created);
    let policy = registered.service.unwrap().policy.unwrap();
    assert_eq!(policy.level(), v1::IsolationLevel::Enhanced);
    assert_eq!(policy.timeout.unwrap().call_timeout, seconds(30));
    let retry = policy.retry.unwrap();
    assert_eq!((retry.max_attempts, retry.initial_backoff), (Some(4), seconds(1)), "3 retries after the first");
    let fallback = policy.fallback.unwrap();
    assert_eq!(fallback.chain[0].strategy, Some(Strategy::Static(fallback_data)));

    let health = client
        .update_service_health(v1::UpdateServiceHealthRequest {
            service: "test-service".to_owned(),
            health: Some(v1::ServiceHealth {
                status: v1::HealthStatus::Degraded.into(),
                message: "High latency detected".to_owned(),
                observe_time: None,
            }),
            ..v1::UpdateServiceHealthRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.health.unwrap().status(), v1::HealthStatus::Degraded);

    let raised = client
        .set_isolation_level(v1::SetIsolationLevelRequest {
            service: "test-service".to_owned(),
            level: v1::IsolationLevel::Full.into(),
            ..v1::SetIsolationLevelRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .service
        .unwrap();
    assert_eq!(raised.policy.as_ref().unwrap().level(), v1::IsolationLevel::Full);
    assert_eq!(raised.health.as_ref().unwrap().message, "High latency detected");

    let cached = Strategy::Cached(v1::CachedFallback::default());
    let reconfigured = client
        .update_fallback_config(v1::UpdateFallbackConfigRequest {
            service: "test-service".to_owned(),
            fallback: Some(config(cached, 5, 2, 60)),
            ..v1::UpdateFallbackConfigRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .service
        .unwrap();
    assert!(reconfigured.revision.unwrap().revision > raised.revision.unwrap().revision);

    let info = v1::GetServiceIsolationInfoRequest { service: "test-service".to_owned(), ..Default::default() };
    let info = client.get_service_isolation_info(info).await.unwrap().into_inner();
    let service = info.service.unwrap();
    let policy = service.policy.unwrap();
    let retry = policy.retry.unwrap();
    assert_eq!((retry.max_attempts, retry.initial_backoff, retry.max_backoff), (Some(6), seconds(2), seconds(2)));
    assert_eq!(policy.timeout.unwrap().call_timeout, seconds(60));
    assert!(matches!(policy.fallback.unwrap().chain[0].strategy, Some(Strategy::Cached(_))));
    assert_eq!(service.health.as_ref().unwrap().message, "High latency detected");
    assert_eq!(service.health, service.reported_health);
    assert_eq!(info.inactive_fields, [] as [&str; 0]);
    assert_eq!(info.stale_for, None);

    let stats = client.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap().into_inner();
    let expected = [
        ("basic_isolation", 0),
        ("enhanced_isolation", 0),
        ("fallback_enabled", 1),
        ("full_isolation", 1),
        ("none_isolation", 0),
        ("total_services", 1),
    ];
    assert_eq!(stats.totals.into_iter().collect::<Vec<_>>(), expected.map(|(name, count)| (name.to_owned(), count)));

    let listed = v1::ListIsolatedServicesRequest::default();
    let listed = client.list_isolated_services(listed).await.unwrap().into_inner().services;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].service.as_ref().unwrap().name, "test-service");

    let gone = v1::UnregisterServiceRequest { service: "test-service".to_owned(), ..Default::default() };
    let gone = client.unregister_service(gone).await.unwrap().into_inner();
    assert!(gone.revision.unwrap().revision > reconfigured.revision.unwrap().revision);
    manager.stop().await;
}

#[tokio::test]
async fn stats_are_told_apart_by_level_namespace_and_whether_a_fallback_is_in_force() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let step = || vec![crate::testing::static_step(b"x")];
    for (namespace, name, level, chain) in [
        ("eu", "a", v1::IsolationLevel::None, step()),
        ("eu", "b", v1::IsolationLevel::Basic, step()),
        ("eu", "c", v1::IsolationLevel::Enhanced, Vec::new()),
        ("us", "a", v1::IsolationLevel::Full, step()),
    ] {
        let mut request = crate::testing::registration(name);
        request.service.as_mut().unwrap().namespace = namespace.to_owned();
        request.set_level(level);
        request.fallback = Some(crate::testing::fallback(chain));
        client.register_service(request).await.unwrap();
    }
    let request = v1::GetIsolationStatsRequest { include_services: true, ..Default::default() };
    let all = client.get_isolation_stats(request).await.unwrap().into_inner();
    let sums = all.stats.unwrap();
    let levels = [sums.none_isolation, sums.basic_isolation, sums.enhanced_isolation, sums.full_isolation];
    assert_eq!((sums.total_services, levels, sums.fallback_enabled), (4, [1, 1, 1, 1], 2));
    let names: Vec<_> = all.services.iter().map(|s| format!("{}/{}", s.namespace, s.service)).collect();
    assert_eq!(names, ["eu/a", "eu/b", "eu/c", "us/a"]);

    let eu = v1::GetIsolationStatsRequest { namespace: "eu".to_owned(), ..Default::default() };
    let eu = client.get_isolation_stats(eu).await.unwrap().into_inner();
    assert_eq!(eu.totals["total_services"], 3);
    assert!(eu.services.is_empty());
}
