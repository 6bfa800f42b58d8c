//! `cofferdam.v1.IsolationService`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cofferdam_core::{
    name::ServiceKey,
    wire::{breaker_state_to_wire, duration_to_wire},
};
use cofferdam_proto::v1::{self, isolation_service_server::IsolationService};
use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::{
    asked::asked,
    collect::{Collected, Question},
};
pub(super) use self::{
    convergence::service_standing,
    overview::{DEFAULT_HISTORY, instance as instance_to_wire, window as read_window},
    page::MAX_SIZE as MAX_PAGE,
};
use super::error::status;
use crate::{
    error::Error,
    peers::{Local, Peers, ServicePart},
    registry::{Registered, validate},
};

mod asked;
mod collect;
mod convergence;
mod dependencies;
mod events;
mod execute;
mod explain;
mod figures;
mod health;
mod marks;
mod orders;
mod overview;
mod page;
mod read_mask;
mod stats;

/// Answers the operators' and services' calls.
#[derive(Clone, Debug)]
pub struct IsolationApi {
    local: Local,
    peers: Peers,
    drain: CancellationToken,
    watchers: Arc<Semaphore>,
}

impl IsolationApi {
    /// Over what this manager knows, and the others. When `drain` fires, calls that wait for something end.
    pub(crate) fn new(local: Local, peers: Peers, drain: CancellationToken) -> Self {
        Self { local, peers, drain, watchers: Arc::new(Semaphore::new(events::MAX_WATCHERS)) }
    }

    /// Fills in what the store does not know: the health in force and the breaker state, and what of the orders is in force
    /// now.
    fn complete(&self, key: &ServiceKey, service: &mut v1::IsolatedService) {
        let condition = self.local.instances.condition(key);
        service.breaker_state = condition.breaker.map(breaker_state_to_wire).unwrap_or_default().into();
        service.health = health::in_force(service.reported_health.as_ref(), condition);
        orders::show(service, self.local.registry.wall_time());
    }

    fn completed(&self, service: Option<v1::IsolatedService>) -> Option<v1::IsolatedService> {
        let mut service = service?;
        let named = service.service.as_ref().and_then(|named| validate::target(&named.namespace, &named.name).ok());
        if let Some(key) = named {
            self.complete(&key, &mut service);
        }
        Some(service)
    }

    fn stale_for(&self) -> Option<prost_types::Duration> {
        self.local.registry.stale_for().map(duration_to_wire)
    }

    async fn info(
        &self,
        request: &v1::GetServiceIsolationInfoRequest,
    ) -> Result<v1::GetServiceIsolationInfoResponse, Error> {
        let key = validate::target(&request.namespace, &request.service)?;
        let (registered, _) = self.local.registry.describe(&key)?;
        let question = Question { services: vec![Arc::clone(&registered)], ..Question::default() };
        let Collected { services, period, unreachable, .. } = self.collect(&question).await;
        let part = services.into_iter().next().unwrap_or_default();
        // It may have changed while others were asked.
        let (_, service) = self.local.registry.describe(&key)?;
        Ok(v1::GetServiceIsolationInfoResponse {
            service: self.completed(Some(service)),
            stats: Some(self.stats_of(&registered, &part, period)),
            inactive_fields: registered.inactive_fields(self.local.registry.wall_time()),
            stale_for: self.stale_for(),
            containment: self.containment(&registered),
            unreachable_managers: unreachable,
        })
    }

    fn stats_of(&self, registered: &Registered, part: &ServicePart, period: (Duration, Duration)) -> v1::ServiceStats {
        stats::of_service(&self.local.registry, &self.local.instances, registered, part, period)
    }
}

