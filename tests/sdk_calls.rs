//! Protected calls of real gRPC clients to a real service, by the policy of a real manager.

use bytes::Bytes;
use cofferdam::{BreakerState, Codec, Cofferdam, Error, Payload, Service, Source};
use cofferdam_proto::BytesCodec;
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest, RetryPolicy};
use cofferdam_tests::wire::{cached, fallback, millis, registration, static_json};
use cofferdam_tests::{Behaviour, Manager, Reply, Store, Upstream, echo, eventually, wire};
use futures_util::future::join_all;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::ServiceBuilder;

struct Bench {
    upstream: Upstream,
    manager: Manager,
    cofferdam: Cofferdam,
    service: Service,
    channel: Channel,
}

impl Bench {
    /// A service that answers with what it was asked, a connection to it, and the policy of a manager in force.
    async fn new(level: IsolationLevel, policy: IsolationPolicy) -> Self {
        let upstream = Upstream::start(Behaviour::echo()).await;
        let manager = Manager::start(Store::Memory).await;
        let request = RegisterServiceRequest { policy: Some(policy), ..registration("payments", level) };
        manager.client().register(request).await.unwrap();
        let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
        let service = cofferdam.service("payments");
        let channel = Endpoint::from_shared(format!("http://{}", upstream.address())).unwrap().connect_lazy();
        let bench = Self { upstream, manager, cofferdam, service, channel };
        bench.in_step().await;
        bench
    }

    /// Waits until the manager's newest policy is in force here.
    async fn in_step(&self) {
        let newest = self.manager.client().revision("payments").await.unwrap();
        eventually("the newest policy", async || match self.service.revision() {
            Some(seen) if (seen.epoch, seen.revision) == (newest.epoch, newest.revision) => Ok(()),
            seen => Err(seen),
        })
        .await;
    }

    async fn fall_back_on(&self, chain: impl IntoIterator<Item = wire::Strategy>) {
        self.manager.client().update_fallback("payments", fallback(chain)).await.unwrap();
        self.in_step().await;
    }
}

/// Bytes, as they are.
struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, answer: &Bytes) -> Option<Bytes> {
        Some(answer.clone())
    }

    fn decode(&self, payload: Payload<'_>) -> Option<Bytes> {
        Some(payload.bytes.clone())
    }
}

fn attempts(max_attempts: u32) -> RetryPolicy {
    RetryPolicy { max_attempts: Some(max_attempts), initial_backoff: Some(millis(1)), ..RetryPolicy::default() }
}

/// One attempt a call, and a breaker that stays open from the third failure in a row on.
fn three_strikes() -> IsolationPolicy {
    IsolationPolicy { retry: Some(attempts(1)), ..wire::breaker(3, Duration::from_secs(3600)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_the_callers_own_error_comes_back_and_the_breaker_spares_the_service() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    let call = async || bench.service.execute("Echo", || echo(bench.channel.clone())).await;
    assert_eq!(call().await.unwrap(), "echo");
    bench.upstream.behave(Behaviour::fail(Code::NotFound));
    for _ in 0..5 {
        assert!(matches!(call().await, Err(Error::Inner(status)) if status.code() == Code::NotFound));
    }
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..3 {
        assert_eq!(bench.service.breaker_state(), Some(BreakerState::Closed));
        assert!(matches!(call().await, Err(Error::Inner(status)) if status.code() == Code::Unavailable));
    }
    for _ in 0..10 {
        assert!(matches!(call().await, Err(Error::Open { .. })));
    }
    assert_eq!(bench.upstream.calls(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_a_failure_of_the_service_every_time() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let call = || {
        let call = bench.service.execute("Echo", || echo(bench.channel.clone()));
        call.fallback(|_| async { Ok(Bytes::from_static(b"local")) }).into_future()
    };
    for round in 0..20 {
        bench.upstream.behave(Behaviour::at_once(Reply::Drop));
        for answer in join_all((0..4).map(|_| call())).await {
            assert_eq!(answer.unwrap(), "local", "round {round}");
        }
        bench.upstream.behave(Behaviour::echo());
        eventually("the service to be reached again", async || echo(bench.channel.clone()).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_down_is_a_failure_from_the_first_call_on() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    for round in 0..20 {
        eventually("the service to be reached", async || echo(bench.channel.clone()).await).await;
        bench.upstream.down().await;
        for _ in 0..3 {
            let call = bench.service.execute("Echo", || echo(bench.channel.clone()));
            let answer = call.fallback(|_| async { Ok(Bytes::from_static(b"local")) }).await;
            assert_eq!(answer.unwrap(), "local", "round {round}");
        }
        bench.upstream.up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_timer_that_runs_out_is_a_failure_of_the_service() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    bench.upstream.behave(Behaviour::at_once(Reply::Hang));
    let impatient = Endpoint::from_shared(format!("http://{}", bench.upstream.address())).unwrap();
    let impatient = impatient.timeout(Duration::from_millis(50)).connect_lazy();
    for _ in 0..3 {
        let error = bench.service.execute("Echo", || echo(impatient.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Inner(_)), "{error:?}");
    }
    assert_eq!(bench.service.breaker_state(), Some(BreakerState::Open));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_an_operators_fallback_answers_in_the_callers_own_type() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([cached(), static_json("static")]).await;
    let (service, channel) = (bench.service.clone(), bench.channel.clone());
    let call = async |key: &str| {
        let call = service.execute("Echo", || echo(channel.clone()));
        call.codec(Raw).cache_key(key).answer().await.unwrap()
    };
    assert_eq!(call("a").await.source, Source::Live);
    bench.upstream.down().await;
    let kept = call("a").await;
    assert!(matches!(kept.source, Source::Cached { .. }), "{kept:?}");
    assert_eq!(kept.value, "echo");
    let fixed = call("b").await;
    assert_eq!((fixed.source, &fixed.value[..]), (Source::Static, &b"static"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_d7_the_layer_isolates_a_channel() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    let protected = ServiceBuilder::new().layer(bench.cofferdam.layer("payments")).service(bench.channel.clone());
    let call = async || {
        let mut client = tonic::client::Grpc::new(protected.clone());
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = http::uri::PathAndQuery::from_static("/shop.Payments/Charge");
        let response = client.unary(Request::new(Bytes::from_static(b"x")), path, BytesCodec).await?;
        Ok::<_, Status>(response.into_inner())
    };
    assert_eq!(call().await.unwrap(), "x");
    bench.upstream.behave(Behaviour::fail(Code::Internal));
    for _ in 0..3 {
        assert_eq!(call().await.unwrap_err().code(), Code::Internal);
    }
    for _ in 0..10 {
        let status = call().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    assert_eq!(bench.upstream.calls(), 4);
    assert_eq!(bench.service.breaker_state(), Some(BreakerState::Open), "one name is one service");
}
