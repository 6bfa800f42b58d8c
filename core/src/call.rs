//! A protected call, from outside in: fallback, deadline, rate limit, retry with budget, hedging, bulkhead, adaptive
//! limit, breaker, attempt timeout, the call itself.
//!
//! Retry is outside the breaker, so every attempt is counted and an open breaker ends the retrying; the bulkhead is
//! outside the breaker, so that waiting for a place holds no probe slot, and the adaptive limit between the two, so that
//! it counts no call that waits. The rate limit counts calls, not attempts: retries and hedges have their budget. One
//! deadline runs through all of it. Which of the stages are in force is the level's to say.
//!
//! [`execute`] drives one call. Its host says what a call is with an [`Operation`], and brings time along with a
//! [`Runtime`]. It waits for nothing but the operation, a turn, a place, and the pause before a retry or a hedge. Dropping
//! its future cancels the call: every permit goes back, and the breaker learns nothing.

mod answer;
mod attempts;
mod cached;
mod chain;
mod clock;
mod hedge;
mod leave;
mod operation;
mod passed_over;
mod retries;
mod running;
mod settle;
mod tally;
mod timeout;
mod timing;
mod unfinished;

#[cfg(test)]
mod tests;

pub use self::answer::{Answer, Failure, FailureCause, Receipt, Source, Why};
pub use self::operation::{Attempt, AttemptEnd, CallOptions, Context, Operation, Payload, Pushback, Verdict};
pub use self::passed_over::PassedOver;
pub use self::unfinished::Unfinished;

use crate::isolation::{InForce, Isolation, Lane, Plan, Scope};
use crate::outcome::Outcome;
use crate::policy::PolicySpec;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use attempts::Hindered;
use clock::Clock;
use hedge::{First, Race};
use running::{Running, Step, soonest};
use settle::Settled;
use std::pin::pin;
use std::time::Duration;
use tally::Tally;

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
    let call = Call::begin(isolation, runtime, &in_force, options, operation.has_alternative());
    let mut tally = Tally::begin(&call.scope.measured);
    let mut progress = Progress::default();
    let mut refresh = None;
    if call.plan().has_cache {
        match call.refresh(operation) {
            Ok(turn) => refresh = turn,
            Err((value, source, why)) => {
                call.time_other();
                tally.end(source.counter());
                return Ok(Answer { value, source, receipt: call.receipt(&progress, Some(why)) });
            }
        }
    }
    let hindered = 'begun: {
        // Here rather than in a future of its own, into which all that it takes would have to be copied. In a scope of its
        // own, as what follows: what is alive while the call waits makes its future larger.
        let mut running = pin!({
            let begun = match call.begin_plainly() {
                Some(begun) => begun,
                None => match call.begin_at_once() {
                    Ok(begun) => begun,
                    Err(hindered) => break 'begun hindered,
                },
            };
            let attempt = call.next_attempt(&mut progress, begun.limit, false);
            Running::new(&call, begun, operation, O::attempt, attempt)
        });
        let delay = call.hedge_delay(operation, &progress, running.is_probe());
        let mut race = {
            let step = tally.watch(pin!(running.as_mut().for_at_most(delay))).await;
            let (delay, first) = match step {
                Step::Ended(mut result) => {
                    let verdict = call.judge(operation, &mut progress, &mut result, running.held());
                    let settled = match result {
                        // Nearly every call: no part of it is moved but to the caller.
                        Ok(Ok(value)) if verdict.outcome == Outcome::Success => {
                            return Ok(call.answered(tally, &progress, value));
                        }
                        result => Settled::new(result, verdict),
                    };
                    match delay {
                        Some(delay) if !settled.is_answer() => (delay, First::Ended(settled)),
                        _ => match settled.into_result() {
                            Ok(value) => return Ok(call.answered(tally, &progress, value)),
                            Err(failed) => break 'begun call.wait_after(failed, operation, &progress),
                        },
                    }
                }
                Step::Slow(delay) => (delay, First::Runs(running)),
            };
            let race = Race::new(&call, O::attempt, delay, call.live_deadline());
            Box::pin(race.run(operation, &mut progress, first))
        };
        let attempted = tally.watch(race.as_mut()).await;
        drop(race);
        match attempted {
            Ok(value) => return Ok(call.answered(tally, &progress, value)),
            Err(failed) => call.wait_after(failed, operation, &progress),
        }
    };
    let result = match hindered {
        Hindered::Rejected(cause) => Err(cause),
        // Boxed: it is rare, and costs little beside the wait.
        Hindered::MustWait(wait) => tally.watch(Box::pin(call.attempts(operation, &mut progress, wait)).as_mut()).await,
    };
    drop(refresh);
    let cause = match result {
        Ok(value) => return Ok(call.answered(tally, &progress, value)),
        Err(cause) => cause,
    };
    tally.watch(pin!(call.clock.runtime.give_way())).await;
    let why = cause.why(progress.last_outcome);
    let mut receipt = call.receipt(&progress, why);
    let stand_in = match why {
        Some(why) => tally.watch(pin!(call.fall_back(operation, &progress, why, &mut receipt))).await,
        None => None,
    };
    if tally.has_waited() {
        call.clock.has_moved();
    }
    call.time_other();
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
    /// When it began.
    since: Timestamp,
    /// Whether it may safely run twice.
    is_idempotent: bool,
    /// The time for the whole call. `None`: as long as it takes.
    limit: Option<Duration>,
    /// When that is over.
    deadline: Option<Timestamp>,
    /// Whether some of it is kept back for an alternative.
    reserves: bool,
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
    /// How long the attempt took that makes up the whole call.
    alone: Option<Duration>,
    /// Whether the only attempt, a success, is to be counted together with its call.
    counts_attempt: bool,
}

impl<'a, R: Runtime> Call<'a, R> {
    // As the steps in `attempts`: to copy a call into its future takes longer than to make it there.
    #[inline(always)]
    fn begin(
        isolation: &'a Isolation,
        runtime: &'a R,
        in_force: &'a InForce,
        options: &'a CallOptions<'a>,
        has_alternative: bool,
    ) -> Self {
        let scope = in_force.scope(options.method);
        let lane = scope.lane(options.pool, options.method);
        let is_idempotent = scope.is_idempotent.unwrap_or(options.is_idempotent);
        let limit = soonest(scope.plan.call_timeout, options.timeout);
        let clock = Clock::new(runtime);
        let since = clock.now();
        let deadline = limit.map(|limit| since.saturating_add(limit));
        let reserves = scope.plan.reserves && has_alternative && !options.is_alternative;
        Self { isolation, clock, in_force, scope, lane, options, since, is_idempotent, limit, deadline, reserves }
    }

    #[inline]
    fn count(&self, counter: Counter) {
        self.scope.measured.count(counter);
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

    /// The service's own answer, counted.
    #[inline(always)]
    fn answered<T>(&self, tally: Tally<'_>, progress: &Progress, value: T) -> Answer<T> {
        self.time_live(progress);
        tally.end_live(progress.counts_attempt);
        Answer { value, source: Source::Live, receipt: self.receipt(progress, None) }
    }

    fn receipt(&self, progress: &Progress, why: Option<Why>) -> Receipt {
        Receipt { attempts: progress.attempts, why, revision: self.in_force.revision, passed_over: None }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { attempts: 0, hedges: 0, last_outcome: Outcome::Neutral, alone: None, counts_attempt: false }
    }
}
