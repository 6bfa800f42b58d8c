//! Who hears of which change.
//!
//! A subscriber has one mailbox with one slot per service: a newer change replaces the one that was not taken yet. So
//! a slow subscriber gets the newest policy and never a queue of old ones, costs no more memory than the services it
//! follows, and is never waited for. A mailbox that would still outgrow its bound (services that come and go by the
//! thousand) is emptied and closed, and its subscriber starts over. One that takes nothing for too long is hung up on.
//!
//! Fleet hints have slots of their own beside these, and are taken last: no policy waits for one, and one never comes ahead
//! of the policy that says what it does. The hints in force are kept here, for those who come later.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cofferdam_core::name::{Name, ServiceKey};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{hints::Hint, registry::Change};

/// Slots of one mailbox: twice the services that an instance may follow.
const MAX_SLOTS: usize = 20_000;

/// Delivers changes to the mailboxes of those who follow their service.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    index: Mutex<Index>,
}

/// Changes on their way to streams, since this manager started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Streams there are now.
    pub streams: usize,
    /// Changes put into the mailbox of a stream.
    pub pushed: u64,
    /// Those of them that took the place of one which was not taken yet.
    pub coalesced: u64,
    /// Streams whose mailbox outgrew its bound.
    pub overrun: u64,
    /// Streams that were hung up on, because they took nothing for too long.
    pub stalled: u64,
}

#[derive(Debug, Default)]
struct Index {
    by_service: HashMap<ServiceKey, BTreeMap<u64, Arc<Mailbox>>>,
    by_namespace: HashMap<Name, BTreeMap<u64, Arc<Mailbox>>>,
    mailboxes: HashMap<u64, (Arc<Mailbox>, CancellationToken)>,
    last_id: u64,
    hints: BTreeMap<ServiceKey, Arc<Hint>>,
    /// All but the streams.
    deliveries: Deliveries,
}

/// What became of news that was put into a mailbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    Added,
    /// It took another's place.
    Replaced,
    /// There was no room: it was closed.
    Overrun,
    /// It is closed.
    Refused,
}

/// One subscriber's changes that were not taken yet.
#[derive(Debug, Default)]
struct Mailbox {
    slots: Mutex<Slots>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    changes: BTreeMap<ServiceKey, Change>,
    hints: BTreeMap<ServiceKey, Arc<Hint>>,
    /// Since when there is something to take and nothing was taken.
    waiting_since: Option<Instant>,
    closed: bool,
}

/// Something to tell a subscriber.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// A policy is another, or gone.
    Change(Change),
    /// Breakers have opened elsewhere.
    Hint(Arc<Hint>),
}

/// The receiving end. Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct Subscription {
    id: u64,
    fanout: Arc<Fanout>,
    mailbox: Arc<Mailbox>,
    services: HashSet<ServiceKey>,
    namespace: Option<Name>,
}

/// The mailbox was closed because its subscriber did not keep up: start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber did not keep up")]
pub(crate) struct Overrun;

impl Fanout {
    /// A subscription to nothing yet. `hang_up` ends the subscriber's connection.
    pub(crate) fn subscribe(self: &Arc<Self>, hang_up: CancellationToken) -> Subscription {
        let mailbox = Arc::<Mailbox>::default();
        let mut index = lock(&self.index);
        index.last_id += 1;
        let id = index.last_id;
        index.mailboxes.insert(id, (Arc::clone(&mailbox), hang_up));
        Subscription { id, fanout: Arc::clone(self), mailbox, services: HashSet::new(), namespace: None }
    }

    /// Hangs up on those for whom something has been waiting so long with nothing taken. A subscriber that does not
    /// read is not even asked for more by its transport, so it cannot find this out by itself.
    pub(crate) fn hang_up_on_stalled(&self, patience: Duration) -> usize {
        let stalled =
            |mailbox: &Mailbox| lock(&mailbox.slots).waiting_since.is_some_and(|since| since.elapsed() >= patience);
        let mut index = lock(&self.index);
        let stalled = index.mailboxes.values().filter(|(mailbox, hang_up)| !hang_up.is_cancelled() && stalled(mailbox));
        let count = stalled.map(|(_, hang_up)| hang_up.cancel()).count();
        index.deliveries.stalled += count as u64;
        count
    }

