use super::*;
use crate::{
    fanout::News,
    instances::{Report, Session},
    testing::{FaultyStore, key, registration, registry},
};
use cofferdam_core::breaker::State;
use cofferdam_proto::v1;
use tokio_util::sync::CancellationToken;

const TTL: Duration = Duration::from_secs(30);
const RULE: FleetHintPolicy =
    FleetHintPolicy { mode: FleetHintMode::Enforce, min_open_instances: 2, min_open_ratio: 0.5, ttl: TTL };

fn decided(rule: &FleetHintPolicy, open: u32, instances: u32, before: Option<&Hint>, now: Instant) -> Decision {
    decide(&key("default/payments"), Some(rule), Census { open, instances }, before, now)
}

fn given(open: u32, instances: u32, since: Instant, at: Instant) -> Hint {
    Hint { key: key("default/payments"), census: Census { open, instances }, since, until: at + TTL }
}

#[test]
fn it_takes_the_number_and_the_share() {
    let now = Instant::now();
    let begins = |rule: &FleetHintPolicy, open, instances| match decided(rule, open, instances, None, now) {
        Decision::Give(hint) => {
            assert_eq!(hint, given(open, instances, now, now));
            true
        }
        Decision::Keep => false,
        Decision::End => panic!("there was none"),
    };
    for (open, instances, expected) in [
        (0, 0, false),
        (1, 1, false),
        (1, 2, false),
        (2, 2, true),
        (2, 4, true),
        (2, 5, false),
        (3, 5, true),
        (499, 1_000, false),
        (500, 1_000, true),
    ] {
        assert_eq!(begins(&RULE, open, instances), expected, "{open} of {instances}");
    }
    let three = FleetHintPolicy { min_open_instances: 3, ..RULE };
    assert!(!begins(&three, 2, 3) && begins(&three, 3, 3));
    let number = FleetHintPolicy { min_open_ratio: 0.0, ..RULE };
    assert!(!begins(&number, 1, 1_000) && begins(&number, 2, 1_000));
    let share = FleetHintPolicy { min_open_ratio: 0.55, ..RULE };
    assert!(!begins(&share, 54, 100) && begins(&share, 55, 100));
}

/// The check of policies refuses less than two; should that ever fail, this holds.
#[test]
fn one_is_never_enough() {
    let rule = FleetHintPolicy { min_open_instances: 0, min_open_ratio: 0.0, ..RULE };
    for instances in [1, 2, 1_000] {
        assert_eq!(decided(&rule, 1, instances, None, Instant::now()), Decision::Keep);
    }
}

#[test]
fn a_hint_lasts_its_time_and_is_renewed_in_the_middle_of_it() {
    let begin = Instant::now();
    let hint = given(2, 4, begin, begin);
    let early = begin + TTL / 2 - Duration::from_millis(1);
    assert_eq!(decided(&RULE, 4, 4, Some(&hint), early), Decision::Keep);
    let middle = begin + TTL / 2;
    assert_eq!(decided(&RULE, 3, 4, Some(&hint), middle), Decision::Give(given(3, 4, begin, middle)));
    // Breakers that close and open by turns do not end it, nor tell it again.
    for step in 0_u32..30 {
        let now = begin + Duration::from_secs(step.into());
        assert_eq!(decided(&RULE, step % 2, 4, Some(&hint), now), Decision::Keep, "{step}");
    }
    assert_eq!(decided(&RULE, 1, 4, Some(&hint), begin + TTL), Decision::End);
    let late = begin + TTL;
    assert_eq!(decided(&RULE, 2, 4, Some(&hint), late), Decision::Give(given(2, 4, late, late)), "another one");
}

#[test]
fn a_policy_without_hints_ends_one() {
    let now = Instant::now();
    let decided = |before| decide(&key("default/payments"), None, Census { open: 4, instances: 4 }, before, now);
    let hint = given(2, 4, now, now);
    assert_eq!(decided(Some(&hint)), Decision::End);
    assert_eq!(decided(None), Decision::Keep);
}

/// A registered service whose policy enforces hints, instances that use it, and a subscriber.
struct Scene {
    registry: Registry,
    instances: Arc<Instances>,
}

