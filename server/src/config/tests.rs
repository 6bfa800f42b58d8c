use super::*;
use clap::Parser;
use figment::{
    Figment,
    providers::{Format, Toml},
};
use std::{io::Write, path::PathBuf, time::Duration};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = Cli::try_parse_from(["cofferdam"].iter().chain(flags)).unwrap().args;
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    source::load(&args, &environment::Environment::of(variables))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_file(text: &str) -> Result<Config, ConfigError> {
    let file = file(text);
    load(&["--config", file.path().to_str().unwrap()], &[])
}

#[test]
fn without_a_word_the_defaults_hold() {
    let config = load(&[], &[("HOME", "/home/me")]).unwrap();
    let data_dir = Some(PathBuf::from("/home/me/.local/state/cofferdam"));
    assert_eq!(config.store.data_dir, data_dir);
    let store = StoreConfig { data_dir, ..StoreConfig::default() };
    assert_eq!(config, Config { store, ..Config::default() });
}

#[test]
fn the_data_directory_follows_the_platform() {
    let dir = |variables: &[(&str, &str)]| load(&[], variables).unwrap().store.data_dir.unwrap();
    assert_eq!(dir(&[("XDG_STATE_HOME", "/state"), ("HOME", "/me")]), PathBuf::from("/state/cofferdam"));
    assert_eq!(dir(&[]), PathBuf::from("cofferdam-data"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = file(
        r#"
        [listen]
        address = "127.0.0.1:1"
        grace = "1m 30s"
        [store]
        kind = "etcd"
        etcd_endpoints = ["a:1", "b:2"]
        timeout = "1s"
        [telemetry]
        log_format = "json"
        [limits]
        max_services = 7
        "#,
    );
    let path = file.path().to_str().unwrap();
    let config = load(&["--config", path], &[]).unwrap();
    assert_eq!(config.listen.address.port(), 1);
    assert_eq!(config.listen.grace, Duration::from_secs(90));
    assert_eq!(config.store.etcd_endpoints, ["a:1", "b:2"]);
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert_eq!(config.limits.max_services, 7);

    let variables = [
        ("COFFERDAM_CONFIG", path),
        ("COFFERDAM_LISTEN_ADDRESS", "127.0.0.1:2"),
        ("COFFERDAM_STORE_ETCD_ENDPOINTS", "c:3, d:4"),
        ("COFFERDAM_STORE_TIMEOUT", "2s"),
        ("COFFERDAM_STORE_DATA_DIR", "123"),
        ("COFFERDAM_LIMITS_MAX_SERVICES", "8"),
        ("COFFERDAM_LISTEN_INSECURE", "true"),
        // As Kubernetes makes them up for a service of our name.
        ("COFFERDAM_PORT", "tcp://10.0.0.1:7420"),
    ];
    let config = load(&[], &variables).unwrap();
    assert_eq!(config.listen.address.port(), 2);
    assert!(config.listen.insecure);
    assert_eq!(config.store.etcd_endpoints, ["c:3", "d:4"]);
    assert_eq!(config.store.data_dir, Some(PathBuf::from("123")));
    assert_eq!((config.store.timeout, config.limits.max_services), (Duration::from_secs(2), 8));
    assert_eq!(config.listen.grace, Duration::from_secs(90), "still from the file");

    let flags = ["--listen", "127.0.0.1:3", "--store", "etcd", "--etcd-endpoints", "e:5,f:6", "--store-timeout", "3s"];
    let config = load(&flags, &variables).unwrap();
    assert_eq!(config.listen.address.port(), 3);
    assert_eq!(config.store.etcd_endpoints, ["e:5", "f:6"]);
    assert_eq!(config.store.timeout, Duration::from_secs(3));
}

#[test]
fn each_limit_has_a_flag() {
    let times = ["--handshake-timeout", "--keepalive-interval", "--keepalive-timeout", "--sync-max-age"];
    let times = times.into_iter().chain(["--sync-stall-timeout", "--shutdown-delay"]);
    let counts = ["--max-services", "--max-instances", "--max-connections", "--reserved-connections"];
    let counts = counts.into_iter().chain(["--max-connections-per-ip", "--max-streams-per-connection"]);
    let flags: Vec<_> = times.zip(["1s", "2s", "3s", "4s", "5s", "6s"]).collect();
    let counts = counts.chain(["--sync-reconnect-rate"]).zip(["1", "2", "3", "4", "5", "6", "7"]);
    let flags: Vec<_> = flags.into_iter().chain(counts).flat_map(|(flag, value)| [flag, value]).collect();
    let Config { listen, limits, sync, .. } = load(&flags, &[("COFFERDAM_SYNC_MAX_AGE", "9s")]).unwrap();
    let seconds = Duration::from_secs;
    let expected = ListenConfig {
        shutdown_delay: seconds(6),
        handshake_timeout: seconds(1),
        keepalive_interval: seconds(2),
        keepalive_timeout: seconds(3),
        ..ListenConfig::default()
    };
    assert_eq!(listen, expected);
    assert_eq!(sync, SyncConfig { max_age: seconds(4), stall_timeout: seconds(5), reconnect_rate: 7 });
    let expected = LimitsConfig {
        max_services: 1,
        max_instances: 2,
        max_connections: 3,
        reserved_connections: 4,
        max_connections_per_ip: 5,
        max_streams_per_connection: 6,
    };
    assert_eq!(limits, expected);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    for (text, key, nearest) in [
        ("[listen]\nadress = \"x\"", "listen.adress", "listen.address"),
        ("[stroe]\nkind = \"etcd\"", "stroe", "store"),
        ("etcd_endpoints = [\"a\"]", "etcd_endpoints", "store.etcd_endpoints"),
    ] {
        let refused = load_file(text).unwrap_err();
        let ConfigError::UnknownKey { key: named, nearest: offered, .. } = refused else { panic!("{refused}") };
        assert_eq!((named.as_str(), offered), (key, nearest));
    }
}

/// Before: "unknown key listen: did you mean listen?"
#[test]
fn a_section_that_is_given_a_value_is_told_as_that() {
    for text in ["listen = 3", "listen = \"127.0.0.1:7420\"", "listen = [\"a\"]"] {
        let refused = load_file(text).unwrap_err().to_string();
        assert!(refused.starts_with("listen in /"), "{refused}");
        assert!(refused.ends_with(": is a section, and is given a value: write [listen], and below it address = ..."));
    }
}

#[test]
fn a_wrong_value_names_its_place() {
    let refused = load_file("[store]\ntimeout = 10").unwrap_err().to_string();
    assert!(refused.starts_with("store.timeout in /"), "{refused}");
    assert!(refused.contains("with its unit"), "{refused}");
    let refused = load(&[], &[("COFFERDAM_STORE_KIND", "redis")]).unwrap_err().to_string();
    assert!(refused.starts_with("COFFERDAM_STORE_KIND"), "{refused}");
    assert!(refused.contains("embedded"), "{refused}");
    let refused = load_file("[listen\n").unwrap_err();
    assert!(matches!(refused, ConfigError::Malformed { .. }), "{refused}");
    let refused = load(&["--config", "/nowhere/at/all"], &[]).unwrap_err();
    assert!(matches!(refused, ConfigError::Unreadable { .. }), "{refused}");
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_what_is_right() {
    for (text, right) in [
        ("[listen]\naddress = \"localhost:7420\"", "127.0.0.1:7420"),
        ("[listen]\naddress = 7420", "127.0.0.1:7420"),
        ("[limits]\nmax_services = -1", "a whole number, 1 or more"),
        ("[listen\naddress = 1", "line 1, column 8; invalid table header; expected"),
    ] {
        let refused = load_file(text).unwrap_err().to_string();
        assert!(refused.contains(right) && !refused.contains('\n'), "{text}: {refused}");
    }
    let refused = load(&[], &[("COFFERDAM_LIMITS_MAX_SERVICES", "ten")]).unwrap_err().to_string();
    assert!(refused.contains("a whole number"), "{refused}");
    let refused = Cli::try_parse_from(["cofferdam", "--listen", "localhost:7420"]).err().unwrap().to_string();
    assert!(refused.contains("127.0.0.1:7420"), "{refused}");
}

#[test]
fn an_empty_variable_is_none() {
    let variables = ["COFFERDAM_CONFIG", "COFFERDAM_LISTEN_ADDRESS", "COFFERDAM_STORE_DATA_DIR", "HOME"];
    let config = load(&[], &variables.map(|name| (name, ""))).unwrap();
    assert_eq!(config.listen, ListenConfig::default());
    assert_eq!(config.store.data_dir, Some(PathBuf::from("cofferdam-data")));
}

#[test]
fn only_loopback_is_served_without_being_told_to() {
    for (address, exposed) in [
        ("127.0.0.1:7420", false),
        ("127.9.9.9:1", false),
        ("[::1]:7420", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("0.0.0.0:7420", true),
        ("[::]:7420", true),
        ("10.0.0.1:7420", true),
        ("[2001:db8::1]:7420", true),
    ] {
        let config = load(&["--listen", address], &[]).unwrap();
        assert_eq!(config.is_exposed(), exposed, "{address}");
        let refused = config.check();
        assert_eq!(refused.is_err(), exposed, "{address}");
        if let Err(refused) = refused {
            let message = refused.to_string();
            assert!(message.contains("--insecure-i-understand") && !message.contains('\n'), "{message}");
        }
        load(&["--listen", address, "--insecure-i-understand"], &[]).unwrap().check().unwrap();
    }
}

#[test]
fn settings_must_go_together() {
    let refused = |flags: &[&str]| load(flags, &[]).unwrap().check().unwrap_err().to_string();
    assert!(refused(&["--store", "etcd"]).contains("--etcd-endpoints"));
    assert!(refused(&["--etcd-endpoints", "a:1"]).contains("--store etcd"));
    for store in [&["--store", "memory"][..], &["--store", "etcd", "--etcd-endpoints", "a:1"]] {
        let said = refused(&[store, &["--data-dir", "/data"]].concat());
        assert!(said.starts_with("store.data_dir") && said.contains("--store embedded"), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
    assert!(refused(&["--store-timeout", "0s"]).contains("store.timeout"));
    assert!(refused(&["--store-timeout", "25h"]).contains("store.timeout"));
    assert!(refused(&["--shutdown-delay", "25h"]).contains("listen.shutdown_delay"));
    assert!(refused(&["--grace", "500000000000y"]).contains("listen.grace"));
    let config = load_file("[limits]\nmax_instances = 0").unwrap();
    assert!(config.check().unwrap_err().to_string().contains("limits.max_instances"));
    for (file, key) in [
        ("[listen]\nhandshake_timeout = \"99ms\"", "listen.handshake_timeout"),
        ("[listen]\nkeepalive_interval = \"0s\"", "listen.keepalive_interval"),
        ("[listen]\nkeepalive_timeout = \"25h\"", "listen.keepalive_timeout"),
        ("[limits]\nreserved_connections = 25000", "limits.reserved_connections"),
        ("[limits]\nmax_streams_per_connection = 0", "limits.max_streams_per_connection"),
        ("[sync]\nmax_age = \"999ms\"", "sync.max_age"),
        ("[sync]\nreconnect_rate = 0", "sync.reconnect_rate"),
        ("[sync]\nstall_timeout = \"0s\"", "sync.stall_timeout"),
        ("[webhook]\nurls = \"http://hooks.example\"\nca_file = \"ca.pem\"", "webhook.ca_file"),
    ] {
        assert!(load_file(file).unwrap().check().unwrap_err().to_string().starts_with(key), "{file}");
    }
    load_file("[sync]\nmax_age = \"0s\"").unwrap().check().unwrap();
    for (setting, key) in [
        ("etcd_endpoints = \"a:1\"\netcd_user = \"me\"", "store.etcd_password_file"),
        ("etcd_endpoints = \"https://a:1\"", "store.etcd_ca_file"),
        ("etcd_endpoints = \"a:1\"\netcd_ca_file = \"ca\"\netcd_key_file = \"key\"", "store.etcd_key_file"),
        ("etcd_endpoints = \"a:1\"\netcd_cert_file = \"cert\"\netcd_key_file = \"key\"", "store.etcd_ca_file"),
        ("etcd_endpoints = \"b:1,http://a:1\"\netcd_ca_file = \"ca\"", "store.etcd_endpoints"),
    ] {
        let config = load_file(&format!("[store]\nkind = \"etcd\"\n{setting}")).unwrap();
        assert!(config.check().unwrap_err().to_string().starts_with(key), "{setting}");
    }
}

#[test]
fn every_flag_is_documented() {
    use clap::CommandFactory;
    for argument in Cli::command().get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("[env: COFFERDAM_"), "{}: {help}", argument.get_id());
    }
}

/// The reference that people read, against what is.
#[test]
fn the_reference_is_complete_and_its_file_holds_the_defaults() {
    const REFERENCE: &str = include_str!("../../../docs/configuration.md");
    let rows: Vec<Vec<_>> = REFERENCE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let keys: Vec<_> = source::KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), keys);

    let command = <Cli as clap::CommandFactory>::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "config");
    let mut flags: Vec<_> = flags.map(|flag| format!("--{flag}")).collect();
    let mut shown: Vec<_> = rows.iter().map(|row| row[2].to_owned()).filter(|flag| !flag.is_empty()).collect();
    flags.sort();
    shown.sort();
    assert_eq!(shown, flags);

    let (_, file) = REFERENCE.split_once("```toml\n").unwrap();
    let (file, _) = file.split_once("```").unwrap();
    let defaults = load(&[], &[]).unwrap();
    assert_eq!(load_file(file).unwrap(), defaults);
    // What is commented out is known, too.
    let uncommented = load_file(&file.replace("# ", "")).unwrap();
    assert_eq!(uncommented.store.etcd_user.as_deref(), Some("cofferdam"));
    // The table's defaults are the file's.
    let figment = Figment::from(Toml::string(file));
    for row in &rows {
        let Ok(value) = figment.find_value(row[1]) else { continue };
        let number = || value.to_i128().map(|number| number.to_string());
        let other = || value.to_bool().map(|is| is.to_string());
        let written = value.as_str().map(str::to_owned).or_else(number).or_else(other).unwrap();
        assert_eq!(row[3], written, "{}", row[1]);
    }
}
