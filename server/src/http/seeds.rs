//! The paths that services had for themselves before they had a manager, in the shapes that their dashboards and scripts
//! know: of Flask modules (`/health/modules`, `/modules`, `/health`), of Node services (`/api/{service}/health`) and of a
//! TypeScript backend (`/api/health`).
//!
//! A process that answered them knew itself alone; the manager answers for all instances of a service, from the RPCs that
//! everybody has.

use bytes::Bytes;
use cofferdam_proto::v1;
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderValue, Response, header, request::Parts, uri::PathAndQuery};
use prost::Message;
use prost_types::FieldMask;
use serde_json::{Value, json};

mod module;
mod shapes;
mod writes;

pub(super) use self::writes::{SeedWrite, WRITES};

use self::module::{FIELDS, Module};
use super::{JSON, metadata, problem::Problem, route::Variables};
use crate::{grpc::InProcess, peer::Peer, registry::Registry};

/// A page of services or figures.
const PAGE_SIZE: i32 = 1000;

const NAMESPACE: &str = "namespace";

/// One of these paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seed {
    /// All Flask modules.
    Modules,
    /// One of them.
    Module,
    /// The module system.
    System,
    /// One module's check of itself.
    Check,
    /// The application with its modules.
    Application,
    /// The backend with its services.
    Backend,
    /// One Node service.
    Service,
}

/// The paths that only read.
pub(super) const READS: &[(&str, Seed)] = &[
    ("/health/modules", Seed::Modules),
    ("/health/modules/{module}", Seed::Module),
    ("/modules/status", Seed::System),
    ("/modules/{module}/health", Seed::Check),
    ("/health", Seed::Application),
    ("/api/health", Seed::Backend),
    ("/api/{service}/health", Seed::Service),
];

impl Seed {
    /// Its operation in OpenAPI; docs/http.md has the shapes.
    pub(super) fn in_openapi(self, path: &str) -> Value {
        let about = "Health over all instances, in a shape of before there was a manager.";
        operation(&format!("{self:?}Health"), about, path)
    }

    /// Answers a read.
    pub(super) async fn show(
        self,
        service: &InProcess,
        registry: &Registry,
        variables: &Variables,
        head: &Parts,
    ) -> Result<Response<Bytes>, Problem> {
        let asked = Asked { service, head, namespace: namespace(head.uri.query().unwrap_or_default())? };
        let now = shapes::rfc_3339(registry.wall_time());
        let name = variables.first().map(|(_, name)| name.as_str()).unwrap_or_default();
        let said = match self {
            Self::Modules => shapes::modules(&asked.all().await?, &now),
            Self::System => shapes::system(&asked.all().await?, &now),
            Self::Application => shapes::application(&asked.all().await?, &now),
            Self::Backend => shapes::backend(&asked.all().await?, &now),
            Self::Module => shapes::module(&asked.one(name).await?, &now),
            Self::Service => shapes::service(&asked.one(name).await?, &now),
            Self::Check => {
                let module = asked.one(name).await?;
                // Side by side: each may wait for a manager that does not answer.
                let dependencies = module.dependencies.iter().map(|(name, _)| asked.dependency(name));
                shapes::check(&module, &try_join_all(dependencies).await?, &now)
            }
        };
        Ok(answer(&said))
    }
}

/// An operation of OpenAPI; docs/http.md has the shapes of what is answered.
pub(super) fn operation(id: &str, about: &str, path: &str) -> Value {
    let text = json!({"type": "string"});
    let variables = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let variables = variables.map(|name| json!({"name": name, "in": "path", "required": true, "schema": text}));
    let namespace = json!({"name": NAMESPACE, "in": "query", "description": "Empty: default.", "schema": text});
    let parameters: Vec<_> = variables.chain([namespace]).collect();
    json!({
        "operationId": id,
        "description": about,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {JSON: {"schema": {"type": "object"}}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    })
}

/// Who asks, and about which namespace.
#[derive(Clone)]
struct Asked<'a> {
    service: &'a InProcess,
    head: &'a Parts,
    namespace: String,
}

