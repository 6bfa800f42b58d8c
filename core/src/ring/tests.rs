mod model;

use super::frame::Id;
use super::*;
use crate::sync::{AtomicU64, Ordering::SeqCst};
use crate::time::Timestamp;
use std::sync::Barrier;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A frame of ticks of a millisecond.
fn frame(generation: u32, buckets: u32) -> Frame {
    Scale::new(Shape::new(MILLISECOND * buckets, buckets)).frame(generation)
}

fn at(tick: u64) -> Timestamp {
    Timestamp::from_millis(tick)
}

fn add(ring: &Ring, frame: Frame, tick: u64, times: u64) {
    (0..times).for_each(|_| ring.add(frame, tick));
}

/// For few and for many cells.
fn sizes() -> impl Iterator<Item = u32> {
    [3, 60].into_iter()
}

#[test]
fn a_window_slides_by_whole_ticks() {
    let (ring, frame) = (Ring::new(), frame(1, 3));
    add(&ring, frame, 10, 5);
    add(&ring, frame, 11, 8);
    for (newest, sum) in [(11, 13), (12, 13), (13, 8), (14, 0)] {
        assert_eq!(ring.sum(frame, newest), sum, "{newest}: those that are too old are left out");
    }
    for newest in [9, 10] {
        assert_eq!(ring.sum(frame, newest), 13, "{newest}: a clock that is behind leaves nothing out");
    }
}

#[test]
fn a_window_may_begin_before_the_clock() {
    for buckets in sizes() {
        let (ring, frame) = (Ring::new(), frame(0, buckets));
        add(&ring, frame, 0, 4);
        add(&ring, frame, 1, 1);
        assert_eq!((ring.sum(frame, 0), ring.sum(frame, 1)), (5, 5), "what is later already counts");
    }
}

/// Seen in <https://github.com/rubyist/circuitbreaker/issues/36>.
#[test]
fn t18_an_idle_ring_needs_no_sweep() {
    for buckets in sizes() {
        let (ring, frame) = (Ring::new(), frame(0, buckets));
        for tick in 0..u64::from(buckets) {
            add(&ring, frame, tick, 8);
        }
        assert_eq!(ring.sum(frame, u64::from(buckets) - 1), 8 * u64::from(buckets));
        assert_eq!(ring.sum(frame, 36_000), 0);
        add(&ring, frame, 36_000, 1);
        assert_eq!(ring.sum(frame, 36_000), 1);
    }
}

#[test]
fn another_generation_is_another_window() {
    let (ring, first, second) = (Ring::new(), frame(1, 4), frame(2, 4));
    add(&ring, first, 5, 3);
    assert_eq!(ring.sum(second, 5), 0);
    add(&ring, second, 5, 1);
    assert_eq!((ring.sum(first, 5), ring.sum(second, 5)), (0, 1));
}

#[test]
fn another_width_is_another_window_and_so_is_the_first_one_again() {
    let (ring, scale) = (Ring::new(), Scale::new(Shape::new(MILLISECOND * 4, 4)));
    let first = scale.frame(0);
    add(&ring, first, 5, 3);
    scale.advance(Shape::new(MILLISECOND * 8, 4));
    assert_eq!(ring.sum(scale.frame(0), 5), 0);
    scale.advance(Shape::new(MILLISECOND * 4, 4));
    assert_eq!(ring.sum(scale.frame(0), 5), 0);
    assert_eq!(scale.frame(0).tick(at(5)), first.tick(at(5)));
}

/// Tags of eight bits once came round: 256 generations take less than a second where a breaker opens for a millisecond. And
/// a cell from more than half of the way round ago was once taken for ahead, so that nothing was counted any more.
#[test]
fn a_cell_of_256_generations_ago_or_half_a_million_is_not_taken_for_one_of_now() {
    for behind in [256, 1 << 10, 1 << 16, (1 << 18) + 1, (1 << 19) - 5_000] {
        let (ring, striped) = (Ring::new(), StripedRing::new());
        add(&ring, frame(0, 4), 5, 3);
        striped.add(frame(0, 4), at(5));
        assert_eq!((ring.sum(frame(behind, 4), 5), striped.sum(frame(behind, 4), 5)), (0, 0));
        add(&ring, frame(behind, 4), 5, 1);
        striped.add(frame(behind, 4), at(5));
        assert_eq!((ring.sum(frame(behind, 4), 5), striped.sum(frame(behind, 4), 5)), (1, 1));
    }
}

