//! What was counted, over time and by instance.

use super::*;
use crate::instances::recovery::Transition;
use tokio::time::advance;

const MINUTE: Duration = Duration::from_secs(60);

fn registered(calls: u64) -> Report {
    Report { is_registered: true, ..report(calls, FINE) }
}

fn instances(max: usize) -> Arc<Instances> {
    Arc::new(Instances::new(max, Duration::ZERO))
}

#[tokio::test(start_paused = true)]
async fn a_window_forgets_and_the_sums_do_not() {
    let instances = instances(10);
    let payments = key("default/payments");
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    let calls = |window| instances.over(&payments, window).counters.calls;
    one.report(&payments, registered(3));
    two.report(&payments, registered(4));
    advance(MINUTE).await;
    one.report(&payments, registered(5));
    assert_eq!((calls(MINUTE / 2), calls(MINUTE), instances.period(MINUTE / 2)), (5, 12, MINUTE / 2));
    drop((one, two));
    advance(10 * MINUTE).await;
    assert_eq!((calls(MINUTE), calls(60 * MINUTE), calls(LONGEST_WINDOW)), (0, 12, 12));
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, 12);
    instances.look_after_history();
    advance(25 * 60 * MINUTE).await;
    instances.look_after_history();
    assert_eq!(calls(LONGEST_WINDOW), 0);
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, 12);
}

#[tokio::test(start_paused = true)]
async fn reading_changes_nothing() {
    let instances = instances(10);
    let payments = key("default/payments");
    let session = connect(&instances, "one");
    for _ in 0..50 {
        session.report(&payments, registered(1));
        advance(Duration::from_secs(7)).await;
    }
    let read = || {
        (
            instances.observe(&payments, at(1), hash()),
            [MINUTE, LONGEST_WINDOW].map(|window| {
                (instances.over(&payments, window), instances.history(&payments, window), instances.period(window))
            }),
            instances.rows(&payments, "", 10),
            instances.losses(),
        )
    };
    let first = read();
    assert_eq!(first.0.activity.counters.calls, 50);
    assert_eq!(read(), first);
    assert_eq!(read(), first);
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_registered_get_no_history() {
    let instances = instances(10);
    let payments = key("default/payments");
    connect(&instances, "one").report(&payments, report(3, FINE));
    assert_eq!(instances.over(&payments, MINUTE), Activity::default());
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, 3);
}

#[tokio::test(start_paused = true)]
async fn all_histories_together_have_a_limit_and_what_goes_is_counted() {
    let mut limited = Instances::new(10, Duration::ZERO);
    limited.max_history_bytes = 4000;
    let instances = Arc::new(limited);
    let (payments, orders) = (key("default/payments"), key("default/orders"));
    let session = connect(&instances, "one");
    session.follow([(&orders, true)]).unwrap();
    for _ in 0..100 {
        session.report(&payments, registered(1));
        advance(Duration::from_secs(10)).await;
    }
    session.report(&orders, registered(7));
    instances.look_after_history();
    let losses = instances.losses();
    assert!(losses.history_slots_dropped > 30, "{losses:?}");
    assert_eq!(instances.observe(&payments, at(1), hash()).losses, losses);
    assert_eq!(instances.observe(&orders, at(1), hash()).losses, Losses::default());
    assert_eq!(instances.over(&payments, MINUTE).counters.calls, 6, "the newest stay");
    assert_eq!(instances.over(&orders, MINUTE).counters.calls, 7);
    instances.look_after_history();
    assert_eq!(instances.losses(), losses, "what has room stays");
}

#[tokio::test(start_paused = true)]
async fn instances_are_listed_in_order_a_page_at_a_time() {
    let instances = instances(10);
    let payments = key("default/payments");
    let sessions: Vec<_> = ["d", "b", "a", "c"].map(|id| connect(&instances, id)).into();
    advance(MINUTE).await;
    sessions[1].report(&payments, report(5, OPEN));
    sessions[1].applied(&payments, at(3), hash());
    advance(MINUTE).await;
    let page = |after: &str, max| {
        let (rows, has_more) = instances.rows(&payments, after, max);
        (rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), has_more)
    };
    assert_eq!(page("", 3), (vec!["a".into(), "b".into(), "c".into()], true));
    assert_eq!(page("c", 3), (vec!["d".into()], false));
    assert_eq!(page("d", 3), (vec![], false));
    let row = instances.rows(&payments, "a", 1).0.remove(0);
    assert_eq!((row.application.as_str(), row.connected, row.reported), ("app", 2 * MINUTE, Some(MINUTE)));
    assert_eq!((row.breaker, row.health), (OPEN.breaker, OPEN.health));
    assert_eq!((row.activity.unwrap().counters.calls, row.applied), (5, Some((at(3), hash()))));
    let idle = instances.rows(&payments, "b", 1).0.remove(0);
    assert_eq!((idle.activity, idle.reported, idle.breaker), (None, None, None));
    let seen = instances.observe(&payments, at(3), hash());
    assert_eq!(seen.open_ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_figures_of_so_many_instances_are_kept_and_no_more() {
    let mut limited = Instances::new(10, Duration::ZERO);
    limited.max_figures = 1;
    let instances = Arc::new(limited);
    let payments = key("default/payments");
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    let kept = || {
        let (rows, _) = instances.rows(&payments, "", 10);
        rows.into_iter().map(|row| row.activity.map(|own| own.counters.calls)).collect::<Vec<_>>()
    };
    two.report(&payments, report(0, FINE));
    one.report(&payments, report(1, FINE));
    two.report(&payments, report(2, FINE));
    one.report(&payments, report(3, FINE));
    assert_eq!(kept(), [Some(4), None]);
    assert_eq!(instances.losses().instance_figures_dropped, 1);
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, 6, "the sums have it");
    one.unfollow(&payments);
    two.report(&payments, report(5, FINE));
    assert_eq!(kept(), [Some(5)], "there is room again");
    drop(two);
    one.follow([(&payments, true)]).unwrap();
    one.report(&payments, report(6, FINE));
    assert_eq!(kept(), [Some(6)], "and again");
}

fn opens(to: State) -> Report {
    Report {
        transitions: vec![Transition { part: Part::Service, from: State::HalfOpen, to, at: Instant::now() }],
        ..registered(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opened_on_one_stream_recovers_on_the_next() {
    let instances = instances(10);
    let payments = key("default/payments");
    let first = connect(&instances, "one");
    first.report(&payments, opens(State::Open));
    drop(first);
    advance(MINUTE).await;
    instances.look_after_history();
    let second = connect(&instances, "one");
    second.report(&payments, opens(State::Closed));
    let seen = instances.observe(&payments, at(1), hash()).recoveries;
    assert_eq!((seen.count, seen.longest), (1, MINUTE));

    // Who has said goodbye does not come back.
    second.report(&payments, opens(State::Open));
    second.says_goodbye();
    drop(second);
    instances.look_after_history();
    connect(&instances, "one").report(&payments, opens(State::Closed));
    assert_eq!(instances.observe(&payments, at(1), hash()).recoveries.count, 1);
}
