//! The live part of a call: attempts, and the pauses between them.
//!
//! The steps that every attempt takes are inlined, however large: what they hand each other does not fit into registers,
//! and copying it through memory took a tenth of a call.

use super::hedge::{First, Race};
use super::leave::Leave;
use super::running::{Running, Step, soonest};
use super::settle::Failed;
use super::timeout::timeout;
use super::{Attempt, Call, FailureCause, Operation, Progress};
use crate::bulkhead::Permit;
use crate::isolation::{Lane, RejectionReason};
use crate::rate_limit::Turn;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use std::pin::pin;
use std::time::Duration;

/// What it takes to make an attempt.
pub(super) struct Begun<'a> {
    pub(super) place: Option<Permit>,
    pub(super) leave: Leave<'a>,
    /// When it begins.
    pub(super) since: Timestamp,
    /// How long it may take. `None`: as long as it takes.
    pub(super) limit: Option<Duration>,
}

/// What keeps a call from making an attempt at once.
pub(super) enum Hindered<'a, E> {
    /// It makes none.
    Rejected(FailureCause<E>),
    /// It has to wait.
    MustWait(Wait<'a, E>),
}

/// What there is to wait for before an attempt.
pub(super) enum Wait<'a, E> {
    /// The call's turn under the rate limit.
    Turn(Turn<'a>),
    /// A place in the bulkhead.
    Place,
    /// The end of the pause after an attempt that failed like this.
    Retry(Duration, FailureCause<E>),
}

