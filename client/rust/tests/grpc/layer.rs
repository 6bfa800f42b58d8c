//! The tower layer around a tonic channel; the service behind it is the scripted manager.

use crate::manager::{FakeManager, soon};
use cofferdam::layer::LayerError;
use cofferdam::policy::{BreakerPolicy, Jitter, RetryPolicy, TimeoutPolicy};
use cofferdam::{BreakerState, Cofferdam, Error, Level, Policy, PolicySpec};
use cofferdam_proto::v1::RegisterServiceRequest;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::ServiceBuilder;

fn client(max_attempts: u32) -> Cofferdam {
    let policy = PolicySpec {
        level: Level::Enhanced,
        timeout: TimeoutPolicy { call_timeout: Duration::from_secs(30), ..TimeoutPolicy::default() },
        breaker: BreakerPolicy { consecutive_failures: 3, failure_rate: 0.0, ..BreakerPolicy::default() },
        retry: RetryPolicy { max_attempts, jitter: Jitter::None, ..RetryPolicy::default() },
        ..PolicySpec::default()
    };
    Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start()
}

#[tokio::test]
async fn a_channel_is_isolated_by_what_the_service_answers() {
    let calls = Arc::new(AtomicU32::new(0));
    let code = Arc::new(Mutex::new(Code::NotFound));
    let upstream = FakeManager::registering({
        let (calls, code) = (Arc::clone(&calls), Arc::clone(&code));
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            Err(Status::new(*code.lock().unwrap(), "as told"))
        }
    })
    .await;
    let cd = client(1);
    let channel = Endpoint::from_shared(upstream.url()).unwrap().connect_lazy();
    let protected = ServiceBuilder::new().layer(cd.layer("user-svc")).service(channel);
    let mut users = IsolationServiceClient::new(protected);
    let service = cd.service("user-svc");

    // The service works: it says so itself.
    for _ in 0..5 {
        let status = soon(users.register_service(RegisterServiceRequest::default())).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "as told"));
    }
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));

    *code.lock().unwrap() = Code::Internal;
    for _ in 0..3 {
        let status = soon(users.register_service(RegisterServiceRequest::default())).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "as told"));
        assert!(LayerError::find(&status).is_none(), "that was the service's own word");
    }
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));

    let status = soon(users.register_service(RegisterServiceRequest::default())).await.unwrap_err();
    assert_eq!((status.code(), calls.load(Ordering::Relaxed)), (Code::Unavailable, 8));
    assert!(status.message().starts_with("user-svc: the circuit breaker is open"), "{}", status.message());
    let error = LayerError::find(&status).unwrap();
    assert!(matches!(error.error(), Error::Open { retry_after: Some(_), .. }));
}

#[tokio::test]
async fn the_service_is_told_the_time_that_is_left() {
    let told = Arc::new(Mutex::new(None));
    let upstream = FakeManager::registering({
        let told = Arc::clone(&told);
        move |request| {
            let timeout = request.metadata().get("grpc-timeout").cloned();
            *told.lock().unwrap() = timeout;
            Ok(Default::default())
        }
    })
    .await;
    let channel = Endpoint::from_shared(upstream.url()).unwrap().connect_lazy();
    let protected = ServiceBuilder::new().layer(client(1).layer("user-svc")).service(channel.clone());
    let mut users = IsolationServiceClient::new(protected);
    soon(users.register_service(RegisterServiceRequest::default())).await.unwrap();
    let timeout = told.lock().unwrap().take().unwrap();
    let millis: u64 = timeout.to_str().unwrap().strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..=30_001).contains(&millis), "{millis}");

    let mut request = tonic::Request::new(RegisterServiceRequest::default());
    request.set_timeout(Duration::from_secs(7));
    soon(users.register_service(request)).await.unwrap();
    assert!(told.lock().unwrap().take().is_some());

    // Of what begins a stream it is not: it would have to end that by then.
    type Request = tonic::codegen::http::Request<tonic::body::Body>;
    let layer = client(1).layer("user-svc").streams(|request: &Request| request.uri().path().ends_with("Service"));
    let mut users = IsolationServiceClient::new(ServiceBuilder::new().layer(layer).service(channel));
    soon(users.register_service(RegisterServiceRequest::default())).await.unwrap();
    assert_eq!(told.lock().unwrap().take(), None);
}

#[tokio::test]
async fn a_service_out_of_reach_is_a_failure_that_did_not_arrive() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let cd = client(3);
    let protected = ServiceBuilder::new().layer(cd.layer("user-svc")).service(channel.clone());
    let mut users = IsolationServiceClient::new(protected);
    let status = soon(users.register_service(RegisterServiceRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // A stream of a body is sent once, whatever the policy says.
    assert_eq!(cd.service("user-svc").counters().attempt_failures, 1);

    // A closure makes its request anew: what has not arrived is repeated, though it is not idempotent.
    let service = cd.service("closure");
    let answered = service.execute("register", || {
        let mut client = IsolationServiceClient::new(channel.clone());
        async move { client.register_service(RegisterServiceRequest::default()).await }
    });
    let failure = soon(answered.answer()).await.unwrap_err();
    assert_eq!(failure.receipt.attempts, 3);
    assert!(matches!(failure.error, Error::Inner(status) if status.code() == Code::Unavailable));
}

/// tonic keeps a timer of its own by what the service is told, and says CANCELLED when that one wins.
#[tokio::test]
async fn a_service_that_hangs_has_timed_out() {
    // Connections are made, and nobody reads from them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap().connect_lazy();
    let policy = PolicySpec {
        level: Level::Basic,
        timeout: TimeoutPolicy { call_timeout: Duration::from_millis(20), ..TimeoutPolicy::default() },
        ..PolicySpec::default()
    };
    let cd = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let protected = ServiceBuilder::new().layer(cd.layer("user-svc")).service(channel);
    let mut users = IsolationServiceClient::new(protected);
    for _ in 0..20 {
        let status = soon(users.register_service(RegisterServiceRequest::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(matches!(LayerError::find(&status).unwrap().error(), Error::Timeout));
    }

    // So it is where the caller's own limit is the shorter one.
    let mut request = tonic::Request::new(RegisterServiceRequest::default());
    request.set_timeout(Duration::from_millis(2));
    let status = soon(users.register_service(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}
