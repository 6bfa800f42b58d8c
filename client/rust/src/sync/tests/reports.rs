use super::*;
use crate::classify::IntoVerdict;
use crate::runtime::{Tokio, clocks};
use cofferdam_core::adaptive_limit::Load;
use cofferdam_core::breaker::State;
use cofferdam_core::call::{self, Attempt, CallOptions, Context, Operation, Verdict};
use cofferdam_core::health::HealthStatus;
use cofferdam_core::isolation::{Part, RejectionReason};
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, BreakerPolicy, BulkheadPolicy, MethodOverride, PoolPolicy,
};
use cofferdam_core::stats::CounterSnapshot;

const SECOND: Duration = Duration::from_secs(1);

/// A call that ends as it is told to.
pub(in crate::sync) struct Ends(pub(in crate::sync) Result<(), ()>);

impl Operation for Ends {
    type Output = ();
    type Error = ();

    fn attempt(&mut self, _: Attempt) -> impl Future<Output = Result<(), ()>> + Send + use<> {
        std::future::ready(self.0)
    }

    fn classify(&self, result: Result<&(), &()>, _: Context<'_>) -> Verdict {
        if result.is_ok() { Outcome::Success.into_verdict() } else { Outcome::Failure.into_verdict() }
    }
}

pub(super) async fn calls(scene: &Scene, service: &str, count: usize, result: Result<(), ()>) {
    calls_of(scene, service, "", count, result).await;
}

async fn calls_of(scene: &Scene, service: &str, method: &str, count: usize, result: Result<(), ()>) {
    let service = scene.service(service);
    for _ in 0..count {
        let options = CallOptions { method, ..CallOptions::default() };
        let _ = call::execute(&service.isolation, &Tokio, &mut Ends(result), &options).await;
    }
}

fn add((counters, latencies): &mut (CounterSnapshot, CallLatencySnapshot), report: &Report) {
    for service in &report.services {
        counters.merge(&service.counters);
        latencies.merge(&service.latencies);
    }
}

#[tokio::test(start_paused = true)]
async fn reports_say_what_changed_and_nothing_else() {
    let mut scene = Scene::new(&["a", "b"]);
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    // The first shows where each service stands; the manager knows nothing yet.
    let report = stream.report().await;
    assert_eq!((report.sequence, report.services.len()), (1, 2));
    assert!(report.services.iter().all(|service| service.counters.is_zero()));

    let begin = Instant::now();
    calls(&scene, "b", 3, Ok(())).await;
    let report = stream.report().await;
    assert!(begin.elapsed() <= SECOND + SECOND / 500);
    let [service] = &report.services[..] else { panic!("{report:?}") };
    assert_eq!((&*service.service, service.counters.calls, service.health), ("b", 3, HealthStatus::Healthy));
    assert_eq!((report.sequence, report.interval.as_millis()), (2, 1000));

    // A minute without change is a minute without reports.
    for _ in 0..6 {
        tokio::time::sleep(10 * SECOND).await;
        stream.say(FromManager::Bookmark(None));
    }
    calls(&scene, "a", 1, Ok(())).await;
    let report = stream.report().await;
    assert_eq!((report.sequence, (60..=61).contains(&report.interval.as_secs())), (3, true));
}

#[tokio::test(start_paused = true)]
async fn a_breakers_way_is_reported_also_without_calls() {
    let mut scene = Scene::new(&["a"]);
    let breaker = BreakerPolicy {
        consecutive_failures: 3,
        failure_rate: 0.0,
        open_duration: 5 * SECOND,
        open_jitter_ratio: 0.0,
        ..BreakerPolicy::default()
    };
    let spec = PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() };
    scene.service("a").isolation.apply(Policy::new(spec).unwrap(), None, true, clocks());
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert_eq!(stream.report().await.services[0].breaker, Some(State::Closed));

    calls(&scene, "a", 3, Err(())).await;
    tokio::time::sleep(SECOND / 2).await;
    let report = stream.report().await;
    let service = &report.services[0];
    assert_eq!((service.breaker, service.health), (Some(State::Open), HealthStatus::CircuitOpen));
    let [(_, transition, age)] = service.transitions[..] else { panic!("{service:?}") };
    assert_eq!((transition.from, transition.to), (State::Closed, State::Open));
    assert!(age <= SECOND, "{age:?}");

    // Half-open by the clock alone: a state to report, no transition.
    let report = stream.report().await;
    let service = &report.services[0];
    assert_eq!((service.breaker, service.transitions.len()), (Some(State::HalfOpen), 0));
    assert!(service.counters.is_zero());
}

