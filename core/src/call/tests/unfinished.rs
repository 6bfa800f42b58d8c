//! Answers that have begun, and end later.

use super::*;
use crate::health::HealthStatus;

impl Bench {
    /// A call whose answer begins.
    async fn begin(&self) -> Unfinished {
        let mut script = Script::new([Reply::Answer("begun")]);
        let answer = self.run(&mut script, idempotent()).await.unwrap();
        assert_eq!((answer.value.as_str(), answer.source), ("begun, to be continued", Source::Live));
        script.unfinished.pop().unwrap()
    }

    fn end(&self, unfinished: Unfinished, outcome: Outcome) {
        unfinished.end(&self.isolation, &self.runtime, outcome);
    }

    fn window(&self) -> (u64, u64) {
        self.isolation.window_counts(self.runtime.now())
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_when_it_ends() {
    let bench = Bench::new(at(Level::Enhanced));
    let mut begun = Vec::new();
    for _ in 0..6 {
        begun.push(bench.begin().await);
    }
    let counters = bench.counters();
    assert_eq!((bench.window(), counters.calls, counters.served_live, counters.attempts), ((0, 0), 6, 6, 0));
    bench.end(begun.pop().unwrap(), Outcome::Success);
    assert_eq!(bench.window(), (1, 0));
    for failed in begun {
        assert_eq!(bench.breaker(), Some(State::Closed));
        bench.end(failed, Outcome::Failure);
    }
    assert_eq!(bench.breaker(), Some(State::Open), "five in a row");
    let counters = bench.counters();
    assert_eq!((counters.attempts, counters.attempt_successes, counters.attempt_failures), (6, 1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_probe_decides_when_it_ends_and_one_that_is_lost_gives_its_place_back() {
    for outcome in [Outcome::Success, Outcome::Failure] {
        let bench = Bench::new(at(Level::Enhanced));
        bench.isolation.trip(&crate::hold::Target::All, Some(SECOND), bench.runtime.now(), || 0);
        bench.runtime.sleep(SECOND).await;
        let (one, other) = (bench.begin().await, bench.begin().await);
        assert!(one.context().is_probe);
        let rejected = bench.call([Reply::Answer("a third")]).await.unwrap_err();
        assert!(matches!(rejected.cause, FailureCause::Open { .. }));
        drop(other);
        let other = bench.begin().await;
        bench.end(one, outcome);
        let after = if outcome == Outcome::Success { State::HalfOpen } else { State::Open };
        assert_eq!(bench.breaker(), Some(after));
        bench.end(other, Outcome::Success);
        let (state, stale) = if outcome == Outcome::Success { (State::Closed, 0) } else { (State::Open, 1) };
        assert_eq!((bench.breaker(), bench.counters().stale_results), (Some(state), stale));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_holds_no_place() {
    let bulkhead = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
    let bench = Bench::new(PolicySpec { bulkhead, ..at(Level::Full) });
    let (one, other) = (bench.begin().await, bench.begin().await);
    bench.end(one, Outcome::Neutral);
    bench.end(other, Outcome::Success);
    let counters = bench.counters();
    assert_eq!((counters.attempts, counters.attempt_neutrals, counters.rejected_bulkhead), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_call_is_over_with_the_beginning() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![static_step("static")]));
    let unfinished = bench.begin().await;
    bench.end(unfinished, Outcome::Failure);
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.retries, counters.served_static), (1, 0, 0));
}

/// Each that ended under the policy of before emptied the window, and those after it did again.
#[tokio::test(start_paused = true)]
async fn the_end_of_one_that_began_under_another_policy_leaves_the_health_as_it_is() {
    let mut spec = at(Level::Basic);
    let bench = Bench::new(spec.clone());
    let begun = bench.begin().await;
    spec.health.window *= 2;
    bench.apply(spec);
    let failing = async || bench.call([Reply::Code(13)]).await.unwrap_err();
    for _ in 0..20 {
        failing().await;
    }
    let health = || bench.isolation.health(bench.runtime.now());
    let before = health();
    assert_ne!(before, HealthStatus::Healthy);
    bench.end(begun, Outcome::Success);
    assert_eq!(health(), before);
}
