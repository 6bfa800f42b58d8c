//! The four places that settings come from, laid over each other.

use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use figment::{
    Figment, Provider,
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{
    Config, ConfigError, ServeArgs, StoreArgs, StoreKind,
    environment::{self, Environment, variable},
};
use crate::small_file;

/// Every key there is, with its section, and how its variable in the environment is read.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("listen.address", Kind::Text),
    ("listen.insecure", Kind::Plain),
    ("listen.hosts", Kind::Text),
    ("listen.shutdown_delay", Kind::Text),
    ("listen.grace", Kind::Text),
    ("listen.handshake_timeout", Kind::Text),
    ("listen.keepalive_interval", Kind::Text),
    ("listen.keepalive_timeout", Kind::Text),
    ("store.kind", Kind::Text),
    ("store.data_dir", Kind::Text),
    ("store.timeout", Kind::Text),
    ("store.etcd_endpoints", Kind::Text),
    ("store.etcd_prefix", Kind::Text),
    ("store.etcd_user", Kind::Text),
    ("store.etcd_password_file", Kind::Text),
    ("store.etcd_ca_file", Kind::Text),
    ("store.etcd_cert_file", Kind::Text),
    ("store.etcd_key_file", Kind::Text),
    ("telemetry.log_format", Kind::Text),
    ("telemetry.log_level", Kind::Text),
    ("telemetry.metrics_max_services", Kind::Plain),
    ("telemetry.otlp_endpoint", Kind::Text),
    ("limits.max_services", Kind::Plain),
    ("limits.max_instances", Kind::Plain),
    ("limits.max_connections", Kind::Plain),
    ("limits.reserved_connections", Kind::Plain),
    ("limits.max_connections_per_ip", Kind::Plain),
    ("limits.max_streams_per_connection", Kind::Plain),
    ("sync.max_age", Kind::Text),
    ("sync.reconnect_rate", Kind::Plain),
    ("sync.stall_timeout", Kind::Text),
    ("peers.advertise_address", Kind::Text),
    ("peers.timeout", Kind::Text),
    ("peers.lease", Kind::Text),
    ("events.keep", Kind::Plain),
    ("webhook.urls", Kind::Text),
    ("webhook.kinds", Kind::Text),
    ("webhook.namespace", Kind::Text),
    ("webhook.service", Kind::Text),
    ("webhook.secret_file", Kind::Text),
    ("webhook.ca_file", Kind::Text),
    ("webhook.timeout", Kind::Text),
    ("webhook.give_up_after", Kind::Text),
];

/// Variables that all programs with OpenTelemetry know, the one that counts first in front.
const OTLP_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// How a variable is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it stands, even where it looks like a number.
    Text,
    /// As a number or a truth value.
    Plain,
}

pub(super) fn load(args: &ServeArgs, environment: &Environment) -> Result<Config, ConfigError> {
    environment.known_only()?;
    let mut figment = Figment::new();
    let file = args.store.config.clone().or_else(|| environment.get(environment::CONFIG).map(PathBuf::from));
    if let Some(file) = &file {
        figment = figment.merge(read(file)?);
    }
    for (key, kind) in KEYS {
        if let Some(text) = environment.get(&variable(key)) {
            let value = match kind {
                Kind::Text => Value::from(text),
                Kind::Plain => Value::from_str(&text).unwrap_or_else(|never| match never {}),
            };
            figment = figment.merge((key, value));
        }
    }
    let mut config: Config = figment.extract().map_err(|error| explain(&error, file.as_deref()))?;
    override_by(args, &mut config);
    if config.telemetry.otlp_endpoint.is_none() {
        config.telemetry.otlp_endpoint = OTLP_VARIABLES.iter().find_map(|name| environment.get(name));
    }
    if config.store.kind == StoreKind::Embedded {
        config.store.data_dir.get_or_insert_with(|| default_data_dir(environment));
    }
    Ok(config)
}

fn read(path: &Path) -> Result<impl Provider, ConfigError> {
    let path = path.to_owned();
    let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8");
    let text = match small_file::read(&path).and_then(|bytes| String::from_utf8(bytes).map_err(no_text)) {
        Ok(text) => text,
        Err(error) => return Err(ConfigError::Unreadable { path, error }),
    };
    let toml = Toml::string(&text);
    match toml.data() {
        Ok(profiles) => profiles.values().try_for_each(|dict| known_only(dict, "", &path)).map(|()| toml),
        Err(error) => Err(ConfigError::Malformed { path, reason: one_line(&error.to_string()) }),
    }
}

/// An error of the TOML parser without the picture that it draws of the place.
fn one_line(error: &str) -> String {
    let is_drawn = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let said: Vec<_> = error.lines().filter(|line| !line.trim().is_empty() && !is_drawn(line)).collect();
    said.join("; ")
}