impl Scene {
    async fn new() -> Self {
        let registry = registry(&FaultyStore::new()).await;
        registry.register(registration("payments")).await.unwrap();
        let instances = Arc::new(Instances::new(100, Duration::ZERO));
        let scene = Self { registry, instances };
        scene.set(v1::FleetHintMode::Enforce, v1::IsolationLevel::Enhanced).await;
        scene
    }

    async fn set(&self, mode: v1::FleetHintMode, level: v1::IsolationLevel) {
        let hint = v1::FleetHintPolicy { mode: mode.into(), ..Default::default() };
        let policy = v1::IsolationPolicy { level: level.into(), fleet_hint: Some(hint), ..Default::default() };
        let request = v1::UpdateIsolationPolicyRequest {
            service: "payments".to_owned(),
            policy: Some(policy),
            ..Default::default()
        };
        self.registry.update_policy(request).await.unwrap();
    }

    fn connect(&self, id: &str) -> Session {
        let key = key("default/payments");
        let session = self.instances.connect(id, "app", key.namespace.clone()).unwrap();
        session.follow([(&key, true)]).unwrap();
        report(&session, State::Closed);
        session
    }

    fn look(&self) -> Option<Arc<Hint>> {
        look(&self.registry, &self.instances, Instant::now());
        self.registry.hint(&key("default/payments"))
    }
}

fn report(session: &Session, learned: State) {
    let report = Report { learned: Some(learned), ..Report::default() };
    session.report(&key("default/payments"), report);
}

