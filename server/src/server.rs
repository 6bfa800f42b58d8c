//! A manager, put together.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    clock::{Clock, SystemClock},
    config::{Config, ConfigError, ServeArgs, StoreKind},
    events::{self, Events, EventsOptions},
    execute::{self, Executor, Fence},
    grpc::{Api, InProcess, Requests, SyncOptions, routes},
    hints,
    http::{Door, Front, Http, HttpOptions},
    instances::Instances,
    listener::{Listener, ListenerOptions},
    metrics::{Metrics, MetricsOptions, Sources},
    peers::{Local, Peers, PeersOptions},
    registry::{OpenError, Registry, RegistryOptions},
    small_file,
    store::{EmbeddedStore, EtcdIdentity, EtcdOptions, EtcdStore, EtcdTls, EtcdUser, MemoryStore, Store, StoreError},
    supervise::supervised,
    telemetry::{self, Spans, TelemetryError},
    webhooks::{Client, Delivery, NoSecret, Secret, Trust, Webhook},
};

mod housekeeping;
mod signal;

pub(crate) use self::signal::outlive_file_size_limit;

/// How long a store's address may take to resolve, for the fence.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A manager that is bound to its address and has loaded its store.
#[derive(Debug)]
pub struct Server {
    serving: AbortOnDropHandle<()>,
    leaving: CancellationToken,
    drain: CancellationToken,
    local_addr: SocketAddr,
    spans: Spans,
    _housekeeping: AbortOnDropHandle<()>,
    _store: AbortOnDropHandle<()>,
    _hints: AbortOnDropHandle<()>,
    _executing: AbortOnDropHandle<()>,
    _events: AbortOnDropHandle<()>,
    webhooks: Vec<AbortOnDropHandle<()>>,
    shutdown_delay: Duration,
    grace: Duration,
}

/// Why a manager does not start. Each says the fix in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logging cannot begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The store cannot be opened.
    #[error("cannot open the {kind} store: {error}{}", remedy(*kind, error))]
    Store {
        /// Which store.
        kind: StoreKind,
        /// Why.
        error: StoreError,
    },
    /// A file that a setting names cannot be read.
    #[error("cannot read {key} {}: {error}", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// What the store holds cannot be loaded.
    #[error("cannot load the {kind} store: {error}")]
    Load {
        /// Which store.
        kind: StoreKind,
        /// Why.
        error: OpenError,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The signals that stop a manager cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// The client that posts events cannot be made: no root certificates can be loaded.
    #[error("events cannot be posted: {0}")]
    Webhooks(std::io::Error),
    /// A defect of this program.
    #[error("the contract's descriptors contradict each other: {0}")]
    Contract(String),
}

/// How long a few instances may take to come back after a restart: twice the longest pause of an SDK.
const SETTLING: Duration = Duration::from_secs(10);

