//! Revisions that turn calls away, from the push to the refusal.

use super::*;
use crate::containment;
use crate::runtime::clocks;
use crate::{BreakerState, Cofferdam, Service};
use cofferdam_core::hold::Forced;
use cofferdam_core::orders::{Action, Aim, OrdersSpec, WrittenHold};
use cofferdam_core::policy::{BreakerMode, BulkheadPolicy};
use cofferdam_core::time::WallTime;
use cofferdam_core::wire::fingerprint;

const SECOND: Duration = Duration::from_secs(1);

/// An instance that calls `a`, and whose policies are watched.
struct Watched {
    scene: Scene,
    service: Service,
}

/// How the service does.
#[derive(Clone, Copy)]
enum Does {
    Well,
    Fail,
}

impl Watched {
    /// With a policy in force that has stood its trial.
    async fn new() -> (Self, Stream) {
        Self::start(true).await
    }

    async fn start(contains: bool) -> (Self, Stream) {
        let mut scene = Scene::start(&["a"], vec![("test", Way::IsOpen)], |shared| Shared {
            containment: containment::Containment::new(contains),
            ..shared
        });
        tokio::spawn(containment::run(Arc::clone(&scene.shared), scene.stop.clone()));
        let service = Cofferdam::new(Arc::clone(&scene.shared), Vec::new()).service("a");
        let (mut stream, _) = scene.accept().await;
        let good = full(|_| {});
        stream.update("a", at(1, 1), Ok(good.clone()));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 1), &good)));
        let watched = Self { scene, service };
        for _ in 0..60 {
            watched.call(Does::Well).await;
            tokio::time::sleep(SECOND).await;
            stream.say(FromManager::Bookmark(None));
        }
        (watched, stream)
    }

    /// One call, which the service takes 50 ms for.
    async fn call(&self, does: Does) {
        let call = self.service.execute("m", || async move {
            tokio::time::sleep(SECOND / 20).await;
            match does {
                Does::Well => Ok(()),
                Does::Fail => Err(std::io::Error::other("down")),
            }
        });
        // What became of it is what is watched.
        let _ = call.await;
    }

    /// Calls, five at once, until the policy is put back or its watch is over. How many they were.
    async fn calls_until_put_back(&self, does: Does, revision: Revision) -> u32 {
        let mut calls = 0;
        let begin = Instant::now();
        while self.service.revision() == Some(revision) && begin.elapsed() < 31 * SECOND {
            futures_util::future::join_all((0..5).map(|_| self.call(does))).await;
            calls += 5;
            tokio::time::sleep(SECOND / 100).await;
        }
        calls
    }
}

/// A poison that is put back, and the refusal of it.
async fn contained(poison: &Policy) -> (Watched, Stream) {
    let (watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(poison.clone()));
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
    assert!(matches!(stream.answer().await, ToManager::Refused { is_contained: true, .. }));
    (watched, stream)
}

