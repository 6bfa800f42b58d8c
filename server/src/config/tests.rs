use super::*;
use clap::Parser;
use std::{io::Write, path::PathBuf, time::Duration};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = Cli::try_parse_from(["cofferdam"].iter().chain(flags)).unwrap().args;
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    source::load(&args, &find)
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
    assert!(refused(&["--store-timeout", "0s"]).contains("store.timeout"));
    assert!(refused(&["--store-timeout", "25h"]).contains("store.timeout"));
    assert!(refused(&["--grace", "500000000000y"]).contains("listen.grace"));
    let config = load_file("[limits]\nmax_instances = 0").unwrap();
    assert!(config.check().unwrap_err().to_string().contains("limits.max_instances"));
    let config = load_file("[store]\nkind = \"etcd\"\netcd_endpoints = \"a:1\"\netcd_user = \"me\"").unwrap();
    assert!(config.check().unwrap_err().to_string().contains("etcd_password_file"));
}

#[test]
fn every_flag_is_documented() {
    use clap::CommandFactory;
    for argument in Cli::command().get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("[env: COFFERDAM_"), "{}: {help}", argument.get_id());
    }
}
