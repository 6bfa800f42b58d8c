use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{LogFormat, StoreKind, human};

/// The flags of `cofferdam serve`. Each overrides its variable in the environment, and that its key in the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeArgs {
    /// Address to listen on; port 0 is any free one [env: COFFERDAM_LISTEN_ADDRESS] [default: 127.0.0.1:7420]
    #[arg(long, value_name = "IP:PORT", value_parser = human::parse_address)]
    pub listen: Option<SocketAddr>,

    /// Listen on an address that others can reach, with neither TLS nor authentication [env: COFFERDAM_LISTEN_INSECURE]
    #[arg(long)]
    pub insecure_i_understand: bool,

    /// How long connections may take to end on SIGTERM [env: COFFERDAM_LISTEN_GRACE] [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Option<Duration>,

    /// Where services and policies are kept [env: COFFERDAM_STORE_KIND] [default: embedded]
    #[arg(long, value_enum, value_name = "KIND")]
    pub store: Option<StoreKind>,

    /// Directory of the embedded store [env: COFFERDAM_STORE_DATA_DIR] [default: $XDG_STATE_HOME/cofferdam, or
    /// ~/.local/state/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// How long the store may take to be there at start, and for each write [env: COFFERDAM_STORE_TIMEOUT]
    /// [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub store_timeout: Option<Duration>,

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

    /// How log lines are written, on standard error [env: COFFERDAM_TELEMETRY_LOG_FORMAT] [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged: a level, or directives as in RUST_LOG, which wins [env: COFFERDAM_TELEMETRY_LOG_LEVEL]
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}
