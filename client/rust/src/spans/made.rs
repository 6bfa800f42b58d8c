//! The spans, as `tracing` has them.

mod w3c;

#[cfg(feature = "tower")]
use super::{Attribute, AttributeValue};
use super::{Made, TraceContext};
use crate::runtime::Tokio;
use crate::service::Service;
use cofferdam_core::call::{Answer, Attempt, AttemptEnd, CallOptions, Failure, FailureCause, Why};
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::FallbackTrigger;
use cofferdam_core::runtime::Runtime as _;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a call.
#[derive(Debug)]
pub(crate) struct CallSpan {
    span: Span,
    /// The attempts that have not ended, by their numbers.
    attempts: Vec<(u32, Span)>,
    /// The attempt whose answer has only begun.
    unended: Option<Span>,
    /// Whether the end of that answer is the call's.
    is_handed_over: bool,
    has_ended: bool,
}

/// A span that something is done in.
#[derive(Clone, Debug)]
pub(crate) struct SpanHandle(Span);

/// The spans of a call and of its attempt, while the answer that has begun goes on.
#[derive(Debug)]
pub(crate) struct Unended {
    call: Span,
    attempt: Span,
}

impl CallSpan {
    /// That of a call that has not begun.
    pub(crate) fn none() -> Self {
        Self::of(Span::none())
    }

    fn of(span: Span) -> Self {
        Self { span, attempts: Vec::new(), unended: None, is_handed_over: false, has_ended: false }
    }

    /// Begins one: below the current span, or where the request says that it belongs to another trace.
    pub(crate) fn begin(
        service: &Service,
        options: &CallOptions<'_>,
        said: impl FnOnce() -> Option<TraceContext>,
    ) -> Self {
        let span = tracing::info_span!(
            target: "cofferdam",
            "cofferdam.call",
            "cofferdam.namespace" = service.namespace(),
            "cofferdam.service" = service.name(),
            "cofferdam.method" = options.method,
            "cofferdam.level" = field::Empty,
            "cofferdam.breaker.state" = field::Empty,
            "cofferdam.attempts" = field::Empty,
            "cofferdam.epoch" = field::Empty,
            "cofferdam.revision" = field::Empty,
            "cofferdam.outcome" = field::Empty,
            "cofferdam.served_by" = field::Empty,
            "cofferdam.fallback_reason" = field::Empty,
            "error.type" = field::Empty,
            "otel.status_code" = field::Empty,
        );
        if !span.is_disabled() {
            if let Some(said) = said().and_then(|said| w3c::read(&said))
                && Span::current().context().span().span_context().trace_id() != said.trace_id()
            {
                // It fails only where nobody gives ids to spans.
                let _ = span.set_parent(Context::new().with_remote_span_context(said));
            }
            span.record("cofferdam.level", service.policy().level.name());
            let state = service.isolation().breaker_state_for(options.method, options.pool, Tokio.now());
            if let Some(state) = state {
                span.record("cofferdam.breaker.state", state.name());
            }
        }
        Self::of(span)
    }

    /// It, to make the call in.
    pub(crate) fn handle(&self) -> SpanHandle {
        SpanHandle(self.span.clone())
    }

    /// Begins the span of an attempt.
    pub(crate) fn attempt(&mut self, attempt: Attempt, made: Made) -> SpanHandle {
        if self.span.is_disabled() {
            return SpanHandle(Span::none());
        }
        let kind = match made {
            Made::ByCode => "internal",
            Made::ByLayer => "client",
        };
        let span = tracing::info_span!(
            target: "cofferdam",
            parent: &self.span,
            "cofferdam.attempt",
            "otel.name" = field::Empty,
            "otel.kind" = kind,
            "cofferdam.attempt" = attempt.number,
            "cofferdam.hedge" = attempt.is_hedge,
            "cofferdam.outcome" = field::Empty,
            "error.type" = field::Empty,
            "otel.status_code" = field::Empty,
        );
        self.attempts.push((attempt.number, span.clone()));
        SpanHandle(span)
    }

    /// An attempt has ended.
    pub(crate) fn attempt_ended(&mut self, number: u32, end: AttemptEnd) {
        let Some(at) = self.attempts.iter().position(|(of, _)| *of == number) else { return };
        let (_, span) = self.attempts.swap_remove(at);
        match end {
            AttemptEnd::Judged(outcome) => record_outcome(&span, outcome),
            AttemptEnd::TimedOut => {
                span.record("error.type", "TIMEOUT");
                record_outcome(&span, Outcome::Failure);
            }
            AttemptEnd::Unfinished => (self.unended, self.is_handed_over) = (Some(span), true),
        }
    }

    /// The call has ended, but for an answer that has only begun.
    pub(crate) fn end<T, E>(&mut self, result: &Result<Answer<T>, Failure<E>>) {
        self.has_ended = true;
        let span = &self.span;
        let receipt = match result {
            Ok(answer) => &answer.receipt,
            Err(failure) => &failure.receipt,
        };
        span.record("cofferdam.attempts", receipt.attempts);
        if let Some(revision) = receipt.revision {
            span.record("cofferdam.epoch", revision.epoch).record("cofferdam.revision", revision.revision);
        }
        match result {
            Ok(answer) => {
                span.record("cofferdam.served_by", answer.source.name());
                if let Some(why) = &receipt.why {
                    span.record("cofferdam.fallback_reason", reason_of(why));
                    span.record("cofferdam.outcome", "fallback");
                } else if !self.is_handed_over {
                    record_outcome(span, Outcome::Success);
                }
            }
            Err(failure) => record_failure(span, failure),
        }
    }

