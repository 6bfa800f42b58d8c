//! Times of day, and how they become the engine's.

use super::Timestamp;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A time of day, as people and other hosts mean it: nanoseconds since 1970 in UTC, in the years 1 to 9999.
///
/// It is no [`Timestamp`]: a wall clock jumps. The engine takes one only as what somebody wrote down, and turns it into a
/// point on the monotonic clock at once ([`Clocks::monotonic`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    seconds: i64,
    nanos: u32,
}

/// The numbers are no time in the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time from 0001-01-01 to 9999-12-31, with 0 to 999999999 nanoseconds")]
pub struct InvalidWallTime;

/// The seconds of the year 1, and of the end of 9999: as `google.protobuf.Timestamp` has them.
const WALL_SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

impl WallTime {
    /// The time so many whole seconds and nanoseconds after the beginning of 1970; before it, seconds are negative.
    ///
    /// # Errors
    ///
    /// [`InvalidWallTime`], where it is no time in the years 1 to 9999.
    pub fn new(seconds: i64, nanos: u32) -> Result<Self, InvalidWallTime> {
        if WALL_SECONDS.contains(&seconds) && nanos < NANOS_PER_SECOND {
            Ok(Self { seconds, nanos })
        } else {
            Err(InvalidWallTime)
        }
    }

    /// The time so long after the beginning of 1970; the end of 9999 where that is too far.
    pub fn after_1970(since: Duration) -> Self {
        let last = *WALL_SECONDS.end();
        let seconds = i64::try_from(since.as_secs()).map_or(last, |seconds| seconds.min(last));
        Self { seconds, nanos: since.subsec_nanos() }
    }

    /// Whole seconds since the beginning of 1970.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after them.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// The time since an earlier one; zero where that one is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = self.as_nanos().saturating_sub(earlier.as_nanos());
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos)
    }
}

/// What the clocks of a host read at one moment: how a time that somebody wrote down becomes one of the engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The monotonic clock.
    pub monotonic: Timestamp,
    /// The wall clock.
    pub wall: WallTime,
}

impl Clocks {
    /// A wall time as a point on the monotonic clock, as if the wall clock went on from here as that one does: what the
    /// wall clock does later changes nothing. This moment where the time is over, the last representable one where it is
    /// too far.
    pub fn monotonic(self, wall: WallTime) -> Timestamp {
        self.monotonic.saturating_add(wall.saturating_since(self.wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_become_points_on_the_monotonic_clock() {
        let clocks =
            Clocks { monotonic: Timestamp::from_millis(5_000), wall: WallTime::new(1_000, 500_000_000).unwrap() };
        let at = |seconds, nanos| clocks.monotonic(WallTime::new(seconds, nanos).unwrap()).as_millis();
        assert_eq!(at(1_002, 0), 6_500);
        assert_eq!((at(1_000, 0), at(-1_000, 0)), (5_000, 5_000), "what is over is over");
        assert_eq!(at(*WALL_SECONDS.end(), 0), Timestamp::from_nanos(u64::MAX).as_millis(), "as far as it goes");
        let late = Clocks { monotonic: Timestamp::from_nanos(u64::MAX - 1), ..clocks };
        assert_eq!(late.monotonic(WallTime::new(1_002, 0).unwrap()).as_nanos(), u64::MAX);
    }

    #[test]
    fn wall_times_are_those_of_the_contract() {
        assert!(
            WallTime::new(*WALL_SECONDS.start(), 0).is_ok() && WallTime::new(*WALL_SECONDS.end(), 999_999_999).is_ok()
        );
        for (seconds, nanos) in [(*WALL_SECONDS.start() - 1, 0), (*WALL_SECONDS.end() + 1, 0), (0, 1_000_000_000)] {
            assert_eq!(WallTime::new(seconds, nanos), Err(InvalidWallTime));
        }
        let after = WallTime::after_1970(Duration::from_millis(1_500));
        assert_eq!((after.seconds(), after.nanos()), (1, 500_000_000));
        assert_eq!(WallTime::after_1970(Duration::MAX).seconds(), *WALL_SECONDS.end());
    }
}
