//! A manager that is scripted: it hands every stream to the test, and answers a registration as the test says.

use cofferdam::{Level, Policy, PolicySpec};
use cofferdam_core::wire::to_wire;
use cofferdam_proto::v1;
use cofferdam_proto::v1::isolation_service_server::{IsolationService, IsolationServiceServer};
use cofferdam_proto::v1::policy_sync_service_server::{PolicySyncService, PolicySyncServiceServer};
use cofferdam_proto::v1::{sync_request, sync_response};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take that is bound to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

type Registration = Request<v1::RegisterServiceRequest>;
type OnRegister = dyn Fn(Registration) -> Result<v1::RegisterServiceResponse, Status> + Send + Sync;

/// A manager on a port of its own. Dropping it cuts every connection, as `kill -9` would.
pub(crate) struct FakeManager {
    address: SocketAddr,
    streams: mpsc::UnboundedReceiver<FakeStream>,
    runtime: Option<Runtime>,
}

/// The manager's end of a stream.
pub(crate) struct FakeStream {
    inbound: Streaming<v1::SyncRequest>,
    outbound: mpsc::UnboundedSender<Result<v1::SyncResponse, Status>>,
}

#[derive(Clone)]
struct Handler {
    streams: mpsc::UnboundedSender<FakeStream>,
    on_register: Arc<OnRegister>,
}

