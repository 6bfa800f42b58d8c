//! GetDependencyGraph: a page of who needs whom.

use cofferdam_core::{name::Name, wire::health_to_wire};
use cofferdam_proto::v1;
use prost::Message;

use super::{
    IsolationApi,
    page::{MAX_BYTES, page_size},
};
use crate::{
    dependencies::{Declared, Graph, Need, Place},
    error::Error,
    health,
    registry::{Registered, validate},
};

const MAX_CYCLES: usize = 100;

impl IsolationApi {
    pub(super) fn dependency_graph(
        &self,
        request: &v1::GetDependencyGraphRequest,
    ) -> Result<v1::GetDependencyGraphResponse, Error> {
        let namespace = validate::one_namespace(&request.namespace)?;
        let size = page_size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(Name::new(token).map_err(|_| {
                Error::invalid("page_token", "must be the next_page_token of an earlier answer".to_owned())
            })?),
        };
        let services = self.local.registry.services(Some(&namespace));
        let graph = Graph::new(services.iter().map(|registered| self.declared(registered)));
        let around = match request.service.as_str() {
            "" => None,
            name => match graph.around(name) {
                Some(around) => Some(around),
                None => {
                    // Says which names there are, or that this cannot be one.
                    self.local.registry.describe(&validate::target(&request.namespace, name)?)?;
                    None
                }
            },
        };
        let is_asked = |name: &str| around.as_ref().is_none_or(|around| around.contains(name));
        let mut answer = v1::GetDependencyGraphResponse {
            stale_for: self.stale_for(),
            impact: around
                .as_ref()
                .map(|_| graph.impact(&request.service))
                .map(|impact| v1::DependencyImpact { unhealthy: impact.unhealthy, degraded: impact.degraded }),
            ..v1::GetDependencyGraphResponse::default()
        };
        let cycles = graph.cycles().into_iter().filter(|cycle| cycle.iter().all(|name| is_asked(name)));
        answer.cycles = cycles.take(MAX_CYCLES).map(|services| v1::DependencyCycle { services }).collect();
        let mut bytes = answer.encoded_len();
        let is_wanted = |name: &str| is_asked(name) && after.as_ref().is_none_or(|after| name > after.as_str());
        for place in graph.places(is_wanted) {
            let declares = services.binary_search_by(|service| service.key().name.as_str().cmp(&place.name));
            let node = node(place, declares.ok().and_then(|index| services.get(index)).map(AsRef::as_ref));
            bytes += node.encoded_len();
            if let Some(last) = answer.nodes.last()
                && (answer.nodes.len() == size || bytes > MAX_BYTES)
            {
                answer.next_page_token.clone_from(&last.service);
                break;
            }
            answer.nodes.push(node);
        }
        Ok(answer)
    }

    fn declared(&self, registered: &Registered) -> Declared {
        let need = |dependency: &v1::Dependency| match dependency.kind() {
            v1::DependencyKind::Optional => Need::Optional,
            v1::DependencyKind::Critical | v1::DependencyKind::Unspecified => Need::Critical,
        };
        let needs = registered.service().dependencies.iter();
        Declared {
            name: registered.key().name.to_string(),
            needs: needs.map(|dependency| (dependency.service.clone(), need(dependency))).collect(),
            status: health::status(&self.local.registry, &self.local.instances, registered.key()),
            is_enabled: registered.is_enabled(),
        }
    }
}

fn node(place: Place, registered: Option<&Registered>) -> v1::DependencyNode {
    let status = |status: Option<_>| status.map(health_to_wire).unwrap_or_default().into();
    v1::DependencyNode {
        registered: place.is_registered,
        dependencies: registered.map(|registered| registered.service().dependencies.clone()).unwrap_or_default(),
        layer: place.layer,
        own_status: status(place.own),
        status: status(place.status),
        service: place.name,
        cause: place.cause,
    }
}
