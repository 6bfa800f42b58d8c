//! Virtual time, and numbers that are not random: the engine's runtime.

use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::{Clocks, Timestamp, WallTime};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// 2030-01-01T00:00:00Z, since 1970: what the wall clock says when a case begins.
const WALL: Duration = Duration::from_secs(1_893_456_000);

/// A clock that stands still until it is moved, and a wall clock that goes along with it.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    /// What the wall clock said when it was last set, and when that was.
    wall: (Duration, Timestamp),
    timers: BTreeMap<(Timestamp, u64), Waker>,
    next_timer: u64,
    /// The numbers that the case gives. `None`: it gives none.
    random: Option<VecDeque<u64>>,
    /// Numbers drawn beyond those that the case gives.
    overdrawn: u32,
}

/// A pause on a [`Clock`].
#[derive(Debug)]
pub(crate) struct Pause {
    clock: Clock,
    due: Timestamp,
    timer: Option<u64>,
}

impl Clock {
    pub(crate) fn new(start: Duration, random: Option<Vec<u64>>) -> Self {
        let (timers, random) = (BTreeMap::new(), random.map(VecDeque::from));
        let now = Timestamp::ZERO.saturating_add(start);
        Self(Arc::new(Mutex::new(Inner { now, wall: (WALL, now), timers, next_timer: 0, random, overdrawn: 0 })))
    }

    /// What both clocks say.
    pub(crate) fn both(&self) -> Clocks {
        self.with(|Inner { now, wall: (set_to, set_at), .. }| Clocks {
            monotonic: *now,
            wall: WallTime::after_1970(set_to.saturating_add(now.saturating_since(*set_at))),
        })
    }

    /// Sets the wall clock to a time since 1970.
    pub(crate) fn set_wall(&self, wall: Duration) {
        self.with(|inner| inner.wall = (wall, inner.now));
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.with(|inner| inner.timers.keys().next().map(|(due, _)| *due))
    }

    /// Moves to a time, and wakes whoever waits for it or an earlier one.
    pub(crate) fn move_to(&self, time: Timestamp) {
        let due = self.with(|inner| {
            inner.now = inner.now.max(time);
            let later = inner.timers.split_off(&(time, u64::MAX));
            std::mem::replace(&mut inner.timers, later)
        });
        due.into_values().for_each(Waker::wake);
    }

    /// What is wrong with the draws of a case that is over.
    pub(crate) fn wrong_draws(&self) -> Option<String> {
        self.with(|inner| {
            let left = inner.random.as_ref().map_or(0, VecDeque::len);
            match (inner.overdrawn, left) {
                (0, 0) => None,
                (0, left) => Some(format!("{left} of the random numbers were not drawn")),
                (more, _) => Some(format!("{more} more random numbers were drawn than the case gives")),
            }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runtime for Clock {
    type Sleep = Pause;

    fn now(&self) -> Timestamp {
        self.with(|inner| inner.now)
    }

    fn sleep(&self, duration: Duration) -> Pause {
        Pause { clock: self.clone(), due: self.now().saturating_add(duration), timer: None }
    }

    fn random(&self) -> u64 {
        self.with(|inner| match inner.random.as_mut() {
            None => u64::MAX,
            Some(numbers) => numbers.pop_front().unwrap_or_else(|| {
                inner.overdrawn += 1;
                u64::MAX
            }),
        })
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (due, timer) = (this.due, &mut this.timer);
        this.clock.with(|inner| {
            if inner.now >= due {
                return Poll::Ready(());
            }
            let number = *timer.get_or_insert_with(|| {
                inner.next_timer += 1;
                inner.next_timer
            });
            inner.timers.insert((due, number), context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(number) = self.timer {
            self.clock.with(|inner| inner.timers.remove(&(self.due, number)));
        }
    }
}
