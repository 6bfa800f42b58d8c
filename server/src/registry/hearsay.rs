//! What instances say of the store: the only witnesses of a store that went back while no manager ran.
//!
//! A backup that was put in the place of a store brings its old epoch with it. A manager that was there before sees that
//! the revision is lower than it was; one that has started since cannot. But an instance may have a policy in force whose
//! revision this store cannot have given out: of a later epoch, or of this one and beyond its head, or beyond the revision
//! of a service that is there. Memory may only lag behind the store, so the store itself is read before that is believed.
//! Then a new epoch begins, beyond the one that was seen, and with it every instance gets everything anew.
//!
//! An instance can lie, or come from another Cofferdam. So what it says is believed only where an epoch could be as late
//! (an epoch is a time, so none is in the future), at most [`MAX_EPOCHS`] times in [`PERIOD`] by one manager, and the
//! store is asked once a second at most, whatever is said meanwhile. The worst that a liar can do is to have everybody told
//! everything three times in half an hour by each manager that hears it, and again after a manager has started anew.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use cofferdam_core::name::ServiceKey;
use tokio::{sync::Notify, time::Instant};

use super::{
    Registry, Revision, Shared,
    epoch::{self, EpochError},
    key,
};
use crate::store::StoreError;

/// How many epochs begin on hearsay, at most, in [`PERIOD`].
const MAX_EPOCHS: usize = 3;
const PERIOD: Duration = Duration::from_secs(30 * 60);

/// How much later than the time of day an epoch may be, in milliseconds: clocks of managers differ.
const MAX_AHEAD: u64 = 24 * 60 * 60 * 1000;

/// How many services' revisions wait to be looked at.
const MAX_CLAIMS: usize = 64;

/// How long to wait before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What instances have said that memory cannot explain.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    claims: Mutex<BTreeMap<ServiceKey, Revision>>,
    /// How often something was said that memory could not explain.
    pub(super) doubts: AtomicU64,
    said: Notify,
}

impl Registry {
    /// An instance has this revision of a service in force. Since when it is the present one; `None`: it is not.
    pub(crate) fn heard_of(&self, key: &ServiceKey, revision: Revision) -> Option<Instant> {
        let (explains, since) = {
            let catalog = self.shared.read();
            let service = catalog.service(key);
            // A service may be there before the head is: a manager's own writes are in memory before the watch tells them.
            let latest = service.map_or_else(|| catalog.at(catalog.head), |service| service.revision());
            let explains = revision <= latest;
            (explains, service.filter(|service| revision == service.revision()).map(|service| service.since()))
        };
        if explains {
            return since;
        }
        self.shared.hearsay.doubts.fetch_add(1, Relaxed);
        // Here, so that what cannot be takes no place from what can.
        if revision.epoch > self.shared.clock.unix_millis().saturating_add(MAX_AHEAD) {
            tracing::debug!(service = %key, %revision, "an instance has a policy of the far future: not believed");
            return None;
        }
        self.shared.hearsay.claim(key, revision);
        None
    }
}

impl Registry {
    /// The revision of a service that there is, where another is later: a manager has never handed that out.
    pub(crate) fn surpassed(&self, key: &ServiceKey, revision: Revision) -> Option<Revision> {
        self.get(key).map(|registered| registered.revision()).filter(|latest| revision > *latest)
    }
}

impl Hearsay {
    fn claim(&self, key: &ServiceKey, revision: Revision) {
        let mut claims = self.lock();
        let is_new = !claims.contains_key(key);
        if is_new && claims.len() >= MAX_CLAIMS {
            return;
        }
        let claim = claims.entry(key.clone()).or_insert(revision);
        *claim = revision.max(*claim);
        drop(claims);
        self.said.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceKey, Revision>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks into what instances say, for as long as it runs.
pub(super) async fn look_into(shared: Arc<Shared>) {
    let mut begun = VecDeque::new();
    loop {
        shared.hearsay.said.notified().await;
        let mut claims = std::mem::take(&mut *shared.hearsay.lock()).into_iter();
        while let Some((key, revision)) = claims.next() {
            match shared.judge(&key, revision, &mut begun).await {
                Ok(false) => {}
                // What else was said was of the epoch before.
                Ok(true) => break,
                Err(error) => {
                    tracing::warn!(%error, "what an instance says of the store cannot be looked into: tried again");
                    // Instances say it only once.
                    let rest = std::iter::once((key, revision)).chain(claims.by_ref());
                    rest.for_each(|(key, revision)| shared.hearsay.claim(&key, revision));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Shared {
    /// Whether this store cannot have given out a revision.
    async fn is_beyond(&self, key: &ServiceKey, revision: Revision) -> Result<bool, StoreError> {
        // Read before the rest: what comes to be known later only makes the store look newer.
        let epoch = epoch::current(&*self.store).await?;
        let service = key::service(key);
        let listing = self.store.list(&service).await?;
        let entry = listing.entries.iter().find(|entry| entry.key == service);
        let is_beyond = match epoch {
            Some(epoch) if revision.epoch == epoch => {
                revision.revision > listing.revision.get()
                    || entry.is_some_and(|entry| entry.mod_revision.get() < revision.revision)
            }
            Some(epoch) => revision.epoch > epoch,
            // It is about to be made.
            None => false,
        };
        Ok(is_beyond)
    }

    /// Whether an epoch has begun on what was said.
    async fn judge(
        &self,
        key: &ServiceKey,
        revision: Revision,
        begun: &mut VecDeque<Instant>,
    ) -> Result<bool, EpochError> {
        if !self.is_beyond(key, revision).await? {
            return Ok(false);
        }
        let now = Instant::now();
        while begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= PERIOD) {
            begun.pop_front();
        }
        if begun.len() >= MAX_EPOCHS {
            tracing::warn!(service = %key, %revision, epochs = begun.len(), "an instance has a policy that this store never had: not believed");
            return Ok(false);
        }
        let has_begun = epoch::raise(&*self.store, &*self.clock, revision.epoch).await?;
        if has_begun {
            begun.push_back(now);
            let epochs = begun.len();
            tracing::warn!(service = %key, %revision, epochs, "an instance has a policy that this store never had: the store was restored, revisions start a new epoch");
        }
        Ok(has_begun)
    }
}

#[cfg(test)]
mod tests;