impl Asked<'_> {
    async fn call<A: Message + Default>(&self, method: &'static str, request: &impl Message) -> Result<A, Problem> {
        let headers: HeaderMap = metadata(&self.head.headers);
        let peer = self.head.extensions.get::<Peer>().cloned();
        let message = request.encode_to_vec().into();
        let answer = self.service.call(PathAndQuery::from_static(method), message, headers, peer).await;
        let answer = answer.map_err(|refusal| Problem::from_refusal(refusal, false))?;
        A::decode(answer).map_err(|error| Problem::internal(&format!("{method}: {error}")))
    }

    /// Every service of the namespace, by name.
    async fn all(&self) -> Result<Vec<Module>, Problem> {
        const LIST: &str = "/cofferdam.v1.IsolationService/ListIsolatedServices";
        const STATS: &str = "/cofferdam.v1.IsolationService/GetIsolationStats";
        let mut stats: Vec<v1::ServiceStats> = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::GetIsolationStatsRequest {
                // An empty one would be all of them here.
                namespace: if self.namespace.is_empty() { "default".to_owned() } else { self.namespace.clone() },
                include_services: true,
                page_size: PAGE_SIZE,
                page_token,
                ..v1::GetIsolationStatsRequest::default()
            };
            let page: v1::GetIsolationStatsResponse = self.call(STATS, &request).await?;
            stats.extend(page.services);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut modules = Vec::new();
        loop {
            let request = v1::ListIsolatedServicesRequest {
                namespace: self.namespace.clone(),
                page_size: PAGE_SIZE,
                page_token,
                read_mask: Some(FieldMask { paths: FIELDS.map(str::to_owned).to_vec() }),
            };
            let page: v1::ListIsolatedServicesResponse = self.call(LIST, &request).await?;
            for service in page.services {
                let name = service.service.as_ref().map(|service| service.name.as_str()).unwrap_or_default();
                // Both are in the order of names; one that came in between has no figures yet.
                let at = stats.binary_search_by(|stats| stats.service.as_str().cmp(name));
                modules.push(Module::new(&service, at.ok().and_then(|at| stats.get(at))));
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(modules);
            }
        }
    }

    async fn one(&self, name: &str) -> Result<Module, Problem> {
        let info = self.info(name).await?;
        Ok(Module::new(&info.service.unwrap_or_default(), info.stats.as_ref()))
    }

    /// A dependency and its status, which is absent where it is not registered.
    async fn dependency(&self, name: &str) -> Result<(String, Option<v1::HealthStatus>), Problem> {
        let status = match self.info(name).await {
            Ok(info) => Some(Module::new(&info.service.unwrap_or_default(), None).status),
            Err(problem) if problem.is_not_found() => None,
            Err(problem) => return Err(problem),
        };
        Ok((name.to_owned(), status))
    }

    async fn info(&self, name: &str) -> Result<v1::GetServiceIsolationInfoResponse, Problem> {
        const INFO: &str = "/cofferdam.v1.IsolationService/GetServiceIsolationInfo";
        let (namespace, service) = (self.namespace.clone(), name.to_owned());
        self.call(INFO, &v1::GetServiceIsolationInfoRequest { namespace, service }).await
    }
}

/// The namespace that a query says. Empty: default.
fn namespace(query: &str) -> Result<String, Problem> {
    let mut namespace = String::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != NAMESPACE {
            return Err(Problem::invalid_field(name, "is no parameter here: there is namespace"));
        }
        if !namespace.is_empty() && namespace != value {
            return Err(Problem::invalid_field(name, "is there twice, and not the same"));
        }
        namespace = value.into_owned();
    }
    Ok(namespace)
}

fn answer(value: &Value) -> Response<Bytes> {
    let mut response = Response::new(format!("{value}\n").into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

#[cfg(test)]
mod tests;