    /// Of the call, and of the attempt whose answer has just begun.
    #[cfg(feature = "tower")]
    pub(crate) fn unended(&mut self) -> Unended {
        Unended { call: self.span.clone(), attempt: self.unended.take().unwrap_or_else(Span::none) }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        let lost = self.attempts.drain(..).map(|(_, span)| span);
        let call = (!self.has_ended).then(|| self.span.clone());
        for span in lost.chain(call) {
            if std::thread::panicking() {
                span.record("error.type", "PANIC");
                record_outcome(&span, Outcome::Failure);
            } else {
                span.record("cofferdam.outcome", "cancelled");
            }
        }
    }
}

impl SpanHandle {
    /// Runs a future in it.
    pub(crate) fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        future.instrument(self.0)
    }
}

#[cfg(feature = "tower")]
impl SpanHandle {
    /// Says more of it.
    pub(crate) fn describe(&self, attributes: impl FnOnce() -> Vec<Attribute>) {
        describe(&self.0, attributes);
    }

    /// What is called in it is told this. `None`: nobody gives it ids.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        w3c::write(self.0.context().span().span_context())
    }
}

#[cfg(feature = "tower")]
impl Unended {
    /// Says more of the attempt.
    pub(crate) fn describe(&self, attributes: impl FnOnce() -> Vec<Attribute>) {
        describe(&self.attempt, attributes);
    }

    /// The answer has ended.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        record_outcome(&std::mem::replace(&mut self.attempt, Span::none()), outcome);
        record_outcome(&std::mem::replace(&mut self.call, Span::none()), outcome);
    }
}

#[cfg(feature = "tower")]
fn describe(span: &Span, attributes: impl FnOnce() -> Vec<Attribute>) {
    if span.is_disabled() {
        return;
    }
    let attributes = attributes();
    if let Some(name) = name_of(&attributes) {
        span.record("otel.name", name);
    }
    for Attribute { name, value } in attributes {
        match value {
            AttributeValue::Text(text) => span.set_attribute(name, text),
            AttributeValue::Number(number) => span.set_attribute(name, number),
        }
    }
}

/// What the conventions call the span of such a request: by what there are few of.
#[cfg(feature = "tower")]
fn name_of(attributes: &[Attribute]) -> Option<String> {
    let text = |name: &str| attributes.iter().find(|attribute| attribute.name == name).map(|found| &found.value);
    match (text("rpc.service"), text("rpc.method"), text("http.request.method")) {
        (Some(AttributeValue::Text(service)), Some(AttributeValue::Text(method)), _) => {
            Some(format!("{service}/{method}"))
        }
        (_, _, Some(AttributeValue::Text(method))) => Some(method.clone()),
        _ => None,
    }
}

fn record_outcome(span: &Span, outcome: Outcome) {
    let name = match outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
        Outcome::Neutral => "neutral",
    };
    span.record("cofferdam.outcome", name);
    if outcome == Outcome::Failure {
        span.record("otel.status_code", "ERROR");
    }
}

/// By the reasons that the manager has for the calls that it makes.
fn record_failure<E>(span: &Span, failure: &Failure<E>) {
    let (outcome, reason) = match &failure.cause {
        FailureCause::Inner(_) if failure.receipt.why.is_none() => return record_outcome(span, Outcome::Neutral),
        FailureCause::Inner(_) => ("failure", "UPSTREAM"),
        FailureCause::Timeout => ("failure", "TIMEOUT"),
        FailureCause::Open { .. } => ("rejected", "CIRCUIT_OPEN"),
        FailureCause::BulkheadFull => ("rejected", "BULKHEAD_FULL"),
        FailureCause::AdaptiveLimitReached => ("rejected", "ADAPTIVE_LIMIT_REACHED"),
        FailureCause::RateLimited { .. } => ("rejected", "RATE_LIMITED"),
        FailureCause::DeadlineSpent => ("rejected", "DEADLINE_SPENT"),
        FailureCause::Disabled => ("rejected", "SERVICE_DISABLED"),
    };
    span.record("cofferdam.outcome", outcome).record("error.type", reason).record("otel.status_code", "ERROR");
}

/// As the same rejection without a fallback.
fn reason_of(why: &Why) -> &'static str {
    match why.trigger {
        FallbackTrigger::Failure => "UPSTREAM",
        FallbackTrigger::Timeout => "TIMEOUT",
        FallbackTrigger::Open => "CIRCUIT_OPEN",
        FallbackTrigger::Bulkhead if why.is_adaptive_limit => "ADAPTIVE_LIMIT_REACHED",
        FallbackTrigger::Bulkhead => "BULKHEAD_FULL",
        FallbackTrigger::RateLimit => "RATE_LIMITED",
    }
}