impl<'a, R: Runtime> Call<'a, R> {
    /// What the first attempt takes, where all that could be in its way can be ruled out at a look. `None`: ask
    /// [`begin_at_once`](Self::begin_at_once), which comes to the same and has words for what is in the way. What it
    /// returns has to go through memory, for that.
    #[inline(always)]
    pub(super) fn begin_plainly(&self) -> Option<Begun<'a>> {
        let plan = self.plan();
        // No time has passed, so all of it is left; as long as the end of time is far away.
        let is_timely = self.limit.is_none_or(|limit| limit.as_secs() <= u32::MAX.into()) && self.is_enough(self.limit);
        if !self.in_force.is_enabled || !plan.begins_plainly || !is_timely {
            return None;
        }
        // First: what a breaker turns away must not take another's place, be it for a moment.
        let admission = if plan.has_breaker { Some(self.lane.breaker.breaker.admit_if_plain()?) } else { None };
        let place = if plan.has_bulkhead { Some(self.lane.places.try_acquire()?) } else { None };
        self.deposit();
        let leave = Leave { permit: None, admission };
        Some(Begun { place, leave, since: self.since, limit: self.limit_of_attempt(self.limit) })
    }

    /// What the first attempt takes, if there is nothing to wait for.
    #[inline(never)]
    pub(super) fn begin_at_once<E>(&self) -> Result<Begun<'a>, Hindered<'a, E>> {
        if !self.in_force.is_enabled {
            self.reject(RejectionReason::Disabled, None);
            return Err(Hindered::Rejected(FailureCause::Disabled));
        }
        if self.plan().has_rate_limit {
            self.turn_at_once()?;
        }
        self.deposit();
        self.try_begin()
    }

    /// Makes attempts until one succeeds or another would not help, from where there is something to wait for.
    pub(super) async fn attempts<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        mut wait: Wait<'a, O::Error>,
    ) -> Result<O::Output, FailureCause<O::Error>> {
        let mut last: Option<FailureCause<O::Error>> = None;
        loop {
            match wait {
                Wait::Turn(turn) => {
                    self.clock.runtime.sleep(turn.wait()).await;
                    self.clock.has_moved();
                    turn.take();
                    self.deposit();
                }
                Wait::Place => {}
                Wait::Retry(pause, cause) => {
                    last = Some(cause);
                    self.clock.runtime.sleep(pause).await;
                    self.clock.has_moved();
                }
            }
            let begun = match self.try_begin() {
                Err(Hindered::MustWait(_)) => self.begin_with_place().await,
                Err(Hindered::Rejected(cause)) => Err(cause),
                Ok(begun) => Ok(begun),
            };
            let begun = match begun {
                Ok(begun) => begun,
                // A rejection of our own ends the call; an earlier attempt's error says more than it does.
                Err(rejection) => return Err(last.unwrap_or(rejection)),
            };
            if last.is_some() {
                self.count(Counter::Retries);
            }
            wait = match self.attempt(operation, progress, begun).await {
                Ok(output) => return Ok(output),
                Err(failed) => match self.wait_after(failed, operation, progress) {
                    Hindered::MustWait(wait) => wait,
                    Hindered::Rejected(cause) => return Err(cause),
                },
            };
        }
    }

    /// Until when attempts may run: an alternative needs some of the call's time.
    pub(super) fn live_deadline(&self) -> Option<Timestamp> {
        self.deadline.map(|deadline| if self.reserves { deadline.saturating_sub(self.reserve()) } else { deadline })
    }

    /// The time that is left for attempts. `None`: as much as they take.
    pub(super) fn live_time(&self) -> Option<Duration> {
        self.remaining(self.live_deadline())
    }

    /// How long to stand in a line: no longer than half of what is left, and so that an attempt may start after it. Where
    /// more come than the service can take, the line is as long as anybody waits. Those who start would have the rest of
    /// their time for the service: none of them would be answered, and it would be to blame.
    fn longest_wait(&self, max_wait: Duration) -> Duration {
        match self.live_time() {
            Some(left) if !max_wait.is_zero() => max_wait.min(left / 2).min(left.saturating_sub(self.plan().least)),
            _ => max_wait,
        }
    }

    /// Takes the call's turn under the rate limit, if it has come.
    fn turn_at_once<E>(&self) -> Result<(), Hindered<'a, E>> {
        let Some(policy) = self.scope.rate_limit_policy() else { return Ok(()) };
        let left = self.live_time();
        // It is about to be rejected, and others can use the turn.
        if !self.is_enough(left) {
            return Ok(());
        }
        let longest = self.longest_wait(policy.max_wait);
        match self.scope.rate_limit.enter(policy, longest, self.clock.now()) {
            Ok(turn) if turn.wait().is_zero() => {
                turn.take();
                Ok(())
            }
            Ok(turn) => Err(Hindered::MustWait(Wait::Turn(turn))),
            Err(limited) => {
                self.reject(RejectionReason::RateLimit, None);
                Err(Hindered::Rejected(FailureCause::RateLimited { retry_after: limited.retry_after }))
            }
        }
    }

    /// Makes an attempt, and others beside it where the policy says so.
    async fn attempt<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        begun: Begun<'a>,
    ) -> Result<O::Output, Failed<O::Error>> {
        let attempt = self.next_attempt(progress, begun.limit, false);
        let mut running = pin!(Running::new(self, begun, operation, O::attempt, attempt));
        let delay = self.hedge_delay(operation, progress, running.is_probe());
        let step = running.as_mut().for_at_most(delay).await;
        let (delay, first) = match step {
            Step::Ended(result) => {
                let settled = self.settle(operation, progress, result, running.held());
                match delay {
                    Some(delay) if !settled.is_answer() => (delay, First::Ended(settled)),
                    _ => return settled.into_result(),
                }
            }
            Step::Slow(delay) => (delay, First::Runs(running)),
        };
        let race = Race::new(self, O::attempt, delay, self.live_deadline());
        Box::pin(race.run(operation, progress, first)).await
    }

    /// What an attempt takes, if there is a place for it.
    #[inline(always)]
    fn try_begin<E>(&self) -> Result<Begun<'a>, Hindered<'a, E>> {
        // A look at the breaker before the wait for a place: an open breaker must not fill the queue.
        if self.plan().has_breaker
            && let Some(rejection) = self.lane.breaker.breaker.would_reject(self.clock.now())
        {
            return Err(Hindered::Rejected(self.open(rejection)));
        }
        let place = if self.plan().has_bulkhead {
            Some(self.lane.places.try_acquire().ok_or(Hindered::MustWait(Wait::Place))?)
        } else {
            None
        };
        self.begin_at(place).map_err(Hindered::Rejected)
    }

    /// Waits for a place, no longer than the policy and the deadline allow, and for no more than that.
    async fn begin_with_place<E>(&self) -> Result<Begun<'a>, FailureCause<E>> {
        let Lane { places, max_wait, .. } = self.lane;
        let wait = self.longest_wait(*max_wait);
        let mut place = None;
        if !wait.is_zero() {
            place = timeout(self.clock.runtime, Some(wait), places.acquire()).await.ok().and_then(Result::ok);
            self.clock.has_moved();
        }
        if place.is_none() {
            self.reject(RejectionReason::Bulkhead, None);
            return Err(FailureCause::BulkheadFull);
        }
        self.begin_at(place)
    }

    /// What else an attempt takes that has its place. Waiting for that is not the service's latency.
    #[inline(always)]
    fn begin_at<E>(&self, place: Option<Permit>) -> Result<Begun<'a>, FailureCause<E>> {
        let left = self.live_time();
        if !self.is_enough(left) {
            self.reject(RejectionReason::Deadline, None);
            return Err(FailureCause::DeadlineSpent);
        }
        let since = self.clock.now();
        let leave = self.leave(since).map_err(|refused| self.refused(refused))?;
        Ok(Begun { place, leave, since, limit: self.limit_of_attempt(left) })
    }

    /// Whether an attempt may start with so much time left.
    pub(super) fn is_enough(&self, remaining: Option<Duration>) -> bool {
        remaining.is_none_or(|left| !left.is_zero() && left >= self.plan().least)
    }

    /// How long an attempt may take that starts with so much time left.
    pub(super) fn limit_of_attempt(&self, remaining: Option<Duration>) -> Option<Duration> {
        soonest(remaining, self.plan().attempt_timeout)
    }

    /// Counts an attempt, and says what the operation is told of it.
    #[inline(always)]
    pub(super) fn next_attempt(&self, progress: &mut Progress, limit: Option<Duration>, is_hedge: bool) -> Attempt {
        progress.attempts += 1;
        let tell_remaining = limit.filter(|_| self.policy().timeout.propagate_deadline);
        Attempt { number: progress.attempts, tell_remaining, is_hedge }
    }
}
