//! HTTP requests and responses, gRPC's among them, for the tower layer.

mod followed;

use super::status::{code_of, on_code};
use crate::classify::{IntoVerdict, on_error};
use crate::error::Rejection;
use crate::http_answer::HttpAnswer;
use crate::layer::{Attribute, Inspect, Ongoing, TraceContext};
use cofferdam_core::call::{Context, Verdict};
use cofferdam_core::outcome::Outcome;
use cofferdam_proto::grpc_timeout;
use cofferdam_proto::status::{PUSHBACK, pushback};
use followed::Followed;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use std::any::{Any, type_name};
use std::error::Error;
use std::time::Duration;
use tonic::{Code, Status};

const GRPC_STATUS: &str = "grpc-status";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Knows requests and responses of any HTTP client.
///
/// The method is the path. A request is idempotent where HTTP says so of its method, which it does not of gRPC's POST.
/// A response is judged by its `grpc-status`, where the headers hold one, else by its HTTP status: the policy's lists say
/// what each is. Of those that are failures, another attempt may mend 502, 503 and 504. `retry-after` and
/// `grpc-retry-pushback-ms` are the service's own word on when to come again. The `grpc-timeout` of a request, such as
/// tonic's `Request::set_timeout` makes, is the caller's limit of the whole call; each attempt tells gRPC services what
/// remains. A gRPC response of a tonic channel that has its status in trailers is judged
/// when they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

/// Knows the requests and responses of tonic's channels, as [`Http`]; of any other it knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Auto;

type TonicRequest = Request<tonic::body::Body>;
type TonicResponse = Response<tonic::body::Body>;

impl<B, C: 'static> Inspect<Request<B>, Response<C>> for Http {
    fn method(&self, request: &Request<B>) -> String {
        request.uri().path().to_owned()
    }

    fn is_idempotent(&self, request: &Request<B>) -> bool {
        request.method().is_idempotent()
    }

    fn timeout(&self, request: &Request<B>) -> Option<Duration> {
        let headers = request.headers();
        grpc_timeout::parse(headers.get(grpc_timeout::HEADER).filter(|_| is_grpc(headers))?.as_bytes())
    }

    fn tell_remaining(&self, request: &mut Request<B>, remaining: Duration) {
        let headers = request.headers_mut();
        if is_grpc(headers)
            && let Ok(value) = HeaderValue::try_from(grpc_timeout::format(remaining))
        {
            headers.insert(grpc_timeout::HEADER, value);
        }
    }

    fn trace(&self, request: &Request<B>) -> Option<TraceContext> {
        let text = |name| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        Some(TraceContext { traceparent: text(TRACEPARENT)?, tracestate: text(TRACESTATE).unwrap_or_default() })
    }

    fn tell_trace(&self, request: &mut Request<B>, trace: &TraceContext) {
        let headers = request.headers_mut();
        for (name, text) in [(TRACEPARENT, &trace.traceparent), (TRACESTATE, &trace.tracestate)] {
            // Whatever stood there belonged to the span before.
            headers.remove(name);
            if let Ok(value) = HeaderValue::from_str(text)
                && !text.is_empty()
            {
                headers.insert(name, value);
            }
        }
    }

    fn describe_request(&self, request: &Request<B>) -> Vec<Attribute> {
        let path = request.uri().path();
        let server = request.uri().host().map(|host| Attribute::text("server.address", host));
        let attributes = match path.trim_start_matches('/').rsplit_once('/').filter(|_| is_grpc(request.headers())) {
            Some((service, method)) => vec![
                Attribute::text("rpc.system", "grpc"),
                Attribute::text("rpc.service", service),
                Attribute::text("rpc.method", method),
            ],
            None => {
                vec![
                    Attribute::text("http.request.method", request.method().as_str()),
                    Attribute::text("url.path", path),
                ]
            }
        };
        attributes.into_iter().chain(server).collect()
    }

    fn describe_response(&self, response: &Response<C>) -> Vec<Attribute> {
        match grpc_code(response.headers()) {
            Some(code) => vec![grpc_status_code(code)],
            None if is_grpc(response.headers()) => Vec::new(),
            None => vec![Attribute::number("http.response.status_code", response.status().as_u16().into())],
        }
    }

    fn is_error(&self, response: &Response<C>) -> bool {
        match grpc_code(response.headers()) {
            Some(code) => code != Code::Ok,
            None if ends_without_status(response) => true,
            None => response.status().is_server_error() || response.status().is_client_error(),
        }
    }

    fn classify(&self, result: Result<&Response<C>, &(dyn Error + 'static)>, context: Context<'_>) -> Verdict {
        let response = match result {
            Ok(response) => response,
            Err(error) => return on_error(error, context),
        };
        let headers = response.headers();
        match grpc_code(headers) {
            Some(code) => {
                let values = headers.get_all(PUSHBACK).into_iter().map(HeaderValue::as_bytes);
                on_code(code, pushback(values), context)
            }
            None if ends_without_status(response) => on_code(Code::Unknown, None, context),
            None => HttpAnswer::from(response).verdict(context),
        }
    }

    fn is_unfinished(&self, response: &Response<C>) -> bool {
        lacks_status(response) && tonics(response).is_some_and(|response| !response.body().is_end_stream())
    }

    /// gRPC's status is in the trailers, behind a body that is not tonic's.
    fn is_opaque(&self, response: &Response<C>) -> bool {
        tonics(response).is_none() && lacks_status(response)
    }

    fn follow(&self, response: &mut Response<C>, ongoing: Ongoing) {
        if let Some(response) = (response as &mut dyn Any).downcast_mut::<TonicResponse>() {
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = tonic::body::Body::new(Followed::new(body, ongoing));
        }
    }
}

