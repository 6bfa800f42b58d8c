//! UpdateServiceHealth: somebody says how a service does.

use cofferdam_proto::v1;
use prost_types::Timestamp;

use super::{
    Registry, key, nearest, record,
    request_record::Request,
    transact::{Answer, Plan, View, put},
    validate::{self, target},
};
use crate::error::Error;

impl Answer for v1::UpdateServiceHealthResponse {
    fn revision(&mut self) -> &mut Option<v1::Revision> {
        &mut self.revision
    }
}

impl Registry {
    /// Stores a health report, which stays until the next one or until the service goes. The answer's health is the
    /// one reported.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], and those of every write.
    pub async fn report_health(
        &self,
        request: v1::UpdateServiceHealthRequest,
    ) -> Result<v1::UpdateServiceHealthResponse, Error> {
        let method = "/cofferdam.v1.IsolationService/UpdateServiceHealth";
        let identity = Request::new(method, &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let mut health = request.health.ok_or_else(|| Error::invalid("health", "must be set"))?;
        let violations = validate::health(&health, "health");
        if !violations.is_empty() {
            return Err(Error::Invalid { violations });
        }
        health.observe_time.get_or_insert_with(|| Timestamp::from(self.shared.clock.now()));
        let plan = |view: &mut View<'_>| {
            if view.service(&target).is_none() {
                return Err(nearest::not_found(view.catalog(), &target));
            }
            let value = record::encode_health(health.clone());
            let answer = v1::UpdateServiceHealthResponse { health: Some(health.clone()), revision: None };
            Ok(Plan { ops: vec![put(key::health(&target), value)], answer })
        };
        self.shared.transact(&target, &identity, None, plan).await
    }
}
