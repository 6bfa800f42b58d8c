//! Calls that are turned away are kept now and then, with the receipt of their breaker.

use super::*;
use crate::isolation::{Part, RejectionReason};
use crate::policy::RateLimitPolicy;

fn reasons(bench: &Bench) -> Vec<RejectionReason> {
    bench.isolation.rejections_after(0).0.iter().map(|call| call.reason).collect()
}

#[tokio::test(start_paused = true)]
async fn one_rejection_in_a_second_is_kept_with_its_receipt() {
    let mut spec = at(Level::Enhanced);
    spec.retry.max_attempts = 1;
    spec.breaker = BreakerPolicy { consecutive_failures: 3, open_jitter_ratio: 0.0, ..BreakerPolicy::default() };
    let bench = Bench::new(spec);
    assert_eq!(bench.isolation.rejections_after(0), (vec![], 0));
    for _ in 0..3 {
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    assert_eq!(bench.isolation.rejections_after(0), (vec![], 0), "none was turned away");
    for _ in 0..10 {
        bench.call([Reply::Answer("not asked")]).await.unwrap_err();
        tokio::time::advance(SECOND / 5).await;
    }
    let (calls, last) = bench.isolation.rejections_after(0);
    assert_eq!((calls.len(), last), (1, 2), "the second one took the place of the first");
    let receipt = calls[0].breaker.clone().unwrap();
    assert_eq!((calls[0].reason, calls[0].pool.as_deref()), (RejectionReason::CircuitOpen, None));
    assert_eq!((&receipt.part, receipt.state, receipt.by.clone()), (&Part::Service, State::Open, OpenedBy::Rules));
    assert_eq!((receipt.failures, receipt.calls, receipt.open_for), (2, 2, Some(SECOND)));
    assert_eq!(receipt.retry_after, Some(29 * SECOND));
    assert!(bench.isolation.rejections_after(last).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_reason_is_kept() {
    let mut spec = at(Level::Full);
    spec.bulkhead = BulkheadPolicy { max_concurrent: 1, max_queue: 0, ..BulkheadPolicy::default() };
    let bench = Bench::new(spec.clone());
    let mut hangs = Script::new([Reply::AnswerAfter(SECOND, "late")]);
    let (_, second) = tokio::join!(bench.run(&mut hangs, CallOptions::default()), bench.call([Reply::Answer("no")]));
    assert_eq!(second.unwrap_err().cause, FailureCause::BulkheadFull);
    assert_eq!(reasons(&bench), [RejectionReason::Bulkhead]);

    spec.rate_limit = Some(RateLimitPolicy::per_second(1));
    bench.apply(spec.clone());
    bench.call([Reply::Answer("live")]).await.unwrap();
    bench.call([Reply::Answer("no")]).await.unwrap_err();
    spec.rate_limit = None;
    bench.apply(spec);
    let spent = CallOptions { timeout: Some(Duration::ZERO), ..CallOptions::default() };
    bench.run(&mut Script::new([Reply::Answer("no")]), spent).await.unwrap_err();
    let all = [RejectionReason::Bulkhead, RejectionReason::RateLimit, RejectionReason::Deadline];
    assert_eq!(reasons(&bench), all);
}
