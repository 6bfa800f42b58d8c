//! A protected call, from outside in: fallback, deadline, rate limit, retry with budget, hedging, bulkhead, adaptive
//! limit, breaker, attempt timeout, the call itself.
//!
//! Retry is outside the breaker, so every attempt is counted and an open breaker ends the retrying; the bulkhead is
//! outside the breaker, so that waiting for a place holds no probe slot, and the adaptive limit between the two, so that
//! it counts no call that waits. The rate limit counts calls, not attempts: retries and hedges have their budget. One
//! deadline runs through all of it. Which of the stages are in force is the level's to say.
//!
//! [`execute`] drives one call. Its host says what a call is with an [`Operation`], and brings time along with a
//! [`Runtime`]. It waits for nothing but the operation, a place and the pause before a
//! retry or a hedge. Dropping its future cancels the call: every permit goes back, and the breaker learns nothing.

mod attempts;
mod cached;
mod chain;
mod clock;
mod hedge;
mod running;
mod tally;
mod timeout;

#[cfg(test)]
mod tests;

use crate::breaker::OpenedBy;
use crate::isolation::{InForce, Isolation, Lane, Plan, Scope};
use crate::outcome::Outcome;
use crate::policy::{AlternativeFallback, DegradedFallback, FallbackTrigger, PolicySpec};
use crate::revision::Revision;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use attempts::Hindered;
use bytes::Bytes;
use clock::Clock;
use std::pin::pin;
use std::time::Duration;
use tally::Tally;

/// What the caller says of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions<'a> {
    /// The method: part of the cache's key, and what the globs of overrides and pools match.
    pub method: &'a str,
    /// The pool to run in. `None`: as the policy's globs say.
    pub pool: Option<&'a str>,
    /// Whether the call may safely run twice, unless the policy says so of the method.
    pub is_idempotent: bool,
    /// The caller's own limit, in force at every level. `None`: the policy's alone.
    pub timeout: Option<Duration>,
    /// What, beside the method, an answer in the cache belongs to. `None`: the caller has not said, so that nothing is
    /// kept, and nothing that was kept for others stands in.
    pub cache_key: Option<&'a [u8]>,
    /// Fields of the request by name, of which [`CachedFallback::key_fields`] makes up the key where it names some; the
    /// first counts where a name stands here twice.
    ///
    /// [`CachedFallback::key_fields`]: crate::policy::CachedFallback::key_fields
    pub cache_fields: &'a [(&'a str, &'a [u8])],
    /// Whether the call stands in for another service's: it is tried once and has no fallback of its own, so that
    /// alternatives cannot chase each other.
    pub is_alternative: bool,
}

/// What a host does for a call.
pub trait Operation: Send {
    /// A live answer.
    type Output: Send;
    /// The host's own error; it comes back to the caller as it is.
    type Error: Send;

