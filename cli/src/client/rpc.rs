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
}

macro_rules! rpcs {
    ($($request:ident $answer:ident $method:literal $repeatable:expr;)*) => {
        $(impl Rpc for v1::$request {
            type Answer = v1::$answer;

            const PATH: &'static str = concat!("/cofferdam.v1.IsolationService/", $method);

            fn is_repeatable(&self) -> bool {
                let repeatable: fn(&Self) -> bool = $repeatable;
                repeatable(self)
            }
        })*
    };
}

rpcs! {
    RegisterServiceRequest RegisterServiceResponse "RegisterService" |request| !request.request_id.is_empty();
    UnregisterServiceRequest UnregisterServiceResponse "UnregisterService" |request| !request.request_id.is_empty();
    ExecuteWithIsolationRequest ExecuteWithIsolationResponse "ExecuteWithIsolation" |_| false;
    SetIsolationLevelRequest SetIsolationLevelResponse "SetIsolationLevel" |request| !request.request_id.is_empty();
    UpdateFallbackConfigRequest UpdateFallbackConfigResponse "UpdateFallbackConfig" |request| !request.request_id.is_empty();
    UpdateIsolationPolicyRequest UpdateIsolationPolicyResponse "UpdateIsolationPolicy" |request| !request.request_id.is_empty();
    UpdateServiceHealthRequest UpdateServiceHealthResponse "UpdateServiceHealth" |request| !request.request_id.is_empty();
    HoldBreakerRequest HoldBreakerResponse "HoldBreaker" |request| !request.request_id.is_empty();
    ReleaseBreakerRequest ReleaseBreakerResponse "ReleaseBreaker" |request| !request.request_id.is_empty();
    TripBreakerRequest TripBreakerResponse "TripBreaker" |request| !request.request_id.is_empty();
    ResetBreakerRequest ResetBreakerResponse "ResetBreaker" |request| !request.request_id.is_empty();
    RollbackRequest RollbackResponse "Rollback" |request| request.validate_only || !request.request_id.is_empty();
    GetServiceIsolationInfoRequest GetServiceIsolationInfoResponse "GetServiceIsolationInfo" |_| true;
    ListIsolatedServicesRequest ListIsolatedServicesResponse "ListIsolatedServices" |_| true;
    GetIsolationStatsRequest GetIsolationStatsResponse "GetIsolationStats" |_| true;
    GetConvergenceRequest GetConvergenceResponse "GetConvergence" |_| true;
    WaitForConvergenceRequest WaitForConvergenceResponse "WaitForConvergence" |_| true;
    GetDependencyGraphRequest GetDependencyGraphResponse "GetDependencyGraph" |_| true;
    ListRevisionsRequest ListRevisionsResponse "ListRevisions" |_| true;
    GetRevisionRequest GetRevisionResponse "GetRevision" |_| true;
    DiffRevisionsRequest DiffRevisionsResponse "DiffRevisions" |_| true;
    ExplainRequest ExplainResponse "Explain" |_| true;
    ListEventsRequest ListEventsResponse "ListEvents" |_| true;
    WatchEventsRequest WatchEventsResponse "WatchEvents" |_| true;
}

impl Rpc for HealthCheckRequest {
    type Answer = HealthCheckResponse;

    const PATH: &'static str = "/grpc.health.v1.Health/Check";

    fn is_repeatable(&self) -> bool {
        true
    }
}
