mod changes;
mod service;
mod simulation;
mod threads;

use super::{AdaptiveLimit, Lesson, Load, Permit};
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};
use crate::time::Timestamp;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const BOTH: [AdaptiveLimitKind; 2] = [AdaptiveLimitKind::Gradient2, AdaptiveLimitKind::Aimd];

fn policy(kind: AdaptiveLimitKind) -> AdaptiveLimitPolicy {
    AdaptiveLimitPolicy { kind, ..AdaptiveLimitPolicy::default() }
}

fn aimd(min: u32, initial: u32, max: u32) -> AdaptiveLimit {
    AdaptiveLimit::new(&AdaptiveLimitPolicy { min, initial, max, ..policy(AdaptiveLimitKind::Aimd) })
}

/// As many permits as there are, at most so many.
fn take(limit: &AdaptiveLimit, most: usize) -> Vec<Permit<'_>> {
    std::iter::from_fn(|| limit.try_acquire()).take(most).collect()
}

/// A clock and what calls do by it.
struct Bench<'a> {
    limit: &'a AdaptiveLimit,
    now: Timestamp,
}

impl<'a> Bench<'a> {
    fn new(limit: &'a AdaptiveLimit) -> Self {
        Self { limit, now: Timestamp::ZERO }
    }

    /// A window in which so many calls, up to the limit, are in flight at once, again and again, and all end alike.
    fn window(&mut self, in_flight: usize, lesson: Lesson) {
        const ROUNDS: usize = 10;
        for round in 1..=ROUNDS {
            let mut permits = take(self.limit, in_flight);
            let last = permits.pop().filter(|_| round == ROUNDS);
            permits.into_iter().for_each(|permit| permit.record(lesson, self.now));
            if let Some(last) = last {
                self.now = self.now.saturating_add(Duration::from_secs(1));
                last.record(lesson, self.now);
            }
        }
    }

    fn limit(&self) -> u32 {
        self.limit.load().limit
    }
}

#[test]
fn permits_go_up_to_the_limit_and_come_back() {
    let limit = aimd(1, 3, 5);
    let permits = take(&limit, 9);
    assert_eq!((permits.len(), limit.load()), (3, Load { limit: 3, in_flight: 3 }));
    drop(permits);
    assert_eq!(limit.load(), Load { limit: 3, in_flight: 0 });
}

#[test]
fn aimd_grows_by_one_and_shrinks_by_a_tenth() {
    let limit = aimd(1, 20, 200);
    let mut bench = Bench::new(&limit);
    let mut limits = Vec::new();
    let well = Lesson::Answered(10 * MILLISECOND);
    for lesson in [well, well, Lesson::Overload, Lesson::Overload, well] {
        bench.window(20, lesson);
        limits.push(bench.limit());
    }
    assert_eq!(limits, [21, 22, 19, 17, 18]);
}

#[test]
fn gradient2_grows_by_a_fifth_of_four_and_shrinks_by_a_fifth_of_the_gradient() {
    let limit = AdaptiveLimit::new(&AdaptiveLimitPolicy { initial: 100, ..policy(AdaptiveLimitKind::Gradient2) });
    let mut bench = Bench::new(&limit);
    let mut after = |lesson| {
        bench.window(60, lesson);
        bench.limit()
    };
    let took = |millis: u32| Lesson::Answered(millis * MILLISECOND);
    assert_eq!([100, 100, 100].map(|millis| after(took(millis))), [100, 101, 102]);
    assert_eq!(after(took(149)), 103, "within the tolerance");
    assert_eq!(after(took(200)), 98, "a fifth of what 0.75 takes from 103.2");
    assert_eq!(after(took(1000)), 88, "no gradient is below a half, so no window takes more than a tenth");
    assert_eq!(after(Lesson::Overload), 79, "however fast they came");
}

