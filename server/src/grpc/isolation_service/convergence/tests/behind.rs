//! A manager that has not heard yet, or cannot hear, what another one has written.

use std::{sync::Arc, time::Duration};

use cofferdam_core::wire::{duration_to_wire, revision_from_wire};
use cofferdam_proto::v1::{self, WaitForConvergenceRequest, WaitForConvergenceResponse};
use tokio_util::sync::CancellationToken;

use crate::{
    execute::{Executor, Fence},
    grpc::isolation_service::IsolationApi,
    instances::{Instances, Session},
    peers::{Local, Peers},
    registry::Registry,
    testing::{FaultyStore, eventually, key, registration, registry},
};

/// Two managers over one store, and one instance at the first, which has the policy of `payments` in force.
struct World {
    store: Arc<FaultyStore>,
    here: Arc<Registry>,
    there: Registry,
    api: IsolationApi,
    session: Session,
}

impl World {
    async fn new() -> Self {
        let store = FaultyStore::new();
        let (here, there) = (Arc::new(registry(&store).await), registry(&store).await);
        here.register(registration("payments")).await.unwrap();
        eventually(&there, || there.get(&key("default/payments")).is_some()).await;
        let instances = Arc::new(Instances::new(10, Duration::ZERO));
        let executor = Arc::new(Executor::new(Arc::clone(&here), Fence::loopback_except(Vec::new())));
        let local = Local::new(Arc::clone(&here), Arc::clone(&instances), executor);
        let api = IsolationApi::new(local, Peers::alone(), CancellationToken::new());
        let session = instances.connect("one", "app", key("default/payments").namespace).unwrap();
        session.follow([(&key("default/payments"), true)]).unwrap();
        let world = Self { store, here, there, api, session };
        world.apply();
        world
    }

    /// The instance has in force what the first manager knows.
    fn apply(&self) {
        let payments = key("default/payments");
        let registered = self.here.get(&payments).unwrap();
        self.session.applied(&payments, registered.revision(), registered.policy_hash());
    }

    /// The second manager changes the policy, and the first one hears nothing.
    async fn change_unheard(&self) -> v1::Revision {
        self.store.set_deaf(true);
        let level = v1::SetIsolationLevelRequest {
            service: "payments".to_owned(),
            level: v1::IsolationLevel::Full.into(),
            ..v1::SetIsolationLevelRequest::default()
        };
        let changed = self.there.set_level(level).await.unwrap().service.unwrap().revision.unwrap();
        assert!(self.here.get(&key("default/payments")).unwrap().revision() < revision_from_wire(changed));
        changed
    }

    async fn wait(&self, service: &str) -> WaitForConvergenceResponse {
        let timeout = Some(duration_to_wire(Duration::from_secs(5)));
        let request = WaitForConvergenceRequest { service: service.to_owned(), timeout, ..Default::default() };
        self.api.wait_for_convergence(&request).await.unwrap()
    }
}

/// A service, and a namespace.
const SCOPES: [&str; 2] = ["payments", ""];

#[tokio::test(start_paused = true)]
async fn what_another_manager_has_just_written_is_what_is_waited_for() {
    for scope in SCOPES {
        let world = World::new().await;
        let changed = world.change_unheard().await;
        let answer = world.wait(scope).await;
        assert!(!answer.reached, "{answer:?}");
        assert_eq!(answer.convergence.unwrap().services[0].revision, Some(changed));
        world.apply();
        assert!(world.wait(scope).await.reached);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_say_what_is_present_nothing_is_reached() {
    for scope in SCOPES {
        let world = World::new().await;
        assert!(world.wait(scope).await.reached);
        world.change_unheard().await;
        world.store.set_away(true);
        let answer = world.wait(scope).await;
        assert!(!answer.reached && answer.convergence.unwrap().stale_for.is_some(), "it may have been changed");

        let back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.store.set_away(false);
            eventually(&world.here, || world.here.stale_for().is_none()).await;
            world.apply();
        };
        let (answer, ()) = tokio::join!(world.wait(scope), back);
        assert!(answer.reached, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_named_needs_no_store() {
    let world = World::new().await;
    let revision = world.here.get(&key("default/payments")).unwrap().revision();
    world.store.set_away(true);
    let request = WaitForConvergenceRequest {
        service: "payments".to_owned(),
        revision: Some(cofferdam_core::wire::revision_to_wire(revision)),
        ..Default::default()
    };
    assert!(world.api.wait_for_convergence(&request).await.unwrap().reached);
}
