//! What has happened, for whoever wants to hear of it.
//!
//! Each manager keeps what it has seen in a ring of its own, in memory and in order, and numbers it. Whoever tells the ring
//! something does so in a few steps under a lock of its own, whoever may be watching: watchers come to the ring and read, at
//! their own pace, and one that is too slow finds that the ring has moved on, and by how much. So nobody waits for a
//! watcher, and none is told less without a word.
//!
//! **Everything is told by one manager.** What happens at an instance is told by the manager that the instance is connected
//! to. A change of a service is known to all managers that share the store, and is told by the one that has written it,
//! whose id stands in the record of the change; what nobody wrote, such as a hold that runs out, by the first of them, by
//! their ids. The others keep it for a while (`events/turn.rs`), and where the one whose turn it was is gone, the
//! first of those that are left tells it: twice perhaps, but not never.
//!
//! A fleet's events are the rings of all its managers. They are brought together by whoever is asked
//! (`grpc/isolation_service/events.rs`), and a cursor says of each ring how far it was read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use cofferdam_proto::v1;
use tokio::{sync::watch, time::Instant};

use crate::clock::Clock;

mod cursor;
mod filter;
mod log;
pub(crate) mod news;
mod observe;
mod turn;

pub(crate) use self::{
    cursor::{Cursor, NoCursor},
    filter::{Filter, time_of},
    log::Page,
    news::News,
    observe::keep,
};

use self::{log::Log, turn::Turns};

/// The longest ago that something has happened, whatever a clock says.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// What bounds the events of a manager.
#[derive(Clone, Copy, Debug)]
pub struct EventsOptions {
    /// How many events are kept, in as many KiB together. Default 10,000.
    pub keep: usize,
    /// Whether other managers may share the store. Default: no.
    pub is_shared: bool,
}

impl Default for EventsOptions {
    fn default() -> Self {
        Self { keep: 10_000, is_shared: false }
    }
}

/// What a manager has to tell.
#[derive(Debug)]
pub struct Events {
    id: String,
    clock: Arc<dyn Clock>,
    is_shared: bool,
    inner: Mutex<Inner>,
    /// The number of the last event; changes once more when there will be no other.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    turns: Turns,
    is_closed: bool,
}

impl Events {
    /// None yet, of a manager that has just made up its id.
    pub fn new(clock: Arc<dyn Clock>, options: EventsOptions) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        let inner = Inner { log: Log::new(options.keep), turns: Turns::default(), is_closed: false };
        Self { id, clock, is_shared: options.is_shared, inner: Mutex::new(inner), last: watch::Sender::new(0) }
    }

    /// The id of this manager.
    pub fn manager_id(&self) -> &str {
        &self.id
    }

    /// What the wall clock reads.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Tells something that happened now.
    pub(crate) fn tell(&self, news: News) {
        self.tell_at(news, Duration::ZERO);
    }

    /// Tells something that happened so long ago; a day ago, where somebody says that it was longer.
    pub(crate) fn tell_at(&self, news: News, age: Duration) {
        let now = self.clock.now();
        let event = news.at(now.checked_sub(age.min(MAX_AGE)).unwrap_or(now));
        self.push(&mut self.lock(), event);
    }

    /// Tells what every manager knows of, if it is this one's turn: it is the turn of `teller`, and where nobody knows that
    /// one, or `None` is said, of the first. Otherwise it is kept, in case that the one whose turn it is goes before it
    /// has told it.
    pub(crate) fn leave_to(&self, teller: Option<&str>, news: News, at: SystemTime) {
        let event = news.at(at);
        let mut inner = self.lock();
        if !self.is_shared || teller == Some(self.id.as_str()) {
            return self.push(&mut inner, event);
        }
        let age = self.clock.now().duration_since(at).unwrap_or_default();
        if let Some(event) = inner.turns.keep(&self.id, teller, event, age, Instant::now()) {
            self.push(&mut inner, event);
        }
    }

    /// How much more can be left to others at the moment, at least.
    pub(crate) fn room(&self) -> usize {
        if self.is_shared { self.lock().turns.room() } else { usize::MAX }
    }

    /// Tells what is kept and is this manager's turn by now.
    pub(crate) fn take_turns(&self) {
        let mut inner = self.lock();
        for event in inner.turns.due(&self.id, Instant::now()) {
            self.push(&mut inner, event);
        }
    }

    /// Another manager is there, or can be reached again.
    pub(crate) fn manager_is_there(&self, id: &str, address: &str) {
        let mut inner = self.lock();
        if inner.turns.found(id, Instant::now()) {
            let news = News::manager(v1::ManagerChange::Reachable, id, address, "");
            self.push(&mut inner, news.at(self.clock.now()));
        }
    }

    /// Another manager cannot be reached.
    pub(crate) fn manager_is_away(&self, id: &str, address: &str, reason: &str) {
        let mut inner = self.lock();
        if inner.turns.lost(id, Instant::now()) {
            let news = News::manager(v1::ManagerChange::Unreachable, id, address, reason);
            self.push(&mut inner, news.at(self.clock.now()));
        }
    }

    /// Another manager is gone.
    pub(crate) fn manager_is_gone(&self, id: &str, address: &str) {
        self.lock().turns.gone(id, Instant::now());
        self.leave_to(None, News::manager(v1::ManagerChange::Gone, id, address, ""), self.clock.now());
    }

    /// The last event: there will never be another one.
    pub(crate) fn close(&self, news: News) {
        let mut inner = self.lock();
        self.push(&mut inner, news.at(self.clock.now()));
        inner.is_closed = true;
        drop(inner);
        self.last.send_modify(|_| {});
    }

    /// The number of the last event; wakes those who wait for another, or for the end.
    pub(crate) fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// How many wait for such news.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.last.receiver_count()
    }

    /// What there is after an event, the oldest first, and at most `max` of it.
    pub(crate) fn after(&self, number: u64, max: usize, filter: &Filter) -> Page {
        let inner = self.lock();
        Page { is_closed: inner.is_closed, ..inner.log.after(number, max, filter) }
    }

    /// The newest of what is kept, at most `max`, the oldest first.
    pub(crate) fn newest(&self, max: usize, filter: &Filter) -> Page {
        let inner = self.lock();
        Page { is_closed: inner.is_closed, ..inner.log.newest(max, filter) }
    }

    fn push(&self, inner: &mut Inner, mut event: v1::Event) {
        if inner.is_closed {
            return;
        }
        let number = inner.log.last() + 1;
        event.id = format!("{}-{number}", self.id);
        event.manager_id.clone_from(&self.id);
        inner.log.push(event);
        self.last.send_replace(number);
    }

    /// Nothing between two steps of a change can panic: a poisoned state is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of an event, by its id.
pub(crate) fn number_of(event: &v1::Event) -> Option<u64> {
    event.id.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
