//! The paths that change something: breakers are tripped and reset at all instances, as `TripBreaker` and `ResetBreaker` do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_proto::v1;
use futures_util::{StreamExt as _, stream};
use http::{
    Response, StatusCode,
    header::{IF_MATCH, IF_NONE_MATCH},
    request::Parts,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{Asked, answer, module::Module, namespace, operation, shapes};
use crate::{
    grpc::InProcess,
    http::{openapi::headers_of_writes, problem::Problem, route::Variables, transcode::idempotency_key},
    registry::Registry,
};

const TRIP: &str = "/cofferdam.v1.IsolationService/TripBreaker";
const RESET: &str = "/cofferdam.v1.IsolationService/ResetBreaker";

/// How many services are reset at a time, where all are.
const TOGETHER: usize = 64;

/// For how long another one is begun: whoever waits for the answer must not do so in vain.
pub(super) const BEGUN_WITHIN: Duration = Duration::from_secs(20);

/// One of these paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum SeedWrite {
    /// A Flask module is as new.
    ResetModule,
    /// Breakers of a Node service open.
    Trip,
    /// Breakers of a Node service close.
    Reset,
    /// All breakers close.
    ResetAll,
}

/// The paths, each a `POST`.
pub(in crate::http) const WRITES: &[(&str, SeedWrite)] = &[
    ("/health/modules/{module}/reset", SeedWrite::ResetModule),
    ("/api/{service}/circuit-breaker/trip", SeedWrite::Trip),
    ("/api/{service}/circuit-breaker/reset", SeedWrite::Reset),
    ("/api/{service}/circuit-breaker/{name}/trip", SeedWrite::Trip),
    ("/api/{service}/circuit-breaker/{name}/reset", SeedWrite::Reset),
    ("/api/admin/reset-circuit-breakers", SeedWrite::ResetAll),
];

impl SeedWrite {
    /// Its operation in OpenAPI.
    pub(in crate::http) fn in_openapi(self, path: &str) -> Value {
        let about = match self {
            Self::ResetModule => {
                "Closes the breakers of a service at all instances, and forgets the health that was reported."
            }
            Self::Trip => "Opens breakers of a service at all instances, until they recover by the rules.",
            Self::Reset => "Closes breakers of a service at all instances.",
            Self::ResetAll => "Closes all breakers of all services of a namespace, at all instances.",
        };
        let one = if path.contains("{name}") { "One" } else { "" };
        let mut operation = operation(&format!("{self:?}{one}"), about, path);
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.extend(headers_of_writes());
        }
        operation
    }

    /// Does it.
    pub(in crate::http) async fn make(
        self,
        service: &InProcess,
        registry: &Registry,
        variables: &Variables,
        head: &Parts,
        body: &[u8],
    ) -> Result<Response<Bytes>, Problem> {
        if !body.is_empty() {
            return Err(Problem::invalid_field("", "this request takes no body"));
        }
        for condition in [IF_MATCH, IF_NONE_MATCH] {
            if head.headers.contains_key(&condition) {
                let name = condition.as_str();
                let words = "this path has no revision to compare with: use the one under /v1/services";
                return Err(Problem::invalid_field(name, words));
            }
        }
        let asked = Asked { service, head, namespace: namespace(head.uri.query().unwrap_or_default())? };
        let write = Write { asked, request_id: request_id(head)?, reason: format!("POST {}", head.uri.path()) };
        let now = shapes::rfc_3339(registry.wall_time());
        let variable = |at: usize| variables.get(at).map(|(_, value)| value.as_str()).unwrap_or_default();
        let (name, breaker) = (variable(0), variable(1));
        let said = match self {
            Self::ResetModule => {
                write.reset(name, None, true).await?;
                shapes::module_reset(name, &now)
            }
            Self::Trip => {
                write.trip(name, write.target(name, breaker).await?).await?;
                shapes::commanded(name, breaker, "trip", &now)
            }
            Self::Reset => {
                write.reset(name, write.target(name, breaker).await?, false).await?;
                shapes::commanded(name, breaker, "reset", &now)
            }
            Self::ResetAll => write.reset_all(&now).await?,
        };
        Ok(answer(&said))
    }
}

/// A write, and who makes it.
struct Write<'a> {
    asked: Asked<'a>,
    request_id: String,
    reason: String,
}

