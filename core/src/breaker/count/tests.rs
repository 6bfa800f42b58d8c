use super::*;
use crate::ring::{Scale, Shape};
use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

fn sample(number: u64) -> Sample {
    Sample { is_failure: number.is_multiple_of(3), is_slow: number % 5 < 2 }
}

/// A window of so many calls.
fn frame(size: u32, generation: u32) -> Frame {
    Scale::new(Shape::new(Duration::from_micros(size.into()), 0)).frame(generation)
}

fn totals_of<'a>(calls: impl Iterator<Item = &'a Sample>) -> Totals {
    let mut totals = Totals::default();
    for call in calls {
        totals.successes += u64::from(!call.is_failure);
        totals.failures += u64::from(call.is_failure);
        totals.slow += u64::from(call.is_slow);
    }
    totals
}

/// Seen in <https://github.com/joshrotenberg/tower-resilience/blob/f0d1a3c13c4408d63a9f4f92f2b9c8c9d9788e99/crates/tower-resilience-circuitbreaker/src/circuit.rs>.
#[test]
fn t20_the_window_slides_by_one_call() {
    for size in [1, 2, 7, 64, 1_024] {
        let (ring, frame) = (CountRing::default(), frame(size, 0));
        let mut last = VecDeque::new();
        for number in 0..5_000 {
            let seen = ring.add(frame, sample(number));
            last.push_back(sample(number));
            if last.len() > size as usize {
                last.pop_front();
            }
            assert_eq!(ring.totals(frame), totals_of(last.iter()), "{size} {number}");
            assert_eq!(seen.map(|head| head.totals(size)), Some(ring.totals(frame)));
        }
    }
}

#[test]
fn another_generation_starts_empty_and_the_late_ones_are_dropped() {
    let (ring, frame) = (CountRing::default(), |generation| frame(8, generation));
    for number in 0..20 {
        ring.add(frame(0), sample(number));
    }
    assert_eq!(ring.totals(frame(3)), Totals::default());
    ring.add(frame(3), Sample { is_failure: true, is_slow: false });
    assert_eq!(ring.totals(frame(3)), Totals { successes: 0, failures: 1, slow: 0 });
    ring.add(frame(0), sample(0));
    assert_eq!((ring.totals(frame(3)).calls(), ring.totals(frame(0))), (1, Totals::default()));
    // Generations come round: what is far ahead was written before.
    for generation in (0..10).map(|round| (3 + round * 200_000) & SERIES_MASK) {
        for number in 0..5 {
            ring.add(frame(generation), sample(number));
        }
        assert!(ring.totals(frame(generation)).calls() >= 5);
    }
}

/// A service that stays dead moves the generation on, twice for each open time, with nothing counted. What was counted
/// before was once taken for ahead, from half of the way round on: nothing was counted, and nothing tripped, any more.
#[test]
fn a_window_that_rested_through_any_number_of_generations_counts_again() {
    for behind in [1 << 12, 1 << 18, (1 << 18) + 1, (1 << 19) - 5_000] {
        let ring = CountRing::default();
        ring.add(frame(8, 0), sample(0));
        ring.add(frame(8, behind), sample(0));
        assert_eq!(ring.totals(frame(8, behind)).calls(), 1, "{behind}");
    }
}

/// As where a policy turns to a window of calls late.
#[test]
fn nobody_is_late_for_a_window_that_has_counted_nothing() {
    for generation in [1, 300_000, (1 << 19) - 1] {
        let ring = CountRing::default();
        ring.add(frame(8, generation), sample(0));
        assert_eq!(ring.totals(frame(8, generation)).calls(), 1, "{generation}");
    }
}

/// What is noted of one window is not taken for calls of the next, which may be longer or shorter.
#[test]
fn a_window_of_another_size_starts_empty_over_what_is_noted() {
    let ring = CountRing::default();
    for (generation, size) in [5, 1_024, 1, 17, 1_023, 3, 1_024].into_iter().enumerate() {
        let frame = frame(size, generation as u32);
        assert_eq!(ring.totals(frame), Totals::default());
        for number in 0..2 * u64::from(size) {
            ring.add(frame, sample(number));
            let from = (number + 1).saturating_sub(size.into());
            let calls: Vec<Sample> = (from..=number).map(sample).collect();
            assert_eq!(ring.totals(frame), totals_of(calls.iter()), "{size} {number}");
        }
    }
}

/// The sums in the head are those of what is noted, whoever noted it in whatever order.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_racing_callers_lose_no_call_and_count_none_twice() {
    for size in [1, 3, 64, 1_000] {
        let (ring, frame) = (CountRing::default(), frame(size, 0));
        thread::scope(|scope| {
            for offset in 0..4u64 {
                let ring = &ring;
                scope.spawn(move || {
                    for number in 0..20_000 {
                        ring.add(frame, sample(number * 4 + offset));
                        assert!(ring.totals(frame).slow <= u64::from(size));
                    }
                });
            }
        });
        // 80,000 calls, each of which moved the head by one.
        let calls = (80_000 - size..80_000).map(|number| number % 1_024);
        let calls = calls.map(|index| noted(ring.notes_of(index).load(Ordering::Relaxed), index));
        let (failures, slow) = calls.fold((0, 0), |sums, call| (sums.0 + call.failures(), sums.1 + call.slow()));
        let totals = ring.totals(frame);
        assert_eq!((totals.failures, totals.slow), (u64::from(failures), u64::from(slow)), "{size}");
        assert_eq!(totals.calls(), u64::from(size));
        let head = ring.head();
        assert_eq!((head.lap(), head.index()), (80_000 / 1_024, (80_000 - 1) % 1_024));
    }
}

/// The head of a small window once came round after 2,047 times its size: of one call, while a thread is paused for less
/// than a millisecond.
#[test]
fn the_head_of_a_small_window_comes_round_no_sooner_than_that_of_a_large_one() {
    const ROUND: u32 = 2_096_128;
    for size in [1, 7] {
        let (ring, frame) = (CountRing::default(), frame(size, 0));
        let add = || ring.add(frame, sample(0)).unwrap();
        for _ in 0..1_024 {
            add();
        }
        let head = add();
        assert_eq!((1..=ROUND).find(|_| add() == head), Some(ROUND), "{size}");
    }
}
