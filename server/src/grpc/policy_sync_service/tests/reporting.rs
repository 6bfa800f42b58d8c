//! What an instance tells.

use super::*;
use crate::testing::key;
use v1::sync_request::Message;

fn report(sequence: u64, service: &str, calls: u64, breaker: v1::BreakerState, health: v1::HealthStatus) -> Message {
    Message::Report(v1::SyncReport {
        sequence,
        interval: None,
        services: vec![v1::ServiceReport {
            service: service.to_owned(),
            counters: Some(v1::CallCounters { calls, failed: calls, ..v1::CallCounters::default() }),
            breaker_state: breaker.into(),
            health_status: health.into(),
            ..v1::ServiceReport::default()
        }],
    })
}

#[tokio::test]
async fn what_it_has_applied_and_what_it_refused() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let (mut one, mut two) = (
        Instance::connect(&manager, hello("one", &["payments"])).await,
        Instance::connect(&manager, hello("two", &["payments"])).await,
    );
    let update = one.update().await;
    two.update().await;
    one.ack(&update).await;
    two.ack(&update).await;
    let seen = stats_become(&manager, "payments", |stats| stats.applied_instances == 2).await;
    assert_eq!((seen.instances, seen.refused_instances), (2, 0));

    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    assert_eq!(stats(&manager, "payments").await.applied_instances, 0, "nobody has the new one yet");
    one.complete().await;
    two.complete().await;
    let newer = one.update().await;
    one.ack(&newer).await;
    let nack = v1::PolicyNack {
        service: "payments".to_owned(),
        revision: newer.revision,
        reason: "bulkhead not supported\u{1b}[31m".to_owned(),
        field_path: "bulkhead".to_owned(),
        applied_revision: update.revision,
        contained: false,
        applied_policy_hash: Default::default(),
    };
    two.say(Message::Nack(nack)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.refused_instances == 1).await;
    assert_eq!((seen.instances, seen.applied_instances), (2, 1));
    let refusals = manager.instances.refusals(&key("default/payments"));
    assert_eq!(refusals["two"].field_path, "bulkhead");
    assert!(refusals["two"].reason.starts_with("bulkhead not supported"));
}

#[tokio::test]
async fn an_acknowledgement_of_another_policy_does_not_count() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let update = instance.update().await;
    let other =
        v1::PolicyAck { service: "payments".to_owned(), revision: update.revision, policy_hash: vec![9; 16].into() };
    instance.say(Message::Ack(other)).await;
    instance.say(report(1, "payments", 1, v1::BreakerState::Closed, v1::HealthStatus::Healthy)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 1).await;
    assert_eq!(seen.applied_instances, 0);
}

#[tokio::test]
async fn counters_are_summed_once_and_stay() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let one = Instance::connect(&manager, hello("one", &["payments"])).await;
    let two = Instance::connect(&manager, hello("two", &["payments"])).await;
    let (open, closed) = (v1::BreakerState::Open, v1::BreakerState::Closed);
    one.say(report(1, "payments", 5, closed, v1::HealthStatus::Healthy)).await;
    one.say(report(1, "payments", 5, closed, v1::HealthStatus::Healthy)).await;
    one.say(report(3, "payments", 2, closed, v1::HealthStatus::Healthy)).await;
    two.say(report(1, "payments", 100, open, v1::HealthStatus::CircuitOpen)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 107).await;
    assert_eq!((seen.open_instances, seen.health_status()), (1, v1::HealthStatus::CircuitOpen));
    let request = v1::GetServiceIsolationInfoRequest { service: "payments".to_owned(), ..Default::default() };
    let info = manager.client().await.get_service_isolation_info(request).await.unwrap().into_inner();
    let service = info.service.unwrap();
    assert_eq!(service.breaker_state(), open);
    assert_eq!(service.health.unwrap().status(), v1::HealthStatus::CircuitOpen);

    drop(two);
    let seen = stats_become(&manager, "payments", |stats| stats.instances == 1).await;
    assert_eq!((seen.counters.unwrap().calls, seen.open_instances), (107, 0));
    assert_eq!(seen.health_status(), v1::HealthStatus::Healthy);
    let all = manager.client().await.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    let all = all.into_inner().stats.unwrap();
    assert_eq!((all.instances, all.counters.unwrap().calls), (1, 107));
    drop(one);
}