/// What the instance answers that has put a policy back and gets another revision with it.
fn refused(answer: ToManager, expected: Revision) -> Applied {
    let ToManager::Refused { revision, in_force: Some(in_force), is_contained: true, .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(revision, Some(expected));
    in_force
}

/// In force, with orders beside it.
fn under(revision: Revision, policy: &Policy, orders: &Orders) -> Applied {
    Applied { service: "a".into(), revision, hash: fingerprint(policy, orders) }
}

fn held(forced: Forced) -> Orders {
    let hold = WrittenHold {
        aim: Aim::ALL,
        forced,
        owner: "alice".to_owned(),
        reason: "a drill".to_owned(),
        since: WallTime::default(),
        until: None,
    };
    Orders::new(OrdersSpec { holds: vec![hold], ..OrdersSpec::default() }).unwrap()
}

fn trip_for(open_for: Duration) -> Orders {
    let mut spec = OrdersSpec::default();
    let action = Action::Trip(Some(open_for));
    spec.command(Aim::ALL, action, "alice".to_owned(), "a drill".to_owned(), WallTime::default());
    Orders::new(spec).unwrap()
}

fn full(change: impl FnOnce(&mut PolicySpec)) -> Policy {
    let mut spec = PolicySpec { level: Level::Full, ..PolicySpec::default() };
    spec.retry.max_attempts = 1;
    change(&mut spec);
    Policy::new(spec).unwrap()
}

fn one_millisecond(spec: &mut PolicySpec) {
    (spec.timeout.call_timeout, spec.timeout.min_attempt_budget) = (Duration::from_millis(1), Duration::ZERO);
}

fn one_place(spec: &mut PolicySpec) {
    spec.bulkhead = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
}

fn one_a_second(spec: &mut PolicySpec) {
    spec.rate_limit = Some(cofferdam_core::policy::RateLimitPolicy::per_second(1));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_turns_calls_away_is_put_back_and_refused() {
    type Poison = (&'static str, fn(&mut PolicySpec));
    let poisons: [Poison; 3] = [("timeout", one_millisecond), ("bulkhead", one_place), ("rate limit", one_a_second)];
    for (name, poison) in poisons {
        let (mut watched, mut stream) = Watched::new().await;
        let poison = full(poison);
        stream.update("a", at(1, 2), Ok(poison.clone()));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 2), &poison)));
        let calls = watched.calls_until_put_back(Does::Well, at(1, 2)).await;
        assert!(calls <= 200, "{name}: {calls} calls");
        assert_eq!(watched.service.revision(), Some(at(1, 1)), "{name}");
        let ToManager::Refused { revision, refusal, in_force, is_contained: true, .. } = stream.answer().await else {
            panic!("not told")
        };
        let good = applied("a", at(1, 1), &full(|_| {}));
        assert_eq!((revision, in_force, refusal.field_path.as_str()), (Some(at(1, 2)), Some(good), ""), "{name}");
        assert!(refusal.reason.starts_with("contained: "), "{refusal:?}");
        let contained = loop {
            if let Event::PolicyContained { revision, in_force, .. } = watched.scene.event().await {
                break (revision, in_force);
            }
        };
        assert_eq!(contained, (at(1, 2), Some(at(1, 1))), "{name}");

        // Sent again, also on another stream, it is refused again; a newer one is taken.
        stream.update("a", at(1, 2), Ok(poison.clone()));
        assert!(matches!(stream.answer().await, ToManager::Refused { is_contained: true, .. }));
        drop(stream);
        let (mut stream, hello) = watched.scene.accept().await;
        assert_eq!(hello.applied, [applied("a", at(1, 1), &full(|_| {}))]);
        stream.update("a", at(1, 2), Ok(poison));
        assert!(matches!(stream.answer().await, ToManager::Refused { is_contained: true, .. }));
        stream.update("a", at(1, 3), Ok(full(|_| {})));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 3), &full(|_| {}))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_orders_and_what_the_service_does_are_not_put_back() {
    type Case = (&'static str, Does, fn(&mut PolicySpec), bool);
    let cases: [Case; 4] = [
        ("forced open", Does::Well, |spec| spec.breaker.mode = BreakerMode::ForcedOpen, true),
        ("switched off", Does::Well, |_| {}, false),
        ("a nervous breaker over a service that fails", Does::Fail, |spec| spec.breaker.consecutive_failures = 1, true),
        ("another change while the service fails", Does::Fail, |spec| spec.retry.max_attempts = 2, true),
    ];
    for (name, does, change, is_enabled) in cases {
        let (watched, mut stream) = Watched::new().await;
        let policy = Ok(full(change));
        stream.say(FromManager::Update(Update {
            service: "a".to_owned(),
            revision: Some(at(1, 2)),
            policy,
            is_enabled,
            is_insisted: false,
            as_of: None,
            orders: Orders::default(),
        }));
        stream.answer().await;
        let before = watched.service.counters();
        watched.calls_until_put_back(does, at(1, 2)).await;
        let counts = watched.service.counters().since(&before);
        assert!(counts.rejected_open + counts.rejected_disabled > counts.calls / 2, "{name}: {counts:?}");
        assert_eq!(watched.service.revision(), Some(at(1, 2)), "{name}");
    }
}

/// A hold that ran out left its rejections behind, and the next look put them down to the revision.
#[tokio::test(start_paused = true)]
async fn what_a_hold_has_rejected_is_not_put_down_to_a_revision_when_it_is_over_either() {
    let (watched, mut stream) = Watched::new().await;
    let policy = full(|spec| spec.breaker.consecutive_failures = 4);
    let since_1970 = clocks().wall.saturating_since(WallTime::after_1970(Duration::ZERO));
    let hold = WrittenHold {
        aim: Aim::ALL,
        forced: Forced::Open,
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
        since: WallTime::after_1970(since_1970),
        until: Some(WallTime::after_1970(since_1970 + 5 * SECOND)),
    };
    let orders = Orders::new(OrdersSpec { holds: vec![hold], ..OrdersSpec::default() }).unwrap();
    stream.order("a", at(1, 2), Ok(policy), orders);
    stream.answer().await;
    let before = watched.service.counters();
    for _ in 0..10 {
        futures_util::future::join_all((0..10).map(|_| watched.call(Does::Well))).await;
        tokio::time::sleep(SECOND).await;
    }
    let counts = watched.service.counters().since(&before);
    assert!(counts.rejected_open >= 40 && counts.served_live >= 30, "{counts:?}");
    assert_eq!(watched.service.revision(), Some(at(1, 2)));
}

#[tokio::test(start_paused = true)]
async fn holds_outlive_a_policy_that_is_put_back() {
    let (watched, mut stream) = Watched::new().await;
    stream.order("a", at(1, 2), Ok(full(one_millisecond)), held(Forced::Disabled));
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
    assert_eq!(watched.service.holds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_before_and_under_a_contained_policy_is_kept() {
    let (watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(full(one_millisecond)));
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
    // Under the poison the breaker opened, and it is for the service to close it.
    assert_eq!(watched.service.breaker_state(), Some(BreakerState::Open));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_contain_keeps_the_poison() {
    let (watched, mut stream) = Watched::start(false).await;
    stream.update("a", at(1, 2), Ok(full(one_place)));
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_an_operator_insists_on_stays() {
    let (mut watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(full(one_place)));
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
    assert!(matches!(stream.answer().await, ToManager::Refused { is_contained: true, .. }));

    let policy = full(one_place);
    stream.say(FromManager::Update(Update {
        service: "a".to_owned(),
        revision: Some(at(1, 3)),
        policy: Ok(policy.clone()),
        is_enabled: true,
        is_insisted: true,
        as_of: None,
        orders: Orders::default(),
    }));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 3), &policy)));
    let before = watched.service.counters();
    watched.calls_until_put_back(Does::Well, at(1, 3)).await;
    let counts = watched.service.counters().since(&before);
    assert!(counts.rejected_bulkhead > counts.calls / 2, "{counts:?}");
    assert_eq!(watched.service.revision(), Some(at(1, 3)));

    // The next one is watched as ever, once what it is compared with is good again: 30 s of watch, and 60 s of samples.
    // The stream of before has been silent for too long.
    drop(stream);
    let (mut stream, hello) = watched.scene.accept().await;
    assert_eq!(hello.applied, [applied("a", at(1, 3), &policy)]);
    stream.update("a", at(1, 4), Ok(full(|_| {})));
    stream.answer().await;
    for _ in 0..120 {
        watched.call(Does::Well).await;
        tokio::time::sleep(SECOND).await;
        stream.say(FromManager::Bookmark(None));
    }
    stream.update("a", at(1, 5), Ok(policy.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 5), &policy)));
    watched.calls_until_put_back(Does::Well, at(1, 5)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 4)));
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_put_back_with_no_manager_in_reach_and_refused_when_it_is() {
    let (mut watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(full(one_place)));
    stream.answer().await;
    drop(stream);
    watched.calls_until_put_back(Does::Well, at(1, 2)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
    let mut seen = Vec::new();
    while let Ok(opened) = watched.scene.opened.try_recv() {
        seen.push(opened);
    }
    // The streams that were opened meanwhile are over; the next one says what is in force.
    drop(seen);
    let (mut stream, hello) = watched.scene.accept().await;
    assert_eq!(hello.applied, [applied("a", at(1, 1), &full(|_| {}))]);
    stream.update("a", at(1, 2), Ok(full(one_place)));
    assert!(matches!(stream.answer().await, ToManager::Refused { is_contained: true, .. }));
}

/// Each order is a revision of its own. So a hold once took a contained policy to be a new one, which no call spoke against
/// while it was in force, and the release after it took it for the good one of before.
#[tokio::test(start_paused = true)]
async fn what_is_ordered_beside_a_contained_policy_is_obeyed_and_the_policy_stays_put_back() {
    let (good, poison) = (full(|_| {}), full(one_place));
    let (watched, mut stream) = contained(&poison).await;
    let hold = held(Forced::Open);
    stream.order("a", at(1, 3), Ok(poison.clone()), hold.clone());
    assert_eq!(refused(stream.answer().await, at(1, 3)), under(at(1, 1), &good, &hold));
    assert_eq!(watched.service.breaker_state(), Some(BreakerState::Open));
    for _ in 0..40 {
        watched.call(Does::Well).await;
        tokio::time::sleep(SECOND).await;
        stream.say(FromManager::Bookmark(None));
    }
    stream.order("a", at(1, 4), Ok(poison.clone()), Orders::default());
    assert_eq!(refused(stream.answer().await, at(1, 4)), applied("a", at(1, 1), &good));
    let before = watched.service.counters();
    futures_util::future::join_all((0..5).map(|_| watched.call(Does::Well))).await;
    assert_eq!(watched.service.counters().since(&before).served_live, 5);

    let trip = trip_for(10 * SECOND);
    stream.order("a", at(1, 5), Ok(poison.clone()), trip.clone());
    assert_eq!(refused(stream.answer().await, at(1, 5)), under(at(1, 1), &good, &trip));
    assert_eq!(watched.service.breaker_state(), Some(BreakerState::Open));

    let switched_off = Update {
        service: "a".to_owned(),
        revision: Some(at(1, 6)),
        policy: Ok(poison.clone()),
        is_enabled: false,
        is_insisted: false,
        as_of: None,
        orders: trip.clone(),
    };
    stream.say(FromManager::Update(switched_off));
    refused(stream.answer().await, at(1, 6));
    assert_eq!((watched.service.is_enabled(), watched.service.revision()), (false, Some(at(1, 1))));

    // Another policy in between, and it is a new one.
    stream.update("a", at(1, 7), Ok(good.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 7), &good)));
    stream.update("a", at(1, 8), Ok(poison.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 8), &poison)));
}

