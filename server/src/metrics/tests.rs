use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cofferdam_core::{
    breaker::State, health::HealthStatus, latency::SparseLatency, name::Name, stats::CounterSnapshot,
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    catalogue::{ALL, Family, Kind},
    *,
};
use crate::{
    activity::Activity,
    instances::{Condition, Report, Session},
    testing::{Manager, key, registration},
};

mod documented;

/// A sample: its name with its labels in order, as in `name{label="value"}`.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        (name.to_owned(), value)
    });
    let all: Vec<_> = samples.collect();
    let by_name: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(all.len(), by_name.len(), "no sample is there twice");
    by_name
}

async fn scrape(manager: &Manager) -> BTreeMap<String, f64> {
    samples(&manager.metrics.scrape(Format::OpenMetrics).await.unwrap())
}

/// The sum of all samples of a name that have these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let is_it =
        |sample: &&String| sample.split('{').next() == Some(name) && labels.iter().all(|label| sample.contains(label));
    samples.iter().filter(|(sample, _)| is_it(sample)).map(|(_, value)| value).sum()
}

fn connect(manager: &Manager, id: &str, services: &[&str]) -> Session {
    let session = manager.instances.connect(id, "app", Name::new("default").unwrap()).unwrap();
    let keys: Vec<_> = services.iter().map(|name| key(&format!("default/{name}"))).collect();
    session.follow(keys.iter().map(|key| (key, manager.registry.get(key).is_some()))).unwrap();
    session
}

/// So many calls that ended well and so many that failed, of 3 ms each.
fn report(ok: u64, failed: u64) -> Report {
    let counters = CounterSnapshot {
        calls: ok + failed,
        served_live: ok,
        failed,
        attempts: ok + failed,
        attempt_successes: ok,
        attempt_failures: failed,
        rejected_open: 2,
        ..CounterSnapshot::default()
    };
    let mut activity = Activity { counters, ..Activity::default() };
    let mut calls = SparseLatency::default();
    (0..ok + failed).for_each(|_| calls.record(Duration::from_millis(3)));
    activity.latencies.calls = calls;
    let condition = Condition { breaker: Some(State::Closed), health: Some(HealthStatus::Healthy) };
    Report { activity, condition, is_registered: true, ..Report::default() }
}

async fn register(manager: &Manager, names: &[&str]) {
    for name in names {
        manager.registry.register(registration(name)).await.unwrap();
    }
}

/// The labels of a sample, by name.
fn labels_of(sample: &str) -> Vec<&str> {
    let inside = sample.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or_default();
    inside.split("\",").filter_map(|label| label.split('=').next()).filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn every_metric_is_there_once_with_its_kind_and_its_labels() {
    let manager = Manager::start().await;
    register(&manager, &["payments"]).await;
    let session = connect(&manager, "one", &["payments"]);
    session.report(&key("default/payments"), report(1, 1));
    let text = manager.metrics.scrape(Format::OpenMetrics).await.unwrap();
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected: Vec<_> = ALL
        .iter()
        .map(|family| {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            format!("{} {kind}", family.name)
        })
        .collect();
    assert_eq!(kinds.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), expected.iter().cloned().collect());
    assert_eq!(kinds.len(), ALL.len(), "each once");
    assert!(text.ends_with("# EOF\n"));
    for sample in samples(&text).keys() {
        let name = sample.split('{').next().unwrap();
        let family = family_of(name).unwrap_or_else(|| panic!("{name} belongs to no metric"));
        let mut labels = labels_of(sample);
        labels.retain(|label| *label != "le");
        assert_eq!(labels, family.labels, "{sample}");
    }
}

/// The metric that a sample belongs to.
fn family_of(name: &str) -> Option<&'static Family> {
    ALL.iter().find(|family| match family.kind {
        Kind::Counter => name.strip_suffix("_total") == Some(family.name),
        Kind::Gauge => name == family.name,
        Kind::Histogram => {
            ["_sum", "_count", "_bucket"].iter().any(|suffix| name.strip_suffix(suffix) == Some(family.name))
        }
    })
}

