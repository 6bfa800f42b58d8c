//! A limit of how many calls start in a period: the generic cell rate algorithm.
//!
//! All it remembers is the *theoretical arrival time*: when the next call would come if all came exactly at the rate. A
//! call moves it on by the time between two calls. It may be ahead of the clock by as much as a burst allows; a call
//! that would start beyond that waits for its turn, or is rejected. That is one number, so a decision is one
//! compare-and-swap, and a rejection is a read.
//!
//! *Another policy* takes over where the last one was. As a bucket of tokens, which this is the time form of: the tokens
//! that are left stay, as many as the new burst holds. So nobody gets a fresh burst by pushing a policy, and nobody waits
//! at a rate that is no more. Turns that have been told stay as they were told, and the next one follows the last of
//! them.
//!
//! A call that waits has moved the time on already; that is its place in the line. If it is cancelled, it takes that
//! back where it is the last in line. Where others came after it, they have been told their turns, and the one that
//! was given up goes to the next call that would have to wait, if its time has not come yet.

mod given_up;

use self::given_up::{GivenUp, Place};
use crate::policy::RateLimitPolicy;
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Timestamp;
use std::sync::PoisonError;
use std::time::Duration;

/// Limits how many calls start in a period.
///
/// ```
/// use cofferdam_core::policy::RateLimitPolicy;
/// use cofferdam_core::rate_limit::RateLimit;
/// use cofferdam_core::time::Timestamp;
/// use std::time::Duration;
///
/// let limit = RateLimit::new();
/// let policy = RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(10) };
/// limit.enter(&policy, Duration::ZERO, Timestamp::ZERO)?.take();
/// let rejected = limit.enter(&policy, Duration::ZERO, Timestamp::from_millis(40)).unwrap_err();
/// assert_eq!(rejected.retry_after, Duration::from_millis(60));
/// # Ok::<(), cofferdam_core::rate_limit::RateLimited>(())
/// ```
#[derive(Debug, Default)]
pub struct RateLimit {
    /// The theoretical arrival time, in nanoseconds. Nothing else is published with it, so no order is needed.
    next: AtomicU64,
    /// The pace of the policy in force. `None`: there was none yet.
    pace: Mutex<Option<Pace>>,
    given_up: GivenUp,
}

/// A policy in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// Between two calls: rounded up, so that the rate is never exceeded.
    between: u64,
    /// What a whole burst moves the theoretical arrival time on by.
    burst: u64,
}

/// A call's turn. Dropping it before it is [`taken`](Self::take) gives it up.
#[derive(Debug)]
#[must_use = "a turn is given up when it is dropped"]
pub struct Turn<'a> {
    limit: &'a RateLimit,
    /// In nanoseconds.
    wait: u64,
    /// `None`: the turn was taken.
    place: Option<Place>,
}

/// The rate is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit reached: worth trying again in {retry_after:?}")]
pub struct RateLimited {
    /// When a call could start, if no other comes before.
    pub retry_after: Duration,
}

impl RateLimit {
    /// A limit that no call has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether calls have used more of the rate than time has given back since: a new limit would admit more.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.next.load(Relaxed) > now.as_nanos()
    }

    /// Goes by another policy from now on.
    pub fn set_policy(&self, policy: &RateLimitPolicy, now: Timestamp) {
        let pace = Pace::of(policy);
        let mut last = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last.replace(pace).filter(|last| *last != pace) else { return };
        self.given_up.clear();
        let mut next = self.next.load(Relaxed);
        loop {
            let moved = pace.take_over(last, next, now.as_nanos());
            match self.next.compare_exchange_weak(next, moved, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => next = other,
            }
        }
    }

    /// A turn, now or after a wait of no more than `longest`.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], where the wait would be longer.
    pub fn enter(&self, policy: &RateLimitPolicy, longest: Duration, now: Timestamp) -> Result<Turn<'_>, RateLimited> {
        let Pace { between, burst } = Pace::of(policy);
        let ahead = burst.saturating_sub(between);
        let now = now.as_nanos();
        let mut next = self.next.load(Relaxed);
        loop {
            let due = next.max(now);
            let start = due.saturating_sub(ahead);
            let wait = start.saturating_sub(now);
            // A time that cannot be moved on would admit everybody. It takes a burst of centuries to get there.
            let Some(end) = due.checked_add(between) else {
                return Err(RateLimited { retry_after: Duration::from_nanos(between) });
            };
            if wait > 0 {
                let limited = |wait| RateLimited { retry_after: Duration::from_nanos(wait) };
                let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
                if let Some(first) = self.given_up.take_first(now, start, longest) {
                    return first.map(|place| self.turn(place, place.start - now)).map_err(limited);
                }
                if wait > longest {
                    return Err(limited(wait));
                }
            }
            match self.next.compare_exchange_weak(next, end, Relaxed, Relaxed) {
                Ok(_) => return Ok(self.turn(Place { start, end, by: between }, wait)),
                Err(other) => next = other,
            }
        }
    }
}

impl RateLimit {
    #[inline]
    const fn turn(&self, place: Place, wait: u64) -> Turn<'_> {
        Turn { limit: self, wait, place: Some(place) }
    }
}

impl Pace {
    fn of(policy: &RateLimitPolicy) -> Self {
        let period = u64::try_from(policy.period.as_nanos()).unwrap_or(u64::MAX);
        let between = period.div_ceil(u64::from(policy.permits.max(1)));
        let burst = if policy.burst == 0 { policy.permits } else { policy.burst };
        Self { between, burst: between.saturating_mul(u64::from(burst)) }
    }

    /// The theoretical arrival time that says of this pace what `next` says of the last one.
    fn take_over(self, last: Self, next: u64, now: u64) -> u64 {
        // When no token is left, or was.
        match next.checked_sub(last.burst).filter(|empty| *empty > now) {
            // The turns until then have been told.
            Some(empty) => empty.saturating_add(self.burst),
            None => {
                let used = next.saturating_sub(now);
                let left = u128::from(last.burst.saturating_sub(used));
                let left = left * u128::from(self.between) / u128::from(last.between.max(1));
                let left = u64::try_from(left).unwrap_or(u64::MAX).min(self.burst);
                now.saturating_add(self.burst - left)
            }
        }
    }
}

impl Turn<'_> {
    /// How long to wait for it. Zero: it has come.
    pub const fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// Uses the turn: the call starts.
    pub fn take(mut self) {
        self.place = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.limit.given_up.add(place, &self.limit.next);
        }
    }
}

#[cfg(test)]
mod tests;
