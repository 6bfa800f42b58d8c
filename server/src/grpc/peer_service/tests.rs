use super::*;
use crate::{
    instances::{Condition, Report, Session},
    testing::{PATIENCE, key},
};
use cofferdam_core::breaker::State;

fn manager() -> (Arc<Instances>, Told) {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let told = Told::nothing(Arc::clone(&instances), SyncOptions::default(), CancellationToken::new());
    (instances, told)
}

fn connect(instances: &Arc<Instances>) -> Session {
    let payments = key("default/payments");
    let session = instances.connect("one", "app", payments.namespace.clone()).unwrap();
    session.follow([(&payments, true)]).unwrap();
    session
}

fn report(session: &Session, state: State) {
    let condition = Condition { breaker: Some(state), ..Condition::default() };
    let report = Report { condition, learned: Some(state), is_registered: true, ..Report::default() };
    session.report(&key("default/payments"), report);
}

async fn next(told: Told) -> (v1::FollowResponse, Told) {
    tokio::time::timeout(PATIENCE, told.next()).await.expect("a message now and then").expect("nobody stops it")
}

/// The stream after it has said all there is.
async fn quiet(mut told: Told) -> Told {
    for _ in 0..3 {
        told = next(told).await.1;
    }
    let (news, told) = next(told).await;
    assert!(!news.has_stands && news.arrivals.is_empty(), "{news:?}");
    told
}

#[tokio::test(start_paused = true)]
async fn one_change_in_the_quiet_is_told_whether_it_is_waited_for_or_not() {
    let (instances, told) = manager();
    let session = connect(&instances);
    let told = quiet(told).await;

    report(&session, State::Open);
    let (news, told) = next(told).await;
    assert!(news.has_stands, "it was there before the wait: {news:?}");
    assert_eq!(news.stands[0].breaker_state(), v1::BreakerState::Open);

    let told = quiet(told).await;
    let later = async {
        sleep(HEARTBEAT / 2).await;
        report(&session, State::Closed);
    };
    let ((news, _), ()) = tokio::join!(next(told), later);
    assert!(news.has_stands, "it ended the wait: {news:?}");
    assert_eq!(news.stands[0].breaker_state(), v1::BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn two_managers_do_not_tell_each_other_the_same_for_ever() {
    let ((a, told_a), (b, told_b)) = (manager(), manager());
    let session = connect(&a);
    let (mut told_a, mut told_b) = (quiet(told_a).await, quiet(told_b).await);
    report(&session, State::Open);
    let mut with_stands = (0, 0);
    for _ in 0..10 {
        let ((from_a, rest_a), (from_b, rest_b)) = tokio::join!(next(told_a), next(told_b));
        (told_a, told_b) = (rest_a, rest_b);
        if from_a.has_stands {
            with_stands.0 += 1;
            b.stand_elsewhere("a", a.stands());
        }
        if from_b.has_stands {
            with_stands.1 += 1;
            a.stand_elsewhere("b", b.stands());
        }
    }
    assert_eq!(with_stands, (1, 0), "one change, told once");
    assert_eq!(b.condition(&key("default/payments")).breaker, Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn it_says_over_how_much_time_its_instances_come_to_others() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let sync = SyncOptions { reconnect_rate: 1, ..SyncOptions::default() };
    let told = Told::nothing(Arc::clone(&instances), sync, CancellationToken::new());
    let (news, told) = next(told).await;
    assert_eq!(news.reconnect_window.unwrap().seconds, 0);
    let _session = connect(&instances);
    let (news, _) = next(told).await;
    assert_eq!(news.reconnect_window.unwrap().seconds, 1);
}
