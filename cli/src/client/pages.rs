//! Lists, page by page.
//!
//! A service with its policies takes kilobytes, and what is shown of it a few words: whoever keeps no more than that takes
//! services as they come, and the room of one page serves for all.

use super::{CallError, Client};
use cofferdam_proto::v1;
use prost_types::FieldMask;
use std::collections::BTreeMap;

/// How many services a page holds: as many as a manager gives.
pub(crate) const PAGE: i32 = 1_000;

/// What a service goes by among the containments of a page. `None`: its name was not asked for.
pub(crate) fn key_of(isolated: &v1::IsolatedService) -> Option<String> {
    isolated.service.as_ref().map(|service| format!("{}/{}", service.namespace, service.name))
}

impl Client {
    /// Hands over every service of a namespace, as it comes, with the containment of its policy: `*` is all of them. Of each
    /// the fields at these paths, or all where there are none; the service's name is needed to tell which is contained. A list of many services is mostly policies: who shows little of them waits less. For how long
    /// the store has been away; `None`: it is there.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn each_service(
        &self,
        namespace: &str,
        fields: &[&str],
        mut take: impl FnMut(v1::IsolatedService, Option<v1::Containment>),
    ) -> Result<Option<prost_types::Duration>, CallError> {
        let paths = fields.iter().map(|&path| path.to_owned()).collect();
        let mut request = v1::ListIsolatedServicesRequest {
            namespace: namespace.to_owned(),
            page_size: PAGE,
            page_token: String::new(),
            read_mask: Some(FieldMask { paths }),
        };
        let mut stale_for = None;
        loop {
            let mut page = self.call(request.clone()).await?;
            for service in page.services {
                let containment = key_of(&service).and_then(|key| page.containments.remove(&key));
                take(service, containment);
            }
            stale_for = stale_for.or(page.stale_for);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(stale_for);
            }
        }
    }

    /// The same services together.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn services(
        &self,
        namespace: &str,
        fields: &[&str],
    ) -> Result<v1::ListIsolatedServicesResponse, CallError> {
        let (mut services, mut containments) = (Vec::new(), BTreeMap::new());
        let take = |service: v1::IsolatedService, containment: Option<v1::Containment>| {
            containments.extend(key_of(&service).zip(containment));
            services.push(service);
        };
        let stale_for = self.each_service(namespace, fields, take).await?;
        Ok(v1::ListIsolatedServicesResponse { services, next_page_token: String::new(), stale_for, containments })
    }

    /// Figures, with every page of the instances that `request` asks for. Those of services are handed over as they come.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn each_stats(
        &self,
        mut request: v1::GetIsolationStatsRequest,
        mut take: impl FnMut(v1::ServiceStats),
    ) -> Result<v1::GetIsolationStatsResponse, CallError> {
        request.page_size = PAGE;
        let mut all = self.call(request.clone()).await?;
        std::mem::take(&mut all.services).into_iter().for_each(&mut take);
        loop {
            request.page_token = std::mem::take(&mut all.next_page_token);
            if request.page_token.is_empty() {
                return Ok(all);
            }
            let page = self.call(request.clone()).await?;
            let named_one = !request.service.is_empty();
            if !named_one {
                page.services.into_iter().for_each(&mut take);
            }
            all.instances.extend(page.instances);
            all.next_page_token = page.next_page_token;
        }
    }

    /// The same with all services that `request` asks for.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn stats(
        &self,
        request: v1::GetIsolationStatsRequest,
    ) -> Result<v1::GetIsolationStatsResponse, CallError> {
        let mut services = Vec::new();
        let all = self.each_stats(request, |stats| services.push(stats)).await?;
        Ok(v1::GetIsolationStatsResponse { services, ..all })
    }
}
