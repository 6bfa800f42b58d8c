use super::*;
use std::collections::VecDeque;
use std::thread;

fn sample(number: u64) -> Sample {
    Sample { is_failure: number.is_multiple_of(3), is_slow: number % 5 < 2 }
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
        let ring = CountRing::new(size);
        let mut last = VecDeque::new();
        for number in 0..5_000 {
            ring.add(0, sample(number));
            last.push_back(sample(number));
            if last.len() > size as usize {
                last.pop_front();
            }
            assert_eq!(ring.totals(0), totals_of(last.iter()), "{size} {number}");
        }
    }
}

#[test]
fn another_generation_starts_empty_and_the_late_ones_are_dropped() {
    let ring = CountRing::new(8);
    (0..20).for_each(|number| ring.add(0, sample(number)));
    assert_eq!(ring.totals(3), Totals::default());
    ring.add(3, Sample { is_failure: true, is_slow: false });
    assert_eq!(ring.totals(3), Totals { successes: 0, failures: 1, slow: 0 });
    ring.add(0, sample(0));
    assert_eq!((ring.totals(3).calls(), ring.totals(0)), (1, Totals::default()));
    // Generations come round: what is far ahead was written before.
    for generation in (0..10).map(|round| (3 + round * 200_000) & GENERATION_MASK) {
        (0..5).for_each(|number| ring.add(generation, sample(number)));
        assert!(ring.totals(generation).calls() >= 5);
    }
}

/// The sums in the head are those of the slots, whoever wrote them in whatever order.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_racing_callers_lose_no_call_and_count_none_twice() {
    for size in [1, 3, 64, 1_000] {
        let ring = CountRing::new(size);
        thread::scope(|scope| {
            for offset in 0..4u64 {
                let ring = &ring;
                scope.spawn(move || {
                    for number in 0..20_000 {
                        ring.add(0, sample(number * 4 + offset));
                        assert!(ring.totals(0).slow <= u64::from(size));
                    }
                });
            }
        });
        let calls = ring.slots.iter().map(|slot| Slot::unpack(slot.load(Ordering::Relaxed)).call);
        let (failures, slow) = calls.fold((0, 0), |sums, call| (sums.0 + call.failures, sums.1 + call.slow));
        let totals = ring.totals(0);
        assert_eq!((totals.failures, totals.slow), (u64::from(failures), u64::from(slow)), "{size}");
        assert_eq!(totals.calls(), u64::from(size));
        // 80,000 calls, each of which moved the head by one, from the first lap on.
        let head = Head::unpack(ring.head.load(Ordering::Relaxed));
        assert_eq!((head.lap, head.index), ((80_000 / size + 1) & LAP_MASK, 80_000 % size));
    }
}