/// Netflix's algorithms take the calls that an app does not make for calls that the service could not take.
/// <https://github.com/Netflix/concurrency-limits/pull/134>
#[test]
fn t41_a_limit_that_is_not_used_does_not_grow() {
    for kind in BOTH {
        let limit = AdaptiveLimit::new(&policy(kind));
        let mut bench = Bench::new(&limit);
        (0..1000).for_each(|_| bench.window(9, Lesson::Answered(10 * MILLISECOND)));
        assert_eq!(bench.limit(), 20, "{kind:?}");
        (0..1000).for_each(|_| bench.window(10, Lesson::Answered(10 * MILLISECOND)));
        assert_eq!(bench.limit(), if kind == AdaptiveLimitKind::Aimd { 21 } else { 20 }, "{kind:?}");
    }
}

/// Envoy's limit once fell below its own minimum: <https://github.com/envoyproxy/envoy/pull/9947>
#[test]
fn t41_the_floor_is_the_minimum_and_the_ceiling_the_maximum() {
    for kind in BOTH {
        let limit = AdaptiveLimit::new(&AdaptiveLimitPolicy { min: 7, initial: 20, max: 30, ..policy(kind) });
        let mut bench = Bench::new(&limit);
        for round in 0..200 {
            bench.window(30, Lesson::Overload);
            assert!(bench.limit() >= 7, "{kind:?} in round {round}");
        }
        assert_eq!(bench.limit(), 7, "{kind:?}");
        (0..200).for_each(|_| bench.window(30, Lesson::Answered(10 * MILLISECOND)));
        assert_eq!(bench.limit(), 30, "{kind:?}");
    }
}

/// failsafe-go 0.9.2 released what was cancelled; until then it was in flight for ever.
/// <https://github.com/failsafe-go/failsafe-go/blob/master/CHANGELOG.md>
#[test]
fn t41_storms_of_cancelled_calls_leave_no_permit_behind_and_teach_nothing() {
    for kind in BOTH {
        let limit = AdaptiveLimit::new(&policy(kind));
        let mut bench = Bench::new(&limit);
        for round in 0..10_000_u32 {
            let permits = take(&limit, 50);
            assert_eq!(permits.len(), 20, "{kind:?} in round {round}");
            bench.now = bench.now.saturating_add(100 * MILLISECOND);
            for (index, permit) in permits.into_iter().enumerate() {
                match index % 2 {
                    0 => drop(permit),
                    _ => permit.record(Lesson::Nothing, bench.now),
                }
            }
        }
        assert_eq!(limit.load(), Load { limit: 20, in_flight: 0 }, "{kind:?}");
    }
}

#[test]
fn a_few_failures_are_no_overload() {
    let failing = |one_in: u32| {
        let limit = aimd(1, 20, 200);
        let mut now = Timestamp::ZERO;
        for call in 0..2_000 {
            let mut permits = take(&limit, 200);
            let permit = permits.pop().unwrap();
            now = now.saturating_add(10 * MILLISECOND);
            let lesson = if call % one_in == 0 { Lesson::Overload } else { Lesson::Answered(10 * MILLISECOND) };
            permit.record(lesson, now);
        }
        limit.load().limit
    };
    assert!(failing(20) > 20, "{}", failing(20));
    assert!(failing(5) < 20, "{}", failing(5));
}

#[test]
fn a_service_that_is_called_rarely_is_learned_about_too() {
    let limit = aimd(1, 1, 200);
    let mut now = Timestamp::ZERO;
    for _ in 0..100 {
        now = now.saturating_add(Duration::from_secs(3600));
        limit.try_acquire().unwrap().record(Lesson::Answered(MILLISECOND), now);
    }
    assert_eq!(limit.load().limit, 3, "of two, one is a half; of three it is not");
}

#[test]
fn a_clock_that_stands_still_or_latencies_without_end_are_no_harm() {
    for kind in BOTH {
        let limit = AdaptiveLimit::new(&policy(kind));
        for _ in 0..1000 {
            limit.try_acquire().unwrap().record(Lesson::Answered(Duration::ZERO), Timestamp::ZERO);
        }
        for latency in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::MAX] {
            for step in 1..100 {
                let now = Timestamp::from_millis(step * 1000);
                limit.try_acquire().unwrap().record(Lesson::Answered(latency), now);
            }
        }
        assert!((1..=200).contains(&limit.load().limit), "{kind:?}: {:?}", limit.load());
    }
}
