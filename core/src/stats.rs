//! What is counted of a service's calls: the counters of the contract's `CallCounters`, one by one.
//!
//! Every call counts several times, so each thread counts on a stripe of its own; see the module `stripe`. A snapshot
//! adds the stripes up. It is taken while calls go on: each of its numbers is right, and none is ever less than in an
//! earlier snapshot, but a call that is just ending may be in one of them and not yet in another.

use crate::stripe::{Stripe, Striped};
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Defines the counters once, in the order of the contract.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident $variant:ident,)+) => {
        /// A counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Counter {
            /// All counters, in the order of the contract.
            pub const ALL: [Self; COUNT] = [$(Self::$variant,)+];

            /// Its name in the contract.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)+ }
            }
        }

        const COUNT: usize = [$(stringify!($field),)+].len();

        /// All counters at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct CounterSnapshot {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl CounterSnapshot {
            /// What one counter says.
            pub const fn get(&self, counter: Counter) -> u64 {
                match counter { $(Counter::$variant => self.$field,)+ }
            }

            fn get_mut(&mut self, counter: Counter) -> &mut u64 {
                match counter { $(Counter::$variant => &mut self.$field,)+ }
            }
        }
    };
}

counters! {
    /// Protected calls that have ended.
    calls Calls,
    /// Answered by the service itself.
    served_live ServedLive,
    /// Answered by a cached fallback.
    served_cached ServedCached,
    /// Answered by a static fallback.
    served_static ServedStatic,
    /// Answered by an alternative service.
    served_alternative ServedAlternative,
    /// Answered by a degraded fallback, or by the caller's own.
    served_degraded ServedDegraded,
    /// Ended with an error for the caller.
    failed Failed,
    /// Ended by the caller's own cancellation.
    cancelled Cancelled,
    /// Attempts that were made, those included that met a refused connection.
    attempts Attempts,
    /// Attempts that succeeded.
    attempt_successes AttemptSuccesses,
    /// Attempts that failed, timeouts included.
    attempt_failures AttemptFailures,
    /// Attempts that said nothing about the service.
    attempt_neutrals AttemptNeutrals,
    /// Attempts that ran out of time.
    timeouts Timeouts,
    /// Attempts after the first of their call, hedges left out.
    retries Retries,
    /// Retries that the budget refused.
    retries_refused RetriesRefused,
    /// Attempts rejected by an open or half-open breaker, or by one that ramps up after a close.
    rejected_open RejectedOpen,
    /// Calls rejected by a full bulkhead.
    rejected_bulkhead RejectedBulkhead,
    /// Calls rejected by the rate limit.
    rejected_rate_limit RejectedRateLimit,
    /// Calls whose deadline was spent before an attempt could start.
    rejected_deadline RejectedDeadline,
    /// Calls rejected because the service is disabled.
    rejected_disabled RejectedDisabled,
    /// Times that a breaker opened.
    breaker_opened BreakerOpened,
    /// Results that came after their breaker had moved on, and changed nothing.
    stale_results StaleResults,
    /// Attempts that hedging started, beside the first of their call.
    hedges Hedges,
    /// Hedges that brought their call's answer.
    hedge_wins HedgeWins,
    /// Hedges that were due and did not start: a breaker that was not closed or ramps up, no place, the adaptive limit
    /// reached, or no budget.
    hedges_refused HedgesRefused,
    /// Calls rejected because the adaptive limit was reached.
    rejected_adaptive_limit RejectedAdaptiveLimit,
}

/// Counts the calls of one service.
///
/// ```
/// use cofferdam_core::stats::{Counter, Counters};
///
/// let counters = Counters::new();
/// counters.add(Counter::Calls);
/// let earlier = counters.snapshot();
/// counters.add(Counter::Calls);
/// assert_eq!(counters.snapshot().calls, 2);
/// assert_eq!(counters.snapshot().since(&earlier).calls, 1);
/// ```
#[derive(Debug, Default)]
pub struct Counters {
    stripes: Striped<Counts>,
}