impl Server {
    /// Binds the address, opens the store and loads it. Probes are answered from the binding on.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way and how to mend it.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        config.check()?;
        Self::start(config, open_store(config), Arc::new(SystemClock)).await
    }

    async fn start(
        config: &Config,
        store: impl Future<Output = Result<Arc<dyn Store>, StartError>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let address = config.listen.address;
        let listen_error = |error| StartError::Listen { address, error };
        // Bound first: a second manager on one address is told so before it waits for a store.
        let listener = Listener::bind(address, ListenerOptions::from(config)).map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let (leaving, drain) = (CancellationToken::new(), CancellationToken::new());
        let connections = listener.connections();
        let (door, key) = Door::new();
        let serving = AbortOnDropHandle::new(tokio::spawn(listener.serve(door, drain.clone())));
        let store = store.await?;
        let is_shared = config.store.kind == StoreKind::Etcd;
        let options = EventsOptions { keep: config.events.keep, is_shared };
        let events = Arc::new(Events::new(Arc::clone(&clock), options));
        let options = RegistryOptions {
            events: Arc::clone(&events),
            store_timeout: config.store.timeout,
            max_services: config.limits.max_services,
            ..RegistryOptions::default()
        };
        let registry = Registry::open(Arc::clone(&store), Arc::clone(&clock), options).await;
        let registry = Arc::new(registry.map_err(|error| StartError::Load { kind: config.store.kind, error })?);
        let sync = SyncOptions::from(&config.sync);
        let max_instances = config.limits.max_instances;
        let instances = Instances::new(max_instances, settling(sync, max_instances)).telling(Arc::clone(&events));
        let instances = Arc::new(instances);
        let fence = Fence::loopback_except(own_addresses(config, local_addr).await);
        let spans = Spans::export(&config.telemetry)?;
        let executor = Arc::new(Executor::new(Arc::clone(&registry), fence).with_traces(spans.traces()));
        // The other stores are one manager's alone.
        let peers = match config.store.kind {
            StoreKind::Etcd => {
                let options = PeersOptions {
                    id: events.manager_id().to_owned(),
                    address: advertised(config, local_addr),
                    timeout: config.peers.timeout,
                    lease: config.peers.lease,
                };
                let peers = Peers::join(store, clock, Arc::clone(&instances), options);
                peers.joined().await;
                peers
            }
            StoreKind::Embedded | StoreKind::Memory => Peers::alone(),
        };
        let requests = Arc::<Requests>::default();
        let api = Api {
            registry: Arc::clone(&registry),
            instances: Arc::clone(&instances),
            executor: Arc::clone(&executor),
            peers: peers.clone(),
            sync,
            requests: Arc::clone(&requests),
            leaving: leaving.clone(),
            drain: drain.clone(),
        };
        let routes = routes(api).map_err(|error| StartError::Contract(error.to_string()))?;
        let in_process = InProcess::new(routes.clone());
        let metrics = Metrics::new(Sources {
            local: Local::new(Arc::clone(&registry), Arc::clone(&instances), Arc::clone(&executor)),
            peers,
            connections,
            requests,
            options: MetricsOptions { max_services: config.telemetry.metrics_max_services },
        });
        let http = Http::new(in_process, Arc::clone(&registry), metrics, leaving.clone(), HttpOptions::from(config));
        let front = Front::new(routes, http.map_err(StartError::Contract)?);
        let warn = config.is_exposed().then_some(local_addr);
        let address = advertised(config, local_addr);
        let (drained, grace, stall_timeout) = (drain.clone(), config.listen.grace, config.sync.stall_timeout);
        let parts = (registry, Arc::clone(&instances), executor);
        let (registry, there, _) = parts.clone();
        let _hints = supervised("hints", move || hints::keep(Arc::clone(&registry), Arc::clone(&there)));
        let (registry, there, _) = parts.clone();
        let _events = supervised("events", move || {
            let (registry, there) = (Arc::clone(&registry), Arc::clone(&there));
            events::keep(registry, there, address.clone(), drained.clone(), grace)
        });
        let webhooks = webhooks(config, &events).await?;
        let (registry, ..) = parts.clone();
        let _store = supervised("concerns", move || housekeeping::look_at_store(Arc::clone(&registry)));
        let (_, there, executor) = parts.clone();
        let _executing = supervised("executor", move || execute::keep_up(Arc::clone(&executor), Arc::clone(&there)));
        instances.open();
        let _housekeeping = supervised("housekeeping", move || {
            let (registry, there, executor) = parts.clone();
            housekeeping::keep(registry, there, executor, stall_timeout, warn)
        });
        key.open(front);
        Ok(Self {
            serving,
            leaving,
            drain,
            local_addr,
            spans,
            _housekeeping,
            _store,
            _hints,
            _executing,
            _events,
            webhooks,
            shutdown_delay: config.listen.shutdown_delay,
            grace,
        })
    }

    /// The address that is bound; its port is the real one where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Goes on serving until `shutdown` is done. Then it says that it is not ready, and serves on for as long as it was told to
    /// delay the end; then instances are asked to come again elsewhere, and what is still connected after the grace is closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut serving = self.serving;
        tokio::select! {
            _ = &mut serving => return,
            () = shutdown => {}
        }
        tracing::info!("stopping");
        self.leaving.cancel();
        if !self.shutdown_delay.is_zero() {
            tracing::info!(delay = ?self.shutdown_delay, "not ready any more; whoever comes is served until then");
            tokio::select! {
                _ = &mut serving => return,
                () = tokio::time::sleep(self.shutdown_delay) => {}
            }
        }
        let until = Instant::now() + self.grace;
        self.drain.cancel();
        // An error says that it has ended before.
        let _ = serving.await;
        // The last event is told a moment after the beginning of the end; nobody may be connected that long.
        let posted = futures_util::future::join_all(self.webhooks);
        if tokio::time::timeout_at(until, posted).await.is_err() {
            tracing::warn!("events were not posted any more: there was no time left");
        }
        self.spans.stop().await;
        tracing::info!("stopped");
    }
}

