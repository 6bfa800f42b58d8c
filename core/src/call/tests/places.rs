//! Calls that wait for a place.

use super::*;
use futures_util::FutureExt;
use futures_util::future::join_all;

/// So many places, and so many calls that may wait so long for one.
fn places(max_concurrent: u32, max_queue: u32, max_wait: Duration) -> Bench {
    let bulkhead = BulkheadPolicy { max_concurrent, max_queue, max_wait, pools: Vec::new() };
    Bench::new(PolicySpec { bulkhead, ..at(Level::Full) })
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/393>,
/// <https://github.com/connor4312/cockatiel/issues/112>.
#[tokio::test(start_paused = true)]
async fn t35_calls_that_give_up_waiting_take_no_place_with_them() {
    let bench = places(2, 10, SECOND / 10);
    for round in 0..20 {
        let mut busy = [(); 2].map(|()| Box::pin(bench.call([Reply::AnswerAfter(SECOND, "busy")])));
        for call in &mut busy {
            assert!(call.as_mut().now_or_never().is_none());
        }
        // Half of them run out of time, half are dropped while they wait.
        let timed_out = join_all((0..5).map(|_| bench.call([Reply::Answer("kept out")])));
        let dropped = tokio::time::timeout(SECOND / 20, join_all((0..5).map(|_| bench.call([Reply::Hang]))));
        let (timed_out, dropped) = tokio::join!(timed_out, dropped);
        assert!(dropped.is_err());
        let kept_out = |call: CallResult| call.unwrap_err().cause == FailureCause::BulkheadFull;
        assert!(timed_out.into_iter().all(kept_out), "{round}");
        assert!(join_all(busy).await.into_iter().all(|call| call.is_ok()));
    }
    let both = join_all([(); 2].map(|()| bench.call([Reply::AnswerAfter(SECOND, "both places are left")]))).await;
    assert!(both.into_iter().all(|call| call.is_ok()));
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/365>.
#[tokio::test(start_paused = true)]
async fn t36_every_call_that_waits_gets_its_turn_in_order() {
    let bench = places(1, 9, 3 * SECOND);
    let ended = std::cell::RefCell::new(Vec::new());
    let calls = (0..10).map(|number| {
        let (bench, ended) = (&bench, &ended);
        async move {
            bench.call([Reply::AnswerAfter(SECOND / 10, "in turn")]).await.unwrap();
            ended.borrow_mut().push((number, bench.runtime.now()));
        }
    });
    let before = bench.runtime.now();
    join_all(calls).await;
    for (number, (ended, at)) in ended.into_inner().into_iter().enumerate() {
        assert_eq!((ended, at.saturating_since(before)), (number, SECOND / 10 * (number as u32 + 1)));
    }
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/365>.
#[tokio::test(start_paused = true)]
async fn t36_the_wait_for_a_place_counts_against_the_deadline() {
    let bench = places(1, 1, 60 * SECOND);
    let before = bench.runtime.now();
    let waits = async |timeout| {
        let options = CallOptions { timeout: Some(timeout), ..idempotent() };
        bench.run(&mut Script::new([Reply::Hang]), options).await.unwrap_err().cause
    };
    let (first, queued) = tokio::join!(waits(2 * SECOND), waits(5 * SECOND));
    assert_eq!((first, queued), (FailureCause::Timeout, FailureCause::Timeout));
    assert_eq!(bench.runtime.now().saturating_since(before), 5 * SECOND);
    let (first, queued) = tokio::join!(waits(2 * SECOND), waits(SECOND));
    assert_eq!((first, queued), (FailureCause::Timeout, FailureCause::BulkheadFull));
}
