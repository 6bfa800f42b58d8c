//! Calls under a hold, or under a mode of the policy.

use super::*;
use crate::hold::{Forced, HoldSpec, Target};
use crate::policy::BreakerMode;

fn hold(bench: &Bench, forced: Forced, seconds: u64) {
    let since = bench.runtime.now();
    let spec = HoldSpec {
        target: Target::All,
        forced,
        since,
        until: Some(since.saturating_add(Duration::from_secs(seconds))),
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
    };
    bench.isolation.hold(spec, since);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_hold_rejects_says_who_holds_and_why_and_until_when() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![static_step("stand-in")]));
    hold(&bench, Forced::Open, 60);
    tokio::time::advance(20 * SECOND).await;
    let answer = bench.call([Reply::Answer("not asked")]).await.unwrap();
    let why = Why {
        trigger: FallbackTrigger::Open,
        retry_after: Some(40 * SECOND),
        is_adaptive_limit: false,
        is_forced: true,
    };
    assert_eq!((answer.source, answer.receipt.why), (Source::Static, Some(why)));

    bench.apply(at(Level::Enhanced));
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    let FailureCause::Open { retry_after, by: OpenedBy::Hold(hold) } = failure.cause else { panic!("not held") };
    assert_eq!(retry_after, Some(40 * SECOND));
    assert_eq!((hold.owner(), hold.reason()), ("alice", "the disk is being changed"));
    assert_eq!((failure.receipt.attempts, bench.counters().rejected_open), (0, 2));

    tokio::time::advance(40 * SECOND).await;
    assert_eq!(bench.call([Reply::Answer("live")]).await.unwrap().source, Source::Live, "nobody had to end it");
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_hold_stops_the_retries_of_calls_under_way() {
    let bench = Bench::new(at(Level::Enhanced));
    let mut script = Script::new([Reply::Code(UNAVAILABLE), Reply::Answer("second")]);
    let (result, ()) = tokio::join!(bench.run(&mut script, idempotent()), async {
        tokio::task::yield_now().await;
        hold(&bench, Forced::Open, 60);
    });
    let failure = result.unwrap_err();
    assert!(matches!(failure.cause, FailureCause::Inner(_)), "the real error");
    assert_eq!(failure.receipt.attempts, 1);
}

/// The breaker stands where the rules put it with what was counted under the hold.
#[tokio::test(start_paused = true)]
async fn forced_closed_counts_and_trips_with_the_first_failure_after_it() {
    let mut spec = at(Level::Enhanced);
    spec.retry.max_attempts = 1;
    for forced in [Forced::Closed, Forced::Disabled] {
        let bench = Bench::new(spec.clone());
        hold(&bench, forced, 10);
        for _ in 0..20 {
            bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
        }
        assert_eq!((bench.breaker(), bench.counters().rejected_open), (Some(State::Closed), 0));
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(bench.breaker(), Some(State::Closed));
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
        assert_eq!(bench.breaker(), Some(State::Open));
    }
}

#[tokio::test(start_paused = true)]
async fn a_level_without_breakers_has_none_to_hold() {
    let bench = Bench::new(at(Level::Basic));
    hold(&bench, Forced::Open, 60);
    bench.call([Reply::Answer("live")]).await.unwrap();
    bench.apply(at(Level::Enhanced));
    bench.call([Reply::Answer("not asked")]).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_forces_open_is_not_a_service_that_fails() {
    let mut spec = at(Level::Enhanced);
    spec.breaker.mode = BreakerMode::ForcedOpen;
    spec.breaker.mode_until = Some(WallTime::new(30, 0).unwrap());
    let bench = Bench::new(at(Level::Enhanced));
    bench.apply(spec);
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::Open { retry_after: Some(30 * SECOND), by: OpenedBy::Policy });
    tokio::time::advance(30 * SECOND).await;
    bench.call([Reply::Answer("live")]).await.unwrap();
}
