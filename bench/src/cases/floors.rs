//! What nobody can be below.

use super::{Case, succeed};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub fn cases() -> Vec<Case> {
    let (atomic, counter) = (AtomicU64::new(0), AtomicU64::new(0));
    // The counter of the processor, as it is: what a library that calibrates it pays before it knows the time.
    let clock = quanta::Clock::new();
    vec![
        Case::new("the call itself", || {
            let _ = black_box(succeed());
        }),
        Case::new("one atomic load", move || {
            black_box(atomic.load(Ordering::Acquire));
        }),
        Case::new("one shared atomic add", move || {
            black_box(counter.fetch_add(1, Ordering::Relaxed));
        }),
        Case::new("one clock read, `Instant::now`", || {
            black_box(Instant::now());
        }),
        Case::new("one read of the processor's time stamp (quanta 0.13)", move || {
            black_box(clock.raw());
        }),
    ]
}
