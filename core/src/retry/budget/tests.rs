mod model;

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

fn policy(ratio: f64, min_per_second: u32, ttl_seconds: u64) -> BudgetPolicy {
    BudgetPolicy { ratio, min_per_second, ttl: Duration::from_secs(ttl_seconds) }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// How often one can withdraw.
fn drain(budget: &RetryBudget, now: Timestamp, policy: &BudgetPolicy) -> usize {
    (0..10_000).take_while(|_| budget.withdraw(now, policy)).count()
}

/// Seen in <https://github.com/tower-rs/tower/issues/857>,
/// <https://github.com/joshrotenberg/tower-resilience/issues/370>,
/// <https://github.com/failsafe-go/failsafe-go/issues/139>.
#[test]
fn t29_a_ratio_of_six_tenths_allows_six_of_ten() {
    let policy = policy(0.6, 0, 10);
    let budget = RetryBudget::new(&policy);
    let allowed = (0..10)
        .filter(|_| {
            budget.deposit(at(5));
            budget.withdraw(at(5), &policy)
        })
        .count();
    assert_eq!(allowed, 6);
}

#[test]
fn thousandths_add_up() {
    let policy = policy(0.1, 0, 10);
    let budget = RetryBudget::new(&policy);
    for _ in 0..1000 {
        budget.deposit(at(1));
    }
    assert_eq!(drain(&budget, at(1), &policy), 100);
}

#[test]
fn some_a_second_are_always_there() {
    let policy = policy(0.2, 10, 10);
    let budget = RetryBudget::new(&policy);
    assert_eq!(budget.balance(at(1), &policy), 100.0);
    assert_eq!(drain(&budget, at(1), &policy), 100);
    assert_eq!(budget.balance(at(1), &policy), 0.0);
    // Nine buckets later they are still spent, ten later they are there again.
    assert_eq!(drain(&budget, at(9_999), &policy), 0);
    assert_eq!(drain(&budget, at(10_000), &policy), 100);
}

#[test]
fn deposits_expire() {
    let policy = policy(1.0, 0, 10);
    let budget = RetryBudget::new(&policy);
    for _ in 0..4 {
        budget.deposit(at(500));
        budget.deposit(at(5_500));
    }
    assert_eq!(budget.balance(at(9_999), &policy), 8.0);
    assert_eq!(budget.balance(at(10_500), &policy), 4.0);
    assert_eq!(drain(&budget, at(10_500), &policy), 4);
    assert_eq!(budget.balance(at(3_600_000), &policy), 0.0);
}

#[test]
fn a_new_ratio_applies_to_what_happened() {
    let half = policy(0.5, 0, 10);
    let budget = RetryBudget::new(&half);
    for _ in 0..100 {
        budget.deposit(at(1));
    }
    assert_eq!(drain(&budget, at(1), &half), 50);
    assert_eq!(drain(&budget, at(1), &policy(0.7, 0, 10)), 20);
    assert_eq!(budget.balance(at(1), &half), 0.0);
    assert!(!budget.withdraw(at(1), &half));
    assert_eq!(drain(&budget, at(1), &policy(0.7, 1, 10)), 10);
}

#[test]
fn a_new_ttl_starts_afresh() {
    let now = at(100_000);
    let (ten, two) = (policy(1.0, 0, 10), policy(1.0, 0, 2));
    let budget = RetryBudget::new(&ten);
    for _ in 0..5 {
        budget.deposit(now);
    }
    budget.set_policy(&two);
    assert_eq!(budget.balance(now, &two), 0.0);
    assert!(!budget.withdraw(now, &two));
    budget.deposit(now);
    budget.set_policy(&two);
    assert!(budget.withdraw(now, &two), "the same ttl again begins nothing");
}

/// Calls that began under the ttl before would otherwise begin it anew, each with a budget that nobody has spent from.
#[test]
fn calls_of_the_policy_before_go_by_the_window_in_force() {
    let now = at(100_000);
    let (ten, twenty) = (policy(0.0, 1, 10), policy(0.0, 1, 20));
    let budget = RetryBudget::new(&ten);
    assert_eq!(drain(&budget, now, &ten), 10);
    budget.set_policy(&twenty);
    let mut granted = 0;
    for _ in 0..100 {
        granted += usize::from(budget.withdraw(now, &ten));
        budget.deposit(now);
        granted += usize::from(budget.withdraw(now, &twenty));
    }
    assert_eq!(granted, 20, "one new window, once");
}

#[test]
fn an_earlier_time_finds_no_second_budget() {
    let policy = policy(0.0, 1, 10);
    let budget = RetryBudget::new(&policy);
    assert_eq!(drain(&budget, at(20_000), &policy), 10);
    assert_eq!(drain(&budget, at(19_000), &policy), 0);
    assert_eq!(drain(&budget, at(5_000), &policy), 0);
}

#[test]
fn the_end_of_time_does_no_harm() {
    let (policy, end) = (policy(0.5, 0, 10), Timestamp::from_nanos(u64::MAX));
    let budget = RetryBudget::new(&policy);
    (0..4).for_each(|_| budget.deposit(end));
    assert_eq!(drain(&budget, end, &policy), 2);
}

#[test]
fn an_unchecked_policy_does_no_harm() {
    for ratio in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        let policy = BudgetPolicy { ratio, min_per_second: 0, ttl: Duration::ZERO };
        let budget = RetryBudget::new(&policy);
        budget.deposit(at(1));
        assert!(!budget.withdraw(at(1), &policy));
    }
    let boundless = BudgetPolicy { ratio: f64::INFINITY, min_per_second: u32::MAX, ttl: Duration::MAX };
    let budget = RetryBudget::new(&boundless);
    budget.deposit(at(1));
    assert!(budget.withdraw(at(1), &boundless));
}

