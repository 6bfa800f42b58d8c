//! Spans of calls, and the trace that goes along with a request. Needs the feature `opentelemetry`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: a broken expectation ends the test, and says why")]

use cofferdam::policy::{
    AlternativeFallback, BreakerPolicy, FallbackPolicy, FallbackStep, HedgePolicy, Jitter, RetryPolicy, TimeoutPolicy,
};
use cofferdam::{Cofferdam, Level, Name, Outcome, Policy, PolicySpec};
use http::{Request, Response, StatusCode};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Service as _, ServiceBuilder, service_fn};
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

const SECOND: Duration = Duration::from_secs(1);

/// The spans that have ended.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Does something under a subscriber as an application has it, and gives the spans that it made.
async fn traced(work: impl Future<Output = ()>) -> Vec<SpanData> {
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    work.with_subscriber(tracing_subscriber::registry().with(layer)).await;
    drop(provider.shutdown());
    ended.0.lock().unwrap().drain(..).collect()
}

fn client(change: impl FnOnce(&mut PolicySpec)) -> Cofferdam {
    let mut policy = PolicySpec {
        level: Level::Full,
        retry: RetryPolicy { max_attempts: 1, jitter: Jitter::None, ..RetryPolicy::default() },
        ..PolicySpec::default()
    };
    change(&mut policy);
    Cofferdam::builder("checkout").namespace("shop").default_policy(Policy::new(policy).unwrap()).start()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key.as_str() == name);
    let value = found.next().map(|attribute| attribute.value.to_string());
    assert!(found.next().is_none(), "{name} is there twice: {span:#?}");
    value
}

#[track_caller]
fn says(span: &SpanData, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(attribute(span, name).as_deref(), Some(*value), "{name}: {span:#?}");
    }
}

/// The only span of a name.
#[track_caller]
fn only<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    match spans.iter().filter(|span| span.name == name).collect::<Vec<_>>()[..] {
        [span] => span,
        _ => panic!("not one {name}: {spans:#?}"),
    }
}

/// The attempts of a call, by their numbers.
fn attempts<'a>(spans: &'a [SpanData], call: &SpanData) -> Vec<&'a SpanData> {
    let below = |span: &&SpanData| span.parent_span_id == call.span_context.span_id();
    let mut attempts: Vec<_> = spans.iter().filter(below).collect();
    attempts.sort_by_key(|span| attribute(span, "cofferdam.attempt"));
    attempts
}

/// Sends a request through the layer, and says which `traceparent` the service was told.
async fn told(cofferdam: &Cofferdam, before: Option<&str>) -> Option<String> {
    let seen = Arc::new(Mutex::new(None));
    let service = service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<String>| {
            let header = request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
            *seen.lock().unwrap() = header;
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            async { Ok::<_, Infallible>(response) }
        }
    });
    let layer = cofferdam.layer("payments").inspect(cofferdam::layer::Http);
    let mut layered = ServiceBuilder::new().layer(layer).service(service);
    let mut request = Request::put("http://payments.shop/charges/7").body(String::new()).unwrap();
    if let Some(before) = before {
        request.headers_mut().insert("traceparent", before.parse().unwrap());
    }
    layered.call(request).await.unwrap();
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test]
async fn the_service_is_told_the_trace_of_the_caller_and_the_attempt() {
    let cofferdam = client(|_| {});
    let mut seen = None;
    let spans = traced(async { seen = told(&cofferdam, None).instrument(tracing::info_span!("checkout")).await }).await;
    let (caller, call, attempt) = (only(&spans, "checkout"), only(&spans, "cofferdam.call"), only(&spans, "PUT"));
    let ids = &attempt.span_context;
    assert_eq!(seen, Some(format!("00-{}-{}-01", ids.trace_id(), ids.span_id())));
    assert_eq!(ids.trace_id(), caller.span_context.trace_id());
    assert_eq!(
        (attempt.parent_span_id, call.parent_span_id),
        (call.span_context.span_id(), caller.span_context.span_id())
    );
    says(
        call,
        &[
            ("cofferdam.namespace", "shop"),
            ("cofferdam.service", "payments"),
            ("cofferdam.method", "/charges/7"),
            ("cofferdam.level", "full"),
            ("cofferdam.breaker.state", "closed"),
            ("cofferdam.attempts", "1"),
            ("cofferdam.outcome", "success"),
            ("cofferdam.served_by", "live"),
        ],
    );
    says(
        attempt,
        &[
            ("cofferdam.attempt", "1"),
            ("cofferdam.hedge", "false"),
            ("cofferdam.outcome", "success"),
            ("http.request.method", "PUT"),
            ("http.response.status_code", "204"),
            ("server.address", "payments.shop"),
        ],
    );
    assert_eq!((&call.span_kind, &attempt.span_kind), (&SpanKind::Internal, &SpanKind::Client));
    assert_eq!((&call.status, &attempt.status), (&Status::Unset, &Status::Unset));
}

