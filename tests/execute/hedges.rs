use super::{Bench, attempts, request};
use cofferdam_proto::v1::{
    CallCounters, Endpoint, ExecuteWithIsolationRequest, HedgePolicy, IsolationLevel, IsolationPolicy,
    RegisterServiceRequest, ServedBy, Service,
};
use cofferdam_tests::wire::{millis, registration_at};
use cofferdam_tests::{Behaviour, Reply, Upstream, eventually};
use std::time::Duration;

/// One attempt, and another one beside it after so many milliseconds.
fn hedging(delay: u64) -> IsolationPolicy {
    let hedge = HedgePolicy { delay: Some(millis(delay)), ..HedgePolicy::default() };
    IsolationPolicy { hedge: Some(hedge), retry: Some(attempts(1)), ..IsolationPolicy::default() }
}

/// The service `payments` with a second endpoint, whose answer is `second`.
async fn with_second_endpoint(bench: &Bench) -> Upstream {
    let second = Upstream::start(Behaviour::bytes("second")).await;
    let registration = registration_at("payments", IsolationLevel::Full, &bench.upstream.address());
    let mut service: Service = registration.service.clone().unwrap();
    service.endpoints.push(Endpoint { address: second.address() });
    bench.client.register(RegisterServiceRequest { service: Some(service), ..registration }).await.unwrap();
    second
}

async fn counters(bench: &Bench) -> CallCounters {
    bench.client.stats().await.unwrap().stats.unwrap().counters.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_endpoint_is_hedged_by_the_next_and_its_call_is_cancelled() {
    let bench = Bench::new(IsolationLevel::Full, hedging(20)).await;
    let second = with_second_endpoint(&bench).await;
    bench.upstream.behave(Behaviour::at_once(Reply::Hang));
    let twice = || ExecuteWithIsolationRequest { idempotent: true, ..request("charge", "") };
    for round in 1..=5 {
        let answer = bench.client.execute_with_isolation(twice()).await.unwrap();
        assert_eq!((answer.served_by(), answer.attempts, &answer.payload[..]), (ServedBy::Live, 2, &b"second"[..]));
        assert_eq!((bench.upstream.calls(), second.calls()), (round, round));
        let under_way = || bench.upstream.under_way();
        eventually("the loser to be told", async || if under_way() == 0 { Ok(()) } else { Err(under_way()) }).await;
    }
    let counters = counters(&bench).await;
    assert_eq!((counters.hedges, counters.hedge_wins, counters.hedges_refused, counters.retries), (5, 5, 0, 0));
    assert_eq!((counters.attempts, counters.attempt_successes, counters.attempt_neutrals), (10, 5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_run_twice_is_not_hedged() {
    let bench = Bench::new(IsolationLevel::Full, hedging(20)).await;
    let second = with_second_endpoint(&bench).await;
    bench.upstream.behave(Behaviour::bytes("first").after(Duration::from_millis(200)));
    let answer = bench.client.execute("payments", "charge", "").await.unwrap();
    assert_eq!((answer.attempts, &answer.payload[..]), (1, &b"first"[..]));

    // Neither is anything below level full, whoever says that it may.
    bench.client.set_level("payments", IsolationLevel::Enhanced).await.unwrap();
    let twice = ExecuteWithIsolationRequest { idempotent: true, ..request("charge", "") };
    let answer = bench.client.execute_with_isolation(twice).await.unwrap();
    assert_eq!((answer.attempts, &answer.payload[..]), (1, &b"first"[..]));
    assert_eq!((second.calls(), counters(&bench).await.hedges), (0, 0));
}
