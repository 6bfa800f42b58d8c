use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{LogFormat, StoreKind, human};

/// The flags of `cofferdam serve`. Each overrides its variable in the environment, and that its key in the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeArgs {
    /// Address to listen on; port 0 is any free one [env: COFFERDAM_LISTEN_ADDRESS] [default: 127.0.0.1:7420]
    #[arg(long, value_name = "IP:PORT", value_parser = human::parse_address)]
    pub listen: Option<SocketAddr>,

    /// Where other managers over the same etcd reach this one [env: COFFERDAM_PEERS_ADVERTISE_ADDRESS] [default: the
    /// address listened on]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,

    /// Listen on an address that others can reach, with neither TLS nor authentication [env: COFFERDAM_LISTEN_INSECURE]
    #[arg(long)]
    pub insecure_i_understand: bool,

    /// How long to go on serving after SIGTERM, not ready, for load balancers to notice [env: COFFERDAM_LISTEN_SHUTDOWN_DELAY]
    /// [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub shutdown_delay: Option<Duration>,

    /// How long connections may take to end after that [env: COFFERDAM_LISTEN_GRACE] [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Option<Duration>,

    /// How long a new connection may take until it has said which protocol it speaks
    /// [env: COFFERDAM_LISTEN_HANDSHAKE_TIMEOUT] [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub handshake_timeout: Option<Duration>,

    /// How often a connection is asked whether there is somebody at the other end
    /// [env: COFFERDAM_LISTEN_KEEPALIVE_INTERVAL] [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub keepalive_interval: Option<Duration>,

    /// How long the answer to that may take [env: COFFERDAM_LISTEN_KEEPALIVE_TIMEOUT] [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub keepalive_timeout: Option<Duration>,

    /// Which store, and where.
    #[command(flatten)]
    pub store: StoreArgs,

    /// How long the store may take to be there at start, and for each write [env: COFFERDAM_STORE_TIMEOUT]
    /// [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub store_timeout: Option<Duration>,

    /// How log lines are written, on standard error [env: COFFERDAM_TELEMETRY_LOG_FORMAT] [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged: a level, or directives as in RUST_LOG, which wins [env: COFFERDAM_TELEMETRY_LOG_LEVEL]
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Services with rows of their own in /metrics; those beyond are added up
    /// [env: COFFERDAM_TELEMETRY_METRICS_MAX_SERVICES] [default: 2000]
    #[arg(long, value_name = "N")]
    pub metrics_max_services: Option<usize>,

    /// Where spans of calls go by OTLP over gRPC, as in http://127.0.0.1:4317 [env: COFFERDAM_TELEMETRY_OTLP_ENDPOINT,
    /// OTEL_EXPORTER_OTLP_ENDPOINT] [default: nowhere]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Registered services, over all namespaces [env: COFFERDAM_LIMITS_MAX_SERVICES] [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_services: Option<usize>,

    /// Instances that hold a stream at this manager [env: COFFERDAM_LIMITS_MAX_INSTANCES] [default: 20000]
    #[arg(long, value_name = "N")]
    pub max_instances: Option<usize>,

    /// Connections to this manager [env: COFFERDAM_LIMITS_MAX_CONNECTIONS] [default: 25000]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,

    /// The last ones of these, kept for operators [env: COFFERDAM_LIMITS_RESERVED_CONNECTIONS] [default: 1000]
    #[arg(long, value_name = "N")]
    pub reserved_connections: Option<usize>,

    /// Connections from one IPv4 address, or one IPv6 network of 64 bits
    /// [env: COFFERDAM_LIMITS_MAX_CONNECTIONS_PER_IP] [default: 5000]
    #[arg(long, value_name = "N")]
    pub max_connections_per_ip: Option<usize>,

    /// Calls and streams at once on one connection [env: COFFERDAM_LIMITS_MAX_STREAMS_PER_CONNECTION] [default: 128]
    #[arg(long, value_name = "N")]
    pub max_streams_per_connection: Option<usize>,

    /// How long the stream of an instance lasts until it is asked to come again; 0s is for ever
    /// [env: COFFERDAM_SYNC_MAX_AGE] [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub sync_max_age: Option<Duration>,

    /// How many instances per second are to come where many do at once [env: COFFERDAM_SYNC_RECONNECT_RATE]
    /// [default: 2000]
    #[arg(long, value_name = "N")]
    pub sync_reconnect_rate: Option<usize>,

    /// How long an instance may take nothing while something waits for it, before its connection is cut
    /// [env: COFFERDAM_SYNC_STALL_TIMEOUT] [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub sync_stall_timeout: Option<Duration>,

    /// How long other managers may take to answer [env: COFFERDAM_PEERS_TIMEOUT] [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub peers_timeout: Option<Duration>,

    /// How long other managers take this one for there after it was last heard of [env: COFFERDAM_PEERS_LEASE]
    /// [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub peers_lease: Option<Duration>,

    /// How many events are kept, in as many KiB together [env: COFFERDAM_EVENTS_KEEP] [default: 10000]
    #[arg(long, value_name = "N")]
    pub events_keep: Option<usize>,

    /// Where events are posted, with commas between them [env: COFFERDAM_WEBHOOK_URLS]
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    pub webhook_urls: Vec<String>,

    /// The kinds of events that are posted [env: COFFERDAM_WEBHOOK_KINDS] [default: all]
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    pub webhook_kinds: Vec<String>,

    /// File with what posted events are signed with [env: COFFERDAM_WEBHOOK_SECRET_FILE]
    #[arg(long, value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
}

/// The flags that say which store, and where: of `cofferdam serve`, and of all that is done to a store.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreArgs {
    /// Where services and policies are kept [env: COFFERDAM_STORE_KIND] [default: embedded]
    #[arg(long = "store", value_enum, value_name = "KIND")]
    pub kind: Option<StoreKind>,

    /// Directory of the embedded store [env: COFFERDAM_STORE_DATA_DIR] [default: $XDG_STATE_HOME/cofferdam, or
    /// ~/.local/state/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Members of the etcd cluster, with commas between them [env: COFFERDAM_STORE_ETCD_ENDPOINTS]
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub etcd_endpoints: Vec<String>,

    /// What all keys begin with in etcd; ends with a slash [env: COFFERDAM_STORE_ETCD_PREFIX]
    /// [default: /cofferdam/v1/]
    #[arg(long, value_name = "PREFIX")]
    pub etcd_prefix: Option<String>,

    /// File with further settings, in TOML [env: COFFERDAM_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