    /// How many changes went to how many streams.
    pub(crate) fn deliveries(&self) -> Deliveries {
        let index = lock(&self.index);
        Deliveries { streams: index.mailboxes.len(), ..index.deliveries }
    }

    /// Delivers a change. Never waits for a subscriber.
    pub(crate) fn publish(&self, change: &Change) {
        let mut index = lock(&self.index);
        let by_service = index.by_service.get(change.key()).into_iter();
        let by_namespace = index.by_namespace.get(&change.key().namespace).into_iter();
        let mut deliveries = index.deliveries;
        for mailbox in by_service.chain(by_namespace).flat_map(BTreeMap::values) {
            deliveries.count(mailbox.fill(News::Change(change.clone())));
        }
        index.deliveries = deliveries;
    }

    /// The services that somebody follows by name.
    pub(crate) fn followed(&self) -> Vec<ServiceKey> {
        lock(&self.index).by_service.keys().cloned().collect()
    }

    /// Delivers a hint, to those as well who come while it is in force. Never waits for a subscriber.
    pub(crate) fn give_hint(&self, hint: Hint) {
        let (hint, mut index) = (Arc::new(hint), lock(&self.index));
        index.hints.insert(hint.key.clone(), Arc::clone(&hint));
        let by_service = index.by_service.get(&hint.key).into_iter();
        let by_namespace = index.by_namespace.get(&hint.key.namespace).into_iter();
        for mailbox in by_service.chain(by_namespace).flat_map(BTreeMap::values) {
            mailbox.fill(News::Hint(Arc::clone(&hint)));
        }
    }

    /// Forgets a hint. Those who have it are told nothing: it ends for them by itself.
    pub(crate) fn end_hint(&self, key: &ServiceKey) {
        lock(&self.index).hints.remove(key);
    }

    /// The hint of a service, if one is in force.
    pub(crate) fn hint(&self, key: &ServiceKey) -> Option<Arc<Hint>> {
        lock(&self.index).hints.get(key).cloned()
    }

    /// All hints in force.
    pub(crate) fn hints(&self) -> Vec<Arc<Hint>> {
        lock(&self.index).hints.values().cloned().collect()
    }
}

impl Deliveries {
    fn count(&mut self, filled: Filled) {
        self.pushed += u64::from(matches!(filled, Filled::Added | Filled::Replaced));
        self.coalesced += u64::from(filled == Filled::Replaced);
        self.overrun += u64::from(filled == Filled::Overrun);
    }
}

impl News {
    /// The service that it is about.
    pub(crate) fn key(&self) -> &ServiceKey {
        match self {
            Self::Change(change) => change.key(),
            Self::Hint(hint) => &hint.key,
        }
    }
}

impl Slots {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.hints.is_empty()
    }

    /// Takes note that something may have been taken.
    fn taken(&mut self) {
        // A map that has become empty keeps room for some, and there are thousands of mailboxes.
        if self.changes.is_empty() {
            self.changes = BTreeMap::new();
        }
        if self.hints.is_empty() {
            self.hints = BTreeMap::new();
        }
        self.waiting_since = if self.is_empty() { None } else { Some(Instant::now()) };
    }
}

impl Index {
    fn remove(&mut self, key: &ServiceKey, id: u64) {
        if let Some(mailboxes) = self.by_service.get_mut(key) {
            mailboxes.remove(&id);
            if mailboxes.is_empty() {
                self.by_service.remove(key);
            }
        }
    }
}

