use super::*;
use cofferdam_core::hold::Forced;
use cofferdam_core::level::Level;
use cofferdam_core::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, BreakerPolicy, BulkheadPolicy, MethodOverride, PolicySpec, RateLimitPolicy,
};

fn policy(level: Level, change: impl FnOnce(&mut PolicySpec)) -> Policy {
    let mut spec = PolicySpec { level, ..PolicySpec::default() };
    spec.timeout.min_attempt_budget = Duration::ZERO;
    change(&mut spec);
    Policy::new(spec).unwrap()
}

/// For a change of a policy at level full.
fn blame(change: impl FnOnce(&mut PolicySpec)) -> Blame {
    Blame::of(&policy(Level::Full, |_| {}), &policy(Level::Full, change))
}

fn timeout(millis: u64) -> impl FnOnce(&mut PolicySpec) {
    move |spec| spec.timeout.call_timeout = Duration::from_millis(millis)
}

fn one_place(spec: &mut PolicySpec) {
    spec.bulkhead = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
}

#[test]
fn a_revision_is_blamed_for_what_it_changed_and_for_nothing_else() {
    let none = Blame::default();
    assert_eq!(blame(|_| {}), none);
    assert_eq!(blame(|spec| spec.retry.max_attempts = 2), none);
    assert_eq!(blame(timeout(100)), Blame { timeouts: true, open: true, ..none });
    assert_eq!(blame(timeout(60_000)), none, "more time is no less");
    assert_eq!(blame(one_place), Blame { bulkhead: true, ..none });
    let rate = |spec: &mut PolicySpec| {
        spec.rate_limit = Some(RateLimitPolicy::per_second(1));
    };
    assert_eq!(blame(rate), Blame { rate_limit: true, ..none });
    let limit = |spec: &mut PolicySpec| {
        spec.adaptive_limit =
            AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Gradient2, ..AdaptiveLimitPolicy::default() };
    };
    assert_eq!(blame(limit), Blame { adaptive_limit: true, ..none });
    let breaker = |spec: &mut PolicySpec| {
        spec.breaker = BreakerPolicy { consecutive_failures: 1, ..BreakerPolicy::default() };
    };
    assert_eq!(blame(breaker), Blame { open: true, ..none });
    let overrides = |spec: &mut PolicySpec| {
        let bulkhead = Some(BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() });
        spec.method_overrides = vec![MethodOverride { glob: "get*".to_owned(), bulkhead, ..MethodOverride::default() }];
    };
    let all = Blame { timeouts: true, open: true, bulkhead: true, rate_limit: true, adaptive_limit: true };
    assert_eq!(blame(overrides), all);
}

#[test]
fn what_an_operator_orders_is_not_blamed() {
    // A raised level brings in force what was written before.
    let levels = [Level::None, Level::Basic, Level::Enhanced, Level::Full];
    for (before, after) in levels.into_iter().flat_map(|before| levels.map(|after| (before, after))) {
        let written = |spec: &mut PolicySpec| {
            one_place(spec);
            timeout(1)(spec);
        };
        let (before, after) = (policy(before, written), policy(after, written));
        assert_eq!(Blame::of(&before, &after), Blame::default());
    }
    // Also where the order comes with values: they were not in force before.
    let raised = Blame::of(&policy(Level::Enhanced, |_| {}), &policy(Level::Full, one_place));
    assert_eq!(raised, Blame::default());

    let forced = |spec: &mut PolicySpec| spec.breaker.mode = BreakerMode::ForcedOpen;
    assert_eq!(blame(forced), Blame::default());
    let shorter = Blame { timeouts: true, open: true, ..Blame::default() };
    assert!(!shorter.under([Forced::MetricsOnly, Forced::Open]).open);
    assert_eq!(shorter.under([Forced::Closed]), shorter);
    let all = Blame { timeouts: true, open: true, bulkhead: true, rate_limit: true, adaptive_limit: true };
    assert_eq!(all.count(&CounterSnapshot { rejected_disabled: 1_000, ..CounterSnapshot::default() }), 0);
}