/// What is handed out in the place of a contained policy is older than that: the orders with it are not.
#[tokio::test(start_paused = true)]
async fn orders_come_with_the_policy_in_the_place_of_a_contained_one_and_none_that_are_outdated() {
    let (good, poison) = (full(|_| {}), full(one_place));
    let (watched, mut stream) = contained(&poison).await;
    let in_place = |as_of, orders: &Orders| {
        FromManager::Update(Update {
            service: "a".to_owned(),
            revision: Some(at(1, 1)),
            policy: Ok(good.clone()),
            is_enabled: true,
            is_insisted: false,
            as_of: Some(as_of),
            orders: orders.clone(),
        })
    };
    let hold = held(Forced::Open);
    stream.say(in_place(at(1, 3), &hold));
    assert_eq!(stream.answer().await, ToManager::Applied(under(at(1, 1), &good, &hold)));
    // Another manager has not heard of the hold yet.
    stream.say(in_place(at(1, 2), &Orders::default()));
    stream.say(in_place(at(1, 3), &hold));
    assert_eq!(stream.answer().await, ToManager::Applied(under(at(1, 1), &good, &hold)));
    assert_eq!(watched.service.breaker_state(), Some(BreakerState::Open));
    // The poison is known all the same.
    stream.order("a", at(1, 4), Ok(poison), Orders::default());
    assert_eq!(refused(stream.answer().await, at(1, 4)), applied("a", at(1, 1), &good));
    assert_eq!(watched.service.breaker_state(), Some(BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_hold_while_a_policy_is_on_trial_does_not_acquit_it() {
    let poison = full(one_place);
    let (watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(poison.clone()));
    stream.answer().await;
    stream.order("a", at(1, 3), Ok(poison.clone()), held(Forced::Open));
    stream.answer().await;
    for _ in 0..40 {
        watched.call(Does::Well).await;
        tokio::time::sleep(SECOND).await;
        stream.say(FromManager::Bookmark(None));
    }
    assert_eq!(watched.service.revision(), Some(at(1, 3)));
    stream.order("a", at(1, 4), Ok(poison), Orders::default());
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 4)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)));
}