/// Ticks of 24 bits, and counts of as many, once came round or stood still within a day of a busy service.
#[test]
fn neither_ticks_nor_counts_come_round_in_a_human_life() {
    let (ring, frame) = (Ring::new(), frame(0, 4));
    let tick = 12_345;
    add(&ring, frame, tick, 1);
    for bits in 4..39 {
        assert_eq!(ring.sum(frame, tick + (1 << bits)), 0, "2^{bits} milliseconds later");
    }
    let cell = Cell::full(frame.id(tick));
    cell.add(frame.id(tick));
    assert_eq!(cell.count(frame.id(tick)), u64::from(u32::MAX) + 1);
}

#[test]
fn late_writers_change_nothing() {
    for buckets in sizes() {
        let cells = if buckets < 16 { 16 } else { 64 };
        let (ring, now, before) = (Ring::new(), frame(7, buckets), frame(6, buckets));
        add(&ring, now, 100, 2);
        for (frame, tick) in [(now, 100 - cells), (before, 100), (before, 100 - cells), (before, 100 + cells)] {
            add(&ring, frame, tick, 50);
            assert!(!ring.add_if(frame, tick, |_| true));
            ring.take_back(frame, tick);
        }
        assert_eq!(ring.sum(now, 100), 2);
    }
}

#[test]
fn a_new_generation_wins_even_with_an_earlier_tick() {
    let ring = Ring::new();
    add(&ring, frame(7, 4), 100, 2);
    add(&ring, frame(8, 4), 4, 3);
    assert_eq!(ring.sum(frame(8, 4), 4), 3);
}

#[test]
fn a_time_that_no_clock_has_come_to_blocks_no_cell() {
    let (ring, frame) = (Ring::new(), frame(0, 4));
    let end = frame.tick(Timestamp::from_nanos(u64::MAX));
    for tick in end - 20..=end {
        add(&ring, frame, tick, 1);
    }
    assert_eq!(ring.sum(frame, end), 4);
    add(&ring, frame, 1_000, 1);
    assert_eq!(ring.sum(frame, 1_000), 1);
}

#[test]
fn series_come_round_after_half_a_million() {
    let ring = Ring::new();
    let last = (1 << 19) - 1;
    add(&ring, frame(last, 4), 5, 2);
    add(&ring, frame(0, 4), 5, 1);
    assert_eq!((ring.sum(frame(last, 4), 5), ring.sum(frame(0, 4), 5)), (0, 1));
    add(&ring, frame(last, 4), 5, 1);
    assert_eq!(ring.sum(frame(0, 4), 5), 1, "that was late");
}

#[test]
fn what_was_taken_back_is_not_counted() {
    let (ring, frame) = (Ring::new(), frame(0, 4));
    ring.take_back(frame, 3);
    add(&ring, frame, 3, 2);
    ring.take_back(frame, 3);
    assert_eq!(ring.sum(frame, 3), 1);
    ring.take_back(frame, 3);
    ring.take_back(frame, 3);
    assert_eq!(ring.sum(frame, 3), 0);
}

/// Where a thread was paused between the two steps, everybody else goes on.
#[test]
fn a_cell_that_is_being_taken_over_counts_nothing_and_holds_nobody_up() {
    let [old, new, newer] = [frame(0, 4), frame(1, 4), frame(2, 4)].map(|frame| frame.id(3));
    for (writer, expected) in [(old, [0, 0, 0]), (new, [0, 1, 0]), (newer, [0, 0, 1])] {
        let cell = Cell::default();
        (1..=5).for_each(|count| assert_eq!(cell.add(old), Some(count)));
        cell.begin_taking_over(new);
        assert_eq!([old, new, newer].map(|id| cell.count(id)), [0, 0, 0]);
        cell.add(writer);
        assert_eq!([old, new, newer].map(|id| cell.count(id)), expected);
    }
}

