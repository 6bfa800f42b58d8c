//! A manager in the process of a test, on a real socket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    clock::testing::FixedClock,
    events::{self, Events, EventsOptions},
    execute::{self, Executor, Fence},
    grpc::{Api, InProcess, Requests, SyncOptions, routes},
    hints,
    http::{Front, Http, HttpOptions},
    instances::Instances,
    listener::{Listener, ListenerOptions},
    metrics::{Metrics, MetricsOptions, Sources},
    peers::{Local, Peers, PeersOptions},
    registry::Registry,
    testing::{EPOCH, FaultyStore, PATIENCE, registry_telling},
};

mod watching;

pub(crate) use self::watching::Watching;

/// A manager in this process, on a real socket.
pub(crate) struct Manager {
    pub(crate) http: Http,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) instances: Arc<Instances>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Metrics,
    pub(crate) address: SocketAddr,
    drain: CancellationToken,
    serving: JoinHandle<()>,
    _hints: AbortOnDropHandle<()>,
    _executing: AbortOnDropHandle<()>,
    _events: AbortOnDropHandle<()>,
}

impl Manager {
    pub(crate) async fn start() -> Self {
        Self::start_on(FaultyStore::new(), SyncOptions::default()).await
    }

    pub(crate) async fn start_on(store: Arc<FaultyStore>, sync: SyncOptions) -> Self {
        let options = ListenerOptions { grace: Duration::from_secs(5), ..ListenerOptions::default() };
        Self::start_with(store, sync, options).await
    }

    pub(crate) async fn start_with(store: Arc<FaultyStore>, sync: SyncOptions, options: ListenerOptions) -> Self {
        Self::start_among(store, sync, options, None).await
    }

    /// One of several managers over a store.
    pub(crate) async fn start_among(
        store: Arc<FaultyStore>,
        sync: SyncOptions,
        options: ListenerOptions,
        peers: Option<PeersOptions>,
    ) -> Self {
        let telling = EventsOptions { is_shared: peers.is_some(), ..EventsOptions::default() };
        let events = Arc::new(Events::new(Arc::new(FixedClock(EPOCH)), telling));
        let registry = Arc::new(registry_telling(&store, Arc::clone(&events)).await);
        let instances = Arc::new(Instances::new(100, Duration::ZERO).telling(Arc::clone(&events)));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let address = listener.local_addr().unwrap();
        let drain = CancellationToken::new();
        let peers = match &peers {
            Some(options) => {
                let options = PeersOptions {
                    id: events.manager_id().to_owned(),
                    address: Some(address.to_string()),
                    ..options.clone()
                };
                let (shared, clock) = (Arc::<FaultyStore>::clone(&store), Arc::new(FixedClock(EPOCH)));
                Peers::join(shared, clock, Arc::clone(&instances), options)
            }
            None => Peers::alone(),
        };
        let executor = Arc::new(Executor::new(Arc::clone(&registry), Fence::loopback_except(vec![address])));
        let executing = tokio::spawn(execute::keep_up(Arc::clone(&executor), Arc::clone(&instances)));
        let requests = Arc::<Requests>::default();
        let metrics = Metrics::new(Sources {
            local: Local::new(Arc::clone(&registry), Arc::clone(&instances), Arc::clone(&executor)),
            peers: peers.clone(),
            connections: listener.connections(),
            requests: Arc::clone(&requests),
            options: MetricsOptions::default(),
        });
        let api = Api {
            registry: Arc::clone(&registry),
            instances: Arc::clone(&instances),
            executor,
            peers: peers.clone(),
            sync,
            requests,
            leaving: drain.clone(),
            drain: drain.clone(),
        };
        let (told, drained) = (Arc::clone(&registry), drain.clone());
        let observing = events::keep(told, Arc::clone(&instances), Some(address.to_string()), drained, options.grace);
        let observing = AbortOnDropHandle::new(tokio::spawn(observing));
        let hints = tokio::spawn(hints::keep(Arc::clone(&registry), Arc::clone(&instances)));
        let routes = routes(api).unwrap();
        let in_process = InProcess::new(routes.clone());
        let http = Http::new(in_process, Arc::clone(&registry), metrics.clone(), drain.clone(), HttpOptions::default())
            .unwrap();
        let serving = tokio::spawn(listener.serve(Front::new(routes, http.clone()), drain.clone()));
        Self {
            http,
            store,
            registry,
            instances,
            peers,
            metrics,
            address,
            drain,
            serving,
            _hints: AbortOnDropHandle::new(hints),
            _executing: AbortOnDropHandle::new(executing),
            _events: observing,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A channel whose connection is another runtime's, and ends with it without a word.
    pub(crate) async fn channel_of(&self, runtime: &tokio::runtime::Handle) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        runtime.spawn(async move { endpoint.connect().await.unwrap() }).await.unwrap()
    }

    pub(crate) async fn client(&self) -> IsolationServiceClient<Channel> {
        IsolationServiceClient::new(self.channel().await)
    }

    /// Begins to stop.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Stops and waits until nothing is served any more.
    pub(crate) async fn stop(self) {
        self.drain();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it never stopped").unwrap();
    }
}

/// The reason that a status gives.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