/// Refuses a key that means nothing.
fn known_only(dict: &Dict, section: &str, path: &Path) -> Result<(), ConfigError> {
    for (name, value) in dict {
        let key = format!("{section}{name}");
        let is_key = KEYS.iter().any(|(known, _)| *known == key);
        let inside = format!("{key}.");
        let first = KEYS.iter().find_map(|(known, _)| known.strip_prefix(&inside));
        match (value, first) {
            _ if is_key => {}
            (Value::Dict(_, dict), Some(_)) => known_only(dict, &inside, path)?,
            (_, Some(first)) => {
                let is = "is a section, and is given a value";
                let place = path.display();
                return Err(ConfigError::Value(format!(
                    "{key} in {place}: {is}: write [{key}], and below it {first} = ..."
                )));
            }
            _ => {
                return Err(ConfigError::UnknownKey { path: path.to_owned(), nearest: nearest(&key), key });
            }
        }
    }
    Ok(())
}

/// The key or section most like a name that is neither. The last part counts for itself, too: who forgets the section is
/// understood.
fn nearest(name: &str) -> &'static str {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        strsim::normalized_levenshtein(known, name) + strsim::normalized_levenshtein(&last(known), &last(name))
    };
    let sections = KEYS.iter().filter_map(|(known, _)| known.split('.').next());
    let names = KEYS.iter().map(|(known, _)| *known).chain(sections);
    names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

/// Says which key is wrong and where it came from.
fn explain(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let key = error.path.join(".");
    let from_file = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("TOML"));
    let place = match file {
        Some(file) if from_file => format!("{key} in {}", file.display()),
        _ => variable(&key),
    };
    ConfigError::Value(format!("{place}: {}", error.kind))
}

fn override_by(args: &ServeArgs, config: &mut Config) {
    // Taken apart without `..`, so that a flag added fails the build here until it has an effect.
    let ServeArgs {
        listen,
        advertise_address,
        insecure_i_understand,
        shutdown_delay,
        grace,
        handshake_timeout,
        keepalive_interval,
        keepalive_timeout,
        store: StoreArgs { kind, data_dir, etcd_endpoints, etcd_prefix, config: _ },
        store_timeout,
        log_format,
        log_level,
        metrics_max_services,
        otlp_endpoint,
        max_services,
        max_instances,
        max_connections,
        reserved_connections,
        max_connections_per_ip,
        max_streams_per_connection,
        sync_max_age,
        sync_reconnect_rate,
        sync_stall_timeout,
        peers_timeout,
        peers_lease,
        events_keep,
        webhook_urls,
        webhook_kinds,
        webhook_secret_file,
    } = args.clone();
    fn set<T>(target: &mut T, flag: Option<T>) {
        if let Some(value) = flag {
            *target = value;
        }
    }
    set(&mut config.listen.address, listen);
    set(&mut config.peers.advertise_address, advertise_address.map(Some));
    set(&mut config.listen.insecure, insecure_i_understand.then_some(true));
    set(&mut config.listen.shutdown_delay, shutdown_delay);
    set(&mut config.listen.grace, grace);
    set(&mut config.listen.handshake_timeout, handshake_timeout);
    set(&mut config.listen.keepalive_interval, keepalive_interval);
    set(&mut config.listen.keepalive_timeout, keepalive_timeout);
    set(&mut config.store.kind, kind);
    set(&mut config.store.data_dir, data_dir.map(Some));
    set(&mut config.store.timeout, store_timeout);
    set(&mut config.store.etcd_endpoints, Some(etcd_endpoints).filter(|endpoints| !endpoints.is_empty()));
    set(&mut config.store.etcd_prefix, etcd_prefix);
    set(&mut config.telemetry.log_format, log_format);
    set(&mut config.telemetry.log_level, log_level);
    set(&mut config.telemetry.metrics_max_services, metrics_max_services);
    set(&mut config.telemetry.otlp_endpoint, otlp_endpoint.map(Some));
    set(&mut config.limits.max_services, max_services);
    set(&mut config.limits.max_instances, max_instances);
    set(&mut config.limits.max_connections, max_connections);
    set(&mut config.limits.reserved_connections, reserved_connections);
    set(&mut config.limits.max_connections_per_ip, max_connections_per_ip);
    set(&mut config.limits.max_streams_per_connection, max_streams_per_connection);
    set(&mut config.sync.max_age, sync_max_age);
    set(&mut config.sync.reconnect_rate, sync_reconnect_rate);
    set(&mut config.sync.stall_timeout, sync_stall_timeout);
    set(&mut config.peers.timeout, peers_timeout);
    set(&mut config.peers.lease, peers_lease);
    set(&mut config.events.keep, events_keep);
    set(&mut config.webhook.urls, Some(webhook_urls).filter(|urls| !urls.is_empty()));
    set(&mut config.webhook.kinds, Some(webhook_kinds).filter(|kinds| !kinds.is_empty()));
    set(&mut config.webhook.secret_file, webhook_secret_file.map(Some));
}

/// Where people's programs keep their state.
fn default_data_dir(environment: &Environment) -> PathBuf {
    let set = |name| environment.get(name).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.map_or_else(|| PathBuf::from("cofferdam-data"), |state| state.join("cofferdam"))
}
