//! Policies that change while calls run.

use super::*;

fn learned(kind: AdaptiveLimitKind, windows: usize) -> AdaptiveLimit {
    let limit = AdaptiveLimit::new(&policy(kind));
    let mut bench = Bench::new(&limit);
    (0..windows).for_each(|_| bench.window(200, Lesson::Answered(10 * MILLISECOND)));
    limit
}

#[test]
fn calls_in_flight_stay_so_and_the_limit_moves_into_the_new_bounds() {
    for kind in BOTH {
        let limit = learned(kind, 50);
        let learned = limit.load().limit;
        let permits = take(&limit, 30);
        assert_eq!(permits.len(), 30, "{kind:?}");

        limit.set_policy(&AdaptiveLimitPolicy { max: 10, initial: 5, ..policy(kind) });
        assert_eq!(limit.load(), Load { limit: 10, in_flight: 30 }, "{kind:?}");
        assert!(limit.try_acquire().is_none());

        limit.set_policy(&AdaptiveLimitPolicy { min: 40, initial: 50, ..policy(kind) });
        assert_eq!(limit.load(), Load { limit: 40, in_flight: 30 }, "{kind:?} had learned {learned}");
        assert_eq!(take(&limit, 99).len(), 10);
        drop(permits);
        assert_eq!(limit.load().in_flight, 0);
    }
}

#[test]
fn another_algorithm_takes_over_where_the_last_one_was() {
    let limit = learned(AdaptiveLimitKind::Aimd, 30);
    assert_eq!(limit.load().limit, 50);
    let permit = limit.try_acquire().unwrap();
    for kind in [AdaptiveLimitKind::Gradient2, AdaptiveLimitKind::Off, AdaptiveLimitKind::Aimd] {
        limit.set_policy(&policy(kind));
        assert_eq!(limit.load(), Load { limit: 50, in_flight: 1 }, "{kind:?}");
    }
    permit.record(Lesson::Answered(MILLISECOND), Timestamp::from_millis(1));
    assert_eq!(limit.load().in_flight, 0);
}

#[test]
fn the_initial_limit_counts_until_something_was_learned() {
    let limit = AdaptiveLimit::new(&AdaptiveLimitPolicy::default());
    let initially = |initial| AdaptiveLimitPolicy { initial, ..policy(AdaptiveLimitKind::Aimd) };
    limit.set_policy(&initially(70));
    assert_eq!(limit.load().limit, 70);
    Bench::new(&limit).window(70, Lesson::Overload);
    limit.set_policy(&initially(100));
    assert_eq!(limit.load().limit, 63);
}

#[test]
fn a_call_that_ends_after_the_limit_was_switched_off_teaches_nothing() {
    let limit = AdaptiveLimit::new(&policy(AdaptiveLimitKind::Aimd));
    limit.set_policy(&policy(AdaptiveLimitKind::Off));
    let mut bench = Bench::new(&limit);
    (0..10).for_each(|_| bench.window(20, Lesson::Overload));
    assert_eq!(limit.load(), Load { limit: 20, in_flight: 0 });
}
