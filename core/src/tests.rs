//! What the tests of the whole crate share.

mod health;
#[cfg(any(loom, shuttle))]
pub(crate) mod models;
mod stress;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use std::fmt::Debug;

/// How many times more cases the long form of a property test takes (`make test-long`).
const LONG: u32 = 50;

/// Checks a property of random values; in the long form, of many more. A failure says the smallest case that was found
/// and the seed, which `PROPTEST_RNG_SEED` repeats.
pub(crate) fn property<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: Debug,
{
    let is_long = std::env::var_os("COFFERDAM_LONG").is_some();
    let mut config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 10_000, ..ProptestConfig::default() };
    config.cases = if is_long { cases * LONG } else { cases };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(std::hash::Hasher::finish(&std::hash::BuildHasher::build_hasher(
            &std::collections::hash_map::RandomState::new(),
        )));
    }
    let seed = config.rng_seed;
    match TestRunner::new(config).run(&strategy, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => {
            panic!("{reason}\nwith {seed:?}, in the smallest case found:\n{value:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}\nwith {seed:?}"),
    }
}
