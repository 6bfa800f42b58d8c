//! What Prometheus makes of managers: the real one, and promtool.

use cofferdam::{BreakerState, Cofferdam, Service};
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest};
use cofferdam_tests::wire::{fallback, registration, static_json};
use cofferdam_tests::{Curl, Etcd, Manager, Prometheus, eventually, promtool, wire, workspace_root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

async fn register(manager: &Manager, name: &str, policy: IsolationPolicy) {
    let request = registration(name, IsolationLevel::Enhanced);
    manager.client().register(RegisterServiceRequest { policy: Some(policy), ..request }).await.unwrap();
    manager.client().update_fallback(name, fallback([static_json("{}")])).await.unwrap();
}

/// An instance that has a service's newest policy in force.
async fn instance(manager: &Manager, id: &str, name: &str) -> (Cofferdam, Service) {
    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).instance_id(id).start();
    let service = cofferdam.service(name);
    let newest = manager.client().revision(name).await.unwrap();
    eventually("the policy", async || match service.revision() {
        Some(seen) if (seen.epoch, seen.revision) == (newest.epoch, newest.revision) => Ok(()),
        seen => Err(seen),
    })
    .await;
    (cofferdam, service)
}

async fn call(service: &Service, is_good: bool) {
    let attempt = move || async move {
        // Only what was waited for is timed.
        tokio::task::yield_now().await;
        if is_good { Ok(json!({})) } else { Err(io::Error::other("down")) }
    };
    service.execute("Charge", attempt).codec(cofferdam::Json).await.unwrap();
}

/// The sum of all samples of a metric that have these labels, over managers.
fn sum(managers: &[&Manager], name: &str, labels: &[&str]) -> f64 {
    let scrapes = managers.iter().map(|manager| Curl::at(manager.url()).ask(&[], "/metrics").body);
    let of = |text: &str| -> f64 {
        let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let samples = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    scrapes.map(|text| of(&text)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_complain_about() {
    let manager = Manager::embedded().await;
    register(&manager, "payments", wire::breaker(3, Duration::from_secs(60))).await;
    let (_cofferdam, service) = instance(&manager, "checkout-1", "payments").await;
    for is_good in [true, true, false, false, false, true] {
        call(&service, is_good).await;
    }
    eventually("the calls to be counted", async || {
        let calls = sum(&[&manager], "cofferdam_calls_total", &["service=\"payments\""]);
        if calls == 6.0 { Ok(()) } else { Err(calls) }
    })
    .await;
    let curl = Curl::at(manager.url());
    let classic = curl.ask(&[], "/metrics");
    assert_eq!((classic.status, classic.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let checked = promtool(&["check", "metrics"], &classic.body);
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    let open = curl.ask(&["-H", OPENMETRICS], "/metrics");
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("# EOF\n"));
    assert_eq!(curl.ask(&["-H", "Host: evil.example"], "/metrics").status, 403);
    assert_eq!(curl.ask(&[], "/metrics?name=x").status, 400);
}

/// Each instance counts at one manager, however often it goes from one to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_over_managers_is_the_fleet() {
    let etcd = Etcd::start(1).await;
    let (one, two) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    register(&one, "payments", wire::breaker(100, Duration::from_secs(60))).await;
    let managers = [&one, &two];
    let expect = async |calls: f64, at: [f64; 2]| {
        eventually("the sums", async || {
            let seen = (
                sum(&managers, "cofferdam_calls_total", &["service=\"payments\""]),
                managers.map(|manager| sum(&[manager], "cofferdam_policy_instances", &["state=\"applied\""])),
                sum(&managers, "cofferdam_policy_instances", &[]),
                sum(&managers, "cofferdam_instances", &[]),
            );
            if seen == (calls, at, at.iter().sum(), at.iter().sum()) { Ok(()) } else { Err(seen) }
        })
        .await;
    };
    let (first, service) = instance(&one, "checkout-1", "payments").await;
    let (_second, other) = instance(&two, "checkout-2", "payments").await;
    for service in [&service, &service, &other] {
        call(service, true).await;
    }
    expect(3.0, [1.0, 1.0]).await;
    drop(service);
    // Without a goodbye: it is expected back, and comes to the other manager.
    drop(first);
    let (moved, service) = instance(&two, "checkout-1", "payments").await;
    call(&service, true).await;
    expect(4.0, [0.0, 2.0]).await;
    moved.shutdown().await;
    expect(4.0, [0.0, 1.0]).await;
    for manager in managers {
        assert_eq!(sum(&[manager], "cofferdam_services", &[]), 1.0, "what is in the store is the same at each");
        assert_eq!(sum(&[manager], "cofferdam_managers", &["state=\"present\""]), 1.0);
    }
}

fn file(path: &str) -> String {
    let path = workspace_root().join("docs/observability").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn alerts() -> Value {
    serde_saphyr::from_str(&file("alerts.yaml")).unwrap()
}

/// Every rule of the alerts, by name, with what it asks before it compares.
fn questions_of_alerts() -> Vec<(String, String)> {
    let alerts = alerts();
    let rules = alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let question = |rule: &Value| {
        let expression = rule["expr"].as_str().unwrap().trim();
        let compared = expression.rsplit_once(" > ");
        // Of absent() nothing can be left out: it finds something where there is nothing.
        let question = compared.map_or_else(|| expression.trim_start_matches("absent"), |(question, _)| question);
        (rule["alert"].as_str().unwrap().to_owned(), question.to_owned())
    };
    rules.map(question).collect()
}

/// Every query of every panel, by dashboard and panel, with what Grafana fills in.
fn questions_of_dashboards() -> Vec<(String, String)> {
    let mut questions = Vec::new();
    for name in ["fleet", "service", "control-plane"] {
        let board: Value = serde_json::from_str(&file(&format!("grafana/{name}.json"))).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                let query = [("$namespace", ".*"), ("$service", "payments"), ("$__rate_interval", "1m")]
                    .iter()
                    .fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value));
                assert!(!query.contains('$'), "{query}");
                questions.push((format!("{name}, {}", panel["title"]), query));
            }
        }
        let lists = [&board["templating"]["list"], &board["annotations"]["list"]];
        assert!(lists.iter().all(|list| list.is_array()));
    }
    questions
}

