use super::*;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::sync::Barrier;
use std::thread;

type Count = Striped<AtomicU64>;

fn add(count: &Count) {
    match count.mine() {
        Stripe::Own(own) => own.get().store(own.get().load(Relaxed) + 1, Relaxed),
        Stripe::Shared(shared) => {
            shared.fetch_add(1, Relaxed);
        }
    }
}

fn sum(count: &Count) -> u64 {
    count.all().map(|stripe| stripe.load(Relaxed)).sum()
}

/// Where a thread writes to, and whether it is its own.
fn address(count: &Count) -> (bool, usize) {
    match count.mine() {
        Stripe::Own(own) => (true, std::ptr::from_ref(own.get()).addr()),
        Stripe::Shared(shared) => (false, std::ptr::from_ref(shared).addr()),
    }
}

#[test]
fn living_threads_own_a_stripe_each_and_those_beyond_share_one() {
    const THREADS: usize = 100;
    let count = Count::new();
    let barrier = Barrier::new(THREADS);
    let addresses: Vec<(bool, usize)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mine = address(&count);
                    add(&count);
                    barrier.wait();
                    mine
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let mut owned: Vec<usize> = addresses.iter().filter(|(is_own, _)| *is_own).map(|(_, at)| *at).collect();
    let mut shared: Vec<usize> = addresses.iter().filter(|(is_own, _)| !is_own).map(|(_, at)| *at).collect();
    let owners = owned.len();
    owned.sort_unstable();
    owned.dedup();
    shared.dedup();
    assert_eq!((owned.len(), shared.len()), (owners, 1));
    assert!(owners <= 64, "other tests' threads have slots too: {owners}");
    assert_eq!(sum(&count), THREADS as u64);
}

#[test]
fn a_thread_keeps_its_stripe_and_has_one_in_each() {
    let (one, other) = (Count::new(), Count::new());
    let mine = address(&one);
    for _ in 0..10 {
        add(&one);
        add(&other);
    }
    assert_eq!(address(&one), mine);
    assert_ne!(address(&other).1, mine.1);
    assert_eq!((sum(&one), sum(&other)), (10, 10));
}

#[test]
fn threads_that_come_and_go_lose_no_count_and_double_none() {
    const ROUNDS: u64 = 20;
    const THREADS: u64 = 80;
    let count = Count::new();
    for round in 1..=ROUNDS {
        thread::scope(|scope| {
            for number in 0..THREADS {
                let count = &count;
                // Some end at once, and others take their slots while the rest still count.
                scope.spawn(move || (0..=number * 5).for_each(|_| add(count)));
            }
        });
        let a_round = (0..THREADS).map(|number| number * 5 + 1).sum::<u64>();
        assert_eq!(sum(&count), round * a_round);
    }
    assert!(count.all().count() <= 65, "slots are handed on");
}

/// Counts when its thread is taken down.
struct Last(std::sync::Arc<Count>);

impl Drop for Last {
    fn drop(&mut self) {
        add(&self.0);
    }
}

thread_local! {
    static BEFORE: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    static AFTER: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_thread_that_is_taken_down_still_counts() {
    let count = std::sync::Arc::new(Count::new());
    for _ in 0..100 {
        let count = std::sync::Arc::clone(&count);
        thread::spawn(move || {
            // Thread-locals go in an order of the platform's: one of the two goes after the slot.
            BEFORE.set(Some(Last(std::sync::Arc::clone(&count))));
            add(&count);
            AFTER.set(Some(Last(count)));
        })
        .join()
        .unwrap();
    }
    assert_eq!(sum(&count), 300);
}

#[test]
fn a_thread_that_found_no_slot_takes_one_when_it_is_free() {
    const THREADS: usize = 100;
    let count = Count::new();
    let barrier = Barrier::new(THREADS);
    let had_none: usize = thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let (has_own, _) = address(&count);
                    barrier.wait();
                    // Those who have a slot end, and leave it to one who waits.
                    while !address(&count).0 {
                        thread::yield_now();
                    }
                    add(&count);
                    usize::from(!has_own)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    assert!(had_none >= THREADS - 64, "{had_none}");
    assert_eq!(sum(&count), THREADS as u64);
}
