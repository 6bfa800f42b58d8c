//! Fleet hints: what an instance hears of the breakers of the others.
//!
//! Each instance learns for itself, so a service that fails is met by every instance until each has seen enough of it: a
//! fleet of twenty-four processes with a breaker of five failures pays for 120. State that is shared would cost less and
//! is worse, for then one instance with a broken network opens the breakers of all. A hint is between the two. A manager
//! gives one when *enough* instances, at least two of them, have opened by their own rules; and it opens nothing. It
//! halves what a closed breaker waits for: `consecutive_failures` and `minimum_calls`, rounded up. So an instance for
//! which the service works is never kept from it, whatever the others say, and one for which it fails finds out sooner.
//!
//! All else is as without a hint. A breaker that is open or half-open recovers by its own probes, at its own time: the
//! jitter of the open time spreads those over the fleet. The share of slow calls waits for the whole `minimum_calls`: a
//! success that was slow is no failure. A hint is over at its time, by the instance's monotonic clock, whether its manager
//! is there or not; and with the policy that has no use for hints.
//!
//! It is for the breaker of the service itself. What pools and overrides have to themselves is about some of the calls,
//! which other instances may not even make.

use crate::policy::limits::MAX_HINT_TTL;
use crate::time::Timestamp;
use std::time::Duration;

/// What the breakers of other instances say: so many of so many are not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetHint {
    open_instances: u32,
    instances: u32,
    since: Timestamp,
    until: Timestamp,
}

/// This is no hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFleetHint {
    /// One instance alone must never decide for the others.
    #[error("a fleet hint takes 2 open instances at least, not {0}")]
    TooFew(u32),
    /// More instances are open than there are.
    #[error("{open_instances} of {instances} instances cannot be open")]
    MoreThanAll {
        /// So many are open.
        open_instances: u32,
        /// Of so many.
        instances: u32,
    },
    /// It would never be over, or never begin.
    #[error("a fleet hint lasts for more than nothing and at most {MAX_HINT_TTL:?}, not {0:?}")]
    Ttl(Duration),
}

impl FleetHint {
    /// A hint that is in force from now on for a time of at most 10 min.
    ///
    /// # Errors
    ///
    /// [`InvalidFleetHint`] where fewer than two instances are open, or more than there are, or the time is not one.
    pub fn new(open_instances: u32, instances: u32, ttl: Duration, now: Timestamp) -> Result<Self, InvalidFleetHint> {
        if open_instances < 2 {
            return Err(InvalidFleetHint::TooFew(open_instances));
        }
        if open_instances > instances {
            return Err(InvalidFleetHint::MoreThanAll { open_instances, instances });
        }
        if ttl.is_zero() || ttl > MAX_HINT_TTL {
            return Err(InvalidFleetHint::Ttl(ttl));
        }
        Ok(Self { open_instances, instances, since: now, until: now.saturating_add(ttl) })
    }

    /// Instances where the breaker was open or half-open; at least 2.
    pub const fn open_instances(&self) -> u32 {
        self.open_instances
    }

    /// Instances that have one.
    pub const fn instances(&self) -> u32 {
        self.instances
    }

    /// Since when it has been in force, renewals included.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// When it is over, unless it is renewed.
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether it is not over.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// The same as a renewal of one that is in force since an earlier time.
    pub(crate) fn renewing(self, since: Timestamp) -> Self {
        Self { since, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn a_hint_is_of_two_instances_at_least_and_of_no_more_than_there_are() {
        let hint = |open, all| FleetHint::new(open, all, Duration::from_secs(1), NOW);
        assert_eq!(hint(0, 9), Err(InvalidFleetHint::TooFew(0)));
        assert_eq!(hint(1, 1), Err(InvalidFleetHint::TooFew(1)));
        assert_eq!(hint(3, 2), Err(InvalidFleetHint::MoreThanAll { open_instances: 3, instances: 2 }));
        let hint = hint(2, 2).unwrap();
        assert_eq!((hint.open_instances(), hint.instances(), hint.since()), (2, 2, NOW));
    }

    #[test]
    fn a_hint_ends() {
        let hint = |ttl| FleetHint::new(2, 4, ttl, NOW);
        assert_eq!(hint(Duration::ZERO), Err(InvalidFleetHint::Ttl(Duration::ZERO)));
        let too_long = MAX_HINT_TTL + Duration::from_nanos(1);
        assert_eq!(hint(too_long), Err(InvalidFleetHint::Ttl(too_long)));
        let hint = hint(MAX_HINT_TTL).unwrap();
        assert_eq!(hint.until(), NOW.saturating_add(MAX_HINT_TTL));
        assert!(hint.is_in_force(NOW) && !hint.is_in_force(hint.until()));
    }
}