#[tokio::test]
async fn what_instances_report_is_shown_as_it_was_reported() {
    let manager = Manager::start().await;
    register(&manager, &["payments"]).await;
    let session = connect(&manager, "one", &["payments"]);
    let open = Condition { breaker: Some(State::Open), health: Some(HealthStatus::CircuitOpen) };
    session.report(&key("default/payments"), report(3, 1));
    session.report(&key("default/payments"), Report { condition: open, ..report(0, 4) });
    let seen = scrape(&manager).await;
    let of = |name: &str, labels: &[&str]| sum(&seen, name, labels);
    assert_eq!(of("cofferdam_calls_total", &["outcome=\"ok\""]), 3.0);
    assert_eq!(of("cofferdam_calls_total", &["outcome=\"error\""]), 5.0);
    assert_eq!(of("cofferdam_calls_total", &[]), 8.0, "each call has one outcome");
    assert_eq!(of("cofferdam_rejections_total", &["reason=\"open\""]), 4.0);
    assert_eq!(of("cofferdam_breaker_open", &["service=\"payments\""]), 1.0);
    for (state, value) in [("closed", 0.0), ("half_open", 0.0), ("open", 1.0)] {
        let label = format!("state=\"{state}\"");
        assert_eq!(of("cofferdam_breaker_state", &[&label]), value, "{state}");
        assert_eq!(of("cofferdam_breaker_instances", &[&label]), value, "{state}");
    }
    assert_eq!(of("cofferdam_health_status", &["status=\"circuit_open\""]), 1.0);
    assert_eq!(of("cofferdam_health_status", &[]), 1.0, "one of them");
    assert_eq!(of("cofferdam_call_duration_seconds_count", &[]), 8.0);
    let buckets = "cofferdam_call_duration_seconds_bucket";
    let under = |bound: &str| of(buckets, &[&format!("le=\"{bound}\"")]);
    assert_eq!((under("0.002097152"), under("0.004194304"), under("+Inf")), (0.0, 8.0, 8.0));
    let mean = of("cofferdam_call_duration_seconds_sum", &[]) / 8.0;
    assert!((0.0028..0.0032).contains(&mean), "{mean}");
    assert_eq!(of("cofferdam_policy_instances", &["state=\"pending\""]), 1.0);
    assert_eq!(of("cofferdam_instances", &["state=\"connected\""]), 1.0);
    assert_eq!(of("cofferdam_isolation_level", &["level=\"basic\""]), 1.0);
    drop(session);
    let seen = scrape(&manager).await;
    assert_eq!(sum(&seen, "cofferdam_calls_total", &[]), 8.0, "what is counted stays");
    assert_eq!(sum(&seen, "cofferdam_breaker_open", &[]), 0.0, "what is a state goes");
    assert_eq!(sum(&seen, "cofferdam_policy_instances", &["state=\"silent\""]), 1.0);
}

#[tokio::test]
async fn reading_changes_nothing() {
    let manager = Manager::start().await;
    register(&manager, &["payments"]).await;
    connect(&manager, "one", &["payments"]).report(&key("default/payments"), report(3, 1));
    let first = scrape(&manager).await;
    assert_eq!(scrape(&manager).await, first);
    assert_eq!(scrape(&manager).await, first);
}

#[tokio::test]
async fn what_is_beyond_the_bound_is_added_up_and_not_lost() {
    let manager = Manager::start().await;
    let names = ["a", "b", "c", "d", "e"];
    register(&manager, &names).await;
    let session = connect(&manager, "one", &names);
    for (index, name) in names.iter().enumerate() {
        session.report(&key(&format!("default/{name}")), report(10 + index as u64, 1));
    }
    let whole = scrape(&manager).await;
    for max_services in [0, 2, 4, 5, 6] {
        let bounded = manager.metrics.with(MetricsOptions { max_services });
        let text = bounded.scrape(Format::OpenMetrics).await.unwrap();
        let seen = samples(&text);
        let services: BTreeSet<_> =
            seen.keys().filter_map(|sample| sample.split("service=\"").nth(1)?.split('"').next()).collect();
        assert_eq!(services.len(), names.len().min(max_services + 1), "{max_services}: {services:?}");
        assert_eq!(services.contains("(other)"), max_services < names.len());
        assert_eq!(sum(&seen, "cofferdam_services_summed", &[]), names.len().saturating_sub(max_services) as f64);
        // A revision is a number of one service; all others add up.
        for family in ALL.iter().filter(|family| !family.labels.is_empty() && !family.name.ends_with("_revision")) {
            let suffix = match family.kind {
                Kind::Counter => "_total",
                Kind::Gauge => "",
                Kind::Histogram => "_count",
            };
            let name = format!("{}{suffix}", family.name);
            if family.name.ends_with("lag_seconds") {
                continue;
            }
            assert_eq!(sum(&seen, &name, &[]), sum(&whole, &name, &[]), "{name} with {max_services}");
        }
    }
}

#[tokio::test]
async fn calls_to_names_that_nobody_registered_are_counted_in_one_row() {
    let manager = Manager::start().await;
    let session = connect(&manager, "one", &["paymens", "odrers"]);
    for name in ["paymens", "odrers"] {
        session.report(&key(&format!("default/{name}")), Report { is_registered: false, ..report(2, 0) });
    }
    let seen = scrape(&manager).await;
    assert_eq!(sum(&seen, "cofferdam_calls_total", &["service=\"(unregistered)\""]), 4.0);
    assert_eq!(sum(&seen, "cofferdam_services_unregistered", &[]), 2.0);
    assert_eq!(sum(&seen, "cofferdam_breaker_state", &[]), 0.0, "there is no policy whose breaker it could be");
}

#[test]
fn a_label_cannot_break_out_of_its_quotes() {
    #[derive(Debug)]
    struct Hostile;
    impl Collector for Hostile {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let labels = [("service", "a\"} 1\nb\\")];
            Page::new(encoder).family(&catalogue::RETRIES, |samples| samples.count(&labels, 7))
        }
    }
    let mut exposition = Exposition::default();
    exposition.register_collector(Box::new(Hostile));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &exposition).unwrap();
    let written = "cofferdam_retries_total{service=\"a\\\"} 1\\nb\\\\\"} 7\n";
    assert!(text.contains(written), "{text}");
    assert!(classic::from_open_metrics(&text).contains(written));
}
