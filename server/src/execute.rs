//! ExecuteWithIsolation: calls a registered service on somebody's behalf, isolated by the same engine as an SDK's calls.
//!
//! It serves trials with grpcurl and callers without an SDK; it is never the main path. Because it dials from a
//! trusted place for whoever asks, it is fenced ([`Fence`]): only endpoints that are registered *and* on the operator's
//! allow-list, checked on the resolved address; one hop; bounded sizes, time and concurrency; no metadata relayed.
//!
//! The manager is one more caller: it has a breaker, budget and cache of its own for each registered service that it was
//! asked to call, in memory only, and of the caches' memory a bound over all services (`memory`). What operators order is
//! done when it is given and not when somebody calls next (`keep_up`): by then a trip may be long over. What the breakers
//! do is told like that of an instance's, and how a service does by these calls counts where its health is asked for.

mod channels;
mod fence;
mod memory;
mod method;
mod observer;
mod runtime;
mod status;
mod trace;
mod upstream;

pub use fence::Fence;
pub use method::{InvalidMethod, Method};
pub use trace::{Trace, Traces};
pub(crate) use upstream::DEPTH_HEADER;

use crate::activity::Activity;
use crate::error::{Error, Rejection};
use crate::instances::{Condition, Instances, OwnCalls};
use crate::registry::{Registered, Registry};
use bytes::Bytes;
use channels::Channels;
use cofferdam_core::breaker::State;
use cofferdam_core::cache::AnswerCache;
use cofferdam_core::call::{self, CallOptions, Failure, FailureCause, Receipt, Source};
use cofferdam_core::isolation::{BreakerReceipt, Isolation, RejectedCall};
use cofferdam_core::name::ServiceKey;
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::{Clocks, Timestamp};
use cofferdam_core::wire::rejected_call_to_wire;
use cofferdam_proto::v1;
use memory::Memory;
use observer::Told;
use runtime::TokioRuntime;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};
use upstream::{Endpoints, UpstreamCall, UpstreamError};

/// The largest request that is relayed, in bytes.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;
/// The largest answer that is relayed, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The longest call.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls at once, over all services: beyond it, calls are refused rather than queued.
const MAX_CONCURRENT: usize = 256;

/// The least time between two looks at what has changed.
const SETTLING: Duration = Duration::from_millis(100);
/// The longest: what has failed is over one day although nobody calls.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so long without a call, a breaker that may let calls through again says nothing any more.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Makes calls to registered services.
#[derive(Debug)]
pub struct Executor {
    registry: Arc<Registry>,
    isolations: Mutex<HashMap<ServiceKey, Own>>,
    /// Tells that a call has ended.
    called: Notify,
    channels: Channels,
    runtime: TokioRuntime,
    places: Semaphore,
    memory: Memory,
    traces: Traces,
}

/// The isolation of a service, and what was told of it.
#[derive(Debug)]
struct Own {
    isolation: Arc<Isolation>,
    told: Activity,
    /// When it was last called.
    called: Timestamp,
    applied: Applied,
}

/// Which policy is in force.
#[derive(Clone, Copy, Debug)]
struct Applied {
    /// The service's revision.
    revision: Revision,
    /// Whether it is what is handed out in the place of that revision's.
    is_contained: bool,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The encoded request message; at most [`MAX_REQUEST_BYTES`].
    pub payload: Bytes,
    /// The caller's own limit; at most [`MAX_TIMEOUT`], which is also the default.
    pub timeout: Option<Duration>,
    /// Whether it may safely run twice.
    pub is_idempotent: bool,
    /// What an answer in the cache belongs to. Empty: the payload.
    pub cache_key: Bytes,
    /// Fields of the request by name, for a policy whose cached fallback makes up the key of some.
    pub cache_fields: Vec<(String, String)>,
    /// The pool to run in. `None`: as the policy's globs say.
    pub pool: Option<String>,
    /// What it belongs to.
    pub trace: Trace,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The encoded answer; empty from a degraded fallback.
    pub payload: Bytes,
    /// What the payload is.
    pub content_type: String,
    /// Who answered.
    pub source: Source,
    /// How it came about.
    pub receipt: Receipt,
    /// The breaker that the call met, after the call. `None`: none is in force.
    pub breaker_state: Option<State>,
}

impl Executor {
    /// An executor that dials what the fence allows.
    pub fn new(registry: Arc<Registry>, fence: Fence) -> Self {
        Self {
            registry,
            isolations: Mutex::default(),
            called: Notify::new(),
            channels: Channels::new(fence),
            runtime: TokioRuntime::new(),
            places: Semaphore::new(MAX_CONCURRENT),
            memory: Memory::default(),
            traces: Traces::default(),
        }
    }

