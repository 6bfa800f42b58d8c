//! A store of an earlier release is served by this one, and one of a later release is left alone.
//!
//! `golden/` holds a store of each release: a backup, the file of an embedded store, and what a manager of that release
//! showed. They are written once, when the release is made (`make golden`), and never again: a change that cannot read them
//! loses somebody's policies.

use cofferdam_proto::FILE_DESCRIPTOR_SET;
use cofferdam_proto::v1::fallback_step::Strategy;
use cofferdam_proto::v1::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, AlternativeFallback, BulkheadPolicy, BulkheadPool, CachedFallback,
    CircuitBreakerPolicy, DegradedFallback, Dependency, DependencyKind, Endpoint, FallbackPolicy, FallbackStep,
    FleetHintMode, FleetHintPolicy, HealthStatus, HedgePolicy, IsolatedService, IsolationLevel, IsolationPolicy,
    MethodOverride, RateLimitPolicy, RegisterServiceRequest, RetryPolicy, Service, StaticFallback,
};
use cofferdam_tests::wire::{breaker, registration, seconds};
use cofferdam_tests::{Client, Etcd, Manager, Store, cofferdam, workspace_root};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const FILE: &str = "cofferdam.redb";

fn golden() -> PathBuf {
    workspace_root().join("tests/golden")
}

