//! What the host of a call says of it, and does for it.

use super::{PassedOver, Unfinished, Why};
use crate::outcome::Outcome;
use crate::policy::{AlternativeFallback, DegradedFallback, FallbackStep, PolicySpec};
use bytes::Bytes;
use std::future::ready;
use std::time::Duration;

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

    /// Whether an answer has only begun, so that what it says of the service is known when it ends. Default: no.
    fn is_unfinished(&self, output: &Self::Output) -> bool {
        let _ = output;
        false
    }

    /// Takes an answer that has only begun, to say how it ends. The call has its answer with that; no fallback comes after
    /// it, no retry, and it is not kept. Default: never says it, which is as if its caller had left.
    fn follow(&mut self, output: &mut Self::Output, unfinished: Unfinished) {
        let _ = (output, unfinished);
    }

    /// Hears how an attempt ended, by its number: before [`follow`](Self::follow), and before the next one begins that
    /// comes of it. Of one that was cancelled nothing is heard. Default: does nothing.
    fn ended(&mut self, attempt: u32, end: AttemptEnd) {
        let _ = (attempt, end);
    }

    /// Takes an answer that was judged a failure, to make an error of it: one that is retried, and stood in for, as others
    /// are. The default leaves it the answer of the call, whatever it says.
    ///
    /// # Errors
    ///
    /// The error that it is.
    fn reject(&mut self, output: Self::Output) -> Result<Self::Output, Self::Error> {
        Ok(output)
    }

    /// A good live answer as bytes, to be kept for the cached fallback. `None`, the default: it cannot be kept.
    fn encode(&self, output: &Self::Output) -> Option<Bytes> {
        let _ = output;
        None
    }

    /// A kept or static answer as a live one. `None`, the default: it cannot be used, and the next step of the chain is
    /// tried.
    fn decode(&mut self, payload: Payload<'_>) -> Option<Self::Output> {
        let _ = payload;
        None
    }

    /// Asks another service, through its own isolation, with [`CallOptions::is_alternative`]. `None`, the default: it could
    /// not answer, or the host has no way to ask.
    fn alternative(
        &mut self,
        step: &AlternativeFallback,
        limit: Option<Duration>,
    ) -> impl Future<Output = Option<Self::Output>> + Send {
        let _ = (step, limit);
        ready(None)
    }

    /// Whether [`alternative`](Self::alternative) can answer: for one that cannot, none of the call's time is kept back.
    /// Default: no.
    fn has_alternative(&self) -> bool {
        false
    }

    /// Makes a smaller answer. `None`, the default: the host has none.
    fn degraded(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<Self::Output>> + Send {
        let _ = (step, why);
        ready(None)
    }

    /// What the host lacks for a step of the chain, whatever the step holds: then it is passed over. `None`, the default:
    /// nothing.
    fn lacks(&self, step: &FallbackStep) -> Option<PassedOver> {
        let _ = step;
        None
    }

    /// Hears that a step of the chain, by its [name](FallbackStep::name), or the caller's own fallback, `caller`, was passed
    /// over. Default: does nothing.
    fn passed_over(&mut self, step: &'static str, why: PassedOver) {
        let _ = (step, why);
    }

    /// The caller's own fallback, asked after the policy's chain, at every level. `None`, the default: there is none. As the
    /// chain, it is not asked after an error that says nothing of the service's health: that one is the answer.
    fn local_fallback(&mut self, why: Why) -> impl Future<Output = Option<Self::Output>> + Send {
        let _ = why;
        ready(None)
    }
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the attempts of a call from 1.
    pub number: u32,
    /// The time left for this attempt, which the service should be told. `None`: no limit, or the policy says not to
    /// tell.
    pub tell_remaining: Option<Duration>,
    /// Whether it is a hedge: made while an earlier one still ran, or at once after it had failed.
    pub is_hedge: bool,
}

/// How an attempt ended that was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With a result, of which this is the verdict.
    Judged(Outcome),
    /// It took too long.
    TimedOut,
    /// With an answer that has only begun, whose end is still to be heard of: by [`Operation::follow`].
    Unfinished,
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
    /// Whether the service had too much to do: it said so, or its time ran out. What the adaptive limit shrinks by, and an
    /// error of other kinds does not say.
    pub is_overload: bool,
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

/// gRPC's codes of a service that has too much to do. The first is also what a timeout of our own is, in the terms of the
/// retry policy.
pub(super) const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNAVAILABLE: u32 = 14;

impl Verdict {
    /// What the policy says of a gRPC status code, of a service that may have seen the call.
    pub fn on_grpc_code(code: u32, context: Context<'_>) -> Self {
        Self {
            outcome: context.policy.classification.grpc(code, context.is_probe),
            is_retryable: context.policy.retry.retries_grpc(code, context.is_idempotent),
            may_have_reached: true,
            is_overload: matches!(code, DEADLINE_EXCEEDED | RESOURCE_EXHAUSTED | UNAVAILABLE),
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
