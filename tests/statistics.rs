//! What an operator sees of the calls that real SDKs make, with the real grpcurl.

use cofferdam::{Cofferdam, Service};
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest};
use cofferdam_tests::wire::{fallback, registration, static_json};
use cofferdam_tests::{Manager, Store, eventually, wire};
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
async fn latencies_and_shares_are_shown_as_the_callers_had_them() {
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
