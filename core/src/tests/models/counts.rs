//! What is counted: ticks, windows of calls and stripes.

use super::{CROWD, Part, check, crowd, race, shared};
use crate::ring::{DecisiveRing, Frame, Ring, Scale, Shape, StripedRing};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;
use std::time::Duration;

/// A window of two ticks of a millisecond.
fn frame(generation: u32) -> Frame {
    Scale::new(Shape::new(Duration::from_millis(2), 2)).frame(generation)
}

/// Ticks that come round to the cells of others after so many.
const ROUND: u64 = if cfg!(loom) { 4 } else { 16 };

/// Writers of one tick and of the one that takes its cell over.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>.
#[test]
fn t17_nothing_is_lost_or_doubled_as_a_cell_goes_to_the_next_tick() {
    check(|| {
        let ring = shared(Ring::new());
        ring.add(frame(0), 5);
        let parts: [Part<()>; 3] = [
            Box::new(|| ring.add(frame(0), 5)),
            Box::new(|| ring.add(frame(0), 5 + ROUND)),
            Box::new(|| {
                ring.add(frame(0), 5 + ROUND);
                assert!((1..=2).contains(&ring.sum(frame(0), 5 + ROUND)));
            }),
        ];
        race(parts);
        assert_eq!(ring.sum(frame(0), 5 + ROUND), 2);
    });
}

/// The same of generations, and of a row that a thread owns: its owner goes on to the next while others read it.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>.
#[test]
fn t17_nothing_is_lost_or_doubled_as_a_row_goes_to_the_next_generation() {
    check(|| {
        let (ring, now) = (shared(StripedRing::new()), Timestamp::from_millis(5));
        let parts: [Part<()>; 2] = [
            Box::new(move || {
                ring.add(frame(0), now);
                (0..2).for_each(|_| ring.add(frame(1), now));
            }),
            Box::new(move || {
                let (new, old) = (ring.sum(frame(1), 5), ring.sum(frame(0), 5));
                assert!(new <= 2 && old <= 1 && (new == 0 || old == 0), "{new} and {old}");
            }),
        ];
        race(parts);
        assert_eq!((ring.sum(frame(1), 5), ring.sum(frame(0), 5)), (2, 0));
    });
}

/// Of those who add and then take the sum, the last sees all, on one tick or on two.
#[test]
fn of_racing_adds_one_sees_them_all() {
    for spread in [0, 1] {
        check(move || {
            let ring = shared(Ring::new());
            let sums = crowd(CROWD, move |number| {
                let tick = 8 + spread * (number as u64 % 2);
                ring.add(frame(0), tick);
                ring.sum(frame(0), tick)
            });
            assert_eq!(sums.into_iter().max(), Some(CROWD as u64));
        });
    }
}

/// The same where all but the first of a tick need no sum: here, each finds what the one before has kept, or keeps
/// something else in its place.
#[test]
fn of_racing_adds_one_sees_them_all_at_a_glance() {
    for spread in [0, 1] {
        check(move || {
            let ring = shared(DecisiveRing::new());
            let add = move |tick: u64| {
                let glance = ring.add(frame(0), Timestamp::from_millis(tick), |_| 0);
                glance.map_or_else(|| ring.sum(frame(0), tick), |glance| glance.sum)
            };
            assert_eq!(add(8), 1);
            let sums = crowd(CROWD, move |number| add(8 + spread * (number as u64 % 2)));
            assert_eq!(sums.into_iter().max(), Some(CROWD as u64 + 1));
        });
    }
}

/// What is raised is raised for the tick that it was found of: here each has companions of its own, up to nine more than
/// those that are kept.
#[test]
fn what_is_raised_is_not_taken_for_that_of_another_tick() {
    check(|| {
        let ring = shared(DecisiveRing::new());
        let add = move |tick: u64| {
            let glance = ring.add(frame(0), Timestamp::from_millis(tick), |tick| 10 * tick);
            if let Some(glance) = glance {
                assert!((10 * tick..10 * tick + 10).contains(&glance.companions), "{glance:?} at {tick}");
                ring.raise(glance, 10 * tick + 9);
            }
        };
        add(9);
        crowd(2, move |number| add(8 + number as u64));
        add(8);
    });
}

/// Of those who want the last one, one is let in.
#[test]
fn an_add_with_a_limit_never_passes_it() {
    check(|| {
        let ring = shared(Ring::new());
        let added = crowd(CROWD, |_| ring.add_if(frame(0), 3, |sum| sum < 1));
        assert_eq!((added.into_iter().filter(|added| *added).count(), ring.sum(frame(0), 3)), (1, 1));
    });
}

/// Threads that count at once, then threads that take over their stripes.
#[test]
fn stripes_lose_nothing() {
    check(|| {
        let counters = shared(Counters::new());
        crowd(2, |_| counters.add(Counter::Calls));
        crowd(2, |_| counters.add(Counter::Calls));
        assert_eq!(counters.snapshot().calls, 4);
    });
}

#[test]
fn no_snapshot_goes_back() {
    check(|| {
        let counters = shared(Counters::new());
        // Before the race, so that there is something to read in every order.
        counters.add(Counter::Calls);
        let add: Part<()> = Box::new(|| (0..2).for_each(|_| counters.add(Counter::Calls)));
        let read: Part<()> = Box::new(|| {
            let first = counters.snapshot().calls;
            let second = counters.snapshot().calls;
            assert!(first <= second && (1..=3).contains(&second));
        });
        race([add, read]);
    });
}
