use super::*;
use crate::{
    events::{EventsOptions, News},
    testing::{Manager, Watching, reason, registration},
};
use cofferdam_core::{name::Name, wire::duration_to_wire};

async fn register(manager: &Manager, names: &[&str]) {
    for name in names {
        manager.registry.register(registration(name)).await.unwrap();
    }
}

fn since(seconds: u64) -> v1::WatchEventsRequest {
    let since = Some(duration_to_wire(Duration::from_secs(seconds)));
    v1::WatchEventsRequest { namespace: "*".to_owned(), since, ..Default::default() }
}

async fn names(watching: &mut Watching, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(watching.event_of(v1::EventKind::Change).await.service);
    }
    names
}

#[tokio::test]
async fn what_comes_is_told_and_a_stream_goes_on_exactly_where_it_broke_off() {
    let manager = Manager::start().await;
    register(&manager, &["a"]).await;
    // Its change has to be told before a watcher comes.
    let mut before = Watching::begin(&manager, since(60)).await.unwrap();
    assert_eq!(names(&mut before, 1).await, ["a"], "what was told before, to those who ask for it");
    let mut watching = Watching::all(&manager).await;
    let start = watching.cursor.clone();
    register(&manager, &["b", "c", "d"]).await;
    assert_eq!(names(&mut watching, 2).await, ["b", "c"]);
    let broke_off = watching.cursor.clone();
    drop(watching);
    register(&manager, &["e"]).await;
    assert_eq!(names(&mut Watching::after(&manager, &broke_off).await, 2).await, ["d", "e"]);
    assert_eq!(names(&mut Watching::after(&manager, &start).await, 4).await, ["b", "c", "d", "e"]);
    assert_eq!(names(&mut before, 4).await, ["b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_filter_counts_for_a_stream_and_its_cursor_moves_on_all_the_same() {
    let manager = Manager::start().await;
    let request = v1::WatchEventsRequest { service: "b".to_owned(), ..Default::default() };
    let mut watching = Watching::begin(&manager, request.clone()).await.unwrap();
    register(&manager, &["a", "b", "c"]).await;
    assert_eq!(watching.event().await.service, "b");
    let after = v1::WatchEventsRequest { after: watching.cursor.clone(), ..request };
    let mut again = Watching::begin(&manager, after).await.unwrap();
    let report = v1::UpdateServiceHealthRequest {
        service: "b".to_owned(),
        health: Some(v1::ServiceHealth { status: v1::HealthStatus::Degraded.into(), ..Default::default() }),
        ..Default::default()
    };
    manager.registry.report_health(report).await.unwrap();
    assert_eq!(again.event().await.kind(), v1::EventKind::Health, "b is not told again");
}

#[tokio::test]
async fn what_another_life_of_a_manager_told_is_a_gap() {
    let manager = Manager::start().await;
    let mut watching = Watching::after(&manager, "0,0123456789abcdef.7").await;
    let gap = watching.gap().await;
    assert_eq!((gap.manager_id.as_str(), gap.lost), ("0123456789abcdef", 0));
    assert!(gap.reason.contains("after its event 7"), "{}", gap.reason);
    // It is told once, to whoever comes back as well.
    let mut again = Watching::after(&manager, &watching.cursor).await;
    register(&manager, &["a"]).await;
    assert_eq!(names(&mut again, 1).await, ["a"]);
}

#[tokio::test]
async fn whoever_comes_back_is_told_nothing_from_before_the_watching_began() {
    let manager = Manager::start().await;
    let mut before = Watching::all(&manager).await;
    register(&manager, &["a", "b"]).await;
    names(&mut before, 2).await;
    // It began a moment later, at a manager that could not ask this one.
    let mut resumed = Watching::after(&manager, &format!("{}", crate::testing::EPOCH + 1)).await;
    register(&manager, &["c"]).await;
    assert_eq!(names(&mut resumed, 1).await, ["c"]);
    let mut again = Watching::after(&manager, &resumed.cursor).await;
    register(&manager, &["d"]).await;
    assert_eq!(names(&mut again, 1).await, ["d"]);
    // And all of it, where it began before.
    let mut resumed = Watching::after(&manager, &format!("{}", crate::testing::EPOCH)).await;
    assert_eq!(names(&mut resumed, 4).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn what_a_manager_could_not_see_is_a_gap_for_every_watcher() {
    let manager = Manager::start().await;
    let request = v1::WatchEventsRequest {
        service: "b".to_owned(),
        kinds: vec![v1::EventKind::Breaker.into()],
        ..Default::default()
    };
    let mut watching = Watching::begin(&manager, request).await.unwrap();
    let events = manager.registry.events();
    events.tell(News::gap(events.manager_id(), "too many".to_owned()));
    let gap = watching.gap().await;
    assert_eq!((gap.manager_id.as_str(), gap.lost, gap.reason.as_str()), (events.manager_id(), 0, "too many"));
    let request = v1::ListEventsRequest { service: "b".to_owned(), ..Default::default() };
    let list = manager.client().await.list_events(request).await.unwrap().into_inner();
    assert_eq!((list.events.len(), list.events[0].kind()), (1, v1::EventKind::Gap));
}

#[tokio::test]
async fn the_stream_ends_with_the_word_that_the_manager_stops() {
    let manager = Manager::start().await;
    let mut watching = Watching::all(&manager).await;
    manager.drain();
    let stopped = watching.event_of(v1::EventKind::Manager).await;
    assert!(stopped.summary.ends_with("stops"), "{}", stopped.summary);
    assert_eq!(watching.next().await, None, "it ends without an error");
    manager.stop().await;
}

#[tokio::test]
async fn whoever_comes_back_after_a_stop_knows_that_nothing_is_missing() {
    let manager = Manager::start().await;
    let over = format!(",{}~", manager.registry.events().manager_id());
    let changes = v1::WatchEventsRequest { kinds: vec![v1::EventKind::Change.into()], ..Default::default() };
    let all = Watching::all(&manager).await;
    let changes = Watching::begin(&manager, changes).await.unwrap();
    manager.drain();
    for mut watching in [all, changes] {
        while watching.next().await.is_some() {}
        assert!(watching.cursor.contains(&over), "{}", watching.cursor);
    }
}

/// Nobody was told that what is listed is not all.
#[tokio::test]
async fn what_is_kept_no_more_is_said_to_have_been() {
    let manager = Manager::start().await;
    let namespace = Name::new("default").unwrap();
    let kept = EventsOptions::default().keep;
    for _ in 0..=kept {
        manager.registry.events().tell(News::instance(v1::InstanceChange::Came, &namespace, "a", "shop"));
    }
    let kinds = vec![v1::EventKind::Change.into()];
    let asked = v1::ListEventsRequest { kinds, ..Default::default() };
    let list = manager.client().await.list_events(asked).await.unwrap().into_inner();
    assert!(list.events.is_empty() && list.has_older, "{list:?}");
}

#[tokio::test]
async fn the_newest_are_listed_and_watching_goes_on_from_there() {
    let manager = Manager::start().await;
    let mut watching = Watching::all(&manager).await;
    register(&manager, &["a", "b", "c"]).await;
    names(&mut watching, 3).await;
    let mut client = manager.client().await;
    let kinds = vec![v1::EventKind::Change.into()];
    let request = v1::ListEventsRequest { kinds, max_events: 2, ..Default::default() };
    let list = client.list_events(request).await.unwrap().into_inner();
    let listed: Vec<_> = list.events.iter().map(|event| event.service.as_str()).collect();
    assert_eq!((listed, list.has_older), (vec!["b", "c"], true));
    register(&manager, &["d"]).await;
    assert_eq!(Watching::after(&manager, &list.cursor).await.event().await.service, "d");
    let all = client.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    assert!(!all.has_older && all.events.len() >= 4, "{all:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_field() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let base = v1::WatchEventsRequest::default();
    let zero = Some(duration_to_wire(Duration::ZERO));
    let requests = [
        v1::WatchEventsRequest { after: "x".to_owned(), ..base.clone() },
        v1::WatchEventsRequest { after: "0,a.1".to_owned(), since: since(1).since, ..base.clone() },
        v1::WatchEventsRequest { since: zero, ..base.clone() },
        v1::WatchEventsRequest { kinds: vec![0], ..base.clone() },
        v1::WatchEventsRequest { namespace: "*".to_owned(), service: "a".to_owned(), ..base },
    ];
    for request in requests {
        let status = client.watch_events(request.clone()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (tonic::Code::InvalidArgument, "INVALID_FIELD"),
            "{request:?}"
        );
    }
    let request = v1::ListEventsRequest { max_events: 1001, ..Default::default() };
    assert_eq!(client.list_events(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn there_is_an_end_to_watchers() {
    let manager = Manager::start().await;
    let mut watchers = Vec::new();
    let mut client = manager.client().await;
    let status = loop {
        match client.watch_events(v1::WatchEventsRequest::default()).await {
            Ok(stream) => watchers.push(stream),
            Err(status) => break status,
        }
        // A connection carries some streams only.
        if watchers.len() % 100 == 0 {
            client = manager.client().await;
        }
    };
    assert_eq!((watchers.len(), status.code()), (MAX_WATCHERS, tonic::Code::ResourceExhausted));
    watchers.clear();
}
