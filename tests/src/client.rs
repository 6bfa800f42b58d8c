//! An operator: the calls of the isolation service that scenarios make again and again.

use crate::refusal::Refusal;
use crate::wire;
use bytes::Bytes;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use cofferdam_proto::v1::{
    ExecuteWithIsolationRequest, ExecuteWithIsolationResponse, FallbackConfig, GetConvergenceRequest,
    GetConvergenceResponse, GetIsolationStatsRequest, GetIsolationStatsResponse, GetServiceIsolationInfoRequest,
    GetServiceIsolationInfoResponse, HealthStatus, HoldBreakerRequest, IsolatedService, IsolationLevel,
    IsolationPolicy, ListIsolatedServicesRequest, ListIsolatedServicesResponse, RegisterServiceRequest,
    RegisterServiceResponse, ReleaseBreakerRequest, ResetBreakerRequest, Revision, ServiceHealth,
    SetIsolationLevelRequest, TripBreakerRequest, UnregisterServiceRequest, UpdateFallbackConfigRequest,
    UpdateIsolationPolicyRequest, UpdateServiceHealthRequest, UpdateServiceHealthResponse, WaitForConvergenceRequest,
    WaitForConvergenceResponse,
};
use prost_types::FieldMask;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A client of one manager. Errors come taken apart.
#[derive(Clone, Debug)]
pub struct Client(IsolationServiceClient<Channel>);

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ty) -> $response:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// What the manager says instead.
                pub async fn $name(&self, request: $request) -> Result<$response, Refusal> {
                    let response = self.0.clone().$name(request).await;
                    response.map(tonic::Response::into_inner).map_err(|status| Refusal::of(&status))
                }
            )*
        }
    };
}

