//! The recorded calls through the engine.

use super::clock::Clock;
use super::report::{Ended, Entry, Obstacle, Report, What};
use super::trace::{Record, Said, Trace};
use bytes::Bytes;
use cofferdam_core::breaker::{OpenedBy, Transition};
use cofferdam_core::call::{
    Answer, Attempt, CallOptions, Context, Failure, FailureCause, Operation, Payload, Source, Verdict, Why, execute,
};
use cofferdam_core::isolation::{Isolation, Observer, Part};
use cofferdam_core::latency::LatencyHistogram;
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{AlternativeFallback, DegradedFallback, FallbackTrigger, Policy};
use cofferdam_core::runtime::Runtime as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

/// What all calls of a trace came to under a policy.
pub(super) fn run(policy: Policy, trace: &Arc<Trace>, seed: u64) -> Report {
    let clock = Clock::new(seed);
    let journal = Arc::new(Journal::default());
    let isolation = Isolation::new(policy, None, clock.clocks(), Arc::clone(&journal) as Arc<dyn Observer>);
    let latencies = LatencyHistogram::new();
    let mut calls = FuturesUnordered::new();
    let mut end = |(began, ended): (Duration, Ended)| {
        latencies.record(clock.elapsed().saturating_sub(began));
        if let Ended::Rejected(why) | Ended::StoodIn(why) = ended {
            journal.note(clock.elapsed(), What::Rejected { why, has_answer: matches!(ended, Ended::StoodIn(_)) });
        }
    };
    for record in trace.records() {
        while let Some(due) = clock.next_due().filter(|due| *due <= record.at) {
            clock.move_to(due);
            settle(&mut calls, &mut end);
        }
        clock.move_to(record.at);
        calls.push(call(&isolation, &clock, trace, record));
        settle(&mut calls, &mut end);
    }
    while let Some(due) = clock.next_due() {
        clock.move_to(due);
        settle(&mut calls, &mut end);
    }
    drop(calls);
    let entries = std::mem::take(&mut *journal.entries.lock().unwrap_or_else(PoisonError::into_inner));
    Report::new(entries, isolation.counters(), latencies.snapshot(), clock.elapsed())
}

/// Runs all calls as far as they come without time.
fn settle<F: Future<Output = T>, T>(calls: &mut FuturesUnordered<F>, end: &mut impl FnMut(T)) {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = task::Context::from_waker(&waker);
    // It stops now and then to let others run, and says so by waking.
    while woken.0.swap(false, Ordering::Relaxed) {
        while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(&mut context) {
            end(ended);
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What happened, in its order.
#[derive(Default)]
struct Journal {
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    fn note(&self, at: Duration, what: What) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { at, what });
    }
}

impl Observer for Journal {
    fn transition(&self, part: &Part, transition: &Transition) {
        self.note(Clock::since_start(transition.at), What::Moved(part.clone(), *transition));
    }
}

async fn call(isolation: &Isolation, clock: &Clock, trace: &Arc<Trace>, record: &Record) -> (Duration, Ended) {
    let mut operation = Recorded { clock: clock.clone(), trace: Arc::clone(trace), record: record.clone() };
    let options = CallOptions {
        method: &record.method,
        pool: record.pool.as_deref(),
        is_idempotent: record.is_idempotent,
        cache_key: Some(b""),
        ..CallOptions::default()
    };
    let ended = match execute(isolation, clock, &mut operation, &options).await {
        Ok(Answer { source: Source::Live, .. }) => Ended::Answered,
        Ok(Answer { receipt, .. }) => receipt.why.and_then(rejection).map_or(Ended::Answered, Ended::StoodIn),
        Err(failure) => refusal(&failure).map_or(Ended::Failed, Ended::Rejected),
    };
    (record.at, ended)
}

/// What kept a call from the service that a fallback answered.
fn rejection(why: Why) -> Option<Obstacle> {
    match why.trigger {
        FallbackTrigger::Failure | FallbackTrigger::Timeout => None,
        FallbackTrigger::Open => Some(Obstacle::Open),
        FallbackTrigger::Bulkhead if why.is_adaptive_limit => Some(Obstacle::AdaptiveLimit),
        FallbackTrigger::Bulkhead => Some(Obstacle::Bulkhead),
        FallbackTrigger::RateLimit => Some(Obstacle::RateLimit),
    }
}

/// What kept a call from the service that nobody answered.
fn refusal(failure: &Failure<Said>) -> Option<Obstacle> {
    match &failure.cause {
        FailureCause::Inner(_) | FailureCause::Timeout => None,
        FailureCause::Open { by: OpenedBy::Policy, .. } => Some(Obstacle::ForcedOpen),
        FailureCause::Open { .. } => Some(Obstacle::Open),
        FailureCause::BulkheadFull => Some(Obstacle::Bulkhead),
        FailureCause::AdaptiveLimitReached => Some(Obstacle::AdaptiveLimit),
        FailureCause::RateLimited { .. } => Some(Obstacle::RateLimit),
        FailureCause::DeadlineSpent => Some(Obstacle::Deadline),
        FailureCause::Disabled => Some(Obstacle::Disabled),
    }
}

/// The service as it was recorded. Whatever stands in for it answers at once.
struct Recorded {
    clock: Clock,
    trace: Arc<Trace>,
    record: Record,
}

impl Recorded {
    /// What an attempt meets.
    fn met(&self, number: u32) -> Record {
        let later = || self.trace.at(self.clock.elapsed(), &self.record.method);
        if number == 1 { self.record.clone() } else { later().unwrap_or(&self.record).clone() }
    }
}

impl Operation for Recorded {
    type Output = ();
    type Error = Said;

    fn attempt(&mut self, attempt: Attempt) -> impl Future<Output = Result<(), Said>> + Send + use<> {
        let Record { latency, said, .. } = self.met(attempt.number);
        let clock = self.clock.clone();
        async move {
            if !latency.is_zero() {
                clock.sleep(latency).await;
            }
            match said {
                Said::Grpc(0) | Said::Outcome(Outcome::Success) | Said::Http(..400) => Ok(()),
                said => Err(said),
            }
        }
    }

    fn classify(&self, result: Result<&(), &Said>, context: Context<'_>) -> Verdict {
        let policy = context.policy;
        let verdict = |outcome| Verdict {
            outcome,
            is_retryable: outcome == Outcome::Failure,
            may_have_reached: true,
            is_overload: false,
            pushback: None,
        };
        let verdict = match result {
            Ok(()) => Verdict::on_grpc_code(0, context),
            Err(Said::Grpc(code)) => Verdict::on_grpc_code(*code, context),
            Err(Said::Http(status)) => verdict(policy.classification.http(*status, context.is_probe)),
            Err(Said::Outcome(outcome)) => verdict(*outcome),
        };
        Verdict { may_have_reached: verdict.may_have_reached && self.record.has_reached, ..verdict }
    }

    fn encode(&self, (): &()) -> Option<Bytes> {
        Some(Bytes::new())
    }

    fn decode(&mut self, _: Payload<'_>) -> Option<()> {
        Some(())
    }

    fn has_alternative(&self) -> bool {
        true
    }

    async fn alternative(&mut self, _: &AlternativeFallback, _: Option<Duration>) -> Option<()> {
        Some(())
    }

    async fn degraded(&mut self, _: &DegradedFallback, _: Why) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests;
