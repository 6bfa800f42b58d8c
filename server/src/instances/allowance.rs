//! How much of what an instance does is told as events.
//!
//! The ring of events is everybody's. A breaker that flaps, or an instance that is out of order, would push out within
//! seconds what an operator has done.

use std::time::Duration;

use tokio::time::Instant;

/// Events at once: all breakers of a large process open when its network goes.
const AT_ONCE: f64 = 1_000.0;
/// Events a second, in the long run.
const PER_SECOND: f64 = 100.0;

/// What an instance may still tell on its stream.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn full(now: Instant) -> Self {
        Self { left: AT_ONCE, at: now }
    }

    /// Takes as many of these as are left.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let earned = now.saturating_duration_since(self.at).min(MOST_EARNED).as_secs_f64() * PER_SECOND;
        let left = (self.left + earned).min(AT_ONCE);
        // Whole ones alone; neither number is beyond a thousand.
        let taken = wanted.min(left as usize);
        (self.left, self.at) = (left - taken as f64, now);
        taken
    }
}

/// After so long an allowance is full again, whatever was left.
const MOST_EARNED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_and_then_a_hundred_a_second() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut allowance = Allowance::full(begin);
        let taken = [(600, 0), (600, 0), (1, 5), (5, 10), (90, 500), (5000, 3_600_000)]
            .map(|(wanted, millis)| allowance.take(wanted, at(millis)));
        assert_eq!(taken, [600, 400, 0, 1, 49, 1000]);
        assert_eq!(allowance.take(7, at(0)), 0, "a clock that is read earlier gives nothing back");
    }
}
