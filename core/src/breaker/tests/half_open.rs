//! Who probes, and when it comes to that.

use super::*;
use crate::policy::ClassificationPolicy;
use proptest::prelude::*;
use std::collections::HashSet;

/// Seen in <https://github.com/OpenLiberty/open-liberty/issues/7080>,
/// <https://github.com/smallrye/smallrye-fault-tolerance/issues/319>,
/// <https://github.com/nodeshift/opossum/issues/119>.
#[test]
fn t08_half_open_admits_no_more_than_the_cap_however_many_ask() {
    for (threshold, max_in_flight, cap) in [(1, 0, 1), (2, 0, 2), (3, 2, 2), (2, 10, 2)] {
        let policy =
            BreakerPolicy { success_threshold: threshold, half_open_max_in_flight: max_in_flight, ..consecutive() };
        let mut bench = Bench::new(policy);
        bench.calls(Outcome::Failure, 5).unwrap();
        bench.advance(Duration::from_secs(30));
        let probes: Vec<_> = (0..50).filter_map(|_| bench.admit().ok()).collect();
        assert_eq!(probes.len(), cap);
        assert!(probes.iter().all(|probe| probe.admission.is_probe()));
    }
}

/// A hundred clients, whose breakers all opened at once, come back one by one.
///
/// Seen in <https://github.com/failsafe-lib/failsafe/issues/70>, <https://github.com/envoyproxy/envoy/issues/19869>.
#[test]
fn t26_the_probes_of_a_fleet_are_spread_over_the_jitter() {
    let policy = BreakerPolicy { open_jitter_ratio: 0.5, ..consecutive() };
    let mut random = 7_u64;
    let waits: HashSet<_> = (0..100)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let breaker = Breaker::new(&policy);
            for _ in 0..5 {
                let admitted = breaker.admit(&policy, Timestamp::ZERO, || 0).unwrap();
                let ended = |random| move || random;
                admitted.admission.record(&policy, Outcome::Failure, Duration::ZERO, Timestamp::ZERO, ended(random));
            }
            let wait = breaker.admit(&policy, Timestamp::ZERO, || 0).unwrap_err().retry_after.unwrap();
            assert!((30..=45).contains(&wait.as_secs()));
            wait.as_millis() / 500
        })
        .collect();
    assert!(waits.len() > 20, "in {} of 30 half seconds", waits.len());
}

/// One thing only is judged otherwise, and on purpose: a service that sheds load has not recovered.
///
/// Seen in <https://github.com/smallrye/smallrye-fault-tolerance/issues/320>.
#[test]
fn t43_a_probe_is_judged_by_the_rules_of_any_call() {
    let policy = ClassificationPolicy::default();
    let differing: Vec<_> = (0..=16).filter(|code| policy.grpc(*code, true) != policy.grpc(*code, false)).collect();
    assert_eq!(differing, [8]);
    let differing: Vec<_> = (100..=599).filter(|code| policy.http(*code, true) != policy.http(*code, false)).collect();
    assert_eq!(differing, [429]);
    assert_eq!((policy.grpc(8, true), policy.http(429, true)), (Outcome::Failure, Outcome::Failure));
}

proptest! {
    /// The engine balances no load: an endpoint more or less is the business of the service's own client. What is left of
    /// outlier ejection is that a breaker ejects all there is of a service, which has to end by itself: however calls
    /// went, a call is let through once the longest open time and a lease are over. Only a policy that says so rejects
    /// for ever.
    ///
    /// Seen in <https://github.com/envoyproxy/envoy/issues/3263>, <https://github.com/istio/istio/issues/20135>.
    #[test]
    fn t42_nothing_but_a_policy_rejects_for_ever(
        (open, longest) in (1_u64..5_000, 1_u64..100_000),
        (multiplier, jitter) in (1.0..10.0_f64, 0.0..1.0_f64),
        (threshold, cap, lease, expiry) in (1_u32..5, 0_u32..5, 0_u64..50_000, 0_usize..3),
        steps in prop::collection::vec((0_u64..20_000, 0_u8..4, any::<u64>()), 0..60),
    ) {
        let policy = BreakerPolicy {
            open_duration: Duration::from_millis(open),
            max_open_duration: Duration::from_millis(open.max(longest)),
            open_backoff_multiplier: multiplier,
            open_jitter_ratio: jitter,
            success_threshold: threshold,
            half_open_max_in_flight: cap,
            half_open_lease: Duration::from_millis(lease),
            on_lease_expiry: [LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close][expiry],
            ..consecutive()
        };
        let mut bench = Bench::new(policy);
        for (millis, end, random) in steps {
            bench.advance(Duration::from_millis(millis));
            let Ok(admitted) = bench.breaker.admit(&bench.policy, bench.now, || random) else { continue };
            let outcome = [Outcome::Success, Outcome::Failure, Outcome::Failure].get(usize::from(end));
            match outcome {
                Some(outcome) => {
                    admitted.admission.record(&bench.policy, *outcome, Duration::ZERO, bench.now, || random);
                }
                None => std::mem::forget(admitted.admission),
            }
        }
        let open_time = bench.policy.max_open_duration.mul_f64(1.0 + jitter) + Duration::from_millis(1);
        // A lease that is over may open the breaker once more.
        bench.advance(bench.policy.lease());
        let is_admitted = bench.admit().is_ok() || {
            bench.advance(open_time);
            bench.admit().is_ok()
        };
        prop_assert!(is_admitted);
    }
}
