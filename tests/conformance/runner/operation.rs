//! The service and the caller, by the script.

use super::case::{Call, Script, StandIn};
use super::clock::Clock;
use super::duration;
use super::world::World;
use bytes::Bytes;
use cofferdam::layer::{Http, Inspect};
use cofferdam_core::call::{Answer, Attempt, CallOptions, Context, Failure, Operation, Payload, Verdict, Why, execute};
use cofferdam_core::isolation::Isolation;
use cofferdam_core::policy::{AlternativeFallback, DegradedFallback};
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use serde_json::{Value, json};
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a call did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// When each attempt began.
    pub(crate) starts: Vec<Timestamp>,
    /// The time left that the service was told at each.
    pub(crate) told: Vec<Option<Duration>>,
    /// The alternatives that were asked.
    pub(crate) asked: Vec<Value>,
}

/// How a call ends.
pub(crate) type CallResult = Result<Answer<Reply>, Failure<ScriptedError>>;

/// A call's service, stand-ins and caller.
pub(crate) struct Scripted {
    pub(crate) world: Arc<World>,
    pub(crate) call: Arc<Call>,
    pub(crate) attempts: Vec<Script>,
    pub(crate) trace: Arc<Mutex<Trace>>,
}

/// An answer of the service, or of what stands in for it.
pub(crate) struct Reply {
    pub(crate) text: String,
    /// `None`: it is not the service's.
    script: Option<Script>,
}

/// An error of the service.
pub(crate) struct ScriptedError(Script);

impl Scripted {
    fn clock(&self) -> &Clock {
        &self.world.clock
    }

    fn traced(&self, act: impl FnOnce(&mut Trace)) {
        act(&mut self.trace.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Boxed, for a call may lead to a call of an alternative.
    pub(crate) fn execute_on<'a>(
        &'a mut self,
        isolation: &'a Isolation,
        options: CallOptions<'a>,
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        let clock = self.clock().clone();
        Box::pin(async move { execute(isolation, &clock, self, &options).await })
    }

    async fn stand_in(&self, stand_in: Option<&StandIn>) -> Option<Reply> {
        let StandIn { answer, latency, never } = stand_in?;
        if *never {
            pending::<()>().await;
        }
        self.clock().sleep(latency.0).await;
        Some(Reply { text: answer.clone()?, script: None })
    }
}

impl Operation for Scripted {
    type Output = Reply;
    type Error = ScriptedError;

    fn attempt(&mut self, attempt: Attempt) -> impl Future<Output = Result<Reply, ScriptedError>> + Send + use<> {
        let clock = self.clock().clone();
        let now = clock.now();
        self.traced(|trace| {
            trace.starts.push(now);
            trace.told.push(attempt.tell_remaining);
        });
        let last = self.attempts.len().saturating_sub(1);
        let script = self.attempts.get(last.min(attempt.number as usize - 1)).cloned().unwrap_or_default();
        async move {
            if script.never {
                pending::<()>().await;
            }
            clock.sleep(script.latency.0).await;
            if script.panic {
                // Without the hook that prints it.
                resume_unwind(Box::new("scripted"));
            }
            if script.error.is_some() || Inspect::<http::Request<()>, _>::is_error(&Http, &script.response()) {
                return Err(ScriptedError(script));
            }
            Ok(Reply { text: script.answer.clone(), script: Some(script) })
        }
    }

    fn classify(&self, result: Result<&Reply, &ScriptedError>, context: Context<'_>) -> Verdict {
        let script = match result {
            Ok(Reply { script, .. }) => script.clone().unwrap_or_default(),
            Err(ScriptedError(script)) => script.clone(),
        };
        let verdict = match &script.error {
            None => Inspect::<http::Request<()>, _>::classify(&Http, Ok(&script.response()), context),
            Some(name) => {
                let context = Context { error_type: name, ..context };
                let error = Typed(script.grpc.map(|code| tonic::Status::new((code as i32).into(), "")));
                Inspect::<http::Request<()>, http::Response<()>>::classify(&Http, Err(&error), context)
            }
        };
        Verdict { may_have_reached: verdict.may_have_reached && script.reached, ..verdict }
    }

    fn encode(&self, output: &Reply) -> Option<Bytes> {
        Some(Bytes::from(output.text.clone()))
    }

    fn decode(&mut self, payload: Payload<'_>) -> Option<Reply> {
        String::from_utf8(payload.bytes.to_vec()).ok().map(|text| Reply { text, script: None })
    }

    fn has_alternative(&self) -> bool {
        true
    }

    async fn alternative(&mut self, step: &AlternativeFallback, limit: Option<Duration>) -> Option<Reply> {
        let service = step.service.as_str();
        let method = if step.method.is_empty() { &self.call.method } else { &step.method };
        let asked = json!({ "service": service, "method": method, "limit": limit.map(duration::format) });
        self.traced(|trace| trace.asked.push(asked));
        let attempts = self.call.alternatives.get(service)?.clone();
        let fields = self.call.fields();
        let options = self.call.options(&fields);
        let options = CallOptions { method, pool: None, timeout: limit, is_alternative: true, ..options };
        let mut operation = Self {
            world: Arc::clone(&self.world),
            call: Arc::clone(&self.call),
            attempts,
            trace: Arc::new(Mutex::default()),
        };
        let isolation = self.world.isolation(service)?;
        operation.execute_on(isolation, options).await.ok().map(|answer| answer.value)
    }

    async fn degraded(&mut self, _: &DegradedFallback, _: Why) -> Option<Reply> {
        self.stand_in(self.call.degraded.as_ref()).await
    }

    async fn local_fallback(&mut self, _: Why) -> Option<Reply> {
        self.stand_in(self.call.local.as_ref()).await
    }
}

impl Call {
    /// The fields that its request has.
    pub(crate) fn fields(&self) -> Vec<(&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    /// What the caller says of it.
    pub(crate) fn options<'a>(&'a self, fields: &'a [(&'a str, &'a [u8])]) -> CallOptions<'a> {
        CallOptions {
            method: &self.method,
            pool: self.pool.as_deref(),
            is_idempotent: self.idempotent,
            timeout: self.timeout.map(|span| span.0),
            cache_key: self.key.as_deref().map(str::as_bytes),
            cache_fields: fields,
            is_alternative: false,
        }
    }
}

impl Script {
    /// As HTTP has it, gRPC's status in a header. The SDK says what it means, as it does to its users.
    fn response(&self) -> http::Response<()> {
        let mut response = http::Response::builder().status(self.http.unwrap_or(200));
        if self.http.is_none() {
            response = response.header("grpc-status", self.grpc.unwrap_or(0));
        }
        for (name, value) in [("grpc-retry-pushback-ms", &self.pushback), ("retry-after", &self.retry_after)] {
            if let Some(value) = value {
                response = response.header(name, value);
            }
        }
        response.body(()).expect("the schema takes no value that is not one of a header")
    }
}

impl ScriptedError {
    /// As case files write it.
    pub(crate) fn to_json(&self) -> Value {
        let Script { grpc, http, error, .. } = &self.0;
        match (error, grpc, http) {
            (Some(error), Some(grpc), _) => json!({ "error": error, "grpc": grpc }),
            (Some(error), None, _) => json!({ "error": error }),
            (None, _, Some(http)) => json!({ "http": http }),
            (None, grpc, None) => json!({ "grpc": grpc }),
        }
    }
}

/// An error of a type that the script names, behind which there may be a status.
#[derive(Debug)]
struct Typed(Option<tonic::Status>);

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

impl Error for Typed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|status| status as &(dyn Error + 'static))
    }
}