/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_no_count_is_lost_or_doubled_across_rollovers() {
    const THREADS: u64 = 4;
    const PER_TICK: u64 = 250;
    const TICKS: u64 = 200;
    let frame = frame(9, 5);
    let (ring, striped) = (Ring::new(), StripedRing::new());
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for tick in 1..=TICKS {
                    barrier.wait();
                    for _ in 0..PER_TICK {
                        ring.add(frame, tick);
                        if !striped.add_at_present(frame, at(tick)) {
                            striped.add(frame, at(tick));
                        }
                    }
                    barrier.wait();
                    let full = tick.min(5) * THREADS * PER_TICK;
                    assert_eq!((ring.sum(frame, tick), striped.sum(frame, tick)), (full, full));
                }
            });
        }
    });
}

/// More threads than there are slots, which end and hand their slots on, while others read.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_threads_that_come_and_go_lose_no_count() {
    const ROUNDS: u64 = 10;
    const THREADS: u64 = 80;
    let frame = frame(3, 60);
    let striped = StripedRing::new();
    for round in 1..=ROUNDS {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let striped = &striped;
                scope.spawn(move || {
                    for n in 0..100 {
                        let now = at(1_000 + round * 5 + (n + thread) % 3);
                        if !striped.add_at_present(frame, now) {
                            striped.add(frame, now);
                        }
                    }
                });
            }
            let (mut last, whole) = (0, round * THREADS * 100);
            while last < whole {
                let next = striped.sum(frame, 1_000 + round * 5 + 3);
                assert!((last..=whole).contains(&next), "{next} after {last} of {whole}");
                last = next;
            }
        });
    }
}

#[test]
fn of_racing_adds_one_sees_them_all() {
    let ring = Ring::new();
    for round in 0..500 {
        let (frame, barrier) = (frame(round, 4), Barrier::new(4));
        let seen_all = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (ring, barrier, seen_all) = (&ring, &barrier, &seen_all);
                scope.spawn(move || {
                    barrier.wait();
                    // Of different ticks, but within each other's window.
                    let tick = u64::from(round) + thread % 2;
                    ring.add(frame, tick);
                    if ring.sum(frame, u64::from(round) + 1) == 4 {
                        seen_all.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        assert!(seen_all.into_inner() >= 1);
    }
}

#[test]
fn add_if_never_passes_its_limit() {
    let ring = Ring::new();
    for round in 0..300 {
        let frame = frame(round, 4);
        add(&ring, frame, u64::from(round), 3);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        if ring.add_if(frame, u64::from(round) + 1, |sum| sum < 20) {
                            admitted.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 17);
    }
}

#[test]
fn a_scale_begins_a_series_at_each_length() {
    let (wide, narrow) = (Shape::new(MILLISECOND * 1_000, 10), Shape::new(MILLISECOND * 100, 10));
    let scale = Scale::new(wide);
    let present = || scale.frame(0);
    let advance = |shape| {
        scale.advance(shape);
        present()
    };
    let first = present();
    assert_eq!((first.tick(at(1_050)), advance(wide)), (10, first), "the same shape begins nothing");
    assert_eq!(advance(narrow).tick(at(1_050)), 105);
    assert_ne!(advance(wide), first);
    assert_eq!(advance(Shape::new(Duration::ZERO, 10)).tick(Timestamp::from_nanos(7)), 7);
    assert!(advance(Shape::new(Duration::MAX, u32::MAX)).buckets() < 64);
    assert!(advance(Shape::new(Duration::MAX, 0)).is_of_calls());
}

#[test]
fn what_is_before_what() {
    let id = |generation, tick: u64| frame(generation, 4).id(tick * 16);
    let early: [(Id, Id); 4] =
        [(id(1, 5), id(1, 6)), (id(1, 9), id(2, 0)), (id((1 << 19) - 1, 0), id(0, 0)), (id(1, 0), id(1, 1 << 20))];
    for (before, after) in early {
        assert!(
            before.is_before(after) && !after.is_before(before) && !before.is_before(before),
            "{before:?} {after:?}"
        );
    }
    assert!(!id(1, 0).is_before(id(1, (1 << 20) + 1)), "no clock has come to that");
}
