use super::*;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ALL: Blame = Blame { timeouts: true, open: true, bulkhead: true, rate_limit: true, adaptive_limit: true };

fn healthy(calls: u64) -> CounterSnapshot {
    CounterSnapshot { attempt_successes: calls, ..CounterSnapshot::default() }
}

fn is_guilty(blame: Blame, before: &CounterSnapshot, under: &CounterSnapshot) -> bool {
    verdict(blame, before, under).is_some()
}

#[test]
fn each_kind_of_poison_is_found() {
    let timeouts = CounterSnapshot { attempt_failures: 20, timeouts: 20, ..CounterSnapshot::default() };
    let opened = CounterSnapshot { attempt_failures: 5, timeouts: 5, rejected_open: 15, ..CounterSnapshot::default() };
    let full = CounterSnapshot { attempt_successes: 2, rejected_bulkhead: 18, ..CounterSnapshot::default() };
    let limited = CounterSnapshot { attempt_successes: 1, rejected_rate_limit: 19, ..CounterSnapshot::default() };
    let adapted = CounterSnapshot { attempt_successes: 1, rejected_adaptive_limit: 19, ..CounterSnapshot::default() };
    let late = CounterSnapshot { rejected_deadline: 20, ..CounterSnapshot::default() };
    for poison in [timeouts, opened, full, limited, adapted, late] {
        assert!(is_guilty(ALL, &healthy(100), &poison), "{poison:?}");
        assert!(!is_guilty(Blame::default(), &healthy(100), &poison), "{poison:?}");
    }
    let reason = verdict(ALL, &healthy(100), &full).unwrap().to_string();
    assert_eq!(
        reason,
        "contained: the policy rejected or timed out 90 % of 20 decisions, where it had been 0 % of 100 under the one before"
    );
}

#[test]
fn a_service_that_fails_in_the_same_moment_is_not_taken_for_a_bad_policy() {
    // Trips too early by the new policy, and there is a reason to: the service fails.
    let failing = CounterSnapshot { attempt_failures: 5, rejected_open: 95, ..CounterSnapshot::default() };
    assert!(!is_guilty(ALL, &healthy(100), &failing));
    // Trips over a single failure among many successes: no reason to.
    let nervous =
        CounterSnapshot { attempt_successes: 20, attempt_failures: 1, rejected_open: 30, ..CounterSnapshot::default() };
    assert!(is_guilty(ALL, &healthy(100), &nervous));
}

#[test]
fn the_thresholds_are_exact() {
    let under = |rejected: u64, through: u64| CounterSnapshot {
        attempt_successes: through,
        rejected_bulkhead: rejected,
        ..CounterSnapshot::default()
    };
    assert!(is_guilty(ALL, &healthy(20), &under(10, 10)));
    assert!(!is_guilty(ALL, &healthy(19), &under(10, 10)));
    assert!(!is_guilty(ALL, &healthy(20), &under(10, 9)));
    assert!(!is_guilty(ALL, &healthy(20), &under(97, 103)));
    assert!(is_guilty(ALL, &under(1, 99), &under(10, 10)));
    assert!(!is_guilty(ALL, &under(1, 98), &under(10, 10)));
}

/// Of any counts, however they came about.
#[test]
fn no_verdict_without_evidence() {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut guilty = 0;
    for _ in 0..50_000 {
        let mut counts = || {
            let most = [1, 10, 100, 10_000, u64::MAX][random.random_range(0..5)];
            let mut count = || if random.random_bool(0.5) { 0 } else { random.random_range(0..=most) };
            CounterSnapshot {
                attempt_successes: count(),
                attempt_failures: count(),
                attempt_neutrals: count(),
                timeouts: count(),
                rejected_open: count(),
                rejected_bulkhead: count(),
                rejected_rate_limit: count(),
                rejected_adaptive_limit: count(),
                rejected_deadline: count(),
                rejected_disabled: count(),
                ..CounterSnapshot::default()
            }
        };
        let (before, under) = (counts(), counts());
        let mut blamed = || random.random_bool(0.5);
        let (timeouts, open) = (blamed(), blamed());
        let blame = Blame { timeouts, open, bulkhead: blamed(), rate_limit: blamed(), adaptive_limit: blamed() };
        let Some(Guilt { under: share, decisions, before: share_before, decisions_before }) =
            verdict(blame, &before, &under)
        else {
            continue;
        };
        guilty += 1;
        assert!(blame != Blame::default() && blame.count(&under) > 0, "seed {seed}");
        assert!(decisions >= 20 && decisions_before >= 20, "seed {seed}");
        assert!((50..=100).contains(&share) && share_before <= 1, "seed {seed}");
        // What is not blamed, and the calls of a disabled service, change nothing for the worse.
        let acquitted = CounterSnapshot { rejected_disabled: 0, ..under };
        assert!(is_guilty(blame, &before, &acquitted), "seed {seed}");
        // As bad as before is not worse.
        assert!(!is_guilty(blame, &under, &under), "seed {seed}");
    }
    assert!(guilty > 100, "only {guilty} of the cases say anything; seed {seed}");
}
