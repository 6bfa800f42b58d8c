//! What calls take from what is limited: retries and turns.

use super::{CROWD, Part, check, crowd, race, shared};
use crate::adaptive_limit::AdaptiveLimit;
use crate::policy::{AdaptiveLimitPolicy, BudgetPolicy, RateLimitPolicy};
use crate::rate_limit::RateLimit;
use crate::retry::RetryBudget;
use crate::time::Timestamp;
use std::time::Duration;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Two want the last retry, at one time, or one of them a bucket later.
///
/// Seen in <https://github.com/tower-rs/tower/issues/857>,
/// <https://github.com/joshrotenberg/tower-resilience/issues/370>.
#[test]
fn t29_the_last_retry_is_taken_once() {
    for between in [0, 100] {
        check(move || {
            let policy = BudgetPolicy { ratio: 0.0, min_per_second: 1, ttl: Duration::from_secs(1) };
            let budget = shared(RetryBudget::new(&policy));
            let taken = crowd(2, move |number| budget.withdraw(at(2_000 + number as u64 * between), &policy));
            assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 1);
            assert!(!budget.withdraw(at(2_100), &policy));
        });
    }
}

/// A deposit that is made while somebody withdraws is there for the next one at the latest.
#[test]
fn no_deposit_is_lost() {
    check(|| {
        let policy = BudgetPolicy { ratio: 1.0, min_per_second: 0, ttl: Duration::from_secs(10) };
        let budget = shared(RetryBudget::new(&policy));
        let taken = crowd(2, move |_| {
            budget.deposit(at(1));
            budget.withdraw(at(1), &policy)
        });
        let taken = taken.into_iter().filter(|taken| *taken).count();
        assert!(taken >= 1);
        assert_eq!(budget.balance(at(1), &policy), (2 - taken) as f64);
    });
}

#[test]
fn turns_are_handed_out_one_by_one() {
    check(|| {
        let limit = shared(RateLimit::new());
        let policy = RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(10) };
        let mut waits = crowd(CROWD, move |_| {
            let turn = limit.enter(&policy, Duration::from_secs(1), at(1)).unwrap();
            let wait = turn.wait().as_millis();
            turn.take();
            wait
        });
        waits.sort_unstable();
        assert!(waits.into_iter().eq((0..CROWD as u128).map(|number| number * 100)));
    });
}

/// One gives its turn up while another one comes: it is used again or lost, but never given to two.
#[test]
fn a_turn_that_is_given_up_is_not_used_twice() {
    check(|| {
        let limit = shared(RateLimit::new());
        let policy = RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(10) };
        let waits = crowd(3, move |number| {
            let turn = limit.enter(&policy, Duration::from_secs(1), at(1)).unwrap();
            let wait = turn.wait().as_millis();
            if number == 0 {
                return None;
            }
            turn.take();
            Some(wait)
        });
        let mut waits: Vec<_> = waits.into_iter().flatten().collect();
        waits.sort_unstable();
        assert!(waits[0] < waits[1] && waits[1] <= 200, "{waits:?}");
    });
}

/// Calls come and go while the limit changes: never more are let in than it says when they are, and all permits are back.
///
/// Seen in <https://github.com/Netflix/concurrency-limits/issues/134>.
#[test]
fn t41_permits_are_conserved_while_the_limit_moves() {
    check(|| {
        let of = |limit| AdaptiveLimitPolicy { initial: limit, min: 1, max: limit, ..AdaptiveLimitPolicy::default() };
        let limit: &AdaptiveLimit = shared(AdaptiveLimit::new(&of(2)));
        let call = || {
            let permit = limit.try_acquire();
            assert!(limit.load().in_flight <= 2);
            permit.is_some()
        };
        let parts: [Part<bool>; 3] = [
            Box::new(call),
            Box::new(call),
            Box::new(move || {
                limit.set_policy(&of(1));
                true
            }),
        ];
        assert!(race(parts).into_iter().filter(|let_in| *let_in).count() >= 2, "one call at least, and the policy");
        assert_eq!((limit.load().limit, limit.load().in_flight), (1, 0));
    });
}
