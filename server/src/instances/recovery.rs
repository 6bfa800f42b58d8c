//! How long breakers stay open: from the transition to open to the one to closed, at the same instance.
//!
//! A breaker that goes back from half-open to open has not recovered. One that was closed by a report which never came,
//! or at an instance that went away, is not counted.

use std::{collections::HashMap, time::Duration};

use cofferdam_core::{breaker::State, isolation::Part, latency::SparseLatency};
use tokio::time::Instant;

use super::Transitions;

/// By how much recoveries are longer than latencies: their histogram has the same buckets, of a thousandth of the time.
/// So it tells them apart from 1.024 ms to 19 hours.
const SCALE: u32 = 1000;

/// What a breaker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose breaker it was.
    pub part: Part,
    /// Its state before.
    pub from: State,
    /// Its state since.
    pub to: State,
    /// When.
    pub at: Instant,
}

/// The recoveries of a service's breakers, over all instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recoveries {
    /// How many there were.
    pub count: u64,
    /// How long all of them took together.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
    /// The last one: when, and how long it took.
    pub last: Option<(Instant, Duration)>,
    /// How long they took, each as a thousandth of its time.
    pub scaled: SparseLatency,
}

/// Recoveries, and those that are still to come.
#[derive(Debug, Default)]
pub(super) struct RecoveryLog {
    recoveries: Recoveries,
    transitions: Transitions,
    /// Since when breakers are open, by instance.
    open: HashMap<String, HashMap<Part, Instant>>,
}

impl Recoveries {
    /// The time that this share of them did not exceed, within 5.9 %. Absent: there was none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        self.scaled.quantile(share).map(|scaled| scaled.saturating_mul(SCALE))
    }

    /// How long they took in the mean. Absent: there was none.
    pub fn mean(&self) -> Option<Duration> {
        let nanos = self.sum.as_nanos().checked_div(self.count.into())?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Adds those of another service, or of other instances.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.longest = self.longest.max(other.longest);
        self.last = self.last.max(other.last);
        self.scaled.merge(&other.scaled);
    }

    fn record(&mut self, took: Duration, at: Instant) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(took);
        self.longest = self.longest.max(took);
        self.last = self.last.max(Some((at, took)));
        self.scaled.record(took / SCALE);
    }
}

impl RecoveryLog {
    /// Takes note of what a breaker of an instance did.
    pub(super) fn observe(&mut self, instance: &str, transition: Transition) {
        let Transition { part, from, to, at } = transition;
        self.transitions.count(from, to);
        match to {
            State::Open => {
                let open = self.open.entry(instance.to_owned()).or_default();
                open.entry(part).or_insert(at);
            }
            State::HalfOpen => {}
            State::Closed => {
                let Some(open) = self.open.get_mut(instance) else { return };
                if let Some(since) = open.remove(&part) {
                    self.recoveries.record(at.saturating_duration_since(since), at);
                }
                if open.is_empty() {
                    self.open.remove(instance);
                }
            }
        }
    }

    /// Gives up on instances that are gone: whatever was open there will not recover.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.open.retain(|instance, _| is_there(instance));
    }

    /// Those so far.
    pub(super) fn so_far(&self) -> &Recoveries {
        &self.recoveries
    }

    /// What breakers did so far.
    pub(super) fn transitions(&self) -> Transitions {
        self.transitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(log: &mut RecoveryLog, instance: &str, part: Part, to: State, at: Instant) {
        let from = if to == State::Open { State::Closed } else { State::Open };
        log.observe(instance, Transition { part, from, to, at });
    }

    #[test]
    fn a_recovery_is_from_the_first_open_to_closed_of_the_same_breaker() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut log = RecoveryLog::default();
        let pool = || Part::Pool("read".into());
        step(&mut log, "one", Part::Service, State::Open, at(0));
        step(&mut log, "one", pool(), State::Open, at(5));
        step(&mut log, "one", Part::Service, State::HalfOpen, at(10));
        step(&mut log, "one", Part::Service, State::Open, at(11));
        step(&mut log, "two", Part::Service, State::Closed, at(12));
        assert_eq!(log.so_far(), &Recoveries::default(), "nothing has recovered");
        step(&mut log, "one", pool(), State::Closed, at(15));
        step(&mut log, "one", Part::Service, State::Closed, at(40));
        step(&mut log, "one", Part::Service, State::Closed, at(50));
        let seen = log.so_far();
        assert_eq!((seen.count, seen.longest), (2, Duration::from_secs(40)));
        assert_eq!(seen.last, Some((at(40), Duration::from_secs(40))));
        assert_eq!((seen.mean(), Recoveries::default().mean()), (Some(Duration::from_secs(25)), None));
        let median = seen.quantile(0.5).unwrap().as_secs_f64();
        assert!((9.4..=10.6).contains(&median), "{median}");
        assert!(log.open.is_empty());
    }

    #[test]
    fn who_is_gone_does_not_recover() {
        let begin = Instant::now();
        let mut log = RecoveryLog::default();
        step(&mut log, "one", Part::Service, State::Open, begin);
        log.retain(|instance| instance != "one");
        step(&mut log, "one", Part::Service, State::Closed, begin + Duration::from_secs(1));
        assert_eq!(log.so_far().count, 0);
    }

    #[test]
    fn services_add_up() {
        let begin = Instant::now();
        let after = |seconds: u64| {
            let mut recoveries = Recoveries::default();
            recoveries.record(Duration::from_secs(seconds), begin + Duration::from_secs(seconds));
            recoveries
        };
        let mut sum = after(3600);
        sum.merge(&after(60));
        assert_eq!((sum.count, sum.mean()), (2, Some(Duration::from_secs(1830))));
        assert_eq!(sum.last.unwrap().1, Duration::from_secs(3600));
        let longest = sum.quantile(1.0).unwrap().as_secs_f64();
        assert!((3388.0..=3812.0).contains(&longest), "{longest}");
    }
}