#[tokio::test]
async fn adaptive_limits_are_summed_over_the_instances_that_have_one() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let instances = [
        Instance::connect(&manager, hello("one", &["payments"])).await,
        Instance::connect(&manager, hello("two", &["payments"])).await,
        Instance::connect(&manager, hello("none", &["payments"])).await,
    ];
    let limits = async |sequence, loads: [(u32, u32); 3]| {
        for (instance, (adaptive_limit, adaptive_in_flight)) in instances.iter().zip(loads) {
            let service = "payments".to_owned();
            let report = v1::ServiceReport { service, adaptive_limit, adaptive_in_flight, ..Default::default() };
            let report = v1::SyncReport { sequence, interval: None, services: vec![report] };
            instance.say(Message::Report(report)).await;
        }
    };
    let shown = |stats: &v1::ServiceStats| (stats.adaptive_limit, stats.adaptive_in_flight);
    limits(1, [(20, 3), (35, 40), (0, 0)]).await;
    stats_become(&manager, "payments", |stats| shown(stats) == (55, 43)).await;
    limits(2, [(18, 1), (0, 0), (0, 0)]).await;
    stats_become(&manager, "payments", |stats| shown(stats) == (18, 1)).await;
}

#[tokio::test]
async fn what_it_does_not_follow_is_not_counted() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    register(&manager, "orders").await;
    let instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    instance.say(report(1, "orders", 5, v1::BreakerState::Open, v1::HealthStatus::CircuitOpen)).await;
    instance.say(report(2, "payments", 5, v1::BreakerState::Closed, v1::HealthStatus::Healthy)).await;
    stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 5).await;
    let orders = stats(&manager, "orders").await;
    assert_eq!((orders.counters.unwrap().calls, orders.health_status()), (0, v1::HealthStatus::Unspecified));
}

