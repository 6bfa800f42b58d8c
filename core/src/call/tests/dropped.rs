//! Calls whose callers leave, wherever they have come: after each of their polls.

use super::*;
use crate::adaptive_limit::Load;
use crate::cache::{CacheKey, Turn};
use crate::hold::Target;
use crate::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, AlternativeFallback, BudgetPolicy, HedgePolicy, RateLimitPolicy,
};
use std::future::poll_fn;
use std::task::Poll;

const MILLISECOND: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);

/// What a call came to, or `None`: it was dropped after so many polls.
async fn for_polls<F: Future>(polls: usize, call: F) -> Option<F::Output> {
    let mut call = Box::pin(call);
    let mut polled = 0;
    poll_fn(|context| {
        polled += 1;
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Everything that a policy can do, in one call: a turn to wait for, a place to wait for, hedges, retries, and a chain
/// whose every step takes its time.
fn all_of_it() -> PolicySpec {
    let alternative = AlternativeFallback {
        service: Name::new("backup-service").unwrap(),
        method: String::new(),
        timeout: AlternativeFallback::DEFAULT_TIMEOUT,
    };
    let chain = vec![
        FallbackStep::Cached(CachedFallback { ttl: SECOND, ..CachedFallback::default() }),
        FallbackStep::Alternative(alternative),
        FallbackStep::Degraded(DegradedFallback::default()),
    ];
    let budget = BudgetPolicy { ratio: 0.0, min_per_second: 1, ttl: 10 * SECOND };
    PolicySpec {
        rate_limit: Some(RateLimitPolicy { burst: 1, max_wait: 2 * SECOND, ..RateLimitPolicy::per_second(1) }),
        bulkhead: BulkheadPolicy { max_concurrent: 2, max_queue: 1, max_wait: 2 * SECOND, ..BulkheadPolicy::default() },
        adaptive_limit: AdaptiveLimitPolicy {
            kind: AdaptiveLimitKind::Aimd,
            min: 2,
            initial: 2,
            ..AdaptiveLimitPolicy::default()
        },
        hedge: HedgePolicy { max_extra: 2, ..HedgePolicy::after(TENTH) },
        retry: RetryPolicy { budget, ..at(Level::Full).retry },
        ..with_chain(Level::Full, chain)
    }
}

fn keyed() -> CallOptions<'static> {
    CallOptions { cache_key: Some(b"7"), ..idempotent() }
}

impl Bench {
    /// Whatever a call can hold is there again.
    fn holds_nothing(&self, at: usize) {
        let in_force = self.isolation.in_force();
        let scope = in_force.scope("list");
        let places = &scope.lane(None, "list").places;
        assert_eq!((places.in_flight(), places.queued()), (0, 0), "places after poll {at}");
        assert_eq!(scope.fallback_places.in_flight(), 0, "places of fallbacks after poll {at}");
        let Load { in_flight, .. } = scope.adaptive_limit.load();
        assert_eq!(in_flight, 0, "permits of the adaptive limit after poll {at}");
    }

    /// Each attempt that was started is counted once: those that were dropped as neutral.
    fn counts_each(&self, script: &Script, at: usize) {
        let counters = self.counters();
        assert_eq!((counters.calls, counters.cancelled), (1, 1), "calls after poll {at}");
        assert_eq!(counters.attempts, script.attempts.len() as u64, "attempts after poll {at}");
        let dropped = script.cancelled().len() as u64;
        let ended = counters.attempt_successes + counters.attempt_failures + counters.attempt_neutrals;
        assert_eq!(ended, counters.attempts, "after poll {at}");
        assert_eq!(counters.attempt_neutrals + counters.timeouts, dropped, "after poll {at}");
        let budget = &self.isolation.budget;
        let spent = 10.0 - budget.balance(self.runtime.now(), &self.isolation.in_force().policy.retry.budget);
        let paid = (counters.hedges + counters.retries) as f64;
        assert!(spent == paid || spent == paid + 1.0, "{spent} for {paid}, and a retry in its pause, after poll {at}");
    }
}

/// Polls until the call is over of itself, and the stages that some call was dropped in, by what it had counted.
async fn drop_everywhere(replies: &[Reply]) -> (usize, Vec<CounterSnapshot>) {
    let mut seen = Vec::new();
    for polls in 1.. {
        let bench = Bench::new(all_of_it());
        // The first turn is taken, and so are the places for a while.
        let scope_of = bench.isolation.in_force();
        let scope = scope_of.scope("list");
        scope.rate_limit.enter(scope.rate_limit_policy().unwrap(), SECOND, bench.runtime.now()).unwrap().take();
        let places = [(); 2].map(|()| scope.lane(None, "list").places.try_acquire().unwrap());
        let mut script = Script::new(replies.iter().copied());
        (script.delay, script.local) = (TENTH, Some("mine"));
        let free = async {
            tokio::time::sleep(SECOND + TENTH).await;
            drop(places);
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = for_polls(polls, bench.run(&mut script, keyed())) => result,
            () = free => unreachable!("it is pending for ever"),
        };
        if result.is_some() {
            return (polls, seen);
        }
        // The places that were taken above are gone with the future that held them.
        bench.holds_nothing(polls);
        bench.counts_each(&script, polls);
        seen.push(bench.counters());
        tokio::time::sleep(60 * SECOND).await;
        let answer = bench.run(&mut Script::new([Reply::Answer("live")]), keyed()).await.unwrap();
        assert_eq!(answer.source, Source::Live, "after poll {polls}");
    }
    unreachable!("calls end")
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>, <https://github.com/monix/monix/issues/1080>.
#[tokio::test(start_paused = true)]
async fn t03_t23_a_call_can_be_dropped_at_every_poll() {
    let (polls, seen) =
        drop_everywhere(&[Reply::CodeAfter(TENTH / 2, UNAVAILABLE), Reply::CodeAfter(3 * TENTH, UNAVAILABLE)]).await;
    // It was dropped before, between and within attempts, of which some were hedges or retries, and in the chain.
    assert!(polls > 10, "{polls}");
    let any = |has: fn(&CounterSnapshot) -> bool| assert!(seen.iter().any(has), "{seen:#?}");
    any(|counters| counters.attempts == 0);
    any(|counters| counters.attempt_neutrals > 0);
    any(|counters| counters.hedges > 0);
    any(|counters| counters.attempts > 0 && counters.attempt_neutrals == 0);
    let last = seen.last().unwrap();
    assert!(last.attempt_failures == last.attempts && last.attempts > 2, "in the chain: {last:?}");
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>, <https://github.com/monix/monix/issues/1080>.
#[tokio::test(start_paused = true)]
async fn t03_a_probe_that_is_dropped_gives_its_slot_back_at_every_poll() {
    let mut polls = 1;
    loop {
        let bench = Bench::new(at(Level::Full));
        bench.isolation.trip(&Target::All, Some(SECOND), bench.runtime.now(), || 0);
        tokio::time::sleep(SECOND).await;
        let result = for_polls(polls, bench.call([Reply::AnswerAfter(SECOND, "late")])).await;
        if result.is_some() {
            break;
        }
        assert_eq!((bench.breaker(), bench.counters().attempt_neutrals), (Some(State::HalfOpen), 1));
        for expected in [State::HalfOpen, State::Closed] {
            bench.call([Reply::Answer("live")]).await.unwrap();
            assert_eq!(bench.breaker(), Some(expected), "both slots, after poll {polls}");
        }
        polls += 1;
    }
    assert!(polls > 1);
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>, <https://github.com/monix/monix/issues/1080>.
#[tokio::test(start_paused = true)]
async fn t03_a_refresh_that_is_dropped_lets_another_call_refresh_at_every_poll() {
    let step = CachedFallback { ttl: SECOND, ..CachedFallback::default() };
    let mut polls = 1;
    loop {
        let bench = Bench::new(with_chain(Level::Basic, vec![FallbackStep::Cached(step.clone())]));
        bench.run(&mut Script::new([Reply::Answer("kept")]), keyed()).await.unwrap();
        bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed()).await.unwrap();
        tokio::time::sleep(SECOND).await;
        let mut script = Script::new([Reply::AnswerAfter(TENTH, "new")]);
        if for_polls(polls, bench.run(&mut script, keyed())).await.is_some() {
            break;
        }
        let in_force = bench.isolation.in_force();
        let turn = in_force.scope("list").cache.turn(&step, &CacheKey::new("list", b"7"), bench.runtime.now());
        assert!(matches!(turn, Turn::Live(Some(_))), "after poll {polls}");
        polls += 1;
    }
    assert!(polls > 1);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_waited_for_is_given_back() {
    let limit = RateLimitPolicy { burst: 1, max_wait: 10 * SECOND, ..RateLimitPolicy::per_second(1) };
    let bench = Bench::new(PolicySpec { rate_limit: Some(limit), ..at(Level::Full) });
    bench.call([Reply::Answer("first")]).await.unwrap();
    for _ in 0..20 {
        assert!(for_polls(1, bench.call([Reply::Answer("never")])).await.is_none());
    }
    let before = bench.runtime.now();
    bench.call([Reply::Answer("second")]).await.unwrap();
    let waited = bench.runtime.now().saturating_since(before);
    assert!(waited <= SECOND + MILLISECOND, "{waited:?}: not behind those who left");
}
