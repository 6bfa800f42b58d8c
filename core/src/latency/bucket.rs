//! The buckets; the [module above](super) says what they are and why.

use std::time::Duration;

/// How many buckets there are.
pub const BUCKETS: usize = 1 + OCTAVES * PER_OCTAVE + 1;

/// The highest bit of the shortest latency that is told from shorter ones.
const FIRST_OCTAVE: u32 = 10;
const OCTAVES: usize = 26;
/// log2 of the buckets of one octave.
const PER_OCTAVE_BITS: u32 = 3;
const PER_OCTAVE: usize = 1 << PER_OCTAVE_BITS;
const LAST: usize = BUCKETS - 1;

/// The bucket of a latency.
#[inline]
pub fn bucket_of(latency: Duration) -> usize {
    // In 64 bits, which hold 584 years.
    let nanos = latency.as_secs().saturating_mul(1_000_000_000).saturating_add(latency.subsec_nanos().into());
    // The bit makes zero a latency of the first bucket, too.
    let Some(octave) = (nanos | 1).ilog2().checked_sub(FIRST_OCTAVE) else {
        return 0;
    };
    let within = (nanos >> (octave + FIRST_OCTAVE - PER_OCTAVE_BITS)) as usize & (PER_OCTAVE - 1);
    (1 + octave as usize * PER_OCTAVE + within).min(LAST)
}

/// The shortest latency of a bucket, and the shortest that is too long for it; [`Duration::MAX`] for the last bucket,
/// and for a number that no bucket has.
pub fn bucket_bounds(bucket: usize) -> (Duration, Duration) {
    let lower = match bucket {
        0 => Duration::ZERO,
        1..=LAST => Duration::from_nanos(lower_nanos(bucket)),
        _ => Duration::MAX,
    };
    let upper = if bucket < LAST { Duration::from_nanos(lower_nanos(bucket + 1)) } else { Duration::MAX };
    (lower, upper)
}

/// The value that stands for the latencies of a bucket.
pub(super) fn value_of(bucket: usize) -> Duration {
    if bucket == 0 || bucket >= LAST {
        return Duration::from_nanos(lower_nanos(bucket.clamp(1, LAST)));
    }
    let (octave, within) = place(bucket);
    // 2ab / (a + b) with a and b in eighths of the octave, whose number is small.
    let (a, b) = (PER_OCTAVE as u64 + within, PER_OCTAVE as u64 + within + 1);
    Duration::from_nanos(((2 * a * b) << (octave - PER_OCTAVE_BITS)) / (a + b))
}

/// The lower bound of a bucket that is not the first.
fn lower_nanos(bucket: usize) -> u64 {
    let (octave, within) = place(bucket);
    (PER_OCTAVE as u64 + within) << (octave - PER_OCTAVE_BITS)
}

/// The octave of a bucket that is not the first, and its place in it.
fn place(bucket: usize) -> (u32, u64) {
    let index = bucket.saturating_sub(1);
    (FIRST_OCTAVE + (index / PER_OCTAVE) as u32, (index % PER_OCTAVE) as u64)
}