/// Seen in <https://github.com/tower-rs/tower/issues/857>,
/// <https://github.com/joshrotenberg/tower-resilience/issues/370>,
/// <https://github.com/failsafe-go/failsafe-go/issues/139>.
#[test]
fn t29_racing_withdrawals_take_no_more_than_there_is() {
    let policy = policy(0.0, 7, 1);
    let budget = RetryBudget::new(&policy);
    for round in 0..300 {
        let now = at(round * 1_000);
        let taken = AtomicUsize::new(0);
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    taken.fetch_add(drain(&budget, now, &policy), SeqCst);
                });
            }
        });
        assert_eq!(taken.into_inner(), 7);
    }
}

/// Seen in <https://github.com/tower-rs/tower/issues/857>,
/// <https://github.com/joshrotenberg/tower-resilience/issues/370>,
/// <https://github.com/failsafe-go/failsafe-go/issues/139>.
#[test]
fn t29_racing_withdrawals_across_a_tick_take_no_more_than_there_is() {
    const ROUNDS: usize = 50_000;
    let policy = policy(0.0, 1, 1);
    let budget = RetryBudget::new(&policy);
    let taken: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (taken, arrived, budget, policy) = (&taken, &arrived, &budget, &policy);
            scope.spawn(move || {
                for (round, taken) in taken.iter().enumerate() {
                    arrived.fetch_add(1, SeqCst);
                    let mut spins = 0;
                    while arrived.load(SeqCst) < 2 * (round + 1) {
                        spins += 1;
                        // A barrier that blocks would start them too far apart to meet.
                        if spins < 1_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
                    }
                    // One thread's clock is a bucket ahead of the other's, both within one window.
                    let now = at(round as u64 * 2_000 + thread * 100);
                    taken.fetch_add(drain(budget, now, policy), SeqCst);
                }
            });
        }
    });
    assert!(taken.into_iter().all(|taken| taken.into_inner() <= 1));
    assert_eq!(drain(&budget, at(ROUNDS as u64 * 2_000), &policy), 1);
}