/// A trip soon after a change of the breaker had the change put back, and was itself in vain: the rejections were put down to
/// the change.
#[tokio::test(start_paused = true)]
async fn a_trip_while_a_good_policy_is_on_trial_does_not_have_it_put_back() {
    let policy = full(|spec| spec.breaker.consecutive_failures = 4);
    let (watched, mut stream) = Watched::new().await;
    stream.update("a", at(1, 2), Ok(policy.clone()));
    stream.answer().await;
    stream.order("a", at(1, 3), Ok(policy), trip_for(20 * SECOND));
    stream.answer().await;
    let before = watched.service.counters();
    watched.calls_until_put_back(Does::Well, at(1, 3)).await;
    let counts = watched.service.counters().since(&before);
    assert!(counts.rejected_open > 1_000 && counts.served_live > 100, "{counts:?}");
    assert_eq!(watched.service.revision(), Some(at(1, 3)));
}

/// The manager takes the last word for what is in force, also where that is the refusal of an older revision.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_told_late_says_what_is_in_force_by_then() {
    let (good, newer) = (full(|_| {}), full(|spec| spec.retry.max_attempts = 2));
    let (watched, mut stream) = Watched::new().await;
    let contained = ToManager::Refused {
        service: "a".into(),
        revision: Some(at(1, 2)),
        refusal: Refusal { reason: "contained".to_owned(), field_path: String::new() },
        in_force: Some(applied("a", at(1, 1), &good)),
        is_contained: true,
    };
    stream.update("a", at(1, 3), Ok(newer.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 3), &newer)));
    watched.scene.shared.containment.refuse(&"a".into(), contained.clone());
    assert_eq!(refused(stream.answer().await, at(1, 2)), applied("a", at(1, 3), &newer));

    // The two at once, in whichever order they are taken.
    for revision in 4..20 {
        let policy = if revision % 2 == 0 { &good } else { &newer };
        watched.scene.shared.containment.refuse(&"a".into(), contained.clone());
        stream.update("a", at(1, revision), Ok(policy.clone()));
        let mut last = None;
        while let Ok(answer) = tokio::time::timeout(SECOND, stream.answer()).await {
            last = Some(if let ToManager::Applied(applied) = answer { applied } else { refused(answer, at(1, 2)) });
        }
        assert_eq!(last, Some(applied("a", at(1, revision), policy)));
    }
}

/// The policy that is put back is that of before; whether the service may be called, an operator has said since.
#[tokio::test(start_paused = true)]
async fn a_service_that_was_switched_off_stays_off_when_its_policy_is_put_back() {
    let (watched, mut stream) = Watched::new().await;
    let poison = full(one_millisecond);
    stream.update("a", at(1, 2), Ok(poison.clone()));
    stream.answer().await;
    let switched_off = Update {
        service: "a".to_owned(),
        revision: Some(at(1, 3)),
        policy: Ok(poison),
        is_enabled: false,
        is_insisted: false,
        as_of: None,
        orders: Orders::default(),
    };
    stream.say(FromManager::Update(switched_off));
    // They begin before it comes, and end after it.
    futures_util::future::join_all((0..40).map(|_| watched.call(Does::Well))).await;
    stream.answer().await;
    watched.calls_until_put_back(Does::Well, at(1, 3)).await;
    assert_eq!(watched.service.revision(), Some(at(1, 1)), "put back");
    assert!(!watched.service.is_enabled());
}
