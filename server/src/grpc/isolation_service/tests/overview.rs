//! GetIsolationStats: what can be asked, page by page, and of one service.

use std::collections::BTreeSet;

use cofferdam_core::{adaptive_limit::Load, breaker::State, stats::CounterSnapshot};
use cofferdam_proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    activity::Activity,
    instances::{Condition, Report, Session},
    testing::{Manager, key, registration},
};

async fn manager(services: &[&str]) -> Manager {
    let manager = Manager::start().await;
    for name in services {
        manager.registry.register(registration(name)).await.unwrap();
    }
    manager
}

fn connect(manager: &Manager, id: &str, service: &str) -> Session {
    let service = key(service);
    let session = manager.instances.connect(id, "checkout", service.namespace.clone()).unwrap();
    session.follow([(&service, true)]).unwrap();
    session
}

fn report(calls: u64, breaker: State) -> Report {
    let counters = CounterSnapshot { calls, served_live: calls, attempts: calls, ..CounterSnapshot::default() };
    Report {
        activity: Activity { counters, ..Activity::default() },
        condition: Condition { breaker: Some(breaker), health: None },
        adaptive_limit: Some(Load { limit: 5, in_flight: 1 }),
        is_registered: true,
        ..Report::default()
    }
}

async fn ask(manager: &Manager, request: v1::GetIsolationStatsRequest) -> v1::GetIsolationStatsResponse {
    manager.client().await.get_isolation_stats(request).await.unwrap().into_inner()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn services_come_in_pages_and_sums_with_the_first_over_all() {
    let names = ["a", "b", "c", "d", "e"];
    let manager = manager(&names).await;
    for (name, calls) in names.iter().zip(1..) {
        connect(&manager, name, &format!("default/{name}"))
            .report(&key(&format!("default/{name}")), report(calls, State::Closed));
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    // To sum up ten thousand services for each of their pages took longer than the pages.
    for (expected, sum) in [(2, Some(15)), (2, None), (1, None)] {
        let request = v1::GetIsolationStatsRequest {
            include_services: true,
            page_size: 2,
            page_token,
            ..v1::GetIsolationStatsRequest::default()
        };
        let page = ask(&manager, request).await;
        assert_eq!(page.services.len(), expected);
        assert_eq!(page.stats.map(|stats| stats.counters.unwrap().calls), sum);
        assert_eq!(page.totals.get("total_services"), sum.map(|_| &5));
        seen.extend(page.services.into_iter().map(|stats| (stats.service, stats.counters.unwrap().calls)));
        page_token = page.next_page_token;
    }
    assert_eq!(page_token, "");
    assert_eq!(seen, names.into_iter().map(str::to_owned).zip(1..).collect::<Vec<_>>());
    let sums = ask(&manager, v1::GetIsolationStatsRequest::default()).await;
    assert!(sums.services.is_empty() && sums.next_page_token.is_empty());
}

#[tokio::test]
async fn pages_of_one_namespace_neither_skip_nor_repeat_while_services_come_and_go() {
    let manager = manager(&[]).await;
    let register = async |namespace: &str, name: &str| {
        let mut request = registration(name);
        request.service.as_mut().unwrap().namespace = namespace.to_owned();
        manager.registry.register(request).await.unwrap();
    };
    let page = async |page_token: String| {
        let request = v1::GetIsolationStatsRequest {
            namespace: "m".to_owned(),
            include_services: true,
            page_size: 2,
            page_token,
            ..v1::GetIsolationStatsRequest::default()
        };
        let page = ask(&manager, request).await;
        let names = page.services.into_iter().map(|stats| format!("{}/{}", stats.namespace, stats.service));
        (names.collect::<Vec<_>>(), page.next_page_token)
    };
    for (namespace, name) in [("a", "z"), ("m", "b"), ("m", "d"), ("m", "f"), ("m", "h"), ("z", "a")] {
        register(namespace, name).await;
    }
    let (first, token) = page(String::new()).await;
    assert_eq!(first, ["m/b", "m/d"]);
    // One comes before what was listed, one after; the last one listed goes.
    register("m", "a").await;
    register("m", "e").await;
    let (namespace, service) = ("m".to_owned(), "d".to_owned());
    let gone = v1::UnregisterServiceRequest { namespace, service, ..v1::UnregisterServiceRequest::default() };
    manager.registry.unregister(gone).await.unwrap();
    let (second, token) = page(token).await;
    assert_eq!(second, ["m/e", "m/f"]);
    assert_eq!(page(token).await, (vec!["m/h".to_owned()], String::new()));
}

#[tokio::test]
async fn one_service_shows_its_instances_its_history_and_what_is_open() {
    let manager = manager(&["payments", "orders"]).await;
    let payments = key("default/payments");
    let sessions: Vec<_> = ["c", "a", "b"].map(|id| connect(&manager, id, "default/payments")).into();
    let other = connect(&manager, "other", "default/orders");
    sessions[0].report(&payments, report(2, State::Open));
    sessions[1].report(&payments, report(3, State::Closed));
    other.report(&key("default/orders"), report(100, State::Open));
    let request = v1::GetIsolationStatsRequest {
        service: "payments".to_owned(),
        window: seconds(60),
        include_instances: true,
        include_history: true,
        page_size: 2,
        ..v1::GetIsolationStatsRequest::default()
    };
    let answer = ask(&manager, request.clone()).await;
    let stats = answer.stats.as_ref().unwrap();
    assert_eq!((stats.total_services, stats.instances, stats.open_services), (1, 3, 1));
    assert_eq!(stats.counters.unwrap().calls, 5);
    let [service] = &answer.services[..] else { panic!("{:?}", answer.services) };
    assert_eq!((service.open_instances, &service.open_instance_ids[..]), (1, &["c".to_owned()][..]));
    let calls = service.calls.as_ref().unwrap();
    assert_eq!((calls.counters.unwrap().calls, calls.served.unwrap().live_bp), (5, 10_000));
    assert!(calls.calls_per_second > 0.0);
    let rows = |answer: &v1::GetIsolationStatsResponse| {
        let row = |row: &v1::InstanceStats| {
            let calls = row.calls.as_ref().map(|calls| calls.counters.unwrap().calls);
            (row.instance_id.clone(), calls, row.breaker_state())
        };
        answer.instances.iter().map(row).collect::<Vec<_>>()
    };
    let (open, closed, unknown) = (v1::BreakerState::Open, v1::BreakerState::Closed, v1::BreakerState::Unspecified);
    assert_eq!(rows(&answer), [("a".into(), Some(3), closed), ("b".into(), None, unknown)]);
    assert_eq!(answer.next_page_token, "b");
    let rest = ask(&manager, v1::GetIsolationStatsRequest { page_token: "b".to_owned(), ..request }).await;
    assert_eq!((rows(&rest), rest.next_page_token.as_str()), (vec![("c".into(), Some(2), open)], ""));
    // They may have been reported in two slots.
    let points: u64 = answer.history.iter().map(|point| point.calls.as_ref().unwrap().counters.unwrap().calls).sum();
    assert_eq!(points, 5);
    assert_eq!(answer.history[0].begin_time.as_ref().unwrap().seconds, 1_700_000_000, "the clock of this test stands");
}

/// What a reader computes from two answers must be what happened in between: no read may reset or move anything.
#[tokio::test]
async fn two_reads_say_the_same() {
    let manager = manager(&["payments"]).await;
    let payments = key("default/payments");
    connect(&manager, "one", "default/payments").report(&payments, report(7, State::Open));
    let request = v1::GetIsolationStatsRequest {
        service: "payments".to_owned(),
        window: seconds(3600),
        include_instances: true,
        include_history: true,
        ..v1::GetIsolationStatsRequest::default()
    };
    // What goes by the time between the two.
    let timeless = |mut answer: v1::GetIsolationStatsResponse| {
        let figures = answer.stats.iter_mut().flat_map(|stats| &mut stats.calls);
        let figures = figures.chain(answer.services.iter_mut().flat_map(|service| &mut service.calls));
        let figures = figures.chain(answer.history.iter_mut().flat_map(|point| &mut point.calls));
        for calls in figures {
            (calls.period, calls.calls_per_second, calls.attempts_per_second) = (None, 0.0, 0.0);
        }
        answer
    };
    let first = timeless(ask(&manager, request.clone()).await);
    assert_eq!(first.services[0].calls.as_ref().unwrap().counters.unwrap().calls, 7);
    for _ in 0..3 {
        assert_eq!(timeless(ask(&manager, request.clone()).await), first);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_its_field() {
    let manager = manager(&["payments"]).await;
    let mut client = manager.client().await;
    let of = |change: &dyn Fn(&mut v1::GetIsolationStatsRequest)| {
        let mut request = v1::GetIsolationStatsRequest { include_services: true, ..Default::default() };
        change(&mut request);
        request
    };
    let nanos = Some(prost_types::Duration { seconds: 1, nanos: -1 });
    let refused = [
        (of(&|request| request.window = seconds(0)), "window"),
        (of(&|request| request.window = seconds(-1)), "window"),
        (of(&|request| request.window = seconds(86_401)), "window"),
        (of(&|request| request.window = nanos), "window"),
        (of(&|request| request.page_size = -1), "page_size"),
        (of(&|request| request.page_size = 1001), "page_size"),
        (of(&|request| request.page_token = "no such".to_owned()), "page_token"),
        (of(&|request| request.include_instances = true), "include_instances"),
        (of(&|request| request.include_history = true), "include_history"),
        (of(&|request| request.namespace = "No".to_owned()), "namespace"),
        (of(&|request| request.service = "No".to_owned()), "service"),
    ];
    for (request, field) in refused {
        let status = client.get_isolation_stats(request).await.unwrap_err();
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
        let fields: BTreeSet<_> = violations.into_iter().flatten().map(|violation| violation.field).collect();
        assert_eq!((status.code(), fields), (Code::InvalidArgument, [field.to_owned()].into()));
    }
    let unknown = of(&|request| request.service = "payment".to_owned());
    assert_eq!(client.get_isolation_stats(unknown).await.unwrap_err().code(), Code::NotFound);
    let longest = of(&|request| request.window = seconds(86_400));
    client.get_isolation_stats(longest).await.unwrap();
}
