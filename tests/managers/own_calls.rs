//! What breakers do for the calls that a manager makes itself, seen at another manager by everything that shows breakers.

use super::Etcd;
use cofferdam_proto::v1::{BreakerState, BreakerStats, IsolationLevel, IsolationPolicy, MethodOverride, RetryPolicy};
use cofferdam_proto::v1::{RegisterServiceRequest, ServiceStats};
use cofferdam_tests::wire::{breaker, registration_at};
use cofferdam_tests::{Behaviour, Curl, Manager, Said, Upstream, command, eventually, run};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Code;

/// Longer than any test: what is open stays open.
const HOUR: Duration = Duration::from_secs(3600);

const GLOB: &str = "shop.v1.Payments/Quote*";

/// Runs `cofferdam` at a manager, without the settings of whoever runs the tests.
fn ask(manager: &Manager, arguments: &[&str]) -> Said {
    let home = TempDir::new().unwrap();
    run(command(arguments).env("XDG_CONFIG_HOME", home.path()).env("COFFERDAM_SERVER", manager.url()))
}

/// The service's own breaker, and that of the methods.
fn states(stats: &ServiceStats) -> Vec<BreakerState> {
    stats.own_breaker.iter().chain(&stats.breakers).map(BreakerStats::state).collect()
}

/// The methods' breaker was shown as closed, and the service's own as open, by everything but the word for the whole
/// service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_of_methods_that_a_managers_own_calls_opened_is_shown_as_theirs_whichever_manager_is_asked() {
    let etcd = Etcd::start(1).await;
    let upstream = Upstream::start(Behaviour::fail(Code::Unavailable)).await;
    let managers = [Manager::on(&etcd).await, Manager::on(&etcd).await];
    let quotes = MethodOverride { glob: GLOB.to_owned(), policy: Some(breaker(2, HOUR)), ..MethodOverride::default() };
    let retry = Some(RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() });
    let policy = IsolationPolicy { retry, method_overrides: vec![quotes], ..breaker(9, HOUR) };
    let request = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    let client = managers[0].client();
    client.register(RegisterServiceRequest { policy: Some(policy), ..request }).await.unwrap();
    for reason in ["UPSTREAM", "UPSTREAM", "CIRCUIT_OPEN"] {
        let refusal = client.execute("payments", "shop.v1.Payments/QuoteCart", "").await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{refusal:?}");
    }
    // The others go on.
    let refusal = client.execute("payments", "shop.v1.Payments/List", "").await.unwrap_err();
    assert_eq!(refusal.reason, "UPSTREAM", "{refusal:?}");

    for manager in &managers {
        eventually("the statistics to show the breaker of the methods as open, and no other", async || {
            let seen = manager.client().stats().await.map_err(|refusal| format!("{refusal:?}"))?;
            let seen = seen.services.first().map(states).unwrap_or_default();
            if seen == [BreakerState::Closed, BreakerState::Open] { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        let info = manager.client().info("payments").await.unwrap();
        assert_eq!(states(&info.stats.unwrap()), [BreakerState::Closed, BreakerState::Open]);
        assert_eq!(info.service.unwrap().breaker_state(), BreakerState::Open, "the least good of them");

        let said = Curl::at(manager.url()).ask(&[], "/api/payments/health").json();
        assert_eq!(said["circuitBreaker"]["state"], "CLOSED", "{said}");
        assert_eq!(said["circuitBreakers"][GLOB]["state"], "OPEN", "{said}");
        assert_eq!(said["status"], "degraded", "{said}");
        let said = Curl::at(manager.url()).ask(&[], "/api/health").json();
        assert_eq!(said["services"]["payments"]["state"], "OPEN", "the least good of them: {said}");

        let monitor = ask(manager, &["monitor"]);
        assert_eq!(monitor.code, Some(4), "{monitor:?}");
        let state = |name: &str| {
            let mut rows = monitor.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.find(|row| row.first() == Some(&name)).map(|row| row[1].to_owned())
        };
        assert_eq!(state("payments").as_deref(), Some("CLOSED"), "{monitor:?}");
        assert_eq!(state(&format!("payments/{GLOB}")).as_deref(), Some("OPEN"), "{monitor:?}");
        assert!(monitor.err.contains("1 breaker is not closed"), "{monitor:?}");

        let described = ask(manager, &["describe", "service", "payments"]).out;
        let own =
            described.lines().find(|line| line.starts_with("breaker ")).map(|line| line["breaker".len()..].trim());
        assert_eq!(own, Some("closed"), "{described}");
        let methods = format!("methods {GLOB}: open at 0, half-open at 0, open for calls that a manager makes");
        assert!(described.contains(&methods), "{described}");
    }
}