#[tokio::test(start_paused = true)]
async fn of_the_calls_that_are_turned_away_each_report_tells_the_last_ones() {
    let mut scene = Scene::new(&["a"]);
    scene.service("a").isolation.apply(Policy::new(parted()).unwrap(), Some(at(7, 12)), true, clocks());
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert_eq!(stream.report().await.services[0].rejections, []);
    let told = |report: &Report| {
        let rejections = report.services[0].rejections.iter();
        rejections.map(|(call, _)| call.method.to_string()).collect::<Vec<_>>()
    };
    calls_of(&scene, "a", "put", 3, Err(())).await;
    let report = stream.report().await;
    assert_eq!(told(&report), [""; 0], "the service failed, and nobody was turned away");

    calls_of(&scene, "a", "put", 1000, Ok(())).await;
    tokio::time::sleep(SECOND / 2).await;
    let report = stream.report().await;
    let [(call, age)] = &report.services[0].rejections[..] else { panic!("{report:?}") };
    assert_eq!((&*call.method, call.reason, call.revision), ("put", RejectionReason::CircuitOpen, Some(at(7, 12))));
    let receipt = call.breaker.as_ref().unwrap();
    assert_eq!((&receipt.part, receipt.state), (&Part::Service, State::Open));
    assert!(*age <= SECOND, "{age:?}");

    // Nothing is told twice, and a healthy breaker's calls are none.
    calls_of(&scene, "a", "listUsers", 3, Ok(())).await;
    assert_eq!(told(&stream.report().await), [""; 0]);
    calls_of(&scene, "a", "put", 1000, Ok(())).await;
    assert_eq!(told(&stream.report().await), ["put"]);

    // Methods without end: each second another one is looked at, and the last ones are kept while nobody listens.
    drop(stream);
    for number in 0..20 {
        calls_of(&scene, "a", &format!("m{number}"), 2, Ok(())).await;
        tokio::time::sleep(SECOND).await;
    }
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    // What the stream began with: how soon it was tried again is drawn at random.
    let first = told(&stream.report().await);
    assert!(!first.is_empty() && ["m0", "m1", "m2"].map(str::to_owned).starts_with(&first), "{first:?}");
    let methods = told(&stream.report().await);
    assert_eq!(methods, (12..20).map(|number| format!("m{number}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_adaptive_limit_is_reported_where_there_is_one() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert_eq!(stream.report().await.services[0].adaptive_limit, None);
    let kind = AdaptiveLimitKind::Gradient2;
    let adaptive_limit = AdaptiveLimitPolicy { kind, initial: 7, ..AdaptiveLimitPolicy::default() };
    let spec = PolicySpec { level: Level::Full, adaptive_limit, ..PolicySpec::default() };
    scene.service("a").isolation.apply(Policy::new(spec).unwrap(), None, true, clocks());
    assert_eq!(stream.report().await.services[0].adaptive_limit, Some(Load { limit: 7, in_flight: 0 }));
}

/// A pool and some methods with a breaker to themselves.
fn parted() -> PolicySpec {
    let breaker = BreakerPolicy { consecutive_failures: 3, failure_rate: 0.0, ..BreakerPolicy::default() };
    let pool = PoolPolicy {
        name: "readPool".to_owned(),
        isolate_breaker: true,
        method_globs: vec!["read*".to_owned()],
        ..PoolPolicy::default()
    };
    let listing =
        MethodOverride { glob: "list*".to_owned(), breaker: Some(breaker.clone()), ..MethodOverride::default() };
    PolicySpec {
        level: Level::Full,
        breaker,
        bulkhead: BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() },
        method_overrides: vec![listing],
        ..PolicySpec::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_breakers_of_parts_are_reported_apart() {
    let mut scene = Scene::new(&["a"]);
    scene.service("a").isolation.apply(Policy::new(parted()).unwrap(), None, true, clocks());
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert_eq!(stream.report().await.services[0].parts, []);

    for method in ["readUser", "listUsers"] {
        calls_of(&scene, "a", method, 3, Err(())).await;
    }
    tokio::time::sleep(SECOND / 2).await;
    let report = stream.report().await;
    let service = &report.services[0];
    assert_eq!((service.breaker, service.health), (Some(State::Open), HealthStatus::Degraded));
    let parts = [Part::Pool("readPool".into()), Part::Methods("list*".into())];
    assert_eq!(service.parts, parts.clone().map(|part| (part, State::Open)));
    let opened: Vec<&Part> = service.transitions.iter().map(|(part, ..)| part).collect();
    assert_eq!(opened, parts.iter().collect::<Vec<_>>());

    // Nobody could say whether the service's own was open as well: the least good one was no worse than before.
    calls_of(&scene, "a", "pay", 3, Err(())).await;
    tokio::time::sleep(SECOND / 2).await;
    let report = stream.report().await;
    let all = [Part::Service, parts[0].clone(), parts[1].clone()];
    assert_eq!(report.services[0].parts, all.map(|part| (part, State::Open)));
}

#[tokio::test(start_paused = true)]
async fn methods_with_an_override_are_reported_apart() {
    let mut scene = Scene::new(&["a"]);
    scene.service("a").isolation.apply(Policy::new(parted()).unwrap(), None, true, clocks());
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert_eq!(stream.report().await.services[0].methods, []);
    let told = |report: &Report| {
        let methods = report.services[0].methods.iter();
        let methods = methods.map(|(glob, counters, _)| (glob.to_string(), counters.calls)).collect::<Vec<_>>();
        (report.services[0].counters.calls, methods)
    };
    calls_of(&scene, "a", "listUsers", 2, Ok(())).await;
    calls_of(&scene, "a", "put", 3, Ok(())).await;
    assert_eq!(told(&stream.report().await), (5, vec![("list*".to_owned(), 2)]));
    calls_of(&scene, "a", "listUsers", 1, Ok(())).await;
    assert_eq!(told(&stream.report().await), (1, vec![("list*".to_owned(), 1)]));
    calls_of(&scene, "a", "put", 1, Ok(())).await;
    assert_eq!(told(&stream.report().await), (1, vec![]));
    // Gone and back between two reports: it begins anew, and nothing is told twice.
    scene.service("a").isolation.apply(Policy::default(), None, true, clocks());
    scene.service("a").isolation.apply(Policy::default(), None, true, clocks());
    scene.service("a").isolation.apply(Policy::new(parted()).unwrap(), None, true, clocks());
    calls_of(&scene, "a", "listUsers", 2, Ok(())).await;
    assert_eq!(told(&stream.report().await), (2, vec![("list*".to_owned(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn reports_add_up_over_cut_streams() {
    let mut scene = Scene::new(&["a", "b"]);
    let mut sums = (CounterSnapshot::default(), CallLatencySnapshot::default());
    let mut made = 0;
    // A policy that goes by latency times every call.
    let breaker = BreakerPolicy { slow_call_duration: SECOND, ..BreakerPolicy::default() };
    let spec = PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() };
    for service in ["a", "b"] {
        scene.service(service).isolation.apply(Policy::new(spec.clone()).unwrap(), None, true, clocks());
    }
    for round in 0..30 {
        let (mut stream, _) = scene.accept().await;
        stream.say(FromManager::Complete(None));
        for _ in 0..round % 4 {
            calls(&scene, if round % 2 == 0 { "a" } else { "b" }, 5, Ok(())).await;
            made += 5;
            add(&mut sums, &stream.report().await);
        }
        // What these calls leave is queued, at most: nothing more of this stream is taken.
        calls(&scene, "a", 3, Ok(())).await;
        made += 3;
        tokio::time::sleep(3 * SECOND).await;
    }
    assert!(sums.0.calls < made, "nothing was left untold");
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    while sums.0.calls < made {
        add(&mut sums, &stream.report().await);
    }
    scene.stop.cancel();
    while let Some(message) = stream.from_instance.next().await {
        if let ToManager::Report(report) = message {
            add(&mut sums, &report);
        }
    }
    let (counters, latencies) = sums;
    assert_eq!((counters.calls, counters.served_live, counters.attempts), (made, made, made));
    assert_eq!((latencies.calls.count(), latencies.attempts.count()), (made, made));
}

#[tokio::test(start_paused = true)]
async fn the_last_report_is_sent_before_the_end() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    stream.report().await;
    stream.update("a", at(1, 1), Ok(policy(Level::Full)));
    calls(&scene, "a", 3, Ok(())).await;
    scene.event().await;
    let begin = Instant::now();
    scene.stop.cancel();
    assert_eq!(stream.next().await, ToManager::Applied(applied("a", at(1, 1), &policy(Level::Full))));
    assert_eq!(stream.report().await.services[0].counters.calls, 3);
    assert!(stream.from_instance.next().await.is_none());
    drop(stream);
    scene.task.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO, "a stream that the manager ends needs no waiting");
}

/// What happened until the manager asked to come again, and what happens until the next stream, is reported once.
#[tokio::test(start_paused = true)]
async fn reports_are_not_lost_where_a_manager_asks_to_come_again() {
    let mut scene = Scene::new(&["a"]);
    let mut reported = (CounterSnapshot::default(), CallLatencySnapshot::default());
    for _ in 0..10 {
        let (mut stream, _) = scene.accept().await;
        stream.say(FromManager::Complete(None));
        calls(&scene, "a", 1, Ok(())).await;
        stream.say(FromManager::Reconnect { within: SECOND });
        while let Some(message) = stream.from_instance.next().await {
            if let ToManager::Report(report) = message {
                add(&mut reported, &report);
            }
        }
        calls(&scene, "a", 1, Ok(())).await;
    }
    let (mut stream, _) = scene.accept().await;
    while reported.0.calls < 20 {
        add(&mut reported, &stream.report().await);
    }
    assert_eq!(reported.0.calls, 20);
}