    /// Makes the call once. Dropping the future must cancel it. It borrows nothing of the operation, so that another
    /// attempt can run beside it.
    fn attempt(
        &mut self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send + use<Self>;

    /// Whether another attempt can be made. It is asked before each one but the first. Default: yes.
    fn can_repeat(&self) -> bool {
        true
    }

    /// What a result says.
    fn classify(&self, result: Result<&Self::Output, &Self::Error>, context: Context<'_>) -> Verdict;

    /// A good live answer as bytes, to be kept for the cached fallback. `None`: it cannot be kept.
    fn encode(&self, output: &Self::Output) -> Option<Bytes>;

    /// A kept or static answer as a live one. `None`: it cannot be used, and the next step of the chain is tried.
    fn decode(&mut self, payload: Payload<'_>) -> Option<Self::Output>;

    /// Asks another service, through its own isolation, with [`CallOptions::is_alternative`]. `None`: it could not
    /// answer, or the host has no way to ask.
    fn alternative(
        &mut self,
        step: &AlternativeFallback,
        limit: Option<Duration>,
    ) -> impl Future<Output = Option<Self::Output>> + Send;

    /// Makes a smaller answer. `None`: the host has none.
    fn degraded(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<Self::Output>> + Send;

    /// The caller's own fallback, asked after the policy's chain, at every level. `None`: there is none. As the chain, it
    /// is not asked after an error that says nothing of the service's health: that one is the answer.
    fn local_fallback(&mut self, why: Why) -> impl Future<Output = Option<Self::Output>> + Send;
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the attempts of a call from 1.
    pub number: u32,
    /// The time left for this attempt, which the service should be told. `None`: no limit, or the policy says not to
    /// tell.
    pub tell_remaining: Option<Duration>,
}

/// What a result is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The policy of the call.
    pub policy: &'a PolicySpec,
    /// Whether the attempt probed a half-open breaker.
    pub is_probe: bool,
    /// Whether the call may safely run twice.
    pub is_idempotent: bool,
    /// The name of the error's type, as the policy's rules for error types have it.
    pub error_type: &'a str,
}

/// What a result says about the service and about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it says about the service.
    pub outcome: Outcome,
    /// Whether another attempt may help.
    pub is_retryable: bool,
    /// Whether the service may have seen the call: a call that is not idempotent is then not repeated.
    pub may_have_reached: bool,
    /// The service's own word on when to come again.
    pub pushback: Option<Pushback>,
}

/// A service's own word on when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this time has passed.
    After(Duration),
    /// Not again.
    Never,
}

impl Verdict {
    /// What the policy says of a gRPC status code, of a service that may have seen the call.
    pub fn on_grpc_code(code: u32, context: Context<'_>) -> Self {
        Self {
            outcome: context.policy.classification.grpc(code, context.is_probe),
            is_retryable: context.policy.retry.retries_grpc(code, context.is_idempotent),
            may_have_reached: true,
            pushback: None,
        }
    }
}

impl Pushback {
    /// A gRPC service's word (gRFC A6): milliseconds; a negative or unreadable value means not again.
    pub fn parse(value: &[u8]) -> Self {
        let millis = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        millis.map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis)))
    }
}

/// Bytes that stand in for a live answer.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The bytes.
    pub bytes: &'a Bytes,
    /// What they are, for a static answer. Empty: as [`Operation::encode`] made them, or not said.
    pub content_type: &'a str,
}

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

/// Makes a protected call.
///
/// # Errors
///
/// [`Failure`], where the live call failed and no fallback answered.
pub async fn execute<R: Runtime, O: Operation>(
    isolation: &Isolation,
    runtime: &R,
    operation: &mut O,
    options: &CallOptions<'_>,
) -> Result<Answer<O::Output>, Failure<O::Error>> {
    let in_force = isolation.look();
    let mut tally = Tally::begin(isolation);
    let call = Call::begin(isolation, runtime, &in_force, options);
    let mut progress = Progress::default();
    let refresh = match call.refresh(operation) {
        Ok(refresh) => refresh,
        Err((value, source, why)) => {
            tally.end(source.counter());
            return Ok(Answer { value, source, receipt: call.receipt(&progress, Some(why)) });
        }
    };
    let begun = call.begin_at_once();
    let begun = match begun {
        Ok(begun) => {
            let attempted = tally.watch(pin!(call.attempt(operation, &mut progress, begun))).await;
            match attempted {
                Ok(value) => {
                    tally.end(Counter::ServedLive);
                    return Ok(Answer { value, source: Source::Live, receipt: call.receipt(&progress, None) });
                }
                Err(failed) => call.wait_after(failed, operation, &progress),
            }
        }
        Err(hindered) => hindered,
    };
    let result = match begun {
        Hindered::Rejected(cause) => Err(cause),
        // Boxed: it is rare, and costs little beside the wait.
        Hindered::MustWait(wait) => tally.watch(Box::pin(call.attempts(operation, &mut progress, wait)).as_mut()).await,
    };
    drop(refresh);
    let cause = match result {
        Ok(value) => {
            tally.end(Counter::ServedLive);
            return Ok(Answer { value, source: Source::Live, receipt: call.receipt(&progress, None) });
        }
        Err(cause) => cause,
    };
    let why = cause.why(progress.last_outcome);
    let receipt = call.receipt(&progress, why);
    let stand_in = match why {
        Some(why) => tally.watch(pin!(call.fall_back(operation, &progress, why))).await,
        None => None,
    };
    match stand_in {
        Some((value, source)) => {
            tally.end(source.counter());
            Ok(Answer { value, source, receipt })
        }
        None => {
            tally.end(Counter::Failed);
            Err(Failure { cause, receipt })
        }
    }
}