impl FakeManager {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), |_| Err(Status::unimplemented(""))).await
    }

    pub(crate) async fn registering(
        on_register: impl Fn(Registration) -> Result<v1::RegisterServiceResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), on_register).await
    }

    /// Ends as a process does that is killed. Returns its address, for another one.
    pub(crate) fn kill(self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn start_again(address: SocketAddr) -> Self {
        Self::start_at(address, |_| Err(Status::unimplemented(""))).await
    }

    async fn start_at(
        address: SocketAddr,
        on_register: impl Fn(Registration) -> Result<v1::RegisterServiceResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, streams) = mpsc::unbounded_channel();
        let handler = Handler { streams: sender, on_register: Arc::new(on_register) };
        let serving = runtime.spawn(async move {
            let listener = listen(address).await;
            let address = listener.local_addr().unwrap();
            let server = tonic::transport::Server::builder()
                .add_service(PolicySyncServiceServer::new(handler.clone()))
                .add_service(IsolationServiceServer::new(handler))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(server);
            address
        });
        Self { address: serving.await.unwrap(), streams, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream, and its hello.
    pub(crate) async fn accept(&mut self) -> (FakeStream, v1::SyncHello) {
        let mut stream = soon(self.streams.recv()).await.unwrap();
        match stream.next().await {
            Some(sync_request::Message::Hello(hello)) => (stream, hello),
            other => panic!("not a hello: {other:?}"),
        }
    }
}

/// The port of a manager that was just killed may be taken for a moment by what it leaves behind.
async fn listen(address: SocketAddr) -> TcpListener {
    let bind = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).and_then(|()| socket.listen(128))
    };
    soon(async {
        loop {
            match bind() {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

impl Drop for FakeManager {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl FakeStream {
    pub(crate) fn say(&self, message: sync_response::Message) {
        // An error says that the instance has left, which the test will see.
        let _ = self.outbound.send(Ok(v1::SyncResponse { message: Some(message) }));
    }

    pub(crate) fn update(&self, service: &str, revision: u64, policy: v1::IsolationPolicy) {
        self.say(sync_response::Message::Update(v1::PolicyUpdate {
            service: service.to_owned(),
            revision: Some(at(revision)),
            policy: Some(policy),
            enabled: true,
            ..v1::PolicyUpdate::default()
        }));
    }

    /// The instance's next message. `None`: it has ended the stream.
    pub(crate) async fn next(&mut self) -> Option<sync_request::Message> {
        let request = soon(self.inbound.message()).await.ok().flatten()?;
        request.message
    }

    /// The instance's next message that is not a report.
    pub(crate) async fn answer(&mut self) -> sync_request::Message {
        loop {
            match self.next().await {
                Some(sync_request::Message::Report(_)) => {}
                Some(message) => return message,
                None => panic!("the instance has left"),
            }
        }
    }

    /// Adds the instance's reports up until they say that many calls.
    pub(crate) async fn calls(&mut self, service: &str, wanted: u64) -> u64 {
        let mut calls = 0;
        while calls < wanted {
            match self.next().await {
                Some(sync_request::Message::Report(report)) => calls += calls_of(service, &report),
                Some(_) => {}
                None => break,
            }
        }
        calls
    }
}

pub(crate) fn calls_of(service: &str, report: &v1::SyncReport) -> u64 {
    let of_service = report.services.iter().filter(|report| report.service == service);
    of_service.filter_map(|report| report.counters).map(|counters| counters.calls).sum()
}

pub(crate) fn at(revision: u64) -> v1::Revision {
    v1::Revision { epoch: 1, revision }
}

pub(crate) fn policy(level: Level) -> (Policy, v1::IsolationPolicy) {
    let policy = Policy::new(PolicySpec { level, ..PolicySpec::default() }).unwrap();
    let wire = to_wire(&policy);
    (policy, wire)
}

/// What is bound to happen, or the test fails.
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    // Boxed, for a gRPC client's futures are large.
    let future = Box::pin(future);
    async { tokio::time::timeout(DEADLINE, future).await.expect("it did not happen") }
}

#[tonic::async_trait]
impl PolicySyncService for Handler {
    type SyncStream = UnboundedReceiverStream<Result<v1::SyncResponse, Status>>;

    async fn sync(&self, request: Request<Streaming<v1::SyncRequest>>) -> Result<Response<Self::SyncStream>, Status> {
        let (outbound, receiver) = mpsc::unbounded_channel();
        let stream = FakeStream { inbound: request.into_inner(), outbound };
        self.streams.send(stream).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// Methods that no test calls.
macro_rules! not_called {
    ($($method:ident $request:ident $response:ident,)+) => {
        $(fn $method<'life0, 'async_trait>(&'life0 self, _: Request<v1::$request>) -> Answer<'async_trait, v1::$response>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented("")) })
        })+
    };
}

impl IsolationService for Handler {
    fn register_service<'life0, 'async_trait>(
        &'life0 self,
        request: Registration,
    ) -> Answer<'async_trait, v1::RegisterServiceResponse>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { (self.on_register)(request).map(Response::new) })
    }

    not_called! {
        unregister_service UnregisterServiceRequest UnregisterServiceResponse,
        execute_with_isolation ExecuteWithIsolationRequest ExecuteWithIsolationResponse,
        set_isolation_level SetIsolationLevelRequest SetIsolationLevelResponse,
        update_fallback_config UpdateFallbackConfigRequest UpdateFallbackConfigResponse,
        update_isolation_policy UpdateIsolationPolicyRequest UpdateIsolationPolicyResponse,
        update_service_health UpdateServiceHealthRequest UpdateServiceHealthResponse,
        hold_breaker HoldBreakerRequest HoldBreakerResponse,
        release_breaker ReleaseBreakerRequest ReleaseBreakerResponse,
        trip_breaker TripBreakerRequest TripBreakerResponse,
        reset_breaker ResetBreakerRequest ResetBreakerResponse,
        get_service_isolation_info GetServiceIsolationInfoRequest GetServiceIsolationInfoResponse,
        list_isolated_services ListIsolatedServicesRequest ListIsolatedServicesResponse,
        get_isolation_stats GetIsolationStatsRequest GetIsolationStatsResponse,
        get_convergence GetConvergenceRequest GetConvergenceResponse,
        wait_for_convergence WaitForConvergenceRequest WaitForConvergenceResponse,
        get_dependency_graph GetDependencyGraphRequest GetDependencyGraphResponse,
        list_revisions ListRevisionsRequest ListRevisionsResponse,
        get_revision GetRevisionRequest GetRevisionResponse,
        diff_revisions DiffRevisionsRequest DiffRevisionsResponse,
        list_events ListEventsRequest ListEventsResponse,
        rollback RollbackRequest RollbackResponse,
        explain ExplainRequest ExplainResponse,
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

    fn watch_events<'life0, 'async_trait>(
        &'life0 self,
        _: Request<v1::WatchEventsRequest>,
    ) -> Answer<'async_trait, Self::WatchEventsStream>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { Err(Status::unimplemented("")) })
    }
}
