mod model;

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::atomic::AtomicUsize;

const SECOND: Duration = Duration::from_secs(1);

fn policy(permits: u32, burst: u32) -> RateLimitPolicy {
    RateLimitPolicy { burst, ..RateLimitPolicy::per_second(permits) }
}

fn starts(limit: &RateLimit, policy: &RateLimitPolicy, now: Timestamp) -> bool {
    limit.enter(policy, Duration::ZERO, now).map(Turn::take).is_ok()
}

fn burst(limit: &RateLimit, policy: &RateLimitPolicy, now: Timestamp) -> usize {
    (0..1000).filter(|_| starts(limit, policy, now)).count()
}

#[test]
fn a_burst_then_the_rate() {
    let limit = RateLimit::new();
    let policy = policy(10, 3);
    assert_eq!(burst(&limit, &policy, Timestamp::from_millis(5)), 3);
    assert_eq!(burst(&limit, &policy, Timestamp::from_millis(104)), 0);
    assert_eq!(burst(&limit, &policy, Timestamp::from_millis(105)), 1);
    assert_eq!(burst(&limit, &policy, Timestamp::from_millis(355)), 2);
    assert_eq!(burst(&limit, &policy, Timestamp::from_millis(60_000)), 3, "a quiet time saves up one burst");
}

#[test]
fn a_burst_of_none_is_that_of_all_permits() {
    assert_eq!(burst(&RateLimit::new(), &policy(7, 0), Timestamp::ZERO), 7);
}

#[test]
fn waiting_calls_stand_in_line() {
    let limit = RateLimit::new();
    let policy = policy(10, 1);
    let waits = [(); 4].map(|()| limit.enter(&policy, 250 * Duration::from_millis(1), Timestamp::ZERO));
    let waits = waits.map(|turn| turn.map(|turn| (turn.wait().as_millis(), turn.take()).0).ok());
    assert_eq!(waits, [Some(0), Some(100), Some(200), None]);
}

#[test]
fn a_turn_that_is_given_up_goes_to_the_next_that_would_wait() {
    let limit = RateLimit::new();
    let policy = policy(10, 1);
    let enter = || limit.enter(&policy, SECOND, Timestamp::ZERO).unwrap();
    enter().take();
    drop(enter());
    let (second, third) = (enter(), enter());
    assert_eq!((second.wait().as_millis(), third.wait().as_millis()), (100, 200));
    drop(second);
    let fourth = enter();
    assert_eq!(fourth.wait().as_millis(), 100, "the third has been told its turn, and this one is free");
    let fifth = enter();
    assert_eq!(fifth.wait().as_millis(), 300);
    drop((fourth, third));
    // All behind the first have left, in whatever order.
    drop(fifth);
    assert_eq!(enter().wait().as_millis(), 100);
}

#[test]
fn a_turn_whose_time_has_passed_is_nobodys() {
    let limit = RateLimit::new();
    let policy = policy(10, 1);
    let enter = |millis| limit.enter(&policy, SECOND, Timestamp::from_millis(millis));
    enter(0).unwrap().take();
    let [second, third] = [(); 2].map(|()| enter(0).unwrap());
    drop(second);
    third.take();
    assert_eq!(enter(101).unwrap().wait().as_millis(), 199, "at 100 ms it could have been taken");
}

#[test]
fn a_turn_that_is_too_far_away_is_left_for_others() {
    let limit = RateLimit::new();
    let policy = policy(10, 1);
    let enter = |longest| limit.enter(&policy, Duration::from_millis(longest), Timestamp::ZERO);
    enter(0).unwrap().take();
    let [second, third] = [(); 2].map(|()| enter(1_000).unwrap());
    drop(second);
    assert_eq!(enter(99).unwrap_err().retry_after.as_millis(), 100);
    assert_eq!(enter(100).unwrap().wait().as_millis(), 100);
    drop(third);
}

