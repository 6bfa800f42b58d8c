//! Random schedules: whatever happens, everything is given back, and counted once.

use super::*;
use proptest::prelude::*;

/// A call: when it begins, what each of its attempts does, and when its caller loses patience.
#[derive(Clone, Debug)]
struct Planned {
    begin: Duration,
    replies: Vec<Reply>,
    patience: Duration,
    is_idempotent: bool,
}

fn reply() -> impl Strategy<Value = Reply> {
    let delay = || (0..400_u64).prop_map(millis);
    let pushback = prop_oneof![Just(Pushback::Never), delay().prop_map(Pushback::After)];
    prop_oneof![
        4 => delay().prop_map(|delay| Reply::AnswerAfter(delay, "answer")),
        3 => (delay(), prop::sample::select(vec![UNAVAILABLE, INTERNAL, NOT_FOUND, 8]))
            .prop_map(|(delay, code)| Reply::CodeAfter(delay, code)),
        1 => pushback.prop_map(Reply::Pushback),
        2 => Just(Reply::Hang),
        1 => Just(Reply::Panic),
    ]
}

fn planned() -> impl Strategy<Value = Planned> {
    let replies = proptest::collection::vec(reply(), 1..6);
    (0..1_000_u64, replies, 0..2_000_u64, prop::bool::weighted(0.8)).prop_map(
        |(begin, replies, patience, is_idempotent)| Planned {
            begin: millis(begin),
            replies,
            patience: millis(patience),
            is_idempotent,
        },
    )
}

fn policy() -> impl Strategy<Value = PolicySpec> {
    let retry = (1..5_u32, 0..30_u32);
    (1..=4_u32, 1..200_u64, retry, 1..8_u32, 1..8_u32, 0..2_u32).prop_map(
        |(max_extra, delay, (max_attempts, min_per_second), max_concurrent, consecutive_failures, percentile)| {
            let mut spec = hedging(max_extra);
            spec.hedge.delay = millis(delay);
            spec.hedge.percentile = f64::from(percentile) / 2.0;
            spec.timeout.call_timeout = SECOND;
            spec.retry.max_attempts = max_attempts;
            spec.retry.budget.min_per_second = min_per_second;
            spec.breaker.consecutive_failures = consecutive_failures;
            spec.breaker.open_duration = millis(300);
            spec.bulkhead = BulkheadPolicy { max_concurrent, max_queue: 2, max_wait: SECOND, ..spec.bulkhead };
            spec
        },
    )
}

/// Makes a call; how many attempts it made.
async fn make(bench: &Bench, planned: &Planned, most: u32) -> u64 {
    bench.runtime.sleep(planned.begin).await;
    let mut script = Script::new(planned.replies.iter().copied());
    let options = CallOptions { is_idempotent: planned.is_idempotent, ..idempotent() };
    let call = std::panic::AssertUnwindSafe(bench.run(&mut script, options)).catch_unwind();
    drop(tokio::time::timeout(planned.patience, call).await);
    let attempts = script.attempts.len();
    assert!(attempts <= most as usize, "{attempts} attempts");
    let cancelled = script.cancelled();
    let once: std::collections::HashSet<u32> = cancelled.iter().copied().collect();
    assert_eq!(once.len(), cancelled.len(), "cancelled twice");
    attempts as u64
}

async fn check(before: PolicySpec, after: PolicySpec, swap: Duration, calls: Vec<Planned>) {
    let bench = Bench::new(before.clone());
    let most = |spec: &PolicySpec| spec.retry.max_attempts.max(1 + spec.hedge.max_extra);
    let most = most(&before).max(most(&after));
    let all = futures_util::future::join_all(calls.iter().map(|planned| make(&bench, planned, most)));
    let swapped = async {
        bench.runtime.sleep(swap).await;
        bench.apply(after.clone());
    };
    let (attempts, ()) = tokio::join!(all, swapped);

    let counters = bench.counters();
    let ended = counters.served_live + counters.failed + counters.cancelled;
    assert_eq!((counters.calls, ended), (calls.len() as u64, calls.len() as u64));
    let judged = counters.attempt_successes + counters.attempt_failures + counters.attempt_neutrals;
    assert_eq!((counters.attempts, judged), (attempts.iter().sum(), counters.attempts));
    let firsts = attempts.iter().filter(|attempts| **attempts > 0).count() as u64;
    assert_eq!(counters.attempts, firsts + counters.retries + counters.hedges);
    assert!(counters.hedge_wins <= counters.hedges);
    assert_eq!(places_in_use(&bench), 0);
    assert_eq!(bench.isolation.in_force().scope("list").lane(None, "list").places.queued(), 0);

    // No slot of a probe is lost, either.
    bench.runtime.sleep(60 * SECOND).await;
    for _ in 0..2 {
        bench.call([Reply::Answer("probe")]).await.unwrap();
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
}

proptest! {
    #[test]
    fn permits_are_conserved_under_any_schedule(
        before in policy(),
        after in policy(),
        swap in 0..1_000_u64,
        calls in proptest::collection::vec(planned(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check(before, after, millis(swap), calls));
    }
}
