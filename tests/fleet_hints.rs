//! What an instance hears of the breakers of others, and what it makes of it.

use cofferdam::{BreakerState, Cofferdam, Event, Events, Service};
use cofferdam_proto::v1::{
    FleetHintMode, FleetHintPolicy, IsolationLevel, IsolationPolicy, RegisterServiceRequest, RetryPolicy, ServiceStats,
};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Manager, Store, eventually, wire};
use std::time::Duration;

/// So many failures in a row open a breaker for good. Half of them do under a hint.
const FAILURES: u32 = 6;
const INSTANCES: u32 = 4;

/// An instance, and what it is told.
struct Instance {
    service: Service,
    events: Events,
    _cofferdam: Cofferdam,
}

impl Instance {
    async fn succeed(&self, times: u32) {
        for _ in 0..times {
            self.service.execute("Get", || async { Ok::<_, String>(()) }).await.unwrap();
        }
    }

    async fn fail(&self, times: u32) {
        for _ in 0..times {
            self.service.execute("Get", || async { Err::<(), _>("broken".to_owned()) }).await.unwrap_err();
        }
    }

    fn is_open(&self) -> bool {
        self.service.breaker_state() == Some(BreakerState::Open)
    }

    async fn hears(&self) {
        eventually("a hint", async || self.service.fleet_hint().ok_or(())).await;
    }

    /// The next event of a kind.
    async fn told<T>(&mut self, is_it: impl Fn(Event) -> Option<T>) -> T {
        loop {
            if let Some(told) = is_it(self.events.next().await.unwrap()) {
                return told;
            }
        }
    }
}

struct Scene {
    manager: Manager,
    instances: Vec<Instance>,
}

impl Scene {
    /// A service whose policy says this of hints, and instances that have it in force and have reported so.
    async fn new(mode: FleetHintMode) -> Self {
        let manager = Manager::start(Store::Memory).await;
        let policy = IsolationPolicy {
            retry: Some(RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() }),
            fleet_hint: Some(FleetHintPolicy { mode: mode.into(), ..FleetHintPolicy::default() }),
            ..wire::breaker(FAILURES, Duration::from_secs(3600))
        };
        let request =
            RegisterServiceRequest { policy: Some(policy), ..registration("payments", IsolationLevel::Enhanced) };
        manager.client().register(request).await.unwrap();
        let mut scene = Self { manager, instances: Vec::new() };
        for number in 0..INSTANCES {
            let id = format!("checkout-{number}");
            let cofferdam = Cofferdam::builder("checkout").manager(scene.manager.url()).instance_id(id).start();
            let (service, events) = (cofferdam.service("payments"), cofferdam.events());
            eventually("the policy", async || service.revision().ok_or(())).await;
            let instance = Instance { service, events, _cofferdam: cofferdam };
            instance.succeed(1).await;
            scene.instances.push(instance);
        }
        scene.reported(u64::from(INSTANCES)).await;
        scene
    }

    async fn stats(&self) -> ServiceStats {
        self.manager.client().info("payments").await.unwrap().stats.unwrap()
    }

    /// Waits until the manager has heard of so many calls, and of how their instances stand since.
    async fn reported(&self, calls: u64) -> ServiceStats {
        eventually("every call to be reported", async || {
            let stats = self.stats().await;
            if stats.counters.unwrap_or_default().calls == calls { Ok(stats) } else { Err(stats) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_the_fleet_shortens_the_trip_of_the_rest_and_one_bad_node_changes_nothing() {
    let mut scene = Scene::new(FleetHintMode::Enforce).await;
    let [bad, second, third, fourth] = &mut scene.instances[..] else { panic!("there are four") };

    bad.fail(FAILURES).await;
    assert!(bad.is_open());
    // It goes on and on about it.
    let calls = u64::from(INSTANCES + FAILURES);
    for calls in calls + 1..=calls + 3 {
        bad.fail(1).await;
        let asking = async || {
            let stats = scene.manager.client().info("payments").await.unwrap().stats.unwrap();
            if stats.counters.unwrap_or_default().calls == calls { Ok(stats) } else { Err(stats) }
        };
        let stats = eventually("what it says", asking).await;
        assert_eq!((stats.open_instances, stats.fleet_hint), (1, None));
    }
    second.fail(FAILURES - 1).await;
    assert!(!second.is_open(), "one bad node shortens nobody's trip");
    for instance in [&bad, &second, &third, &fourth] {
        assert_eq!(instance.service.fleet_hint(), None);
    }

    second.fail(1).await;
    assert!(second.is_open());
    third.hears().await;
    fourth.hears().await;
    let hint = third.told(|event| if let Event::FleetHint { hint, .. } = event { Some(hint) } else { None }).await;
    assert_eq!((hint.open_instances, hint.instances, hint.is_enforced), (2, INSTANCES, true));

    third.succeed(10).await;
    third.fail(FAILURES / 2 - 1).await;
    assert!(!third.is_open());
    third.fail(1).await;
    assert!(third.is_open(), "half of its failures are enough");
    let transition = |event| match event {
        Event::Transition { to: BreakerState::Open, is_hinted, .. } => Some(is_hinted),
        _ => None,
    };
    assert!(third.told(transition).await, "it says that it was for the hint");
    assert!(!second.told(transition).await, "and that it was not");
    fourth.succeed(100).await;
    assert!(!fourth.is_open(), "without a failure of its own nothing opens");

    let shown = eventually("operators to see it", async || {
        let stats = scene.manager.client().info("payments").await.unwrap().stats.unwrap();
        stats.fleet_hint.filter(|hint| hint.open_instances == 3).ok_or(())
    })
    .await;
    assert_eq!((shown.mode(), shown.instances), (FleetHintMode::Enforce, INSTANCES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advisory_hint_is_told_and_changes_nothing() {
    let mut scene = Scene::new(FleetHintMode::Advisory).await;
    for instance in &scene.instances[..2] {
        instance.fail(FAILURES).await;
        assert!(instance.is_open());
    }
    let third = &mut scene.instances[2];
    let hint = third.told(|event| if let Event::FleetHint { hint, .. } = event { Some(hint) } else { None }).await;
    assert_eq!((hint.open_instances, hint.instances, hint.is_enforced), (2, INSTANCES, false));
    third.fail(FAILURES - 1).await;
    assert!(!third.is_open());
    third.fail(1).await;
    let transition = |event| match event {
        Event::Transition { to: BreakerState::Open, is_hinted, .. } => Some(is_hinted),
        _ => None,
    };
    assert!(!third.told(transition).await);
}
