//! Allocations of each case, and memory of each subject, a line each: `times` reads them.
//!
//! It is a program of its own, for the allocator that counts must not slow down the times of who allocates.

use cofferdam_bench::cases::{Case, groups, subjects};

const CALLS: u64 = 1_000;

fn main() {
    for group in groups() {
        for case in &group.cases {
            println!("allocations\t{}\t{}\t{}", group.title, case.name, allocations(case));
        }
    }
    for subject in subjects() {
        let bytes = (subject.measure)();
        println!("memory\t{}\t{}\t{}\t{}", subject.name, bytes.idle, bytes.one_thread, bytes.many_threads);
    }
}

/// Allocations of each call, without those of setting up.
fn allocations(case: &Case) -> f64 {
    let count = |calls| allocation_counter::measure(|| (case.run)(calls)).count_total;
    count(CALLS);
    let (fewer, more) = (count(CALLS), count(2 * CALLS));
    more.saturating_sub(fewer) as f64 / CALLS as f64
}