/// How long instances may take to come back after a restart. How many there were is not known; as many as there may be were
/// asked to spread over their reconnect window.
fn settling(sync: SyncOptions, max_instances: usize) -> Duration {
    SETTLING.max(sync.reconnect_window_of(max_instances))
}

/// Runs a manager until SIGTERM, SIGINT or, where it is not ignored, SIGHUP: what `cofferdam serve` does.
///
/// # Errors
/// [`StartError`] says what is in the way and how to mend it.
pub async fn run(args: &ServeArgs) -> Result<(), StartError> {
    let config = Config::load(args)?;
    let _log = telemetry::install(&config.telemetry)?;
    outlive_file_size_limit().map_err(StartError::Signals)?;
    let mut stop = std::pin::pin!(signal::stop().map_err(StartError::Signals)?);
    // A store may take its time to be there. Who does not want to wait for it is heard.
    let server = tokio::select! {
        server = Server::bind(&config) => server?,
        () = stop.as_mut() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let address = server.local_addr();
    let store = config.store.kind;
    match (store, &config.store.data_dir) {
        (StoreKind::Embedded, Some(dir)) => {
            tracing::info!(%address, %store, data_dir = %dir.display(), "cofferdam manager is listening");
        }
        (StoreKind::Etcd, _) => {
            let endpoints = config.store.etcd_endpoints.join(",");
            let prefix = &config.store.etcd_prefix;
            tracing::info!(%address, %store, %endpoints, %prefix, "cofferdam manager is listening");
        }
        _ => tracing::info!(%address, %store, "cofferdam manager is listening"),
    }
    server.serve(stop).await;
    Ok(())
}

/// What mends a store that cannot be opened; nothing where the error says it.
fn remedy(kind: StoreKind, error: &StoreError) -> &'static str {
    match (kind, error) {
        (StoreKind::Embedded, StoreError::InUse { .. }) => "; stop that one, or choose another --data-dir",
        (StoreKind::Embedded, StoreError::Unavailable { .. }) => "; choose a --data-dir that can be written to",
        (StoreKind::Embedded, StoreError::Full { .. }) => "; make room, or choose another --data-dir",
        (StoreKind::Embedded, StoreError::Corrupt { .. }) => {
            "; the file is left as it is: move it away, and `cofferdam store restore` puts a backup into a new one"
        }
        (StoreKind::Embedded, StoreError::Incompatible { .. }) => "; use the version that wrote it, or a newer one",
        _ => "",
    }
}

pub(crate) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let store = &config.store;
    let opened: Result<Arc<dyn Store>, StoreError> = match store.kind {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new())),
        StoreKind::Embedded => {
            let dir = store.data_dir.clone().unwrap_or_else(|| PathBuf::from("cofferdam-data"));
            EmbeddedStore::open(dir).await.map(|store| Arc::new(store) as Arc<dyn Store>)
        }
        StoreKind::Etcd => {
            let options = EtcdOptions {
                prefix: store.etcd_prefix.clone(),
                user: etcd_user(config).await?,
                tls: etcd_tls(config).await?,
                ..EtcdOptions::new(&store.etcd_endpoints)
            };
            EtcdStore::new(options).map(|store| Arc::new(store) as Arc<dyn Store>)
        }
    };
    opened.map_err(|error| StartError::Store { kind: store.kind, error })
}