/// Names of metrics in a query.
fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("cofferdam_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn the_rules_pass_their_unit_tests() {
    for arguments in
        [["check", "rules", "docs/observability/alerts.yaml"], ["test", "rules", "docs/observability/alerts_test.yaml"]]
    {
        let checked = promtool(&arguments, "");
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(checked.status.success() && said.contains("SUCCESS"), "{said}");
    }
    let tests = file("alerts_test.yaml");
    let runbooks = file("runbooks.md");
    for (alert, _) in questions_of_alerts() {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is tested");
        // One that only differs in how long it has lasted shares its runbook.
        let topic = alert.trim_end_matches("Long");
        assert!(
            runbooks.contains(&format!("\n## {topic}\n")) || runbooks.contains(&format!("\n## {alert}\n")),
            "{alert}"
        );
    }
}

/// A service fails until its breaker opens, and works again: a real Prometheus fires the alert, and then finds something
/// for every query of every rule and every panel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_d13_a_real_prometheus_fires_the_alert_and_answers_every_query() {
    let etcd = Etcd::start(1).await;
    let managers = [Manager::on(&etcd).await, Manager::on(&etcd).await];
    register(&managers[0], "payments", wire::breaker(3, Duration::from_millis(500))).await;
    // What a rule waits for before it fires is left out: its unit tests have that.
    let rules = file("alerts.yaml");
    let rules: Vec<_> = rules.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
    let targets = managers.each_ref().map(Manager::address);
    let prometheus = Prometheus::start(&targets, &rules.join("\n")).await;
    let (_cofferdam, service) = instance(&managers[0], "checkout-1", "payments").await;
    eventually("the alert", async || {
        call(&service, false).await;
        let firing = prometheus.firing();
        if firing.iter().any(|alert| alert == "CofferdamBreakerOpen") { Ok(()) } else { Err(firing) }
    })
    .await;
    eventually("the breaker to close", async || {
        call(&service, true).await;
        match service.breaker_state() {
            Some(BreakerState::Closed) => Ok(()),
            state => Err(state),
        }
    })
    .await;
    assert_eq!(managers[0].client().revision("nobody").await.unwrap_err().code, tonic::Code::NotFound);
    eventually("the recovery to be told", async || {
        let seen = sum(&[&managers[0]], "cofferdam_breaker_recovery_seconds_count", &[]);
        if seen > 0.0 { Ok(()) } else { Err(seen) }
    })
    .await;
    let mut questions = questions_of_dashboards();
    questions.extend(questions_of_alerts());
    assert!(questions.len() > 80, "all of them are read: {}", questions.len());
    let known = Curl::at(managers[0].url()).ask(&[], "/metrics").body;
    let known: BTreeSet<_> = known.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for (place, query) in questions {
        for name in names(&query) {
            assert!(known.contains(name.as_str()), "{place}: there is no {name}: {query}");
        }
        eventually(&format!("series for {place}: {query}"), async || {
            call(&service, true).await;
            match prometheus.query(&query) {
                Ok(series) if !series.is_empty() => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
    eventually("the alert to end", async || {
        let firing = prometheus.firing();
        if firing.iter().any(|alert| alert == "CofferdamBreakerOpen") { Err(firing) } else { Ok(()) }
    })
    .await;
}