    /// The same with spans of its calls.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// What makes the spans of its calls.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Calls a registered service.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`], where the call may not be made, or failed and no fallback answered.
    pub async fn execute(&self, service: &Registered, call: &Call) -> Result<Executed, Error> {
        let quota = || Error::QuotaExceeded {
            quota: "executions",
            limit: MAX_CONCURRENT.to_string(),
            remedy: "call the service through an SDK, which has no such limit, or try again later",
        };
        let _place = self.places.try_acquire().map_err(|_| quota())?;
        let isolation = self.isolation(service);
        let cache_fields: Vec<_> =
            call.cache_fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let options = CallOptions {
            method: call.method.path().as_str(),
            pool: call.pool.as_deref(),
            is_idempotent: call.is_idempotent,
            timeout: Some(call.timeout.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT)),
            cache_key: Some(if call.cache_key.is_empty() { &call.payload } else { &call.cache_key }),
            cache_fields: &cache_fields,
            is_alternative: false,
        };
        let endpoints = Endpoints::new();
        let mut upstream = UpstreamCall::new(self, service, call, call.method.clone(), &endpoints);
        let result = call::execute(&isolation, &self.runtime, &mut upstream, &options).await;
        self.called.notify_one();
        let breaker_state = isolation.breaker_state_for(options.method, options.pool, self.runtime.now());
        if let Ok(answer) = &result
            && answer.source == Source::Live
            && self.memory.note(answer.value.payload.len())
        {
            memory::share(&self.caches());
        }
        match result {
            Ok(answer) => Ok(Executed {
                payload: answer.value.payload,
                content_type: content_type(&answer.source, answer.value.content_type),
                source: answer.source,
                receipt: answer.receipt,
                breaker_state,
            }),
            Err(failure) => {
                let receipt = || isolation.breaker_receipt(options.method, options.pool, self.runtime.now());
                let pool = || isolation.in_force().route(options.method, options.pool).1;
                Err(rejection(service.key(), failure, pool, receipt).into())
            }
        }
    }

    /// What came of the calls to a service so far.
    pub fn activity(&self, key: &ServiceKey) -> Activity {
        let isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        isolations.get(key).map(|own| Activity::of(&own.isolation)).unwrap_or_default()
    }

    /// What came of the calls to a service since it was last told.
    pub fn untold(&self, key: &ServiceKey) -> Activity {
        let isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        isolations.get(key).map(|own| Activity::of(&own.isolation).since(&own.told)).unwrap_or_default()
    }

    /// The last calls to a service that were turned away here, as those of an instance of this name.
    pub(crate) fn rejections(&self, key: &ServiceKey, name: &str) -> Vec<v1::RejectedCall> {
        let now = self.runtime.now();
        let isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = isolations.get(key).map(|own| own.isolation.rejections_after(0).0).unwrap_or_default();
        let told = |call: &RejectedCall| v1::RejectedCall {
            instance_id: name.to_owned(),
            ..rejected_call_to_wire(call, now.saturating_since(call.at))
        };
        calls.iter().map(told).collect()
    }

    /// Tells what came of the calls to each service since this was last done.
    pub fn tell(&self, mut listener: impl FnMut(&ServiceKey, &Activity)) {
        let mut isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, own) in isolations.iter_mut() {
            let now = Activity::of(&own.isolation);
            listener(key, &now.since(&own.told));
            own.told = now;
        }
    }

    /// How each service does by the calls that were made to it. A breaker that waits for a call which nobody makes is no
    /// news for ever: after a while, nothing is known of it.
    fn conditions(&self) -> HashMap<ServiceKey, OwnCalls> {
        let now = self.runtime.now();
        let isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        let known = isolations.iter().filter(|(key, _)| self.registry.get(key).is_some());
        let condition = |(key, own): (&ServiceKey, &Own)| {
            own.isolation.settle(now);
            let mut parts = own.isolation.breaker_states(now);
            // A worse state is greater.
            let breaker = parts.iter().map(|(_, state)| *state).max();
            parts.retain(|(_, state)| *state != State::Closed);
            let is_left = breaker == Some(State::HalfOpen) && now.saturating_since(own.called) > LEFT_ALONE;
            let condition = Condition { breaker, health: Some(own.isolation.health(now)) };
            (!is_left).then(|| (key.clone(), OwnCalls { condition, parts }))
        };
        known.filter_map(condition).collect()
    }

    /// The caches of all services.
    fn caches(&self) -> Vec<Arc<AnswerCache>> {
        let isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        isolations.values().flat_map(|own| own.isolation.caches()).collect()
    }

    fn clocks(&self) -> Clocks {
        Clocks { monotonic: self.runtime.now(), wall: self.registry.wall_time() }
    }

    /// The isolation of a service, by its policy of now. Services that are gone are forgotten on the way, so there are
    /// never more than registered services, whose number has a limit.
    fn isolation(&self, service: &Registered) -> Arc<Isolation> {
        let now = self.runtime.now();
        let mut isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = isolations.get_mut(service.key()) {
            own.called = now;
            self.apply_news(own, service);
            own.isolation.settle(now);
            return Arc::clone(&own.isolation);
        }
        isolations.retain(|key, _| self.registry.get(key).is_some());
        let told = Told::new(service.key().clone(), Arc::clone(self.registry.events()));
        let isolation = Isolation::new(service.policy().clone(), None, self.clocks(), Arc::new(told));
        let isolation = Arc::new(isolation);
        let (told, applied) = (Activity::default(), self.apply(&isolation, service));
        let own = Own { isolation: Arc::clone(&isolation), told, called: now, applied };
        isolations.insert(service.key().clone(), own);
        isolation
    }
}