/// Before, each that left kept its place, and with as many coming as leaving nobody ever started.
#[test]
fn callers_that_leave_do_not_starve_those_who_stay() {
    let limit = RateLimit::new();
    let policy = policy(20, 1);
    let mut started = 0;
    let mut line: Vec<(Turn<'_>, u64)> = Vec::new();
    for millis in (0..10_000).step_by(25) {
        let now = Timestamp::from_millis(millis);
        let left = line.extract_if(.., |(_, since)| millis - *since >= 500);
        left.for_each(drop);
        let due = line.extract_if(.., |(turn, since)| *since + turn.wait().as_millis() as u64 <= millis);
        started += due.map(|(turn, _)| turn.take()).count();
        if let Ok(turn) = limit.enter(&policy, 2 * SECOND, now) {
            line.push((turn, millis));
        }
    }
    assert!((190..=200).contains(&started), "{started} of 200");
}

#[test]
fn a_new_policy_goes_on_where_the_last_one_was() {
    let limit = RateLimit::new();
    let (now, mut last) = (Timestamp::from_millis(1), policy(10, 10));
    limit.set_policy(&last, now);
    assert_eq!(burst(&limit, &last, now), 10);
    for (next, millis, expected, why) in [
        (policy(100, 5), 1, 0, "no fresh burst"),
        (policy(100, 500), 1, 0, "nor by a larger one"),
        (policy(1, 500), 31, 3, "30 ms of the rate that was"),
        (policy(100, 50), 1_031, 1, "a second of the slow rate"),
        (policy(100, 20), 11_031, 20, "all of a burst that was never used, and no more than there is room for now"),
        (policy(1, 1), 11_031, 0, "no token is left"),
        (policy(1_000, 1), 11_032, 0, "nor a thousandth of a second later"),
        (policy(1_000, 1), 11_033, 1, "and nobody waits at the rate that was"),
    ] {
        let now = Timestamp::from_millis(millis);
        // What was earned until now was earned at the rate before.
        limit.set_policy(&next, now);
        assert_eq!(burst(&limit, &next, now), expected, "{why}: {last:?}, then {next:?}");
        last = next;
    }
}

#[test]
fn a_smaller_burst_keeps_no_debt() {
    let limit = RateLimit::new();
    let large = policy(10, 100);
    limit.set_policy(&large, Timestamp::ZERO);
    assert_eq!(burst(&limit, &large, Timestamp::ZERO), 100);
    let (small, later) = (policy(10, 1), Timestamp::from_millis(100));
    limit.set_policy(&small, later);
    assert_eq!(burst(&limit, &small, later), 1, "as many as the large one would have let through");
    assert_eq!(burst(&limit, &small, Timestamp::from_millis(199)), 0);
    assert_eq!(burst(&limit, &small, Timestamp::from_millis(200)), 1);
}

#[test]
fn extremes_reject_rather_than_overflow() {
    let day = Duration::from_secs(86_400);
    let slow = RateLimitPolicy { permits: 1, period: day, burst: u32::MAX, max_wait: day };
    let limit = RateLimit::new();
    let end = Timestamp::from_nanos(u64::MAX);
    assert_eq!(limit.enter(&slow, day, end).unwrap_err(), RateLimited { retry_after: day });
    let fast = RateLimitPolicy { permits: u32::MAX, period: Duration::from_nanos(1), burst: 0, max_wait: day };
    assert!(starts(&limit, &fast, Timestamp::ZERO));
}

/// The same limit as a bucket of tokens, in fractions of `1 / permits` of a nanosecond of the period.
struct Bucket {
    tokens: u128,
    last: u64,
}

proptest! {
    #[test]
    fn agrees_with_a_bucket_of_tokens(
        permits in 1u32..50, burst in 1u32..20, between in 1u64..1000, gaps in vec(0u64..3000, 1..200),
    ) {
        // A period that the permits divide: of others, the rounding up is all that differs.
        let period = Duration::from_nanos(between * u64::from(permits));
        let policy = RateLimitPolicy { permits, period, burst, max_wait: Duration::ZERO };
        let (limit, mut now) = (RateLimit::new(), 0);
        let full = u128::from(burst) * u128::from(between);
        let mut bucket = Bucket { tokens: full, last: 0 };
        for gap in gaps {
            now += gap;
            bucket.tokens = full.min(bucket.tokens + u128::from(now - bucket.last));
            bucket.last = now;
            let expected = bucket.tokens >= u128::from(between);
            if expected {
                bucket.tokens -= u128::from(between);
            }
            prop_assert_eq!(starts(&limit, &policy, Timestamp::from_nanos(now)), expected);
        }
    }

    #[test]
    fn no_stretch_of_time_has_more_than_a_burst_and_the_rate(
        permits in 1u32..1000, period in 1u64..1_000_000, burst in 1u32..20, longest in 0u64..5000,
        gaps in vec(0u64..3000, 1..200),
    ) {
        let policy = RateLimitPolicy {
            permits, period: Duration::from_nanos(period), burst, max_wait: Duration::from_nanos(longest),
        };
        let (limit, mut now, mut started) = (RateLimit::new(), 0, Vec::new());
        for gap in gaps {
            now += gap;
            if let Ok(turn) = limit.enter(&policy, policy.max_wait, Timestamp::from_nanos(now)) {
                started.push(now + turn.wait().as_nanos() as u64);
                turn.take();
            }
        }
        for (first, from) in started.iter().enumerate() {
            for (last, to) in started.iter().enumerate().skip(first) {
                let most = u64::from(burst) + (to - from) * u64::from(permits) / period;
                prop_assert!((last - first + 1) as u64 <= most, "{} in {}", last - first + 1, to - from);
            }
        }
    }
}

/// The threads share a clock that is moved by whoever is quickest, so their views of it differ as real ones do.
#[test]
fn threads_together_start_no_more_than_a_burst_and_the_rate() {
    const THREADS: usize = 4;
    const TICKS: u64 = 20_000;
    let (limit, clock, started) = (RateLimit::new(), AtomicU64::new(0), AtomicUsize::new(0));
    let policy = RateLimitPolicy { permits: 1, period: Duration::from_nanos(5), burst: 8, max_wait: Duration::ZERO };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let now = clock.fetch_add(1, Relaxed);
                    if now >= TICKS {
                        break;
                    }
                    for _ in 0..4 {
                        if starts(&limit, &policy, Timestamp::from_nanos(now)) {
                            started.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
    });
    let most = 8 + (TICKS as usize - 1) / 5;
    let started = started.into_inner();
    assert!(started <= most, "{started} of {most}");
    // Who reads the clock and is then held up comes late, which costs turns only where nobody else comes in time.
    assert!(started >= most / 2, "{started} of {most}");
}
