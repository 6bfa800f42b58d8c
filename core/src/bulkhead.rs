//! Places for the calls that run at once, and a queue for those that may wait for one.
//!
//! A service that hangs must not take every thread and connection of its callers with it. So only so many calls to it
//! run at once; a few more may wait, first come, first served; the rest is rejected at once. How long a call may wait
//! is up to its host, which drops the [`Acquire`] when it has waited enough.
//!
//! Both counts are one word, `[running 32 | queued 32]`. While nobody waits, a call comes and goes by one
//! compare-and-swap of it each. As soon as somebody waits, the fast path is closed to both: newcomers would overtake,
//! and a call that ends has to hand its place over. The queue is behind a mutex, which no waker is called under.
//!
//! These races were the reasons for this shape:
//!
//! - *A place freed while a call goes to wait for it.* The call counts itself as queued in the swap that finds no place
//!   free, so a place that is freed later finds it there; and it holds the mutex until it stands in the queue.
//! - *A place handed to a call that is just giving up.* Whoever hands over takes the call out of the queue, and that is
//!   all there is to it: a call that gives up and is no longer in the queue has a place, and passes it on. So capacity
//!   cannot drain away through calls that were cancelled, which is how such queues most often fail.
//! - *New limits while calls come, go and wait.* They are stored, and waiters let in, under the mutex under which calls
//!   go to wait.
//!
//! A call with a place keeps it: lower limits let nobody in until enough calls have ended, and drop nobody who waits.

mod acquire;

pub use acquire::Acquire;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// Limits how many calls run at once.
///
/// ```
/// use cofferdam_core::bulkhead::Bulkhead;
///
/// let bulkhead = Bulkhead::new(1, 0);
/// let permit = bulkhead.try_acquire();
/// assert!(permit.is_some());
/// assert!(bulkhead.try_acquire().is_none());
/// drop(permit);
/// assert!(bulkhead.try_acquire().is_some());
/// ```
#[derive(Debug)]
pub struct Bulkhead {
    /// A [`Load`].
    load: AtomicU64,
    /// `[max_concurrent 32 | max_queue 32]`; written under the queue's mutex.
    limits: AtomicU64,
    queue: Mutex<Queue>,
}

/// A place. Dropping it frees the place, or hands it to the first call that waits.
#[derive(Debug)]
#[must_use = "a place is given back when its permit is dropped"]
pub struct Permit {
    bulkhead: Arc<Bulkhead>,
}

/// No place is free, and no more calls may wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bulkhead full: {max_concurrent} calls run and {max_queue} wait")]
pub struct BulkheadFull {
    /// Calls that may run at once.
    pub max_concurrent: u32,
    /// Calls that may wait.
    pub max_queue: u32,
}

/// The calls that wait, by their tickets, which are drawn in order.
#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// How many calls run and wait. Where some wait, as many as may do run, or more.
#[derive(Clone, Copy)]
struct Load {
    running: u32,
    queued: u32,
}

impl Bulkhead {
    /// A bulkhead with so many places, at least 1, and so many calls that may wait for one.
    pub fn new(max_concurrent: u32, max_queue: u32) -> Arc<Self> {
        Arc::new(Self {
            load: AtomicU64::new(0),
            limits: AtomicU64::new(pack(max_concurrent, max_queue)),
            queue: Mutex::default(),
        })
    }

    /// Changes the limits. Calls that have a place or wait for one keep what they have; where there are more places
    /// now, the first of those that wait get them.
    pub fn set_limits(&self, max_concurrent: u32, max_queue: u32) {
        let mut wakers = Vec::new();
        let mut queue = self.lock();
        self.limits.store(pack(max_concurrent, max_queue), Ordering::Release);
        while let Load { running, queued: 1.. } = self.load()
            && running < max_concurrent
            && let Some((_, waker)) = queue.waiting.pop_first()
        {
            self.load.fetch_add(Load::PLACE - Load::WAITER, Ordering::AcqRel);
            wakers.push(waker);
        }
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A place, if one is free and nobody waits for it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut load = self.load();
        while load.queued == 0 && load.running < self.limits().0 {
            match self.swap(load, Load { running: load.running + 1, ..load }) {
                Ok(()) => {
                    return Some(Permit { bulkhead: Arc::clone(self) });
                }
                Err(now) => load = now,
            }
        }
        None
    }

    /// A place, waited for if need be.
    ///
    /// The future takes a place or stands in line when it is first polled. Dropped, it leaves the line.
    ///
    /// # Errors
    ///
    /// [`BulkheadFull`], at once, where no more calls may wait.
    pub fn acquire(self: &Arc<Self>) -> Acquire {
        Acquire::new(Arc::clone(self))
    }

    /// Calls that have a place.
    pub fn in_flight(&self) -> u32 {
        self.load().running
    }

    /// Calls that wait for one.
    pub fn queued(&self) -> u32 {
        self.load().queued
    }

    /// How many calls may run at once, and how many may wait.
    pub fn limits(&self) -> (u32, u32) {
        unpack(self.limits.load(Ordering::Acquire))
    }

    /// Frees a place.
    fn release(&self) {
        let mut load = self.load();
        while load.queued == 0 {
            match self.swap(load, Load { running: load.running - 1, ..load }) {
                Ok(()) => return,
                Err(now) => load = now,
            }
        }
        if let Some(waker) = self.hand_over() {
            waker.wake();
        }
    }

    /// Frees a place that somebody may wait for.
    fn hand_over(&self) -> Option<Waker> {
        let mut queue = self.lock();
        // While the mutex is held nobody goes to wait, so a queue that is empty stays so; and while somebody waits,
        // nobody but the holder of the mutex changes the load.
        if self.load().running <= self.limits().0
            && let Some((_, waker)) = queue.waiting.pop_first()
        {
            self.load.fetch_sub(Load::WAITER, Ordering::AcqRel);
            return Some(waker);
        }
        self.load.fetch_sub(Load::PLACE, Ordering::AcqRel);
        None
    }

    fn load(&self) -> Load {
        let (running, queued) = unpack(self.load.load(Ordering::Acquire));
        Load { running, queued }
    }

    fn swap(&self, from: Load, to: Load) -> Result<(), Load> {
        match self.load.compare_exchange_weak(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(now) => {
                let (running, queued) = unpack(now);
                Err(Load { running, queued })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that runs under it can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.bulkhead.release();
    }
}

impl Load {
    /// One running call.
    const PLACE: u64 = 1 << 32;
    /// One queued call.
    const WAITER: u64 = 1;

    fn pack(self) -> u64 {
        pack(self.running, self.queued)
    }
}

fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests;