/// The names of the releases of which there is a store.
fn releases() -> Vec<String> {
    let entries = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let backups = entries.filter(|path| path.extension().is_some_and(|extension| extension == "backup"));
    backups.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn descriptor() -> MessageDescriptor {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    pool.get_message_by_name("cofferdam.v1.IsolatedService").unwrap()
}

/// What a release must find again: all that somebody said of each service. What is derived from it may change.
async fn said(client: &Client) -> BTreeMap<String, IsolatedService> {
    let mut services = BTreeMap::new();
    for name in client.list().await.unwrap() {
        let IsolatedService { service, written_policy, reported_health, create_time, update_time, .. } =
            client.info(&name).await.unwrap().service.unwrap();
        let kept = IsolatedService {
            service,
            written_policy,
            reported_health,
            create_time,
            update_time,
            ..IsolatedService::default()
        };
        services.insert(name, kept);
    }
    services
}

fn to_json(services: &BTreeMap<String, IsolatedService>) -> String {
    let message = |service: &IsolatedService| {
        let mut message = DynamicMessage::new(descriptor());
        message.transcode_from(service).unwrap();
        serde_json::to_value(message).unwrap()
    };
    let services: BTreeMap<_, _> = services.iter().map(|(name, service)| (name, message(service))).collect();
    serde_json::to_string_pretty(&services).unwrap() + "\n"
}

fn from_json(text: &str) -> BTreeMap<String, IsolatedService> {
    let services: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let message = |value| DynamicMessage::deserialize(descriptor(), value).unwrap().transcode_to().unwrap();
    services.into_iter().map(|(name, value)| (name, message(value))).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a release showed is what a manager of this one shows on its store, and every write works.
async fn check(release: &str, manager: &Manager) {
    let client = manager.client();
    let expected = from_json(&fs::read_to_string(golden().join(format!("{release}.json"))).unwrap());
    assert_eq!(said(&client).await, expected, "{release}");
    for name in expected.keys() {
        client.set_level(name, IsolationLevel::None).await.unwrap();
    }
    client.register(registration("new", IsolationLevel::Full)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backups_of_all_releases_are_restored_and_served() {
    assert!(!releases().is_empty());
    let etcd = Etcd::start(1).await;
    for release in releases() {
        let backup = golden().join(format!("{release}.backup"));
        let at = ["--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
        let restored = cofferdam(&[&["store", "restore", text(&backup), "--replace"], &at[..]].concat());
        assert_eq!(restored.code, Some(0), "{restored:?}");
        let checked = cofferdam(&[&["store", "check"], &at[..]].concat());
        assert_eq!(checked.code, Some(0), "{checked:?}");
        check(&release, &Manager::on(&etcd).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_all_releases_are_opened_and_served() {
    for release in releases() {
        let mut manager = Manager::embedded().await;
        manager.kill();
        fs::copy(golden().join(format!("{release}.redb")), manager.data_dir().join(FILE)).unwrap();
        manager.restart().await;
        check(&release, &manager).await;
    }
}

/// A store whose schema is a later one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_later_schema_is_refused_by_name_and_left_alone() {
    let etcd = Etcd::start(1).await;
    let mut manager = Manager::on(&etcd).await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    manager.kill();
    let key = "/cofferdam/v1/meta/store";
    // Field 1, the schema's version: 2.
    etcd.client().await.put(key, [0x08, 0x02], None).await.unwrap();
    let exit = manager.rival().exit().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.log.contains("the store has schema version 2, this release knows 1"), "{exit:?}");
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("backup");
    let at = ["--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
    for command in [&["store", "check"][..], &["store", "backup", "--output", text(&output)]] {
        let said = cofferdam(&[command, &at[..]].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(format!("{}{}", said.out, said.err).contains("schema version 2"), "{said:?}");
    }
    let answer = etcd.client().await.get(key, None).await.unwrap();
    assert_eq!(answer.kvs()[0].value(), [0x08, 0x02]);
}

/// A service with everything set, its policy as the manager fills it in.
async fn register_everything(client: &Client) {
    client.register(registration("stand-in", IsolationLevel::Basic)).await.unwrap();
    let step = |strategy| FallbackStep { strategy: Some(strategy) };
    let chain = vec![
        step(Strategy::Cached(CachedFallback { key_fields: vec!["id".into()], ..CachedFallback::default() })),
        step(Strategy::Alternative(AlternativeFallback { service: "stand-in".into(), ..Default::default() })),
        step(Strategy::Degraded(DegradedFallback { reason: "read only".into(), ..DegradedFallback::default() })),
        step(Strategy::Static(StaticFallback { payload: "{}".into(), content_type: "application/json".into() })),
    ];
    let method_overrides = vec![MethodOverride {
        glob: "*/Charge".into(),
        idempotent: Some(false),
        policy: Some(breaker(3, Duration::from_secs(20))),
    }];
    let pool = BulkheadPool { name: "reports".into(), max_concurrent: Some(2), ..BulkheadPool::default() };
    let policy = IsolationPolicy {
        level: IsolationLevel::Full.into(),
        preset: "external-api".into(),
        fallback: Some(FallbackPolicy { chain, ..FallbackPolicy::default() }),
        bulkhead: Some(BulkheadPolicy { pools: vec![pool], max_concurrent: Some(20), ..BulkheadPolicy::default() }),
        circuit_breaker: Some(CircuitBreakerPolicy {
            slow_call_duration: Some(seconds(2)),
            slow_call_rate: Some(0.5),
            ramp_duration: Some(seconds(30)),
            ramp_min_ratio: Some(0.1),
            ..CircuitBreakerPolicy::default()
        }),
        retry: Some(RetryPolicy { retryable_grpc_codes: vec![14], ..RetryPolicy::default() }),
        hedge: Some(HedgePolicy { delay: Some(seconds(1)), max_extra: Some(1), ..HedgePolicy::default() }),
        adaptive_limit: Some(AdaptiveLimitPolicy {
            kind: AdaptiveLimitKind::Aimd.into(),
            min: Some(5),
            max: Some(50),
            ..AdaptiveLimitPolicy::default()
        }),
        rate_limit: Some(RateLimitPolicy { permits: 100, period: Some(seconds(1)), burst: 50, ..Default::default() }),
        fleet_hint: Some(FleetHintPolicy { mode: FleetHintMode::Enforce.into(), ..FleetHintPolicy::default() }),
        method_overrides,
        ..IsolationPolicy::default()
    };
    let service = Service {
        namespace: "default".into(),
        name: "everything".into(),
        version: "1.2.3".into(),
        description: "with all that can be said of a service".into(),
        endpoints: ["127.0.0.1:50051", "[::1]:50052"].map(|address| Endpoint { address: address.into() }).to_vec(),
        dependencies: vec![Dependency { service: "stand-in".into(), kind: DependencyKind::Optional.into() }],
        labels: BTreeMap::from([("team".into(), "billing".into())]),
        enabled: Some(true),
    };
    let request = |policy: Option<IsolationPolicy>| RegisterServiceRequest {
        service: Some(service.clone()),
        policy,
        ..RegisterServiceRequest::default()
    };
    let filled_in = client.register(request(Some(policy))).await.unwrap().policy;
    client.register(request(filled_in)).await.unwrap();
    client.report_health("everything", HealthStatus::Degraded, "slow today").await.unwrap();
    let mut written = registration("as-written", IsolationLevel::Enhanced);
    written.policy = Some(IsolationPolicy { preset: "database".into(), ..IsolationPolicy::default() });
    client.register(written).await.unwrap();
}

/// Into a folder that goes with the test; into `golden/` where `make golden` asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_this_release_can_be_written() {
    let said_of = cofferdam(&["version"]).out;
    let release = said_of.split_whitespace().nth(1).unwrap();
    let passing = TempDir::new().unwrap();
    let is_kept = std::env::var_os("COFFERDAM_REGENERATE").is_some();
    let folder = if is_kept { golden() } else { passing.path().to_owned() };
    fs::create_dir_all(&folder).unwrap();
    let path = |extension: &str| folder.join(format!("{release}.{extension}"));
    let mut manager = Manager::start(Store::Embedded).await;
    register_everything(&manager.client()).await;
    fs::write(path("json"), to_json(&said(&manager.client()).await)).unwrap();
    manager.process().terminate();
    manager.process().exit().await;
    if path("backup").exists() {
        fs::remove_file(path("backup")).unwrap();
    }
    let dir = text(manager.data_dir());
    let saved = cofferdam(&["store", "backup", "--data-dir", dir, "--output", text(&path("backup"))]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    fs::copy(manager.data_dir().join(FILE), path("redb")).unwrap();
}