/// One that a proxy passes on, for example, or that was made without `tracing`.
#[tokio::test]
async fn a_request_that_names_another_trace_stays_in_it() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let cofferdam = client(|_| {});
    for is_within in [false, true] {
        let mut seen = None;
        let spans = traced(async {
            let span = if is_within { tracing::info_span!("checkout") } else { tracing::Span::none() };
            seen = told(&cofferdam, Some(parent)).instrument(span).await;
        })
        .await;
        let (call, attempt) = (only(&spans, "cofferdam.call"), only(&spans, "PUT"));
        assert_eq!(call.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", attempt.span_context.span_id());
        assert_eq!(seen, Some(expected));
    }
}

#[tokio::test]
async fn without_a_subscriber_headers_pass_as_they_are() {
    let cofferdam = client(|_| {});
    assert_eq!(told(&cofferdam, None).await, None);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(told(&cofferdam, Some(parent)).await.as_deref(), Some(parent));
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_does_is_in_its_span_and_each_has_its_number_and_outcome() {
    let cofferdam = client(|policy| {
        policy.retry.max_attempts = 3;
        policy.retry.only_idempotent = false;
        policy.timeout =
            TimeoutPolicy { attempt_timeout: SECOND, call_timeout: 60 * SECOND, ..TimeoutPolicy::default() };
    });
    let spans = traced(async {
        let service = cofferdam.service("payments");
        let call = service.execute_with("Charge", |attempt| async move {
            assert!(tracing::Span::current().context().span().span_context().is_valid());
            match attempt.number {
                1 => Err("boom"),
                2 => std::future::pending().await,
                _ => Ok(()),
            }
        });
        call.idempotent().await.unwrap();
    })
    .await;
    let call = only(&spans, "cofferdam.call");
    says(call, &[("cofferdam.attempts", "3"), ("cofferdam.outcome", "success"), ("cofferdam.served_by", "live")]);
    let attempts = attempts(&spans, call);
    assert_eq!(attempts.len(), 3, "{spans:#?}");
    says(attempts[0], &[("cofferdam.attempt", "1"), ("cofferdam.outcome", "failure")]);
    says(attempts[1], &[("cofferdam.attempt", "2"), ("cofferdam.outcome", "failure"), ("error.type", "TIMEOUT")]);
    says(attempts[2], &[("cofferdam.attempt", "3"), ("cofferdam.outcome", "success")]);
    assert_eq!(attempts[1].status, Status::error(""));
    assert_eq!(attempts[2].status, Status::Unset);
    assert!(!format!("{spans:?}").contains("boom"), "the words of errors are in no span");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_marked_and_the_loser_was_cancelled() {
    let cofferdam = client(|policy| policy.hedge = HedgePolicy::after(SECOND));
    let spans = traced(async {
        let service = cofferdam.service("payments");
        let call = service.execute_with("Charge", |attempt| async move {
            if attempt.number == 1 { std::future::pending().await } else { Ok::<_, Infallible>(()) }
        });
        call.idempotent().await.unwrap();
    })
    .await;
    let attempts = attempts(&spans, only(&spans, "cofferdam.call"));
    assert_eq!(attempts.len(), 2, "{spans:#?}");
    says(attempts[0], &[("cofferdam.hedge", "false"), ("cofferdam.outcome", "cancelled")]);
    says(attempts[1], &[("cofferdam.hedge", "true"), ("cofferdam.outcome", "success")]);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_why_and_has_no_attempt() {
    let cofferdam = client(|policy| {
        policy.breaker = BreakerPolicy { consecutive_failures: 1, ..BreakerPolicy::default() };
    });
    let service = cofferdam.service("payments");
    let call = || service.execute("Charge", || async { Err::<(), _>("boom") });
    let spans = traced(async { drop(call().await) }).await;
    let failed = only(&spans, "cofferdam.call");
    says(
        failed,
        &[("cofferdam.outcome", "failure"), ("error.type", "UPSTREAM"), ("cofferdam.breaker.state", "closed")],
    );
    assert_eq!(failed.status, Status::error(""));

    let spans = traced(async { drop(call().await) }).await;
    let rejected = only(&spans, "cofferdam.call");
    says(
        rejected,
        &[
            ("cofferdam.outcome", "rejected"),
            ("error.type", "CIRCUIT_OPEN"),
            ("cofferdam.breaker.state", "open"),
            ("cofferdam.attempts", "0"),
        ],
    );
    assert_eq!((spans.len(), &rejected.status), (1, &Status::error("")));

    let spans = traced(async { call().fallback(|_| async { Ok(()) }).await.unwrap() }).await;
    let mended = only(&spans, "cofferdam.call");
    says(
        mended,
        &[
            ("cofferdam.outcome", "fallback"),
            ("cofferdam.served_by", "caller"),
            ("cofferdam.fallback_reason", "CIRCUIT_OPEN"),
        ],
    );
    assert_eq!((spans.len(), &mended.status), (1, &Status::Unset));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_bad_is_neutral_and_a_call_that_is_left_was_cancelled() {
    let cofferdam = client(|_| {});
    let service = cofferdam.service("payments");
    let spans = traced(async {
        let call = service.execute("Charge", || async { Err::<(), _>("no such card") });
        drop(call.classify(|_| Outcome::Neutral).await);
    })
    .await;
    let call = only(&spans, "cofferdam.call");
    says(call, &[("cofferdam.outcome", "neutral")]);
    says(attempts(&spans, call)[0], &[("cofferdam.outcome", "neutral")]);
    assert_eq!(call.status, Status::Unset);

    let spans = traced(async {
        let call = service.execute("Charge", std::future::pending::<Result<(), Infallible>>);
        assert!(tokio::time::timeout(SECOND / 10, call.into_future()).await.is_err());
    })
    .await;
    let call = only(&spans, "cofferdam.call");
    says(call, &[("cofferdam.outcome", "cancelled")]);
    says(attempts(&spans, call)[0], &[("cofferdam.outcome", "cancelled")]);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_alternative_is_below_the_call_that_it_stands_in_for() {
    let cofferdam = client(|policy| {
        let alternative =
            AlternativeFallback { service: Name::new("ledger").unwrap(), method: "Note".to_owned(), timeout: SECOND };
        let chain = vec![FallbackStep::Alternative(alternative)];
        policy.fallback = FallbackPolicy { chain, ..FallbackPolicy::default() };
    });
    let spans = traced(async {
        let service = cofferdam.service("payments");
        let call = service.execute("Charge", || async { Err("boom") });
        call.alternative(|_| async { Ok(()) }).await.unwrap();
    })
    .await;
    let of = |service: &str| {
        let is_its = |span: &&SpanData| attribute(span, "cofferdam.service").as_deref() == Some(service);
        spans.iter().find(is_its).unwrap_or_else(|| panic!("{spans:#?}"))
    };
    let (call, alternative) = (of("payments"), of("ledger"));
    assert_eq!(alternative.parent_span_id, call.span_context.span_id());
    says(call, &[("cofferdam.outcome", "fallback"), ("cofferdam.served_by", "alternative")]);
    says(call, &[("cofferdam.fallback_reason", "UPSTREAM")]);
    says(alternative, &[("cofferdam.outcome", "success"), ("cofferdam.method", "Note")]);
}
