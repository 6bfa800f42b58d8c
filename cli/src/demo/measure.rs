//! What the demo measures, and where: calls at the caller, as its user sees them, and load at the upstream.
//!
//! Both sides write into one [`Meter`]. A call belongs to the phase in which it *began*, so a slow answer that arrives
//! in the next phase counts against the phase that was slow; load belongs to the phase in which it arrives.

mod histogram;
mod meter;

pub(crate) use self::histogram::Histogram;
pub(crate) use self::meter::{Meter, Phase, Purpose, Scene, TICK, per_second};

use std::time::Duration;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Plain gRPC calls, with the retries that people write by hand.
    Unprotected,
    /// The same calls through the SDK.
    Protected,
}

impl Group {
    /// Both, in the order of [`Pair`]'s fields.
    pub(crate) const ALL: [Self; 2] = [Self::Unprotected, Self::Protected];

    /// Its name, as the upstream is told it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unprotected => "unprotected",
            Self::Protected => "protected",
        }
    }
}

/// One of something for each group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pair<T> {
    /// The unprotected group's.
    pub unprotected: T,
    /// The protected group's.
    pub protected: T,
}

impl<T> Pair<T> {
    /// One group's.
    pub(crate) const fn of(&self, group: Group) -> &T {
        match group {
            Group::Unprotected => &self.unprotected,
            Group::Protected => &self.protected,
        }
    }

    /// One group's, to change.
    pub(crate) const fn of_mut(&mut self, group: Group) -> &mut T {
        match group {
            Group::Unprotected => &mut self.unprotected,
            Group::Protected => &mut self.protected,
        }
    }
}

impl Pair<Tally> {
    /// Takes another pair's counts in.
    pub(crate) fn merge(&mut self, other: &Self) {
        for group in Group::ALL {
            self.of_mut(group).merge(other.of(group));
        }
    }
}

/// Who answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// The upstream.
    Live,
    /// A cached fallback.
    Cached,
    /// A static fallback.
    Static,
    /// An alternative service.
    Alternative,
    /// A smaller answer of the caller's own.
    Degraded,
    /// Nobody: the caller's user sees an error.
    Nobody,
}

impl Served {
    /// All of them, best first.
    pub(crate) const ALL: [Self; 6] =
        [Self::Live, Self::Cached, Self::Static, Self::Alternative, Self::Degraded, Self::Nobody];

    /// Its name for a reader.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cached => "cached",
            Self::Static => "static",
            Self::Alternative => "alternative",
            Self::Degraded => "degraded",
            Self::Nobody => "failed",
        }
    }
}

/// What one group did, and did to the upstream, over some time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    served: [u64; Served::ALL.len()],
    /// How long callers waited for their answer or error.
    pub latency: Histogram,
    /// Calls that reached the upstream, each retry included.
    pub arrivals: u64,
    /// The most calls that the upstream had in hand at once.
    pub peak_in_flight: u64,
}

impl Tally {
    /// Calls that have ended.
    pub(crate) fn calls(&self) -> u64 {
        self.served.iter().sum()
    }

    /// Calls that were answered by one source.
    pub(crate) const fn served_by(&self, served: Served) -> u64 {
        self.served[served as usize]
    }

    /// The share of calls that one source answered, in percent. `None`: no call has ended.
    pub(crate) fn percent(&self, served: Served) -> Option<f64> {
        percent(self.served_by(served), self.calls())
    }

    /// The share of calls that got an answer, whoever gave it, in percent. `None`: no call has ended.
    pub(crate) fn answered_percent(&self) -> Option<f64> {
        percent(self.calls() - self.served_by(Served::Nobody), self.calls())
    }

    /// Takes another tally's counts in.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.served.iter_mut().zip(other.served) {
            *mine += theirs;
        }
        self.latency.merge(&other.latency);
        self.arrivals += other.arrivals;
        self.peak_in_flight = self.peak_in_flight.max(other.peak_in_flight);
    }

    /// Counts a call that has ended.
    pub(crate) fn count(&mut self, served: Served, latency: Duration) {
        self.served[served as usize] += 1;
        self.latency.record(latency);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a demo are far below 2^52")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_answer_whoever_gave_it() {
        let mut tally = Tally::default();
        assert_eq!(tally.answered_percent(), None);
        for served in [Served::Live, Served::Static, Served::Cached, Served::Nobody] {
            tally.count(served, Duration::from_millis(1));
        }
        assert_eq!(tally.answered_percent(), Some(75.0));
        assert_eq!(tally.percent(Served::Live), Some(25.0));
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_higher_peak() {
        let mut one = Tally { arrivals: 2, peak_in_flight: 5, ..Tally::default() };
        let mut other = Tally { arrivals: 3, peak_in_flight: 4, ..Tally::default() };
        other.count(Served::Live, Duration::from_millis(1));
        one.merge(&other);
        assert_eq!((one.arrivals, one.peak_in_flight, one.calls()), (5, 5, 1));
    }
}