/// What one thread counted. Whole lines wide, two by two, for some processors fetch the neighbour of a line along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts([AtomicU64; COUNT]);

impl Counters {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more.
    #[inline]
    pub fn add(&self, counter: Counter) {
        self.add_each([counter]);
    }

    /// Counts one more of each.
    #[inline]
    pub fn add_each<const N: usize>(&self, counters: [Counter; N]) {
        match self.stripes.own() {
            Some(own) => counters.into_iter().for_each(|counter| own.get().add_to_own(counter)),
            None => counters.into_iter().for_each(|counter| self.add_at_first(counter)),
        }
    }

    #[cold]
    fn add_at_first(&self, counter: Counter) {
        match self.stripes.mine() {
            Stripe::Own(own) => own.get().add_to_own(counter),
            Stripe::Shared(counts) => {
                counts.0[counter as usize].fetch_add(1, Relaxed);
            }
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> CounterSnapshot {
        let mut snapshot = CounterSnapshot::default();
        for counts in self.stripes.all() {
            for counter in Counter::ALL {
                let sum = snapshot.get_mut(counter);
                *sum = sum.wrapping_add(counts.0[counter as usize].load(Relaxed));
            }
        }
        snapshot
    }
}

impl Counts {
    /// To be asked by their owner alone.
    #[inline]
    fn add_to_own(&self, counter: Counter) {
        let count = &self.0[counter as usize];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

impl CounterSnapshot {
    /// What was counted since an earlier snapshot; zero where that one says more.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        *self = self.zip(other, u64::saturating_add);
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut result = Self::default();
        for counter in Counter::ALL {
            *result.get_mut(counter) = with(self.get(counter), other.get(counter));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_its_own() {
        let counters = Counters::new();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.add(counter));
        }
        let snapshot = counters.snapshot();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(snapshot.get(counter), index as u64 + 1, "{}", counter.name());
        }
        assert_eq!((snapshot.calls, snapshot.served_live, snapshot.stale_results), (1, 2, 22));
    }

    /// The contract is read as text, so that this holds without its generated code.
    #[test]
    fn counters_are_those_of_the_contract() {
        let contract = include_str!("../../proto/cofferdam/v1/stats.proto");
        let message = contract.split("message CallCounters {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let fields: Vec<&str> =
            message.lines().filter_map(|line| line.trim().strip_prefix("uint64 ")?.split(' ').next()).collect();
        assert_eq!(Counter::ALL.map(Counter::name).as_slice(), fields);
    }

    #[test]
    fn snapshots_add_and_subtract() {
        let mut sum = CounterSnapshot { calls: u64::MAX - 1, failed: 3, ..CounterSnapshot::default() };
        let other = CounterSnapshot { calls: 5, retries: 2, ..CounterSnapshot::default() };
        sum.merge(&other);
        let expected = CounterSnapshot { calls: u64::MAX, failed: 3, retries: 2, ..CounterSnapshot::default() };
        assert_eq!(sum, expected);
        let since = other.since(&CounterSnapshot { calls: 4, failed: 9, ..CounterSnapshot::default() });
        assert_eq!(since, CounterSnapshot { calls: 1, retries: 2, ..CounterSnapshot::default() });
        assert!(other.since(&other).is_zero() && !other.is_zero());
    }

    #[test]
    fn threads_lose_no_count_and_no_snapshot_goes_back() {
        const THREADS: u64 = 16;
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..10_000).for_each(|_| counters.add(Counter::Attempts)));
            }
            let mut last = CounterSnapshot::default();
            while last.attempts < THREADS * 10_000 {
                let next = counters.snapshot();
                assert!(next.attempts >= last.attempts);
                last = next;
            }
        });
        let expected = CounterSnapshot { attempts: THREADS * 10_000, ..CounterSnapshot::default() };
        assert_eq!(counters.snapshot(), expected);
    }
}