#[tokio::test(start_paused = true)]
async fn one_instance_brings_none_about_whatever_it_says() {
    let scene = Scene::new().await;
    let [liar, other] = ["liar", "other"].map(|id| scene.connect(id));
    for state in [State::Open, State::HalfOpen, State::Open, State::Open].repeat(25) {
        report(&liar, state);
        assert_eq!(scene.look(), None);
    }
    // Nor by coming again under its name: the stream before goes with all that it said.
    let again = scene.connect("liar");
    report(&again, State::Open);
    report(&liar, State::Open);
    assert_eq!(scene.look(), None);
    assert_eq!(scene.instances.census(&key("default/payments")), Census { open: 1, instances: 2 });
    report(&other, State::Open);
    assert_eq!(scene.look().unwrap().census, Census { open: 2, instances: 2 });
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_leaves_takes_its_word_with_it() {
    let scene = Scene::new().await;
    let [one, two, three] = ["one", "two", "three"].map(|id| scene.connect(id));
    report(&one, State::Open);
    report(&two, State::HalfOpen);
    drop(two);
    assert_eq!(scene.instances.census(&key("default/payments")), Census { open: 1, instances: 2 });
    assert_eq!(scene.look(), None, "it is silent, and does not count");
    one.unfollow(&key("default/payments"));
    assert_eq!(scene.instances.census(&key("default/payments")), Census { open: 0, instances: 1 });
    drop(three);
    assert_eq!(scene.instances.census(&key("default/payments")), Census::default());
}

#[tokio::test(start_paused = true)]
async fn who_reports_no_breaker_is_not_asked() {
    let scene = Scene::new().await;
    let sessions: Vec<_> = (0..10).map(|n| scene.connect(&n.to_string())).collect();
    for session in &sessions[..8] {
        session.report(&key("default/payments"), Report::default());
    }
    for session in &sessions[8..] {
        report(session, State::Open);
    }
    assert_eq!(scene.look().unwrap().census, Census { open: 2, instances: 2 });
}

#[tokio::test(start_paused = true)]
async fn who_follows_hears_once_and_whoever_comes_later_as_well() {
    let scene = Scene::new().await;
    let mut early = scene.registry.subscribe(CancellationToken::new());
    scene.registry.follow(&mut early, &[key("default/payments")], None);
    let sessions = ["one", "two", "three", "four"].map(|id| scene.connect(id));
    report(&sessions[0], State::Open);
    report(&sessions[1], State::Open);
    let hint = scene.look().unwrap();
    scene.look();
    let mut late = scene.registry.subscribe(CancellationToken::new());
    scene.registry.follow(&mut late, &[], Some(&key("default/payments").namespace));
    let mut other = scene.registry.subscribe(CancellationToken::new());
    scene.registry.follow(&mut other, &[key("default/orders")], None);
    for subscription in [&early, &late] {
        let Ok(News::Hint(heard)) = subscription.next().await else { panic!("not told") };
        assert_eq!((&heard, heard.census.open, heard.census.instances), (&hint, 2, 4));
        tokio::time::timeout(TTL, subscription.next()).await.unwrap_err();
    }
    tokio::time::timeout(TTL, other.next()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_hint_waits_for_all_policies_and_the_latest_is_told() {
    let scene = Scene::new().await;
    let mut subscription = scene.registry.subscribe(CancellationToken::new());
    scene.registry.follow(&mut subscription, &[key("default/payments")], None);
    let sessions = ["one", "two"].map(|id| scene.connect(id));
    sessions.iter().for_each(|session| report(session, State::Open));
    let begin = scene.look().unwrap();
    tokio::time::sleep(TTL / 2).await;
    let renewed = scene.look().unwrap();
    assert_eq!((renewed.since, renewed.until), (begin.since, begin.until + TTL / 2));
    scene.set(v1::FleetHintMode::Advisory, v1::IsolationLevel::Enhanced).await;
    assert!(matches!(subscription.next().await, Ok(News::Change(_))));
    assert!(matches!(subscription.next().await, Ok(News::Hint(told)) if told == renewed));
    tokio::time::timeout(Duration::from_millis(1), subscription.next()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_hint_ends_with_its_mode_its_level_and_its_service() {
    use v1::{
        FleetHintMode::{Advisory, Enforce, Off},
        IsolationLevel::{Basic, Enhanced, Full},
    };
    let scene = Scene::new().await;
    let sessions = ["one", "two"].map(|id| scene.connect(id));
    sessions.iter().for_each(|session| report(session, State::Open));
    for (mode, level) in [(Off, Enhanced), (Enforce, Basic)] {
        assert!(scene.look().is_some());
        scene.set(mode, level).await;
        assert_eq!(scene.look(), None);
        scene.set(Advisory, Full).await;
    }
    assert!(scene.look().is_some());
    let request = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    scene.registry.unregister(request).await.unwrap();
    assert_eq!(scene.look(), None);
}

/// The task itself: it hears of breakers by itself, and ends what is over.
#[tokio::test(start_paused = true)]
async fn hints_come_and_go_by_themselves() {
    let Scene { registry, instances } = Scene::new().await;
    let scene = Scene { registry, instances: Arc::clone(&instances) };
    let sessions = ["one", "two"].map(|id| scene.connect(id));
    let registry = Arc::new(scene.registry);
    let task = tokio::spawn(keep(Arc::clone(&registry), instances));
    let payments = key("default/payments");
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(registry.hint(&payments), None);
    sessions.iter().for_each(|session| report(session, State::Open));
    tokio::time::sleep(2 * SETTLING).await;
    let begin = registry.hint(&payments).unwrap();
    tokio::time::sleep(3 * TTL).await;
    let renewed = registry.hint(&payments).unwrap();
    assert_eq!(renewed.since, begin.since);
    report(&sessions[0], State::Closed);
    tokio::time::sleep(TTL / 2 - 2 * INTERVAL).await;
    assert!(registry.hint(&payments).is_some(), "it lasts its time");
    tokio::time::sleep(TTL).await;
    assert_eq!(registry.hint(&payments), None);
    task.abort();
}

/// The written level of a policy without breakers for a time made hints of nothing, and the other way round none.
#[tokio::test(start_paused = true)]
async fn it_is_the_level_of_now_that_counts() {
    let scene = Scene::new().await;
    let sessions = ["one", "two"].map(|id| scene.connect(id));
    sessions.iter().for_each(|session| report(session, State::Open));
    let set = |level: v1::IsolationLevel, ttl: Option<i64>| v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: level.into(),
        ttl: ttl.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    scene.registry.set_level(set(v1::IsolationLevel::Basic, Some(60))).await.unwrap();
    assert_eq!(scene.look(), None);
    scene.registry.set_level(set(v1::IsolationLevel::Basic, None)).await.unwrap();
    scene.registry.set_level(set(v1::IsolationLevel::Full, Some(60))).await.unwrap();
    assert!(scene.look().is_some());
}