impl Write<'_> {
    async fn trip(&self, name: &str, target: Option<v1::BreakerTarget>) -> Result<v1::TripBreakerResponse, Problem> {
        let request = v1::TripBreakerRequest {
            namespace: self.asked.namespace.clone(),
            service: name.to_owned(),
            target,
            reason: self.why(),
            request_id: self.request_id.clone(),
            ..v1::TripBreakerRequest::default()
        };
        self.asked.call(TRIP, &request).await
    }

    async fn reset(
        &self,
        name: &str,
        target: Option<v1::BreakerTarget>,
        reset_health: bool,
    ) -> Result<v1::ResetBreakerResponse, Problem> {
        let request = v1::ResetBreakerRequest {
            namespace: self.asked.namespace.clone(),
            service: name.to_owned(),
            target,
            reset_health,
            reason: self.why(),
            request_id: self.request_id.clone(),
            ..v1::ResetBreakerRequest::default()
        };
        self.asked.call(RESET, &request).await
    }

    /// Each service for itself, side by side, until the store goes away or the time for all of them is over: one whose breaker
    /// is not in force at its level has nothing to reset.
    async fn reset_all(&self, now: &str) -> Result<Value, Problem> {
        let (is_away, begun) = (&AtomicBool::new(false), Instant::now());
        let modules = self.asked.all().await?.into_iter().filter(|module| module.has_breaker);
        let attempts = stream::iter(modules).map(|Module { name, .. }| async move {
            if is_away.load(Ordering::Relaxed) {
                return Some(Err((name, "not tried: the store went away before its turn".to_owned())));
            }
            if begun.elapsed() >= BEGUN_WITHIN {
                return Some(Err((name, "not tried: those before it took too long".to_owned())));
            }
            // A name for all of them would be one name for several requests.
            let one = Write {
                asked: self.asked.clone(),
                request_id: if self.request_id.is_empty() { String::new() } else { named(&self.request_id, &name) },
                reason: self.reason.clone(),
            };
            match one.reset(&name, None, false).await {
                Ok(_) => Some(Ok(name)),
                // It went meanwhile.
                Err(problem) if problem.is_not_found() => None,
                Err(problem) => {
                    is_away.fetch_or(problem.is_without_answer(), Ordering::Relaxed);
                    Some(Err((name, problem.detail().to_owned())))
                }
            }
        });
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        let mut attempts = std::pin::pin!(attempts.buffered(TOGETHER));
        while let Some(outcome) = attempts.next().await {
            match outcome {
                Some(Ok(name)) => done.push(name),
                Some(Err(failure)) => failed.push(failure),
                None => {}
            }
        }
        Ok(shapes::all_reset(&done, &failed, now))
    }

    /// The breaker of a pool, or of methods, by its name. No name, or the service's own, are all of them.
    async fn target(&self, name: &str, breaker: &str) -> Result<Option<v1::BreakerTarget>, Problem> {
        if breaker.is_empty() || breaker == name {
            return Ok(None);
        }
        let info = self.asked.info(name).await?;
        let stats = info.stats.unwrap_or_default();
        let found = stats.breakers.iter().find(|one| one.pool == breaker || one.method_glob == breaker);
        let found = found.map(|one| v1::BreakerTarget {
            pool: one.pool.clone(),
            method_glob: one.method_glob.clone(),
            instance_id: String::new(),
        });
        let known: Vec<_> = stats
            .breakers
            .iter()
            .map(|one| if one.pool.is_empty() { one.method_glob.as_str() } else { one.pool.as_str() })
            .collect();
        let detail = match known.as_slice() {
            [] => format!("{name} has one breaker, which goes by its own name"),
            known => format!("{name} has no breaker {breaker}: it has {}", known.join(", ")),
        };
        found.map(Some).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, detail))
    }

    /// Why, as the service's history has it.
    fn why(&self) -> String {
        self.reason.chars().filter(|c| !c.is_control()).take(128).collect()
    }
}

/// The name of this part of a request that has a name.
fn named(request_id: &str, part: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(request_id).chain_update([0]).chain_update(part).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request_id(head: &Parts) -> Result<String, Problem> {
    let key = idempotency_key(&head.headers);
    let key = key.map_err(|invalid| Problem::invalid_field(invalid.field, invalid.description))?;
    Ok(key.unwrap_or_default().to_owned())
}
