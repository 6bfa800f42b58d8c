//! A limit of the calls in flight that finds out by itself what the service can take.
//!
//! A bulkhead needs a number that somebody measured; a service's capacity changes with every release and every noisy
//! neighbour. Too many calls in flight do not make a busy service faster, they only stand in its queue. So this limit
//! starts somewhere, watches latency or what is turned away, and moves. The two algorithms are those of Netflix's
//! `concurrency-limits`: [gradient2](crate::policy::AdaptiveLimitKind::Gradient2) compares latency with its long-term
//! average and needs no failure to see a queue grow; [AIMD](crate::policy::AdaptiveLimitKind::Aimd) grows by one and
//! shrinks by a tenth on overload, as TCP does. Both go by windows of calls, as its `WindowedLimit` does; what each of
//! them does differently, because the original has a known defect, stands in the header of its file.
//!
//! *A call never waits here.* At the limit it is rejected at once: whoever wants a queue has the bulkhead's, in front.
//!
//! *What a call teaches.* A success its latency; one that the service turned away for having too much to do, or did not
//! answer in time, that there was an overload; both how many calls were in flight. All others give their permit back and
//! teach nothing: those that were cancelled, and errors of other kinds. A bug that fails one call in five at any load is
//! no reason to let fewer of the others through; and a service that sheds load says so by a code that is no failure to a
//! breaker.
//!
//! *One word* holds the limit and the calls in flight, `[limit 32 | in flight 32]`. So a permit is given in the same
//! swap that compares the two, and there are never more permits than the limit that was in force when the last one was
//! given. A limit that shrinks takes no permit back; it lets nobody in until enough calls have ended.
//!
//! *Learning* is behind a mutex that a call only tries. Where another call is just learning, this one's lesson is
//! skipped: a lesson is one of many, and no call waits for the sake of statistics.
//!
//! *The policy may change at any time*, and what was learned stays: the limit is only moved into the new bounds, also
//! by another algorithm, which takes over from there with a fresh view of latency. `initial` counts until something was
//! learned. A limit that is switched off and on again goes on with what it knew.

mod aimd;
mod gradient2;
mod learner;
mod window;

#[cfg(test)]
mod tests;

use crate::policy::AdaptiveLimitPolicy;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::time::Timestamp;
use learner::Learner;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

/// Limits how many calls are in flight, by what it learns from them.
///
/// ```
/// use cofferdam_core::adaptive_limit::AdaptiveLimit;
/// use cofferdam_core::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};
///
/// let policy = AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Gradient2, initial: 1, ..Default::default() };
/// let limit = AdaptiveLimit::new(&policy);
/// let permit = limit.try_acquire();
/// assert!(permit.is_some());
/// assert!(limit.try_acquire().is_none());
/// drop(permit);
/// assert!(limit.try_acquire().is_some());
/// ```
#[derive(Debug)]
pub struct AdaptiveLimit {
    /// A [`Load`].
    load: AtomicU64,
    learner: Mutex<Learner>,
}

/// A call's leave to be in flight. Dropping it gives it back, and teaches nothing.
#[derive(Debug)]
#[must_use = "a permit is given back when it is dropped"]
pub struct Permit<'a> {
    limit: &'a AdaptiveLimit,
    /// Calls in flight when it was given, this one included.
    in_flight: u32,
}

/// How a call went, as far as it says something of how much the service can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// The service answered, after so long.
    Answered(Duration),
    /// It had too much to do: it turned the call away, or did not answer in time.
    Overload,
    /// It says nothing of that.
    Nothing,
}

/// A limit and how much of it is used, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many calls may be in flight.
    pub limit: u32,
    /// How many are. More than the limit for a while after it has shrunk.
    pub in_flight: u32,
}

impl AdaptiveLimit {
    /// A limit that has learned nothing. Where the policy's kind is off, it is nobody's to ask.
    pub fn new(policy: &AdaptiveLimitPolicy) -> Self {
        let learner = Learner::new(*policy);
        let load = Load { limit: learner.limit(), in_flight: 0 };
        Self { load: AtomicU64::new(load.pack()), learner: Mutex::new(learner) }
    }

    /// Goes by another policy from now on; calls in flight stay so.
    pub fn set_policy(&self, policy: &AdaptiveLimitPolicy) {
        let mut learner = self.learner.lock().unwrap_or_else(PoisonError::into_inner);
        learner.set_policy(*policy);
        self.publish(&learner);
    }

    /// Leave for one more call, if the limit is not reached.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut word = self.load.load(Ordering::Relaxed);
        loop {
            let Load { limit, in_flight } = Load::unpack(word);
            if in_flight >= limit {
                return None;
            }
            match self.load.compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Permit { limit: self, in_flight: in_flight + 1 }),
                Err(now) => word = now,
            }
        }
    }

    /// The limit in force, and the calls in flight.
    pub fn load(&self) -> Load {
        Load::unpack(self.load.load(Ordering::Acquire))
    }

    /// Puts the learner's limit in force. Whoever calls it holds the mutex, so that no older limit comes after a newer.
    fn publish(&self, learner: &Learner) {
        let limit = learner.limit();
        let mut word = self.load.load(Ordering::Relaxed);
        while Load::unpack(word).limit != limit {
            let next = Load { limit, ..Load::unpack(word) }.pack();
            match self.load.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    fn try_learn(&self) -> Option<MutexGuard<'_, Learner>> {
        match self.learner.try_lock() {
            Ok(learner) => Some(learner),
            // Nothing that runs under it can leave the learner half changed.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Permit<'_> {
    /// Gives the permit back, and teaches how the call went.
    pub fn record(self, lesson: Lesson, now: Timestamp) {
        let lesson = match lesson {
            Lesson::Answered(latency) => Ok(latency),
            Lesson::Overload => Err(window::Overload),
            Lesson::Nothing => return,
        };
        let (limit, in_flight) = (self.limit, self.in_flight);
        drop(self);
        if let Some(mut learner) = limit.try_learn()
            && learner.learn(lesson, in_flight, now)
        {
            limit.publish(&learner);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limit.load.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Load {
    fn pack(self) -> u64 {
        u64::from(self.limit) << 32 | u64::from(self.in_flight)
    }

    fn unpack(word: u64) -> Self {
        Self { limit: (word >> 32) as u32, in_flight: word as u32 }
    }
}
