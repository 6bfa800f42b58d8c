//! Virtual time: a clock that moves when it is told to, and numbers that are the same for the same seed.

use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::{Clocks, Timestamp, WallTime};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A whole number of buckets of any window, for windows to begin with the trace.
const START: Timestamp = Timestamp::from_millis(3_600_000);

/// The clock of a simulation.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    timers_made: u64,
    random: StdRng,
}

/// A pause on a [`Clock`].
#[derive(Debug)]
pub(super) struct Pause {
    clock: Clock,
    due: Timestamp,
    number: u64,
}

impl Clock {
    pub(super) fn new(seed: u64) -> Self {
        let (timers, random) = (BTreeMap::new(), StdRng::seed_from_u64(seed));
        Self(Arc::new(Mutex::new(Inner { now: START, timers, timers_made: 0, random })))
    }

    /// What its clocks read: the trace begins in 1970.
    pub(super) fn clocks(&self) -> Clocks {
        Clocks { monotonic: self.now(), wall: WallTime::after_1970(self.elapsed()) }
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.now().saturating_since(START)
    }

    /// The time since the beginning of another moment.
    pub(super) fn since_start(at: Timestamp) -> Duration {
        at.saturating_since(START)
    }

    /// When the next pause ends, so long after the beginning.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.lock().timers.keys().next().map(|(due, _)| due.saturating_since(START))
    }

    /// Moves to so long after the beginning, and wakes those whose pause is over.
    pub(super) fn move_to(&self, elapsed: Duration) {
        let time = START.saturating_add(elapsed);
        let due = {
            let mut inner = self.lock();
            inner.now = inner.now.max(time);
            let later = inner.timers.split_off(&(time, u64::MAX));
            std::mem::replace(&mut inner.timers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// No step under the lock panics.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for Clock {
    type Sleep = Pause;

    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> Pause {
        let mut inner = self.lock();
        inner.timers_made += 1;
        let (due, number) = (inner.now.saturating_add(duration), inner.timers_made);
        drop(inner);
        Pause { clock: self.clone(), due, number }
    }

    fn random(&self) -> u64 {
        self.lock().random.next_u64()
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.clock.lock();
        if inner.now >= self.due {
            return Poll::Ready(());
        }
        inner.timers.insert((self.due, self.number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.clock.lock().timers.remove(&(self.due, self.number));
    }
}
