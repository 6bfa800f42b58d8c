//! What an operator sees of the calls that real SDKs make, with the real grpcurl.

use cofferdam::{Cofferdam, Service};
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest};
use cofferdam_tests::wire::{fallback, registration, registration_at, static_json};
use cofferdam_tests::{Behaviour, Manager, Store, Upstream, eventually, wire};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// A manager, and an instance that has its policy for `payments` in force.
struct Bench {
    manager: Manager,
    cofferdam: Cofferdam,
    service: Service,
}

impl Bench {
    async fn new(policy: IsolationPolicy) -> Self {
        let manager = Manager::start(Store::Memory).await;
        let request = registration("payments", IsolationLevel::Enhanced);
        let request = RegisterServiceRequest { policy: Some(policy), ..request };
        manager.client().register(request).await.unwrap();
        let chain = fallback([static_json("{}")]);
        manager.client().update_fallback("payments", chain).await.unwrap();
        let newest = manager.client().revision("payments").await.unwrap();
        let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).instance_id("checkout-1").start();
        let service = cofferdam.service("payments");
        eventually("the policy", async || match service.revision() {
            Some(seen) if (seen.epoch, seen.revision) == (newest.epoch, newest.revision) => Ok(()),
            seen => Err(seen),
        })
        .await;
        Self { manager, cofferdam, service }
    }

    /// Makes calls that take so long each, and whose answers are good or none.
    async fn calls(&self, count: usize, takes: Duration, is_good: bool) {
        for _ in 0..count {
            let attempt = move || async move {
                tokio::time::sleep(takes).await;
                if is_good { Ok(json!({})) } else { Err(io::Error::other("down")) }
            };
            let call = self.service.execute("Charge", attempt);
            call.codec(cofferdam::Json).await.unwrap();
        }
    }

    /// What the statistics say, by grpcurl, once they count so many calls.
    async fn stats(&self, request: &Value, calls: u64) -> Value {
        eventually("every call to be counted", async || {
            let stats = self.manager.grpcurl().isolation("GetIsolationStats", request).unwrap();
            if stats["stats"]["counters"]["calls"] == *calls.to_string() { Ok(stats) } else { Err(stats) }
        })
        .await
    }
}

/// A duration as JSON says it.
fn millis(duration: &Value) -> f64 {
    let seconds: f64 = duration.as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()).unwrap();
    seconds * 1000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_latencies_and_shares_are_shown_as_the_callers_had_them() {
    let policy = IsolationPolicy { retry: None, ..wire::breaker(100, Duration::from_secs(60)) };
    let bench = Bench::new(policy).await;
    bench.calls(30, Duration::from_millis(20), true).await;
    bench.calls(10, Duration::from_millis(80), false).await;
    let stats = bench.stats(&json!({"includeServices": true}), 40).await;
    let calls = &stats["services"][0]["calls"];
    let served = &calls["served"];
    assert_eq!((&served["liveBp"], &served["staticBp"]), (&json!(7500), &json!(2500)), "{calls:#}");
    assert_eq!((&calls["errorBp"], &calls["attemptErrorBp"]), (&json!(0), &json!(2500)), "{calls:#}");
    assert_eq!((&calls["callLatency"]["count"], &calls["attemptLatency"]["count"]), (&json!("40"), &json!("40")));
    // A timer may be late and never early; a percentile is off by 5.9 % at most.
    for kind in ["callLatency", "attemptLatency"] {
        assert!(millis(&calls[kind]["p50"]) > 18.8, "{calls:#}");
        assert!(millis(&calls[kind]["p90"]) > 75.2, "{calls:#}");
        assert!(millis(&calls[kind]["p50"]) <= millis(&calls[kind]["p99"]), "{calls:#}");
    }
    let fleet = &stats["stats"]["calls"];
    assert_eq!((&fleet["served"], &fleet["callLatency"]), (served, &calls["callLatency"]), "one service is the fleet");
    assert_eq!(stats["stats"]["losses"], json!({}), "nothing is lost");

    bench.cofferdam.shutdown().await;
    let later = bench.stats(&json!({"includeServices": true}), 40).await;
    let latency = &later["services"][0]["calls"]["callLatency"];
    assert_eq!(latency, &calls["callLatency"], "what was told stays when the instance is gone");
}