#[async_trait]
impl IsolationService for IsolationApi {
    async fn register_service(
        &self,
        request: Request<v1::RegisterServiceRequest>,
    ) -> Result<Response<v1::RegisterServiceResponse>, Status> {
        let mut answer = self.local.registry.register(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn unregister_service(
        &self,
        request: Request<v1::UnregisterServiceRequest>,
    ) -> Result<Response<v1::UnregisterServiceResponse>, Status> {
        let answer = self.local.registry.unregister(asked(request)?).await.map_err(|error| status(&error))?;
        Ok(Response::new(answer))
    }

    async fn execute_with_isolation(
        &self,
        request: Request<v1::ExecuteWithIsolationRequest>,
    ) -> Result<Response<v1::ExecuteWithIsolationResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = self.execute(&metadata, request).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn set_isolation_level(
        &self,
        request: Request<v1::SetIsolationLevelRequest>,
    ) -> Result<Response<v1::SetIsolationLevelResponse>, Status> {
        let mut answer = self.local.registry.set_level(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn update_fallback_config(
        &self,
        request: Request<v1::UpdateFallbackConfigRequest>,
    ) -> Result<Response<v1::UpdateFallbackConfigResponse>, Status> {
        let mut answer = self.local.registry.update_fallback(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn update_isolation_policy(
        &self,
        request: Request<v1::UpdateIsolationPolicyRequest>,
    ) -> Result<Response<v1::UpdateIsolationPolicyResponse>, Status> {
        let mut answer = self.local.registry.update_policy(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn hold_breaker(
        &self,
        request: Request<v1::HoldBreakerRequest>,
    ) -> Result<Response<v1::HoldBreakerResponse>, Status> {
        let mut answer = self.local.registry.hold_breaker(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn release_breaker(
        &self,
        request: Request<v1::ReleaseBreakerRequest>,
    ) -> Result<Response<v1::ReleaseBreakerResponse>, Status> {
        let mut answer = self.local.registry.release_breaker(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn trip_breaker(
        &self,
        request: Request<v1::TripBreakerRequest>,
    ) -> Result<Response<v1::TripBreakerResponse>, Status> {
        let mut answer = self.local.registry.trip_breaker(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn reset_breaker(
        &self,
        request: Request<v1::ResetBreakerRequest>,
    ) -> Result<Response<v1::ResetBreakerResponse>, Status> {
        let mut answer = self.local.registry.reset_breaker(asked(request)?).await.map_err(|error| status(&error))?;
        answer.service = self.completed(answer.service);
        Ok(Response::new(answer))
    }

    async fn update_service_health(
        &self,
        request: Request<v1::UpdateServiceHealthRequest>,
    ) -> Result<Response<v1::UpdateServiceHealthResponse>, Status> {
        let request = request.into_inner();
        let key = validate::target(&request.namespace, &request.service).map_err(|error| status(&error))?;
        let mut answer = self.local.registry.report_health(request).await.map_err(|error| status(&error))?;
        answer.health = health::in_force(answer.health.as_ref(), self.local.instances.condition(&key));
        Ok(Response::new(answer))
    }

    async fn get_service_isolation_info(
        &self,
        request: Request<v1::GetServiceIsolationInfoRequest>,
    ) -> Result<Response<v1::GetServiceIsolationInfoResponse>, Status> {
        self.info(request.get_ref()).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn list_isolated_services(
        &self,
        request: Request<v1::ListIsolatedServicesRequest>,
    ) -> Result<Response<v1::ListIsolatedServicesResponse>, Status> {
        self.page(request.get_ref()).map(Response::new).map_err(|error| status(&error))
    }

    async fn get_isolation_stats(
        &self,
        request: Request<v1::GetIsolationStatsRequest>,
    ) -> Result<Response<v1::GetIsolationStatsResponse>, Status> {
        self.stats(request.get_ref()).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn get_convergence(
        &self,
        request: Request<v1::GetConvergenceRequest>,
    ) -> Result<Response<v1::GetConvergenceResponse>, Status> {
        let convergence = self.convergence(request.get_ref()).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::GetConvergenceResponse { convergence: Some(convergence) }))
    }

    async fn wait_for_convergence(
        &self,
        request: Request<v1::WaitForConvergenceRequest>,
    ) -> Result<Response<v1::WaitForConvergenceResponse>, Status> {
        let answer = IsolationApi::wait_for_convergence(self, request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn get_dependency_graph(
        &self,
        request: Request<v1::GetDependencyGraphRequest>,
    ) -> Result<Response<v1::GetDependencyGraphResponse>, Status> {
        self.dependency_graph(request.get_ref()).map(Response::new).map_err(|error| status(&error))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let answer = IsolationApi::explain(self, request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn list_revisions(
        &self,
        request: Request<v1::ListRevisionsRequest>,
    ) -> Result<Response<v1::ListRevisionsResponse>, Status> {
        let answer = self.local.registry.list_revisions(request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn get_revision(
        &self,
        request: Request<v1::GetRevisionRequest>,
    ) -> Result<Response<v1::GetRevisionResponse>, Status> {
        let answer = self.local.registry.get_revision(request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn diff_revisions(
        &self,
        request: Request<v1::DiffRevisionsRequest>,
    ) -> Result<Response<v1::DiffRevisionsResponse>, Status> {
        let answer = self.local.registry.diff_revisions(request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    type WatchEventsStream = BoxStream<'static, Result<v1::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        IsolationApi::watch_events(self, request.get_ref()).map(Response::new).map_err(|error| status(&error))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        IsolationApi::list_events(self, request.get_ref()).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Result<Response<v1::RollbackResponse>, Status> {
        let answer = self.local.registry.rollback(asked(request)?).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }
}

#[cfg(test)]
mod tests;
