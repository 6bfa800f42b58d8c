//! A quantile of late, for whoever acts on it call by call.
//!
//! The histogram only ever grows. What is recent is the difference between it and what it was a while ago, so nothing is
//! swept and a latency is recorded by one addition. Two earlier snapshots are kept, which take turns: the window begins
//! at the older one and is 15 to 30 s long, as long as a breaker's window and as the history of Finagle's
//! `BackupRequestFilter`. After a quiet time it is empty, and yesterday decides nothing.
//!
//! Adding up 210 buckets of each thread takes microseconds, so an answer is kept for 2^28 ns, about a quarter of a
//! second. It is one word, `[quarter 32 | share 24 | bucket 8]`, so that nobody can read the answer to one question as
//! that to another.

use super::bucket::value_of;
use super::{LatencyHistogram, LatencySnapshot};
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Timestamp;
use std::sync::TryLockError;
use std::time::Duration;

/// How old the newer of the two snapshots gets before it becomes the older.
const HALF: Duration = Duration::from_secs(15);
/// log2 of how long an answer is kept, in nanoseconds.
const KEPT_BITS: u32 = 28;
/// How many latencies are to be expected above a quantile for it to be acted on. The share of calls above a quantile
/// that `n` latencies tell is then off by a third at most, most of the time (its standard error is `1 / sqrt(10)` of
/// it); with fewer, chance decides.
const EXPECTED_ABOVE: u64 = 10;
/// Stands for a bucket where too few were counted.
const TOO_FEW: u64 = 0xff;
const SHARE_BITS: u32 = 24;

/// Latencies that add up to a [`LatencyHistogram`], of which the recent ones answer for quantiles.
#[derive(Debug, Default)]
pub struct RecentLatency {
    histogram: LatencyHistogram,
    /// The last answer.
    answer: AtomicU64,
    window: Mutex<Window>,
}

/// How many latencies are enough to act on a quantile: 20 for the median, 200 for 0.95, 1,000 for 0.99. Ten are then to
/// be expected above it.
pub fn enough_for(share: f64) -> u64 {
    // In whole numbers, for 1 - 0.9 is not quite a tenth.
    (EXPECTED_ABOVE << SHARE_BITS).div_ceil((1 << SHARE_BITS) - fixed(share))
}

/// Where the recent past begins.
#[derive(Debug, Default)]
struct Window {
    older: LatencySnapshot,
    newer: LatencySnapshot,
    /// When the newer one was taken.
    taken: Timestamp,
}

impl RecentLatency {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a latency.
    #[inline]
    pub fn record(&self, latency: Duration) {
        self.histogram.record(latency);
    }

    /// All that was ever counted.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        self.histogram.snapshot()
    }

    /// The latency that this share, in (0, 1), of the recent ones does not exceed, up to a quarter of a second old.
    /// `None`: too few to say, see [`enough_for`].
    pub fn quantile(&self, share: f64, now: Timestamp) -> Option<Duration> {
        let last = Answer::unpack(self.answer.load(Relaxed));
        let (tick, fixed) = ((now.as_nanos() >> KEPT_BITS) as u32, fixed(share));
        // A caller that is late must not put an old answer in place of a new one.
        let is_fresh = last.tick.wrapping_sub(tick) < u32::MAX / 2;
        if last.share == fixed && is_fresh {
            return last.value();
        }
        let mut window = match self.window.try_lock() {
            Ok(window) => window,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody else is at it.
            Err(TryLockError::WouldBlock) => return if last.share == fixed { last.value() } else { None },
        };
        let recent = window.advance(self.histogram.snapshot(), now);
        let bucket = if recent.count() < enough_for(share) { None } else { recent.quantile_bucket(share) };
        let answer = Answer { tick, share: fixed, bucket: bucket.map_or(TOO_FEW, |bucket| bucket as u64) };
        self.answer.store(answer.pack(), Relaxed);
        answer.value()
    }
}

impl Window {
    /// Moves on to a time at which the histogram counts so much; what it has counted since the window's beginning.
    fn advance(&mut self, current: LatencySnapshot, now: Timestamp) -> LatencySnapshot {
        let age = now.saturating_since(self.taken);
        if age >= HALF {
            let newer = std::mem::replace(&mut self.newer, current.clone());
            self.older = if age < 2 * HALF { newer } else { current.clone() };
            self.taken = now;
        }
        current.since(&self.older)
    }
}

/// What was last said, of which share, when.
#[derive(Clone, Copy)]
struct Answer {
    tick: u32,
    share: u64,
    bucket: u64,
}

impl Answer {
    fn unpack(word: u64) -> Self {
        Self { tick: (word >> 32) as u32, share: word >> 8 & ((1 << SHARE_BITS) - 1), bucket: word & TOO_FEW }
    }

    fn pack(self) -> u64 {
        u64::from(self.tick) << 32 | self.share << 8 | self.bucket
    }

    fn value(self) -> Option<Duration> {
        (self.bucket != TOO_FEW).then(|| value_of(self.bucket as usize))
    }
}

/// A share as a part of 2^24; never zero, which is nobody's.
fn fixed(share: f64) -> u64 {
    ((share * f64::from(1 << SHARE_BITS)) as u64).clamp(1, (1 << SHARE_BITS) - 1)
}
