//! A call to a registered service as the engine sees it.

use super::{Call, Executor, MAX_ANSWER_BYTES, Method, status};
use crate::error::Rejection;
use crate::registry::Registered;
use bytes::Bytes;
use cofferdam_core::call::{Attempt, CallOptions, Context, Operation, Payload, Verdict, Why, execute};
use cofferdam_core::name::ServiceKey;
use cofferdam_core::policy::{AlternativeFallback, DegradedFallback};
use cofferdam_proto::BytesCodec;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::OnceCell;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Says how many managers a call went through already; one is the limit.
pub(crate) const DEPTH_HEADER: &str = "cofferdam-depth";

pub(super) struct UpstreamCall<'a> {
    executor: &'a Executor,
    service: &'a Registered,
    call: &'a Call,
    method: Method,
    endpoints: &'a Endpoints,
}

/// The channels of a call; empty until the first attempt, whose time it takes to resolve names.
pub(super) type Endpoints = OnceCell<Vec<Channel>>;

/// An answer's bytes and what they are. Empty: what answers of its kind are.
pub(super) struct Reply {
    pub(super) payload: Bytes,
    pub(super) content_type: String,
}

/// A failure of the call itself.
#[derive(Debug)]
pub(super) enum UpstreamError {
    /// The service's own error, or the connection's.
    Status(Status),
    /// No endpoint's name leads to an address, for now: the service cannot be reached.
    Unresolved(String),
    /// The manager may not make the call.
    Refused(Rejection),
}

impl<'a> UpstreamCall<'a> {
    pub(super) fn new(
        executor: &'a Executor,
        service: &'a Registered,
        call: &'a Call,
        method: Method,
        endpoints: &'a Endpoints,
    ) -> Self {
        Self { executor, service, call, method, endpoints }
    }

    /// The channel of an attempt: each goes to the next endpoint.
    async fn channel(
        executor: &Executor,
        service: &Registered,
        endpoints: &Endpoints,
        number: u32,
    ) -> Result<Channel, UpstreamError> {
        let channels = endpoints.get_or_try_init(|| executor.channels.of(service)).await?;
        let index = (number as usize).saturating_sub(1).checked_rem(channels.len());
        let channel = index.and_then(|index| channels.get(index)).cloned();
        channel.ok_or_else(|| UpstreamError::Refused(Rejection::NoEndpoint(service.key().clone())))
    }
}

impl UpstreamCall<'_> {
    /// Asks an alternative service. The future would contain itself, were it not boxed; the engine lets an alternative
    /// have none of its own.
    fn stand_in<'s>(
        &'s mut self,
        step: &'s AlternativeFallback,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send + 's>> {
        Box::pin(async move {
            let key = ServiceKey { namespace: self.service.key().namespace.clone(), name: step.service.clone() };
            let alternative = self.executor.registry.get(&key)?;
            let method = if step.method.is_empty() {
                self.method.clone()
            } else {
                Method::parse(&step.method, step.service.as_str()).ok()?
            };
            let isolation = self.executor.isolation(&alternative);
            let options = CallOptions {
                method: method.path().as_str(),
                timeout: limit,
                is_idempotent: self.call.is_idempotent,
                is_alternative: true,
                ..CallOptions::default()
            };
            let endpoints = Endpoints::new();
            let mut upstream = UpstreamCall::new(self.executor, &alternative, self.call, method.clone(), &endpoints);
            let answer = execute(&isolation, &self.executor.runtime, &mut upstream, &options).await;
            Some(answer.ok()?.value)
        })
    }
}

impl<'a> Operation for UpstreamCall<'a> {
    type Output = Reply;
    type Error = UpstreamError;

    fn attempt(&mut self, attempt: Attempt) -> impl Future<Output = Result<Reply, UpstreamError>> + Send + use<'a> {
        let (executor, service, endpoints) = (self.executor, self.service, self.endpoints);
        let (payload, path) = (self.call.payload.clone(), self.method.path().clone());
        let trace = executor.traces.attempt(&self.call.trace, service, &self.method, attempt.number);
        async move {
            let channel = Self::channel(executor, service, endpoints, attempt.number).await?;
            let mut request = Request::new(payload);
            trace.tell(request.metadata_mut());
            if let Some(remaining) = attempt.tell_remaining {
                request.set_timeout(remaining);
            }
            request.metadata_mut().insert(DEPTH_HEADER, MetadataValue::from_static("1"));
            let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            let unavailable =
                |error: tonic::transport::Error| UpstreamError::Status(Status::from_error(Box::new(error)));
            client.ready().await.map_err(unavailable)?;
            let response = client.unary(request, path, BytesCodec).await;
            trace.end_attempt(response.as_ref().err().map_or(Code::Ok, Status::code));
            let payload = response.map_err(UpstreamError::Status)?.into_inner();
            Ok(Reply { payload, content_type: String::new() })
        }
    }

    fn classify(&self, result: Result<&Reply, &UpstreamError>, context: Context<'_>) -> Verdict {
        match result {
            Ok(_) => status::verdict(None, context),
            Err(UpstreamError::Status(status)) => status::verdict(Some(status), context),
            Err(UpstreamError::Unresolved(reason)) => {
                let verdict = status::verdict(Some(&Status::unavailable(reason)), context);
                Verdict { may_have_reached: false, ..verdict }
            }
            Err(UpstreamError::Refused(_)) => Verdict {
                outcome: cofferdam_core::outcome::Outcome::Neutral,
                is_retryable: false,
                may_have_reached: false,
                is_overload: false,
                pushback: None,
            },
        }
    }

    fn encode(&self, output: &Reply) -> Option<Bytes> {
        Some(output.payload.clone())
    }

    fn decode(&mut self, payload: Payload<'_>) -> Option<Reply> {
        Some(Reply { payload: payload.bytes.clone(), content_type: payload.content_type.to_owned() })
    }

    fn has_alternative(&self) -> bool {
        true
    }

    async fn alternative(&mut self, step: &AlternativeFallback, limit: Option<Duration>) -> Option<Reply> {
        self.stand_in(step, limit).await
    }

    async fn degraded(&mut self, _: &DegradedFallback, _: Why) -> Option<Reply> {
        // Which features still work stands in the answer's source; there are no bytes.
        Some(Reply { payload: Bytes::new(), content_type: String::new() })
    }
}
