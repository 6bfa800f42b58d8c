//! `grpc.health.v1.Health`: the manager as a whole under the empty name and those of its own gRPC services, its store under `cofferdam.Store`, and each
//! registered service under `NAMESPACE/NAME` and, in the default namespace, under its name alone.
//!
//! An answer is worked out when it is asked for, so it is never behind what the other RPCs say.

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1::{isolation_service_server, policy_sync_service_server};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::error::status;
use crate::{
    health::{self, Serving},
    instances::Instances,
    registry::{Registry, service_key, validate},
};

/// The name of the store: no service can have it, as theirs are in lower case. It serves while it takes writes.
const STORE: &str = "cofferdam.Store";

/// What the manager serves itself, by the names that gRPC has for it: probes often ask under one of these.
const OWN: [&str; 2] = [isolation_service_server::SERVICE_NAME, policy_sync_service_server::SERVICE_NAME];

/// Answers health checks.
#[derive(Clone, Debug)]
pub struct HealthApi {
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    leaving: CancellationToken,
    drain: CancellationToken,
}

impl HealthApi {
    /// Over these services and instances. From when `leaving` fires the manager as a whole does not serve; when `drain` does,
    /// watches end.
    pub fn new(
        registry: Arc<Registry>,
        instances: Arc<Instances>,
        leaving: CancellationToken,
        drain: CancellationToken,
    ) -> Self {
        Self { registry, instances, leaving, drain }
    }

    /// The status under a name; absent where there is nothing of that name.
    fn status(&self, name: &str) -> Option<ServingStatus> {
        if name.is_empty() || OWN.contains(&name) {
            let stops = self.leaving.is_cancelled();
            return Some(if stops { ServingStatus::NotServing } else { ServingStatus::Serving });
        }
        if name == STORE {
            return Some(if self.registry.takes_writes() { ServingStatus::Serving } else { ServingStatus::NotServing });
        }
        let serving = health::serving(&self.registry, &self.instances, &key(name)?)?;
        Some(match serving {
            Serving::Yes => ServingStatus::Serving,
            Serving::No => ServingStatus::NotServing,
            Serving::Unknown => ServingStatus::Unknown,
        })
    }

    /// The refusal for a name of which there is nothing. The protocol answers every such name alike, be it a possible
    /// one or not.
    fn not_found(&self, name: &str) -> Status {
        match key(name).map(|key| self.registry.describe(&key)) {
            Some(Err(error)) => status(&error),
            _ => Status::not_found("no service of this name is registered"),
        }
    }
}

/// One watch on one name.
struct Watcher {
    api: HealthApi,
    name: String,
    registry: watch::Receiver<u64>,
    instances: watch::Receiver<u64>,
    told: Option<ServingStatus>,
    is_last: bool,
}

impl Watcher {
    /// The next status that differs from the one told; none once the manager has stopped and said so.
    async fn next(&mut self) -> Option<HealthCheckResponse> {
        loop {
            if self.is_last {
                return None;
            }
            self.is_last = self.api.drain.is_cancelled();
            let is_leaving = self.api.leaving.is_cancelled();
            self.registry.mark_unchanged();
            self.instances.mark_unchanged();
            let now = self.api.status(&self.name).unwrap_or(ServingStatus::ServiceUnknown);
            if self.told.replace(now) != Some(now) {
                return Some(answer(now));
            }
            tokio::select! {
                changed = self.registry.changed() => changed.ok()?,
                changed = self.instances.changed() => changed.ok()?,
                () = self.api.leaving.cancelled(), if !is_leaving => {}
                () = self.api.drain.cancelled() => {}
            }
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// The service that a name means: `NAMESPACE/NAME`, or a name of the default namespace.
fn key(name: &str) -> Option<ServiceKey> {
    if name.contains('/') { service_key(name) } else { validate::target("", name).ok() }
}

#[async_trait]
impl Health for HealthApi {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        match self.status(name) {
            Some(status) => Ok(Response::new(answer(status))),
            None => Err(self.not_found(name)),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = Watcher {
            api: self.clone(),
            name: request.into_inner().service,
            registry: self.registry.version(),
            instances: self.instances.version(),
            told: None,
            is_last: false,
        };
        let next = async |mut watcher: Watcher| Some((Ok(watcher.next().await?), watcher));
        Ok(Response::new(stream::unfold(watcher, next).boxed()))
    }
}

#[cfg(test)]
mod tests;