/// Operators see whose breaker is open, and the rest of the service stays usable.
#[tokio::test]
async fn breakers_of_pools_and_methods_are_told_apart() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let pool = |name: &str| v1::BulkheadPool { name: name.to_owned(), isolate_breaker: true, ..Default::default() };
    let breaker = Some(v1::CircuitBreakerPolicy::default());
    let listing = v1::IsolationPolicy { circuit_breaker: breaker, ..Default::default() };
    let policy = v1::IsolationPolicy {
        level: v1::IsolationLevel::Full.into(),
        bulkhead: Some(v1::BulkheadPolicy { pools: vec![pool("read"), pool("write")], ..Default::default() }),
        method_overrides: vec![v1::MethodOverride {
            glob: "List*".to_owned(),
            policy: Some(listing),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request =
        v1::UpdateIsolationPolicyRequest { service: "payments".to_owned(), policy: Some(policy), ..Default::default() };
    manager.registry.update_policy(request).await.unwrap();
    let mut one = Instance::connect(&manager, hello("one", &["payments"])).await;
    one.update().await;

    let breaker = |pool: &str, method_glob: &str, state: v1::BreakerState| v1::BreakerReport {
        pool: pool.to_owned(),
        method_glob: method_glob.to_owned(),
        state: state.into(),
    };
    let report = |sequence, state, health: v1::HealthStatus, breakers| {
        let Message::Report(mut report) = report(sequence, "payments", 1, state, health) else { panic!() };
        report.services[0].breakers = breakers;
        Message::Report(report)
    };
    let (open, half_open) = (v1::BreakerState::Open, v1::BreakerState::HalfOpen);
    let degraded = v1::HealthStatus::Degraded;
    let breakers = vec![breaker("", "List*", open), breaker("write", "", half_open), breaker("gone", "", open)];
    one.say(report(1, open, degraded, breakers)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.open_instances == 1).await;
    let counts = |stats: &v1::ServiceStats| {
        let each = stats.breakers.iter().cloned();
        each.map(|each| (each.pool, each.method_glob, each.open_instances, each.half_open_instances))
            .collect::<Vec<_>>()
    };
    let row = |pool: &str, glob: &str, open, half_open| (pool.to_owned(), glob.to_owned(), open, half_open);
    assert_eq!(counts(&seen), [row("read", "", 0, 0), row("write", "", 0, 1), row("", "List*", 1, 0)]);
    assert_eq!(seen.health_status(), degraded);
    let closed = v1::BreakerState::Closed;
    assert_eq!(seen.breakers.iter().map(v1::BreakerStats::state).collect::<Vec<_>>(), [closed, half_open, open]);
    let own = |seen: &v1::ServiceStats| seen.own_breaker.clone().unwrap();
    assert_eq!((own(&seen).state(), own(&seen).open_instances), (closed, 0), "the methods' is not the service's");

    // An instance that says nothing of its health: the open breaker is not the service's.
    one.say(report(2, open, v1::HealthStatus::Unspecified, vec![breaker("read", "", open)])).await;
    let seen = stats_become(&manager, "payments", |stats| stats.breakers[0].open_instances == 1).await;
    assert_eq!((seen.health_status(), seen.breakers[2].open_instances), (degraded, 0));
    one.say(report(3, open, v1::HealthStatus::Unspecified, Vec::new())).await;
    let seen = stats_become(&manager, "payments", |stats| stats.breakers[0].open_instances == 0).await;
    assert_eq!(seen.health_status(), v1::HealthStatus::CircuitOpen);
    assert_eq!((own(&seen).state(), own(&seen).open_instances), (open, 1), "none that is named is as bad");

    // One that names its own breaker beside others.
    let named = vec![breaker("", "", half_open), breaker("read", "", open)];
    one.say(report(4, open, v1::HealthStatus::Unspecified, named)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.breakers[0].open_instances == 1).await;
    assert_eq!((own(&seen).state(), own(&seen).half_open_instances), (half_open, 1));
    assert_eq!((seen.health_status(), seen.open_instances), (degraded, 1));
}

fn histogram(buckets: &[u32], counts: &[u64]) -> Option<v1::LatencyHistogram> {
    Some(v1::LatencyHistogram { buckets: buckets.to_vec(), counts: counts.to_vec() })
}

#[tokio::test]
async fn latencies_add_up_over_instances_and_reports() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let one = Instance::connect(&manager, hello("one", &["payments"])).await;
    let two = Instance::connect(&manager, hello("two", &["payments"])).await;
    let timed = |sequence, calls: u64, bucket| {
        let closed = v1::BreakerState::Closed;
        let Message::Report(mut report) = report(sequence, "payments", calls, closed, v1::HealthStatus::Healthy) else {
            panic!()
        };
        report.services[0].call_latency = histogram(&[bucket], &[calls]);
        report.services[0].attempt_latency = histogram(&[bucket, 209], &[calls, 1]);
        Message::Report(report)
    };
    // Buckets from 2^20 ns, a millisecond, and from 7/8 of 2^30 ns, nearly a second.
    one.say(timed(1, 60, 81)).await;
    one.say(timed(2, 30, 81)).await;
    two.say(timed(1, 10, 159)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 100).await;
    let calls = seen.calls.unwrap();
    let (call, attempt) = (calls.call_latency.unwrap(), calls.attempt_latency.unwrap());
    assert_eq!((call.count, attempt.count), (100, 103));
    let nanos = |duration: Option<prost_types::Duration>| duration.unwrap().nanos;
    assert!((1_048_576..1_179_648).contains(&nanos(call.p50)) && nanos(call.p50) == nanos(call.p90), "{call:?}");
    assert!((939_524_096..1_006_632_960).contains(&nanos(call.p99)), "{call:?}");
    assert_eq!(attempt.p99.unwrap().seconds, 68, "the last bucket is said by its lower bound");
}

/// A histogram that is none is passed over and counted; the counters beside it are not lost, nor is the stream.
#[tokio::test]
async fn histograms_that_break_the_rules_are_refused_and_counted() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let too_many: Vec<u32> = (0..5000).collect();
    let broken = [
        histogram(&[1, 2], &[1]),
        histogram(&[210], &[1]),
        histogram(&[u32::MAX], &[1]),
        histogram(&[7, 7], &[1, 1]),
        histogram(&[1, 2], &[u64::MAX, u64::MAX]),
        histogram(&too_many, &vec![1; too_many.len()]),
    ];
    let rounds = broken.len() as u64;
    for (sequence, broken) in (1..).zip(broken) {
        let Message::Report(mut report) =
            report(sequence, "payments", 1, v1::BreakerState::Closed, v1::HealthStatus::Healthy)
        else {
            panic!()
        };
        report.services[0].call_latency = broken;
        report.services[0].attempt_latency = histogram(&[90], &[2]);
        report.services[0].transitions_dropped = 5;
        instance.say(Message::Report(report)).await;
    }
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == rounds).await;
    let calls = seen.calls.unwrap();
    assert_eq!((calls.call_latency, calls.attempt_latency.unwrap().count), (None, 2 * rounds));
    let losses =
        v1::ReportLosses { transitions_dropped: 5 * rounds, histograms_refused: rounds, ..v1::ReportLosses::default() };
    assert_eq!(seen.losses, Some(losses));

    // A gap in the sequence is a loss of nobody knows which service.
    instance.say(report(rounds + 4, "payments", 1, v1::BreakerState::Closed, v1::HealthStatus::Healthy)).await;
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == rounds + 1).await;
    assert_eq!(seen.losses, Some(losses));
    let all = manager.client().await.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    let all = all.into_inner().stats.unwrap();
    assert_eq!(all.losses, Some(v1::ReportLosses { reports_missed: 3, ..losses }));
    assert_eq!(all.calls.unwrap().attempt_latency.unwrap().count, 2 * rounds);
}

