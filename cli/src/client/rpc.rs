//! Which request goes to which method, and whether it may be made twice.

use cofferdam_proto::v1;
use prost::Message;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// A request of the contract.
pub(crate) trait Rpc: Message + Clone + 'static {
    /// What is answered.
    type Answer: Message + Default + 'static;

    /// The method, as `/package.Service/Method`.
    const PATH: &'static str;

    /// Whether making it twice is the same as making it once.
    fn is_repeatable(&self) -> bool;

    /// Of which service it is, as it can be typed. Empty: of none, or of several.
    fn subject(&self) -> String {
        String::new()
    }
}

macro_rules! rpcs {
    ($($request:ident $answer:ident $method:literal $repeatable:expr $(, $service:ident)?;)*) => {
        $(impl Rpc for v1::$request {
            type Answer = v1::$answer;

            const PATH: &'static str = concat!("/cofferdam.v1.IsolationService/", $method);

            fn is_repeatable(&self) -> bool {
                let repeatable: fn(&Self) -> bool = $repeatable;
                repeatable(self)
            }

            $(fn subject(&self) -> String {
                typed(&self.namespace, &self.$service)
            })?
        })*
    };
}

rpcs! {
    RegisterServiceRequest RegisterServiceResponse "RegisterService" |request| !request.request_id.is_empty();
    UnregisterServiceRequest UnregisterServiceResponse "UnregisterService" |request| !request.request_id.is_empty(), service;
    ExecuteWithIsolationRequest ExecuteWithIsolationResponse "ExecuteWithIsolation" |_| false, service;
    SetIsolationLevelRequest SetIsolationLevelResponse "SetIsolationLevel" |request| !request.request_id.is_empty(), service;
    UpdateFallbackConfigRequest UpdateFallbackConfigResponse "UpdateFallbackConfig" |request| !request.request_id.is_empty(), service;
    UpdateIsolationPolicyRequest UpdateIsolationPolicyResponse "UpdateIsolationPolicy" |request| !request.request_id.is_empty(), service;
    UpdateServiceHealthRequest UpdateServiceHealthResponse "UpdateServiceHealth" |request| !request.request_id.is_empty(), service;
    HoldBreakerRequest HoldBreakerResponse "HoldBreaker" |request| !request.request_id.is_empty(), service;
    ReleaseBreakerRequest ReleaseBreakerResponse "ReleaseBreaker" |request| !request.request_id.is_empty(), service;
    TripBreakerRequest TripBreakerResponse "TripBreaker" |request| !request.request_id.is_empty(), service;
    ResetBreakerRequest ResetBreakerResponse "ResetBreaker" |request| !request.request_id.is_empty(), service;
    RollbackRequest RollbackResponse "Rollback" |request| request.validate_only || !request.request_id.is_empty(), service;
    GetServiceIsolationInfoRequest GetServiceIsolationInfoResponse "GetServiceIsolationInfo" |_| true, service;
    ListIsolatedServicesRequest ListIsolatedServicesResponse "ListIsolatedServices" |_| true;
    GetIsolationStatsRequest GetIsolationStatsResponse "GetIsolationStats" |_| true, service;
    GetConvergenceRequest GetConvergenceResponse "GetConvergence" |_| true, service;
    WaitForConvergenceRequest WaitForConvergenceResponse "WaitForConvergence" |_| true, service;
    GetDependencyGraphRequest GetDependencyGraphResponse "GetDependencyGraph" |_| true, service;
    ListRevisionsRequest ListRevisionsResponse "ListRevisions" |_| true, service;
    GetRevisionRequest GetRevisionResponse "GetRevision" |_| true, service;
    DiffRevisionsRequest DiffRevisionsResponse "DiffRevisions" |_| true, service;
    ExplainRequest ExplainResponse "Explain" |_| true, service;
    ListEventsRequest ListEventsResponse "ListEvents" |_| true, service;
    WatchEventsRequest WatchEventsResponse "WatchEvents" |_| true, service;
}

fn typed(namespace: &str, service: &str) -> String {
    if namespace.is_empty() || service.is_empty() { service.to_owned() } else { format!("{namespace}/{service}") }
}

impl Rpc for HealthCheckRequest {
    type Answer = HealthCheckResponse;

    const PATH: &'static str = "/grpc.health.v1.Health/Check";

    fn is_repeatable(&self) -> bool {
        true
    }
}