calls! {
    /// RegisterService.
    register_service(RegisterServiceRequest) -> RegisterServiceResponse;
    /// UnregisterService.
    unregister_service(UnregisterServiceRequest) -> cofferdam_proto::v1::UnregisterServiceResponse;
    /// ExecuteWithIsolation.
    execute_with_isolation(ExecuteWithIsolationRequest) -> ExecuteWithIsolationResponse;
    /// SetIsolationLevel.
    set_isolation_level(SetIsolationLevelRequest) -> cofferdam_proto::v1::SetIsolationLevelResponse;
    /// UpdateFallbackConfig.
    update_fallback_config(UpdateFallbackConfigRequest) -> cofferdam_proto::v1::UpdateFallbackConfigResponse;
    /// UpdateIsolationPolicy.
    update_isolation_policy(UpdateIsolationPolicyRequest) -> cofferdam_proto::v1::UpdateIsolationPolicyResponse;
    /// HoldBreaker.
    hold_breaker(HoldBreakerRequest) -> cofferdam_proto::v1::HoldBreakerResponse;
    /// ReleaseBreaker.
    release_breaker(ReleaseBreakerRequest) -> cofferdam_proto::v1::ReleaseBreakerResponse;
    /// TripBreaker.
    trip_breaker(TripBreakerRequest) -> cofferdam_proto::v1::TripBreakerResponse;
    /// ResetBreaker.
    reset_breaker(ResetBreakerRequest) -> cofferdam_proto::v1::ResetBreakerResponse;
    /// UpdateServiceHealth.
    update_service_health(UpdateServiceHealthRequest) -> UpdateServiceHealthResponse;
    /// GetServiceIsolationInfo.
    get_service_isolation_info(GetServiceIsolationInfoRequest) -> GetServiceIsolationInfoResponse;
    /// ListIsolatedServices.
    list_isolated_services(ListIsolatedServicesRequest) -> ListIsolatedServicesResponse;
    /// GetConvergence.
    get_convergence(GetConvergenceRequest) -> GetConvergenceResponse;
    /// WaitForConvergence.
    wait_for_convergence(WaitForConvergenceRequest) -> WaitForConvergenceResponse;
    /// GetIsolationStats.
    get_isolation_stats(GetIsolationStatsRequest) -> GetIsolationStatsResponse;
}

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(IsolationServiceClient::new(channel).max_decoding_message_size(16 << 20))
    }

    /// A client of the manager at this URL that waits so long for an answer, and connects again after each break.
    ///
    /// # Panics
    ///
    /// If the URL is none.
    pub fn patient(url: &str, patience: Duration) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL");
        Self::new(endpoint.connect_timeout(patience).timeout(patience).connect_lazy())
    }

    /// Registers a service; returns it as it is then.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn register(&self, request: RegisterServiceRequest) -> Result<IsolatedService, Refusal> {
        Ok(self.register_service(request).await?.service.expect("the answer holds the service"))
    }

    /// Sets the level of a service of the default namespace.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn set_level(&self, service: &str, level: IsolationLevel) -> Result<IsolatedService, Refusal> {
        let request = SetIsolationLevelRequest {
            service: service.into(),
            level: level.into(),
            ..SetIsolationLevelRequest::default()
        };
        Ok(self.set_isolation_level(request).await?.service.expect("the answer holds the service"))
    }

    /// Updates the fallback of a service of the default namespace.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn update_fallback(&self, service: &str, fallback: FallbackConfig) -> Result<IsolatedService, Refusal> {
        let request = UpdateFallbackConfigRequest {
            service: service.into(),
            fallback: Some(fallback),
            ..UpdateFallbackConfigRequest::default()
        };
        Ok(self.update_fallback_config(request).await?.service.expect("the answer holds the service"))
    }

    /// Sets the named fields of the policy of a service of the default namespace. No field named: the sections that
    /// are set.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn update_policy(
        &self,
        service: &str,
        policy: IsolationPolicy,
        paths: &[&str],
    ) -> Result<IsolatedService, Refusal> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = UpdateIsolationPolicyRequest {
            service: service.into(),
            policy: Some(policy),
            update_mask: (!paths.is_empty()).then_some(FieldMask { paths }),
            ..UpdateIsolationPolicyRequest::default()
        };
        Ok(self.update_isolation_policy(request).await?.service.expect("the answer holds the service"))
    }

    /// Reports the health of a service of the default namespace; returns the health then in force.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn report_health(
        &self,
        service: &str,
        status: HealthStatus,
        message: &str,
    ) -> Result<ServiceHealth, Refusal> {
        let health = ServiceHealth { status: status.into(), message: message.into(), observe_time: None };
        let request = UpdateServiceHealthRequest {
            service: service.into(),
            health: Some(health),
            ..UpdateServiceHealthRequest::default()
        };
        Ok(self.update_service_health(request).await?.health.expect("the answer holds the health"))
    }

    /// All that is known of a service of the default namespace.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn info(&self, service: &str) -> Result<GetServiceIsolationInfoResponse, Refusal> {
        let request =
            GetServiceIsolationInfoRequest { service: service.into(), ..GetServiceIsolationInfoRequest::default() };
        self.get_service_isolation_info(request).await
    }

    /// The revision of a service of the default namespace.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn revision(&self, service: &str) -> Result<Revision, Refusal> {
        Ok(wire::revision(self.info(service).await?.service.as_ref()))
    }

    /// The names of the services of the default namespace.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn list(&self) -> Result<Vec<String>, Refusal> {
        let listed = self.list_isolated_services(ListIsolatedServicesRequest::default()).await?;
        let name = |service: IsolatedService| service.service.map(|service| service.name);
        Ok(listed.services.into_iter().filter_map(name).collect())
    }

    /// The counts over all services, each service's own included.
    ///
    /// # Errors
    ///
    /// What the manager says instead.
    pub async fn stats(&self) -> Result<GetIsolationStatsResponse, Refusal> {
        let request = GetIsolationStatsRequest { include_services: true, ..GetIsolationStatsRequest::default() };
        self.get_isolation_stats(request).await
    }

    /// Calls a method of a service through the manager.
    ///
    /// # Errors
    ///
    /// What the manager, or through it the service, says instead.
    pub async fn execute(
        &self,
        service: &str,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<ExecuteWithIsolationResponse, Refusal> {
        let request = ExecuteWithIsolationRequest {
            service: service.into(),
            method: method.into(),
            payload: payload.into(),
            ..ExecuteWithIsolationRequest::default()
        };
        self.execute_with_isolation(request).await
    }
}
