//! The cost of one protected call, ours beside its peers'. `make bench` runs it and prints the table.
//!
//! All cases run in one process, interleaved: each round gives every case the same number of calls, and the figure is
//! the median over the rounds, so that a noisy moment of the machine hits all of them. The call itself is a no-op that
//! the compiler cannot see through; its bare cost is a row of its own.

mod cases;
mod harness;

use cases::{ours, peers};
use harness::{Case, measure};

fn main() {
    let mut cases: Vec<Case> = ours::cases();
    cases.extend(peers::cases());
    for threads in [1, 2] {
        println!("\n{threads} thread(s), ns per call: median of {} rounds", harness::ROUNDS);
        println!("{:<58} {:>9} {:>9} {:>9}", "case", "median", "lowest", "highest");
        for row in measure(&cases, threads) {
            println!("{:<58} {:>9.2} {:>9.2} {:>9.2}", row.name, row.median, row.lowest, row.highest);
        }
    }
}