#[tokio::test]
async fn recoveries_are_told_by_what_breakers_did() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let (closed, open, half_open) = (v1::BreakerState::Closed, v1::BreakerState::Open, v1::BreakerState::HalfOpen);
    let step = |from: v1::BreakerState, to: v1::BreakerState, age| v1::BreakerTransition {
        from: from.into(),
        to: to.into(),
        cause: "consecutive_failures".to_owned(),
        age: Some(prost_types::Duration { seconds: age, nanos: 0 }),
        ..v1::BreakerTransition::default()
    };
    let unknown = |transition| v1::BreakerTransition { pool: "nobodys".to_owned(), ..transition };
    let imagined = |transition| v1::BreakerTransition { unenforced: true, ..transition };
    let said = |sequence, transitions| {
        let Message::Report(mut report) = report(sequence, "payments", 1, closed, v1::HealthStatus::Healthy) else {
            panic!()
        };
        report.services[0].transitions = transitions;
        Message::Report(report)
    };
    let first = vec![
        imagined(step(closed, open, 90)),
        unknown(step(closed, open, 80)),
        step(closed, open, 40),
        step(open, half_open, 20),
        step(half_open, open, 19),
        step(open, half_open, 10),
        step(half_open, closed, 5),
        unknown(step(half_open, closed, 4)),
        imagined(step(half_open, closed, 3)),
        step(closed, open, 2),
    ];
    instance.say(said(1, first)).await;
    // A duration that is none, and a state of a later release.
    let odd = v1::BreakerTransition {
        age: Some(prost_types::Duration { seconds: i64::MIN, nanos: 5 }),
        to: 99,
        ..step(open, closed, 0)
    };
    instance.say(said(2, vec![odd])).await;
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 2).await;
    let recoveries = seen.recoveries.unwrap();
    let taken = Some(prost_types::Duration { seconds: 35, nanos: 0 });
    assert_eq!((recoveries.count, recoveries.last, recoveries.mean, recoveries.longest), (1, taken, taken, taken));
    assert!((33..=37).contains(&recoveries.p50.unwrap().seconds), "{recoveries:?}");
    let all = manager.client().await.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    assert_eq!(all.into_inner().stats.unwrap().recoveries, Some(recoveries));
}

#[tokio::test]
async fn methods_with_an_override_are_told_apart() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let glob = |glob: &str| v1::MethodOverride { glob: glob.to_owned(), ..Default::default() };
    let policy = v1::IsolationPolicy { method_overrides: vec![glob("List*"), glob("Get*")], ..Default::default() };
    let request =
        v1::UpdateIsolationPolicyRequest { service: "payments".to_owned(), policy: Some(policy), ..Default::default() };
    manager.registry.update_policy(request).await.unwrap();
    let instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let method = |glob: &str, calls, bucket| v1::MethodReport {
        method_glob: glob.to_owned(),
        counters: Some(v1::CallCounters { calls, ..v1::CallCounters::default() }),
        call_latency: histogram(&[bucket], &[calls]),
        attempt_latency: histogram(&[999], &[1]),
    };
    let methods = vec![method("List*", 3, 90), method("Gone*", 4, 90), method("List*", 100, 90)];
    for sequence in [1, 2] {
        let Message::Report(mut report) =
            report(sequence, "payments", 10, v1::BreakerState::Closed, v1::HealthStatus::Healthy)
        else {
            panic!()
        };
        report.services[0].methods.clone_from(&methods);
        instance.say(Message::Report(report)).await;
    }
    let seen = stats_become(&manager, "payments", |stats| stats.counters.unwrap().calls == 20).await;
    let row = |method: &v1::MethodStats| {
        let calls = method.calls.as_ref().unwrap();
        let timed = calls.call_latency.as_ref().map_or(0, |latency| latency.count);
        (method.method_glob.clone(), calls.counters.unwrap().calls, timed)
    };
    let rows: Vec<_> = seen.methods.iter().map(row).collect();
    assert_eq!(rows, [("List*".to_owned(), 6, 6), ("Get*".to_owned(), 0, 0), (String::new(), 14, 0)]);
    assert_eq!(seen.losses.unwrap().histograms_refused, 2);
}