impl Mailbox {
    fn fill(&self, news: News) -> Filled {
        let mut slots = lock(&self.slots);
        if slots.closed {
            return Filled::Refused;
        }
        let key = news.key().clone();
        let has_replaced = match news {
            News::Change(change) => slots.changes.insert(key, change).is_some(),
            News::Hint(hint) => slots.hints.insert(key, hint).is_some(),
        };
        let mut filled = if has_replaced { Filled::Replaced } else { Filled::Added };
        if slots.changes.len() + slots.hints.len() > MAX_SLOTS {
            (slots.changes, slots.hints) = (BTreeMap::new(), BTreeMap::new());
            slots.closed = true;
            filled = Filled::Overrun;
        }
        if slots.waiting_since.is_none() {
            slots.waiting_since = Some(Instant::now());
        }
        drop(slots);
        self.filled.notify_one();
        filled
    }

    fn discard(&self, key: &ServiceKey) {
        let mut slots = lock(&self.slots);
        slots.changes.remove(key);
        slots.hints.remove(key);
        if slots.is_empty() {
            slots.waiting_since = None;
        }
    }

    fn take(&self) -> Result<Option<News>, Overrun> {
        let mut slots = lock(&self.slots);
        if slots.closed {
            return Err(Overrun);
        }
        let change = slots.changes.pop_first().map(|(_, change)| News::Change(change));
        let taken = change.or_else(|| slots.hints.pop_first().map(|(_, hint)| News::Hint(hint)));
        slots.taken();
        Ok(taken)
    }

    /// A change alone: hints come last.
    fn take_change(&self) -> Result<Option<Change>, Overrun> {
        let mut slots = lock(&self.slots);
        if slots.closed {
            return Err(Overrun);
        }
        let taken = slots.changes.pop_first().map(|(_, change)| change);
        slots.taken();
        Ok(taken)
    }
}

impl Subscription {
    /// Follows a service from now on; following it twice changes nothing.
    pub(crate) fn follow(&mut self, key: ServiceKey) {
        let mut index = lock(&self.fanout.index);
        let mailbox = Arc::clone(&self.mailbox);
        if let Some(hint) = index.hints.get(&key) {
            mailbox.fill(News::Hint(Arc::clone(hint)));
        }
        index.by_service.entry(key.clone()).or_default().insert(self.id, mailbox);
        self.services.insert(key);
    }

    /// Follows a service no more, other than as part of a namespace. A change of it that waits is not told.
    pub(crate) fn unfollow(&mut self, key: &ServiceKey) {
        if !self.services.remove(key) {
            return;
        }
        lock(&self.fanout.index).remove(key, self.id);
        if self.namespace.as_ref() != Some(&key.namespace) {
            self.mailbox.discard(key);
        }
    }

    /// Follows every service of a namespace from now on, those to come included.
    pub(crate) fn follow_namespace(&mut self, namespace: Name) {
        let mut index = lock(&self.fanout.index);
        for hint in index.hints.values().filter(|hint| hint.key.namespace == namespace) {
            self.mailbox.fill(News::Hint(Arc::clone(hint)));
        }
        index.by_namespace.entry(namespace.clone()).or_default().insert(self.id, Arc::clone(&self.mailbox));
        self.namespace = Some(namespace);
    }

    /// The next change, by name where several wait; where none does, the next hint. Cancel-safe.
    ///
    /// # Errors
    /// [`Overrun`], for ever, once the mailbox was closed.
    pub(crate) async fn next(&self) -> Result<News, Overrun> {
        loop {
            if let Some(news) = self.mailbox.take()? {
                return Ok(news);
            }
            self.mailbox.filled.notified().await;
        }
    }

    /// A change that waits, by name where several do.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub(crate) fn try_next(&self) -> Result<Option<Change>, Overrun> {
        self.mailbox.take_change()
    }

    /// Whether no change waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        let slots = lock(&self.mailbox.slots);
        slots.changes.is_empty() && !slots.closed
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut index = lock(&self.fanout.index);
        index.mailboxes.remove(&self.id);
        for key in &self.services {
            index.remove(key, self.id);
        }
        if let Some(namespace) = &self.namespace
            && let Some(mailboxes) = index.by_namespace.get_mut(namespace)
        {
            mailboxes.remove(&self.id);
            if mailboxes.is_empty() {
                index.by_namespace.remove(namespace);
            }
        }
    }
}

/// Nothing between two changes of what these locks guard can panic: a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
