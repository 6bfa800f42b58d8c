//! Registering a service, over gRPC.

use super::wire::to_revision;
use super::{Manager, describe};
use crate::register::{Criticality, RegisterError, Registered, Registration};
use cofferdam_core::policy::Violation;
use cofferdam_core::wire::{level_to_wire, to_wire};
use cofferdam_proto::status::Facts;
use cofferdam_proto::v1;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The metadata that says who makes a write.
const ACTOR_METADATA: &str = "cofferdam-actor";

impl Manager {
    /// Sends a registration once, on a connection of its own.
    pub(crate) async fn register(&self, registration: &Registration) -> Result<Registered, RegisterError> {
        let channel = self.connect().await.map_err(|error| RegisterError::Unavailable(describe(&error)))?;
        let mut request = tonic::Request::new(to_request(registration));
        if let Ok(actor) = MetadataValue::try_from(registration.actor.as_str()) {
            request.metadata_mut().insert(ACTOR_METADATA, actor);
        }
        let response = IsolationServiceClient::new(channel).register_service(request).await;
        let v1::RegisterServiceResponse { service, created } = response.map_err(from_status)?.into_inner();
        let revision = to_revision(service.and_then(|service| service.revision));
        Ok(Registered { revision, is_new: created })
    }
}

fn to_request(registration: &Registration) -> v1::RegisterServiceRequest {
    let endpoint = |address: &String| v1::Endpoint { address: address.clone() };
    let dependency = |(service, criticality): &(String, Criticality)| {
        let kind = match criticality {
            Criticality::Critical => v1::DependencyKind::Critical,
            Criticality::Optional => v1::DependencyKind::Optional,
        };
        v1::Dependency { service: service.clone(), kind: kind.into() }
    };
    let service = v1::Service {
        namespace: registration.namespace.clone(),
        name: registration.name.clone(),
        version: registration.version.clone(),
        description: registration.description.clone(),
        endpoints: registration.endpoints.iter().map(endpoint).collect(),
        dependencies: registration.dependencies.iter().map(dependency).collect(),
        labels: registration.labels.iter().cloned().collect(),
        enabled: None,
    };
    v1::RegisterServiceRequest {
        service: Some(service),
        level: registration.level.map_or(v1::IsolationLevel::Unspecified, level_to_wire).into(),
        fallback: None,
        policy: registration.policy.as_ref().map(to_wire),
        expected_revision: None,
        request_id: registration.request_id.clone(),
        reason: String::new(),
    }
}

fn from_status(status: Status) -> RegisterError {
    let message = status.message().to_owned();
    match Facts::of_status(&status).code {
        Code::InvalidArgument => {
            let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
            let violation =
                |field: tonic_types::FieldViolation| Violation { path: field.field, description: field.description };
            RegisterError::Invalid { message, violations: fields.into_iter().map(violation).collect() }
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
            RegisterError::Unavailable(message)
        }
        code => RegisterError::Refused { code: format!("{code:?}"), message },
    }
}