/// A call under way.
struct Call<'a, R> {
    isolation: &'a Isolation,
    clock: Clock<'a, R>,
    in_force: &'a InForce,
    scope: &'a Scope,
    lane: &'a Lane,
    options: &'a CallOptions<'a>,
    /// Whether it may safely run twice.
    is_idempotent: bool,
    /// The time for the whole call. `None`: as long as it takes.
    limit: Option<Duration>,
    /// When that is over.
    deadline: Option<Timestamp>,
}

/// How far a call has come.
#[derive(Debug)]
struct Progress {
    /// Attempts that were made.
    attempts: u32,
    /// Hedges that were made or refused.
    hedges: u32,
    /// Of the last attempt that ended.
    last_outcome: Outcome,
}

impl<'a, R: Runtime> Call<'a, R> {
    #[inline]
    fn begin(isolation: &'a Isolation, runtime: &'a R, in_force: &'a InForce, options: &'a CallOptions<'a>) -> Self {
        let scope = in_force.scope(options.method);
        let lane = scope.lane(options.pool, options.method);
        let is_idempotent = scope.is_idempotent.unwrap_or(options.is_idempotent);
        let limit = match (scope.plan.call_timeout, options.timeout) {
            (Some(own), Some(callers)) => Some(own.min(callers)),
            (own, callers) => own.or(callers),
        };
        let clock = Clock::new(runtime);
        let deadline = limit.map(|limit| clock.now().saturating_add(limit));
        Self { isolation, clock, in_force, scope, lane, options, is_idempotent, limit, deadline }
    }

    fn policy(&self) -> &'a PolicySpec {
        &self.scope.policy
    }

    fn plan(&self) -> &'a Plan {
        &self.scope.plan
    }

    /// The time left until a deadline. `None`: for ever.
    fn remaining(&self, deadline: Option<Timestamp>) -> Option<Duration> {
        deadline.map(|deadline| deadline.saturating_since(self.clock.now()))
    }

    /// Time of the call that an alternative, or the caller's own code, can count on after the live call. A caller with
    /// less time than the policy gives keeps back the same share of it, so that the service is asked at all.
    fn reserve(&self) -> Duration {
        let Some(limit) = self.limit else {
            return Duration::ZERO;
        };
        let whole = self.policy().timeout.call_timeout;
        match self.policy().fallback.reserve {
            None => limit / 10,
            Some(reserve) if whole.is_zero() => reserve.min(limit / 2),
            Some(reserve) if limit < whole => reserve.mul_f64(limit.as_secs_f64() / whole.as_secs_f64()),
            Some(reserve) => reserve,
        }
    }

    fn receipt(&self, progress: &Progress, why: Option<Why>) -> Receipt {
        Receipt { attempts: progress.attempts, why, revision: self.in_force.revision }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { attempts: 0, hedges: 0, last_outcome: Outcome::Neutral }
    }
}

impl<E> FailureCause<E> {
    /// Why a fallback is to be asked. `None`: the service answered, and its answer is the caller's business.
    fn why(&self, outcome: Outcome) -> Option<Why> {
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
    const fn counter(&self) -> Counter {
        match self {
            Self::Live => Counter::ServedLive,
            Self::Cached { .. } => Counter::ServedCached,
            Self::Static => Counter::ServedStatic,
            Self::Alternative => Counter::ServedAlternative,
            Self::Degraded(_) | Self::Local => Counter::ServedDegraded,
        }
    }
}
