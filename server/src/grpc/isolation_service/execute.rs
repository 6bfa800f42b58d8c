//! ExecuteWithIsolation: from the contract to the call and back.

use cofferdam_core::{
    call::{Source, Why},
    policy::FallbackTrigger,
    wire::{breaker_state_to_wire, duration_from_wire, duration_to_wire, revision_to_wire},
};
use cofferdam_proto::{grpc_timeout, v1};
use tonic::metadata::MetadataMap;

use super::IsolationApi;
use crate::{
    error::Error,
    execute::{Call, DEPTH_HEADER, Executed, MAX_REQUEST_BYTES, MAX_TIMEOUT, Method, Trace},
    grpc::error::reason_of,
    registry::validate::{self, Faults},
};

const MAX_CACHE_KEY_BYTES: usize = 1024;
const MAX_POOL_BYTES: usize = 64;
const MAX_CACHE_FIELDS: usize = 32;
const MAX_FIELD_NAME_BYTES: usize = 128;

impl IsolationApi {
    pub(super) async fn execute(
        &self,
        metadata: &MetadataMap,
        request: v1::ExecuteWithIsolationRequest,
    ) -> Result<v1::ExecuteWithIsolationResponse, Error> {
        let key = validate::target(&request.namespace, &request.service)?;
        if metadata.contains_key(DEPTH_HEADER) {
            let reason = "came through a manager already: an endpoint that leads to a manager cannot be called";
            return Err(Error::invalid("service", reason));
        }
        let mut call = read(request)?;
        // Who makes the call has a deadline of its own, like any caller of gRPC's.
        let header = metadata.get(grpc_timeout::HEADER).map(|value| value.as_bytes());
        let waits = header.and_then(grpc_timeout::parse);
        call.timeout = [call.timeout, waits].into_iter().flatten().min();
        let (service, _) = self.local.registry.describe(&key)?;
        // Code may be older than its policy, and runs in the common places then. What is said by hand is misspelt.
        if let Some(pool) = &call.pool {
            service.require_pool(pool)?;
        }
        call.trace = self.local.executor.traces().call(&Trace::of(metadata), &service, &call.method);
        let executed = self.local.executor.execute(&service, &call).await;
        call.trace.end_call(executed.as_ref().map_err(reason_of));
        executed.map(answer)
    }
}

fn read(request: v1::ExecuteWithIsolationRequest) -> Result<Call, Error> {
    let v1::ExecuteWithIsolationRequest {
        namespace: _,
        service,
        method,
        payload,
        timeout,
        idempotent,
        cache_key,
        pool,
        cache_fields,
    } = request;
    let mut faults = Faults::default();
    if payload.len() > MAX_REQUEST_BYTES {
        faults.add("payload", format!("must be at most {MAX_REQUEST_BYTES} bytes long, not {}", payload.len()));
    }
    let method = Method::parse(&method, &service).map_err(|invalid| faults.add("method", invalid.to_string()));
    let timeout = timeout.map(duration_from_wire).transpose();
    let timeout = timeout.map_err(|invalid| faults.add("timeout", invalid.to_string())).ok().flatten();
    if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > MAX_TIMEOUT) {
        faults.add("timeout", format!("must be above zero and at most {MAX_TIMEOUT:?}"));
    }
    faults.text("cache_key", &cache_key, MAX_CACHE_KEY_BYTES);
    faults.text("pool", &pool, MAX_POOL_BYTES);
    faults.count("cache_fields", cache_fields.len(), MAX_CACHE_FIELDS);
    for (name, value) in cache_fields.iter().take(MAX_CACHE_FIELDS) {
        faults.text("cache_fields", name, MAX_FIELD_NAME_BYTES);
        faults.text("cache_fields", value, MAX_CACHE_KEY_BYTES);
    }
    match method {
        Ok(method) if faults.is_empty() => Ok(Call {
            method,
            payload,
            timeout,
            is_idempotent: idempotent,
            cache_key: cache_key.into(),
            cache_fields: cache_fields.into_iter().collect(),
            pool: Some(pool).filter(|pool| !pool.is_empty()),
            trace: Trace::default(),
        }),
        _ => Err(faults.into_error()),
    }
}

fn answer(executed: Executed) -> v1::ExecuteWithIsolationResponse {
    let why = executed.receipt.why.map(|why| reason(why).to_owned()).unwrap_or_default();
    let fallback_reason = match &executed.source {
        Source::Degraded(step) if !step.reason.is_empty() => step.reason.clone(),
        _ => why,
    };
    let (served_by, cache_age, degraded_features) = match executed.source {
        Source::Live => (v1::ServedBy::Live, None, Vec::new()),
        Source::Cached { age } => (v1::ServedBy::Cached, Some(duration_to_wire(age)), Vec::new()),
        Source::Static => (v1::ServedBy::Static, None, Vec::new()),
        Source::Alternative => (v1::ServedBy::Alternative, None, Vec::new()),
        Source::Degraded(step) => (v1::ServedBy::Degraded, None, step.features),
        // Callers here bring no code of their own.
        Source::Local => (v1::ServedBy::Unspecified, None, Vec::new()),
    };
    v1::ExecuteWithIsolationResponse {
        payload: executed.payload,
        served_by: served_by.into(),
        attempts: executed.receipt.attempts,
        breaker_state: executed.breaker_state.map(breaker_state_to_wire).unwrap_or_default().into(),
        revision: executed.receipt.revision.map(revision_to_wire),
        content_type: executed.content_type,
        cache_age,
        degraded_features,
        fallback_reason,
    }
}

fn reason(why: Why) -> &'static str {
    match why.trigger {
        FallbackTrigger::Bulkhead if why.is_adaptive_limit => "the adaptive limit is reached",
        FallbackTrigger::Open if why.is_forced => "an operator keeps calls from the service: disabled, or held open",
        FallbackTrigger::Failure => "the service answered with a failure",
        FallbackTrigger::Timeout => "the service did not answer in time",
        FallbackTrigger::Open => "the circuit breaker is open",
        FallbackTrigger::Bulkhead => "the bulkhead is full",
        FallbackTrigger::RateLimit => "the rate limit is reached",
    }
}