/// Whether it is gRPC's and all of it is here but how the call has ended: as a body that ends without a status, it failed.
fn ends_without_status<C: 'static>(response: &Response<C>) -> bool {
    lacks_status(response) && tonics(response).is_some_and(|response| response.body().is_end_stream())
}

fn lacks_status<C>(response: &Response<C>) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK && is_grpc(headers) && grpc_code(headers).is_none()
}

fn tonics<Res: 'static>(response: &Res) -> Option<&TonicResponse> {
    (response as &dyn Any).downcast_ref()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl<Req: 'static, Res: 'static> Inspect<Req, Res> for Auto {
    fn method(&self, request: &Req) -> String {
        let known = (request as &dyn Any).downcast_ref::<TonicRequest>();
        known.map(|request| Inspect::<_, TonicResponse>::method(&Http, request)).unwrap_or_default()
    }

    fn is_idempotent(&self, request: &Req) -> bool {
        let known = (request as &dyn Any).downcast_ref::<TonicRequest>();
        known.is_some_and(|request| Inspect::<_, TonicResponse>::is_idempotent(&Http, request))
    }

    fn timeout(&self, request: &Req) -> Option<Duration> {
        let known = (request as &dyn Any).downcast_ref::<TonicRequest>();
        known.and_then(|request| Inspect::<_, TonicResponse>::timeout(&Http, request))
    }

    fn tell_remaining(&self, request: &mut Req, remaining: Duration) {
        if let Some(request) = (request as &mut dyn Any).downcast_mut::<TonicRequest>() {
            Inspect::<_, TonicResponse>::tell_remaining(&Http, request, remaining);
        }
    }

    fn trace(&self, request: &Req) -> Option<TraceContext> {
        let known = (request as &dyn Any).downcast_ref::<TonicRequest>();
        known.and_then(|request| Inspect::<_, TonicResponse>::trace(&Http, request))
    }

    fn tell_trace(&self, request: &mut Req, trace: &TraceContext) {
        if let Some(request) = (request as &mut dyn Any).downcast_mut::<TonicRequest>() {
            Inspect::<_, TonicResponse>::tell_trace(&Http, request, trace);
        }
    }

    fn describe_request(&self, request: &Req) -> Vec<Attribute> {
        let known = (request as &dyn Any).downcast_ref::<TonicRequest>();
        known.map(|request| Inspect::<_, TonicResponse>::describe_request(&Http, request)).unwrap_or_default()
    }

    fn describe_response(&self, response: &Res) -> Vec<Attribute> {
        let known = tonics(response);
        known.map(|response| Inspect::<TonicRequest, _>::describe_response(&Http, response)).unwrap_or_default()
    }

    fn is_error(&self, response: &Res) -> bool {
        tonics(response).is_some_and(|response| Inspect::<TonicRequest, _>::is_error(&Http, response))
    }

    fn is_unfinished(&self, response: &Res) -> bool {
        tonics(response).is_some_and(|response| Inspect::<TonicRequest, _>::is_unfinished(&Http, response))
    }

    fn is_opaque(&self, response: &Res) -> bool {
        // The language cannot ask for a response of any body, but for the name of the type.
        tonics(response).is_none() && type_name::<Res>().starts_with("http::response::Response<")
    }

    fn follow(&self, response: &mut Res, ongoing: Ongoing) {
        if let Some(response) = (response as &mut dyn Any).downcast_mut::<TonicResponse>() {
            Inspect::<TonicRequest, _>::follow(&Http, response, ongoing);
        }
    }

    fn classify(&self, result: Result<&Res, &(dyn Error + 'static)>, context: Context<'_>) -> Verdict {
        match result {
            Ok(response) => match tonics(response) {
                Some(response) => Inspect::<TonicRequest, _>::classify(&Http, Ok(response), context),
                None => Outcome::Success.into_verdict(),
            },
            Err(error) => on_error(error, context),
        }
    }
}

/// What tonic's clients show for a verdict of the SDK.
pub(crate) fn status_of_rejection(service: &str, rejection: &Rejection) -> Box<dyn Error + Send + Sync> {
    Box::new(Status::new(code_of(rejection), format!("{service}: {rejection}")))
}

fn grpc_status_code(code: Code) -> Attribute {
    Attribute::number("rpc.grpc.status_code", i32::from(code).into())
}

fn grpc_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests;
