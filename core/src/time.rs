//! Time as plain numbers. The engine never reads a clock: its host does, and passes what it read.

mod wall;

pub use wall::{Clocks, InvalidWallTime, WallTime};

use std::time::Duration;

/// A point on its host's monotonic clock: nanoseconds since an origin that the host chose.
///
/// Timestamps of different hosts, or of different clocks of one host, must not be mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// The point so many nanoseconds after the origin.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point so many milliseconds after the origin; the last representable one where that is too far.
    #[inline]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The point a while later; the last representable one where that is too far.
    #[must_use]
    #[inline]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The point a while earlier; the origin where that is too far.
    #[must_use]
    #[inline]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// The time since an earlier point; zero where that point is later.
    #[inline]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, which hold 584 years.
#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let start = Timestamp::from_millis(1);
        assert_eq!(start.saturating_add(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(start.saturating_sub(Duration::from_secs(1)), Timestamp::ZERO);
        assert_eq!(start.saturating_since(Timestamp::from_millis(2)), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(3).saturating_since(start), Duration::from_millis(2));
    }
}
