use crate::runtime::random_part;
use std::time::Duration;

/// The first pause, at most.
const BASE: Duration = Duration::from_millis(100);
/// Any pause, at most.
const CAP: Duration = Duration::from_secs(5);
/// Pauses between attempts to reach the manager: exponential, with full jitter, so that instances that lost a manager
/// together do not come back together.
///
/// Where the manager has so many instances that even that is too soon for all of them, it says over how much time they
/// are to come back: no pause's upper bound is below that.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    window: Duration,
}

impl Backoff {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        random_part(self.longest())
    }

    /// Takes note for how long a stream went on after its first answer. The pauses start over where that is twice the
    /// longest that would come next. A connection alone is no reason, nor is an answer: two processes that have one
    /// instance id push each other off the manager, and the stream of each lasts for as long as the other pauses. They
    /// would do so ten times a second, for ever.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time >= 2 * self.bound() {
            self.reset();
        }
    }

    /// Starts over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Takes note of the time over which all instances are to come back.
    pub(super) fn spread_over(&mut self, window: Duration) {
        self.window = window;
    }

    fn longest(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        bound.max(self.window)
    }

    fn bound(&self) -> Duration {
        BASE.saturating_mul(2_u32.saturating_pow(self.failures)).min(CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_again() {
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..8).map(|_| backoff.longest().as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.longest(), CAP);
        backoff.lasted(2 * CAP - BASE);
        assert_eq!(backoff.longest(), CAP);
        backoff.lasted(2 * CAP);
        assert_eq!((backoff.longest(), backoff.longest()), (BASE, 2 * BASE));
        // A manager that is lost again after a while is looked for at once.
        backoff.lasted(8 * BASE);
        assert_eq!(backoff.longest(), BASE);
    }

    #[test]
    fn no_bound_is_below_the_window() {
        let mut backoff = Backoff::default();
        backoff.spread_over(Duration::from_secs(2));
        let longest: Vec<_> = (0..8).map(|_| backoff.longest().as_millis()).collect();
        assert_eq!(longest, [2000, 2000, 2000, 2000, 2000, 3200, 5000, 5000]);
    }

    #[test]
    fn pauses_are_spread_over_all_of_it() {
        let pauses: Vec<_> = (0..200).map(|_| Backoff::default().pause()).collect();
        assert!(pauses.iter().all(|pause| *pause <= BASE));
        assert!(pauses.iter().any(|pause| *pause < BASE / 4));
        assert!(pauses.iter().any(|pause| *pause > BASE * 3 / 4));
    }
}
