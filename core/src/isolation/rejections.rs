//! The last calls that were turned away, for whoever asks why.
//!
//! While a service is down every call to it may be turned away, and must not pay for being told so. So each breaker lets one
//! call in a second be looked at, of each [`RejectionReason`]: the others read one number, and find that it is not yet time.
//! A rejection of a kind that is kept already takes the place of the one before, and allocates nothing.

use super::part::Part;
use super::receipt::BreakerReceipt;
use super::scope::OwnBreaker;
use crate::glob;
use crate::revision::Revision;
use crate::stats::Counter;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering::Relaxed};
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

/// Rejections that are kept of a service.
const MAX_KEPT: usize = 8;
/// The longest method that is kept, in bytes; of a longer one, as much.
const MAX_METHOD_BYTES: usize = 256;
/// For how long a breaker lets no other rejection of one reason be looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What turned a call away before it reached its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionReason {
    /// A breaker that is open, half-open with all its probes out, or that ramps up after a close.
    CircuitOpen,
    /// Too many calls at once.
    Bulkhead,
    /// As many calls at once as the service was found to take.
    AdaptiveLimit,
    /// As many calls as may start.
    RateLimit,
    /// Too little time was left to begin.
    Deadline,
    /// The service is disabled.
    Disabled,
}

/// A call that was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedCall {
    /// When.
    pub at: Timestamp,
    /// The method that was called; of one with more than 256 bytes, its beginning.
    pub method: Arc<str>,
    /// The pool that it was to run in. `None`: in none.
    pub pool: Option<Arc<str>>,
    /// By what.
    pub reason: RejectionReason,
    /// The revision of the policy that it went by. `None`: the host's built-in default.
    pub revision: Option<Revision>,
    /// Where the breaker stood that it would have met. `None`: none was in force at this level.
    pub breaker: Option<BreakerReceipt>,
}

/// What is seen of a call that is turned away.
#[derive(Debug)]
pub(crate) struct SeenRejection<'a> {
    pub(crate) at: Timestamp,
    pub(crate) method: &'a str,
    pub(crate) pool: Option<&'a str>,
    pub(crate) reason: RejectionReason,
    pub(crate) revision: Option<Revision>,
    pub(crate) breaker: Option<BreakerReceipt>,
}

/// When the calls that one breaker guards may be looked at again, by reason.
#[derive(Debug, Default)]
pub(crate) struct NextLook([AtomicU64; 6]);

/// The last rejections of a service.
#[derive(Debug, Default)]
pub(super) struct Rejections(Mutex<Kept>);

/// Rejections by their numbers, the newest last.
#[derive(Debug, Default)]
struct Kept {
    calls: VecDeque<(u64, RejectedCall)>,
    count: u64,
}

impl RejectionReason {
    pub(crate) const fn counter(self) -> Counter {
        match self {
            Self::CircuitOpen => Counter::RejectedOpen,
            Self::Bulkhead => Counter::RejectedBulkhead,
            Self::AdaptiveLimit => Counter::RejectedAdaptiveLimit,
            Self::RateLimit => Counter::RejectedRateLimit,
            Self::Deadline => Counter::RejectedDeadline,
            Self::Disabled => Counter::RejectedDisabled,
        }
    }
}

impl NextLook {
    /// Whether it is time to look at a rejection.
    #[inline]
    pub(crate) fn is_due(&self, reason: RejectionReason, now: Timestamp) -> bool {
        now.as_nanos() >= self.0[reason as usize].load(Relaxed)
    }

    fn looked(&self, reason: RejectionReason, now: Timestamp) {
        self.0[reason as usize].store(now.saturating_add(INTERVAL).as_nanos(), Relaxed);
    }
}

impl Rejections {
    /// Keeps a rejection by what one breaker guards, unless somebody else is at it.
    pub(super) fn keep(&self, own: &OwnBreaker, seen: SeenRejection<'_>) {
        let mut kept = match self.0.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The next one will do as well.
            Err(TryLockError::WouldBlock) => return,
        };
        own.next_look.looked(seen.reason, seen.at);
        kept.keep(seen);
    }

    /// Those after a number, oldest first, and the number of the last one.
    pub(super) fn after(&self, number: u64) -> (Vec<RejectedCall>, u64) {
        let kept = self.lock();
        let later = kept.calls.iter().filter(|(own, _)| *own > number);
        (later.map(|(_, call)| call.clone()).collect(), kept.count)
    }

    /// Nothing between two steps of a change can panic: what is kept is whole.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, seen: SeenRejection<'_>) {
        self.count += 1;
        let method = beginning(seen.method);
        let is_alike = |(_, call): &(u64, RejectedCall)| {
            *call.method == *method
                && call.pool.as_deref() == seen.pool
                && call.reason == seen.reason
                && part(call.breaker.as_ref()) == part(seen.breaker.as_ref())
        };
        let known = self.calls.iter().position(is_alike).and_then(|at| self.calls.remove(at));
        let known = known.map(|(_, call)| (call.method, call.pool));
        let (method, pool) = known.unwrap_or_else(|| (method.into(), seen.pool.map(Arc::from)));
        let SeenRejection { at, reason, revision, breaker, .. } = seen;
        if self.calls.len() == MAX_KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back((self.count, RejectedCall { at, method, pool, reason, revision, breaker }));
    }
}

fn part(breaker: Option<&BreakerReceipt>) -> Option<&Part> {
    breaker.map(|receipt| &receipt.part)
}

/// As much of a method as is kept, by the one of its two names that begins with no slash.
fn beginning(method: &str) -> &str {
    let method = glob::method_name(method);
    let end = (0..=MAX_METHOD_BYTES.min(method.len())).rev().find(|&end| method.is_char_boundary(end));
    method.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: u64, method: &str) -> SeenRejection<'_> {
        let at = Timestamp::from_millis(at);
        SeenRejection { at, method, pool: None, reason: RejectionReason::Disabled, revision: None, breaker: None }
    }

    fn methods(calls: &[RejectedCall]) -> Vec<(&str, u64)> {
        calls.iter().map(|call| (&*call.method, call.at.as_nanos() / 1_000_000)).collect()
    }

    #[test]
    fn the_last_of_each_kind_are_kept() {
        let mut kept = Kept::default();
        for (at, method) in [(1, "a"), (2, "b"), (3, "/a")] {
            kept.keep(seen(at, method));
        }
        kept.keep(SeenRejection { reason: RejectionReason::Bulkhead, ..seen(4, "a") });
        let rejections = Rejections(Mutex::new(kept));
        let (calls, last) = rejections.after(0);
        assert_eq!((methods(&calls), last), (vec![("b", 2), ("a", 3), ("a", 4)], 4));
        assert_eq!(methods(&rejections.after(2).0), [("a", 3), ("a", 4)]);
        assert!(rejections.after(4).0.is_empty());
    }

    #[test]
    fn names_without_end_push_out_the_oldest() {
        let mut kept = Kept::default();
        let names: Vec<String> = (0..100).map(|number| format!("m{number}")).collect();
        (0..).zip(&names).for_each(|(at, name)| kept.keep(seen(at, name)));
        let long = "\u{20ac}".repeat(1000);
        kept.keep(seen(100, &long));
        let (calls, _) = Rejections(Mutex::new(kept)).after(0);
        assert_eq!((calls.len(), &*calls[0].method), (MAX_KEPT, "m93"));
        assert_eq!(calls[MAX_KEPT - 1].method.len(), 255, "cut between two characters");
    }
}
