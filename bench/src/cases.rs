pub mod ours;
pub mod peers;

use std::hint::black_box;

/// The protected call: a no-op that is really called.
#[inline(never)]
pub fn succeed() -> Result<u64, u64> {
    black_box(Ok(1))
}

/// The same, failing.
#[inline(never)]
pub fn fail() -> Result<u64, u64> {
    black_box(Err(1))
}
