use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;

#[test]
fn a_window_slides_by_whole_ticks() {
    let ring = Ring::new(3);
    ring.add(1, 10, 5);
    ring.add(1, 11, 7);
    ring.add(1, 11, 1);
    assert_eq!(ring.sum(1, 11, 3), 13);
    assert_eq!(ring.sum(1, 11, 1), 8);
    assert_eq!(ring.sum(1, 12, 3), 13);
    assert_eq!(ring.sum(1, 13, 3), 8);
    assert_eq!(ring.sum(1, 14, 3), 0);
    assert_eq!(ring.sum(1, 10, 3), 5, "later ticks are left out");
}

#[test]
fn an_idle_ring_needs_no_sweep() {
    let ring = Ring::new(10);
    for tick in 0..10 {
        ring.add(0, tick, 8);
    }
    assert_eq!(ring.sum(0, 9, 10), 80);
    assert_eq!(ring.sum(0, 36_000, 10), 0);
    ring.add(0, 36_000, 1);
    assert_eq!(ring.sum(0, 36_000, 10), 1);
}

#[test]
fn another_generation_is_another_window() {
    let ring = Ring::new(4);
    ring.add(1, 5, 3);
    assert_eq!(ring.sum(2, 5, 4), 0);
    ring.add(2, 5, 1);
    assert_eq!((ring.sum(1, 5, 4), ring.sum(2, 5, 4)), (0, 1));
}

#[test]
fn late_writers_change_nothing() {
    let ring = Ring::new(4);
    ring.add(7, 100, 2);
    ring.add(7, 96, 50);
    ring.add(6, 100, 50);
    ring.add(6, 96, 50);
    assert_eq!(ring.sum(7, 100, 4), 2);
    assert!(!ring.add_if(7, 96, 4, |_| true));
    ring.take_back(6, 100);
    ring.take_back(7, 96);
    assert_eq!(ring.sum(7, 100, 4), 2);
}

#[test]
fn a_new_generation_wins_even_with_an_earlier_tick() {
    let ring = Ring::new(4);
    ring.add(7, 100, 2);
    ring.add(8, 4, 3);
    assert_eq!(ring.sum(8, 4, 4), 3);
}

#[test]
fn counters_may_come_round() {
    let ring = Ring::new(4);
    ring.add(255, u32::MAX, 2);
    ring.add(255, 0, 3);
    assert_eq!(ring.sum(255, 0, 2), 5);
    ring.add(0, 3, 9);
    assert_eq!(ring.sum(0, 3, 4), 9);
    // A cell left behind more than half a round ago looks like one that is ahead.
    ring.add(0, 3_000_000_000, 1);
    ring.add(0, 0, 4);
    assert_eq!(ring.sum(0, 0, 1), 4);
}

#[test]
fn a_count_stays_at_its_maximum() {
    let ring = Ring::new(2);
    ring.add(3, 8, MAX_COUNT - 1);
    ring.add(3, 8, u32::MAX);
    assert_eq!(ring.sum(3, 8, 1), u64::from(MAX_COUNT));
    assert!(!ring.add_if(3, 8, 1, |_| true));
    assert_eq!(ring.sum(3, 9, 1), 0, "nothing spills into the tag");
}

#[test]
fn a_window_is_cut_to_its_ring() {
    let ring = Ring::new(0);
    ring.add(0, 1, 4);
    assert_eq!(ring.sum(0, 1, u32::MAX), 4);
    assert_eq!(ring.sum(0, 1, 0), 0);
}

#[test]
fn no_count_is_lost_or_doubled_across_rollovers() {
    const THREADS: u64 = 4;
    const PER_TICK: u64 = 500;
    const TICKS: u32 = 200;
    let ring = Ring::new(5);
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for tick in 1..=TICKS {
                    barrier.wait();
                    for _ in 0..PER_TICK {
                        ring.add(9, tick, 1);
                    }
                    barrier.wait();
                    assert_eq!(ring.sum(9, tick, 1), THREADS * PER_TICK);
                    let full = u64::from(tick.min(5));
                    assert_eq!(ring.sum(9, tick, 5), full * THREADS * PER_TICK);
                }
            });
        }
    });
}

#[test]
fn of_racing_adds_one_sees_them_all() {
    let ring = Ring::new(4);
    for round in 0..500_u32 {
        let generation = round as u8;
        let barrier = Barrier::new(4);
        let seen_all = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    ring.add(generation, round, 1);
                    if ring.sum(generation, round, 1) == 4 {
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
    let ring = Ring::new(4);
    for round in 0..300_u32 {
        let generation = round as u8;
        ring.add(generation, round, 3);
        let admitted = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        if ring.add_if(generation, round + 1, 4, |sum| sum < 20) {
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
fn a_scale_begins_a_generation_at_each_width() {
    let scale = Scale::default();
    let now = Timestamp::from_millis(1_050);
    let (wide, narrow) = (Duration::from_millis(100), Duration::from_millis(10));
    assert_eq!(scale.peek(now, wide), None);
    let first = scale.advance(now, wide);
    assert_eq!((first.tick, scale.peek(now, wide)), (10, Some(first)));
    let second = scale.advance(now, narrow);
    assert_eq!(second, Tick { generation: first.generation + 1, tick: 105 });
    assert_eq!((scale.peek(now, wide), scale.peek(now, narrow)), (None, Some(second)));
    assert_eq!(scale.advance(now, Duration::ZERO).tick, 1_050_000_000);
}

proptest! {
    /// With time that goes forward, the ring is a table of ticks.
    #[test]
    fn agrees_with_a_table(
        len in 1_usize..12,
        start in any::<u32>(),
        steps in prop::collection::vec((0_u32..6, 0_u32..1000, any::<bool>()), 1..200),
    ) {
        // Where 2^32 is no multiple of the length, two ticks share a cell as the counter comes round.
        prop_assume!(start < u32::MAX - 2000);
        let ring = Ring::new(len);
        let mut table: HashMap<(u8, u32), u64> = HashMap::new();
        let (mut generation, mut tick) = (0_u8, start);
        for (step, n, next_generation) in steps {
            tick += step;
            generation = generation.wrapping_add(u8::from(next_generation && n < 100));
            ring.add(generation, tick, n);
            *table.entry((generation, tick)).or_default() += u64::from(n);
            for buckets in 1..=len as u32 {
                let expected: u64 = (0..buckets)
                    .map(|age| table.get(&(generation, tick.wrapping_sub(age))).copied().unwrap_or(0))
                    .sum();
                prop_assert_eq!(ring.sum(generation, tick, buckets), expected);
            }
        }
    }
}
