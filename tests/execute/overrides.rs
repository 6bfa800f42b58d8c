//! Methods with a policy of their own, called through the manager.

use super::{Bench, HOUR, attempts, request};
use cofferdam_proto::v1::{
    BreakerState, ExecuteWithIsolationRequest, FallbackPolicy, FallbackStep, IsolationLevel, IsolationPolicy,
    MethodOverride, ServedBy,
};
use cofferdam_tests::wire::static_json;
use cofferdam_tests::{Behaviour, wire};
use tonic::Code;

fn of(glob: &str, policy: IsolationPolicy) -> MethodOverride {
    MethodOverride { glob: glob.into(), policy: Some(policy), ..MethodOverride::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_method_has_its_own_breaker_chain_and_word_on_being_run_twice() {
    let step = FallbackStep { strategy: Some(static_json("{\"quote\":null}")) };
    let quote = IsolationPolicy {
        fallback: Some(FallbackPolicy { chain: vec![step], ..FallbackPolicy::default() }),
        ..wire::breaker(2, HOUR)
    };
    let policy = IsolationPolicy {
        retry: Some(attempts(3)),
        method_overrides: vec![
            MethodOverride { idempotent: Some(false), ..of("shop.v1.Payments/Quote*", quote) },
            MethodOverride { idempotent: Some(true), ..of("*/List", IsolationPolicy::default()) },
        ],
        ..wire::breaker(9, HOUR)
    };
    let bench = Bench::new(IsolationLevel::Enhanced, policy).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));

    // Said to be idempotent, and not believed: one attempt each, and the second opens its breaker.
    let quote = ExecuteWithIsolationRequest { idempotent: true, ..request("shop.v1.Payments/QuoteCart", "") };
    for (attempts, state) in [(1, BreakerState::Closed), (1, BreakerState::Open), (0, BreakerState::Open)] {
        let answer = bench.client.execute_with_isolation(quote.clone()).await.unwrap();
        assert_eq!((answer.served_by(), answer.attempts, answer.breaker_state()), (ServedBy::Static, attempts, state));
    }
    let other = bench.client.execute("payments", "shop.v1.Payments/QuoteItem", "").await.unwrap();
    assert_eq!((other.attempts, other.breaker_state()), (0, BreakerState::Open), "one breaker for all that match");

    // Not said to be, and still: three attempts, which the service's own breaker learns of.
    let refusal = bench.client.execute("payments", "shop.v1.Payments/List", "").await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable, "{refusal:?}");
    assert_eq!(bench.upstream.calls(), 2 + 3);
    bench.upstream.behave(Behaviour::echo());
    let answer = bench.client.execute("payments", "shop.v1.Payments/List", "x").await.unwrap();
    assert_eq!((answer.served_by(), answer.breaker_state()), (ServedBy::Live, BreakerState::Closed));
}