async fn etcd_user(config: &Config) -> Result<Option<EtcdUser>, StartError> {
    let (Some(name), Some(path)) = (&config.store.etcd_user, &config.store.etcd_password_file) else {
        return Ok(None);
    };
    let key = "store.etcd_password_file";
    let password = String::from_utf8(read(key, path).await?).map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        StartError::File { key, path: path.clone(), error }
    })?;
    Ok(Some(EtcdUser { name: name.clone(), password: password.trim_end_matches(['\r', '\n']).to_owned() }))
}

async fn etcd_tls(config: &Config) -> Result<Option<EtcdTls>, StartError> {
    let store = &config.store;
    let Some(authorities) = &store.etcd_ca_file else { return Ok(None) };
    let identity = match (&store.etcd_cert_file, &store.etcd_key_file) {
        (Some(certificate), Some(key)) => Some(EtcdIdentity {
            certificate: read("store.etcd_cert_file", certificate).await?,
            key: read("store.etcd_key_file", key).await?,
        }),
        _ => None,
    };
    Ok(Some(EtcdTls { authorities: read("store.etcd_ca_file", authorities).await?, identity }))
}

async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || small_file::read(&owned)).await;
    read.map_err(io::Error::other).flatten().map_err(|error| StartError::File { key, path: path.to_owned(), error })
}

/// Begins to post events.
async fn webhooks(config: &Config, events: &Arc<Events>) -> Result<Vec<AbortOnDropHandle<()>>, StartError> {
    let targets = config.webhook.targets()?;
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let secret_error = |error: NoSecret| ConfigError::Invalid { key: "webhook.secret_file", reason: error.to_string() };
    let secret = match &config.webhook.secret_file {
        Some(path) => Some(Arc::new(Secret::read(&read("webhook.secret_file", path).await?).map_err(secret_error)?)),
        None => None,
    };
    let has_tls = targets.iter().any(|url| url.scheme_str() == Some("https"));
    let client = match &config.webhook.ca_file {
        Some(path) => {
            let (key, path) = ("webhook.ca_file", path.clone());
            let certificates = read(key, &path).await?;
            Client::new(Trust::These(&certificates)).map_err(|error| StartError::File { key, path, error })?
        }
        None if has_tls => Client::new(Trust::Machine).map_err(StartError::Webhooks)?,
        None => Client::new(Trust::Nobody).map_err(StartError::Webhooks)?,
    };
    let filter = config.webhook.filter()?;
    let begin = |url| {
        let webhook = Webhook {
            url,
            filter: filter.clone(),
            secret: secret.clone(),
            timeout: config.webhook.timeout,
            give_up_after: config.webhook.give_up_after,
            ..Webhook::default()
        };
        let delivery = Delivery::new(webhook, client.clone(), Arc::clone(events)).map_err(StartError::Contract)?;
        Ok(supervised("webhook", move || Arc::clone(&delivery).run()))
    };
    targets.into_iter().map(begin).collect()
}

/// Where other managers reach this one. `None`: nobody has said so, and its own address does not tell.
fn advertised(config: &Config, local_addr: SocketAddr) -> Option<String> {
    let bound = (!local_addr.ip().is_unspecified()).then(|| local_addr.to_string());
    config.peers.advertise_address.clone().or(bound)
}

/// What the manager must never dial for others: itself and its store.
async fn own_addresses(config: &Config, local_addr: SocketAddr) -> Vec<SocketAddr> {
    let mut own = vec![local_addr];
    for endpoint in &config.store.etcd_endpoints {
        let authority = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(authority)).await {
            Ok(Ok(addresses)) => own.extend(addresses),
            Ok(Err(error)) => tracing::debug!(endpoint, %error, "etcd endpoint does not resolve"),
            Err(_) => tracing::debug!(endpoint, "etcd endpoint does not resolve in time"),
        }
    }
    own
}

#[cfg(test)]
mod tests;
