//! Services that do not answer, or not in time, or no longer.

use super::{Bench, HOUR, attempts, request};
use cofferdam_proto::grpc_timeout;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use cofferdam_proto::v1::{ExecuteWithIsolationRequest, FallbackConfig, IsolationLevel, IsolationPolicy, ServedBy};
use cofferdam_tests::wire::{millis, seconds, static_json};
use cofferdam_tests::{Behaviour, Reply, eventually, wire};
use futures_util::future::join_all;
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_run_twice_is_tried_again() {
    let policy = IsolationPolicy { retry: Some(attempts(4)), ..wire::breaker(0, HOUR) };
    let mut bench = Bench::new(IsolationLevel::Enhanced, policy).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    let idempotent = |idempotent| ExecuteWithIsolationRequest { idempotent, ..request("charge", "") };
    let answer = bench.client.execute_with_isolation(idempotent(true)).await.unwrap();
    assert_eq!((answer.served_by(), answer.attempts, bench.upstream.calls()), (ServedBy::Static, 4, 4));
    let answer = bench.client.execute_with_isolation(idempotent(false)).await.unwrap();
    assert_eq!((answer.served_by(), answer.attempts, bench.upstream.calls()), (ServedBy::Static, 1, 5));

    bench.upstream.down().await;
    let answer = bench.client.execute_with_isolation(idempotent(false)).await.unwrap();
    assert_eq!(answer.served_by(), ServedBy::Static, "what never reached the service was safe to repeat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_answer_is_not_waited_for() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let limit = FallbackConfig { timeout: Some(millis(200)), ..FallbackConfig::default() };
    bench.client.update_fallback("payments", limit).await.unwrap();
    bench.upstream.behave(Behaviour::at_once(Reply::Hang));
    let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::DeadlineExceeded, "TIMEOUT"), "{refusal:?}");

    bench.fall_back_on([static_json("{}")]).await;
    let answer = bench.client.execute("payments", "charge", "").await.unwrap();
    assert_eq!(answer.served_by(), ServedBy::Static);

    let long = FallbackConfig { timeout: Some(seconds(60)), ..FallbackConfig::default() };
    bench.client.update_fallback("payments", long).await.unwrap();
    let own = ExecuteWithIsolationRequest { timeout: Some(millis(200)), ..request("charge", "") };
    let answer = bench.client.execute_with_isolation(own).await.unwrap();
    assert_eq!(answer.served_by(), ServedBy::Static, "the caller's own limit counts, too");
    let bad = ExecuteWithIsolationRequest { timeout: Some(seconds(-1)), ..request("charge", "") };
    let refusal = bench.client.execute_with_isolation(bad).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.fields[..]), (Code::InvalidArgument, &["timeout".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_of_the_callers_own_call_goes_on_to_the_service() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let long = FallbackConfig { timeout: Some(seconds(60)), ..FallbackConfig::default() };
    bench.client.update_fallback("payments", long).await.unwrap();
    let mut client = IsolationServiceClient::new(bench.manager.channel());
    let mut told = async |deadline: Option<Duration>| {
        let mut call = tonic::Request::new(request("charge", ""));
        deadline.into_iter().for_each(|deadline| call.set_timeout(deadline));
        client.execute_with_isolation(call).await.unwrap();
        let headers = bench.upstream.last_headers();
        let (_, told) = headers.iter().find(|(name, _)| name == grpc_timeout::HEADER).unwrap();
        grpc_timeout::parse(told.as_bytes()).unwrap()
    };
    assert!(told(None).await > Duration::from_secs(25), "30 s is the most that a manager waits");
    assert!(told(Some(Duration::from_secs(20))).await <= Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_a_failure_of_the_service_every_time() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([static_json("{}")]).await;
    for round in 0..20 {
        bench.upstream.behave(Behaviour::at_once(Reply::Drop));
        let calls = (0..4).map(|_| bench.client.execute("payments", "charge", ""));
        for answer in join_all(calls).await {
            assert_eq!(answer.unwrap().served_by(), ServedBy::Static, "round {round}");
        }
        bench.upstream.behave(Behaviour::echo());
        eventually("the service to be reached again", async || {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            if answer.served_by() == ServedBy::Live { Ok(()) } else { Err(answer) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_down_is_a_failure_from_the_first_call_on() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([static_json("{}")]).await;
    for round in 0..20 {
        eventually("the service to be reached", async || {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            if answer.served_by() == ServedBy::Live { Ok(()) } else { Err(answer) }
        })
        .await;
        bench.upstream.down().await;
        for _ in 0..3 {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            assert_eq!(answer.served_by(), ServedBy::Static, "round {round}");
        }
        bench.upstream.up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_there_is_said_to_be_so() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.upstream.down().await;
    let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "UPSTREAM"), "{refusal:?}");
    let words = format!("{refusal:?}");
    assert!(words.contains("no answer from the service") && words.contains("refused"), "{words}");
}
