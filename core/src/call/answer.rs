//! What comes of a call.

use super::passed_over::PassedOver;
use crate::breaker::OpenedBy;
use crate::outcome::Outcome;
use crate::policy::{DegradedFallback, FallbackTrigger};
use crate::revision::Revision;
use crate::stats::Counter;
use std::time::Duration;

/// Why a fallback is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// What kept the live call from answering.
    pub trigger: FallbackTrigger,
    /// Whether the adaptive limit was reached, which is a full bulkhead to the policy.
    pub is_adaptive_limit: bool,
    /// When the service is worth calling again, where that is known.
    pub retry_after: Option<Duration>,
    /// Whether an operator keeps calls from the service, who holds its breaker open, set its policy so or disabled it:
    /// then nothing is known against the service.
    pub is_forced: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// Who gave it.
    pub source: Source,
    /// How it came about.
    pub receipt: Receipt,
}

/// Who gave an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The service.
    Live,
    /// A cached fallback.
    Cached {
        /// How old the answer is.
        age: Duration,
    },
    /// A static fallback.
    Static,
    /// An alternative service.
    Alternative,
    /// A degraded fallback.
    Degraded(DegradedFallback),
    /// The caller's own fallback.
    Local,
}

/// How an answer, or a failure, came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Attempts that were made.
    pub attempts: u32,
    /// Why a fallback answered, or would have. `None`: the live answer came back.
    pub why: Option<Why>,
    /// The revision of the policy that decided. `None`: the built-in default.
    pub revision: Option<Revision>,
    /// Why a step of the policy's chain, or the caller's own fallback, was passed over: the last one that was. `None`: none
    /// was.
    pub passed_over: Option<PassedOver>,
}

/// A call that nobody answered.
#[derive(Debug)]
pub struct Failure<E> {
    /// Why.
    pub cause: FailureCause<E>,
    /// How it came about.
    pub receipt: Receipt,
}

/// Why nobody answered.
#[derive(Debug, PartialEq)]
pub enum FailureCause<E> {
    /// The last attempt's own error.
    Inner(E),
    /// The last attempt, or the call, ran out of time.
    Timeout,
    /// The breaker is open, or half-open with all its probes out.
    Open {
        /// When it is worth coming again. `None`: not before somebody changes the policy, or releases the hold.
        retry_after: Option<Duration>,
        /// On whose word.
        by: OpenedBy,
    },
    /// Too many calls run at once, and the queue is full or the wait was too long.
    BulkheadFull,
    /// As many calls run at once as the service was found to take.
    AdaptiveLimitReached,
    /// As many calls as may start have started, and the wait for a turn would be too long.
    RateLimited {
        /// When a call could start, if no other comes before.
        retry_after: Duration,
    },
    /// Too little time was left to begin.
    DeadlineSpent,
    /// The service is disabled.
    Disabled,
}

impl<E> FailureCause<E> {
    /// Why a fallback is to be asked. `None`: the service answered, and its answer is the caller's business.
    pub(super) fn why(&self, outcome: Outcome) -> Option<Why> {
        let until =
            |trigger, retry_after| Some(Why { trigger, retry_after, is_adaptive_limit: false, is_forced: false });
        let why = |trigger| until(trigger, None);
        match self {
            Self::Inner(_) if outcome == Outcome::Failure => why(FallbackTrigger::Failure),
            Self::Inner(_) => None,
            Self::Timeout | Self::DeadlineSpent => why(FallbackTrigger::Timeout),
            Self::Open { retry_after, by } => {
                let is_forced = *by != OpenedBy::Rules;
                until(FallbackTrigger::Open, *retry_after).map(|why| Why { is_forced, ..why })
            }
            Self::Disabled => why(FallbackTrigger::Open).map(|why| Why { is_forced: true, ..why }),
            Self::BulkheadFull => why(FallbackTrigger::Bulkhead),
            Self::AdaptiveLimitReached => {
                why(FallbackTrigger::Bulkhead).map(|why| Why { is_adaptive_limit: true, ..why })
            }
            Self::RateLimited { retry_after } => until(FallbackTrigger::RateLimit, Some(*retry_after)),
        }
    }
}

impl Source {
    /// Its name, as spans have it: `live`, `cached`, `static`, `alternative`, `degraded` or `caller`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cached { .. } => "cached",
            Self::Static => "static",
            Self::Alternative => "alternative",
            Self::Degraded(_) => "degraded",
            Self::Local => "caller",
        }
    }

    pub(super) const fn counter(&self) -> Counter {
        match self {
            Self::Live => Counter::ServedLive,
            Self::Cached { .. } => Counter::ServedCached,
            Self::Static => Counter::ServedStatic,
            Self::Alternative => Counter::ServedAlternative,
            Self::Degraded(_) | Self::Local => Counter::ServedDegraded,
        }
    }
}
