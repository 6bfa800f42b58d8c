use super::*;
use crate::events::Hub;
use crate::registry::Registry;
use crate::runtime::{Tokio, clocks};
use crate::sync::tests::reports::Ends;
use cofferdam_core::call::{self, CallOptions};
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::level::Level;
use cofferdam_core::policy::{BreakerPolicy, Policy, PolicySpec};
use futures_util::FutureExt;
use std::time::Duration;

fn services(count: usize) -> Vec<Arc<ServiceState>> {
    let registry = Registry::new(Policy::default(), Hub::new());
    (0..count).map(|number| registry.service(&format!("s{number}"))).collect()
}

fn names(report: &Report) -> Vec<String> {
    report.services.iter().map(|service| service.service.to_string()).collect()
}

const NOW: Timestamp = Timestamp::from_millis(5000);

#[test]
fn what_was_not_taken_is_said_again() {
    let services = services(1);
    let mut reporter = Reporter::new(Timestamp::from_millis(1000));
    let (lost, _) = reporter.compose(&services, NOW, 1).unwrap();
    let later = NOW.saturating_add(Duration::from_secs(1));
    let (report, pending) = reporter.compose(&services, later, 1).unwrap();
    assert_eq!((lost.interval.as_secs(), report.interval.as_secs()), (4, 5));
    assert_eq!(lost.services, report.services);
    reporter.commit(pending);
    assert!(reporter.compose(&services, later, 2).is_none());
}

#[test]
fn a_new_stream_is_shown_every_state_again() {
    let services = services(2);
    let mut reporter = Reporter::new(NOW);
    let (_, pending) = reporter.compose(&services, NOW, 1).unwrap();
    reporter.commit(pending);
    assert!(reporter.compose(&services, NOW, 2).is_none());
    reporter.begin_stream();
    let (report, _) = reporter.compose(&services, NOW, 1).unwrap();
    assert_eq!(names(&report), ["s0", "s1"]);
    assert!(report.services.iter().all(|service| service.counters.is_zero()));
}

#[test]
fn many_services_take_turns() {
    let services = services(MAX_SERVICES + 10);
    let mut reporter = Reporter::new(NOW);
    let (first, pending) = reporter.compose(&services, NOW, 1).unwrap();
    reporter.commit(pending);
    let (second, pending) = reporter.compose(&services, NOW, 2).unwrap();
    reporter.commit(pending);
    assert_eq!((first.services.len(), second.services.len()), (MAX_SERVICES, 10));
    assert_eq!(names(&second)[0], format!("s{MAX_SERVICES}"));
    assert!(reporter.compose(&services, NOW, 3).is_none());
}

#[test]
fn many_buckets_take_turns_too() {
    let services = services(5);
    let policy = PolicySpec {
        level: Level::Enhanced,
        breaker: BreakerPolicy { slow_call_duration: Duration::from_secs(1), ..BreakerPolicy::default() },
        ..PolicySpec::default()
    };
    for service in &services {
        // A policy that goes by latency times every call.
        service.isolation.apply(Policy::new(policy.clone()).unwrap(), None, true, clocks());
        let call = call::execute(&service.isolation, &Tokio, &mut Ends(Ok(())), &CallOptions::default()).now_or_never();
        assert!(call.unwrap().is_ok());
    }
    // Each has a bucket of calls and one of attempts.
    let mut reporter = Reporter { max_buckets: 4, ..Reporter::new(NOW) };
    let mut sums = CallLatencySnapshot::default();
    for (sequence, expected) in [(1, 2), (2, 2), (3, 1)] {
        let (report, pending) = reporter.compose(&services, NOW, sequence).unwrap();
        assert_eq!(report.services.len(), expected);
        report.services.iter().for_each(|service| sums.merge(&service.latencies));
        reporter.commit(pending);
    }
    assert!(reporter.compose(&services, NOW, 4).is_none());
    assert_eq!((sums.calls.count(), sums.attempts.count()), (5, 5));
}

#[test]
fn no_services_are_no_report() {
    assert!(Reporter::new(NOW).compose(&[], NOW, 1).is_none());
}
