//! The manager's one wall clock.
//!
//! Wall time only ever labels things for people (when was this registered, when was that observed) and seeds the epoch
//! of a new store. Nothing is ordered, expired or retried by it: revisions order, and Tokio's monotonic clock times.

use std::{
    fmt::Debug,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the manager reads the time of day.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// Whole milliseconds since 1970; zero before.
    fn unix_millis(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Clock;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// A clock that stands still, at so many milliseconds since 1970.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct FixedClock(pub(crate) u64);

    impl Clock for FixedClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_millis(self.0)
        }
    }
}
