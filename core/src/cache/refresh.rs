use super::{AnswerCache, CacheKey, CachedAnswer};
use crate::policy::{CachedFallback, FallbackTrigger};
use crate::sync::Ordering::Relaxed;
use crate::time::Timestamp;

/// What a call does that could be answered by a stale answer.
#[derive(Debug)]
pub enum Turn<'a> {
    /// It asks the service, as every call does.
    Live(Option<Refresh<'a>>),
    /// Another call is just asking: it takes what is kept, and why the last call failed.
    Stale(CachedAnswer, FallbackTrigger),
}

/// The one call that refreshes a stale answer. Dropped, it lets another one try.
///
/// While a service is down, every call for a key would try it and, after a timeout perhaps, be answered by the same
/// kept answer. That costs each of them the wait, and the service the load under which it may be failing. So from the
/// time that an answer is *stale and has stood in for a live call*, one call at a time asks the service; those that
/// come meanwhile get the kept answer at once. It needs all of that: a fresh answer is kept for the case of failure and
/// says nothing of the service, and a stale one alone, whose service may be well, keeps no call from asking.
///
/// The first good answer ends it, and so does any other sign that the service answers. A call that does not come back
/// holds the others off for no longer than `ttl`.
#[derive(Debug)]
pub struct Refresh<'a> {
    cache: &'a AnswerCache,
    key: CacheKey,
    number: u64,
}

impl AnswerCache {
    /// Whether calls need a [`turn`](Self::turn) at all; where not, there is no need to make a key for it.
    pub fn takes_turns(&self) -> bool {
        self.unrefreshed.load(Relaxed) > 0
    }

    /// What a call for a key does.
    pub fn turn(&self, policy: &CachedFallback, key: &CacheKey, now: Timestamp) -> Turn<'_> {
        let mut entries = self.lock();
        let number = entries.number();
        let Some(entry) = entries.get_mut(key) else {
            return Turn::Live(None);
        };
        let (Some(failed), Some(answer)) = (entry.failed(), entry.answer(policy, now)) else {
            return Turn::Live(None);
        };
        if answer.is_fresh {
            return Turn::Live(None);
        }
        if entry.refresher.is_some_and(|(_, since)| now.saturating_since(since) < policy.ttl) {
            return Turn::Stale(answer, failed);
        }
        entry.refresher = Some((number, now));
        Turn::Live(Some(Refresh { cache: self, key: key.clone(), number }))
    }

    /// Takes note that a kept answer stood in, because the service has failed.
    pub fn stood_in(&self, key: &CacheKey, because: FallbackTrigger) {
        self.mark(key, Some(because));
    }

    /// Takes note that the service has answered, with something that is not kept.
    pub fn refreshed(&self, key: &CacheKey) {
        if self.takes_turns() {
            self.mark(key, None);
        }
    }

    fn mark(&self, key: &CacheKey, failed: Option<FallbackTrigger>) {
        let mut entries = self.lock();
        entries.set_failed(key, failed);
        self.count_unrefreshed(&entries);
    }

    /// Called by whoever holds the lock, so that no older count comes after a newer.
    pub(super) fn count_unrefreshed(&self, entries: &super::Entries) {
        self.unrefreshed.store(entries.unrefreshed(), Relaxed);
    }
}

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        let mut entries = self.cache.lock();
        if let Some(entry) = entries.get_mut(&self.key)
            && entry.refresher.is_some_and(|(number, _)| number == self.number)
        {
            entry.refresher = None;
        }
    }
}
