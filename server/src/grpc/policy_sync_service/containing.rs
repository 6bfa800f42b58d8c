//! Whether a policy that instances put back is handed out no more.
//!
//! Two of them are enough, or all there are ([`PutBack::is_enough`]), of all managers: each knows its own at once, and asks
//! the others where its own are not enough. A manager that does not answer may have any number of instances that are
//! content. So then two are needed, and the others are asked again until it is settled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cofferdam_core::{name::ServiceKey, revision::Revision};
use cofferdam_proto::v1;
use tokio::{sync::Notify, time::sleep};

use super::{LOG, Shared};
use crate::{
    events::News,
    instances::{PutBack, Target},
    peers::target_to_wire,
};

/// How long to wait before the others are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// A revision that an instance has put back.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) revision: Revision,
    pub(super) reason: String,
}

/// What the others are still to be asked about.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    services: Mutex<BTreeMap<ServiceKey, Suspicion>>,
    added: Notify,
}

impl Suspicions {
    fn add(&self, key: ServiceKey, suspicion: Suspicion) {
        let mut services = self.lock();
        if services.get(&key).is_none_or(|waiting| waiting.revision <= suspicion.revision) {
            services.insert(key, suspicion);
        }
        drop(services);
        self.added.notify_one();
    }

    /// Nothing between two changes can panic: a poisoned map is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceKey, Suspicion>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Decides on a revision that so many instances here have put back, or leaves it to when the others were asked.
    pub(super) fn judge(&self, key: ServiceKey, suspicion: Suspicion, here: PutBack) {
        if here.count == 0 {
            return;
        }
        let is_alone = self.peers.are_none();
        let known = if is_alone { here } else { PutBack { of: u32::MAX, ..here } };
        if known.is_enough() {
            self.contain(&key, suspicion);
        } else if !is_alone {
            self.suspicions.add(key, suspicion);
        }
    }

    fn contain(&self, key: &ServiceKey, Suspicion { revision, reason }: Suspicion) {
        if self.registry.contain(key, revision, reason.clone()) {
            let ServiceKey { namespace, name } = key;
            let Revision { epoch, revision: number } = revision;
            tracing::error!(target: LOG, %namespace, service = %name, epoch, revision = number, "the policy is contained: it is handed out no more");
            self.registry.events().tell(News::containment(key, revision, reason));
        }
    }

    /// How many have put a revision back, here and elsewhere, and whether all were asked: who was not may have any number
    /// of instances. `None`: it is not the present one, or nobody here has put it back.
    async fn put_back(&self, key: &ServiceKey, revision: Revision) -> Option<(PutBack, bool)> {
        let registered = self.registry.get(key).filter(|registered| registered.revision() == revision)?;
        let (since, hash) = (registered.since(), registered.policy_hash());
        let target =
            Target { key: key.clone(), revision, current: revision, hash, since, is_contained: false, in_place: None };
        let target = target_to_wire(&target);
        let others = self.peers.ask(|mut client, manager_id| {
            // Who it is that lags is of no interest, but with nobody to be named, only those that are done are counted.
            let (targets, max_laggards) = (vec![target.clone()], 1);
            let request = v1::CollectConvergenceRequest { manager_id, targets, max_laggards };
            async move { client.collect_convergence(request).await }
        });
        let others = others.await;
        let here = self.instances.put_back(key, revision);
        let elsewhere = others.parts.iter().flat_map(|(_, part)| &part.services).map(|standing| PutBack {
            count: standing.put_back,
            of: standing.instances.saturating_sub(standing.silent),
        });
        let all = elsewhere.fold(here, PutBack::plus);
        let is_whole = others.unreachable.is_empty();
        let of = if is_whole { all.of } else { u32::MAX };
        (here.count > 0).then_some((PutBack { of, ..all }, is_whole))
    }
}

/// Asks the others about what instances here have put back, for as long as it runs.
pub(super) async fn look_into(shared: Arc<Shared>) {
    loop {
        shared.suspicions.added.notified().await;
        let suspicions = std::mem::take(&mut *shared.suspicions.lock());
        let mut unsettled = Vec::new();
        for (key, suspicion) in suspicions {
            match shared.put_back(&key, suspicion.revision).await {
                Some((all, _)) if all.is_enough() => shared.contain(&key, suspicion),
                Some((_, false)) => unsettled.push((key, suspicion)),
                // One of several, or none any more.
                Some(_) | None => {}
            }
        }
        if !unsettled.is_empty() {
            sleep(PAUSE).await;
            unsettled.into_iter().for_each(|(key, suspicion)| shared.suspicions.add(key, suspicion));
        }
    }
}