impl Executor {
    /// Brings the isolations of services that were called before in step with the registry.
    fn catch_up(&self) {
        let mut isolations = self.isolations.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, own) in isolations.iter_mut() {
            if let Some(service) = self.registry.get(key) {
                self.apply_news(own, &service);
            }
        }
    }

    fn apply_news(&self, own: &mut Own, service: &Registered) {
        let is_contained = service.containment().is_some();
        if own.applied.revision < service.revision()
            || own.applied.revision == service.revision() && own.applied.is_contained != is_contained
        {
            own.applied = self.apply(&own.isolation, service);
        }
    }

    /// Puts a service's policy of now in force, or what is handed out in its place where it is contained; and what operators
    /// have ordered: what is for one instance is not for a manager. Of the commands, those that were given before its first
    /// call here are of no use.
    fn apply(&self, isolation: &Isolation, service: &Registered) -> Applied {
        let is_contained = service.containment().is_some();
        let applied = Applied { revision: service.revision(), is_contained };
        let in_place = if is_contained { self.registry.in_place_of(service) } else { None };
        let service = in_place.as_deref().unwrap_or(service);
        isolation.obey(service.orders().clone(), None, self.clocks());
        isolation.apply(service.policy().clone(), Some(service.revision()), service.is_enabled(), self.clocks());
        isolation.perform(None, self.runtime.now(), || self.runtime.random());
        applied
    }
}

/// Keeps an executor in step with the registry, and says how services do by its calls, for as long as it runs.
pub(crate) async fn keep_up(executor: Arc<Executor>, instances: Arc<Instances>) {
    let mut version = executor.registry.version();
    loop {
        let news = async {
            tokio::select! {
                changed = version.changed() => changed.is_ok(),
                () = executor.called.notified() => true,
            }
        };
        if !timeout(PATIENCE, news).await.unwrap_or(true) {
            return;
        }
        executor.catch_up();
        instances.stand_here(executor.conditions());
        sleep(SETTLING).await;
    }
}

/// What an answer is. Only who configured it can say something else than that it is a message of the service.
fn content_type(source: &Source, configured: String) -> String {
    let default = match source {
        Source::Live | Source::Cached { .. } | Source::Alternative => "application/grpc+proto",
        Source::Static => "application/octet-stream",
        Source::Degraded(_) | Source::Local => "",
    };
    if configured.is_empty() { default.to_owned() } else { configured }
}

fn rejection(
    key: &ServiceKey,
    failure: Failure<UpstreamError>,
    pool: impl FnOnce() -> Option<String>,
    receipt: impl FnOnce() -> Option<BreakerReceipt>,
) -> Rejection {
    match failure.cause {
        FailureCause::Inner(UpstreamError::Refused(rejection)) => rejection,
        FailureCause::Inner(UpstreamError::Status(status)) => status::rejection(&status),
        FailureCause::Inner(UpstreamError::Unresolved(message)) => {
            Rejection::Upstream { code: tonic::Code::Unavailable.into(), message }
        }
        FailureCause::Timeout | FailureCause::DeadlineSpent => Rejection::Timeout,
        FailureCause::Open { retry_after, by } => {
            Rejection::CircuitOpen { key: key.clone(), retry_after, by, receipt: receipt().map(Box::new) }
        }
        FailureCause::BulkheadFull => Rejection::BulkheadFull { pool: pool().unwrap_or_default() },
        FailureCause::AdaptiveLimitReached => Rejection::AdaptiveLimitReached(key.clone()),
        FailureCause::RateLimited { .. } => Rejection::RateLimited(key.clone()),
        FailureCause::Disabled => Rejection::Disabled(key.clone()),
    }
}

#[cfg(test)]
mod tests;