/// Rates, history and rows of an instance, by the commands of the documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_service_is_shown_over_a_window_by_instance_and_slot_by_slot() {
    let policy = IsolationPolicy { retry: None, ..wire::breaker(100, Duration::from_secs(60)) };
    let bench = Bench::new(policy).await;
    bench.calls(20, Duration::from_millis(5), true).await;
    let request = json!({
        "service": "payments", "window": "300s", "includeInstances": true, "includeHistory": true,
    });
    let stats = bench.stats(&request, 20).await;
    let calls = &stats["services"][0]["calls"];
    assert_eq!((&calls["counters"]["calls"], &calls["callLatency"]["count"]), (&json!("20"), &json!("20")));
    let (rate, period) = (calls["callsPerSecond"].as_f64().unwrap(), millis(&calls["period"]) / 1000.0);
    assert!((rate * period - 20.0).abs() < 0.001, "{calls:#}");
    let instance = &stats["instances"][0];
    assert_eq!((&instance["instanceId"], &instance["application"]), (&json!("checkout-1"), &json!("checkout")));
    assert_eq!(instance["calls"]["counters"]["calls"], "20");
    assert_eq!(instance["breakerState"], "BREAKER_STATE_CLOSED");
    assert_eq!(instance["appliedRevision"], stats_revision(&bench).await);
    let points = stats["history"].as_array().unwrap();
    let count = |point: &Value| point["calls"]["counters"]["calls"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(points.iter().map(count).sum::<u64>(), 20);
    assert!(points.iter().all(|point| point["beginTime"].is_string()), "{points:#?}");
}

async fn stats_revision(bench: &Bench) -> Value {
    let revision = bench.manager.client().revision("payments").await.unwrap();
    json!({"epoch": revision.epoch.to_string(), "revision": revision.revision.to_string()})
}

/// A breaker that opens in an application, and closes again, is seen to have recovered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_recovery_is_seen_with_its_time() {
    let policy = IsolationPolicy { retry: None, ..wire::breaker(3, Duration::from_millis(300)) };
    let bench = Bench::new(policy).await;
    bench.calls(3, Duration::from_millis(1), false).await;
    let request = json!({"service": "payments"});
    eventually("the breaker to close again", async || {
        bench.calls(1, Duration::from_millis(1), true).await;
        match bench.service.breaker_state() {
            Some(cofferdam::BreakerState::Closed) => Ok(()),
            state => Err(state),
        }
    })
    .await;
    let recoveries = eventually("the recovery to be reported", async || {
        let stats = bench.manager.grpcurl().isolation("GetIsolationStats", &request).unwrap();
        let recoveries = stats["services"][0]["recoveries"].clone();
        if recoveries["count"] == "1" { Ok(recoveries) } else { Err(stats) }
    })
    .await;
    assert!(millis(&recoveries["last"]) >= 300.0, "{recoveries}");
    assert_eq!((&recoveries["last"], &recoveries["last"]), (&recoveries["mean"], &recoveries["longest"]));
}

/// What the manager calls itself is in the figures at once, over a window too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_through_the_manager_are_in_the_figures() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let upstream = Upstream::start(Behaviour::echo()).await;
    client.register(registration_at("payments", IsolationLevel::Basic, &upstream.address())).await.unwrap();
    for _ in 0..3 {
        client.execute("payments", "Charge", "x").await.unwrap();
    }
    for request in [json!({"service": "payments"}), json!({"service": "payments", "window": "60s"})] {
        let stats = manager.grpcurl().isolation("GetIsolationStats", &request).unwrap();
        let calls = &stats["services"][0]["calls"];
        assert_eq!((&calls["counters"]["calls"], &calls["served"]["liveBp"]), (&json!("3"), &json!(10_000)), "{stats}");
    }
}
