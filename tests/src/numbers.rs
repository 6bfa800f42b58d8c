//! Random numbers that can be drawn again.

/// A stream of numbers from a printed seed: the same seed, the same faults in the same order.
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream of the seed in the environment variable `COFFERDAM_TEST_SEED`, else of a fresh one. Prints it.
    ///
    /// # Panics
    ///
    /// If the variable holds no number.
    pub fn seeded() -> Self {
        let seed = match std::env::var("COFFERDAM_TEST_SEED") {
            Ok(text) => text.parse().expect("COFFERDAM_TEST_SEED is a number"),
            Err(_) => fresh(),
        };
        eprintln!("to see the same again: COFFERDAM_TEST_SEED={seed}");
        Self(seed)
    }

    /// The stream of this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`.
    ///
    /// # Panics
    ///
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64: one line, every seed is good, and no library's next release changes the stream.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// A number that differs from run to run: the standard library seeds its hash maps with one.
fn fresh() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
