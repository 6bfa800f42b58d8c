//! What nobody says and has to be looked for: that a policy is in force at all instances, that orders have run out, that
//! instances have been silent.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use cofferdam_core::{name::ServiceKey, revision::Revision};
use cofferdam_proto::v1;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::News;
use crate::{
    instances::{Instances, Target},
    registry::{Registered, Registry},
};

/// How often to look, at least.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait after something has moved: where one instance has acknowledged a policy, others do.
const SETTLING: Duration = Duration::from_millis(500);

/// How long a policy may be not in force at some instance before that is told: one that starts gets it sooner.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// How long after it has begun to stop a manager tells that it does, at most: what instances report in their last words comes
/// before.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// Tells that the manager at `address` serves, looks until `drain` fires, and tells that it stops, in time for others to hear of
/// it within `grace`.
pub(crate) async fn keep(
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    address: Option<String>,
    drain: CancellationToken,
    grace: Duration,
) {
    let events = Arc::clone(registry.events());
    let address = address.unwrap_or_default();
    let own = |change| News::manager(change, events.manager_id(), &address, "");
    events.tell(own(v1::ManagerChange::Started));
    tokio::select! {
        () = look(&registry, &instances) => {}
        () = async {
            drain.cancelled().await;
            sleep(FAREWELL.min(grace / 2)).await;
        } => {}
    }
    events.close(own(v1::ManagerChange::Stopped));
}

async fn look(registry: &Registry, instances: &Instances) {
    let (mut progress, mut version) = (instances.progress(), registry.version());
    let mut convergence = Convergence::default();
    loop {
        progress.borrow_and_update();
        version.borrow_and_update();
        convergence.look(registry, instances, Instant::now());
        registry.tell_expired();
        instances.tell_silent();
        registry.events().take_turns();
        let moved = async {
            tokio::select! {
                _ = progress.changed() => {}
                _ = version.changed() => {}
            }
        };
        if timeout(INTERVAL, moved).await.is_ok() {
            sleep(SETTLING).await;
        }
    }
}

/// What was told of each service that instances use.
#[derive(Debug, Default)]
pub(super) struct Convergence {
    services: HashMap<ServiceKey, Told>,
}

/// What was told of a service.
#[derive(Debug)]
struct Told {
    revision: Revision,
    is_reached: bool,
    /// Since when it is not so any more.
    lost: Option<Instant>,
}

impl Convergence {
    /// Looks at every service that instances use.
    pub(super) fn look(&mut self, registry: &Registry, instances: &Instances, now: Instant) {
        let used = instances.all_used();
        for key in &used {
            if let Some(registered) = registry.get(key) {
                self.look_at(&registered, registry, instances, now);
            }
        }
        if self.services.len() > used.len() {
            let used: HashSet<_> = used.into_iter().collect();
            self.services.retain(|key, _| used.contains(key));
        }
    }

    fn look_at(&mut self, registered: &Registered, registry: &Registry, instances: &Instances, now: Instant) {
        let (key, revision) = (registered.key(), registered.revision());
        let target = Target {
            key: key.clone(),
            revision,
            current: revision,
            hash: registered.policy_hash(),
            since: registered.since(),
            is_contained: registered.containment().is_some(),
            in_place: None,
        };
        let (applied, all) = instances.applied(&target);
        if all == 0 {
            return;
        }
        let told = self.services.entry(key.clone());
        let told = told.or_insert(Told { revision, is_reached: false, lost: None });
        if told.revision != revision {
            *told = Told { revision, is_reached: false, lost: None };
        }
        let is_news = match (applied == all, told.is_reached) {
            (true, false) => {
                *told = Told { is_reached: true, lost: None, revision };
                true
            }
            (true, true) => {
                told.lost = None;
                false
            }
            (false, true) => {
                let lost = *told.lost.get_or_insert(now);
                let is_lost = now.saturating_duration_since(lost) >= LOST_AFTER;
                told.is_reached = !is_lost;
                is_lost
            }
            (false, false) => false,
        };
        if is_news {
            registry.events().tell(News::convergence(key, revision, applied, all));
        }
    }
}
