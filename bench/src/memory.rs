//! What stays in memory for each breaker, and for each isolation of a service.

use crate::report::{Footprint, THREADS};
use std::sync::Barrier;
use std::thread;

/// Of how many of a kind the mean is taken: what they share does not count for each.
const COPIES: usize = 64;
/// Calls that make a breaker warm, on each thread.
const CALLS: u64 = 1_000;

/// Something whose memory is measured.
pub struct Subject {
    pub name: &'static str,
    pub measure: Box<dyn Fn() -> Footprint>,
}

impl Subject {
    /// A kind, how to make one by its number, and how to make a call through it.
    pub fn new<T: Send + Sync>(
        name: &'static str,
        make: impl Fn(usize) -> T + 'static,
        call: impl Fn(&T) + Sync + 'static,
    ) -> Self {
        Self { name, measure: Box::new(move || footprint(&make, &call)) }
    }
}

fn footprint<T: Send + Sync>(make: impl Fn(usize) -> T, call: impl Fn(&T) + Sync) -> Footprint {
    // What is set up once, for the process or for this thread, is there before anything is counted.
    let warm = |subject: &T| (0..CALLS).for_each(|_| call(subject));
    let first = make(COPIES);
    warm(&first);
    let mut copies = Vec::with_capacity(COPIES);
    let each = |bytes: i64| bytes / COPIES as i64;
    let made = kept(|| copies.extend((0..COPIES).map(&make)));
    let warmed = kept(|| copies.iter().for_each(warm));
    let shared = warm_by_many(&first, &copies, &warm);
    let idle = size_of::<T>() as i64 + each(made);
    Footprint { idle, one_thread: idle + each(warmed), many_threads: idle + each(warmed + shared) }
}

/// Calls each copy on more threads, all of which live until the last is done. The bytes that stay.
fn warm_by_many<T: Sync>(first: &T, copies: &[T], warm: &(impl Fn(&T) + Sync)) -> i64 {
    let barrier = Barrier::new(THREADS - 1);
    thread::scope(|scope| {
        let work = || {
            warm(first);
            barrier.wait();
            let bytes = kept(|| {
                for copy in copies {
                    warm(copy);
                }
            });
            barrier.wait();
            bytes
        };
        let handles: Vec<_> = (1..THREADS).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a call must not panic")).sum()
    })
}

/// Bytes that this thread allocates and does not give back.
fn kept(work: impl FnOnce()) -> i64 {
    allocation_counter::measure(work).bytes_current
}
